"""How bright the simulated sky is in twilight."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from pyros.planning import Site as Observatory
from pyros.planning.visibility import sun_altitude
from pyros.simulators.camera import twilight
from pyros.simulators.celestial import SiteCoordinates

HAUTE_PROVENCE = SiteCoordinates(43.93, 5.71)
SUNSET = 1773964800.0 + 18 * 3600  # 2026-03-20


@pytest.mark.parametrize(("sun", "magnitude"), [(10, 3.5), (-5, 11.84), (-10, 18.0), (-15, 21.3), (-18.1, None)])
def test_the_twilight_is_as_bright_as_it_was_measured(sun: float, magnitude: float | None) -> None:
    assert twilight.brightness(sun) == (None if magnitude is None else pytest.approx(magnitude, abs=0.05))


def test_the_twilight_only_fades_while_the_sun_sinks() -> None:
    shone = [twilight.brightness(-0.1 * number) or 30.0 for number in range(-50, 190)]
    assert shone == sorted(shone)


def test_the_light_halves_in_three_minutes() -> None:
    time = SUNSET + 1000
    first, later = (twilight.sky_factor(HAUTE_PROVENCE, time + wait, 21.6) for wait in (0, 300))
    assert 300 / math.log2(first / later) == pytest.approx(170, abs=15)


def test_the_simulators_sun_stands_where_the_observatorys_does() -> None:
    place = Observatory("Haute-Provence", 43.93, 5.71, 0.0)
    for hours in range(0, 24, 5):
        time = SUNSET + 3600 * hours
        simulated = HAUTE_PROVENCE.ground(twilight.sun(time), time).alt
        assert simulated == pytest.approx(sun_altitude(place, datetime.fromtimestamp(time, UTC)), abs=0.02)
