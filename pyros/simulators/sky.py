"""A synthetic sky, the same for every camera and every night, and the images of it.

Stars belong to cells of about one square degree, and each cell seeds its own: a field holds the same stars whatever
the pointing, across right ascension 0 and at the poles. Their cumulative number per square degree is
N(<m) = 10 x 10^(0.33 (m - 10)) between magnitudes 6 and 18: a round law for a field away from the Milky Way, flatter
than the 0.6 per magnitude of stars without end, as real counts are. This sky is for rehearsals; no catalogue knows it.

Images are gnomonic (TAN) projections (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3) with north up and
east to the left. Row 0 is the bottom row, as in FITS. For a pointing (ra0, dec0), ``width`` x ``height`` pixels of
``s`` degrees, the world coordinate system is exactly

    CTYPE1 = 'RA---TAN'         CTYPE2 = 'DEC--TAN'
    CRVAL1 = ra0                CRVAL2 = dec0
    CRPIX1 = (width + 1) / 2    CRPIX2 = (height + 1) / 2     (FITS counts pixel centres from 1)
    CD1_1 = -s   CD1_2 = 0      CD2_1 = 0   CD2_2 = s
    LONPOLE = 180               (the default everywhere but at dec0 = +90 exactly, where it would be 0)

Nothing here keeps state; any thread may call it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyros.simulators.celestial import Sky

Floats = NDArray[np.float64]

FAINTEST, BRIGHTEST = 18.0, 6.0
_PER_DEGREE2_AT_10, _SLOPE = 10.0, 0.33
_SEED = 1
_BAND = 1.0  # degrees of declination
_BANDS = round(180 / _BAND)
_WINGS = 6.0  # standard deviations of the point spread function that are drawn: 1.5e-8 of the peak is left out
_SUBPIXELS = (np.arange(5) - 2) / 5
_CHUNK = 2_000_000  # pixels of stars drawn at once, which bounds memory on wide fields
_FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, in standard deviations


@dataclass(frozen=True)
class Stars:
    """Right ascensions and declinations (ICRS degrees) and magnitudes, one array each of the same length."""

    ra: Floats
    dec: Floats
    magnitude: Floats


@dataclass(frozen=True)
class Optics:
    """What turns the sky into numbers: see CameraSettings for the units."""

    width: int
    height: int
    arcsec_per_pixel: float
    seeing: float
    zero_point: float
    gain: float
    read_noise: float
    bias: int
    saturation: int
    dark_current: float
    sky_background: float


def stars_near(centre: Sky, radius: float) -> Stars:
    """All stars of the cells that a circle of this radius (degrees) touches, so some beyond it too."""
    south, north = max(-90.0, centre.dec - radius), min(90.0, centre.dec + radius)
    first, last = (min(_BANDS - 1, int((dec + 90) / _BAND)) for dec in (south, north))
    width = 180.0  # half of the right ascensions the circle covers: all of them when a pole is inside
    if abs(centre.dec) + radius < 90:
        width = math.degrees(math.asin(math.sin(math.radians(radius)) / math.cos(math.radians(centre.dec))))
    found = []
    for band in range(first, last + 1):
        cells = _cells(band)
        begin = math.floor((centre.ra - width) / 360 * cells)
        end = math.floor((centre.ra + width) / 360 * cells)
        found += [_stars_of(band, cell % cells, cells) for cell in range(begin, min(end, begin + cells - 1) + 1)]
    return Stars(*(np.concatenate([stars[i] for stars in found]) for i in range(3)))


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
    return (optics.width - 1) / 2 - east, (optics.height - 1) / 2 + north, front


def render(
    optics: Optics, pointing: Sky | None, seconds: float, throughput: float, seed: tuple[int, ...]
) -> NDArray[np.uint16]:
    """One exposure: an array of shape (height, width) in ADU; row 0 is the bottom.

    ``throughput`` is the filter's (0 to 1). Without a pointing the image is dark: bias, dark current and noise only.
    The same arguments give the same image; ``seed`` is that of the noise.
    """
    electrons = np.full((optics.height, optics.width), optics.dark_current * seconds, dtype=np.float64)
    if pointing is not None:
        electrons += optics.sky_background * optics.gain * throughput * seconds
        _add_stars(electrons, optics, pointing, seconds * throughput)
    noise = np.random.default_rng(seed)
    signal = noise.poisson(np.minimum(electrons, 1e9)) + optics.read_noise * noise.standard_normal(electrons.shape)
    adu = np.rint(optics.bias + signal / optics.gain)
    image: NDArray[np.uint16] = np.clip(adu, 0, optics.saturation).astype("<u2")
    return image


def _add_stars(electrons: Floats, optics: Optics, pointing: Sky, exposure: float) -> None:
    sigma = optics.seeing / _FWHM / optics.arcsec_per_pixel  # pixels
    reach = math.ceil(_WINGS * sigma) + 1
    diagonal = math.hypot(optics.width + 2 * reach, optics.height + 2 * reach) * optics.arcsec_per_pixel / 3600
    stars = stars_near(pointing, diagonal / 2)
    column, row, visible = project(stars, pointing, optics)
    visible &= (column > -reach) & (column < optics.width - 1 + reach)
    visible &= (row > -reach) & (row < optics.height - 1 + reach)
    column, row = column[visible], row[visible]
    flux = exposure * 10 ** (0.4 * (optics.zero_point - stars.magnitude[visible]))

    pixels = np.arange(-reach, reach + 1)
    flat = electrons.reshape(-1)
    step = max(1, _CHUNK // len(pixels) ** 2)
    for begin in range(0, len(flux), step):
        part = slice(begin, begin + step)
        columns, across = _profile(column[part], pixels, sigma, optics.width)
        rows, along = _profile(row[part], pixels, sigma, optics.height)
        at = rows[:, :, None] * optics.width + columns[:, None, :]
        light = flux[part, None, None] * along[:, :, None] * across[:, None, :]
        flat += np.bincount(at.ravel(), light.ravel(), minlength=flat.size)


def _profile(centre: Floats, pixels: NDArray[np.int64], sigma: float, size: int) -> tuple[NDArray[np.int64], Floats]:
    """Along one axis: which pixels each star touches, and the share of its light in each (0 beyond the edge)."""
    at = np.rint(centre).astype(np.int64)[:, None] + pixels
    distance = at[:, :, None] + _SUBPIXELS - centre[:, None, None]
    share = np.exp(-0.5 * (distance / sigma) ** 2).sum(axis=2)
    share /= share.sum(axis=1, keepdims=True)
    inside = (at >= 0) & (at < size)
    return np.where(inside, at, 0), np.where(inside, share, 0.0)


def _cells(band: int) -> int:
    """How many cells a band of declination is cut into, so that they are about square."""
    return max(1, round(360 / _BAND * math.cos(math.radians((band + 0.5) * _BAND - 90))))


def _stars_of(band: int, cell: int, cells: int) -> tuple[Floats, Floats, Floats]:
    random = np.random.default_rng((_SEED, band, cell))
    south, north = (math.sin(math.radians((band + edge) * _BAND - 90)) for edge in (0, 1))
    area = math.degrees(math.degrees((north - south) * 2 * math.pi / cells))
    brightest, faintest = (10 ** (_SLOPE * (m - 10)) for m in (BRIGHTEST, FAINTEST))
    count = random.poisson(area * _PER_DEGREE2_AT_10 * (faintest - brightest))
    ra = (cell + random.random(count)) * (360 / cells)
    dec = np.degrees(np.arcsin(random.uniform(south, north, count)))
    magnitude = 10 + np.log10(random.uniform(brightest, faintest, count)) / _SLOPE
    return ra, dec, magnitude
