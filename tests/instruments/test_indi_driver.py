"""The INDI driver against a scripted server, on virtual time: what servers and drivers do that simulators don't."""

from __future__ import annotations

import base64
import io
import math
import re
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from pyros import instruments
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
from pyros.instruments.drivers.coordinates import apparent_of_icrs
from pyros.instruments.drivers.horizon import altitude
from pyros.instruments.indi.image import decode
from pyros.planning import Site
from pyros.planning.visibility import altitude_azimuth
from tests.instruments.conftest import DeviceWorld
from tests.instruments.indi_in_memory import MemoryIndiCamera
from tests.instruments.indi_script import ADDRESS, IndiRig, Members, vector

Make = Callable[..., IndiRig]


@pytest.fixture
def rig(world: DeviceWorld, clock: VirtualClock) -> Iterator[Make]:
    made: list[IndiRig] = []

    def make(kind: str, vectors: dict[str, Any], **named: Any) -> IndiRig:
        made.append(IndiRig(world, clock, kind, vectors, **named))
        return made[-1]

    yield make
    for each in made:
        closed = each.device.disconnect()
        world.run()
        assert closed.called


MOUNT = {
    "EQUATORIAL_EOD_COORD": ("Number", {"RA": 1.0, "DEC": 2.0}, "Idle"),
    "ON_COORD_SET": ("Switch", {"TRACK": True, "SLEW": False, "SYNC": False}, "Idle"),
    "TELESCOPE_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle"),
    "TELESCOPE_TRACK_STATE": ("Switch", {"TRACK_ON": False, "TRACK_OFF": True}, "Idle"),
    "TELESCOPE_PARK": ("Switch", {"PARK": False, "UNPARK": True}, "Ok"),
    "TIME_UTC": ("Text", {"UTC": "", "OFFSET": ""}, "Idle"),
    "GEOGRAPHIC_COORD": ("Number", {"LAT": 0.0, "LONG": 0.0, "ELEV": 0.0}, "Idle"),
}
COORD = "EQUATORIAL_EOD_COORD"


@pytest.fixture
def mount(rig: Make) -> IndiRig:
    return rig("telescope", MOUNT)


def jnow(rig: IndiRig, ra: float, dec: float) -> Members:
    apparent = apparent_of_icrs(ra, dec, rig.clock.time())
    return {"RA": apparent[0] / 15, "DEC": apparent[1]}


# Coordinates -------------------------------------------------------------------------------------------------------


def test_altitudes_are_those_of_the_planning() -> None:
    site, when = Site("x", 43.9, 5.7, 650.0), 1_790_000_000.0
    expected, _ = altitude_azimuth(site, 120.0, 30.0, datetime.fromtimestamp(when, UTC))
    found = altitude(*apparent_of_icrs(120.0, 30.0, when), site.latitude, site.longitude, when)
    assert found == pytest.approx(expected, abs=0.02)


# The connection ----------------------------------------------------------------------------------------------------


def test_a_device_is_connected_and_told_the_time_and_the_place(rig: Make, clock: VirtualClock) -> None:
    made = rig("telescope", MOUNT, site=Site("x", 43.9, -5.7, 650.0))
    assert made.told == [(True, "Dev at tcp:127.0.0.1:7624/Dev")]
    assert made.device.connected
    assert made.server.changes("CONNECTION") == [{"CONNECT": "On"}]
    assert made.server.changes("TIME_UTC") == [{"UTC": "2026-03-20T23:30:00", "OFFSET": "0"}]
    (place,) = made.server.changes("GEOGRAPHIC_COORD")
    assert {key: float(value) for key, value in place.items()} == {"LAT": 43.9, "LONG": 354.3, "ELEV": 650.0}


def test_a_mount_that_knows_its_place_is_not_told_again(rig: Make) -> None:
    knows = MOUNT | {"GEOGRAPHIC_COORD": ("Number", {"LAT": 43.9, "LONG": 354.3, "ELEV": 600.0}, "Ok")}
    assert rig("telescope", knows, site=Site("x", 43.9, -5.7, 650.0)).server.changes("GEOGRAPHIC_COORD") == []


def test_a_device_that_cannot_reach_its_hardware_says_why(mount: IndiRig, world: DeviceWorld) -> None:
    server = mount.server
    server.answers["CONNECTION"] = lambda _: (
        '<message device="Dev" message="[ERROR] no such port /dev/ttyUSB0"/>'
        + server.set("CONNECTION", "Alert", CONNECT=False, DISCONNECT=True)
    )
    server.say(server.set("CONNECTION", "Ok", CONNECT=False, DISCONNECT=True))  # somebody pulled the plug
    assert mount.told[-1][0] is False
    world.run(4)
    problem = "'Dev' is not connected to its hardware: no such port /dev/ttyUSB0"
    world.fails(ConnectionLost, problem, mount.device.state(), 6)
    del server.answers["CONNECTION"]
    world.run(3)
    assert mount.told[-1][0] is True


def test_a_driver_that_dies_and_returns(mount: IndiRig, world: DeviceWorld) -> None:
    server = mount.server
    server.answers[COORD] = lambda told: server.set(COORD, "Busy")
    slew = mount.begin(mount.device.slew(30.0, 40.0))
    server.there = False
    server.vectors["CONNECTION"] = ("Switch", {"CONNECT": False, "DISCONNECT": True}, "Idle")
    server.vectors[COORD] = ("Number", {"RA": 1.0, "DEC": 2.0}, "Idle")
    server.say('<delProperty device="Dev"/>')
    assert isinstance(slew[0], ConnectionLost)
    assert mount.told[-1] == (False, "telescope at tcp:127.0.0.1:7624/Dev: the server knows no device 'Dev'")
    world.run(60)
    assert not mount.device.connected
    server.there = True
    world.run(3)
    assert mount.told[-1][0] is True
    assert world.result(mount.device.state()) == "idle"


