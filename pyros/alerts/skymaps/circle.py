"""A sky map of a position and its error: what is told as a circle wider than a field is observed as a map is."""

from __future__ import annotations

import io
import math

import numpy as np

from pyros.alerts.skymaps.skymap import healpix
from pyros.angles import separations

_CELLS_ACROSS = 6.0
"""Cells to a standard deviation."""
_OUT_TO = 4.0
"""Standard deviations that the map goes out to: 0.03 % lie beyond."""
_LEVELS = (3, 10)
_CONTAINMENTS = (0.3, 0.99)
"""Others are believed to be one of these."""


def circle_map(ra: float, dec: float, radius: float, containment: float) -> bytes:
    """Return a multi-order map, as a FITS file, of a Gaussian of which ``containment`` lies within the radius.

    All angles are ICRS degrees.
    """
    from astropy import units  # noqa: PLC0415  slow to load
    from astropy.io import fits  # noqa: PLC0415

    share = min(max(containment, _CONTAINMENTS[0]), _CONTAINMENTS[1])
    sigma = radius / math.sqrt(-2.0 * math.log(1.0 - share))
    level = math.ceil(math.log2(math.degrees(math.sqrt(math.pi / 3)) / (sigma / _CELLS_ACROSS)))
    nside = 2 ** min(max(level, _LEVELS[0]), _LEVELS[1])
    out_to = min(_OUT_TO * sigma, 180.0) * units.deg
    cells = healpix().healpix_cone_search(ra * units.deg, dec * units.deg, out_to, nside, order="nested")
    lon, lat = healpix().healpix_to_lonlat(cells, nside, order="nested")
    density = np.exp(-0.5 * (separations(lon.to_value(units.deg), lat.to_value(units.deg), ra, dec) / sigma) ** 2)
    density /= density.sum() * math.pi / 3 / nside**2
    columns = [
        fits.Column("UNIQ", "K", array=4 * nside**2 + np.asarray(cells, dtype=np.int64)),
        fits.Column("PROBDENSITY", "D", array=density),
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["ORDERING"] = "NUNIQ"
    stream = io.BytesIO()
    table.writeto(stream)
    return stream.getvalue()
