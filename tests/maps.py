"""Build sky maps, and alerts that carry them."""

from __future__ import annotations

import base64
import io
import json
import math

import numpy as np
from astropy.io import fits
from astropy_healpix import core

from pyros.angles import separations

LEVEL = 5


def drawn_map(ra: float, dec: float, width: float = 8.0, distance: float | None = None) -> bytes:
    """Draw a Gaussian of ``width`` degrees about a place, with a distance (Mpc) along every line of sight if given."""
    cells = np.arange(12 * 4**LEVEL)
    lon, lat = core.healpix_to_lonlat(cells, 2**LEVEL, order="nested")
    density = np.exp(-(separations(lon.deg, lat.deg, ra, dec) ** 2) / (2 * width**2))
    density /= density.sum() * math.pi / 3 / 4**LEVEL
    columns = [
        fits.Column("UNIQ", "K", array=core.level_ipix_to_uniq(LEVEL, cells)),
        fits.Column("PROBDENSITY", "D", array=density),
    ]
    if distance is not None:
        for name, value in (("DISTMU", distance), ("DISTSIGMA", distance / 5), ("DISTNORM", 1 / distance**2)):
            columns.append(fits.Column(name, "D", array=np.full(len(cells), value)))
    table = fits.BinTableHDU.from_columns(columns)
    table.header["ORDERING"] = "NUNIQ"
    if distance is not None:
        table.header["DISTMEAN"], table.header["DISTSTD"] = distance, distance / 5
    stream = io.BytesIO()
    table.writeto(stream)
    return stream.getvalue()


def gw_alert(kind: str, minute: int, skymap: bytes | None, name: str = "S260320a") -> bytes:
    """Write an igwn.gwalert notice; a retraction has no event."""
    event = None if skymap is None else {
        "time": "2026-03-20T23:00:00.000Z", "far": 1e-10, "significant": True, "instruments": ["H1", "L1"],
        "group": "CBC", "pipeline": "gstlal", "search": "AllSky",
        "classification": {"BNS": 0.9, "NSBH": 0.05, "BBH": 0.0, "Terrestrial": 0.05},
        "properties": {"HasNS": 1.0}, "skymap": base64.b64encode(skymap).decode(),
    }  # fmt: skip
    notice = {
        "alert_type": kind, "time_created": f"2026-03-20T23:{minute:02}:00Z", "superevent_id": name,
        "urls": {"gracedb": f"https://gracedb.ligo.org/superevents/{name}/view/"}, "event": event,
        "external_coinc": None,
    }  # fmt: skip
    return json.dumps(notice).encode()