def test_a_device_that_others_ask_all_the_time_becomes_ready(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.say("</nonsense>")
    for _ in range(20):  # whatever one client asks for, the driver tells all
        world.run(0.1)
        if mount.server.line.transport.open:
            mount.server.say(vector("def", "Number", COORD, {"RA": 1.0, "DEC": 2.0}))
    assert mount.device.connected


def test_garbage_ends_the_connection_and_it_is_made_again(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.say("</nonsense>")
    assert [up for up, _ in mount.told] == [True, False]
    assert "an end tag without its beginning" in mount.told[-1][1] or "bad XML" in mount.told[-1][1]
    world.run(2)
    assert mount.device.connected


def test_a_ping_is_answered_and_complaints_are_events(mount: IndiRig) -> None:
    mount.server.say('<pingRequest uid="42"/>', '<message device="Dev" message="[WARNING] meridian is near"/>')
    assert mount.server.asked[-1].tag == "pingReply"
    assert mount.events == ["meridian is near"]


@pytest.mark.parametrize(
    "address", ["", "tcp:127.0.0.1", "tcp:127.0.0.1:7624/", "tcp::7624/X", "tcp:h:0/X", "serial:h:1", "tcp:h:1/a<b"]
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match="must be tcp:HOST:PORT/DEVICE"):
        instruments.check_address("telescope", "indi", address)


def test_a_switch_names_its_vectors() -> None:
    instruments.check_address("safety", "indi", "tcp:[::1]:7624/A Device & more")
    instruments.check_address("switch", "indi", "tcp:[::1]:7624/A Box?A,B_1")
    for address in (ADDRESS, ADDRESS + "?", ADDRESS + "?A B", "tcp:[::1]:7624?A", "tcp:[::1]:7624/?A"):
        with pytest.raises(ConfigError, match="must be tcp:HOST:PORT"):
            instruments.check_address("switch", "indi", address)


# The telescope -----------------------------------------------------------------------------------------------------


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


CANNOT = '<message device="Dev" message="[ERROR] Cannot slew while moving. Please stop moving first"/>'


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


# The camera --------------------------------------------------------------------------------------------------------

CAMERA = MemoryIndiCamera.VECTORS


def fits_of(pixels: Any, **header: Any) -> bytes:
    unit = fits.PrimaryHDU(np.asarray(pixels))
    for key, value in header.items():
        unit.header[key.replace("_", "-")] = value
    file = io.BytesIO()
    unit.writeto(file)
    return file.getvalue()


def blob_of(data: bytes, form: str = ".fits", size: str = "") -> str:
    text = base64.encodebytes(zlib.compress(data) if form.endswith(".z") else data).decode()
    return vector("set", "BLOB", "CCD1", {"CCD1": text}, more=f'format="{form}" size="{size or len(data)}"')


def image_of(pixels: Any, form: str = ".fits", **header: Any) -> str:
    return blob_of(fits_of(pixels, **header), form)


PIXELS = np.array([[1, 2, 3], [4, 5, 65535]], dtype=np.uint16)


def busy(made: IndiRig) -> None:
    """Let a camera begin its exposures, and end none."""
    made.server.answers["CCD_EXPOSURE"] = lambda told: made.server.set(
        "CCD_EXPOSURE", "Busy", CCD_EXPOSURE_VALUE=(told["CCD_EXPOSURE_VALUE"], 0.01, 3600)
    )


@pytest.fixture
def camera(rig: Make) -> IndiRig:
    made = rig("camera", CAMERA)
    busy(made)
    return made


def tag_of(rig: IndiRig) -> str:
    return str(rig.server.vectors["FITS_HEADER"][1]["FITS_OBJECT"])


def test_an_image_is_unpacked_and_turned_right_side_up(camera: IndiRig, world: DeviceWorld) -> None:
    outcome = camera.begin(camera.device.expose(10.0, "", "grb 1", camera.started.append), 9.9)
    assert [element.attrib["name"] for element in camera.server.asked if element.tag == "enableBLOB"] == ["CCD1"]
    assert camera.server.changes("UPLOAD_MODE") == [{"UPLOAD_CLIENT": "On"}]
    assert camera.started == [15.0]
    header = {"OBJECT": tag_of(camera), "EXPTIME": 10.0, "CCD_TEMP": -20.5, "EGAIN": 1.25, "ROWORDER": "TOP-DOWN"}
    camera.server.say(
        image_of(PIXELS, ".fits.z", **header), camera.server.set("CCD_EXPOSURE", "Ok", CCD_EXPOSURE_VALUE=0)
    )
    (image,) = outcome
    assert image.pixels.tolist() == PIXELS[::-1].tolist()
    assert (image.seconds, image.temperature, image.gain) == (10.0, -20.5, 1.25)
    assert image.arcsec_per_pixel == pytest.approx(1.0313, abs=1e-3)
    assert world.result(camera.device.state()) == "idle"


def aborted(camera: IndiRig, world: DeviceWorld, seconds: float, after: float) -> None:
    """Abort an exposure so long after its beginning."""
    first = camera.begin(camera.device.expose(seconds, "", "a"), after)
    camera.server.answers["CCD_ABORT_EXPOSURE"] = lambda _: (
        camera.server.set("CCD_ABORT_EXPOSURE") + camera.server.set("CCD_EXPOSURE", "Idle", CCD_EXPOSURE_VALUE=0)
    )
    world.result(camera.device.abort())
    assert isinstance(first[0], CommandAborted)


def test_a_late_image_of_an_aborted_exposure_is_passed_over(camera: IndiRig, world: DeviceWorld) -> None:
    aborted(camera, world, 10.0, 9.0)
    old = tag_of(camera)
    second = camera.begin(camera.device.expose(10.0, "", "b"), 1.0)
    assert tag_of(camera) != old
    camera.server.say(image_of(PIXELS * 0, EXPTIME=10.0))  # without a tag, and too early to be of this one
    world.run(9)
    camera.server.say(image_of(PIXELS * 0, OBJECT=old, EXPTIME=10.0))
    assert second == []
    camera.server.say(image_of(PIXELS, OBJECT=tag_of(camera), EXPTIME=10.0))
    assert second[0].pixels.tolist() == PIXELS.tolist()


def test_without_a_tag_the_length_tells_a_late_image(rig: Make, world: DeviceWorld) -> None:
    camera = rig("camera", {name: each for name, each in CAMERA.items() if name != "FITS_HEADER"})
    busy(camera)
    aborted(camera, world, 2.0, 1.5)
    second = camera.begin(camera.device.expose(10.0), 2.0)
    camera.server.say(image_of(PIXELS * 0, EXPTIME=2.0))
    assert second == []
    world.run(8)
    camera.server.say(image_of(PIXELS, EXPTIME=10.0))
    assert second[0].pixels.tolist() == PIXELS.tolist()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [({"EXPTIME": 0.3333}, 0.3333), ({"EXPTIME": 25.0}, 25.0), ({"EXPTIME": "0.5"}, 0.5), ({}, 30.0),
     ({"EXPOSURE": 29.0}, 29.0), ({"EXPTIME": -1.0}, 30.0), ({"EXPTIME": 31.0, "OBJECT": "M 31"}, 31.0)],
)  # fmt: skip
def test_the_header_tells_how_long_was_exposed(camera: IndiRig, header: dict[str, Any], seconds: float) -> None:
    outcome = camera.begin(camera.device.expose(30.0), 30.0)
    camera.server.say(image_of(PIXELS, **header))
    assert outcome[0].seconds == seconds


def test_a_bias_takes_the_shortest_time_of_the_camera(rig: Make) -> None:
    types = ("Switch", {"FRAME_LIGHT": True, "FRAME_DARK": False, "FRAME_BIAS": False}, "Ok")
    camera = rig("camera", CAMERA | {"CCD_FRAME_TYPE": types})
    busy(camera)
    outcome = camera.begin(camera.device.expose(0.0, dark=True), 1.0)
    camera.server.say(image_of(PIXELS, EXPTIME=0.01))
    assert outcome[0].seconds == 0.01
    assert camera.server.changes("CCD_EXPOSURE") == [{"CCD_EXPOSURE_VALUE": "0.01"}]
    assert camera.server.changes("CCD_FRAME_TYPE") == [{"FRAME_BIAS": "On"}]


def test_a_dark_is_no_bias(rig: Make) -> None:
    types = ("Switch", {"FRAME_LIGHT": True, "FRAME_DARK": False, "FRAME_BIAS": False}, "Ok")
    camera = rig("camera", CAMERA | {"CCD_FRAME_TYPE": types})
    busy(camera)
    camera.begin(camera.device.expose(0.01, dark=True))
    assert camera.server.changes("CCD_FRAME_TYPE") == [{"FRAME_DARK": "On"}]


def test_a_time_shorter_than_the_shortest_is_refused(camera: IndiRig, world: DeviceWorld) -> None:
    with pytest.raises(DeviceRefused, match=r"VALUE: Dev: exposure: 0.001 s: the shortest exposure is 0.01 s"):
        world.result(camera.device.expose(0.001))


WHOLE = {"X": 0, "Y": 0, "WIDTH": 3, "HEIGHT": 2}


@pytest.mark.parametrize(
    ("part", "bins", "address", "told"),
    [
        (WHOLE, 1, "", ([], [])),
        (WHOLE | {"X": 1, "WIDTH": 1}, 1, "", ([WHOLE], [])),
        (WHOLE, 2, "", ([], [{"HOR_BIN": 1, "VER_BIN": 1}])),
        (WHOLE, 2, "?bin=2", ([], [])),
        (WHOLE, 1, "?bin=2", ([], [{"HOR_BIN": 2, "VER_BIN": 2}])),
    ],
)  # fmt: skip
def test_what_somebody_left_of_the_detector_is_undone(
    rig: Make, part: Members, bins: int, address: str, told: tuple[list[Members], list[Members]]
) -> None:
    vectors = {"CCD_FRAME": ("Number", part, "Ok"), "CCD_BINNING": ("Number", {"HOR_BIN": bins, "VER_BIN": bins}, "Ok")}
    camera = rig("camera", CAMERA | vectors, address=ADDRESS + address)
    busy(camera)
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(image_of(PIXELS))
    assert outcome[0].arcsec_per_pixel == pytest.approx(1.0313 * (2 if address else 1), abs=1e-3)
    changes = [[{name: float(value) for name, value in each.items()} for each in camera.server.changes(vector)]
               for vector in ("CCD_FRAME", "CCD_BINNING")]  # fmt: skip
    assert tuple(changes) == told


def binned(rig: Make, most: int, address: str = "", **vector: Any) -> Any:
    """Make a camera that bins by 1 to ``most``."""
    bins = dict.fromkeys(("HOR_BIN", "VER_BIN"), (1, 1, most))
    vectors = {"CCD_FRAME": ("Number", WHOLE, "Ok"), "CCD_BINNING": ("Number", bins, "Ok")}
    camera = rig("camera", CAMERA | vectors | vector, address=ADDRESS + address)
    busy(camera)
    camera.server.answers["CCD_BINNING"] = lambda told: camera.server.set("CCD_BINNING", **told)
    return camera


@pytest.mark.parametrize(("address", "others"), [("", 1), ("?bin=3", 3)])
def test_a_binning_is_of_the_one_exposure_that_asks_for_it(rig: Make, address: str, others: int) -> None:
    camera = binned(rig, 4, address)
    images = []
    for binning in (2, 1):
        outcome = camera.begin(camera.device.expose(1.0, binning=binning), 1.0)
        camera.server.say(image_of(PIXELS), camera.server.set("CCD_EXPOSURE", CCD_EXPOSURE_VALUE=0))
        images.append(outcome[0])
    told = [float(each["HOR_BIN"]) for each in camera.server.changes("CCD_BINNING")]
    assert told == [2, others]
    assert [each.binning for each in images] == [2, others]
    scales = [each.arcsec_per_pixel for each in images]
    assert scales == [pytest.approx(1.0313 * each, abs=1e-3) for each in (2, others)]


def test_a_binning_that_the_camera_has_not_is_refused_before_the_shutter_opens(rig: Make, world: DeviceWorld) -> None:
    camera = binned(rig, 2)
    assert world.result(camera.device.max_binning()) == 2
    world.fails(DeviceRefused, "VALUE: .*binning 3 is not from 1 to 2", camera.device.expose(1.0, binning=3))
    assert camera.server.changes("CCD_EXPOSURE") == []


def test_a_camera_that_cannot_bin_refuses_to(rig: Make, world: DeviceWorld) -> None:
    camera = rig("camera", CAMERA)
    assert world.result(camera.device.max_binning()) == 1
    world.fails(DeviceRefused, "UNSUPPORTED: .*no binning that can be set", camera.device.expose(1.0, binning=2))


@pytest.mark.parametrize(("vector", "member"), [("CCD_GAIN", "GAIN"), ("CCD_CONTROLS", "Gain")])
def test_gain_is_set_where_the_camera_has_it(rig: Make, world: DeviceWorld, vector: str, member: str) -> None:
    camera = rig("camera", CAMERA | {vector: ("Number", {member: 10.0}, "Ok")})
    camera.server.answers[vector] = lambda told: camera.server.set(vector, **told)
    world.result(camera.device.configure(100.0))
    assert [{name: float(value) for name, value in each.items()} for each in camera.server.changes(vector)] == [
        {member: 100.0}
    ]


@pytest.mark.parametrize(
    ("name", "known", "modes", "chosen", "told"),
    [
        ("READOUT_MODE", ("Switch", {"FAST": True, "SLOW": False}, "Ok"), ("FAST", "SLOW"), "SLOW", {"SLOW": "On"}),
        ("READ_MODE", ("Number", {"MODE": (0.0, 0, 2)}, "Ok"), ("0", "1", "2"), "2", {"MODE": "2.0"}),
    ],
)  # fmt: skip
def test_a_readout_mode_is_set_where_the_camera_has_it(
    rig: Make, world: DeviceWorld, name: str, known: Any, modes: tuple[str, ...], chosen: str, told: dict[str, str]
) -> None:
    camera = rig("camera", CAMERA | {name: known})
    camera.server.answers[name] = lambda told: camera.server.set(name, **told)
    assert world.result(camera.device.readout_modes()) == modes
    world.result(camera.device.configure(None, chosen))
    assert [each.items() >= told.items() for each in camera.server.changes(name)] == [True]
    world.fails(
        DeviceRefused, "no readout mode 'Quick'; there are: " + ", ".join(modes), camera.device.configure(1.0, "Quick")
    )


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("READOUT_MODE", ("Switch", {"NORMAL": True}, "Ok")),
        ("READ_MODE", ("Number", {"MODE": (0.0, 0, 1e9)}, "Ok")),
        ("READ_MODE", ("Text", {"MODE": "fast"}, "Ok")),
    ],
)
def test_what_leaves_no_choice_is_no_readout_mode(rig: Make, world: DeviceWorld, name: str, known: Any) -> None:
    assert world.result(rig("camera", CAMERA | {name: known}).device.readout_modes()) == ()


