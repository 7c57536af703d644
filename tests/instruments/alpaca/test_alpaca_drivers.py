"""What the drivers make of devices that are slow, stuck, wrong or old, on virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pyros.clock import VirtualClock
from pyros.errors import CommandAborted, ConnectionLost, DeviceFailed, DeviceRefused, NoAnswer
from pyros.instruments.alpaca.image import HEADER
from pyros.instruments.drivers.coordinates import apparent_of_icrs
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.instruments.alpaca.conftest import Http, Raw, Server, Wrong
from tests.instruments.conftest import World

Device = Callable[..., Any]


class Mount:
    """A mount that slews for some seconds, and ends ``off`` degrees from where it was sent."""

    def __init__(self, server: Server, world: World, seconds: float = 20.0, **values: Any) -> None:
        self.world, self.seconds, self.off = world, seconds, [0.0]
        self.hours, self.degrees, self.until = 0.0, 0.0, 0.0
        self.parked, self.tracking = False, False
        server.answers |= {
            "GET slewing": lambda _: self.moving,
            "GET atpark": lambda _: self.parked and not self.moving,
            "GET tracking": lambda _: self.tracking,
            "GET rightascension": lambda _: self.hours,
            "GET declination": lambda _: self.degrees,
            "PUT tracking": lambda p: setattr(self, "tracking", p["Tracking"] == "True"),
            "PUT unpark": lambda _: setattr(self, "parked", False),
            "PUT park": self.park,
            "PUT abortslew": self.abort,
            "PUT slewtocoordinatesasync": self.slew,
            "PUT synctocoordinates": self.sync,
        }
        can = dict.fromkeys(("canslewasync", "cansettracking", "canpark", "cansync"), True)
        server.set(**({"equatorialsystem": 2} | can | values))

    @property
    def moving(self) -> bool:
        return self.world.seconds() < self.until

    def slew(self, where: dict[str, str]) -> Any:
        if self.parked or not self.tracking or self.moving:
            return Wrong(0x40B, "parked, not tracking, or slewing")
        self.until = self.world.seconds() + self.seconds
        self.sync(where, self.off.pop(0) if len(self.off) > 1 else self.off[0])
        return None

    def sync(self, where: dict[str, str], off: float = 0.0) -> None:
        self.hours, self.degrees = float(where["RightAscension"]), float(where["Declination"]) + off

    def park(self, _: Any) -> None:
        self.until, self.parked = self.world.seconds() + self.seconds, True

    def abort(self, _: Any) -> Any:
        if self.parked and not self.moving:
            return Wrong(0x408, "parked")
        self.until, self.parked = 0.0, False
        return None


def test_a_slew_is_measured(server: Server, device: Device, world: World) -> None:
    mount, telescope = Mount(server, world), device("telescope")
    mount.parked, mount.off = True, [0.001]
    started: list[float] = []
    end = world.result(telescope.slew(359.9999999999999, -30.0, "x", started.append), 40)
    assert end.error_arcsec == pytest.approx(3.6)
    assert started == [pytest.approx(1 + 30 / 3)]
    assert world.result(telescope.state()) == "tracking"
    assert server.count("PUT slewtocoordinatesasync") == 1
    assert 0 <= float(server.last("PUT slewtocoordinatesasync")["RightAscension"]) < 24


@pytest.mark.parametrize(("number", "side"), [(0, "east"), (1, "west"), (-1, "")])
def test_a_mount_tells_the_side_of_its_pier(
    server: Server, device: Device, world: World, number: int, side: str
) -> None:
    Mount(server, world, sideofpier=number)
    assert world.result(device("telescope").side()) == side


@pytest.mark.parametrize(("can", "times"), [(True, 1), (False, 0)])
def test_a_mount_that_can_is_told_the_side_of_its_pier(
    server: Server, device: Device, world: World, can: bool, times: int
) -> None:
    mount = Mount(server, world, sideofpier=1, cansetpierside=can)
    server.answers["PUT sideofpier"] = lambda p: server.set(sideofpier=int(p["SideOfPier"]))
    mount.tracking = True
    world.result(device("telescope").slew(10.0, -30.0, side="east"), 60)
    assert server.count("PUT sideofpier") == times
    assert server.count("PUT slewtocoordinatesasync") == 1


def test_a_slew_that_says_ok_elsewhere_is_sent_again_once(server: Server, device: Device, world: World) -> None:
    mount, telescope = Mount(server, world), device("telescope")
    mount.off = [170 / 3600, 0.0]
    assert world.result(telescope.slew(10.0, 20.0), 60).error_arcsec < 1
    mount.off = [170 / 3600]
    world.fails(DeviceFailed, "170 arcsec from the target after two slews", telescope.slew(10.0, 25.0), 60)
    assert server.count("PUT slewtocoordinatesasync") == 4


def test_a_stuck_mount_fails(server: Server, device: Device, world: World) -> None:
    Mount(server, world, seconds=1e6)
    telescope = device("telescope")
    world.fails(DeviceFailed, r"slew: no end after 30. s", telescope.slew(10.0, 20.0), 310)


def test_it_is_looked_at_often_only_near_the_end(server: Server, device: Device, world: World) -> None:
    Mount(server, world, seconds=60.0)
    telescope = device("telescope")
    world.result(telescope.slew(179.0, 0.0), 100)
    assert 100 < server.count("GET slewing") < 200
    estimates: list[float] = []
    world.result(telescope.slew(0.0, 0.0, started=estimates.append), 100)
    assert estimates == [pytest.approx(60.0, rel=0.02)]  # the next one is as fast


def test_a_parked_mount_is_not_told_to_stop_or_park(server: Server, device: Device, world: World) -> None:
    Mount(server, world)
    telescope = device("telescope")
    world.result(telescope.park(), 60)
    assert world.result(telescope.state()) == "parked"
    world.result(telescope.stop())  # nothing to stop, though the mount refuses it
    world.result(telescope.park())
    assert server.count("PUT park") == 1


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (0x400, "UNSUPPORTED"), (0x401, "LIMIT"), (0x402, "LIMIT"), (0x407, "STATE"), (0x408, "STATE"),
        (0x409, "STATE"), (0x40B, "STATE"), (0x40C, "UNSUPPORTED"), (0x40D, "STATE"),
    ],
)  # fmt: skip
def test_refused_slews(number: int, code: str, server: Server, device: Device, world: World) -> None:
    Mount(server, world)
    server.answers["PUT slewtocoordinatesasync"] = Wrong(number, "below the horizon")
    with pytest.raises(DeviceRefused, match="below the horizon") as caught:
        world.result(device("telescope").slew(10.0, 20.0), 5)
    assert caught.value.code == code


@pytest.mark.parametrize("number", [0x500, 0x5A1, 0xFFF])
def test_a_driver_error_fails_with_the_devices_words(number: int, server: Server, device: Device, world: World) -> None:
    Mount(server, world)
    server.answers["PUT slewtocoordinatesasync"] = Wrong(number, "motor controller overheated")
    with pytest.raises(DeviceFailed, match=rf"motor controller overheated \(error 0x{number:X}\)"):
        world.result(device("telescope").slew(10.0, 20.0), 5)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Http(400, b"RightAscension is missing"), DeviceRefused, "HTTP 400: RightAscension is missing"),
        (Http(500, b"Traceback"), DeviceFailed, "HTTP 500: Traceback"),
        (Wrong(0x40E, "cancelled by the hand box"), CommandAborted, "cancelled by the hand box"),
    ],
)
def test_other_ends_of_a_slew(
    answer: Any, error: type[Exception], words: str, server: Server, device: Device, world: World
) -> None:
    Mount(server, world)
    server.answers["PUT slewtocoordinatesasync"] = answer
    world.fails(error, words, device("telescope").slew(10.0, 20.0), 5)


def test_a_mount_that_was_disconnected_by_somebody_else_is_connected_again(
    server: Server, device: Device, world: World, told: list[tuple[bool, str]]
) -> None:
    Mount(server, world)
    telescope = device("telescope")
    world.result(telescope.slew(10.0, 20.0), 60)
    server.is_connected = False
    slewing, server.answers["GET slewing"] = server.answers["GET slewing"], Wrong(0x407, "not connected")
    world.fails(DeviceRefused, r"STATE: .*not connected \(error 0x407\)", telescope.slew(11.0, 20.0), 1)
    server.answers["GET slewing"] = slewing
    world.run(3)
    assert server.is_connected
    assert [up for up, _ in told] == [True, False, True]
    assert world.result(telescope.slew(12.0, 20.0), 60).error_arcsec < 1


def test_below_the_horizon_is_refused_before_the_mount_is_asked(
    server: Server, device: Device, world: World, clock: VirtualClock
) -> None:
    Mount(server, world)
    site = Site("x", 43.9, 5.7, 650.0)
    telescope = device("telescope", site=site)
    with pytest.raises(DeviceRefused, match=r"^LIMIT: Old device: the target is at altitude -20\.0 degrees"):
        world.result(telescope.slew(*place_overhead(site, clock.now(), -20.0, 90.0)), 5)
    assert not server.count("PUT slewtocoordinatesasync")


@pytest.mark.parametrize(
    ("missing", "command"),
    [("canslewasync", "slew"), ("cansync", "sync"), ("canpark", "park")],
)
def test_what_a_mount_cannot(missing: str, command: str, server: Server, device: Device, world: World) -> None:
    Mount(server, world, **{missing: False})
    telescope = device("telescope")
    with pytest.raises(DeviceRefused, match="UNSUPPORTED"):
        world.result(telescope.park() if command == "park" else getattr(telescope, command)(1.0, 1.0), 5)


def test_a_mount_of_date(server: Server, device: Device, world: World, clock: VirtualClock) -> None:
    """Its coordinates are apparent places; ours are ICRS."""
    mount, telescope = Mount(server, world, equatorialsystem=1), device("telescope")
    end = world.result(telescope.slew(83.6, 22.0), 40)
    ra, dec = apparent_of_icrs(83.6, 22.0, clock.time() - 20)
    assert mount.hours * 15 == pytest.approx(ra, abs=1e-5)
    assert mount.degrees == pytest.approx(dec, abs=1e-5)
    assert abs(ra - 83.6) > 0.3
    assert end.error_arcsec < 0.01
    assert (end.ra, end.dec) == (pytest.approx(83.6), pytest.approx(22.0))
    world.result(telescope.sync(83.7, 22.1))
    here = world.result(telescope.position())
    assert (here.ra, here.dec) == (pytest.approx(83.7), pytest.approx(22.1))


@pytest.mark.parametrize("system", [3, 4, 9])
def test_other_equinoxes_are_refused(system: int, server: Server, device: Device, world: World) -> None:
    Mount(server, world, equatorialsystem=system)
    with pytest.raises(DeviceRefused, match="UNSUPPORTED: Old device has coordinates of J2050 or B1950"):
        world.result(device("telescope").slew(1.0, 1.0), 5)


@pytest.mark.parametrize(("hours", "degrees"), [(25.0, 0.0), (-1.0, 0.0), (1.0, 91.0)])
def test_a_position_that_cannot_be(hours: float, degrees: float, server: Server, device: Device, world: World) -> None:
    Mount(server, world)
    server.set(rightascension=hours, declination=degrees)
    world.fails(DeviceFailed, "it says it is at", device("telescope").position(), 5)


def test_a_mount_that_ignores_track_and_sync(server: Server, device: Device, world: World) -> None:
    mount, telescope = Mount(server, world), device("telescope")
    server.answers["PUT tracking"] = server.answers["PUT synctocoordinates"] = ""
    world.fails(DeviceFailed, "told to track, and doesn't", telescope.track(True), 5)
    world.fails(DeviceFailed, "arcsec from where it was told that it is", telescope.sync(1.0, 1.0), 5)
    assert not mount.tracking


def test_a_server_gone_in_mid_slew(server: Server, device: Device, world: World) -> None:
    Mount(server, world)
    telescope = device("telescope")
    slew = telescope.slew(10.0, 20.0)
    world.run(5)
    server.away()
    world.fails(ConnectionLost, "", slew, 3)
    server.back()
    assert world.result(telescope.slew(10.0, 20.0), 60).error_arcsec < 1


class Traveller:
    """A mount that goes at 5 degrees a second, and whose Slewing is true from ``late`` seconds on, ``stuck`` for ever.

    ``forgets`` is how often it doesn't track at the end of a slew; ``refuses`` whether it takes no slew while it moves,
    though it doesn't say that it does.
    """

    def __init__(self, server: Server, world: World, late: float = 0.0, stuck: bool = False, forgets: int = 0,
                 refuses: bool = False, tracks: bool = True) -> None:  # fmt: skip
        self.world, self.late, self.stuck, self.forgets, self.refuses = world, late, stuck, forgets, refuses
        self.from_, self.to = (0.0, 10.0), (0.0, 10.0)  # degrees
        self.begin = self.end = -1e9
        self.sent = False
        self.tracking, self.can_track = True, tracks
        self.jammed = False
        server.answers |= {
            "GET slewing": lambda _: (self.stuck and self.sent) or (
                self.begin + self.late <= world.seconds() and (self.jammed or world.seconds() < self.end)),
            "GET tracking": lambda _: self.track(),
            "GET rightascension": lambda _: self.where[0] / 15,
            "GET declination": lambda _: self.where[1],
            "PUT tracking": lambda p: setattr(self, "tracking", self.can_track and p["Tracking"] == "True"),
            "PUT slewtocoordinatesasync": self.slew,
            "PUT abortslew": self.abort,
            "PUT park": lambda _: self.go((0.0, 90.0)),
        }  # fmt: skip
        server.set(atpark=False, equatorialsystem=2, canslewasync=True, cansettracking=True, canpark=True)

    @property
    def moving(self) -> bool:
        return self.jammed or self.world.seconds() < self.end

    @property
    def where(self) -> tuple[float, float]:
        if self.jammed or self.end <= self.begin:
            return self.from_
        done = min(1.0, (self.world.seconds() - self.begin) / (self.end - self.begin))
        return (
            self.from_[0] + (self.to[0] - self.from_[0]) * done,
            self.from_[1] + (self.to[1] - self.from_[1]) * done,
        )

    def track(self) -> bool:
        if self.forgets and self.sent and not self.moving:
            self.forgets -= 1
            self.tracking = False
        return self.tracking

    def go(self, to: tuple[float, float]) -> None:
        self.from_, self.to, self.begin, self.sent = self.where, to, self.world.seconds(), True
        self.end = self.begin + max(abs(a - b) for a, b in zip(self.from_, to, strict=True)) / 5

    def slew(self, where: dict[str, str]) -> Any:
        if not self.tracking or (self.refuses and self.moving):
            return Wrong(0x40B, "not while it moves, nor without tracking")
        self.go((float(where["RightAscension"]) * 15, float(where["Declination"])))
        return None

    def abort(self, _: Any) -> None:
        self.from_ = self.to = self.where
        self.end, self.jammed = self.begin, False


@pytest.mark.parametrize("late", [0.0, 0.5, 2.0, 1e6])
def test_a_slew_has_not_ended_because_it_has_not_begun(
    late: float, server: Server, device: Device, world: World
) -> None:
    mount = Traveller(server, world, late=late)
    assert world.result(device("telescope").slew(50.0, 20.0), 30).error_arcsec < 1
    assert not mount.moving
    assert server.count("PUT slewtocoordinatesasync") == 1


def test_a_mount_that_only_echoes_its_target_is_not_there(server: Server, device: Device, world: World) -> None:
    mount, telescope = Mount(server, world, seconds=4.0), device("telescope")
    server.answers["GET slewing"] = lambda _: 0.0 < mount.until - world.seconds() < 3.0
    slew = telescope.slew(50.0, 20.0)
    world.run(2.5)
    assert not slew.called
    assert world.result(slew, 10).error_arcsec < 1


def test_a_mount_on_its_target_that_says_for_ever_that_it_slews(server: Server, device: Device, world: World) -> None:
    mount, telescope = Traveller(server, world, stuck=True), device("telescope")
    began = world.seconds()
    for ra in (50.0, 60.0):
        assert world.result(telescope.slew(ra, 20.0), 60).error_arcsec < 1
        assert world.result(telescope.state()) == "tracking"
    assert world.seconds() - began < 100
    assert server.count("PUT slewtocoordinatesasync") == 2
    assert server.count("PUT abortslew") == 2
    mount.stuck = False
    assert world.result(telescope.state()) == "tracking"
    mount.go((0.0, 0.0))
    world.run(3)
    assert world.result(telescope.state()) == "slewing"


def test_a_mount_that_settles_is_left_alone(server: Server, device: Device, world: World) -> None:
    mount = Traveller(server, world)
    server.set(slewsettletime=20.0)
    server.answers["GET slewing"] = lambda _: world.seconds() < mount.end + 20.0
    assert world.result(device("telescope").slew(50.0, 20.0), 60).error_arcsec < 1
    assert server.count("PUT abortslew") == 0


def test_a_mount_on_its_target_tracks_again(server: Server, device: Device, world: World) -> None:
    Traveller(server, world, forgets=2)
    telescope = device("telescope")
    world.result(telescope.slew(50.0, 20.0), 30)
    assert world.result(telescope.state()) == "tracking"
    assert server.count("PUT tracking") == 2


@pytest.mark.parametrize("settable", [True, False])
def test_a_target_that_is_not_tracked_is_not_reached(
    settable: bool, server: Server, device: Device, world: World
) -> None:
    Traveller(server, world, forgets=1, tracks=False)
    server.set(cansettracking=settable)
    world.fails(DeviceFailed, "on its target and doesn't track", device("telescope").slew(50.0, 20.0), 30)
    assert server.count("PUT abortslew") == 1


def test_a_slew_refused_by_a_mount_that_moves_is_sent_after_an_abort(
    server: Server, device: Device, world: World
) -> None:
    mount, telescope = Traveller(server, world, late=1e6, refuses=True), device("telescope")
    mount.go((0.0, 80.0))  # by somebody else
    assert world.result(telescope.slew(50.0, 20.0), 30).error_arcsec < 1
    assert server.count("PUT abortslew") == 1


@pytest.mark.parametrize("request_", ["slewing", "rightascension"])
def test_a_slew_goes_on_though_a_question_fails_now_and_then(
    request_: str, server: Server, device: Device, world: World
) -> None:
    Traveller(server, world)
    telescope, asked = device("telescope"), [0]
    world.result(telescope.position())
    slew = telescope.slew(50.0, 20.0)
    world.run(1)
    usual = server.answers[f"GET {request_}"]

    def sometimes(parameters: dict[str, str]) -> Any:
        asked[0] += 1
        return usual(parameters) if asked[0] % 2 or world.seconds() > 8 else Wrong(0x500, "serial timeout")

    server.answers[f"GET {request_}"] = sometimes
    assert world.result(slew, 30).error_arcsec < 1
    assert (server.count("PUT slewtocoordinatesasync"), server.count("PUT abortslew")) == (1, 0)


@pytest.mark.parametrize("command", ["slew", "park"])
def test_a_mount_given_up_is_stopped(command: str, server: Server, device: Device, world: World) -> None:
    mount, telescope = Traveller(server, world), device("telescope", "?slew_seconds=20")
    mount.jammed = True
    moving = telescope.slew(50.0, 20.0) if command == "slew" else telescope.park()
    world.run(1)
    mount.jammed = True
    world.fails(DeviceFailed, "no end after 20 s", moving, 25)
    assert not mount.moving


class Cam:
    """A camera of 3 x 2 pixels; what it shows is the number of the exposure."""

    def __init__(self, server: Server, world: World, **values: Any) -> None:
        self.world, self.number, self.end, self.ready = world, 0, 0.0, False
        self.camera_state = lambda: 2 if world.seconds() < self.end else 0
        self.image: Any = lambda: Http(200, self.pixels(), "application/imagebytes")
        server.answers |= {
            "GET camerastate": lambda _: self.camera_state(),
            "GET imageready": lambda _: self.ready or bool(self.number and self.camera_state() == 0 and self.end),
            "GET imagearray": lambda _: self.image(),
            "PUT startexposure": self.start,
            "PUT abortexposure": lambda _: setattr(self, "end", 0.0),
        }
        server.set(**{"cameraxsize": 3, "cameraysize": 2, "pixelsizex": 9.0, "maxadu": 4095, "canabortexposure": True,
                      "hasshutter": True, "focallength": 1.0, "ccdtemperature": -10.5, "electronsperadu": 1.3,
                      **values})  # fmt: skip

    def start(self, parameters: dict[str, str]) -> None:
        self.number += 1
        self.end = self.world.seconds() + float(parameters["Duration"]) + 0.7

    def pixels(self) -> bytes:
        return HEADER.pack(1, 0, 1, 2, 44, 2, 8, 2, 3, 2, 0) + np.full((3, 2), self.number, "<u2").tobytes()


class LateCam(Cam):
    """A camera that is idle once told to abort, and still shows that image when the exposure would have ended."""

    def __init__(self, server: Server, world: World) -> None:
        super().__init__(server, world)
        self.state, self.started, self.number = 0, 0, 0
        self.camera_state = lambda: self.state
        server.answers |= {
            "GET imageready": lambda _: bool(self.number),
            "GET imagearray": lambda _: self.fetch(),
            "PUT abortexposure": lambda _: self.show(0),
        }

    def start(self, parameters: dict[str, str]) -> None:
        self.show(0, state=2)
        self.started += 1
        self.world.callLater(float(parameters["Duration"]) + 0.7, self.show, self.started)

    def show(self, number: int, state: int = 0) -> None:
        self.number, self.state = number, state

    def fetch(self) -> Http:
        image = Http(200, self.pixels(), "application/imagebytes")
        self.number = 0
        return image


def test_an_exposure(server: Server, device: Device, world: World, clock: VirtualClock) -> None:
    Cam(server, world)
    camera, begin = device("camera"), clock.time()
    started: list[float] = []
    image = world.result(camera.expose(10.0, "", "x", started.append), 20)
    assert image.pixels.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert image.started == pytest.approx(begin, abs=0.1)
    assert (image.seconds, image.filter, image.temperature, image.gain) == (10.0, "", -10.5, 1.3)
    assert image.arcsec_per_pixel == pytest.approx(206265 * 9e-6, rel=1e-5)
    assert started == [12.0]
    assert server.last("PUT startexposure") == {"Duration": "10.0", "Light": "True"}
    assert world.result(camera.state()) == "idle"  # though the camera still shows the image, it was fetched
    geometry = world.result(camera.geometry())
    assert (geometry.width, geometry.height, geometry.bits) == (3, 2, 12)
    world.result(camera.expose(1.0, dark=True), 20)
    assert server.last("PUT startexposure")["Light"] == "False"


def test_gain_and_readout_mode_are_set_by_their_names(server: Server, device: Device, world: World) -> None:
    Cam(server, world, readoutmodes=["Fast", "Low noise"])
    camera = device("camera")
    world.result(camera.configure(100.0, "Low noise"), 5)
    assert server.last("PUT gain") == {"Gain": "100"}
    assert server.last("PUT readoutmode") == {"ReadoutMode": "1"}
    world.fails(DeviceRefused, "no readout mode 'Slow'; there are: Fast, Low noise", camera.configure(5.0, "Slow"), 5)
    assert server.last("PUT gain") == {"Gain": "100"}, "nothing is set"


def test_an_image_as_json(server: Server, device: Device, world: World) -> None:
    cam = Cam(server, world)
    cam.image = lambda: Http(
        200, json.dumps({"Rank": 2, "Value": [[4, 1], [5, 2], [6, 3]]}).encode(), "application/json"
    )
    assert world.result(device("camera").expose(1.0), 20).pixels.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (lambda: Http(200, b"short", "application/imagebytes"), DeviceFailed, "has no header"),
        (lambda: Http(200, b"x" * 3_000_000, "application/imagebytes"), DeviceFailed, "an answer of more than 1048720"),
        (lambda: Http(500, b"out of memory"), DeviceFailed, "HTTP 500: out of memory"),
        (lambda: Wrong(0x40B, "no image"), DeviceRefused, "STATE"),
        (lambda: Http(200, HEADER.pack(1, 0, 1, 2, 44, 2, 8, 3, 3, 2, 3) + b"x" * 36, "application/imagebytes"),
         DeviceRefused, "a colour image"),
    ],
)  # fmt: skip
def test_wrong_images(
    image: Any, error: type[Exception], words: str, server: Server, device: Device, world: World
) -> None:
    cam = Cam(server, world)
    cam.image = image
    world.fails(error, words, device("camera").expose(1.0), 20)


@pytest.mark.parametrize(
    ("options", "scale"),
    [("", 206265 * 9e-6 / 1.0), ("?arcsec_per_pixel=0.5", 0.5), ("?focal_length=2000", 206265 * 9e-6 / 2.0)],
)
def test_the_size_of_a_pixel(options: str, scale: float, server: Server, device: Device, world: World) -> None:
    Cam(server, world)
    assert world.result(device("camera", options).geometry()).arcsec_per_pixel == pytest.approx(scale, rel=1e-5)


def test_binning(server: Server, device: Device, world: World) -> None:
    cam = Cam(server, world, cameraxsize=6, cameraysize=5, binx=1, biny=1, numx=6, numy=5, startx=1, starty=0)
    camera = device("camera", "?bin=2")
    geometry = world.result(camera.geometry())
    assert (geometry.width, geometry.height) == (3, 2)
    assert geometry.arcsec_per_pixel == pytest.approx(2 * 206265 * 9e-6, rel=1e-5)
    world.result(camera.expose(1.0), 20)
    for name, value in {"BinX": 2, "BinY": 2, "NumX": 3, "NumY": 2, "StartX": 0}.items():
        assert server.last(f"PUT {name.lower()}") == {name: str(value)}
    assert server.count("PUT starty") == 0
    assert cam.number == 1


def test_a_binning_is_of_the_one_exposure_that_asks_for_it(server: Server, device: Device, world: World) -> None:
    Cam(server, world, cameraxsize=6, cameraysize=4, binx=1, biny=1, numx=6, numy=4, startx=0, starty=0,
        maxbinx=2, maxbiny=3)  # fmt: skip
    camera = device("camera")
    assert world.result(camera.max_binning()) == 2
    image = world.result(camera.expose(1.0, binning=2), 20)
    assert image.binning == 2
    assert image.arcsec_per_pixel == pytest.approx(2 * 206265 * 9e-6, rel=1e-5)
    assert server.last("PUT binx") == {"BinX": "2"}
    server.set(binx=2, biny=2, numx=3, numy=2)
    assert world.result(camera.expose(1.0), 20).binning == 1
    assert server.last("PUT binx") == {"BinX": "1"}
    assert server.last("PUT numx") == {"NumX": "6"}
    world.fails(DeviceRefused, "VALUE: .*binning 3 is not from 1 to 2", camera.expose(1.0, binning=3), 5)
    assert server.count("PUT startexposure") == 2


def test_nobody_knows_the_size_of_a_pixel(server: Server, device: Device, world: World) -> None:
    """It fails before the exposure, not after."""
    Cam(server, world, focallength=Wrong(0x400))
    world.fails(DeviceFailed, r"say so in its address: \?arcsec_per_pixel=0.62", device("camera").expose(1.0), 5)
    assert server.count("PUT startexposure") == 0


def test_an_abort(server: Server, device: Device, world: World) -> None:
    cam, camera = Cam(server, world), device("camera")
    exposure = camera.expose(100.0)
    world.run(5)
    assert world.result(camera.state()) == "exposing"
    world.fails(DeviceRefused, "BUSY", camera.expose(1.0))
    world.result(camera.abort())
    world.fails(CommandAborted, "", exposure)
    assert world.result(camera.expose(1.0), 20).pixels[0, 0] == cam.number == 2


def test_an_exposure_from_before_a_restart_is_not_disturbed(server: Server, device: Device, world: World) -> None:
    cam, camera = Cam(server, world), device("camera")
    cam.start({"Duration": "50"})
    world.fails(DeviceRefused, "BUSY", camera.expose(1.0), 5)
    world.run(60)
    assert world.result(camera.state()) == "ready"


def test_an_image_left_by_an_aborted_exposure(server: Server, device: Device, world: World) -> None:
    """When it comes in the middle of another exposure it is thrown away."""
    cam, camera = Cam(server, world), device("camera")
    exposure = camera.expose(20.0)
    world.run(5)
    cam.ready = True  # of an exposure before

    def fetch() -> Http:
        cam.ready = False
        return Http(200, cam.pixels(), "application/imagebytes")

    cam.image = fetch
    world.result(exposure, 20)
    assert server.count("GET imagearray") == 2


@pytest.mark.parametrize("end", ["aborted", "aborted while a question is not answered", "failed"])
def test_an_image_that_an_exposure_leaves_late_is_not_taken_for_the_next(
    end: str, server: Server, device: Device, world: World
) -> None:
    cam, camera = LateCam(server, world), device("camera")
    first, following = camera.expose(10.0), []
    world.run(3.5)

    def asked() -> int:
        cam.camera_state = lambda: cam.state
        if end == "failed":
            cam.state = 5
            return 5
        camera.abort()
        if end != "aborted":
            following.append(camera.expose(6.5))
            world.run(2.0)
        return 2

    cam.camera_state = asked
    world.fails(DeviceFailed if end == "failed" else CommandAborted, "", first, 5)
    following = following or [camera.expose(6.5)]  # which would end half a second after the first
    assert world.result(following[0], 30).pixels[0, 0] == cam.started == 2


def test_a_camera_in_error(server: Server, device: Device, world: World) -> None:
    cam, camera = Cam(server, world), device("camera")
    exposure, state = camera.expose(10.0), cam.camera_state
    world.run(3)
    cam.camera_state = lambda: 5
    world.fails(DeviceFailed, "the camera reports an error", exposure, 5)
    world.fails(DeviceFailed, "the camera reports an error", camera.state())
    server.answers["PUT abortexposure"] = lambda _: setattr(cam, "camera_state", state)
    cam.end = 0.0
    assert world.result(camera.expose(1.0), 20).pixels[0, 0] == 2


def test_an_image_that_never_comes(server: Server, device: Device, world: World) -> None:
    Cam(server, world)
    server.set(imageready=False)
    world.fails(DeviceFailed, r"exposure: no end after 12. s", device("camera").expose(1.0), 130)


BROKEN = [Wrong(0x500, "USB"), Wrong(0x407), Wrong(0x40B), Wrong(-2147467259), Http(500, b"x"), Raw(b"no HTTP"), None,
          Http(200, b'{"Value":NaN}', "application/json"), "cold", -300.0]  # fmt: skip


@pytest.mark.parametrize("answer", BROKEN)
def test_an_image_is_kept_whatever_the_thermometer_says(
    answer: Any, server: Server, device: Device, world: World
) -> None:
    cam, camera = Cam(server, world, cooleron=True), device("camera")
    world.result(camera.geometry())
    server.set(ccdtemperature=answer, electronsperadu=answer, lastexposureduration=answer, setccdtemperature=answer)
    image = world.result(camera.expose(1.0), 60)
    assert (image.pixels[0, 0], image.temperature, image.gain, image.seconds) == (cam.number, None, None, 1.0)
    world.run(5)
    cooling = world.result(camera.cooling(), 60)
    assert cooling.temperature in (None, -300.0)


@pytest.mark.parametrize(("exposed", "seconds"), [(9.97, 9.97), (0.0, 0.0), (-1.0, 10.0), (1e6, 10.0)])
def test_the_exposure_time_is_the_cameras_own(
    exposed: float, seconds: float, server: Server, device: Device, world: World
) -> None:
    Cam(server, world, lastexposureduration=exposed)
    assert world.result(device("camera").expose(10.0), 30).seconds == seconds


@pytest.mark.parametrize("request_", ["camerastate", "imageready", "imagearray"])
def test_an_image_is_kept_though_a_question_fails_now_and_then(
    request_: str, server: Server, device: Device, world: World
) -> None:
    cam, asked = Cam(server, world), [0]
    usual = server.answers[f"GET {request_}"]

    def sometimes(parameters: dict[str, str]) -> Any:
        asked[0] += 1
        return usual(parameters) if asked[0] % 3 == 0 else Wrong(0x500, "USB")

    camera = device("camera")
    world.result(camera.geometry())
    exposing = camera.expose(10.0)
    world.run(2)
    server.answers[f"GET {request_}"] = sometimes
    assert world.result(exposing, 30).pixels[0, 0] == cam.number == 1


def test_an_image_that_is_here_is_kept_though_the_camera_goes_away(
    server: Server, device: Device, world: World
) -> None:
    cam, camera = Cam(server, world), device("camera")
    exposing = camera.expose(1.0)
    pixels = cam.image

    def last() -> Any:
        world.callLater(0, world.callLater, 0, server.away)
        world.callLater(2, server.back)
        return pixels()

    cam.image = last
    image = world.result(exposing, 60)
    assert (image.pixels[0, 0], image.gain) == (1, 1.3)


def test_a_bias_is_as_short_as_can_be(server: Server, device: Device, world: World) -> None:
    Cam(server, world, exposuremin=0.001)
    image = world.result(device("camera").expose(0.0, dark=True), 30)
    assert server.last("PUT startexposure") == {"Duration": "0.001", "Light": "False"}
    assert image.seconds == 0.001


def test_a_subframe_of_somebody_else_is_undone_before_each_exposure(
    server: Server, device: Device, world: World
) -> None:
    frame = {"binx": 1, "biny": 1, "startx": 0, "starty": 0, "numx": 3, "numy": 2}
    camera = device("camera")
    Cam(server, world, **frame)

    def put(name: str) -> Callable[[dict[str, str]], None]:
        return lambda given: server.set(**{name: int(next(t for key, t in given.items() if key.lower() == name))})

    server.answers |= {f"PUT {name}": put(name) for name in frame}
    for left in ({"binx": 2, "biny": 2}, {"startx": 1, "numx": 1}, {"numy": 1}):
        server.set(**left)
        world.result(camera.expose(1.0), 30)
        assert {name: server.answers[f"GET {name}"] for name in frame} == frame


def test_an_image_of_half_the_size_is_one_of_larger_pixels(server: Server, device: Device, world: World) -> None:
    cam = Cam(server, world, cameraxsize=6, cameraysize=4)
    camera = device("camera", "?arcsec_per_pixel=1")
    image = world.result(camera.expose(1.0), 20)
    assert image.pixels.shape == (2, 3)
    assert image.arcsec_per_pixel == 2.0
    assert cam.number == 1


def test_what_a_camera_lacks(server: Server, device: Device, world: World) -> None:
    Cam(server, world, hasshutter=False, ccdtemperature=Wrong(0x400), electronsperadu=Wrong(0x400))
    camera = device("camera")
    world.fails(DeviceRefused, "UNSUPPORTED: Old device has no filter wheel of its own", camera.expose(1.0, "r"), 5)
    world.fails(DeviceRefused, "UNSUPPORTED: Old device has no shutter", camera.expose(1.0, dark=True), 5)
    world.fails(DeviceRefused, "UNSUPPORTED: Old device cannot be cooled", camera.cool(-10.0), 5)
    cooling = world.result(camera.cooling(), 5)
    assert (cooling.temperature, cooling.target, cooling.power) == (None, None, None)
    image = world.result(camera.expose(1.0), 20)
    assert (image.temperature, image.gain) == (None, None)


def test_a_colour_camera_is_refused(server: Server, device: Device, world: World) -> None:
    Cam(server, world, sensortype=1)
    world.fails(DeviceRefused, "a colour image", device("camera").expose(1.0), 5)


def test_cooling(server: Server, device: Device, world: World) -> None:
    Cam(server, world, cansetccdtemperature=True, cooleron=True, setccdtemperature=-30.0, coolerpower=45.0)
    camera = device("camera")
    world.result(camera.cool(-30.0), 5)
    assert server.last("PUT setccdtemperature") == {"SetCCDTemperature": "-30.0"}
    assert server.last("PUT cooleron") == {"CoolerOn": "True"}
    cooling = world.result(camera.cooling())
    assert (cooling.temperature, cooling.target, cooling.power) == (-10.5, -30.0, 45.0)
    world.result(camera.cool(None))
    assert server.last("PUT cooleron") == {"CoolerOn": "False"}


class Wheel:
    """A wheel that turns for two seconds, and stops at ``off`` filters from where it was sent."""

    def __init__(self, server: Server, world: World, off: int = 0, late: float = 0.0) -> None:
        def turn(parameters: dict[str, str]) -> None:
            world.callLater(late, setattr, self, "position", -1)
            world.callLater(late + 2, setattr, self, "position", int(parameters["Position"]) + off)

        self.position = 0
        server.answers |= {"GET position": lambda _: self.position, "PUT position": turn}
        server.set(names=["g", "r", "i"])


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_a_wheel(late: float, server: Server, device: Device, world: World) -> None:
    """Also one that shows the filter from before for a while."""
    Wheel(server, world, late=late)
    wheel = device("filter_wheel")
    started: list[float] = []
    turn = wheel.select("r", started.append)
    world.run(1.5)
    assert world.result(wheel.state()) == "moving"
    assert world.result(wheel.filter()) == ""
    assert world.result(turn, 5) == "r"
    assert started == [1.0]
    assert world.result(wheel.filter()) == "r"


def test_a_wheel_that_stops_elsewhere_or_never(server: Server, device: Device, world: World) -> None:
    Wheel(server, world, off=1)
    wheel = device("filter_wheel")
    world.fails(DeviceFailed, "filter 2 instead of 1, 'r', is in the beam", wheel.select("r"), 10)
    server.set(position=-1)
    world.fails(DeviceFailed, "turn: no end after 60 s", wheel.select("r"), 70)
    server.set(position=7)
    world.fails(DeviceFailed, "filter 7 of 3", wheel.filter())


class Motor:
    """A focuser of 100 steps a second."""

    def __init__(self, server: Server, world: World, **values: Any) -> None:
        self.world, self.there, self.until = world, 0, 0.0
        server.answers |= {
            "GET position": lambda _: self.there,
            "GET ismoving": lambda _: world.seconds() < self.until,
            "PUT move": self.move,
            "PUT halt": lambda _: setattr(self, "until", 0.0),
        }
        server.set(**({"absolute": True, "maxstep": 5000, "maxincrement": 1000} | values))

    def move(self, parameters: dict[str, str]) -> None:
        target = int(parameters["Position"])
        self.until = self.world.seconds() + abs(target - self.there) / 100
        self.there = target


def test_a_long_move_goes_by_increments(server: Server, device: Device, world: World) -> None:
    Motor(server, world)
    focuser = device("focuser")
    started: list[float] = []
    assert world.result(focuser.move(2500, started.append), 60) == 2500
    assert [p["Position"] for asked, p in server.asked if asked == "PUT move"] == ["1000", "2000", "2500"]
    assert len(started) == 1
    assert world.result(focuser.temperature()) is None


def test_a_move_is_stopped(server: Server, device: Device, world: World) -> None:
    Motor(server, world)
    focuser = device("focuser")
    move = focuser.move(2500)
    world.run(12)
    assert world.result(focuser.state()) == "moving"
    world.result(focuser.stop())
    world.fails(CommandAborted, "", move)
    world.run(60)
    assert server.count("PUT move") == 2


@pytest.mark.parametrize("late", [0.5, 3.0])
def test_a_focuser_whose_position_follows_late(late: float, server: Server, device: Device, world: World) -> None:
    motor, shown = Motor(server, world), [0]
    server.answers["GET position"] = lambda _: shown[0]
    server.answers["GET ismoving"] = False

    def move(parameters: dict[str, str]) -> None:
        world.callLater(late, shown.__setitem__, 0, int(parameters["Position"]))

    server.answers["PUT move"] = move
    assert world.result(device("focuser").move(500), 20) == 500
    assert motor.there == 0


def test_a_focuser_given_up_is_stopped(server: Server, device: Device, world: World) -> None:
    Motor(server, world)
    server.set(ismoving=True)
    world.fails(DeviceFailed, "no end after 7 s", device("focuser", "?move_seconds=7").move(500), 20)
    assert server.count("PUT halt") == 1


def test_a_stop_that_overtakes_a_move_is_told_again(server: Server, device: Device, world: World) -> None:
    motor, focuser = Motor(server, world), device("focuser")
    world.result(focuser.move(100), 5)

    def slow(seconds: float) -> None:
        for end in world.ends:
            end.delay = seconds

    def here(_: Any) -> int:
        world.callLater(0, slow, 0.3)  # the move comes next
        return motor.there

    server.answers["GET position"] = here
    move = focuser.move(500)
    world.run(0.1)
    server.answers["GET position"] = lambda _: motor.there
    slow(0.0)
    stop = focuser.stop()
    world.fails(CommandAborted, "", move, 20)
    world.result(stop, 20)
    assert [asked for asked, _ in server.asked if asked.startswith("PUT ")][-3:] == ["PUT halt", "PUT move", "PUT halt"]


def test_a_stop_that_is_refused_leaves_the_move(server: Server, device: Device, world: World) -> None:
    Motor(server, world)
    focuser = device("focuser")
    move = focuser.move(500)
    world.run(2)
    server.answers["PUT halt"] = Wrong(0x4FF, "not now")
    world.fails(DeviceFailed, "not now", focuser.stop(), 5)
    assert world.result(move, 20) == 500


def test_an_older_move_that_fails_late_does_not_stop_the_newer(server: Server, device: Device, world: World) -> None:
    Motor(server, world)
    focuser, newer, looks = device("focuser"), [], iter(range(3))

    def moving(_: Any) -> Any:
        if next(looks) == 2:
            newer.append(focuser.move(200))
            server.answers["GET ismoving"] = False
        return Wrong(0x4FF, "it does not know")

    server.answers["GET ismoving"] = moving
    world.fails(DeviceFailed, "it does not know", focuser.move(500), 20)
    assert world.result(newer[0], 20) == 200
    assert server.count("PUT halt") == 0


def test_focusers_that_fail(server: Server, device: Device, world: World) -> None:
    motor, focuser = Motor(server, world), device("focuser")
    server.set(position=500)
    world.fails(DeviceFailed, "at 500 instead of 700", focuser.move(700), 30)
    server.set(absolute=False)
    motor.until = 0.0
    other = device("focuser")
    world.fails(DeviceRefused, "UNSUPPORTED: Old device knows no positions", other.move(10), 5)


class Shutter:
    """A dome whose shutter takes 20 seconds."""

    def __init__(self, server: Server, world: World, **values: Any) -> None:
        self.world, self.now = world, 1
        self.call: Any = None
        server.answers |= {
            "GET shutterstatus": lambda _: self.now,
            "PUT openshutter": lambda _: self.go(2, 0),
            "PUT closeshutter": lambda _: self.go(3, 1),
            "PUT abortslew": lambda _: self.go(4, 4),
        }
        server.set(**({"cansetshutter": True, "cansetazimuth": True, "azimuth": 0.0, "slewing": False} | values))

    def go(self, meanwhile: int, end: int) -> None:
        if self.call is not None and self.call.active():
            self.call.cancel()
        if self.now != end:
            self.now = meanwhile
            self.call = self.world.callLater(20, setattr, self, "now", end)


def test_a_shutter(server: Server, device: Device, world: World) -> None:
    Shutter(server, world)
    dome = device("dome")
    started: list[float] = []
    world.result(dome.open(started.append), 30)
    assert world.result(dome.state()) == "open"
    assert started == [30.0]
    world.result(dome.open(started.append), 1)
    assert len(started) == 1
    world.result(dome.close(started.append), 30)
    assert started[1] == pytest.approx(20, abs=1)  # what it took before


def test_a_stop_aborts_an_opening_however_late_the_dome_answers_it(
    server: Server, device: Device, world: World
) -> None:
    """The opening sees that the shutter stands still long before it is known that the dome has taken the stop."""
    shutter, dome = Shutter(server, world), device("dome")
    opening = dome.open()
    world.run(10)

    def stop(_: Any) -> None:
        shutter.call.cancel()
        shutter.now = 4
        world.run(3)

    server.answers["PUT abortslew"] = stop
    stopping = dome.stop()
    world.fails(CommandAborted, "open: stopped", opening, 5)
    world.result(stopping, 5)


def test_an_opening_is_not_told_as_done_once_the_closing_was_taken(
    server: Server, device: Device, world: World
) -> None:
    """The dome's answer that it is open comes after it has begun to close."""
    shutter, dome = Shutter(server, world), device("dome")
    closing: list[Any] = []

    def status(_: Any) -> int:
        seen = shutter.now
        if seen == 0 and not closing:
            closing.append(dome.close())
            world.run(1)
            assert shutter.now == 3
        return seen

    server.answers["GET shutterstatus"] = status
    world.fails(CommandAborted, "open: close took its place", dome.open(), 30)
    world.result(closing[0], 30)
    assert world.result(dome.state()) == "closed"


