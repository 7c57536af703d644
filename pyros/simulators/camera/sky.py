"""What falls through a telescope onto the detector: stars, transients and the sky between them.

Images are gnomonic (TAN) projections (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3), east to the left of
north. Row 0 is the bottom row, as in FITS. For a pointing (ra0, dec0), ``width`` x ``height`` pixels of ``s`` degrees
and a camera turned by ``rotation`` r (the position angle of the image's upper side, from north through east), the
world coordinate system is exactly

    CTYPE1 = 'RA---TAN'         CTYPE2 = 'DEC--TAN'
    CRVAL1 = ra0                CRVAL2 = dec0
    CRPIX1 = (width + 1) / 2    CRPIX2 = (height + 1) / 2     (FITS counts pixel centres from 1)
    CD1_1 = -s cos r            CD1_2 = s sin r
    CD2_1 =  s sin r            CD2_2 = s cos r
    LONPOLE = 180               (the default everywhere but at dec0 = +90 exactly, where it would be 0)

Nothing here keeps state; any thread may call it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyros.simulators.celestial import Sky
from pyros.stars import Stars

Floats = NDArray[np.float64]
Electrons = NDArray[np.float32]

_WINGS = 6.0  # standard deviations of the point spread function that are drawn: 1.5e-8 of the peak is left out
_WIDEST = 12.0  # pixels of one standard deviation; a star blurred more than that is drawn so
_SUBPIXELS = (np.arange(5) - 2) / 5
_CHUNK = 1_000_000  # pixels of stars drawn at once, which bounds memory on wide fields
_FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, in standard deviations


@dataclass(frozen=True)
class Optics:
    """The telescope's image: pixels, arcseconds per pixel, degrees, arcseconds (FWHM), magnitude of 1 electron/s."""

    width: int
    height: int
    arcsec_per_pixel: float
    seeing: float
    zero_point: float
    rotation: float = 0.0

    @property
    def radius(self) -> float:
        """Degrees from the centre to a corner, and a little more for stars whose wings reach in."""
        reach = 2 * (_WINGS * _WIDEST + 2)
        return math.hypot(self.width + reach, self.height + reach) * self.arcsec_per_pixel / 7200


@dataclass(frozen=True)
class View:
    """What the shutter opens on."""

    pointing: Sky
    stars: Stars
    background: float
    """Electrons a second and pixel, before the filter."""
    throughput: float = 1.0
    """The filter's, by which everything is multiplied."""
    extinction: float = 0.0
    """The atmosphere's, magnitudes."""
    blur: float = 0.0
    """What widens the seeing, arcseconds FWHM, added in quadrature."""


def project(stars: Stars, centre: Sky, optics: Optics) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Columns and rows (pixel centres from 0, fractions kept), and which stars are on this side of the sky."""
    ra, dec = np.radians(stars.ra - centre.ra), np.radians(stars.dec)
    sin0, cos0 = math.sin(math.radians(centre.dec)), math.cos(math.radians(centre.dec))
    depth = sin0 * np.sin(dec) + cos0 * np.cos(dec) * np.cos(ra)
    front = depth > 0.1
    depth = np.where(front, depth, 1.0)
    scale = math.radians(optics.arcsec_per_pixel / 3600)
    east = np.cos(dec) * np.sin(ra) / depth / scale
    north = (cos0 * np.sin(dec) - sin0 * np.cos(dec) * np.cos(ra)) / depth / scale
    cos, sin = math.cos(math.radians(optics.rotation)), math.sin(math.radians(optics.rotation))
    right, up = -east * cos + north * sin, east * sin + north * cos
    return (optics.width - 1) / 2 + right, (optics.height - 1) / 2 + up, front


def electrons(optics: Optics, view: View, seconds: float) -> Electrons:
    """Return the mean electrons in each pixel, shape (height, width), before the detector adds its own."""
    image = np.full((optics.height, optics.width), view.background * view.throughput * seconds, dtype=np.float32)
    dimmed = view.throughput * 10 ** (-0.4 * view.extinction)
    if seconds > 0:
        _add_stars(image, optics, view, seconds * dimmed)
    return image


def _add_stars(image: Electrons, optics: Optics, view: View, exposure: float) -> None:
    fwhm = math.hypot(optics.seeing, view.blur)
    sigma = min(fwhm / _FWHM / optics.arcsec_per_pixel, max(_WIDEST, optics.seeing / _FWHM / optics.arcsec_per_pixel))
    reach = math.ceil(_WINGS * sigma) + 1
    column, row, visible = project(view.stars, view.pointing, optics)
    visible &= (column > -reach) & (column < optics.width - 1 + reach)
    visible &= (row > -reach) & (row < optics.height - 1 + reach)
    column, row = column[visible], row[visible]
    flux = exposure * 10 ** (0.4 * (optics.zero_point - view.stars.magnitude[visible]))

    pixels = np.arange(-reach, reach + 1)
    flat = image.reshape(-1)
    step = max(1, _CHUNK // len(pixels) ** 2)
    for begin in range(0, len(flux), step):
        part = slice(begin, begin + step)
        columns, across = _profile(column[part], pixels, sigma, optics.width)
        rows, along = _profile(row[part], pixels, sigma, optics.height)
        at = rows[:, :, None] * optics.width + columns[:, None, :]
        light = flux[part, None, None] * along[:, :, None] * across[:, None, :]
        np.add.at(flat, at.ravel(), light.ravel().astype(np.float32))


def _profile(centre: Floats, pixels: NDArray[np.int64], sigma: float, size: int) -> tuple[NDArray[np.int64], Floats]:
    """Along one axis: which pixels each star touches, and the share of its light in each (0 beyond the edge)."""
    at = np.rint(centre).astype(np.int64)[:, None] + pixels
    distance = at[:, :, None] + _SUBPIXELS - centre[:, None, None]
    share = np.exp(-0.5 * (distance / sigma) ** 2).sum(axis=2)
    share /= share.sum(axis=1, keepdims=True)
    inside = (at >= 0) & (at < size)
    return np.where(inside, at, 0), np.where(inside, share, 0.0)