def test_a_gain_that_the_camera_has_not_is_refused(rig: Make, world: DeviceWorld) -> None:
    world.fails(DeviceRefused, "has no gain that can be set", rig("camera", CAMERA).device.configure(100.0))


def test_a_camera_that_trims_its_frame_is_told_once(rig: Make, world: DeviceWorld) -> None:
    big = {"CCD_INFO": ("Number", {"CCD_MAX_X": 60, "CCD_MAX_Y": 40, "CCD_PIXEL_SIZE": 5.0}, "Ok")}
    trimmed = {"X": 0, "Y": 0, "WIDTH": 56, "HEIGHT": 40}
    camera = rig("camera", CAMERA | big | {"CCD_FRAME": ("Number", trimmed, "Ok")})
    busy(camera)
    camera.server.answers["CCD_FRAME"] = lambda _: camera.server.set("CCD_FRAME")
    for _ in range(2):
        outcome = camera.begin(camera.device.expose(1.0), 1.0)
        camera.server.say(image_of(PIXELS), camera.server.set("CCD_EXPOSURE", CCD_EXPOSURE_VALUE=0))
        assert len(outcome) == 1
    assert len(camera.server.changes("CCD_FRAME")) == 1
    assert world.result(camera.device.geometry()).width == 56


def test_a_subframe_that_stays_is_refused(rig: Make, world: DeviceWorld) -> None:
    camera = rig("camera", CAMERA | {"CCD_FRAME": ("Number", WHOLE | {"WIDTH": 1}, "Ok")})
    camera.server.answers["CCD_FRAME"] = lambda _: camera.server.set("CCD_FRAME", "Alert")
    world.fails(DeviceRefused, "CCD_FRAME is Alert", camera.device.expose(1.0))
    assert camera.server.changes("CCD_EXPOSURE") == []


