"""Magnitudes: the zero point from catalogue stars, and with it every source's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyros.analysis.positions import Match, to_pixels
from pyros.analysis.sources import Floats, Sources
from pyros.stars import Stars

_PRECISE = 20.0  # signal to noise of a star that helps with the zero point
_FAINTER = 3.0  # magnitudes; a neighbour fainter than a star by more than that takes 6 percent of its light at most
_CLIP_SIGMAS = 3.0
_ROUNDS = 5


@dataclass(frozen=True)
class ZeroPoint:
    """The magnitude of 1 ADU per second, its error, and how many stars gave it."""

    magnitude: float
    """Magnitude of 1 ADU per second."""
    error: float
    """Standard error, magnitudes."""
    stars: int
    """How many stars gave it."""


def instrumental(sources: Sources, seconds: float) -> tuple[Floats, Floats]:
    """Return -2.5 log10 of ADU per second, and its error; NaN where there is no light."""
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = -2.5 * np.log10(np.where(sources.flux > 0, sources.flux, np.nan) / max(seconds, 1e-3))
        error = 2.5 / np.log(10) * sources.error / np.where(sources.flux > 0, sources.flux, np.nan)
    return magnitude, error


def zero_point(sources: Sources, stars: Stars, matched: Match, seconds: float, fwhm: float) -> ZeroPoint | None:
    """Return the median of catalogue minus instrumental magnitudes, outliers clipped; None with under three stars."""
    magnitude, error = instrumental(sources, seconds)
    s, c = matched.sources, matched.stars
    good = sources.clean[s] & (error[s] < 1 / _PRECISE) & alone(stars, matched, fwhm)[c]
    difference = (stars.magnitude[c] - magnitude[s])[good]
    weight_error = np.hypot(error[s][good], 0.01)
    if len(difference) < 3:
        return None
    kept = np.ones(len(difference), dtype=bool)
    for _ in range(_ROUNDS):
        middle = float(np.median(difference[kept]))
        spread = max(1.4826 * float(np.median(np.abs(difference[kept] - middle))), 1e-4)
        kept = np.abs(difference - middle) < _CLIP_SIGMAS * np.hypot(spread, weight_error)
    weights = 1 / weight_error[kept] ** 2
    mean = float(np.average(difference[kept], weights=weights))
    return ZeroPoint(mean, max(spread / float(np.sqrt(kept.sum())), 1e-4), int(kept.sum()))


def alone(stars: Stars, matched: Match, fwhm: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell which of the catalogue's stars have no neighbour in their aperture that would spoil the measurement."""
    x, y = to_pixels(matched.wcs, stars)
    result = np.zeros(len(stars), dtype=bool)
    order = np.argsort(stars.magnitude, kind="stable")
    reach = 2.5 * max(fwhm, 2.0)
    # Only matched stars are asked about; each looks at all others that are bright enough to matter.
    for star in matched.stars:
        limit = np.searchsorted(stars.magnitude[order], stars.magnitude[star] + _FAINTER)
        others = order[:limit]
        square = (x[others] - x[star]) ** 2 + (y[others] - y[star]) ** 2
        result[star] = (square < reach**2).sum() <= 1
    return result
