"""What the INDI driver makes of mounts that are slow, refuse, lie or do not track, on virtual time."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pyros.errors import (
    CommandAborted,
    DeviceFailed,
    DeviceRefused,
    NoAnswer,
)
from pyros.instruments.drivers.coordinates import apparent_of_icrs
from pyros.planning import Site
from tests.instruments.conftest import DeviceWorld
from tests.instruments.indi.conftest import CANNOT, COORD, MOUNT, Make
from tests.instruments.indi.script import ADDRESS, IndiRig, Members, vector


def jnow(rig: IndiRig, ra: float, dec: float) -> Members:
    apparent = apparent_of_icrs(ra, dec, rig.clock.time())
    return {"RA": apparent[0] / 15, "DEC": apparent[1]}


def test_a_mount_that_says_ok_far_off_is_sent_there_again(mount: IndiRig, world: DeviceWorld) -> None:
    server = mount.server
    off = iter([170.0, 5.0, 1.0])

    def slew(told: Members) -> str:
        server.set(COORD, "Busy")
        world.callLater(
            3, server.say, server.set(COORD, "Ok", RA=told["RA"], DEC=float(told["DEC"]) + next(off) / 3600)
        )
        return vector("set", "Number", COORD, {"RA": 1.0, "DEC": 2.0}, "Busy")

    server.answers[COORD] = slew
    end = world.result(mount.device.slew(30.0, 40.0, "grb", mount.started.append), 60)
    assert end.error_arcsec == pytest.approx(1.0, abs=0.05)
    assert len(server.changes(COORD)) == 3
    assert mount.started == [60.0]


def test_a_mount_that_never_gets_there_has_failed(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.answers[COORD] = lambda told: mount.server.set(
        COORD, "Ok", RA=told["RA"], DEC=float(told["DEC"]) + 0.1
    )
    world.callLater(0, lambda: None)
    outcome = mount.begin(mount.device.slew(30.0, 40.0))
    for _ in range(200):
        if outcome:
            break
        mount.server.say(vector("set", "Number", COORD, mount.server.vectors[COORD][1], "Ok"))
        world.run(1)
    assert isinstance(outcome[0], DeviceFailed)
    assert "360 arcsec from the target after two slews" in str(outcome[0])


def test_a_refusal_that_is_only_a_message(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.answers[COORD] = '<message device="Dev" message="[ERROR] target is below the altitude limit"/>'
    with pytest.raises(DeviceRefused, match="LIMIT: Dev: slew grb: target is below the altitude limit"):
        world.result(mount.device.slew(30.0, 40.0, "grb"), 5)
    assert mount.device.connected


def test_a_mount_that_answers_nothing(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.answers[COORD] = ""
    world.fails(NoAnswer, "Dev: slew grb: no answer within 10 s", mount.device.slew(30.0, 40.0, "grb"), 11)
    assert [up for up, _ in mount.told] == [True, False]  # the connection is mount anew
    world.run(2)
    assert mount.device.connected


def test_numbers_in_numpys_words_are_understood(rig: Make, world: DeviceWorld) -> None:
    made = rig("telescope", MOUNT | {COORD: ("Number", {"RA": "np.float64(2.0)", "DEC": "np.float64(40.0)"}, "Ok")})
    position = world.result(made.device.position())
    assert jnow(made, position.ra, position.dec) == pytest.approx({"RA": 2.0, "DEC": 40.0})
    made.server.vectors[COORD] = ("Number", {"RA": "nowhere", "DEC": "1"}, "Ok")
    world.fails(DeviceFailed, "its position is no position: RA None, DEC 1", made.device.position())


def test_a_mount_of_j2000_is_told_icrs(rig: Make, world: DeviceWorld) -> None:
    vectors = {key: value for key, value in MOUNT.items() if key != COORD}
    made = rig("telescope", vectors | {"EQUATORIAL_COORD": ("Number", {"RA": 1.0, "DEC": 2.0}, "Idle")})
    end = world.result(made.device.slew(30.0, 40.0), 5)
    assert (end.ra, end.dec, end.error_arcsec) == (pytest.approx(30.0), pytest.approx(40.0), pytest.approx(0.0))
    assert [float(value) for value in made.server.changes("EQUATORIAL_COORD")[0].values()] == [2.0, 40.0]


@pytest.mark.parametrize(("west", "east", "side"), [(True, False, "west"), (False, True, "east"), (False, False, "")])
def test_a_mount_tells_the_side_of_its_pier(rig: Make, world: DeviceWorld, west: bool, east: bool, side: str) -> None:
    pier = {"TELESCOPE_PIER_SIDE": ("Switch", {"PIER_WEST": west, "PIER_EAST": east}, "Ok")}
    assert world.result(rig("telescope", MOUNT | pier).device.side(), 5) == side


def test_a_mount_without_a_pier_has_no_side(rig: Make, world: DeviceWorld) -> None:
    assert world.result(rig("telescope", MOUNT).device.side(), 5) == ""


def test_below_the_horizon_is_refused_before_the_mount_is_asked(rig: Make, world: DeviceWorld) -> None:
    made = rig("telescope", MOUNT, site=Site("x", 80.0, 0.0, 0.0))
    world.fails(DeviceRefused, "LIMIT: Dev: slew: the target is at altitude -", made.device.slew(30.0, -40.0))
    assert made.server.changes(COORD) == []


def test_what_is_no_position_is_not_sent(mount: IndiRig, world: DeviceWorld) -> None:
    for command in (mount.device.slew(math.nan, 0.0), mount.device.sync(10.0, 91.0)):
        world.fails(DeviceRefused, r"VALUE: .* is no position", command)
    assert mount.server.changes(COORD) == []


def test_a_slew_that_somebody_else_stops(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.answers[COORD] = lambda told: mount.server.set(COORD, "Busy")
    slew = mount.begin(mount.device.slew(30.0, 40.0))
    mount.server.say(mount.server.set(COORD, "Idle"))
    assert isinstance(slew[0], CommandAborted)


def test_a_stop_that_is_refused_leaves_the_slew(mount: IndiRig, world: DeviceWorld) -> None:
    server = mount.server
    server.answers[COORD] = lambda told: server.set(COORD, "Busy")
    server.answers["TELESCOPE_ABORT_MOTION"] = lambda _: server.set("TELESCOPE_ABORT_MOTION", "Alert")
    slew = mount.begin(mount.device.slew(30.0, 40.0))
    world.fails(DeviceRefused, "stop: TELESCOPE_ABORT_MOTION is Alert", mount.device.stop())
    assert slew == []
    del server.answers[COORD]
    server.say(server.set(COORD, "Ok", **jnow(mount, 30.0, 40.0)))
    assert slew[0].error_arcsec < 1


def test_a_sync_that_the_mount_does_not_take(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.answers[COORD] = lambda told: mount.server.set(COORD, "Ok")
    world.fails(DeviceFailed, "arcsec from there", mount.device.sync(30.0, 40.0))
    assert mount.server.changes("ON_COORD_SET")[-1] == {"TRACK": "On"}


def test_a_sync_that_a_settling_mount_passes_over_is_sent_again(mount: IndiRig, world: DeviceWorld) -> None:

    def answer(told: Any) -> str:
        taken = jnow(mount, 30.0, 40.0) if len(mount.server.changes(COORD)) > 1 else {}
        return mount.server.set(COORD, "Ok", **taken)

    mount.server.answers[COORD] = answer
    world.result(mount.device.sync(30.0, 40.0))
    assert len(mount.server.changes(COORD)) == 2
    assert mount.server.changes("ON_COORD_SET")[-1] == {"TRACK": "On"}


def moving_mount(rig: Make, refuses: bool = True, **named: Any) -> IndiRig:
    """Make a mount that slews without an end, takes no other slew meanwhile, and stands still when it is aborted."""
    made = rig("telescope", MOUNT, **named)
    server = made.server

    def slew(told: Members) -> str:
        if refuses and server.vectors[COORD][2] == "Busy":
            return CANNOT + server.set(COORD, "Alert")
        return server.set(COORD, "Busy")

    server.answers[COORD] = slew
    server.answers["TELESCOPE_ABORT_MOTION"] = lambda _: (
        server.set("TELESCOPE_ABORT_MOTION", ABORT=False) + server.set(COORD, "Ok")
    )
    return made


@pytest.fixture
def moving(rig: Make) -> IndiRig:
    return moving_mount(rig)


def test_a_slew_refused_because_it_moves_is_sent_again_after_a_stop(moving: IndiRig, world: DeviceWorld) -> None:
    first = moving.begin(moving.device.slew(100.0, 45.0), 2)
    second = moving.begin(moving.device.slew(30.0, 40.0), 2)
    assert isinstance(first[0], CommandAborted)
    assert moving.server.changes("TELESCOPE_ABORT_MOTION") == [{"ABORT": "On"}]
    assert len(moving.server.changes(COORD)) == 3
    moving.server.say(moving.server.set(COORD, "Ok", **jnow(moving, 30.0, 40.0)))
    assert second[0].error_arcsec < 1


def test_a_refusal_is_seen_among_the_positions_of_an_older_slew(rig: Make, world: DeviceWorld) -> None:
    made = moving_mount(rig, refuses=False)
    made.begin(made.device.slew(100.0, 45.0), 2)
    made.server.answers[COORD] = lambda _: (
        CANNOT * (made.server.vectors[COORD][2] == "Busy") + made.server.set(COORD, "Busy")
    )
    second = made.begin(made.device.slew(30.0, 40.0), 2)
    assert made.server.changes("TELESCOPE_ABORT_MOTION") == [{"ABORT": "On"}]
    made.server.say(made.server.set(COORD, "Ok", **jnow(made, 30.0, 40.0)))
    assert second[0].error_arcsec < 1


def test_a_mount_that_takes_no_slew_is_left_standing(moving: IndiRig, world: DeviceWorld) -> None:
    moving.begin(moving.device.slew(100.0, 45.0), 2)
    moving.server.answers[COORD] = lambda _: CANNOT + moving.server.set(COORD, "Alert")
    second = moving.begin(moving.device.slew(30.0, 40.0), 20)
    assert isinstance(second[0], DeviceRefused)
    assert second[0].code == "BUSY"
    assert moving.server.vectors[COORD][2] != "Busy"
    assert len(moving.server.changes("TELESCOPE_ABORT_MOTION")) == 3
    assert world.result(moving.device.state()) == "idle"


def test_a_slew_that_is_given_up_is_stopped(rig: Make, world: DeviceWorld) -> None:
    made = moving_mount(rig, address=f"{ADDRESS}?slew_seconds=20")
    world.fails(NoAnswer, "no end within 20 s", made.device.slew(30.0, 40.0), 25)
    assert made.server.changes("TELESCOPE_ABORT_MOTION") == [{"ABORT": "On"}]
    assert world.result(made.device.state()) == "idle"


def test_a_slew_without_an_answer_is_stopped_on_the_next_connection(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.answers[COORD] = ""
    slew = mount.begin(mount.device.slew(30.0, 40.0), 30)
    assert isinstance(slew[0], NoAnswer)
    assert mount.device.connected
    assert mount.server.changes("TELESCOPE_ABORT_MOTION") == [{"ABORT": "On"}]


def test_a_refused_slew_leaves_a_mount_that_stands(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.answers[COORD] = '<message device="Dev" message="[ERROR] target is below the altitude limit"/>'
    world.fails(DeviceRefused, "", mount.device.slew(30.0, 40.0, "grb"), 5)
    assert mount.server.changes("TELESCOPE_ABORT_MOTION") == []


def test_a_mount_on_its_target_that_says_it_slews_is_stopped_there(moving: IndiRig, world: DeviceWorld) -> None:
    slew = moving.begin(moving.device.slew(30.0, 40.0))
    for second in range(12):
        moving.server.say(moving.server.set(COORD, "Busy", **jnow(moving, 30.0, 40.0)))
        assert bool(slew) == (second >= 10)
        if slew:
            break
        world.run(1)
    assert slew[0].error_arcsec < 1
    assert moving.server.changes("TELESCOPE_ABORT_MOTION") == [{"ABORT": "On"}]
    assert moving.server.changes("TELESCOPE_TRACK_STATE") == [{"TRACK_ON": "On"}]
    assert world.result(moving.device.state()) == "tracking"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("Alert", "TELESCOPE_TRACK_STATE is Alert: it is on its target, and does not track"),
        ("Ok", "it is on its target, and does not track, though it was told to"),
    ],
)
def test_a_mount_on_its_target_that_does_not_track_has_failed(
    mount: IndiRig, world: DeviceWorld, answer: str, problem: str
) -> None:
    server = mount.server
    server.answers[COORD] = lambda told: server.set(COORD, "Ok", **told)
    server.answers["TELESCOPE_TRACK_STATE"] = lambda _: server.set("TELESCOPE_TRACK_STATE", answer)
    world.fails(DeviceFailed, problem, mount.device.slew(30.0, 40.0), 10)


def test_a_mount_that_stands_idle_on_its_target_is_told_to_track(moving: IndiRig, world: DeviceWorld) -> None:
    slew = moving.begin(moving.device.slew(30.0, 40.0))
    moving.server.say(moving.server.set(COORD, "Idle", **jnow(moving, 30.0, 40.0)))
    assert slew[0].error_arcsec < 1
    assert moving.server.changes("TELESCOPE_TRACK_STATE") == [{"TRACK_ON": "On"}]


def test_a_mount_that_cannot_be_told_to_track_and_is_idle_has_failed(rig: Make, world: DeviceWorld) -> None:
    made = rig("telescope", {name: each for name, each in MOUNT.items() if name != "TELESCOPE_TRACK_STATE"})
    made.server.answers[COORD] = lambda told: made.server.set(COORD, "Busy")
    slew = made.begin(made.device.slew(30.0, 40.0))
    made.server.say(made.server.set(COORD, "Idle", **jnow(made, 30.0, 40.0)))
    assert isinstance(slew[0], DeviceFailed)
    assert str(slew[0]) == "Dev: slew: it is on its target, and does not track"


def test_a_mount_that_does_not_park_while_it_moves_is_stopped_first(moving: IndiRig, world: DeviceWorld) -> None:
    server = moving.server
    server.answers["TELESCOPE_PARK"] = lambda _: (
        CANNOT + server.set("TELESCOPE_PARK", "Alert")
        if server.vectors[COORD][2] == "Busy"
        else server.set("TELESCOPE_PARK", "Ok", PARK=True, UNPARK=False)
    )
    moving.begin(moving.device.slew(100.0, 45.0), 2)
    world.result(moving.device.park())
    assert server.changes("TELESCOPE_ABORT_MOTION") == [{"ABORT": "On"}]
    assert world.result(moving.device.state()) == "parked"


@pytest.mark.parametrize(
    ("tracking", "coordinates", "state"),
    [
        (("Busy", True), "Ok", "tracking"),
        (("Busy", True), "Idle", "tracking"),
        (("Idle", False), "Ok", "idle"),
        (("Alert", True), "Ok", "idle"),
        (("Busy", True), "Alert", "idle"),
        (("Busy", True), "Busy", "slewing"),
    ],
)
def test_a_mount_tracks_while_all_of_it_says_so(
    mount: IndiRig, world: DeviceWorld, tracking: tuple[str, bool], coordinates: str, state: str
) -> None:
    on = tracking[1]
    mount.server.say(
        mount.server.set("TELESCOPE_TRACK_STATE", tracking[0], TRACK_ON=on, TRACK_OFF=not on),
        mount.server.set(COORD, coordinates),
    )
    assert world.result(mount.device.state()) == state


@pytest.mark.parametrize(("arcsec_a_second", "state"), [(15.04, "idle"), (0.5, "tracking")])
def test_a_mount_that_goes_on_against_the_sky_does_not_track(
    mount: IndiRig, world: DeviceWorld, arcsec_a_second: float, state: str
) -> None:
    mount.server.say(mount.server.set("TELESCOPE_TRACK_STATE", "Busy", TRACK_ON=True, TRACK_OFF=False))
    for seconds in range(15):
        there = {"RA": 6.0 + seconds * arcsec_a_second / 3600 / 15, "DEC": 40.0}
        mount.server.say(mount.server.set(COORD, "Ok", **there))
        told = world.result(mount.device.state())
        world.run(1)
    assert told == state
    world.run(30)
    world.result(mount.device.state())
    world.run(11)
    assert world.result(mount.device.state()) == "tracking"  # it stands on the sky again


def test_the_address_tells_how_exact_a_slew_is(rig: Make, world: DeviceWorld) -> None:
    made = rig("telescope", MOUNT, address=f"{ADDRESS}?tolerance_arcsec=600")
    server = made.server
    server.answers[COORD] = lambda told: server.set(COORD, "Busy")
    slew = made.begin(made.device.slew(30.0, 40.0))
    for _ in range(3):  # it is sent there again as long as it is farther off than the finest slew
        server.say(server.set(COORD, "Ok", **jnow(made, 30.0, 40.1)))
    assert slew[0].error_arcsec == pytest.approx(360.0, abs=1)
