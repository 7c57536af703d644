"""V-curves on a telescope of numbers: the fit, what is measured next, and when it is given up."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.calibration import hyperbola, vcurve
from pyros.calibration.vcurve import FoundFocus, Move, NotFound, VCurvePoint

SEEING, BLUR, PIXEL = 4.0, 0.01, 1.8  # arcseconds, arcseconds a step, arcseconds
ZONE = 2 * SEEING * math.sqrt(1.1**2 - 1) / BLUR


class FocusedTelescope:
    """A focuser with play, and stars whose size and number vary."""

    def __init__(
        self, start: int, seed: int = 0, *, seeing: float = 0.05, clouds: float = 0.0, best: int = 25000
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.screw, self.tube, self.best = start, float(start), best
        self.seeing, self.clouds, self.visited = seeing, clouds, list[int]()

    def move(self, position: int) -> None:
        self.screw = position
        self.tube = min(max(self.tube, position - 20), position)

    def image(self, position: int) -> VCurvePoint:
        self.visited.append(position)
        fwhm = math.hypot(SEEING * math.exp(self.random.normal(0, self.seeing)), (self.tube - self.best) * BLUR)
        stars = int(self.random.poisson(50)) if self.random.random() > self.clouds else int(self.random.integers(0, 4))
        radius = fwhm / 2 / PIXEL
        error = 0.01 * radius * math.sqrt(50 / max(stars, 1))
        return VCurvePoint(position, stars, radius + float(self.random.normal(0, error)), error)


def focus(telescope: FocusedTelescope, step: int = 200, least: int = 0, most: int = 50000) -> FoundFocus | NotFound:
    """Make a V-curve; every position must be approached from below."""
    curve = vcurve.begin(telescope.screw, step, least, most)
    before = 10**9
    for _ in range(3 * vcurve.MAX_POINTS):
        following = vcurve.following(curve)
        if not isinstance(following, Move):
            return following
        for position in following.positions:
            assert least <= position <= most
            telescope.move(position)
        if following.positions:
            assert len(following.positions) == 2 or following.positions[-1] > before
            before = following.positions[-1]
        assert curve.here == telescope.screw
        vcurve.add(curve, telescope.image(telescope.screw))
    raise AssertionError("a V-curve without end")


@given(st.floats(-500, 500), st.floats(0.5, 3), st.floats(0.001, 0.02))
def test_an_exact_hyperbola_is_found_exactly(vertex: float, radius: float, slope: float) -> None:
    x = [vertex + way * radius / slope for way in (-2, -1.2, -0.5, 0.3, 1, 1.7, 2.5)]
    r = [math.hypot(radius, slope * (each - vertex)) for each in x]
    fit = hyperbola.fit(x, r, [0.01] * 7)
    assert fit is not None
    assert fit.vertex == pytest.approx(vertex, abs=1e-4 * radius / slope)
    assert fit.radius == pytest.approx(radius, rel=1e-4)
    assert fit.slope == pytest.approx(slope, rel=1e-4)


@given(st.integers(0, 8), st.floats(2, 10))
def test_one_outlier_does_not_move_the_vertex(index: int, factor: float) -> None:
    x = [100.0 * number for number in range(9)]
    r = [math.hypot(1.0, 0.005 * (each - 420)) for each in x]
    r[index] *= factor
    fit = hyperbola.fit(x, r, [0.01] * 9)
    assert fit is not None
    assert fit.vertex == pytest.approx(420, abs=2)
    assert fit.used == 8


@pytest.mark.parametrize(
    "radii", [[1, 1, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 3, 2, 1], [1, 2]], ids=str
)
def test_what_has_no_minimum_is_no_hyperbola(radii: list[float]) -> None:
    fit = hyperbola.fit([100.0 * n for n in range(len(radii))], radii, [0.01] * len(radii))
    assert fit is None or not 0 <= fit.vertex <= 600 or fit.slope < 1e-6


@pytest.mark.parametrize(
    ("start", "step"), [(25000, 100), (25500, 100), (24500, 400), (25500, 400), (27000, 200), (22000, 400)]
)
def test_the_focus_is_found_within_5_percent_of_its_zone(start: int, step: int) -> None:
    for seed in range(4):
        telescope = FocusedTelescope(start, seed, seeing=0.03)
        assert isinstance(focus(telescope, step), FoundFocus)
        assert abs(telescope.tube - telescope.best) <= 0.05 * ZONE
        assert len(telescope.visited) <= vcurve.MAX_POINTS + 1


def test_a_good_curve_near_the_focus_takes_eight_images() -> None:
    telescope = FocusedTelescope(25000, seeing=0.01)
    assert isinstance(focus(telescope), FoundFocus)
    assert len(telescope.visited) == 8


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0, 1), st.integers(-1500, 1500))
def test_through_clouds_it_ends_at_the_focus_or_not_at_all(seed: int, clouds: float, start: int) -> None:
    telescope = FocusedTelescope(25000 + start, seed, seeing=0.03, clouds=clouds)
    if isinstance(focus(telescope), FoundFocus):
        assert abs(telescope.tube - telescope.best) <= 0.1 * ZONE


@pytest.mark.parametrize(
    ("telescope", "reason"),
    [
        (FocusedTelescope(25000, clouds=1.0), "images show"),
        (FocusedTelescope(25000, best=80000), "up to the end of the focuser's way|no clear minimum"),
        (FocusedTelescope(2500, best=-1000), "up to the end of the focuser's way|no clear minimum"),
    ],
)
def test_what_cannot_be_found_is_told_with_the_reason(telescope: FocusedTelescope, reason: str) -> None:
    end = focus(telescope)
    assert isinstance(end, NotFound)
    assert re.search(reason, end.reason)


def test_stars_that_grew_meanwhile_are_no_focus() -> None:
    telescope = FocusedTelescope(25000, seeing=0.0)
    curve = vcurve.begin(25000, 200, 0, 50000)
    while isinstance(following := vcurve.following(curve), Move) and curve.focus is None:
        for position in following.positions:
            telescope.move(position)
        vcurve.add(curve, telescope.image(telescope.screw))
    assert curve.focus is not None
    vcurve.add(curve, VCurvePoint(curve.focus, 50, 3.0, 0.01))
    end = vcurve.following(curve)
    assert isinstance(end, NotFound)
    assert "the curve says" in end.reason
