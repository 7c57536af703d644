"""What the driver makes of mounts that are slow, stuck, wrong or old, on virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from pyros.errors import CommandAborted, ConnectionLost, DeviceFailed, DeviceRefused
from pyros.instruments.drivers.coordinates import apparent_of_icrs
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.instruments.alpaca.conftest import AlpacaError, AlpacaRig, Http


class SlowMount:
    """A mount that slews for some seconds, and ends ``off`` degrees from where it was sent."""

    def __init__(self, server: AlpacaRig, seconds: float = 20.0, **values: Any) -> None:
        self.world, self.seconds, self.off = server.world, seconds, [0.0]
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
            return AlpacaError(0x40B, "parked, not tracking, or slewing")
        self.until = self.world.seconds() + self.seconds
        self.sync(where, self.off.pop(0) if len(self.off) > 1 else self.off[0])
        return None

    def sync(self, where: dict[str, str], off: float = 0.0) -> None:
        self.hours, self.degrees = float(where["RightAscension"]), float(where["Declination"]) + off

    def park(self, _: Any) -> None:
        self.until, self.parked = self.world.seconds() + self.seconds, True

    def abort(self, _: Any) -> Any:
        if self.parked and not self.moving:
            return AlpacaError(0x408, "parked")
        self.until, self.parked = 0.0, False
        return None


def test_a_slew_is_measured(server: AlpacaRig) -> None:
    mount, telescope = SlowMount(server), server.device("telescope")
    mount.parked, mount.off = True, [0.001]
    started: list[float] = []
    end = server.result(telescope.slew(359.9999999999999, -30.0, "x", started.append), 40)
    assert end.error_arcsec == pytest.approx(3.6)
    assert started == [pytest.approx(1 + 30 / 3)]
    assert server.result(telescope.state()) == "tracking"
    assert server.count("PUT slewtocoordinatesasync") == 1
    assert 0 <= float(server.last("PUT slewtocoordinatesasync")["RightAscension"]) < 24


@pytest.mark.parametrize(("number", "side"), [(0, "east"), (1, "west"), (-1, "")])
def test_a_mount_tells_the_side_of_its_pier(server: AlpacaRig, number: int, side: str) -> None:
    SlowMount(server, sideofpier=number)
    assert server.result(server.device("telescope").side()) == side


@pytest.mark.parametrize(("can", "times"), [(True, 1), (False, 0)])
def test_a_mount_that_can_is_told_the_side_of_its_pier(server: AlpacaRig, can: bool, times: int) -> None:
    mount = SlowMount(server, sideofpier=1, cansetpierside=can)
    server.answers["PUT sideofpier"] = lambda p: server.set(sideofpier=int(p["SideOfPier"]))
    mount.tracking = True
    server.result(server.device("telescope").slew(10.0, -30.0, side="east"), 60)
    assert server.count("PUT sideofpier") == times
    assert server.count("PUT slewtocoordinatesasync") == 1


def test_a_slew_that_says_ok_elsewhere_is_sent_again_once(server: AlpacaRig) -> None:
    mount, telescope = SlowMount(server), server.device("telescope")
    mount.off = [170 / 3600, 0.0]
    assert server.result(telescope.slew(10.0, 20.0), 60).error_arcsec < 1
    mount.off = [170 / 3600]
    server.fails(DeviceFailed, "170 arcsec from the target after two slews", telescope.slew(10.0, 25.0), 60)
    assert server.count("PUT slewtocoordinatesasync") == 4


def test_a_stuck_mount_fails(server: AlpacaRig) -> None:
    SlowMount(server, seconds=1e6)
    telescope = server.device("telescope")
    server.fails(DeviceFailed, r"slew: no end after 30. s", telescope.slew(10.0, 20.0), 310)


def test_it_is_looked_at_often_only_near_the_end(server: AlpacaRig) -> None:
    SlowMount(server, seconds=60.0)
    telescope = server.device("telescope")
    server.result(telescope.slew(179.0, 0.0), 100)
    assert 100 < server.count("GET slewing") < 200
    estimates: list[float] = []
    server.result(telescope.slew(0.0, 0.0, started=estimates.append), 100)
    assert estimates == [pytest.approx(60.0, rel=0.02)]  # the next one is as fast


def test_a_parked_mount_is_not_told_to_stop_or_park(server: AlpacaRig) -> None:
    SlowMount(server)
    telescope = server.device("telescope")
    server.result(telescope.park(), 60)
    assert server.result(telescope.state()) == "parked"
    server.result(telescope.stop())  # nothing to stop, though the mount refuses it
    server.result(telescope.park())
    assert server.count("PUT park") == 1


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (0x400, "UNSUPPORTED"), (0x401, "LIMIT"), (0x402, "LIMIT"), (0x407, "STATE"), (0x408, "STATE"),
        (0x409, "STATE"), (0x40B, "STATE"), (0x40C, "UNSUPPORTED"), (0x40D, "STATE"),
    ],
)  # fmt: skip
def test_refused_slews(number: int, code: str, server: AlpacaRig) -> None:
    SlowMount(server)
    server.answers["PUT slewtocoordinatesasync"] = AlpacaError(number, "below the horizon")
    with pytest.raises(DeviceRefused, match="below the horizon") as caught:
        server.result(server.device("telescope").slew(10.0, 20.0), 5)
    assert caught.value.code == code


@pytest.mark.parametrize("number", [0x500, 0x5A1, 0xFFF])
def test_a_driver_error_fails_with_the_devices_words(number: int, server: AlpacaRig) -> None:
    SlowMount(server)
    server.answers["PUT slewtocoordinatesasync"] = AlpacaError(number, "motor controller overheated")
    with pytest.raises(DeviceFailed, match=rf"motor controller overheated \(error 0x{number:X}\)"):
        server.result(server.device("telescope").slew(10.0, 20.0), 5)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Http(400, b"RightAscension is missing"), DeviceRefused, "HTTP 400: RightAscension is missing"),
        (Http(500, b"Traceback"), DeviceFailed, "HTTP 500: Traceback"),
        (AlpacaError(0x40E, "cancelled by the hand box"), CommandAborted, "cancelled by the hand box"),
    ],
)
def test_other_ends_of_a_slew(answer: Any, error: type[Exception], words: str, server: AlpacaRig) -> None:
    SlowMount(server)
    server.answers["PUT slewtocoordinatesasync"] = answer
    server.fails(error, words, server.device("telescope").slew(10.0, 20.0), 5)


def test_a_mount_that_was_disconnected_by_somebody_else_is_connected_again(server: AlpacaRig) -> None:
    SlowMount(server)
    telescope = server.device("telescope")
    server.result(telescope.slew(10.0, 20.0), 60)
    server.is_connected = False
    slewing, server.answers["GET slewing"] = server.answers["GET slewing"], AlpacaError(0x407, "not connected")
    server.fails(DeviceRefused, r"STATE: .*not connected \(error 0x407\)", telescope.slew(11.0, 20.0), 1)
    server.answers["GET slewing"] = slewing
    server.run(3)
    assert server.is_connected
    assert [up for up, _ in server.told] == [True, False, True]
    assert server.result(telescope.slew(12.0, 20.0), 60).error_arcsec < 1


def test_below_the_horizon_is_refused_before_the_mount_is_asked(server: AlpacaRig) -> None:
    SlowMount(server)
    site = Site("x", 43.9, 5.7, 650.0)
    telescope = server.device("telescope", site=site)
    with pytest.raises(DeviceRefused, match=r"^LIMIT: Old device: the target is at altitude -20\.0 degrees"):
        server.result(telescope.slew(*place_overhead(site, server.clock.now(), -20.0, 90.0)), 5)
    assert not server.count("PUT slewtocoordinatesasync")


@pytest.mark.parametrize(
    ("missing", "command"),
    [("canslewasync", "slew"), ("cansync", "sync"), ("canpark", "park")],
)
def test_what_a_mount_cannot(missing: str, command: str, server: AlpacaRig) -> None:
    SlowMount(server, **{missing: False})
    telescope = server.device("telescope")
    with pytest.raises(DeviceRefused, match="UNSUPPORTED"):
        server.result(telescope.park() if command == "park" else getattr(telescope, command)(1.0, 1.0), 5)


def test_a_mount_of_date(server: AlpacaRig) -> None:
    """Its coordinates are apparent places; ours are ICRS."""
    mount, telescope = SlowMount(server, equatorialsystem=1), server.device("telescope")
    end = server.result(telescope.slew(83.6, 22.0), 40)
    ra, dec = apparent_of_icrs(83.6, 22.0, server.clock.time() - 20)
    assert mount.hours * 15 == pytest.approx(ra, abs=1e-5)
    assert mount.degrees == pytest.approx(dec, abs=1e-5)
    assert abs(ra - 83.6) > 0.3
    assert end.error_arcsec < 0.01
    assert (end.ra, end.dec) == (pytest.approx(83.6), pytest.approx(22.0))
    server.result(telescope.sync(83.7, 22.1))
    here = server.result(telescope.position())
    assert (here.ra, here.dec) == (pytest.approx(83.7), pytest.approx(22.1))


@pytest.mark.parametrize("system", [3, 4, 9])
def test_other_equinoxes_are_refused(system: int, server: AlpacaRig) -> None:
    SlowMount(server, equatorialsystem=system)
    with pytest.raises(DeviceRefused, match="UNSUPPORTED: Old device has coordinates of J2050 or B1950"):
        server.result(server.device("telescope").slew(1.0, 1.0), 5)


@pytest.mark.parametrize(("hours", "degrees"), [(25.0, 0.0), (-1.0, 0.0), (1.0, 91.0)])
def test_a_position_that_cannot_be(hours: float, degrees: float, server: AlpacaRig) -> None:
    SlowMount(server)
    server.set(rightascension=hours, declination=degrees)
    server.fails(DeviceFailed, "it says it is at", server.device("telescope").position(), 5)


def test_a_mount_that_ignores_track_and_sync(server: AlpacaRig) -> None:
    mount, telescope = SlowMount(server), server.device("telescope")
    server.answers["PUT tracking"] = server.answers["PUT synctocoordinates"] = ""
    server.fails(DeviceFailed, "told to track, and doesn't", telescope.track(True), 5)
    server.fails(DeviceFailed, "arcsec from where it was told that it is", telescope.sync(1.0, 1.0), 5)
    assert not mount.tracking


def test_a_server_gone_in_mid_slew(server: AlpacaRig) -> None:
    SlowMount(server)
    telescope = server.device("telescope")
    slew = telescope.slew(10.0, 20.0)
    server.run(5)
    server.away()
    server.fails(ConnectionLost, "", slew, 3)
    server.back()
    assert server.result(telescope.slew(10.0, 20.0), 60).error_arcsec < 1


class Traveller:
    """A mount that goes at 5 degrees a second, and whose Slewing is true from ``late`` seconds on, ``stuck`` for ever.

    ``forgets`` is how often it doesn't track at the end of a slew; ``refuses`` whether it takes no slew while it moves,
    though it doesn't say that it does.
    """

    def __init__(
        self, server: AlpacaRig, late: float = 0.0, stuck: bool = False, forgets: int = 0,
        refuses: bool = False, tracks: bool = True,
    ) -> None:  # fmt: skip
        self.world, self.late, self.stuck, self.forgets, self.refuses = server.world, late, stuck, forgets, refuses
        self.from_, self.to = (0.0, 10.0), (0.0, 10.0)  # degrees
        self.begin = self.end = -1e9
        self.sent = False
        self.tracking, self.can_track = True, tracks
        self.jammed = False
        server.answers |= {
            "GET slewing": lambda _: (self.stuck and self.sent) or (
                self.begin + self.late <= self.world.seconds() and (self.jammed or self.world.seconds() < self.end)),
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
            return AlpacaError(0x40B, "not while it moves, nor without tracking")
        self.go((float(where["RightAscension"]) * 15, float(where["Declination"])))
        return None

    def abort(self, _: Any) -> None:
        self.from_ = self.to = self.where
        self.end, self.jammed = self.begin, False


@pytest.mark.parametrize("late", [0.0, 0.5, 2.0, 1e6])
def test_a_slew_has_not_ended_because_it_has_not_begun(late: float, server: AlpacaRig) -> None:
    mount = Traveller(server, late=late)
    assert server.result(server.device("telescope").slew(50.0, 20.0), 30).error_arcsec < 1
    assert not mount.moving
    assert server.count("PUT slewtocoordinatesasync") == 1


def test_a_mount_that_only_echoes_its_target_is_not_there(server: AlpacaRig) -> None:
    mount, telescope = SlowMount(server, seconds=4.0), server.device("telescope")
    server.answers["GET slewing"] = lambda _: 0.0 < mount.until - server.world.seconds() < 3.0
    slew = telescope.slew(50.0, 20.0)
    server.run(2.5)
    assert not slew.called
    assert server.result(slew, 10).error_arcsec < 1


def test_a_mount_on_its_target_that_says_for_ever_that_it_slews(server: AlpacaRig) -> None:
    mount, telescope = Traveller(server, stuck=True), server.device("telescope")
    began = server.world.seconds()
    for ra in (50.0, 60.0):
        assert server.result(telescope.slew(ra, 20.0), 60).error_arcsec < 1
        assert server.result(telescope.state()) == "tracking"
    assert server.world.seconds() - began < 100
    assert server.count("PUT slewtocoordinatesasync") == 2
    assert server.count("PUT abortslew") == 2
    mount.stuck = False
    assert server.result(telescope.state()) == "tracking"
    mount.go((0.0, 0.0))
    server.run(3)
    assert server.result(telescope.state()) == "slewing"


def test_a_mount_that_settles_is_left_alone(server: AlpacaRig) -> None:
    mount = Traveller(server)
    server.set(slewsettletime=20.0)
    server.answers["GET slewing"] = lambda _: server.world.seconds() < mount.end + 20.0
    assert server.result(server.device("telescope").slew(50.0, 20.0), 60).error_arcsec < 1
    assert server.count("PUT abortslew") == 0


def test_a_mount_on_its_target_tracks_again(server: AlpacaRig) -> None:
    Traveller(server, forgets=2)
    telescope = server.device("telescope")
    server.result(telescope.slew(50.0, 20.0), 30)
    assert server.result(telescope.state()) == "tracking"
    assert server.count("PUT tracking") == 2


@pytest.mark.parametrize("settable", [True, False])
def test_a_target_that_is_not_tracked_is_not_reached(settable: bool, server: AlpacaRig) -> None:
    Traveller(server, forgets=1, tracks=False)
    server.set(cansettracking=settable)
    server.fails(DeviceFailed, "on its target and doesn't track", server.device("telescope").slew(50.0, 20.0), 30)
    assert server.count("PUT abortslew") == 1


def test_a_slew_refused_by_a_mount_that_moves_is_sent_after_an_abort(server: AlpacaRig) -> None:
    mount, telescope = Traveller(server, late=1e6, refuses=True), server.device("telescope")
    mount.go((0.0, 80.0))  # by somebody else
    assert server.result(telescope.slew(50.0, 20.0), 30).error_arcsec < 1
    assert server.count("PUT abortslew") == 1


@pytest.mark.parametrize("request_", ["slewing", "rightascension"])
def test_a_slew_goes_on_though_a_question_fails_now_and_then(request_: str, server: AlpacaRig) -> None:
    Traveller(server)
    telescope, asked = server.device("telescope"), [0]
    server.result(telescope.position())
    slew = telescope.slew(50.0, 20.0)
    server.run(1)
    usual = server.answers[f"GET {request_}"]

    def sometimes(parameters: dict[str, str]) -> Any:
        asked[0] += 1
        return usual(parameters) if asked[0] % 2 or server.world.seconds() > 8 else AlpacaError(0x500, "serial timeout")

    server.answers[f"GET {request_}"] = sometimes
    assert server.result(slew, 30).error_arcsec < 1
    assert (server.count("PUT slewtocoordinatesasync"), server.count("PUT abortslew")) == (1, 0)


@pytest.mark.parametrize("command", ["slew", "park"])
def test_a_mount_given_up_is_stopped(command: str, server: AlpacaRig) -> None:
    mount, telescope = Traveller(server), server.device("telescope", "?slew_seconds=20")
    mount.jammed = True
    moving = telescope.slew(50.0, 20.0) if command == "slew" else telescope.park()
    server.run(1)
    mount.jammed = True
    server.fails(DeviceFailed, "no end after 20 s", moving, 25)
    assert not mount.moving


@pytest.mark.parametrize(
    ("command", "question", "nth"),
    [
        ("slew", "GET atpark", 1), ("slew", "GET sideofpier", 1), ("slew", "GET declination", 1),
        ("slew of a mount that moves", "GET tracking", 2), ("park", "GET atpark", 1),
    ],
)  # fmt: skip
def test_what_is_stopped_while_it_asks_moves_nothing(command: str, question: str, nth: int, server: AlpacaRig) -> None:
    mount, telescope = SlowMount(server, sideofpier=1, cansetpierside=True), server.device("telescope")
    mount.parked = command == "slew"
    usual = server.answers[question]

    def stop_meanwhile(parameters: dict[str, str]) -> Any:
        if server.count(question) == nth:
            telescope.stop()
            server.asked.clear()
        return usual(parameters) if callable(usual) else usual

    server.answers[question] = stop_meanwhile
    if command == "slew of a mount that moves":
        server.answers["PUT slewtocoordinatesasync"] = AlpacaError(0x40B, "slewing")
    moving = telescope.park() if command == "park" else telescope.slew(10.0, -30.0, side="east")
    server.fails(CommandAborted, "stopped", moving, 60)
    server.run(1)
    orders = {request for request, _ in server.asked if request.startswith("PUT ")}
    assert orders - {"PUT tracking"} == {"PUT abortslew"}
