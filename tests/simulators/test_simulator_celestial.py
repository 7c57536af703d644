from __future__ import annotations

import math

import erfa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.simulators.celestial import Ground, SiteCoordinates, Sky, between, from_date, of_date, offset, separation

SITE = SiteCoordinates(43.9308, 5.7133)
TIME = 1_774_049_400.0  # 2026-03-20 23:30 UTC


def observed(sky: Sky, time: float) -> Ground:
    """Compute the same by SOFA's complete transformation, with the diurnal aberration and without refraction."""
    azimuth, zenith, *_ = erfa.atco13(
        *(math.radians(sky.ra), math.radians(sky.dec), 0, 0, 0, 0, 2440587.5, time / 86400, 0),
        *(math.radians(SITE.longitude), math.radians(SITE.latitude), 650, 0, 0, 0, 0, 0, 0.5),
    )
    return Ground(90 - math.degrees(zenith), math.degrees(azimuth) % 360)


def apart(first: Ground, second: Ground) -> float:
    """Arcseconds."""
    return separation(Sky(first.az, first.alt), Sky(second.az, second.alt)) * 3600


@pytest.mark.parametrize("sky", [Sky(0, 0), Sky(100, 30), Sky(250, -70), Sky(10, 89.9), Sky(180, 43.9)])
@pytest.mark.parametrize("later", [0, 3 * 3600, 200 * 86400])
def test_the_horizon_agrees_with_sofa(sky: Sky, later: float) -> None:
    assert apart(SITE.ground(sky, TIME + later), observed(sky, TIME + later)) < 2


@given(st.floats(0, 359.999), st.floats(-90, 90), st.floats(0, 1e9))
def test_there_and_back(ra: float, dec: float, later: float) -> None:
    sky = Sky(ra, dec)
    ground = SITE.ground(sky, TIME + later)
    assert -90 <= ground.alt <= 90
    assert 0 <= ground.az <= 360
    back = SITE.sky(ground, TIME + later)
    assert separation(sky, back) * 3600 < 0.001


def test_the_pole_stands_at_the_latitude() -> None:
    assert SITE.ground(Sky(0, 90), TIME).alt == pytest.approx(SITE.latitude, abs=0.2)


def test_great_circles() -> None:
    a, b = Sky(359, 60), Sky(5, 62)
    assert separation(between(a, b, 0.25), a) == pytest.approx(separation(a, b) / 4)
    assert between(a, a, 0.5) == a
    assert between(Sky(0, 0), Sky(180, 0), 0.5) == Sky(0, 0)
    assert between(Sky(0, 0), Sky(180, 0), 1) == Sky(180, 0)
    for sky in (Sky(10, 20), Sky(0, 90), Sky(77, -90), Sky(0, 0)):
        moved = offset(sky, 0.003, 0.004)
        assert separation(sky, moved) == pytest.approx(0.005, rel=1e-5)


@given(st.floats(0, 359.999), st.floats(-90, 90), st.floats(0, 1e9))
def test_of_date_and_back(ra: float, dec: float, later: float) -> None:
    sky = Sky(ra, dec)
    assert separation(from_date(of_date(sky, TIME + later), TIME + later), sky) * 3600 < 0.001


def test_of_date_is_the_true_equator_and_equinox() -> None:
    """The same by astropy, whose TETE is it; FK5 of date would be up to 28 arcseconds away (no aberration)."""
    from astropy.coordinates import TETE, SkyCoord
    from astropy.time import Time

    date = Time(TIME, format="unix")
    for ra, dec in ((10, 20), (200, -50), (330, 80)):
        expected = SkyCoord(ra, dec, unit="deg").transform_to(TETE(obstime=date))
        place = of_date(Sky(ra, dec), TIME)
        assert separation(Sky(*place), Sky(expected.ra.deg, expected.dec.deg)) * 3600 < 0.5


def test_sidereal_time_and_hour_angle_agree() -> None:
    sky = Sky(100, 30)
    angle = SITE.sidereal_time(TIME) - of_date(sky, TIME).ra
    assert (angle - SITE.hour(sky, TIME).angle + 180) % 360 - 180 == pytest.approx(0, abs=1e-8)