def test_shutters_that_fail(server: Server, device: Device, world: World) -> None:
    shutter, dome = Shutter(server, world), device("dome")
    opening = dome.open()
    world.run(5)
    shutter.go(4, 4)
    shutter.call.cancel()
    world.fails(DeviceFailed, "open: its shutter is stopped", opening, 5)
    server.set(shutterstatus=3)
    world.fails(DeviceFailed, "close: no end after 300 s", dome.close(), 310)
    server.set(shutterstatus=9)
    world.fails(DeviceFailed, "answered 9 to GET shutterstatus", dome.state())


def test_a_roof(server: Server, device: Device, world: World) -> None:
    Shutter(server, world, cansetazimuth=False, azimuth=Wrong(0x400))
    dome = device("dome")
    assert world.result(dome.azimuth()) is None
    world.fails(DeviceRefused, "UNSUPPORTED", dome.rotate(10.0))


def test_a_dome_without_a_shutter_and_a_slaved_one(server: Server, device: Device, world: World) -> None:
    Shutter(server, world, cansetshutter=False)
    server.answers["PUT slewtoazimuth"] = Wrong(0x409, "slaved to the telescope")
    dome = device("dome")
    world.fails(DeviceRefused, "UNSUPPORTED", dome.open())
    closing = dome.close()  # whatever it says of itself, it is told to close
    closing.addErrback(lambda _: None)
    world.run(1)
    assert server.count("PUT closeshutter") == 1
    world.fails(DeviceRefused, r"STATE: .*slaved", dome.rotate(10.0))