def test_colour_is_refused_before_the_shutter_opens(rig: Make, world: DeviceWorld) -> None:
    formats = ("Switch", {"INDI_RAW": False, "INDI_RGB": True}, "Ok")
    camera = rig("camera", CAMERA | {"CCD_CAPTURE_FORMAT": formats})
    words = r"UNSUPPORTED: .*colour images, .*\(CCD_CAPTURE_FORMAT\); it also has INDI_RAW"
    world.fails(DeviceRefused, words, camera.device.expose(1.0))
    assert camera.server.changes("CCD_EXPOSURE") == []


def test_a_tag_can_be_a_card_of_the_header(rig: Make) -> None:
    card = {"KEYWORD_NAME": "", "KEYWORD_VALUE": "", "KEYWORD_COMMENT": ""}
    camera = rig("camera", CAMERA | {"FITS_HEADER": ("Text", card, "Ok")})
    busy(camera)
    outcome = camera.begin(camera.device.expose(1.0, "", "a/b"), 1.0)
    (told,) = camera.server.changes("FITS_HEADER")
    assert told == {"KEYWORD_NAME": "OBJECT", "KEYWORD_VALUE": "a_b~1", "KEYWORD_COMMENT": "tag of the exposure"}
    camera.server.say(image_of(PIXELS * 0, OBJECT="a_b~0"))
    assert outcome == []
    camera.server.say(image_of(PIXELS, OBJECT="A_B~1"))
    assert outcome[0].pixels.tolist() == PIXELS.tolist()


def test_an_exposure_that_says_idle_before_its_image_is_not_aborted(camera: IndiRig) -> None:
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(camera.server.set("CCD_EXPOSURE", "Idle", CCD_EXPOSURE_VALUE=0))
    assert outcome == []
    camera.server.say(image_of(PIXELS))
    assert outcome[0].pixels.tolist() == PIXELS.tolist()


def test_a_camera_without_an_image_is_told_to_stop(camera: IndiRig, world: DeviceWorld) -> None:
    outcome = camera.begin(camera.device.expose(10.0), 76.0)
    assert isinstance(outcome[0], NoAnswer)
    world.run()
    assert camera.server.changes("CCD_ABORT_EXPOSURE") == [{"ABORT": "On"}]


def test_an_image_that_never_comes(camera: IndiRig, world: DeviceWorld) -> None:
    outcome = camera.begin(camera.device.expose(10.0), 11.0)
    camera.server.say(camera.server.set("CCD_EXPOSURE", "Ok", CCD_EXPOSURE_VALUE=0))
    assert world.result(camera.device.state()) == "reading"
    world.run(80)
    assert isinstance(outcome[0], NoAnswer)
    assert "no image within 75 s" in str(outcome[0])
    assert world.result(camera.device.state()) == "idle"


