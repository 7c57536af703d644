from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.errors import PlanningError
from pyros.planning import Site, visibility
from pyros.planning.night_sky import NightSky, airmasses, night_of

PIC = Site("Pic du Midi", 42.9365, 0.1426, 2877.0)
HILLS = Site("Hills", 42.9365, 0.1426, 2877.0, horizon=((10.0, 10.0), (90.0, 25.0), (180.0, 8.0), (270.0, 30.0)))
PARANAL = Site("Paranal", -24.6272, -70.4042, 2635.0)
NIGHT = datetime(2026, 3, 1, 20, 0, tzinfo=UTC)
TROMSO = Site("Tromsø", 69.65, 18.96, 100.0)


def sky(site: Site = PIC, when: datetime = NIGHT, hours: float = 9.0, step: float = 600.0) -> NightSky:
    return NightSky(site, when.timestamp(), when.timestamp() + hours * 3600, step)


def moments(night: NightSky) -> list[datetime]:
    return [datetime.fromtimestamp(float(each), UTC) for each in night.times]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([PIC, PARANAL]), st.datetimes(datetime(2018, 1, 1), datetime(2026, 9, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.lists(st.tuples(st.floats(0, 359.9), st.floats(-90, 90)), min_size=1, max_size=5),
)  # fmt: skip
def test_targets_stand_where_each_time_alone_says(
    site: Site, when: datetime, positions: list[tuple[float, float]]
) -> None:
    night = sky(site, when, 12.0, 3 * 3600.0)
    tracks = night.fixed_tracks(positions)
    for column, moment in enumerate(moments(night)):
        for row, position in enumerate(positions):
            altitude = visibility.altitude_azimuth(site, *position, moment)[0]
            found = math.degrees(math.asin(tracks.sin_altitude[row, column]))
            assert found == pytest.approx(altitude, abs=1e-3 if abs(altitude) < 89 else 0.1)
            distance = math.degrees(math.acos(min(1.0, max(-1.0, tracks.cos_moon[row, column]))))
            assert distance == pytest.approx(visibility.moon_separation(site, *position, moment), abs=0.02)


@pytest.mark.usefixtures("astropy_offline")
@pytest.mark.parametrize("site", [PIC, PARANAL])
def test_sun_moon_and_targets_are_astropys(site: Site) -> None:
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
    from astropy.time import Time

    night = sky(site, hours=10.0, step=1800.0)
    times = Time(night.times, format="unix")
    place = EarthLocation.from_geodetic(site.longitude * u.deg, site.latitude * u.deg, site.elevation * u.m)
    frame = AltAz(obstime=times, location=place)
    targets = [(83.633083, 22.0145), (201.0, -43.0), (37.95, 89.26)]
    tracks = night.fixed_tracks(targets)
    for row, (ra, dec) in enumerate(targets):
        expected = SkyCoord(ra * u.deg, dec * u.deg).transform_to(frame).alt.deg
        assert np.degrees(np.arcsin(tracks.sin_altitude[row])) == pytest.approx(expected, abs=1 / 3600)
    moon = get_body("moon", times, place).transform_to(frame)
    assert night.moon_altitude == pytest.approx(moon.alt.deg, abs=0.02)
    sun = get_body("sun", times, place).transform_to(frame)
    assert night.sun_altitude == pytest.approx(sun.alt.deg, abs=0.01)


def test_the_moons_light_is_the_almanacs() -> None:
    meeus = datetime(1992, 4, 12, 0, 0, tzinfo=UTC)  # Astronomical Algorithms, example 48.a
    assert sky(when=meeus, hours=0.5, step=1800.0).moon_illumination[0] == pytest.approx(0.6786, abs=0.001)
    full = datetime(2026, 3, 3, 11, 34, tzinfo=UTC)  # the total eclipse
    assert sky(when=full, hours=0.5, step=1800.0).moon_illumination[0] > 0.999


def test_the_highest_altitude_is_that_of_the_track() -> None:
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0, 360, 300), rng.uniform(-90, 90, 300)
    for site in (PIC, PARANAL):
        night = sky(site, step=20.0)
        tracks = night.fixed_tracks(list(zip(ra.tolist(), dec.tolist(), strict=True)))
        assert night.highest(ra, dec) == pytest.approx(tracks.sin_altitude.max(axis=1), abs=1e-6)


