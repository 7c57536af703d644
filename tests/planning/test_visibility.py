from __future__ import annotations

from datetime import UTC, datetime, timedelta

import erfa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.angles import SECONDS_PER_DAY, UNIX_EPOCH_JD, separation
from pyros.errors import PlanningError
from pyros.planning import visibility
from pyros.site import Site

PIC = Site("Pic du Midi", 42.9365, 0.1426, 2877.0)
PARANAL = Site("Paranal", -24.6272, -70.4042, 2635.0)
POLE = Site("Dome A", -90.0, 0.0, 4000.0)
NIGHT = datetime(2026, 3, 1, 22, 15, 7, tzinfo=UTC)

latitudes = st.floats(-75, 75)
instants = st.datetimes(datetime(2018, 1, 1), datetime(2026, 10, 1), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.mark.usefixtures("astropy_offline")
@pytest.mark.parametrize("site", [PIC, PARANAL])
@pytest.mark.parametrize("when", [NIGHT, datetime(2019, 7, 2, 3, 4, 5, 250000, tzinfo=UTC)])
@pytest.mark.parametrize(("ra", "dec"), [(83.633083, 22.0145), (201.0, -43.0), (37.95, 89.26), (0.0, 0.0)])
def test_altitude_and_azimuth_are_astropys(site: Site, when: datetime, ra: float, dec: float) -> None:
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord
    from astropy.time import Time

    place = EarthLocation.from_geodetic(site.longitude * u.deg, site.latitude * u.deg, site.elevation * u.m)
    frame = AltAz(obstime=Time(when), location=place)
    expected = SkyCoord(ra * u.deg, dec * u.deg).transform_to(frame)
    altitude, azimuth = visibility.altitude_azimuth(site, ra, dec, when)
    found = SkyCoord(alt=altitude * u.deg, az=azimuth * u.deg, frame=frame)
    assert expected.separation(found).arcsec < 1.0


@given(st.sampled_from([PIC, PARANAL, POLE]), instants, st.floats(0, 360), st.floats(-90, 90))
def test_between_the_moments_computed_in_full_the_earth_turns_alone(
    site: Site, when: datetime, ra: float, dec: float
) -> None:
    azimuth, zenith, *_ = erfa.ufunc.atco13(
        np.radians(ra), np.radians(dec), 0.0, 0.0, 0.0, 0.0,
        UNIX_EPOCH_JD, when.timestamp() / SECONDS_PER_DAY, visibility.ut1_minus_utc(when),
        np.radians(site.longitude), np.radians(site.latitude), site.elevation, 0.0, 0.0, 0.0, 0.0, 0.0, 0.55,
    )  # fmt: skip
    altitude, found = visibility.altitude_azimuth(site, ra, dec, when)
    assert separation(float(np.degrees(azimuth)), 90 - float(np.degrees(zenith)), found, altitude) * 3600 < 0.02


@pytest.mark.usefixtures("astropy_offline")
def test_ut1_is_the_tables_also_across_a_leap_second() -> None:
    from astropy.time import Time

    for when in (NIGHT, datetime(2016, 12, 31, 12, tzinfo=UTC), datetime(2017, 1, 1, tzinfo=UTC)):
        assert visibility.ut1_minus_utc(when) == pytest.approx(Time(when).delta_ut1_utc, abs=0.001)
    assert visibility.ut1_minus_utc(datetime(1960, 1, 1, tzinfo=UTC)) == 0
    assert visibility.ut1_minus_utc(datetime(2090, 1, 1, tzinfo=UTC)) == 0


@pytest.mark.usefixtures("astropy_offline")
@pytest.mark.parametrize("when", [NIGHT, NIGHT + timedelta(days=100, hours=11)])
def test_the_sun_is_astropys(when: datetime) -> None:
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, get_sun
    from astropy.time import Time

    place = EarthLocation.from_geodetic(PIC.longitude * u.deg, PIC.latitude * u.deg, PIC.elevation * u.m)
    expected = get_sun(Time(when)).transform_to(AltAz(obstime=Time(when), location=place)).alt.deg
    assert visibility.sun_altitude(PIC, when) == pytest.approx(expected, abs=0.01)  # parallax is 0.0024


@given(instants)
def test_the_sun_in_brief_is_the_sun(when: datetime) -> None:
    assert separation(*visibility.sun_in_brief(when), *visibility.sun(when)) < 0.00001


def test_a_far_date_gives_no_warning_and_a_senseless_one_an_error() -> None:
    assert -90 <= visibility.sun_altitude(PIC, datetime(2080, 1, 1, tzinfo=UTC)) <= 90
    for ra, dec in [(float("nan"), 0.0), (0.0, 91.0), (0.0, float("nan"))]:
        with pytest.raises(PlanningError, match="not a position"):
            visibility.altitude_azimuth(PIC, ra, dec, NIGHT)
    with pytest.raises(PlanningError, match="without a time zone"):
        visibility.sun_altitude(PIC, datetime(2026, 1, 1))  # noqa: DTZ001


@given(latitudes, instants)
def test_next_night_is_when_the_sun_is_lowest(latitude: float, when: datetime) -> None:
    site = Site("anywhere", latitude, 77.0, 100.0)
    midnight = visibility.next_night(site, when)
    assert timedelta(0) <= midnight - when + timedelta(seconds=30) <= timedelta(hours=24, minutes=2)
    lowest = visibility.sun_altitude(site, midnight)
    for minutes in (-60, 60):
        assert visibility.sun_altitude(site, midnight + timedelta(minutes=minutes)) > lowest


def test_night_is_after_nautical_twilight() -> None:
    assert visibility.is_night(PIC, NIGHT)
    assert not visibility.is_night(PIC, NIGHT + timedelta(hours=12))
    midsummer = visibility.next_night(Site("Tromso", 69.6, 19.0, 0.0), datetime(2026, 6, 20, tzinfo=UTC))
    assert not visibility.is_night(Site("Tromso", 69.6, 19.0, 0.0), midsummer)


@given(latitudes, instants)
def test_a_place_overhead_is_where_it_was_asked_for(latitude: float, when: datetime) -> None:
    site = Site("anywhere", latitude, -70.0, 2000.0)
    ra, dec = visibility.place_overhead(site, when)
    assert abs(dec) < 80
    assert visibility.altitude_azimuth(site, ra, dec, when) == pytest.approx((65.0, 90.0), abs=1e-4)
    assert visibility.altitude_azimuth(site, ra, dec, when + timedelta(minutes=20))[0] > 65 or abs(latitude) > 60


def test_up_until_is_the_instant_it_sinks_below_its_limit() -> None:
    crab = (83.633083, 22.0145)
    sets = visibility.up_until(PIC, *crab, NIGHT, 20.0)
    assert sets is not None
    assert sets > NIGHT
    assert visibility.altitude_azimuth(PIC, *crab, sets)[0] == pytest.approx(20.0, abs=0.01)
    assert visibility.up_until(PIC, 0.0, -80.0, NIGHT, 10.0) == NIGHT
    assert visibility.up_until(PIC, 0.0, 85.0, NIGHT, 10.0) is None
    assert visibility.up_until(POLE, 0.0, -40.0, NIGHT, 10.0) is None


def test_airmass() -> None:
    assert visibility.airmass(90.0) == pytest.approx(1.0, abs=1e-3)
    assert visibility.airmass(30.0) == pytest.approx(1.993, abs=2e-3)
    assert visibility.airmass(10.0) == pytest.approx(5.6, abs=0.05)
    assert visibility.airmass(0.0) == pytest.approx(38.7, abs=0.2)
    with pytest.raises(PlanningError, match="airmass"):
        visibility.airmass(-1.0)


@pytest.mark.usefixtures("astropy_offline")
@pytest.mark.parametrize("site", [PIC, PARANAL])
@pytest.mark.parametrize("days", [0, 9, 100.3, 2000.7])
def test_the_moon_is_astropys(site: Site, days: float) -> None:
    from astropy import units as u
    from astropy.coordinates import GCRS, EarthLocation, SkyCoord, get_body
    from astropy.time import Time

    when = datetime(2019, 3, 1, 2, tzinfo=UTC) + timedelta(days=days)
    place = EarthLocation.from_geodetic(site.longitude * u.deg, site.latitude * u.deg, site.elevation * u.m)
    expected = get_body("moon", Time(when), place)
    ra, dec = visibility.moon(site, when)
    frame = GCRS(obstime=Time(when), obsgeoloc=expected.obsgeoloc, obsgeovel=expected.obsgeovel)
    assert expected.separation(SkyCoord(ra * u.deg, dec * u.deg, frame=frame)).arcsec < 15
    assert visibility.moon_separation(site, ra, dec, when) == pytest.approx(0, abs=1e-6)
    assert visibility.moon_separation(site, (ra + 180) % 360, -dec, when) == pytest.approx(180, abs=1e-4)


def test_the_moon_stands_elsewhere_for_another_site() -> None:
    here, there = visibility.moon(PIC, NIGHT), visibility.moon(PARANAL, NIGHT)
    assert 0.2 < visibility.moon_separation(PIC, *there, NIGHT) < 2.0
    assert here != there


@given(st.floats(0, 359.9), st.floats(-89, 89), instants, st.sampled_from([PIC, PARANAL]))
def test_when_it_can_be_observed(ra: float, dec: float, when: datetime, site: Site) -> None:
    def good(at: datetime, tolerance: float) -> bool:
        altitude = visibility.altitude_azimuth(site, ra, dec, at)[0]
        return altitude >= 30 - tolerance and visibility.sun_altitude(site, at) < site.twilight + tolerance

    found = visibility.observable_after(site, ra, dec, when, 30, 86_400)
    step = timedelta(minutes=20)
    before = [when + number * step for number in range(1, 72 if found is None else int(found // 1200))]
    assert not any(good(at, -0.5) for at in before), "not before"
    if found is not None:
        assert good(when + timedelta(seconds=found), 0.0 if found == 0 else 0.5)
        assert visibility.observable_after(site, ra, dec, when, 30, found - 1) is None or found == 0