def test_a_dome_that_turns_elsewhere(server: Server, device: Device, world: World) -> None:
    Shutter(server, world, azimuth=30.0)
    dome = device("dome")
    world.fails(DeviceFailed, r"azimuth 30.0 instead of 40", dome.rotate(400.0 - 360.0), 10)
    assert world.result(dome.rotate(-328.0), 5) == 30.0
    assert server.last("PUT slewtoazimuth") == {"Azimuth": "32.0"}


WEATHER = {"temperature": 5.5, "humidity": 60.0, "windspeed": 3.0, "rainrate": 0.2, "cloudcover": 40.0}


def test_weather(server: Server, device: Device, world: World) -> None:
    server.set(**WEATHER, windgust=7.0, pressure=930.0, timesincelastupdate=20.0)
    reading = world.result(device("weather").read())
    assert (reading.temperature, reading.humidity, reading.wind, reading.rain, reading.cloud) == (5.5, 60, 3, True, 0.4)
    assert (reading.gust, reading.pressure, reading.dew_point) == (7.0, 930.0, None)
    assert 20.0 <= reading.age < 21.0


@pytest.mark.parametrize(
    ("absent", "name"),
    [("rainrate", "rain"), ("cloudcover", "cloud"), ("windspeed", "wind"), ("humidity", "humidity")],
)
def test_an_absent_sensor_is_named_in_the_address(
    absent: str, name: str, server: Server, device: Device, world: World
) -> None:
    """What it has not is not made up: it is unknown."""
    server.set(**WEATHER | {absent: Wrong(0x400)})
    with pytest.raises(DeviceRefused, match=rf"no sensor for {name}, say so in its address: \?without={name}"):
        world.result(device("weather").read())
    assert getattr(world.result(device("weather", f"?without={name}").read()), name) is None


