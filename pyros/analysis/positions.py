"""Where an image really looks: its sources matched to a catalogue, and world coordinates corrected by that.

A mount is off by arcseconds or minutes, while scale and rotation are known: so the shift is the one on which most pairs
of source and star agree, and then six coefficients of a linear map are fitted to the pairs. An image whose rotation
or place is unknown needs a plate solver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from pyros.analysis.sources import Floats, Sources
from pyros.stars import Stars

FARTHEST = 0.15
"""Degrees by which a header's pointing may be wrong for the shift to be found."""
_BRIGHTEST = 80  # sources and stars that vote for a shift
_MATCHED = 1500  # sources, the brightest, that are matched: more add nothing but time
MIN_PAIRS = 6
_SHARE = 0.3  # of the sources in the catalogue's reach that must have their star
_ROUNDS = 4


@dataclass(frozen=True)
class Match:
    """World coordinates that fit the stars, and the pairs: indices of sources, and of the catalogue's stars."""

    wcs: WCS
    """World coordinates that fit the stars."""
    sources: NDArray[np.int64]
    """Indices of the sources."""
    stars: NDArray[np.int64]
    """Indices of the catalogue's stars, in the same order."""
    rms: float
    """Arcseconds, of all pairs' distances."""


def world(header: fits.Header) -> WCS | None:
    """Return the world coordinates that a header gives, or None."""
    try:
        found = WCS(header, fix=False, naxis=2)
    except Exception:  # wcslib has a dozen errors, and each means the same here
        return None
    return found if found.has_celestial else None


def centre_and_radius(wcs: WCS, shape: tuple[int, ...]) -> tuple[float, float, float]:
    """Return the image's centre, ICRS degrees, and how far its corners are from it, degrees."""
    height, width = shape
    ra, dec = wcs.all_pix2world([[(width - 1) / 2, (height - 1) / 2]], 0)[0]
    scale = pixel_scale(wcs)
    return float(ra) % 360, float(dec), float(np.hypot(width, height)) / 2 * scale / 3600


def pixel_scale(wcs: WCS) -> float:
    """Return arcseconds per pixel."""
    return float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * 3600


def to_pixels(wcs: WCS, stars: Stars) -> tuple[Floats, Floats]:
    """Return the stars' pixels in the image; NaN for those on the other side of the sky."""
    if len(stars) == 0:
        return np.empty(0), np.empty(0)
    x, y = wcs.wcs_world2pix(np.column_stack([stars.ra, stars.dec]), 0).T
    return x, y


def match(wcs: WCS, sources: Sources, stars: Stars, fwhm: float, shape: tuple[int, ...]) -> Match | None:
    """Fit the world coordinates to the stars; None when sources and stars don't agree on any shift."""
    x, y = to_pixels(wcs, stars)
    margin = FARTHEST * 3600 / pixel_scale(wcs)
    near = (x > -margin) & (x < shape[1] + margin) & (y > -margin) & (y < shape[0] + margin)
    known = np.flatnonzero(near)
    known = known[np.argsort(stars.magnitude[known], kind="stable")]
    if len(sources) < MIN_PAIRS or len(known) < MIN_PAIRS:
        return None
    sources = sources.chosen(slice(0, _MATCHED))
    known = known[: int(2 * _MATCHED * _larger(shape, margin))]
    shift = _shift(sources, x[known], y[known], margin, max(2.0, fwhm), shape)
    if shift is None:
        return None
    fitted = _moved(wcs, *shift)
    tolerance = max(3.0, 1.5 * fwhm)
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    for step in range(_ROUNDS):
        pairs = _pairs(fitted, sources, stars, known, tolerance)
        if len(pairs[0]) < MIN_PAIRS:
            return None
        fitted = _fit(fitted, sources, stars, pairs)
        tolerance = max(1.0, 0.7 * fwhm) if step else max(2.0, fwhm)
    assert pairs is not None
    inside = _in_reach(fitted, stars.chosen(known), shape)
    if len(pairs[0]) < _SHARE * min(len(sources), inside):
        return None
    px, py = to_pixels(fitted, stars.chosen(pairs[1]))
    off = np.hypot(px - sources.x[pairs[0]], py - sources.y[pairs[0]])
    return Match(fitted, *pairs, float(np.sqrt(np.mean(off**2))) * pixel_scale(fitted))


