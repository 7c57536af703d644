"""What a telescope's mechanics do: two axes, limits, flips, flexure, sync, tracking errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from pyros.simulators.celestial import Ground, Sky, separation
from pyros.simulators.mount.settings import TrackingError, horizon_altitude
from tests.simulators.test_simulator_telescope import high, slew, where

Rigs = Callable[..., Any]
PRECISE: dict[str, Any] = {"speed": 1, "parked": False, "pointing_noise": 0, "settle": 0}


def true(client: Any) -> Sky:
    return Sky(*client.numbers("GET true_position"))


def go(mount: Any, client: Any, sky: Sky) -> None:
    """Slew and wait."""
    answer = slew(client, sky)
    assert answer.startswith("BUSY"), answer
    mount.advance(float(answer.split()[1]) + 0.01)
    assert client.ask("GET state") == "OK tracking"


def events(client: Any) -> list[str]:
    return [line.removeprefix("EVT ") for line in client.read() if line.startswith("EVT")]


def test_the_slower_axis_decides_how_long_a_slew_takes(rig: Rigs) -> None:
    mount = rig("telescope", **PRECISE, slew_rate=(4.0, 1.0), slew_acceleration=(2.0, 0.5))
    client = mount.client()
    start = mount.device.aim.frame()
    far = mount.device.aim.mount.sky(type(start)(start.first + 20, start.second), mount.clock.time())
    seconds = float(slew(client, far).split()[1])
    assert seconds == pytest.approx(20 / 4 + 2, abs=0.05)  # and a little for the sky, which moves on
    mount.advance(seconds + 0.1)
    north = Sky(far.ra, far.dec - 10)
    assert float(slew(client, north).split()[1]) == pytest.approx(10 / 1 + 2, abs=0.05)


def test_an_alt_azimuth_mount_tracks_and_refuses_the_zenith(rig: Rigs) -> None:
    mount = rig("telescope", **PRECISE, mount="altazimuth", zenith_limit=80.0, park_altitude=60.0)
    client = mount.client()
    target = high(mount, alt=50, az=120)
    go(mount, client, target)
    mount.advance(900)
    assert separation(where(client), target) < 1e-6
    assert slew(client, high(mount, alt=84)).startswith("ERR LIMIT the target is beyond the zenith limit")
    rising = high(mount, alt=79, az=110)
    go(mount, client, rising)
    client.read()
    mount.advance(3600)
    assert events(client) == ["limit_reached limit=zenith"]
    assert client.ask("GET state") == "OK idle"


def test_the_horizon_may_be_higher_here_than_there(rig: Rigs) -> None:
    trees = ((90.0, 30.0), (180.0, 12.0), (270.0, 12.0))
    mount = rig("telescope", **PRECISE, horizon=trees, altitude_limit=10)
    client = mount.client()
    assert slew(client, high(mount, alt=29, az=90)).startswith("ERR LIMIT the target is at altitude 29.0")
    assert slew(client, high(mount, alt=13, az=200)).startswith("BUSY")


@pytest.mark.parametrize(
    ("azimuth", "altitude"), [(90, 30), (135, 21), (180, 12), (225, 12), (0, 21), (315, 16.5), (359.9, 20.99)]
)
def test_between_its_points_the_horizon_is_straight(azimuth: float, altitude: float) -> None:
    points = ((180.0, 12.0), (90.0, 30.0), (270.0, 12.0))
    assert horizon_altitude(points, azimuth) == pytest.approx(altitude, abs=0.001)
    assert horizon_altitude((), azimuth) == -90


@pytest.fixture
def german(rig: Rigs) -> Any:
    return rig("telescope", **PRECISE, mount="german", slew_rate=3.0, meridian_limit=4.0, park_altitude=43.93)


def test_a_german_mount_flips_when_the_target_is_beyond_the_meridian(german: Any) -> None:
    client = german.client()
    east, west = high(german, alt=50, az=120), high(german, alt=50, az=240)
    go(german, client, east)
    assert client.ask("GET pier") == "OK west"
    assert separation(where(client), east) < 1e-6
    answer = slew(client, west)
    assert float(answer.split()[1]) > 25  # far longer than the way on the sky at 3 degrees per second
    german.advance(float(answer.split()[1]) + 0.01)
    assert client.ask("GET pier") == "OK east"
    assert separation(where(client), west) < 1e-6


def test_a_german_mount_that_never_flips_refuses(rig: Rigs) -> None:
    mount = rig("telescope", **PRECISE, mount="german", flip="never")
    client = mount.client()
    go(mount, client, high(mount, alt=50, az=210))
    assert slew(client, high(mount, alt=50, az=120)) == "ERR LIMIT the target is beyond the meridian limit"
    assert client.ask("GET state") == "OK tracking"


def test_tracking_stops_at_the_meridian_limit(german: Any) -> None:
    client = german.client()
    go(german, client, high(german, alt=60, az=170))
    client.read()
    german.advance(3600)
    assert events(client) == ["limit_reached limit=meridian"]
    assert client.ask("GET state") == "OK idle"
    assert german.device.aim.frame().first == pytest.approx(4, abs=0.06)
    assert client.ask("DO track on=1") == "ERR LIMIT the telescope has passed its meridian limit"


def test_a_mount_that_always_flips_goes_on_tracking_on_the_other_side(rig: Rigs) -> None:
    mount = rig("telescope", **PRECISE, mount="german", flip="always", meridian_limit=4.0, slew_rate=3.0)
    client = mount.client()
    target = high(mount, alt=60, az=170)
    go(mount, client, target)
    client.read()
    mount.advance(3600)
    assert events(client) == ["flip_started", "flip_finished"]
    assert client.ask("GET pier") == "OK east"
    assert client.ask("GET state") == "OK tracking"
    assert separation(where(client), target) < 1e-6


def test_flexure_is_seen_by_the_optics_and_not_by_the_mount(rig: Rigs) -> None:
    mount = rig("telescope", **PRECISE, pointing_terms={"IH": 40, "ID": -60, "ME": 90, "TF": 25})
    client = mount.client()
    target = high(mount, alt=50, az=150)
    go(mount, client, target)
    assert separation(where(client), target) * 3600 < 0.01
    assert separation(true(client), target) * 3600 > 25


def test_a_sync_corrects_the_flexure_here_and_nearly_nearby(rig: Rigs) -> None:
    mount = rig("telescope", **PRECISE, pointing_terms={"IH": 40, "ID": -60, "ME": 90, "TF": 25})
    client = mount.client()
    target = high(mount, alt=50, az=150)
    go(mount, client, target)
    solved = true(client)  # what a plate solution would say
    assert client.ask(f"DO sync ra={solved.ra:.7f} dec={solved.dec:.7f}") == "OK"
    assert separation(where(client), solved) * 3600 < 0.01
    assert [abs(arcsec) for arcsec in client.numbers("GET offset")] > [1, 1]
    go(mount, client, target)
    assert separation(true(client), target) * 3600 < 0.2
    beside = Sky(target.ra + 5, target.dec + 3)
    go(mount, client, beside)
    assert separation(true(client), beside) * 3600 < 15
    mount.advance(600)
    assert separation(where(client), beside) * 3600 < 0.01


def test_nothing_is_synchronised_while_it_moves_or_is_parked(rig: Rigs) -> None:
    mount = rig("telescope", speed=1)
    client = mount.client()
    assert client.ask("DO sync ra=1 dec=1").startswith("ERR STATE")
    client.ask("DO unpark")
    slew(client, high(mount))
    assert client.ask("DO sync ra=1 dec=1").startswith("ERR BUSY")


def test_tracking_errors_grow_and_come_back_with_the_worm(rig: Rigs) -> None:
    error = TrackingError(amplitude=6, period=480, drift_east=30, drift_north=-15)
    mount = rig("telescope", **PRECISE, tracking_error=error)
    client = mount.client()
    target = high(mount, alt=50, az=180)
    go(mount, client, target)
    first = true(client)
    mount.advance(480 * 7.5)  # an hour: seven turns and a half
    later = true(client)
    assert separation(where(client), target) * 3600 < 0.01
    assert (later.dec - first.dec) * 3600 == pytest.approx(-15, abs=0.2)
    east = (later.ra - first.ra) * 3600 * math.cos(math.radians(target.dec))
    worm = mount.device.aim.axes().first / (360 / 86164.0905 * 480)
    swing = 2 * 6 * math.sin(2 * math.pi * worm) * math.cos(math.radians(target.dec))  # from one side to the other
    assert east == pytest.approx(30 - swing, abs=0.5)
    go(mount, client, target)  # a new slew forgets the drift
    assert (true(client).dec - target.dec) * 3600 == pytest.approx(0, abs=0.1)


def test_it_can_be_pushed_along_and_tracks_where_it_is_left(rig: Rigs) -> None:
    mount = rig("telescope", **PRECISE)
    client = mount.client()
    target = high(mount)
    go(mount, client, target)
    client.read()
    assert client.ask("DO move first=0 second=0.5") == "OK"
    assert client.ask("GET state") == "OK slewing"
    mount.advance(4)
    assert client.ask("DO move first=-0.25 second=0") == "OK"
    mount.advance(4)
    assert client.ask("DO move first=0 second=0") == "OK"
    assert client.ask("GET state") == "OK tracking"
    here = where(client)
    assert here.dec - target.dec == pytest.approx(2, abs=0.01)
    assert here.ra - target.ra == pytest.approx(1, abs=0.02)
    mount.advance(300)
    assert separation(where(client), here) < 1e-6
    client.ask("DO move first=0 second=-9")  # no faster than its motors
    client.read()
    mount.advance(60)
    assert events(client) == ["limit_reached limit=altitude"]
    assert client.ask("GET state") == "OK idle"


def test_the_same_seed_gives_the_same_night(rig: Rigs) -> None:
    seen = []
    for _ in range(2):
        mount = rig("telescope", parked=False, pointing_noise=5, mount="german", pointing_terms={"TF": 30, "CH": 10},
                    tracking_error=TrackingError(amplitude=5, drift_east=3))  # fmt: skip
        client = mount.client()
        for az in (100, 260):
            slew(client, high(mount, alt=45, az=az))
            mount.advance(700)
            seen.append((where(client), true(client)))
    assert seen[:2] == seen[2:]


def test_the_ground_is_where_the_park_position_says(rig: Rigs) -> None:
    for kind in ("equatorial", "german", "altazimuth"):
        mount = rig("telescope", **PRECISE, mount=kind, park_altitude=30.0, park_azimuth=75.0)
        client = mount.client()
        assert client.numbers("GET altitude") == pytest.approx([30, 75], abs=1e-3)
        go(mount, client, high(mount, alt=50, az=260))
        client.ask("DO park")
        mount.advance(200)
        assert client.ask("GET state") == "OK parked"
        assert client.numbers("GET altitude") == pytest.approx([30, 75], abs=1e-3)
        assert mount.device.site.ground(where(client), mount.clock.time()) == pytest.approx(Ground(30, 75), abs=1e-6)