@pytest.mark.parametrize("member", ["cloudcover", "rainrate", "windgust"])
@pytest.mark.parametrize(
    "answer",
    [*map(Wrong, (0x401, 0x402, 0x407, 0x40B, 0x40C, 0x40D, 0x500)), Http(404, b"no"), Http(400, b"no"), "wet", None],
)
def test_a_sensor_out_of_order_is_no_good_weather(
    member: str, answer: Any, server: Server, device: Device, world: World
) -> None:
    server.set(**WEATHER, **{} if member in WEATHER else {member: 1.0})
    station = device("weather")
    world.result(station.read())
    server.set(**{member: answer})
    world.fails((DeviceFailed, NoAnswer), "", station.read(), 20)


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("rainrate", -1.0, "rain_rate of -1 mm/h"), ("windspeed", -9999.0, "wind of -9999 m/s"),
        ("windspeed", 101.0, "wind of 101 m/s"), ("humidity", -100.0, "humidity of -100 percent"),
        ("humidity", 140.0, "humidity of 140 percent"), ("cloudcover", -1.0, "cloud of -0.01 of the sky"),
        ("cloudcover", 101.0, "cloud of 1.01 of the sky"), ("temperature", -127.0, "temperature of -127"),
        ("windgust", -1.0, "gust of -1 m/s"), ("pressure", 0.0, "pressure of 0 hPa"),
    ],
)  # fmt: skip
def test_a_reading_that_cannot_be_fails(
    member: str, value: float, words: str, server: Server, device: Device, world: World
) -> None:
    server.set(**WEATHER | {member: value})
    world.fails(DeviceFailed, words, device("weather").read())