@pytest.mark.parametrize(
    ("blob", "problem"),
    [
        (image_of(np.zeros((3, 2, 3), np.uint16)), "a colour image of 3 planes; only one plane can be taken"),
        (image_of(np.zeros((5, 2, 3), np.uint16)), "5 x 2 x 3 pixels are not an image of one plane"),
        (blob_of(b"\xff\xd8\xff\xe0", ".jpg"), r"its image cannot be read (format '.jpg'): it is JPEG, not FITS"),
        (vector("set", "BLOB", "CCD1", {"CCD1": "AAAA"}, more='format=".fits"'), "its image cannot be read"),
        (vector("set", "BLOB", "CCD1", {"CCD1": "AAAA"}, more='format=".fits.z"'), "its image cannot be read"),
        (blob_of(fits_of(PIXELS)[:2890]), "its image cannot be read"),  # cut off in the pixels
        (blob_of(fits_of(PIXELS).replace(b"        3 ", b"999999999 ")), "its image cannot be read"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*truncated")
def test_images_that_are_of_no_use(camera: IndiRig, blob: str, problem: str) -> None:
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(blob)
    assert isinstance(outcome[0], DeviceFailed)
    assert problem in str(outcome[0])
    assert camera.device.connected


@pytest.mark.parametrize("size", ["0", "1", "-5", "99999999999999999999", "large"])
def test_what_a_blob_says_of_its_size_is_not_believed(camera: IndiRig, size: str) -> None:
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(blob_of(fits_of(PIXELS), size=size))
    assert outcome[0].pixels.tolist() == PIXELS.tolist()


@pytest.mark.filterwarnings("ignore")
@given(st.lists(st.tuples(st.integers(0, 2891), st.integers(0, 255)), max_size=30), st.integers(0, 5760))
def test_any_wrong_bytes_in_an_image(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(fits_of(PIXELS))
    for place, byte in changes:
        data[place] = byte
    try:
        frame = decode(bytes(data[:length]))
    except ValueError:
        return
    assert frame.pixels.dtype == np.uint16
    assert frame.pixels.ndim == 2


def test_a_stream_that_ends_anywhere_in_an_image(camera: IndiRig, world: DeviceWorld) -> None:
    blob = image_of(PIXELS)
    for cut in (1, 20, 60, blob.index(">") + 1, len(blob) // 2, len(blob) - 30, len(blob) - 1):
        outcome = camera.begin(camera.device.expose(1.0), 1.0)
        camera.server.say(blob[:cut])
        assert outcome == []
        camera.server.set("CCD_EXPOSURE", "Idle", CCD_EXPOSURE_VALUE=0)  # it is heard of with the next connection
        world.drop()
        world.run(3)
        assert isinstance(outcome[0], ConnectionLost)
        assert camera.device.connected
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(blob)
    assert outcome[0].pixels.tolist() == PIXELS.tolist()


def test_a_slow_image_is_waited_for_and_a_byte_now_and_then_is_not(camera: IndiRig, world: DeviceWorld) -> None:
    begin = '<setBLOBVector device="Dev" name="CCD1"><oneBLOB name="CCD1" size="1" format=".fits">'
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(begin)
    for _ in range(300):
        camera.server.say("A" * 2000)
        world.run(1.0)
    assert outcome == []
    camera.server.set("CCD_EXPOSURE", "Idle", CCD_EXPOSURE_VALUE=0)
    world.drop()
    world.run(3)
    assert isinstance(outcome[0], ConnectionLost)
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(begin)
    for _ in range(150):
        if not outcome:
            camera.server.say("A")
        world.run(1.0)
    assert isinstance(outcome[0], NoAnswer)


def test_an_element_without_end_costs_the_connection_and_little_else(camera: IndiRig, world: DeviceWorld) -> None:
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say('<setTextVector device="Dev" name="A"><oneText name="B">' + "x" * 100_000)
    world.run(3)
    assert isinstance(outcome[0], ConnectionLost)
    assert "it sent a value of more than 65536 characters" in str(outcome[0])
    assert camera.device.connected


def test_what_a_camera_cannot_do_is_refused_before_the_shutter_opens(camera: IndiRig, world: DeviceWorld) -> None:
    for command, code in (
        (lambda: camera.device.expose(1.0, dark=True), "UNSUPPORTED"),
        (lambda: camera.device.expose(1.0, "r"), "VALUE"),
        (lambda: camera.device.expose(-1.0), "VALUE"),
        (lambda: camera.device.expose(math.inf), "VALUE"),
        (lambda: camera.device.cool(-10.0), "UNSUPPORTED"),
        (lambda: camera.device.cool(None), "UNSUPPORTED"),
    ):
        world.fails(DeviceRefused, code, command())
    camera.server.say(camera.server.set("SCOPE_INFO", FOCAL_LENGTH=0))
    with pytest.raises(DeviceRefused, match="STATE: Dev: exposure: no focal length is set: SCOPE_INFO of the camera"):
        world.result(camera.device.expose(1.0))
    assert camera.server.changes("CCD_EXPOSURE") == []


def test_the_focal_length_may_be_the_mounts_to_tell(rig: Make, world: DeviceWorld) -> None:
    vectors = CAMERA | {"ACTIVE_DEVICES": ("Text", {"ACTIVE_TELESCOPE": "Mount"}, "Ok")}
    del vectors["SCOPE_INFO"]
    made = rig("camera", vectors)
    made.server.say(vector("def", "Number", "TELESCOPE_INFO", {"TELESCOPE_FOCAL_LENGTH": 2000.0}, device="Mount"))
    assert world.result(made.device.geometry()).arcsec_per_pixel == pytest.approx(0.5157, abs=1e-3)


def test_the_mount_may_tell_its_focal_length_a_moment_later(rig: Make, world: DeviceWorld) -> None:
    vectors = CAMERA | {"ACTIVE_DEVICES": ("Text", {"ACTIVE_TELESCOPE": "Mount"}, "Ok")}
    del vectors["SCOPE_INFO"]
    made = rig("camera", vectors)
    outcome = made.begin(made.device.geometry(), 3.0)
    assert outcome == []
    made.server.say(vector("def", "Number", "TELESCOPE_INFO", {"TELESCOPE_FOCAL_LENGTH": 2000.0}, device="Mount"))
    assert outcome[0].arcsec_per_pixel == pytest.approx(0.5157, abs=1e-3)


def test_a_mount_that_never_tells_its_focal_length_is_not_waited_for_without_end(rig: Make, world: DeviceWorld) -> None:
    vectors = CAMERA | {"ACTIVE_DEVICES": ("Text", {"ACTIVE_TELESCOPE": "Mount"}, "Ok")}
    del vectors["SCOPE_INFO"]
    made = rig("camera", vectors)
    world.fails(DeviceRefused, "STATE: Dev: exposure: no focal length is set", made.device.expose(1.0), 15.0)


def test_an_exposure_from_before_is_not_disturbed(camera: IndiRig, world: DeviceWorld) -> None:
    camera.server.say(camera.server.set("CCD_EXPOSURE", "Busy", CCD_EXPOSURE_VALUE=5.0))
    assert world.result(camera.device.state()) == "exposing"
    world.fails(DeviceRefused, "BUSY", camera.device.expose(1.0))


# The others --------------------------------------------------------------------------------------------------------


def test_a_roll_off_roof_is_parked_and_unparked(rig: Make, world: DeviceWorld) -> None:
    roof = rig("dome", {"DOME_PARK": ("Switch", {"PARK": True, "UNPARK": False}, "Ok")})
    server = roof.server
    server.answers["DOME_PARK"] = lambda told: server.set(
        "DOME_PARK", "Busy", PARK=told.get("PARK") == "On", UNPARK=told.get("UNPARK") == "On"
    )
    assert world.result(roof.device.state()) == "closed"
    assert world.result(roof.device.azimuth()) is None
    opening = roof.begin(roof.device.open(roof.started.append))
    assert world.result(roof.device.state()) == "opening"
    server.say(server.set("DOME_PARK", "Ok"))
    assert (opening, roof.started) == ([None], [60.0])
    closing = roof.begin(roof.device.close())
    server.say('<message device="Dev" message="[ERROR] the limit switch is stuck"/>', server.set("DOME_PARK", "Alert"))
    assert isinstance(closing[0], DeviceFailed)
    assert "the limit switch is stuck" in str(closing[0])
    assert world.result(roof.device.state()) == "stopped"
    world.fails(DeviceRefused, "UNSUPPORTED", roof.device.rotate(10.0))


def test_a_turn_while_slit_and_shutter_move_waits_for_the_slit(rig: Make, world: DeviceWorld) -> None:
    """There is one stop for both, and the shutter must not be stopped."""
    dome = rig(
        "dome",
        {
            "DOME_SHUTTER": ("Switch", {"SHUTTER_OPEN": True, "SHUTTER_CLOSE": False}, "Busy"),
            "ABS_DOME_POSITION": ("Number", {"DOME_ABSOLUTE_POSITION": 0.0}, "Busy"),
            "DOME_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle"),
        },
    )
    turn = dome.begin(dome.device.rotate(90.0), 5)
    assert dome.server.changes("ABS_DOME_POSITION") == []
    dome.server.say(dome.server.set("ABS_DOME_POSITION", "Ok", DOME_ABSOLUTE_POSITION=50.0))
    assert turn == [90.0]
    assert dome.server.changes("DOME_ABORT_MOTION") == []


def test_a_wheel_that_stops_at_the_wrong_filter(rig: Make, world: DeviceWorld) -> None:
    wheel = rig(
        "filter_wheel",
        {
            "FILTER_SLOT": ("Number", {"FILTER_SLOT_VALUE": (1, 1, 2)}, "Ok"),
            "FILTER_NAME": ("Text", {"FILTER_SLOT_NAME_1": "g", "FILTER_SLOT_NAME_2": "r", "N3": "beyond"}, "Ok"),
        },
    )
    assert world.result(wheel.device.filters()) == ("g", "r")
    wheel.server.answers["FILTER_SLOT"] = lambda _: wheel.server.set("FILTER_SLOT", "Busy")
    outcome = wheel.begin(wheel.device.select("r"))
    assert world.result(wheel.device.filter()) == ""
    wheel.server.say('<message device="Dev" message="[INFO] turning"/>', wheel.server.set("FILTER_SLOT", "Ok"))
    assert outcome == []  # its position may follow
    world.run(6)
    assert isinstance(outcome[0], DeviceFailed)
    assert str(outcome[0]) == "Dev: filter r: the wheel is at slot 1, not 2"


def test_a_wheel_whose_position_follows_its_ok(rig: Make, world: DeviceWorld) -> None:
    wheel = rig("filter_wheel", {"FILTER_SLOT": ("Number", {"FILTER_SLOT_VALUE": (1, 1, 3)}, "Ok")})
    wheel.server.answers["FILTER_SLOT"] = lambda _: wheel.server.set("FILTER_SLOT")  # Ok, before it has begun
    outcome = wheel.begin(wheel.device.select("3"), 2)
    wheel.server.say(wheel.server.set("FILTER_SLOT", "Busy"))
    world.run(60)
    assert outcome == []
    wheel.server.say(wheel.server.set("FILTER_SLOT", "Ok"))
    world.run(2)
    wheel.server.say(wheel.server.set("FILTER_SLOT", "Ok", FILTER_SLOT_VALUE=(3, 1, 3)))
    assert outcome == ["3"]


def test_a_wheel_that_takes_no_turn_while_it_turns_is_told_again(rig: Make, world: DeviceWorld) -> None:
    wheel = rig("filter_wheel", {"FILTER_SLOT": ("Number", {"FILTER_SLOT_VALUE": (1, 1, 3)}, "Ok")})
    server = wheel.server
    server.answers["FILTER_SLOT"] = lambda _: server.set(
        "FILTER_SLOT", "Alert" if server.vectors["FILTER_SLOT"][2] == "Busy" else "Busy"
    )
    first = wheel.begin(wheel.device.select("3"), 1)
    second = wheel.begin(wheel.device.select("2"), 3)
    assert isinstance(first[0], CommandAborted)
    server.say(server.set("FILTER_SLOT", "Ok", FILTER_SLOT_VALUE=(2, 1, 3)))
    assert second == ["2"]
    assert len(server.changes("FILTER_SLOT")) == 3


def test_the_address_tells_how_long_a_wheel_may_turn(rig: Make, world: DeviceWorld) -> None:
    vectors = {"FILTER_SLOT": ("Number", {"FILTER_SLOT_VALUE": (1, 1, 3)}, "Ok")}
    wheel = rig("filter_wheel", vectors, address=f"{ADDRESS}?turn_seconds=7")
    wheel.server.answers["FILTER_SLOT"] = lambda _: wheel.server.set("FILTER_SLOT", "Busy")
    world.fails(NoAnswer, "no end within 7 s", wheel.device.select("3"), 8)


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ([("Ok", 100), ("Ok", 500)], "500"),
        ([("Ok", 502)], "502"),
        ([("Ok", 510)], "Dev: move to 500: told to move to 500, it is at 510"),
        ([("Alert", 300)], "Dev: move to 500: told to move to 500, it is at 300"),
    ],
)
def test_a_focuser_has_time_to_be_where_it_says(
    rig: Make, world: DeviceWorld, ends: list[tuple[str, float]], outcome: str
) -> None:
    def place(steps: float) -> Members:
        return {"FOCUS_ABSOLUTE_POSITION": (steps, 0, 1000)}

    focuser = rig("focuser", {"ABS_FOCUS_POSITION": ("Number", place(100), "Ok")})
    focuser.server.answers["ABS_FOCUS_POSITION"] = lambda _: (
        focuser.server.set("ABS_FOCUS_POSITION", "Busy") + '<message device="Dev" message="[INFO] moving to 500"/>'
    )
    moving = focuser.begin(focuser.device.move(500))
    for state, steps in ends:
        assert moving == []
        world.run(2)
        focuser.server.say(focuser.server.set("ABS_FOCUS_POSITION", state, **place(steps)))
    world.run(6)
    assert [str(each) for each in moving] == [outcome]


@pytest.mark.parametrize("stops", [True, False])
def test_a_focuser_that_takes_no_move_while_it_moves_is_told_again(rig: Make, world: DeviceWorld, stops: bool) -> None:
    def place(steps: float) -> Members:
        return {"FOCUS_ABSOLUTE_POSITION": (steps, 0, 1000)}

    vectors = {"ABS_FOCUS_POSITION": ("Number", place(100), "Ok")}
    if stops:
        vectors["FOCUS_ABORT_MOTION"] = ("Switch", {"ABORT": False}, "Idle")
    focuser = rig("focuser", vectors)
    server = focuser.server

    def move(_: Members) -> str:
        if server.vectors["ABS_FOCUS_POSITION"][2] == "Busy":
            return CANNOT + vector("set", "Number", "ABS_FOCUS_POSITION", place(100), "Alert")
        return server.set("ABS_FOCUS_POSITION", "Busy")

    server.answers["ABS_FOCUS_POSITION"] = move
    server.answers["FOCUS_ABORT_MOTION"] = lambda _: (
        server.set("ABS_FOCUS_POSITION", "Idle") + server.set("FOCUS_ABORT_MOTION", ABORT=False)
    )
    focuser.begin(focuser.device.move(500), 1)
    second = focuser.begin(focuser.device.move(200), 1)
    if not stops:
        server.say(server.set("ABS_FOCUS_POSITION", "Busy"))  # it goes on
        world.run(20)
        server.say(server.set("ABS_FOCUS_POSITION", "Ok", **place(500)))
    server.say(server.set("ABS_FOCUS_POSITION", "Ok", **place(200)))
    assert second == [200]


def test_a_stop_ends_though_a_newer_move_keeps_the_focuser_moving(rig: Make, world: DeviceWorld) -> None:
    vectors = {
        "ABS_FOCUS_POSITION": ("Number", {"FOCUS_ABSOLUTE_POSITION": (100, 0, 1000)}, "Ok"),
        "FOCUS_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle"),
    }
    focuser = rig("focuser", vectors)
    focuser.server.answers["ABS_FOCUS_POSITION"] = lambda _: focuser.server.set("ABS_FOCUS_POSITION", "Busy")
    focuser.begin(focuser.device.move(500), 1)
    stop = focuser.begin(focuser.device.stop(), 1)
    focuser.begin(focuser.device.move(200), 1)
    world.run(20)
    assert stop == [None]


def test_the_address_tells_how_exact_a_focuser_is(rig: Make, world: DeviceWorld) -> None:
    vectors = {"ABS_FOCUS_POSITION": ("Number", {"FOCUS_ABSOLUTE_POSITION": (100, 0, 1000)}, "Ok")}
    focuser = rig("focuser", vectors, address=f"{ADDRESS}?tolerance_steps=10&move_seconds=600")
    focuser.server.answers["ABS_FOCUS_POSITION"] = lambda _: focuser.server.set("ABS_FOCUS_POSITION", "Busy")
    moving = focuser.begin(focuser.device.move(500), 500)
    focuser.server.say(focuser.server.set("ABS_FOCUS_POSITION", "Ok", FOCUS_ABSOLUTE_POSITION=(509, 0, 1000)))
    assert moving == [509]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ('<setSwitchVector device="Dev" name="DOME_PARK" state="Ok"/>', "None"),
        ("", "None"),
        ('<message device="Dev" message="[INFO] Dome already parked."/>'
         '<setSwitchVector device="Dev" name="DOME_PARK" state="Alert"/>', "None"),
        ('<message device="Dev" message="[ERROR] the motor has no power"/>'
         '<setSwitchVector device="Dev" name="DOME_PARK" state="Alert"/>', "Dev: close: the motor has no power"),
    ],
)  # fmt: skip
def test_a_closed_roof_is_told_to_close_all_the_same(rig: Make, world: DeviceWorld, answer: str, outcome: str) -> None:
    roof = rig("dome", {"DOME_PARK": ("Switch", {"PARK": True, "UNPARK": False}, "Ok")})
    roof.server.answers["DOME_PARK"] = answer
    closing = roof.begin(roof.device.close(), 3)
    assert roof.server.changes("DOME_PARK") == [{"PARK": "On"}]
    assert [str(each) for each in closing] == [outcome]


