"""The native driver against scripted devices: what it asks, and every way in which it can end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from twisted.internet.defer import CancelledError

from pyros import instruments
from pyros.backoff import STEADY_SECONDS
from pyros.clock import VirtualClock
from pyros.errors import (
    CommandAborted,
    ConfigError,
    ConnectionLost,
    DeviceFailed,
    DeviceRefused,
    InstrumentError,
    NoAnswer,
)
from pyros.instruments.drivers.reconnecting import RETRY_SECONDS
from tests.instruments.conftest import MIDNIGHT, DeviceWorld, DriverRig, Pending, ScriptedNative

ADDRESS = "tcp:127.0.0.1:6010"


class NativeRig(DriverRig):
    """A driver and the scripted device at its other end."""

    def __init__(self, world: DeviceWorld, clock: VirtualClock, kind: Any, options: str = "") -> None:
        self.script = ScriptedNative(world, kind)
        self.answers = self.script.answers
        super().__init__(world, clock, kind, "native", ADDRESS + options)
        world.run()

    def say(self, *lines: str) -> None:
        """Have the device say something by itself."""
        self.script.say(*lines)
        self.world.run()


@pytest.fixture
def rigs(world: DeviceWorld, clock: VirtualClock) -> Iterator[list[NativeRig]]:
    made: list[NativeRig] = []
    yield made
    for rig in made:
        closed = rig.device.disconnect()
        world.run()
        assert closed.called


@pytest.fixture
def telescope(rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock) -> NativeRig:
    rigs.append(NativeRig(world, clock, "telescope"))
    rigs[0].answers |= {
        "GET state": "OK tracking",
        "DO slew": "BUSY 12.5",
        "GET position": "OK 10.001 20.0",
        "DO stop": "OK",
        "DO unpark": "OK",
        "DO park": "BUSY 20",
    }
    return rigs[0]


@pytest.fixture
def camera(rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock) -> NativeRig:
    rigs.append(NativeRig(world, clock, "camera"))
    rigs[0].answers |= {
        "GET state": "OK idle",
        "GET filters": "OK g r 'i",
        "GET geometry": "OK 3 2 16 1.8",
        "GET temperature": "OK -20.5",
        "GET gain": "OK 1.5",
        "SET filter": "OK",
        "DO expose": "BUSY 6",
        "DO abort": ["OK", "EVT exposure_aborted tag={tag}"],
        "GET image": ["OK 3 2 16 block=12", struct.pack("<6H", 1, 2, 3, 4, 5, 65535)],
    }
    return rigs[0]


@pytest.fixture
def dome(rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock) -> NativeRig:
    rigs.append(NativeRig(world, clock, "dome"))
    rigs[0].answers |= {"GET state": "OK closed", "DO open": "BUSY 20", "DO close": "BUSY 20", "DO stop": "OK"}
    return rigs[0]


@pytest.fixture
def weather(rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock) -> NativeRig:
    rigs.append(NativeRig(world, clock, "weather"))
    return rigs[0]


# The telescope.


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


# The connection.


def test_the_connection_is_reported_with_the_devices_name(telescope: NativeRig) -> None:
    assert telescope.told == [(True, f"Old telescope at {ADDRESS}")]
    assert telescope.device.connected
    assert telescope.device.name == "Old telescope"


def test_a_lost_connection_fails_what_is_pending_and_is_made_again(telescope: NativeRig) -> None:
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.answers["GET state"] = []
    asking = telescope.begin(telescope.device.state())
    telescope.world.drop()
    for pending in (slew, asking):
        assert isinstance(pending.result, ConnectionLost)
        assert str(pending.result).startswith(f"telescope at {ADDRESS}: Connection was closed")
    telescope.answers["GET state"] = "OK slewing"
    state = telescope.begin(telescope.device.state())
    assert not state.results
    telescope.world.run(1.0)
    assert state.result == "slewing"
    assert [up for up, _ in telescope.told] == [True, False, True]


def test_a_device_that_drops_what_it_has_taken_is_tried_ever_more_rarely(telescope: NativeRig) -> None:
    def pause() -> float:
        telescope.world.drop()
        begun = telescope.world.seconds()
        telescope.world.run()
        while not telescope.device.connected:
            telescope.world.run(0.1)
        return telescope.world.seconds() - begun

    pauses = [pause() for _ in range(10)]
    assert pauses[:6] == pytest.approx(RETRY_SECONDS, abs=0.11)
    assert pauses[6:] == pytest.approx([RETRY_SECONDS[-1]] * 4, abs=0.11)
    telescope.world.run(STEADY_SECONDS)
    assert pause() == pytest.approx(RETRY_SECONDS[0], abs=0.11)


def test_without_a_device_a_command_ends_naming_the_address(world: DeviceWorld, clock: VirtualClock) -> None:
    reports: list[tuple[bool, str]] = []
    telescope = instruments.connect(
        "telescope", "native", ADDRESS, world, clock, on_connection=lambda *report: reports.append(report)
    )
    world.fails(ConnectionLost, r"^telescope at tcp:127.0.0.1:6010: Connection was refused", telescope.state(), 6)
    assert len(reports) == 1
    assert not reports[0][0]
    later = telescope.state()
    world.run(3.0)
    ScriptedNative(world, "telescope").answers["GET state"] = "OK idle"
    assert world.result(later, 2.0) == "idle"
    world.result(telescope.disconnect())


def test_a_silent_device_is_no_answer_and_the_connection_is_made_anew(telescope: NativeRig) -> None:
    telescope.answers["GET state"] = []
    asking = telescope.begin(telescope.device.state())
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.world.run(5.1)
    assert isinstance(asking.result, NoAnswer)
    assert str(asking.result) == f"telescope at {ADDRESS}: no answer to GET state within 5 s"
    assert isinstance(slew.result, ConnectionLost)
    telescope.world.run(1.0)
    assert telescope.device.connected


@pytest.mark.parametrize("garbage", ["hello?", "OK stray", "ERR SYNTAX what?", "EVT a" + " b" * 5000, "\udce9"])
def test_a_device_that_breaks_the_grammar_is_dropped(telescope: NativeRig, garbage: str) -> None:
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.script.lines[-1].send(garbage.encode(errors="surrogateescape") + b"\n")
    telescope.world.run()
    assert isinstance(slew.result, ConnectionLost)
    assert "it sent" in str(slew.result)
    telescope.world.run(1)
    assert telescope.device.connected


def test_a_device_of_another_kind_is_never_commanded(world: DeviceWorld, clock: VirtualClock) -> None:
    script = ScriptedNative(world, "dome")
    telescope = instruments.connect("telescope", "native", ADDRESS, world, clock)
    world.fails(ConnectionLost, "'Old dome' is a dome, not a telescope", telescope.slew(10.0, 20.0), 6)
    assert set(script.asked) == {"GET id"}
    assert len(script.asked) < 12
    world.result(telescope.disconnect())


def test_disconnect_while_connecting_or_waiting_leaves_nothing(world: DeviceWorld, clock: VirtualClock) -> None:
    connecting = instruments.connect("dome", "native", ADDRESS, world, clock)
    asking = Pending(connecting.state())
    world.result(connecting.disconnect())
    assert isinstance(asking.result, ConnectionLost)
    waiting = instruments.connect("dome", "native", ADDRESS, world, clock)
    world.run(0.05)
    world.result(waiting.disconnect())
    world.fails(ConnectionLost, "disconnected", waiting.open())
    assert not world.getDelayedCalls()


def test_cancelling_stops_the_waiting_and_not_the_device(telescope: NativeRig) -> None:
    waiting = telescope.device.slew(50.0, 20.0)
    slew = telescope.begin(waiting)
    waiting.cancel()
    assert isinstance(slew.result, CancelledError)
    telescope.answers["GET state"] = []
    asking = telescope.device.state()
    state = telescope.begin(asking)
    asking.cancel()
    telescope.script.say("#3 OK slewing", "EVT slew_finished tag={tag}")
    telescope.world.run(30)
    assert isinstance(state.result, CancelledError)
    assert telescope.device.connected
    assert telescope.events == ["slew_finished"]
    assert telescope.script.count("DO stop") == 0


def test_a_thousand_requests_need_no_thousand_round_trips(telescope: NativeRig) -> None:
    """They are all on the wire before the first answer, and each gets its own."""
    numbers = iter(range(1000))
    telescope.answers["GET position"] = lambda: f"OK {next(numbers)} 0"
    asked = [Pending(telescope.device.position()) for _ in range(1000)]
    telescope.world.run()
    assert [pending.result.ra for pending in asked] == list(range(1000))


def test_disconnect_ends_what_is_pending(telescope: NativeRig) -> None:
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.begin(telescope.device.disconnect())
    assert isinstance(slew.result, ConnectionLost)
    telescope.world.run(60)
    assert not telescope.device.connected


@pytest.mark.parametrize(
    "address", ["127.0.0.1:6010", "tcp:127.0.0.1", "tcp::6010", "tcp:h:0", "tcp:h:65536", "tcp:a b:1", "udp:h:1", ""]
)
def test_a_wrong_address_is_told(world: DeviceWorld, clock: VirtualClock, address: str) -> None:
    with pytest.raises(ConfigError, match=r"address = .*: must be tcp:HOST:PORT, such as"):
        instruments.connect("dome", "native", address, world, clock)


def test_a_wrong_driver_or_kind_is_told(world: DeviceWorld, clock: VirtualClock) -> None:
    with pytest.raises(ConfigError, match=r"driver = indy: must be one of .*native"):
        instruments.connect("dome", "indy", ADDRESS, world, clock)
    with pytest.raises(ConfigError, match="kind = roof: must be one of telescope, camera, "):
        instruments.connect("roof", "native", ADDRESS, world, clock)


# The camera.


def test_an_exposure_ends_with_its_image(camera: NativeRig) -> None:
    exposure = camera.begin(camera.device.expose(5.0, "r", "o1", camera.started.append))
    assert camera.script.asked[-2] == "SET filter r"
    assert camera.script.asked[-1].startswith("DO expose seconds=5 tag=o1~")
    assert camera.started == []
    camera.world.run(0.5)
    camera.script.say("EVT exposure_started tag={tag}")
    camera.world.run(5)
    assert camera.started == [6.0]
    camera.script.say("EVT exposure_finished tag={tag}", "EVT image_ready tag=another")
    camera.world.run(1)
    assert not exposure.results
    assert camera.events == ["image_ready"]
    camera.say("EVT image_ready tag={tag}")
    image = exposure.result
    assert image.pixels.tolist() == [[1, 2, 3], [4, 5, 65535]]
    assert image.pixels.dtype == np.uint16
    assert datetime.fromtimestamp(image.started, UTC) == MIDNIGHT.replace(microsecond=500_000)
    assert (image.seconds, image.filter, image.temperature, image.gain) == (5.0, "r", -20.5, 1.5)
    assert image.arcsec_per_pixel == 1.8


@pytest.mark.parametrize("state", ["exposing", "reading"])
def test_the_filter_of_an_exposure_under_way_is_not_touched(camera: NativeRig, state: str) -> None:
    camera.answers["GET state"] = f"OK {state}"
    refusal = camera.begin(camera.device.expose(5.0, "r")).result
    assert isinstance(refusal, DeviceRefused)
    assert refusal.code == "BUSY"
    camera.answers["GET state"] = "OK ready"
    running = camera.begin(camera.device.expose(5.0, "r"))
    assert camera.begin(camera.device.expose(5.0, "g")).result.code == "BUSY"
    assert [line for line in camera.script.asked if line.startswith("SET")] == ["SET filter r"]
    assert not running.results


@pytest.mark.parametrize(
    ("event", "error"), [("exposure_aborted", CommandAborted), ("exposure_failed reason=dark", DeviceFailed)]
)
def test_an_exposure_that_ends_without_an_image(camera: NativeRig, event: str, error: type[InstrumentError]) -> None:
    exposure = camera.begin(camera.device.expose(5.0, "r"))
    camera.say(f"EVT {event} tag={{tag}}")
    assert isinstance(exposure.result, error)


def test_abort(camera: NativeRig) -> None:
    exposure = camera.begin(camera.device.expose(5.0, "r"))
    assert camera.begin(camera.device.abort()).result is None
    assert isinstance(exposure.result, CommandAborted)
    again = camera.begin(camera.device.expose(5.0, "r"))
    assert not again.results
    assert camera.script.count("DO expose") == 2


@pytest.mark.parametrize("name", ['r"; \\x', "é=1"])
def test_a_filter_is_quoted_and_a_wrong_one_refused(camera: NativeRig, name: str) -> None:
    camera.answers["SET filter"] = "ERR VALUE filter must be one of g, r, i"
    refusal = camera.begin(camera.device.expose(5.0, name)).result
    assert str(refusal) == "VALUE: filter must be one of g, r, i"
    assert camera.script.count("DO expose") == 0


def test_what_no_line_can_carry_is_refused_unsent(camera: NativeRig) -> None:
    for name in ("r\nDO abort", "x" * 5000, "\udc80"):
        assert isinstance(camera.begin(camera.device.expose(5.0, name)).result, DeviceRefused)
    assert camera.script.count("SET filter") == 0


@pytest.mark.parametrize(
    "answer",
    [
        "OK 3 2 16",
        ["OK 3 2 12 block=6", b"123456"],
        ["OK 3 3 16 block=12", b"123456789012"],
        ["OK block=2", b"12"],
    ],
)
def test_an_image_that_is_none(camera: NativeRig, answer: Any) -> None:
    camera.answers["GET image"] = answer
    camera.answers["DO expose"] = ["BUSY 1", "EVT exposure_started tag={tag}", "EVT image_ready tag={tag}"]
    assert isinstance(camera.begin(camera.device.expose(5.0, "r")).result, DeviceFailed)
    assert camera.device.connected


@pytest.mark.parametrize(
    ("bits", "kind", "kept"),
    [
        ("8", "u1", [0, 1, 255]), ("16", "<u2", [0, 1, 65535]), ("32", "<u4", [0, 1, 65535]),
        ("-32", "<f4", [0, 1, 65535]), ("-64", "<f8", [0, 1, 65535]),
    ],
)  # fmt: skip
def test_an_image_is_taken_by_what_is_in_it(camera: NativeRig, bits: str, kind: str, kept: list[int]) -> None:
    values = np.array([[0, 1, 255 if bits == "8" else 65535 if bits == "16" else 70000]], kind)
    camera.answers["GET image"] = [f"OK 3 1 {bits} seconds=4.98 block={values.nbytes}", values.tobytes()]
    camera.answers["DO expose"] = ["BUSY 1", "EVT exposure_started tag={tag}", "EVT image_ready tag={tag}"]
    image = camera.begin(camera.device.expose(5.0, "r")).result
    assert image.pixels.tolist() == [kept]
    assert image.seconds == 4.98


@pytest.mark.parametrize("answer", ["ERR STATE no sensor", "OK", "OK cold", "OK nan", "BUSY 3", "OK -300", "OK 1 2"])
def test_an_image_is_kept_whatever_the_thermometer_says(camera: NativeRig, answer: str) -> None:
    camera.answers |= {"GET temperature": answer, "GET gain": answer}
    camera.answers["DO expose"] = ["BUSY 1", "EVT exposure_started tag={tag}", "EVT image_ready tag={tag}"]
    image = camera.begin(camera.device.expose(5.0, "r")).result
    assert (image.temperature, image.gain, image.pixels[0, 0]) == (None, None, 1)


def test_an_image_is_kept_though_the_thermometer_is_silent(camera: NativeRig) -> None:
    camera.answers |= {"GET temperature": [], "GET gain": []}
    camera.answers["DO expose"] = ["BUSY 1", "EVT exposure_started tag={tag}", "EVT image_ready tag={tag}"]
    exposure = camera.begin(camera.device.expose(5.0, "r"))
    camera.world.run(20)
    assert (exposure.result.temperature, exposure.result.gain) == (None, None)


def test_a_large_image_may_take_long_but_not_stand_still(camera: NativeRig) -> None:
    camera.answers["GET image"] = ["OK 300 200 16 block=120000"]
    camera.answers["DO expose"] = ["BUSY 1", "EVT image_ready tag={tag}"]
    exposure = camera.begin(camera.device.expose(5.0, "r"))
    for _ in range(6):
        camera.world.run(4.0)
        camera.script.lines[-1].send(b"x" * 5000)
    camera.world.run()
    assert not exposure.results
    camera.world.run(40.0)
    assert isinstance(exposure.result, NoAnswer)


def test_an_image_of_a_byte_now_and_then_has_an_end(camera: NativeRig) -> None:
    camera.answers["GET image"] = ["OK 300 200 16 block=120000"]
    camera.answers["DO expose"] = ["BUSY 1", "EVT image_ready tag={tag}"]
    exposure = camera.begin(camera.device.expose(5.0, "r"))
    for _ in range(15):
        camera.world.run(1.0)
        if not exposure.results:
            camera.script.lines[-1].send(b"x")
    assert isinstance(exposure.result, NoAnswer)


def test_what_the_camera_is(camera: NativeRig) -> None:
    assert camera.begin(camera.device.filters()).result == ("g", "r", "'i")
    assert camera.begin(camera.device.geometry()).result == instruments.Geometry(3, 2, 16, 1.8)
    assert camera.begin(camera.device.state()).result == "idle"


# The dome and the weather.


def test_a_turn_that_is_stopped_ends_though_the_dome_says_nothing(dome: NativeRig) -> None:
    dome.answers["DO rotate"] = "BUSY 20"
    turn = dome.begin(dome.device.rotate(90.0))
    dome.begin(dome.device.stop())
    assert isinstance(turn.result, CommandAborted)


def test_what_is_closed_before_a_closing_begins_was_an_older_one(dome: NativeRig) -> None:
    def closed_before() -> str:
        dome.script.say("EVT closed")
        return "BUSY 20"

    dome.answers["DO close"] = closed_before
    closing = dome.begin(dome.device.close())
    assert not closing.results
    dome.say("EVT closed")
    assert closing.result is None


def test_open_and_close(dome: NativeRig) -> None:
    opening = dome.begin(dome.device.open(dome.started.append))
    assert dome.started == [20.0]
    dome.say("EVT opened")
    assert opening.result is None
    dome.answers["DO open"] = "OK"
    assert dome.begin(dome.device.open()).result is None
    closing = dome.begin(dome.device.close())
    dome.say("EVT closed")
    assert closing.result is None


def test_it_can_be_closed_as_soon_as_it_begins_to_open(dome: NativeRig) -> None:
    closing: list[Any] = []
    opening = dome.begin(dome.device.open(lambda seconds: closing.append(dome.device.close())))
    dome.world.run()
    assert isinstance(opening.result, CommandAborted)
    dome.script.say("EVT closed")
    assert dome.world.result(closing[0]) is None


def test_a_dome_that_says_nothing_is_looked_at(dome: NativeRig) -> None:
    closing = dome.begin(dome.device.close())
    dome.answers["GET state"] = "OK stopped"
    dome.world.run(31)
    assert isinstance(closing.result, DeviceFailed)
    assert str(closing.result).endswith("it is stopped")
    closing = dome.begin(dome.device.close())
    dome.answers["GET state"] = "OK closed"
    dome.world.run(31)
    assert closing.result is None


def test_the_weather_is_read(weather: NativeRig) -> None:
    weather.answers["GET readings"] = (
        "OK temperature=-3.5 humidity=102 wind=4 rain=1 cloud=0.25 pressure=730 gust=9 age=2.5"
    )
    reading = weather.begin(weather.device.read()).result
    assert (reading.temperature, reading.humidity, reading.wind, reading.cloud) == (-3.5, 100, 4, 0.25)
    assert (reading.rain, reading.gust, reading.age, reading.dew_point) == (True, 9, 2.5, None)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("OK", "it tells no rain; if it has no sensor for rain, say so in its address: .without=rain"),
        ("OK temperature=1 humidity=80 wind=4 rain=0", r"it tells no cloud; .* \?without=cloud"),
        ("OK temperature=warm humidity=80 wind=4 rain=0 cloud=0", "to GET readings"),
        ("OK temperature=1 humidity=2 wind=nan rain=0 cloud=0", "wind of nan m/s"),
        ("OK temperature=1 humidity=2 wind=-1 rain=0 cloud=0", "wind of -1 m/s: it can only be 0 to 100"),
        ("OK temperature=-127 humidity=2 wind=1 rain=0 cloud=0", "temperature of -127 degrees Celsius"),
        ("OK temperature=1 humidity=140 wind=1 rain=0 cloud=0", "humidity of 140 percent"),
        ("OK temperature=1 humidity=2 wind=1 rain=0 cloud=-1", "cloud of -1 of the sky"),
        ("OK temperature=1 humidity=2 wind=1 rain=0 cloud=0 gust=-999", "gust of -999 m/s"),
        ("OK temperature=1 humidity=2 wind=1 rain=0 cloud=0 age=301", "its readings are 301 s old, more than 300 s"),
        ("OK temperature=1 humidity=2 wind=1 rain=0 cloud=0 age=-1", "that is no age"),
    ],
)
def test_weather_that_cannot_be_read_is_no_good_weather(weather: NativeRig, answer: str, words: str) -> None:
    weather.answers["GET readings"] = answer
    with pytest.raises(DeviceFailed, match=words):
        raise weather.begin(weather.device.read()).result


def test_what_the_address_names_as_absent_is_unknown(
    rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock
) -> None:
    rigs.append(NativeRig(world, clock, "weather", "?without=rain,cloud&oldest_seconds=5"))
    weather = rigs[-1]
    weather.answers["GET readings"] = "OK temperature=1 humidity=2 wind=1 cloud=-999 age=4"
    reading = weather.begin(weather.device.read()).result
    assert (reading.rain, reading.cloud) == (None, None)
    weather.answers["GET readings"] = "OK temperature=1 humidity=2 wind=1 age=6"
    with pytest.raises(DeviceFailed, match="its readings are 6 s old, more than 5 s"):
        raise weather.begin(weather.device.read()).result


def test_gain_and_binning_are_told_in_the_grammars_words(camera: NativeRig) -> None:
    camera.answers |= {"SET gain": "OK", "GET max_binning": "OK 3"}
    camera.begin(camera.device.configure(2.5))
    assert camera.script.asked[-1] == "SET gain 2.5"
    assert camera.begin(camera.device.max_binning()).result == 3
    exposure = camera.begin(camera.device.expose(5.0, "r", "o1", binning=2))
    assert camera.script.asked[-1].endswith(" binning=2")
    camera.say("EVT exposure_started tag={tag}", "EVT exposure_finished tag={tag}", "EVT image_ready tag={tag}")
    assert (exposure.result.binning, exposure.result.arcsec_per_pixel) == (2, 3.6)


@pytest.mark.parametrize(
    ("answer", "modes"), [('OK Normal "Low noise"', ("Normal", "Low noise")), ("ERR UNKNOWN there is none", ())]
)
def test_readout_modes_are_those_that_the_camera_tells(camera: NativeRig, answer: str, modes: tuple[str, ...]) -> None:
    camera.answers |= {"GET readout_modes": answer, "SET readout_mode": "OK"}
    assert camera.begin(camera.device.readout_modes()).result == modes
    refusal = camera.begin(camera.device.configure(5.0, "Fast")).result
    assert (type(refusal), refusal.code) == (DeviceRefused, "UNSUPPORTED")
    assert camera.script.count("SET gain") == 0, "nothing is set then"
    if modes:
        camera.begin(camera.device.configure(None, "Low noise"))
        assert camera.script.asked[-1] == 'SET readout_mode "Low noise"'


@pytest.mark.parametrize(
    "answer", ["ERR UNKNOWN there is no such property", "ERR SYNTAX what", "OK 0", "OK 99999", "OK -3", "OK 2.9"]
)
def test_what_a_camera_says_of_binning_is_within_bounds(camera: NativeRig, answer: str) -> None:
    camera.answers["GET max_binning"] = answer
    assert camera.begin(camera.device.max_binning()).result == (2 if answer == "OK 2.9" else 1)