@pytest.mark.parametrize("member", ["RainRate", "CloudCover", "WindSpeed", "Humidity", "Temperature"])
def test_each_sensor_has_an_age_of_its_own(member: str, server: Server, device: Device, world: World) -> None:
    ages = {member: 200.0}
    server.set(**WEATHER, timesincelastupdate=lambda p: ages.get(p["SensorName"], 1.0))
    station = device("weather")
    assert world.result(station.read()).age == pytest.approx(200.0, abs=1.0)
    ages[member] = 7200.0
    world.fails(DeviceFailed, "was read 7200 s ago, more than 300 s", station.read())
    ages[member] = -1.0
    world.fails(DeviceFailed, "has not been read yet", station.read())
    ages[member] = 10.0
    world.fails(DeviceFailed, "was read 10 s ago, more than 5 s", device("weather", "?oldest_seconds=5").read())


@pytest.mark.parametrize(("age", "words"), [(7200.0, "it was read 7200 s ago"), (-1.0, "it has not been read yet")])
def test_a_station_that_tells_only_its_newest_age(
    age: float, words: str, server: Server, device: Device, world: World
) -> None:
    server.set(**WEATHER, timesincelastupdate=lambda p: Wrong(0x400) if p.get("SensorName") else age)
    station = device("weather")
    world.fails(DeviceFailed, words, station.read())
    age = 30.0
    assert world.result(station.read()).age == pytest.approx(30.0, abs=1.0)


