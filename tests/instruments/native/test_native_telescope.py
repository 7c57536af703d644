"""The native driver against a scripted telescope: what it asks, and every way in which a slew can end."""

from __future__ import annotations

import numpy as np
import pytest

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.errors import (
    CommandAborted,
    DeviceFailed,
    DeviceRefused,
    NoAnswer,
)
from tests.instruments.conftest import DeviceWorld
from tests.instruments.native.conftest import ADDRESS, NativeRig


def test_a_slew_ends_with_the_measured_position(telescope: NativeRig) -> None:
    slew = telescope.begin(telescope.device.slew(10.0, 20.0, "grb 1\n", telescope.started.append))
    assert telescope.started == [12.5]
    assert not slew.results
    command = telescope.script.asked[-1]
    assert command.startswith("DO slew ra=10 dec=20 tag=grb_1_~")
    telescope.world.run(12.0)
    telescope.say("EVT slew_finished ra=10 dec=20 tag={tag}")
    assert (slew.result.ra, slew.result.dec) == (10.001, 20.0)
    assert slew.result.error_arcsec == pytest.approx(3.6 * np.cos(np.radians(20)), abs=1e-3)


@pytest.mark.parametrize(
    ("answer", "side"), [("OK west", "west"), ("OK east", "east"), ("OK 1 2", ""), ("ERR UNKNOWN no pier", "")]
)
def test_a_mount_tells_the_side_of_its_pier(telescope: NativeRig, answer: str, side: str) -> None:
    telescope.answers["GET pier"] = answer
    assert telescope.begin(telescope.device.side()).result == side


def test_a_mount_is_told_the_side_of_its_pier(telescope: NativeRig) -> None:
    telescope.begin(telescope.device.slew(10.0, 20.0, "flip", side="east"))
    assert "side=east" in telescope.script.asked[-1]


@pytest.mark.parametrize("newer", ["stop", "slew"])
def test_a_park_that_is_stopped_ends_though_the_mount_says_nothing(telescope: NativeRig, newer: str) -> None:
    park = telescope.begin(telescope.device.park())
    telescope.begin(telescope.device.stop() if newer == "stop" else telescope.device.slew(10.0, 20.0))
    assert isinstance(park.result, CommandAborted)


def test_an_older_slew_that_fails_late_does_not_stop_the_newer(telescope: NativeRig) -> None:
    telescope.answers["GET position"] = []
    older = telescope.begin(telescope.device.slew(30.0, 20.0))
    telescope.say("EVT slew_finished ra=30 dec=20 tag={tag}")
    number = telescope.script.asked.index("GET position") + 1
    newer = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.script.lines[-1].send(f"#{number} OK nowhere")
    telescope.world.run()
    assert isinstance(older.result, DeviceFailed)
    assert telescope.script.count("DO stop") == 0
    assert not newer.results


def test_a_slew_that_ends_beside_its_target_is_sent_again_once(telescope: NativeRig) -> None:
    telescope.answers["DO slew"] = ["BUSY 1", "EVT slew_finished ra=10 dec=20 tag={tag}"]
    positions = iter(["OK 10.1 20", "OK 10 20.001"])
    telescope.answers["GET position"] = lambda: next(positions)
    slew = telescope.begin(telescope.device.slew(10.0, 20.0, "", telescope.started.append))
    assert slew.result.error_arcsec == pytest.approx(3.6, abs=1e-3)
    assert telescope.script.count("DO slew") == 2
    assert telescope.started == [1.0]
    telescope.answers["GET position"] = "OK 10 20.01"
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    assert isinstance(slew.result, DeviceFailed)
    assert str(slew.result) == "Old telescope: 36 arcsec from the target after two slews (at most 30)"


def test_a_refusal_is_told_with_its_code(telescope: NativeRig) -> None:
    telescope.answers["DO slew"] = "ERR LIMIT altitude -3 is below the limit of 10"
    refusal = telescope.begin(telescope.device.slew(10.0, 20.0)).result
    assert isinstance(refusal, DeviceRefused)
    assert refusal.code == "LIMIT"
    assert str(refusal) == "LIMIT: altitude -3 is below the limit of 10"
    telescope.answers["DO slew"] = "ERR STATE the cover is closed"
    assert telescope.begin(telescope.device.slew(10.0, 20.0)).result.code == "STATE"
    assert telescope.script.count("DO unpark") == 0


@pytest.mark.parametrize(
    ("state", "code", "cure"), [("parked", "STATE", "unpark"), ("parking", "BUSY", "stop"), ("slewing", "BUSY", "stop")]
)
def test_a_parked_telescope_is_unparked_and_a_moving_one_stopped(
    telescope: NativeRig, state: str, code: str, cure: str
) -> None:
    answers = iter([f"ERR {code} it is {state}", ["BUSY 1", "EVT slew_finished tag={tag}"]])
    states = iter([f"OK {state}", "OK tracking"])
    telescope.answers |= {"GET state": lambda: next(states), "DO slew": lambda: next(answers)}
    assert telescope.begin(telescope.device.slew(10.0, 20.0)).result.ra == 10.001
    assert telescope.script.count(f"DO {cure}") == 1


