from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from pyros.simulators.camera.moonlight import dimming, moon, moonlight, nanolamberts, sky_factor
from pyros.simulators.celestial import SiteCoordinates, Sky, separation


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("when", "phase"),
    [("2026-03-03T11:38", 0), ("2026-03-19T01:23", 180), ("2026-02-24T12:28", 90), ("2026-03-11T09:39", 90)],
)
def test_the_moons_phases_are_those_of_the_almanac(when: str, phase: float) -> None:
    """Full, new, first and last quarter, UTC; the first is a total eclipse."""
    assert moon(at(when))[1] == pytest.approx(phase, abs=5)


def test_the_moon_stands_before_the_sun_in_an_eclipse() -> None:
    """2026-08-12, greatest eclipse at 17:46 UTC: the Sun at 9 h 29 m 51 s, +14 48'."""
    where, _ = moon(at("2026-08-12T17:46"))
    assert separation(where, Sky(142.46, 14.80)) < 1.2


@pytest.mark.parametrize(
    ("phase", "distance", "moon_altitude", "altitude", "change"),
    [(0, 60, 50, 60, -3.151), (60, 60, 50, 60, -1.725), (0, 30, 50, 60, -3.836), (120, 60, 50, 60, -0.406)],
)
def test_the_brightening_is_that_of_the_papers_equations(
    phase: float, distance: float, moon_altitude: float, altitude: float, change: float
) -> None:
    """Computed by hand from the paper's equations with k = 0.172 and a dark sky of 21.587 in the zenith."""
    dark = nanolamberts(21.587)
    light = moonlight(phase, distance, moon_altitude, altitude, 0.172)
    assert -2.5 * math.log10((light + dark) / dark) == pytest.approx(change, abs=0.003)


def test_dark_skies() -> None:
    assert nanolamberts(21.587) == pytest.approx(79.0, abs=1)  # the paper's Mauna Kea
    assert moonlight(0, 60, -1, 60, 0.172) == 0
    assert moonlight(0, 5, 50, 60, 0.172) > moonlight(0, 20, 50, 60, 0.172) > moonlight(0, 90, 50, 60, 0.172)
    assert math.isfinite(moonlight(0, 0, 90, 90, 0.172))


def test_a_night_with_a_moon_and_one_without() -> None:
    site = SiteCoordinates(43.9, 5.7)
    full, new = at("2026-03-03T23:30"), at("2026-03-18T23:30")
    assert sky_factor(site, Sky(150, 40), full, 21.6, 0.15) > 4
    assert sky_factor(site, Sky(150, 40), new, 21.6, 0.15) == 1
    above = site.ground(Sky(150, 40), full)
    assert dimming(above, 0.15) == pytest.approx(0.15 / math.sin(math.radians(above.alt)), rel=0.05)