def test_a_closing_roof_is_told_again_and_waited_for(rig: Make, world: DeviceWorld) -> None:
    roof = rig("dome", {"DOME_PARK": ("Switch", {"PARK": True, "UNPARK": False}, "Busy")})
    roof.server.answers["DOME_PARK"] = ""  # libindi's Dome says nothing while it parks
    closing = roof.begin(roof.device.close(), 30)
    assert (closing, roof.server.changes("DOME_PARK")) == ([], [{"PARK": "On"}])
    roof.server.say(roof.server.set("DOME_PARK", "Ok"))
    assert closing == [None]


@pytest.mark.parametrize("stops", [True, False])
def test_a_dome_that_does_not_close_while_it_opens_is_stopped_first(rig: Make, world: DeviceWorld, stops: bool) -> None:
    vectors = {"DOME_SHUTTER": ("Switch", {"SHUTTER_OPEN": True, "SHUTTER_CLOSE": False}, "Busy")}
    if stops:
        vectors["DOME_ABORT_MOTION"] = ("Switch", {"ABORT": False}, "Idle")
    dome = rig("dome", vectors)
    server = dome.server

    def move(_: Members) -> str:
        if server.vectors["DOME_SHUTTER"][2] == "Busy":
            return '<message device="Dev" message="[ERROR] it is still opening"/>'
        return server.set("DOME_SHUTTER", "Ok", SHUTTER_OPEN=False, SHUTTER_CLOSE=True)

    server.answers["DOME_SHUTTER"] = move
    server.answers["DOME_ABORT_MOTION"] = lambda _: (
        server.set("DOME_SHUTTER", "Alert") + server.set("DOME_ABORT_MOTION", ABORT=False)
    )
    closing = dome.begin(dome.device.close(), 5)
    if not stops:
        assert closing == []
        server.say(server.set("DOME_SHUTTER", "Ok"))
        world.run(3)
    assert closing == [None]
    assert len(server.changes("DOME_SHUTTER")) == 2


