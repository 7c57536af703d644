from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.simulators.celestial import Ground, SiteCoordinates, Sky, half_turn, separation
from pyros.simulators.mount.mechanics import AltAzimuth, Axes, Drive, Equatorial, German, MountFrame, over_the_pole

SITE = SiteCoordinates(43.9308, 5.7133)
TIME = 1_774_049_400.0  # 2026-03-20 23:30 UTC


def test_an_axis_without_acceleration_is_as_fast_as_its_rate() -> None:
    drive = Drive(4.0, 0.0)
    assert drive.duration(-20) == 5
    assert drive.travelled(-20, 2) == -8
    assert drive.travelled(-20, 9) == -20


def test_a_long_way_is_a_trapezium_and_a_short_one_a_triangle() -> None:
    drive = Drive(4.0, 2.0)  # two seconds and four degrees to full speed
    assert drive.duration(20) == 7
    assert [drive.travelled(20, seconds) for seconds in (1, 2, 3.5, 5, 6, 7)] == [1, 4, 10, 16, 19, 20]
    assert drive.duration(2) == 2
    assert [drive.travelled(-2, seconds) for seconds in (0.5, 1, 1.5, 2)] == [-0.25, -1, -1.75, -2]


@given(st.floats(0.01, 300), st.one_of(st.just(0.0), st.floats(0.01, 100)), st.floats(-360, 360))
def test_an_axis_never_exceeds_its_limits(rate: float, acceleration: float, distance: float) -> None:
    drive = Drive(rate, acceleration)
    total = drive.duration(distance)
    steps = [drive.travelled(distance, total * index / 50) for index in range(51)]
    assert steps[0] == pytest.approx(0, abs=1e-9)
    assert steps[-1] == pytest.approx(distance)
    for before, after in itertools.pairwise(steps):
        assert abs(after - before) <= rate * total / 50 * (1 + 1e-6) + 1e-9
        assert (after - before) * distance >= -1e-6


MOUNTS = [Equatorial(SITE), AltAzimuth(SITE, 90), German(SITE, 5)]


@pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: type(mount).__name__)
@given(st.floats(0, 359), st.floats(-89, 89))
def test_every_way_to_a_place_leads_there(mount: Equatorial, ra: float, dec: float) -> None:
    sky = Sky(ra, dec)
    frame = mount.frame(sky, TIME)
    assert separation(mount.sky(frame, TIME), sky) * 3600 < 0.01
    ways = mount.ways(frame, Axes(0.0, 30.0))
    assert ways
    for way in ways:
        assert separation(mount.sky(mount.pointing(way), TIME), sky) * 3600 < 0.01
        assert not mount.limit(way)


def test_a_german_mount_keeps_its_side_while_it_can() -> None:
    mount = German(SITE, 5)
    west_of_pier = Axes(150.0, 140.0, True)  # it looks to the east, at hour angle -30
    assert mount.pointing(west_of_pier) == MountFrame(-30, 40)
    assert mount.ways(MountFrame(-60, 20), west_of_pier) == [Axes(120, 160, True)]
    near_meridian, other_side = mount.ways(MountFrame(3, 20), west_of_pier)
    assert near_meridian == Axes(183, 160, True)
    assert other_side == Axes(3, 20, False)
    assert mount.ways(MountFrame(6, 20), west_of_pier) == [Axes(6, 20, False)]
    assert mount.limit(Axes(186, 160, True)) == "meridian"


def test_the_shortest_way_crosses_the_north() -> None:
    mount = AltAzimuth(SITE, 85)
    assert mount.ways(mount.frame_of_ground(Ground(40, 10)), Axes(350, 40)) == [Axes(370, 40)]
    assert mount.ways(MountFrame(10, 86), Axes(350, 40)) == []


@given(st.floats(-180, 180), st.floats(-89, 89))
def test_beyond_the_pole_is_the_other_side(first: float, second: float) -> None:
    frame = over_the_pole(first + 180, 180 - second)
    assert half_turn(frame.first - first) == pytest.approx(0, abs=1e-9)
    assert frame.second == pytest.approx(second)