def test_a_slew_is_not_sent_again_after_a_park(telescope: NativeRig) -> None:
    telescope.answers |= {"DO slew": ["BUSY 1", "EVT slew_finished tag={tag}"], "DO park": "OK"}

    def in_the_middle() -> str:
        telescope.device.park()
        return "OK 10.1 20"

    telescope.answers["GET position"] = in_the_middle
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    assert isinstance(slew.result, CommandAborted)
    assert telescope.script.count("DO slew") == 1


def test_a_slew_that_fails_says_why(telescope: NativeRig) -> None:
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.say('EVT slew_failed tag={tag} reason="cable wrap"')
    assert isinstance(slew.result, DeviceFailed)
    assert str(slew.result) == "Old telescope: slew failed: cable wrap"


def test_the_end_of_somebody_elses_slew_is_not_ours(telescope: NativeRig) -> None:
    slew = telescope.begin(telescope.device.slew(10.0, 20.0, "x"))
    telescope.say("EVT slew_finished ra=1 dec=1 tag=x", "EVT slew_finished ra=1 dec=1", "EVT limit_reached")
    assert not slew.results
    assert telescope.events == ["slew_finished", "slew_finished", "limit_reached"]
    telescope.say("EVT slew_aborted tag={tag}")
    assert isinstance(slew.result, CommandAborted)


def test_tags_are_never_used_again_also_not_by_the_next_process(telescope: NativeRig, clock: VirtualClock) -> None:
    tags = set()
    for _ in range(2):
        telescope.begin(telescope.device.slew(10.0, 20.0, "x"))
        tags.add(telescope.script.tag)
    telescope.world.run(1)
    later = instruments.connect("telescope", "native", ADDRESS, telescope.world, clock)
    telescope.begin(later.slew(10.0, 20.0, "x"))
    tags.add(telescope.script.tag)
    later.disconnect()
    assert len(tags) == 3


def test_a_slew_without_end_is_no_answer_after_its_estimate_and_a_margin(telescope: NativeRig) -> None:
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.world.run(22.0)
    assert not slew.results
    telescope.world.run(1.0)
    assert isinstance(slew.result, NoAnswer)
    assert "Old telescope: slew: no end within 22 s" in str(slew.result)


def test_a_slew_given_up_is_stopped(telescope: NativeRig) -> None:
    for ends in (telescope.device.slew, telescope.device.park):
        given_up = telescope.begin(ends(10.0, 20.0) if ends == telescope.device.slew else ends())
        telescope.world.run(41)
        assert isinstance(given_up.result, NoAnswer)
    assert telescope.script.count("DO stop") == 2


def test_a_limit_stands_in_the_address(rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock) -> None:
    rigs.append(NativeRig(world, clock, "telescope", "?slew_seconds=50&tolerance_arcsec=2"))
    rigs[0].answers |= {"DO slew": "BUSY 1", "GET position": "OK 10.001 20", "GET state": "OK tracking"}
    slew = rigs[0].begin(rigs[0].device.slew(10.0, 20.0))
    world.run(49)
    assert not slew.results
    world.run(2)
    assert "no end within 50 s" in str(slew.result)
    rigs[0].answers["DO slew"] = "OK"
    assert "(at most 2)" in str(rigs[0].begin(rigs[0].device.slew(10.0, 20.0)).result)


def test_a_mount_on_its_target_tracks_again_or_has_failed(telescope: NativeRig) -> None:
    telescope.answers |= {"DO slew": "OK", "GET state": "OK idle"}

    def track() -> str:
        telescope.answers["GET state"] = "OK tracking"
        return "OK"

    telescope.answers["DO track"] = track
    assert telescope.begin(telescope.device.slew(10.0, 20.0)).result.ra == 10.001
    assert telescope.script.asked.count("DO track on=1") == 1
    for answer in ("OK", "ERR LIMIT it has passed its meridian limit"):
        telescope.answers |= {"DO track": answer, "GET state": "OK idle"}
        failure = telescope.begin(telescope.device.slew(10.0, 20.0)).result
        assert isinstance(failure, DeviceFailed)
        assert "it is idle on its target, and doesn't track" in str(failure)
    assert telescope.script.count("DO stop") == 2


def test_a_slew_has_not_ended_while_the_mount_says_that_it_slews(telescope: NativeRig) -> None:
    telescope.answers |= {"DO slew": "OK", "GET state": "OK slewing", "GET position": "OK 50 20"}
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.world.run(3)
    assert not slew.results
    telescope.answers |= {"GET state": "OK tracking", "GET position": "OK 10 20"}
    telescope.world.run(1)
    assert slew.result.error_arcsec == 0
    assert telescope.script.count("DO slew") == 1


def test_park(telescope: NativeRig) -> None:
    parked = telescope.begin(telescope.device.park(telescope.started.append))
    assert telescope.started == [20.0]
    telescope.say("EVT park_finished")
    assert parked.result is None
    telescope.answers["DO park"] = "OK"
    assert telescope.begin(telescope.device.park()).result is None


def test_state_and_position(telescope: NativeRig) -> None:
    assert telescope.begin(telescope.device.state()).result == "tracking"
    assert telescope.begin(telescope.device.position()).result == instruments.Position(10.001, 20.0)
    for answer in ("OK", "OK 1", "OK 1 north", "OK nan 3", "BUSY 3"):
        telescope.answers["GET position"] = answer
        assert isinstance(telescope.begin(telescope.device.position()).result, DeviceFailed)
    telescope.answers["GET state"] = "OK dancing"
    assert "not one of idle, slewing" in str(telescope.begin(telescope.device.state()).result)
