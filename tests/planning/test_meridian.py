"""The meridian flip as a planned step between two exposures."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pyros.planning import Site
from pyros.planning.meridian import MeridianStep, before_exposure
from pyros.planning.visibility import hour_angle, place_overhead

SITE = Site("Haute-Provence", 43.93, 5.71, 650.0)
NOW = datetime(2026, 3, 21, 0, 0, tzinfo=UTC)


def at(degrees: float) -> tuple[float, float]:
    """Return a place 60 degrees up in the south, so many degrees of hour angle west of the meridian."""
    ra, dec = place_overhead(SITE, NOW, 60.0, 180.0)
    return (ra - degrees) % 360, dec


def step(degrees: float, seconds: float = 60.0, side: str = "west", minutes: float = 8.0) -> MeridianStep:
    ra, dec = at(degrees)
    return before_exposure(SITE, ra, dec, NOW, side=side, seconds=seconds, limit_minutes=minutes)


def test_the_hour_angle_is_that_of_the_place() -> None:
    assert hour_angle(SITE, *at(0.0), NOW) == pytest.approx(0, abs=0.01)
    assert hour_angle(SITE, *at(-30.0), NOW) == pytest.approx(-30, abs=0.05)


@pytest.mark.parametrize("degrees", [-60.0, -1.0, 0.5, 1.7])
def test_an_exposure_that_ends_before_the_limit_is_taken(degrees: float) -> None:
    assert step(degrees) == MeridianStep()


@pytest.mark.parametrize(("degrees", "seconds"), [(1.9, 60.0), (0.3, 600.0), (5.0, 1.0)])
def test_past_the_meridian_the_tube_changes_sides(degrees: float, seconds: float) -> None:
    assert step(degrees, seconds) == MeridianStep(flip=True)


def test_before_the_meridian_the_flip_is_waited_for() -> None:
    assert step(-1.0, 900.0).wait == pytest.approx(1.25 * 240, abs=5)


@pytest.mark.parametrize("side", ["east", ""])
def test_a_tube_that_is_elsewhere_needs_no_flip(side: str) -> None:
    assert step(5.0, side=side) == MeridianStep()


def test_below_the_pole_nothing_flips() -> None:
    assert step(170.0) == MeridianStep()