def test_the_age_of_a_sensor_that_is_not_there_is_not_asked(server: Server, device: Device, world: World) -> None:
    server.set(**WEATHER, timesincelastupdate=lambda p: -1.0 if p["SensorName"] == "WindGust" else 1.0)
    reading = world.result(device("weather").read())
    assert (reading.gust, reading.wind) == (None, 3.0)


def test_a_value_measured_anew_while_it_is_asked_for_is_read_again(
    server: Server, device: Device, world: World
) -> None:
    rain = iter([0.0, 2.0])
    server.set(**WEATHER | {"rainrate": lambda _: next(rain)}, timesincelastupdate=0.0)
    station = device("weather")
    asked = server.answers["GET rainrate"]

    def slow(parameters: dict[str, str]) -> Any:
        world.advance(0.5)
        return asked(parameters)

    server.answers["GET rainrate"] = slow
    assert world.result(station.read(), 5).rain


@pytest.mark.parametrize("member", ["pressure", "dewpoint", "skyquality"])
def test_what_nothing_depends_on_may_be_unknown(member: str, server: Server, device: Device, world: World) -> None:
    server.set(**WEATHER, **{member: Wrong(0x40B, "too bright")})
    reading = world.result(device("weather").read())
    assert (reading.pressure, reading.dew_point, reading.sky_brightness) == (None, None, None)