def test_the_horizons_profile_is_looked_at_by_azimuth() -> None:
    rng = np.random.default_rng(1)
    positions = list(zip(rng.uniform(0, 360, 50).tolist(), rng.uniform(-40, 90, 50).tolist(), strict=True))
    night = sky(HILLS)
    above = night.fixed_tracks(positions).above
    for column, moment in enumerate(moments(night)):
        places = visibility.altitudes_azimuths(HILLS, positions, moment)
        for row, (altitude, azimuth) in enumerate(places):
            limit = HILLS.horizon_at(azimuth)
            if abs(altitude - limit) > 0.01:
                assert above[row, column] == (altitude > limit)
    assert 0.2 < above.mean() < 0.8


def test_what_is_east_has_not_culminated() -> None:
    ra, dec = visibility.place_overhead(PIC, NIGHT + timedelta(hours=3), 60.0, 180.0)
    night = sky()
    tracks = night.fixed_tracks([(ra, dec)])
    assert tracks.east[0].tolist() == (night.times < NIGHT.timestamp() + 3 * 3600 - 1).tolist()
    assert tracks.sin_altitude[0].argmax() == 18


def test_airmasses_are_those_of_single_altitudes() -> None:
    altitudes = np.linspace(0.0, 90.0, 1234)
    expected = [visibility.airmass(float(each)) for each in altitudes]
    assert airmasses(np.sin(np.radians(altitudes))) == pytest.approx(expected, rel=3e-4)
    assert airmasses(np.array([-0.01]))[0] == math.inf


@pytest.mark.parametrize("hours", [0, 3, 8, 12, 17, 23])
def test_the_night_is_the_one_that_is_or_the_next_one(hours: int) -> None:
    when = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hours)
    night = night_of(PIC, when)
    assert night is not None
    dusk, dawn = night
    for moment, before, after in ((dusk, 1, -1), (dawn, -1, 1)):
        assert visibility.sun_altitude(PIC, moment) == pytest.approx(PIC.twilight, abs=0.02)
        assert visibility.sun_altitude(PIC, moment - timedelta(minutes=1)) * before > PIC.twilight * before
        assert visibility.sun_altitude(PIC, moment + timedelta(minutes=1)) * after > PIC.twilight * after
    assert dawn > when
    assert dusk < when + timedelta(hours=24)
    assert timedelta(hours=10) < dawn - dusk < timedelta(hours=11)
    assert (dusk.day == 28) == (hours < 5)


@pytest.mark.parametrize("longitude", [-180.0, -70.4, 0.0, 100.0, 180.0])
def test_all_who_ask_in_a_night_are_told_the_same(longitude: float) -> None:
    site = Site("somewhere", -24.6, longitude, 2635.0)
    hours = [datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=each) for each in range(73)]
    nights = [night_of(site, hour) for hour in hours]
    assert len(set(nights)) in {3, 4}
    for hour, night in zip(hours, nights, strict=True):
        assert night is not None
        assert hour < night[1] < hour + timedelta(hours=24)


def test_a_polar_summer_has_no_night_and_a_polar_night_no_end() -> None:
    assert night_of(TROMSO, datetime(2026, 6, 21, 12, tzinfo=UTC)) is None
    pole = Site("South Pole", -90.0, 0.0, 2835.0)
    night = night_of(pole, datetime(2026, 6, 21, 12, tzinfo=UTC))
    assert night is not None
    assert night[1] - night[0] == timedelta(days=1)


def test_a_span_without_end_is_refused() -> None:
    with pytest.raises(PlanningError, match="steps"):
        NightSky(PIC, 0.0, 1e9, 30.0)
    with pytest.raises(PlanningError, match="steps"):
        NightSky(PIC, 100.0, 0.0, 30.0)
