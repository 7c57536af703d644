"""What is in an image and not in the catalogue, near the place where an alert said that something happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyros.analysis.photometry import ZeroPoint, instrumental
from pyros.analysis.positions import Match, to_pixels
from pyros.analysis.sources import DetectedSources, Floats, Sources
from pyros.angles import separations
from pyros.stars import Stars

DEFAULT_RADIUS = 0.05
"""Degrees around the alert's position where it doesn't say how well it knows it."""
_MIN_RADIUS_DEGREES = 15 / 3600
"""For a position known to a second of arc: two matchings' errors, and proper motions."""
_SIGNIFICANT = 8.0  # signal to noise
_NARROW, _WIDE = 0.7, 1.8  # FWHM over the stars': hot pixels are below, nebulae above
_SHARP, _LONG = 1.7, 1.5  # peak and elongation over the stars': cosmic rays and trails are above
_DEPTH_MARGIN = 0.3  # magnitudes brighter than the catalogue's end
_BRIGHTENED = 1.0  # magnitudes by which a catalogued star is new again; two stars in one are 0.75 brighter at most
MAX_NEW_SOURCES = 10


@dataclass(frozen=True)
class NewSource:
    """A source that the catalogue doesn't know: ICRS degrees, magnitude, arcseconds from the alert's position."""

    ra: float
    """Right ascension, ICRS degrees."""
    dec: float
    """Declination, ICRS degrees."""
    magnitude: float
    """Magnitude through the image's filter."""
    error: float
    """Standard error, magnitudes."""
    distance: float
    """Arcseconds from the alert's position."""


def new_sources(
    found: DetectedSources, stars: Stars, matched: Match, zero: ZeroPoint, seconds: float,
    ra: float, dec: float, radius: float | None, faintest: float,
) -> list[NewSource]:  # fmt: skip
    """Return the new sources within ``radius`` degrees of a position, the brightest first.

    Only those that look like a star are new, that no catalogued star within 1.5 FWHM explains, and that are brighter
    than the catalogue's end (``faintest``): a fainter one may be a star that it never knew.
    """
    sources = found.sources
    radius = max(_MIN_RADIUS_DEGREES, DEFAULT_RADIUS if radius is None else radius)
    sky = matched.wcs.all_pix2world(np.column_stack([sources.x, sources.y]), 0)
    distance = separations(sky[:, 0], sky[:, 1], ra, dec)
    magnitude, error = instrumental(sources, seconds)
    magnitude = magnitude + zero.magnitude
    shape = sources.fwhm / found.fwhm
    with np.errstate(invalid="ignore"):
        likely = (distance < radius) & (error < 1 / _SIGNIFICANT) & (shape > _NARROW) & (shape < _WIDE)
        likely &= (sources.peak < _SHARP * found.peak) & (sources.elongation < _LONG * found.elongation)
        likely &= magnitude < faintest - _DEPTH_MARGIN
    candidates = np.flatnonzero(likely)
    known = _known(sources.chosen(candidates), magnitude[candidates], stars, matched, max(1.5 * found.fwhm, 2.0))
    return [
        NewSource(
            float(sky[i, 0]) % 360, float(sky[i, 1]), float(magnitude[i]),
            float(np.hypot(error[i], zero.error)), float(distance[i]) * 3600,
        )
        for i in candidates[~known][:MAX_NEW_SOURCES]
    ]  # fmt: skip


def _known(
    sources: Sources, magnitude: Floats, stars: Stars, matched: Match, reach: float
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell which sources a star of the catalogue explains: it is there, and fainter by a magnitude at most."""
    x, y = to_pixels(matched.wcs, stars)
    known = np.zeros(len(sources), dtype=bool)
    for i in range(len(sources)):
        there = (x - sources.x[i]) ** 2 + (y - sources.y[i]) ** 2 < reach**2
        known[i] = bool((stars.magnitude[there] < magnitude[i] + _BRIGHTENED).any())
    return known
