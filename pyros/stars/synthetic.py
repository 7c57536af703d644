"""A synthetic sky, the same for every camera and every night.

Stars belong to cells of about one square degree, and each cell seeds its own: a field holds the same stars whatever
the pointing, across right ascension 0 and at the poles. Their cumulative number per square degree is
N(<m) = 10 x 10^(0.33 (m - 10)) between magnitudes 6 and 18: a round law for a field away from the Milky Way, flatter
than the 0.6 per magnitude of stars without end, as real counts are. This sky is for rehearsals; no star of it is real.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from pyros.stars.field import Stars, joined

FAINTEST, BRIGHTEST = 18.0, 6.0
_PER_DEGREE2_AT_10, _SLOPE = 10.0, 0.33
_SEED = 1
_BAND = 1.0  # degrees of declination
_BANDS = round(180 / _BAND)


def stars_near(ra: float, dec: float, radius: float) -> Stars:
    """Return all stars of the cells that a circle (degrees) touches, so some beyond it too."""
    south, north = max(-90.0, dec - radius), min(90.0, dec + radius)
    first, last = (min(_BANDS - 1, int((edge + 90) / _BAND)) for edge in (south, north))
    width = 180.0  # half of the right ascensions the circle covers: all of them when a pole is inside
    if abs(dec) + radius < 90:
        width = math.degrees(math.asin(math.sin(math.radians(radius)) / math.cos(math.radians(dec))))
    found = []
    for band in range(first, last + 1):
        cells = _cells(band)
        begin = math.floor((ra - width) / 360 * cells)
        end = math.floor((ra + width) / 360 * cells)
        found += [_stars_of(band, cell % cells, cells) for cell in range(begin, min(end, begin + cells - 1) + 1)]
    return joined(found)


def _cells(band: int) -> int:
    """Return how many cells a band of declination is cut into, so that they are about square."""
    return max(1, round(360 / _BAND * math.cos(math.radians((band + 0.5) * _BAND - 90))))


@lru_cache(maxsize=64)
def _stars_of(band: int, cell: int, cells: int) -> Stars:
    random = np.random.default_rng((_SEED, band, cell))
    south, north = (math.sin(math.radians((band + edge) * _BAND - 90)) for edge in (0, 1))
    area = math.degrees(math.degrees((north - south) * 2 * math.pi / cells))
    brightest, faintest = (10 ** (_SLOPE * (m - 10)) for m in (BRIGHTEST, FAINTEST))
    count = random.poisson(area * _PER_DEGREE2_AT_10 * (faintest - brightest))
    ra = (cell + random.random(count)) * (360 / cells)
    dec = np.degrees(np.arcsin(random.uniform(south, north, count)))
    magnitude = 10 + np.log10(random.uniform(brightest, faintest, count)) / _SLOPE
    return Stars(ra, dec, magnitude)