def _shift(
    sources: Sources, x: Floats, y: Floats, margin: float, cell: float, shape: tuple[int, ...]
) -> tuple[float, float] | None:
    """Find the shift of the stars' places (pixels) that most pairs of bright source and bright star agree on."""
    # The stars stand on a larger area than the sources: as many times more of them are as bright.
    bright, chosen = slice(0, _BRIGHTEST), slice(0, int(1.3 * _BRIGHTEST * _larger(shape, margin)))
    dx = (sources.x[bright, None] - x[None, chosen]).ravel()
    dy = (sources.y[bright, None] - y[None, chosen]).ravel()
    ok = np.hypot(dx, dy) < margin
    dx, dy = dx[ok], dy[ok]
    if not len(dx):
        return None
    # Cells twice as wide as the accuracy, counted with their neighbours: the true shift may lie on a border.
    column, row = (np.floor((d + margin) / cell).astype(np.int64) for d in (dx, dy))
    wide = int(np.ceil(2 * margin / cell)) + 3
    votes = np.bincount((row + 1) * wide + column + 1, minlength=wide * wide).reshape(wide, -1)[:wide, :wide]
    summed = sum(np.roll(np.roll(votes, i, 0), j, 1) for i in (-1, 0, 1) for j in (-1, 0, 1))
    best = np.unravel_index(int(np.argmax(summed)), votes.shape)
    near = (np.abs(row + 1 - best[0]) <= 1) & (np.abs(column + 1 - best[1]) <= 1)
    chance = len(dx) * 9 * cell**2 / (np.pi * margin**2)
    if near.sum() < max(MIN_PAIRS - 1, chance + 5 * np.sqrt(chance)):
        return None
    return float(np.median(dx[near])), float(np.median(dy[near]))


def _larger(shape: tuple[int, ...], margin: float) -> float:
    """Return how many times larger than the image the area is on which stars are looked for."""
    return (shape[0] + 2 * margin) * (shape[1] + 2 * margin) / (shape[0] * shape[1])


def _moved(wcs: WCS, dx: float, dy: float) -> WCS:
    moved = _linear(wcs)
    moved.wcs.crpix = moved.wcs.crpix + np.array([dx, dy])
    moved.wcs.set()
    return moved


def _linear(wcs: WCS) -> WCS:
    """Make a copy as a plain TAN projection with a CD matrix."""
    copy = WCS(naxis=2)
    copy.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    copy.wcs.cunit = ["deg", "deg"]
    copy.wcs.radesys = "ICRS"
    copy.wcs.crval = wcs.wcs.crval
    copy.wcs.crpix = wcs.wcs.crpix
    copy.wcs.cd = wcs.pixel_scale_matrix
    copy.wcs.lonpole = 180.0
    copy.wcs.set()
    return copy


def _pairs(
    wcs: WCS, sources: Sources, stars: Stars, known: NDArray[np.int64], tolerance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair each source with its nearest star within so many pixels, where it is that star's brightest source there."""
    x, y = to_pixels(wcs, stars.chosen(known))
    which, distance = nearest(sources.x, sources.y, x, y)
    paired = np.flatnonzero(distance < tolerance)
    _, first = np.unique(which[paired], return_index=True)  # sources stand in the order of their brightness
    paired = np.sort(paired[first])
    return paired, known[which[paired]]


def nearest(x: Floats, y: Floats, among_x: Floats, among_y: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Find each point's nearest one among others, and how far that is; in blocks, which bounds memory."""
    index = np.zeros(len(x), dtype=np.int64)
    distance = np.full(len(x), np.inf)
    if not len(among_x):
        return index, distance
    block = max(1, 4_000_000 // len(among_x))
    for begin in range(0, len(x), block):
        part = slice(begin, begin + block)
        square = (x[part, None] - among_x) ** 2 + (y[part, None] - among_y) ** 2
        square = np.where(np.isfinite(square), square, np.inf)
        index[part] = square.argmin(axis=1)
        distance[part] = np.sqrt(square.min(axis=1))
    return index, distance


def _in_reach(wcs: WCS, stars: Stars, shape: tuple[int, ...]) -> int:
    x, y = to_pixels(wcs, stars)
    return int(((x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])).sum())


def _fit(wcs: WCS, sources: Sources, stars: Stars, pairs: tuple[NDArray[np.int64], NDArray[np.int64]]) -> WCS:
    """Fit the pairs' places in the projection's plane to their pixels by least squares, six coefficients.

    The plane's coordinates are wcslib's for the present reference point, and the new one is that point moved by the
    two constants.
    """
    fitted = _linear(wcs)
    chosen = stars.chosen(pairs[1])
    # Pixels from 1: with 0, astropy takes one off these degrees, too.
    plane: Any = fitted.wcs.s2p(np.column_stack([chosen.ra, chosen.dec]), 1)["imgcrd"]
    dx = sources.x[pairs[0]] + 1 - fitted.wcs.crpix[0]
    dy = sources.y[pairs[0]] + 1 - fitted.wcs.crpix[1]
    terms = [dx, dy, np.ones_like(dx)]
    if len(dx) < 12:  # too few to tell scale and rotation from noise: the shift only
        linear = np.column_stack([dx, dy]) @ fitted.wcs.cd.T
        constant = np.median(plane - linear, axis=0)
        cd = fitted.wcs.cd
    else:
        solution, *_ = np.linalg.lstsq(np.column_stack(terms), plane, rcond=None)
        cd, constant = solution[:2].T, solution[2]
    # The reference pixel now sees the point of the plane called ``constant``: make that the reference point.
    crpix = fitted.wcs.crpix
    offset = np.linalg.solve(fitted.wcs.cd, constant)
    ra, dec = fitted.wcs_pix2world([crpix + offset], 1)[0]
    fitted.wcs.crval = [ra, dec]
    fitted.wcs.cd = cd
    fitted.wcs.set()
    return fitted
