from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.angles import UNIX_EPOCH_MJD, separation
from pyros.messages import Orbit
from pyros.planning.orbits import GAUSS, heliocentric, place_of
from pyros.site import Site

CENTRE = Site("Greenwich", 51.48, 0.0, 0.0)
ENCKE = Orbit(
    perihelion_distance=2.2091404 * (1 - 0.8502196), eccentricity=0.8502196, inclination=11.94524, node=334.75006,
    argument=186.23352, perihelion=48192.54502,
)  # fmt: skip
"""Meeus, Astronomical Algorithms (2nd ed.), example 33.b, perihelion 1990 October 28.54502 TT."""


def orbit(eccentricity: float, perihelion_distance: float = 1.0) -> Orbit:
    return Orbit(
        perihelion_distance=perihelion_distance, eccentricity=eccentricity, inclination=30.0, node=40.0, argument=50.0,
        perihelion=60000.0,
    )  # fmt: skip


def test_enckes_comet_is_where_the_book_has_it() -> None:
    when = datetime(1990, 10, 6, 0, 0, tzinfo=UTC)  # the book's is TT: a minute of a comet that moves 2° a day
    ra, dec = place_of(CENTRE, ENCKE, when)
    assert separation(ra, dec, 158.558965, 19.158496) < 0.01, "parallax and a minute; the book's place is geocentric"


def test_a_parabola_is_the_books() -> None:
    q, days, true_anomaly, distance = 1.487469, 112.5642, 66.78862, 2.133911  # Meeus, example 34.a
    place = heliocentric(orbit(1.0, q), 60000.0 + days)
    assert np.linalg.norm(place) == pytest.approx(distance, abs=1e-5)
    perihelion = heliocentric(orbit(1.0, q), 60000.0)
    cosine = float(place @ perihelion) / float(np.linalg.norm(place) * np.linalg.norm(perihelion))
    assert math.degrees(math.acos(cosine)) == pytest.approx(true_anomaly, abs=1e-4)


@given(st.floats(0.0, 3.0), st.floats(0.1, 40.0), st.floats(-20000.0, 20000.0))
def test_energy_and_areas_are_kept(eccentricity: float, q: float, days: float) -> None:
    body, step = orbit(eccentricity, q), 0.01 * q**1.5
    before, place, after = (heliocentric(body, 60000.0 + days + each) for each in (-step, 0.0, step))
    velocity = (after - before) / (2 * step)
    distance = float(np.linalg.norm(place))
    energy = float(velocity @ velocity) / 2 - GAUSS**2 / distance
    scale = GAUSS**2 / q
    assert energy / scale == pytest.approx((eccentricity - 1) / 2, abs=2e-3)
    area = float(np.linalg.norm(np.cross(place, velocity)))
    assert area == pytest.approx(GAUSS * math.sqrt(q * (1 + eccentricity)), rel=2e-3)
    assert distance >= q * (1 - 1e-9)


def test_a_circle_comes_back_after_its_period() -> None:
    period = 2 * math.pi / GAUSS
    assert heliocentric(orbit(0.0), 60000.0) == pytest.approx(heliocentric(orbit(0.0), 60000.0 + 3 * period), abs=1e-9)
    assert heliocentric(orbit(0.0), 60000.0) == pytest.approx(-heliocentric(orbit(0.0), 60000.0 + period / 2), abs=1e-9)


def test_the_site_sees_a_near_body_with_parallax() -> None:
    when = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)
    mjd = when.timestamp() / 86400 + UNIX_EPOCH_MJD
    near = Orbit(
        perihelion_distance=1.0, eccentricity=0.02, inclination=1.0, node=160.0, argument=0.0, perihelion=mjd
    )  # fmt: skip
    away = Site("Antipodes", -51.48, 180.0, 0.0)
    assert 1e-4 < separation(*place_of(CENTRE, near, when), *place_of(away, near, when)) < 1.0
