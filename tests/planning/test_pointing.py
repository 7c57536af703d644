"""Where the telescope may point: horizon, Sun, and the ways in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.planning.pointing import reason_refused
from pyros.planning.visibility import altitude_azimuth, place_overhead, sun, sun_altitude
from pyros.site import Site

PIC = Site("Pic du Midi", 42.9365, 0.1426, 2877.0)
NIGHT = datetime(2026, 3, 1, 23, 0, tzinfo=UTC)
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WALL = replace(PIC, horizon=((80.0, 0.0), (90.0, 30.0), (100.0, 0.0)))


@pytest.mark.parametrize(
    ("azimuth", "altitude"), [(90, 30), (85, 15), (95, 15), (0, 0), (180, 0), (359, 0), (100, 0), (450, 30)]
)
def test_the_horizon_is_straight_between_its_points(azimuth: float, altitude: float) -> None:
    assert WALL.horizon_at(azimuth) == pytest.approx(altitude)


def test_the_horizon_goes_through_north() -> None:
    site = replace(PIC, horizon=((10.0, 20.0), (350.0, 0.0)))
    assert site.horizon_at(0.0) == pytest.approx(10.0)
    assert site.horizon_at(355.0) == pytest.approx(5.0)
    assert replace(PIC, horizon=((77.0, 12.0),)).horizon_at(200.0) == 12.0


def test_nothing_below_the_horizon_is_pointed_at() -> None:
    behind = place_overhead(WALL, NIGHT, 20.0, 90.0)
    assert "horizon there is at 30" in reason_refused(WALL, *behind, NIGHT)
    assert reason_refused(WALL, *behind, NIGHT, horizon=False) == ""
    assert reason_refused(PIC, *behind, NIGHT) == ""
    assert "horizon" in reason_refused(PIC, *behind, NIGHT, margin=21.0)
    assert "horizon" in reason_refused(PIC, *place_overhead(PIC, NIGHT, -5.0), NIGHT)


def test_by_day_nothing_in_the_suns_cone_is_pointed_at() -> None:
    ra, dec = sun(NOON)
    assert reason_refused(PIC, ra, dec, NOON).startswith("0.0° from the Sun")
    assert "the limit is 30°" in reason_refused(PIC, ra, dec + 29.5, NOON)
    assert reason_refused(PIC, ra, dec + 30.5, NOON) == ""
    assert "from the Sun" in reason_refused(PIC, ra, dec + 30.5, NOON, margin=1.0)
    assert "from the Sun" in reason_refused(PIC, ra, dec, NOON, horizon=False)
    assert reason_refused(replace(PIC, sun_exclusion=0.0), ra, dec, NOON) == ""


def test_by_night_there_is_no_sun() -> None:
    dusk = next(
        moment
        for moment in (NIGHT.replace(hour=18, minute=each) for each in range(60))
        if -15 < sun_altitude(PIC, moment) < -13
    )
    low = place_overhead(PIC, dusk, 5.0, altitude_azimuth(PIC, *sun(dusk), dusk)[1])
    assert reason_refused(PIC, *low, dusk) == ""
    assert "from the Sun" in reason_refused(replace(PIC, twilight=-18.0), *low, dusk)


@pytest.mark.parametrize("turned", [40.0, 60.0, 80.0])
def test_a_way_through_the_suns_cone_is_refused(turned: float) -> None:
    height, azimuth = altitude_azimuth(PIC, *sun(NOON), NOON)
    east = place_overhead(PIC, NOON, height, azimuth - turned)
    west = place_overhead(PIC, NOON, height, azimuth + turned)
    assert "the way there passes" in reason_refused(PIC, *west, NOON, origin=east)
    north = place_overhead(PIC, NOON, 50.0, azimuth + 180)
    assert reason_refused(PIC, *north, NOON, origin=place_overhead(PIC, NOON, 40.0, azimuth + 150)) == ""


def test_there_is_a_way_out_of_the_cone() -> None:
    height, azimuth = altitude_azimuth(PIC, *sun(NOON), NOON)
    inside = place_overhead(PIC, NOON, height + 20, azimuth)
    assert reason_refused(PIC, *place_overhead(PIC, NOON, 89.0, azimuth), NOON, origin=inside) == ""
    below = place_overhead(PIC, NOON, max(1.0, height - 35), azimuth)
    assert "the way there passes" in reason_refused(PIC, *below, NOON, origin=inside)


@given(
    st.tuples(st.floats(0, 359.99), st.floats(-90, 90)), st.tuples(st.floats(0, 359.99), st.floats(-90, 90)),
    st.floats(0, 24),
)  # fmt: skip
def test_every_position_has_an_answer(origin: tuple[float, float], target: tuple[float, float], hour: float) -> None:
    when = datetime.fromtimestamp(NIGHT.timestamp() + 3600 * hour, UTC)
    for site in (PIC, WALL):
        assert isinstance(reason_refused(site, *target, when, origin=origin), str)
