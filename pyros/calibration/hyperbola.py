"""The size of stars against the focuser's position: a hyperbola, whose vertex is the focus.

Seeing and defocus add in quadrature (as in Las Cumbres Observatory's focuscurvefitter), and far from focus the size
grows in proportion to the way, so with the radius r at position x

    r(x)^2 = a^2 + s^2 (x - c)^2            a: radius in focus   s: slope of the wings   c: the focus

which is a parabola in r^2: a linear least-squares problem with one answer, no starting values and no iteration. A
radius with the error e has the error 2 r e in its square; a seeing that varies by the share v adds v a^2 everywhere,
for in the square it is a constant beside the defocus. Outliers (a cloud, a satellite, a gust) are left out one by one
while they are more than `OUTLIER` times the scatter beside the curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OUTLIER = 4.0
"""Times the scatter of the others, beyond which a point is left out."""
LEAST_POINTS = 5
"""Points that a curve must have, outliers not counted."""
_LEAST_SCATTER = 0.01
"""Share of a squared radius in which no point is believed to be better."""
_SEEING_VARIES = 0.05


@dataclass(frozen=True)
class Hyperbola:
    """A fitted curve."""

    vertex: float
    """The focus, steps."""
    error: float
    """Its standard error, steps, from the scatter about the curve."""
    radius: float
    """At the vertex, in the unit of the radii."""
    slope: float
    """Of the wings, radius a step."""
    used: int
    """Points that it rests on."""
    scatter: float
    """Weighted root mean square of the points beside the curve, a share of their radius."""

    @property
    def width(self) -> float:
        """Steps from the vertex at which stars are larger by the square root of 2: a / s."""
        return self.radius / self.slope

    def at(self, position: float) -> float:
        """Return the radius at a position."""
        return math.hypot(self.radius, self.slope * (position - self.vertex))


def fit(positions: Sequence[float], radii: Sequence[float], errors: Sequence[float]) -> Hyperbola | None:
    """Fit a hyperbola; ``errors`` are those of the radii. None where there is no minimum, or too few points agree."""
    x, r, e = (np.asarray(each, dtype=np.float64) for each in (positions, radii, errors))
    if len(x) < LEAST_POINTS:
        return None
    floor = np.maximum(_LEAST_SCATTER * r**2, _SEEING_VARIES * 2 * float(np.min(r)) ** 2)
    sigma = np.hypot(2 * r * e, floor)
    kept = np.ones(len(x), dtype=bool)
    while True:
        curve = _parabola(x[kept], r[kept], sigma[kept])
        if kept.sum() <= LEAST_POINTS:
            return curve
        worst = _worst(x, r, sigma, kept)
        if worst is None:
            return curve
        kept[worst] = False


def _worst(x: Floats, r: Floats, sigma: Floats, kept: NDArray[np.bool_]) -> int | None:
    """Return the point that lies farthest beside the curve of all the others, if that is too far."""
    found, most = None, OUTLIER
    for index in np.flatnonzero(kept):
        others = kept.copy()
        others[index] = False
        design = _design(x[others], x)
        weights = 1 / sigma[others]
        matrix = design[others] * weights[:, None]
        values, *_ = np.linalg.lstsq(matrix, r[others] ** 2 * weights, rcond=None)
        beside = (r**2 - design @ values) / sigma
        free = max(1, int(others.sum()) - 3)
        scatter = max(0.5, math.sqrt(float(np.sum(beside[others] ** 2)) / free))
        covariance = np.linalg.pinv(matrix.T @ matrix)
        leverage = float(design[index] @ covariance @ design[index]) / sigma[index] ** 2
        far = abs(float(beside[index])) / (scatter * math.sqrt(1 + leverage))
        if far > most:
            found, most = int(index), far
    return found


def _design(known: Floats, x: Floats) -> Floats:
    """Columns 1, u and u^2 of the scaled positions, for which the matrix is well conditioned."""
    middle, half = _scale(known)
    u = (x - middle) / half
    return np.stack([np.ones_like(u), u, u**2], axis=1)


def _scale(x: Floats) -> tuple[float, float]:
    return float(x.mean()), float(np.ptp(x)) / 2 or 1.0


def _parabola(x: Floats, r: Floats, sigma: Floats) -> Hyperbola | None:
    middle, half = _scale(x)
    matrix = _design(x, x) / sigma[:, None]
    covariance = np.linalg.pinv(matrix.T @ matrix)
    constant, linear, square = (float(each) for each in covariance @ matrix.T @ (r**2 / sigma))
    lowest = constant - linear**2 / (4 * square) if square > 0 else 0.0
    if square <= 0 or lowest <= 0:
        return None
    beside = r**2 / sigma - matrix @ np.array([constant, linear, square])
    free = max(1, len(x) - 3)
    scatter = math.sqrt(float(beside @ beside) / free)
    gradient = np.array([0.0, -1 / (2 * square), linear / (2 * square**2)])
    error = math.sqrt(float(gradient @ covariance @ gradient)) * max(scatter, 0.5) * half
    share = math.sqrt(float(np.mean((beside * sigma / (2 * r**2)) ** 2)))
    vertex = middle - half * linear / (2 * square)
    return Hyperbola(vertex, error, math.sqrt(lowest), math.sqrt(square) / half, len(x), share)
