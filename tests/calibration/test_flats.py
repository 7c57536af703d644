"""Flats before a sky of numbers: exposure times, their order, waiting, and leaving out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.calibration import flats
from pyros.calibration.flats import FlatExposure, Flats, Skip, Wait

LEVEL, BIAS = 20_000.0, 1000.0


class Twilight:
    """A sky whose light halves or doubles, and a camera before it."""

    def __init__(self, rate: float, halving: float, *, rising: bool) -> None:
        self.rate, self.halving, self.rising, self.now = rate, halving, rising, 0.0

    def median(self, seconds: float) -> float:
        """Return the median after an exposure, for which the time passes."""
        middle = (self.now + 3 + seconds / 2) / self.halving
        self.now += 8 + seconds
        return min(65535.0, BIAS + seconds * self.rate * 2 ** (middle if self.rising else -middle))


def take(twilight: Twilight, count: int = 5, most: float = 60.0) -> tuple[list[float], str]:
    """Take flats through one filter; returns the levels of all that were exposed as flats, and why some are missing."""
    state, levels = Flats(["r"], LEVEL, 1.0, most, twilight.rising, BIAS), list[float]()
    for _ in range(500):
        if state.taken == count:
            return levels, ""
        following = flats.following(state, twilight.now)
        if isinstance(following, Skip):
            return levels, following.reason
        if isinstance(following, Wait):
            assert following.seconds > 0
            twilight.now += following.seconds
            continue
        assert isinstance(following, FlatExposure)
        assert 1.0 <= following.seconds <= most
        started = twilight.now + 3
        median = twilight.median(following.seconds)
        least, highest = flats.window(state)
        kept = following.keep and least <= median <= highest
        if following.keep:
            levels.append(median - BIAS)
        flats.add(state, following.seconds, started, median, float(median >= 65535), kept=kept, test=not following.keep)
    raise AssertionError("flats without end")


@settings(max_examples=60)
@given(st.floats(1, 5.5), st.floats(120, 300), st.booleans())
def test_every_flat_has_the_level_in_both_twilights(rate: float, halving: float, rising: bool) -> None:
    levels, missing = take(Twilight(10**rate, halving, rising=rising))
    good = [level for level in levels if abs(level - LEVEL) <= 0.1 * LEVEL]
    assert len(good) >= len(levels) - 1, levels
    assert len(good) == 5 or missing in ("it is too dark", "it is too bright")


def test_an_evening_sky_that_is_too_bright_is_waited_for() -> None:
    twilight = Twilight(1e6, 180, rising=False)
    levels, missing = take(twilight)
    assert (len(levels), missing) == (5, "")
    assert twilight.now > 500


@pytest.mark.parametrize(
    ("rate", "rising", "reason"), [(100, False, "it is too dark"), (1e6, True, "it is too bright")]
)
def test_a_filter_whose_time_has_passed_is_left_out(rate: float, rising: bool, reason: str) -> None:
    assert take(Twilight(rate, 180, rising=rising)) == ([], reason)


def test_a_lamps_light_stays() -> None:
    state = Flats(["r"], LEVEL, 1.0, 60.0, None, BIAS)
    flats.add(state, 1.0, 0.0, 3000.0, 0.0, kept=False)
    assert flats.following(state, 5000.0) == FlatExposure(10.0)
    assert flats.exposure(state, 9000.0) == 10.0


@pytest.mark.parametrize(
    ("filters", "rising", "order"),
    [
        (("r", "Ha", "g", "u"), False, ["Ha", "u", "g", "r"]),
        (("r", "Ha", "g", "u"), True, ["r", "g", "u", "Ha"]),
        (("L", "OIII", "B", "r", "B"), False, ["OIII", "B", "r", "L"]),
        (("",), False, [""]),
    ],
)
def test_narrow_filters_come_first_in_the_evening(filters: tuple[str, ...], rising: bool, order: list[str]) -> None:
    assert flats.in_order(filters, (), rising=rising) == order


def test_the_configuration_says_which_filters_are_narrow() -> None:
    assert flats.in_order(("a", "b", "c"), ("c", "a"), rising=False) == ["c", "a", "b"]


def test_a_filter_that_misses_its_level_again_and_again_is_left_out() -> None:
    state = Flats(["r"], LEVEL, 1.0, 60.0, False, BIAS)
    for number in range(flats.MAX_TRIES):
        flats.add(state, 5.0, 10.0 * number, BIAS + LEVEL * (2 if number % 2 else 0.4), 0.0, kept=False)
    assert flats.following(state, 60.0) == Skip("the level was missed 6 times")