def test_closing_waits_for_no_question(rig: Make, world: DeviceWorld) -> None:
    roof = rig("dome", {"DOME_PARK": ("Switch", {"PARK": False, "UNPARK": True}, "Ok")})
    asked = len(roof.server.asked)
    roof.begin(roof.device.close())
    assert roof.server.asked[asked].tag == "newSwitchVector"


def test_the_address_tells_the_limits_of_a_dome(rig: Make, world: DeviceWorld) -> None:
    vectors = {
        "DOME_SHUTTER": ("Switch", {"SHUTTER_OPEN": False, "SHUTTER_CLOSE": True}, "Ok"),
        "ABS_DOME_POSITION": ("Number", {"DOME_ABSOLUTE_POSITION": 0.0}, "Ok"),
    }
    dome = rig("dome", vectors, address=f"{ADDRESS}?shutter_seconds=7&turn_seconds=8&tolerance_degrees=6")
    server = dome.server
    server.answers["DOME_SHUTTER"] = lambda _: server.set(
        "DOME_SHUTTER", "Busy", SHUTTER_OPEN=True, SHUTTER_CLOSE=False
    )
    server.answers["ABS_DOME_POSITION"] = lambda _: server.set("ABS_DOME_POSITION", "Busy")
    world.fails(NoAnswer, "no end within 7 s", dome.device.open(), 8)
    world.fails(NoAnswer, "no end within 8 s", dome.device.rotate(90.0), 9)
    server.say(server.set("ABS_DOME_POSITION"))
    turning = dome.begin(dome.device.rotate(90.0))
    server.say(server.set("ABS_DOME_POSITION", DOME_ABSOLUTE_POSITION=85.0))
    assert turning == [85.0]


@pytest.mark.parametrize(
    ("kind", "query"),
    [("dome", "slew_seconds=5"), ("telescope", "slew_seconds=0"), ("camera", "bin=0"), ("safety", "a=1")],
)
def test_options_that_there_are_not(kind: Any, query: str) -> None:
    with pytest.raises(ConfigError, match=query.partition("=")[0]):
        instruments.check_address(kind, "indi", f"{ADDRESS}?{query}")


def test_a_focuser_without_a_stop(rig: Make, world: DeviceWorld) -> None:
    focuser = rig("focuser", {"ABS_FOCUS_POSITION": ("Number", {"FOCUS_ABSOLUTE_POSITION": (5, 0, 100)}, "Ok")})
    focuser.server.answers["ABS_FOCUS_POSITION"] = lambda _: focuser.server.set("ABS_FOCUS_POSITION", "Busy")
    world.result(focuser.device.stop())
    move = focuser.begin(focuser.device.move(50))
    world.fails(DeviceRefused, "UNSUPPORTED", focuser.device.stop())
    focuser.server.say(focuser.server.set("ABS_FOCUS_POSITION", "Ok", FOCUS_ABSOLUTE_POSITION=50))
    assert move == [50]
    assert world.result(focuser.device.temperature()) is None


STATION = {
    "WEATHER_PARAMETERS": ("Number", {"WEATHER_TEMPERATURE": 5, "WEATHER_HUMIDITY": 60, "WEATHER_WIND_GUST": 36,
                                      "WEATHER_WIND_SPEED": 18, "WEATHER_RAIN_HOUR": 0.5, "WEATHER_CLOUDS": 40}, "Ok"),
    "WEATHER_STATUS": ("Light", {"WEATHER_RAIN_HOUR": "Alert", "WEATHER_WIND_SPEED": "Busy"}, "Alert"),
    "WEATHER_UPDATE": ("Number", {"PERIOD": 60}, "Ok"),
}  # fmt: skip
LABELS = {"WEATHER_WIND_SPEED": "Wind (kph)", "WEATHER_WIND_GUST": "Gust (kph)", "WEATHER_CLOUDS": "Clouds (%)"}


def test_readings_are_in_our_units_and_old_ones_are_none(station: IndiRig, world: DeviceWorld) -> None:
    with pytest.raises(DeviceFailed, match="no new readings since it was connected"):  # a definition is from whenever
        world.result(station.device.read())
    station.server.say(station.server.set("WEATHER_PARAMETERS"))
    reading = world.result(station.device.read())
    assert (reading.temperature, reading.humidity) == (5.0, 60.0)
    assert (reading.wind, reading.gust) == (pytest.approx(5.0), pytest.approx(10.0))
    assert (reading.rain, reading.cloud) == (True, pytest.approx(0.4))
    assert reading.age < 1
    world.run(170)
    assert world.result(station.device.read()).age == pytest.approx(170, abs=1)
    world.run(11)
    world.fails(DeviceFailed, r"no new readings for 18\d s, more than 180 s", station.device.read())


def test_the_address_tells_how_old_a_reading_may_be(rig: Make, world: DeviceWorld) -> None:
    station = rig("weather", STATION, labels=LABELS, address=f"{ADDRESS}?oldest_seconds=20")
    station.server.say(station.server.set("WEATHER_PARAMETERS"))
    world.run(19)
    world.result(station.device.read())
    world.run(2)
    world.fails(DeviceFailed, "more than 20 s", station.device.read())


def test_a_station_that_only_becomes_busy_has_measured_nothing(station: IndiRig, world: DeviceWorld) -> None:
    station.server.say(station.server.set("WEATHER_PARAMETERS"))
    for _ in range(7):
        world.run(30)
        station.server.say(station.server.set("WEATHER_PARAMETERS", "Busy"))
    world.fails(DeviceFailed, r"no new readings for 21\d s", station.device.read())


@pytest.fixture
def station(rig: Make) -> IndiRig:
    return rig("weather", STATION, labels=LABELS)


REFRESH = {"WEATHER_REFRESH": ("Switch", {"REFRESH": False}, "Ok")}


def test_a_station_that_can_be_asked_is_asked(rig: Make, world: DeviceWorld) -> None:
    station = rig("weather", STATION | REFRESH, labels=LABELS)
    server = station.server
    server.answers["WEATHER_REFRESH"] = lambda _: (
        server.set("WEATHER_REFRESH") + server.set("WEATHER_PARAMETERS", "Busy")
    )
    reading = station.begin(station.device.read(), 10)
    assert reading == []  # it fetches them
    server.say(server.set("WEATHER_PARAMETERS", "Ok", WEATHER_TEMPERATURE=7))
    assert (reading[0].temperature, reading[0].age) == (7.0, pytest.approx(0.0, abs=0.1))
    world.run(60)
    server.answers["WEATHER_REFRESH"] = lambda _: server.set("WEATHER_REFRESH", "Alert")
    assert world.result(station.device.read()).age == pytest.approx(60, abs=1)  # it has nothing newer
    server.answers["WEATHER_REFRESH"] = lambda _: server.set("WEATHER_REFRESH")
    for _ in range(3):
        world.result(station.device.read(), 31)
        world.run(10)
    world.fails(DeviceFailed, "no new readings for", station.device.read(), 31)