def test_safety(server: Server, device: Device, world: World) -> None:
    server.set(issafe=False)
    safety = world.result(device("safety").read())
    assert (safety.safe, safety.reason) == (False, "Old device says so")


def test_switches(server: Server, device: Device, world: World) -> None:
    server.set(maxswitch=2, getswitchname=lambda p: ["lamp", "door"][int(p["Id"])], getswitchvalue=0.0,
               canwrite=lambda p: p["Id"] == "0", maxswitchvalue=10.0)  # fmt: skip
    switch = device("switch")
    channels = world.result(switch.channels())
    assert [(each.name, each.writable, each.least, each.most, each.step) for each in channels] == [
        ("lamp", True, 0.0, 10.0, 1.0),
        ("door", False, 0.0, 10.0, 1.0),
    ]
    world.fails(DeviceFailed, "'lamp' is at 0 instead of 5", switch.set(0, 5.0))
    world.fails(DeviceRefused, "UNSUPPORTED: Old device: 'door' can only be read", switch.set(1, 5.0))


@pytest.mark.parametrize("count", [-1, 257, 2**31 - 1])
def test_a_number_of_channels_that_cannot_be(count: int, server: Server, device: Device, world: World) -> None:
    server.set(maxswitch=count)
    world.fails(DeviceFailed, "at most 256", device("switch").channels())