@pytest.mark.parametrize("ahead", [0.0, -26_000.0, 3600.0])  # neither clock need be right
@pytest.mark.parametrize(
    ("query", "late", "age"),
    [("", 0, 0.0), ("", 100, 100.0), ("", 400, "400 s, by its timestamps"), ("timestamps=no", 400, 0.0)],
)
def test_a_timestamp_makes_readings_older(
    rig: Make, world: DeviceWorld, clock: VirtualClock, ahead: float, query: str, late: float, age: float | str
) -> None:
    def stamp(seconds: float) -> str:
        return datetime.fromtimestamp(clock.time() + ahead - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")

    station = rig("weather", STATION, labels=LABELS, address=f"{ADDRESS}?{query}")
    station.server.stamp = stamp(0.0)
    station.server.say(station.server.set("WEATHER_UPDATE"))
    station.server.stamp = stamp(late)
    station.server.say(station.server.set("WEATHER_PARAMETERS"))
    if isinstance(age, str):
        world.fails(DeviceFailed, age, station.device.read())
    else:
        assert world.result(station.device.read()).age == pytest.approx(age, abs=1.5)


def test_a_reading_that_is_sent_again_does_not_get_younger(station: IndiRig, world: DeviceWorld) -> None:
    station.server.stamp = "2026-03-20T20:00:00"
    for _ in range(5):
        station.server.say(station.server.set("WEATHER_PARAMETERS"))
        world.run(60)
    world.fails(DeviceFailed, "no new readings for 300 s, by its timestamps", station.device.read())


def test_a_server_whose_clock_steps_back_is_believed_again(
    station: IndiRig, world: DeviceWorld, clock: VirtualClock
) -> None:
    for step in (0.0, 3600.0):
        for _ in range(70):
            stamp = datetime.fromtimestamp(clock.time() - step, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            station.server.stamp = stamp
            station.server.say(station.server.set("WEATHER_PARAMETERS"))
            world.run(1)
        assert world.result(station.device.read()).age < 3


@pytest.mark.parametrize(("state", "value"), [("Alert", 5), ("Ok", "nan"), ("Ok", "broken"), ("Ok", -127)])
def test_readings_that_are_of_no_use(station: IndiRig, world: DeviceWorld, state: str, value: Any) -> None:
    station.server.say(station.server.set("WEATHER_PARAMETERS", state, WEATHER_TEMPERATURE=value))
    world.fails(DeviceFailed, "", station.device.read())


def test_what_a_station_does_not_measure_is_unknown(rig: Make, world: DeviceWorld) -> None:
    members = {"WEATHER_TEMPERATURE": 5, "WEATHER_IS_RAIN": 1, "WEATHER_SKY_TEMP": -20}
    station = rig(
        "weather",
        {"WEATHER_PARAMETERS": ("Number", members, "Ok")},
        address=f"{ADDRESS}?rain=WEATHER_IS_RAIN&cloud=none&without=humidity,wind",
    )
    station.server.say(station.server.set("WEATHER_PARAMETERS"))
    reading = world.result(station.device.read())
    assert (reading.temperature, reading.rain) == (5.0, True)
    assert (reading.humidity, reading.wind, reading.gust, reading.cloud) == (None, None, None, None)


@pytest.mark.parametrize("query", ["wind_unit=furlongs", "rain=", "rain=A B", "clear=5", "clear=5&overcast=5", "a=1"])
def test_options_of_a_station_that_are_none(query: str) -> None:
    with pytest.raises(ConfigError, match=r"must be|no option"):
        instruments.check_address("weather", "indi", f"{ADDRESS}?{query}")


def test_a_verdict_that_is_overridden_by_hand_is_unsafe(rig: Make, world: DeviceWorld) -> None:
    override = {"WEATHER_OVERRIDE": ("Switch", {"OVERRIDE": True}, "Busy")}
    verdict = {"WEATHER_STATUS": ("Light", {"WEATHER_WIND_SPEED": "Ok"}, "Ok")}
    monitor = rig("safety", STATION | verdict | override)
    monitor.server.say(monitor.server.set("WEATHER_PARAMETERS"))
    safety = instruments.Safety(False, "its verdict is overridden by hand (WEATHER_OVERRIDE)")
    assert world.result(monitor.device.read()) == safety


def test_a_device_may_tell_its_verdict_as_safety_status(rig: Make, world: DeviceWorld) -> None:
    monitor = rig("safety", {"SAFETY_STATUS": ("Light", {"SAFETY": "Alert"}, "Alert")})
    assert world.result(monitor.device.read()) == instruments.Safety(False, "SAFETY: danger")


@pytest.mark.parametrize(
    ("state", "safe", "reason"),
    [
        ("Ok", True, ""),
        ("Busy", True, "WEATHER_WIND_SPEED: warning"),
        ("Idle", False, "it gives no verdict"),
        ("Alert", False, "WEATHER_WIND_SPEED: danger"),
    ],
)
def test_the_verdict_of_a_weather_device(rig: Make, world: DeviceWorld, state: str, safe: bool, reason: str) -> None:
    monitor = rig("safety", STATION | {"WEATHER_STATUS": ("Light", {"WEATHER_WIND_SPEED": state}, state)})
    monitor.server.say(monitor.server.set("WEATHER_PARAMETERS"))
    assert world.result(monitor.device.read()) == instruments.Safety(safe, reason)


def test_every_failure_has_one_line(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.answers["TELESCOPE_PARK"] = '<message device="Dev" message="[ERROR] two\nlines"/>'
    with pytest.raises(InstrumentError) as failed:
        world.result(mount.device.park(), 5)
    assert re.fullmatch(r"[^\n]+two lines", str(failed.value))


# Switches ----------------------------------------------------------------------------------------------------------

BOX = {
    "POWER": ("Switch", {"POWER_ON": False, "POWER_OFF": True}, "Ok"),
    "PORTS": ("Switch", {"PORT_1": True, "PORT_2": False, "PORT_3": False}, "Ok"),
    "DEW": ("Number", {"DEW_A": (20.0, 0, 100)}, "Ok"),
}


def test_a_power_box_is_the_vectors_of_its_address(rig: Make, world: DeviceWorld) -> None:
    box = rig("switch", BOX, address=f"{ADDRESS}?POWER,PORTS,DEW")
    channels = world.result(box.device.channels())
    assert [each.name for each in channels] == ["POWER_ON", "PORT_1", "PORT_2", "PORT_3", "DEW_A"]
    assert (channels[4].least, channels[4].most) == (0, 100)
    assert [world.result(box.device.get(number)) for number in range(5)] == [0, 1, 0, 0, 20]
    assert [world.result(box.device.set(*each)) for each in ((0, 1), (2, 1), (4, 75.0))] == [1, 1, 75]
    assert world.result(box.device.set(0, 0)) == 0
    assert box.server.changes("POWER") == [{"POWER_ON": "On"}, {"POWER_OFF": "On"}]
    assert box.server.changes("PORTS") == [{"PORT_2": "On"}]
    for channel, level in ((5, 1), (-1, 1), (4, 101), (0, 2)):
        world.fails(DeviceRefused, r"^VALUE: Dev: channel", box.device.set(channel, level))


def test_a_channel_that_does_not_switch(rig: Make, world: DeviceWorld) -> None:
    box = rig("switch", BOX, address=f"{ADDRESS}?POWER")
    box.server.answers["POWER"] = lambda _: box.server.set("POWER")
    world.fails(DeviceFailed, "Dev: channel 0 to 1: 'POWER_ON' is at 0", box.device.set(0, 1))
    box.server.answers["POWER"] = lambda _: box.server.set("POWER", "Alert")
    world.fails(DeviceRefused, "", box.device.set(0, 1))
    box.server.answers["POWER"] = lambda _: box.server.set("POWER", "Busy")
    world.fails(NoAnswer, "not set within 10 s", box.device.set(0, 1), 11)


def test_a_box_without_such_a_vector(rig: Make, world: DeviceWorld) -> None:
    box = rig("switch", BOX, address=f"{ADDRESS}?POWER,FANS")
    world.run(5)
    assert box.told[-1] == (False, f"switch at {ADDRESS}: 'Dev' has no FANS")
