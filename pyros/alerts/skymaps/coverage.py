"""What observed fields cover of a sky map: the probability in them, and the region as a multi-order coverage (MOC).

MOC: IVOA Recommendation 2.0 (2022-07-27), section 4.3.1: a binary table of one column of NUNIQ numbers. Plain numpy
and astropy; for any thread.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pyros.alerts.skymaps.skymap import Floats, Integers, SkyMap, healpix

MOC_LEVEL = 10
"""The finest cells of a MOC, 3.4 arcminutes: coarser ones where a field is so wide that there would be too many."""
_ACROSS = 64
"""Cells of a MOC across the smallest field, at most."""
_SPLIT = 8
"""Cells across the smallest field, for the probability."""


class Rectangle(Protocol):
    """A field of the sky, upright at its declination."""

    @property
    def ra(self) -> float:
        """Centre, ICRS degrees."""

    @property
    def dec(self) -> float:
        """Declination of the centre, degrees."""

    @property
    def width(self) -> float:
        """Degrees along right ascension."""

    @property
    def height(self) -> float:
        """Degrees along declination."""


def inside_any(fields: Sequence[Rectangle], ra: Floats, dec: Floats) -> NDArray[np.bool_]:
    """Tell which ICRS positions (degrees) lie in at least one of the fields, by the projection that tiles use."""
    inside = np.zeros(len(ra), dtype=bool)
    order = np.argsort(dec, kind="stable")
    sorted_dec = dec[order]
    for each in fields:
        low, high = np.searchsorted(sorted_dec, (each.dec - each.height / 2, each.dec + each.height / 2))
        near = order[low:high]
        off = (ra[near] - each.ra + 180.0) % 360.0 - 180.0
        inside[near[np.abs(off) * np.cos(np.radians(dec[near])) <= each.width / 2]] = True
    return inside


def probability_in(skymap: SkyMap, fields: Sequence[Rectangle]) -> float:
    """Return the probability of a map that lies in at least one of the fields, 0 to 1."""
    if not fields:
        return 0.0
    fine = skymap.split(min(min(each.width, each.height) for each in fields) / _SPLIT, 0.9999)
    return float(fine.probability[inside_any(fields, *fine.centres)].sum())


def moc_of(fields: Sequence[Rectangle]) -> tuple[Integers, Integers]:
    """Return levels and nested numbers of the HEALPix cells whose centres lie in the fields, merged where whole."""
    if not fields:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    smallest = min(min(each.width, each.height) for each in fields)
    level = MOC_LEVEL
    while level > 4 and smallest / (58.6 / 2**level) > _ACROSS:
        level -= 1
    cells = np.unique(np.concatenate([_cells(each, level) for each in fields]))
    kept: list[tuple[Integers, Integers]] = []
    while level >= 0 and len(cells):
        parents, counts = np.unique(cells >> 2, return_counts=True)
        whole = parents[counts == 4] if level > 0 else parents[:0]
        stays = cells[~np.isin(cells >> 2, whole)]
        kept.append((np.full(len(stays), level, dtype=np.int64), stays))
        cells, level = whole, level - 1
    return np.concatenate([each for each, _ in kept]), np.concatenate([each for _, each in kept])


def _cells(field: Rectangle, level: int) -> Integers:
    """Return the cells of a level whose centres lie in a field."""
    from astropy import units  # noqa: PLC0415  slow to load

    radius = min(180.0, np.hypot(field.width, field.height) / 2 + 58.6 / 2**level)
    near = healpix().healpix_cone_search(
        field.ra * units.deg, field.dec * units.deg, radius * units.deg, 2**level, order="nested"
    )
    near = np.asarray(near, dtype=np.int64)
    lon, lat = healpix().healpix_to_lonlat(near, 2**level, order="nested")
    return np.asarray(near[inside_any([field], lon.deg, lat.deg)], dtype=np.int64)


def write_moc(fields: Sequence[Rectangle], when: float, comments: Iterable[str] = ()) -> bytes:
    """Return the fields as the FITS file of a MOC; ``when`` it is written, Unix seconds."""
    from astropy.io import fits  # noqa: PLC0415  slow to load

    level, cell = moc_of(fields)
    uniq = np.sort(cell + 4 * 4**level)
    table = fits.BinTableHDU.from_columns([fits.Column("UNIQ", "K", array=uniq)])
    header = {
        "MOCVERS": "2.0", "MOCDIM": "SPACE", "ORDERING": "NUNIQ", "COORDSYS": "C", "MOCTOOL": "PYROS",
        "MOCORD_S": int(level.max()) if len(level) else 0, "MOCTYPE": "IMAGE",
        "DATE": datetime.fromtimestamp(round(when), UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    }  # fmt: skip
    table.header.update(header)
    for each in comments:
        table.header.add_comment(each.encode("ascii", "replace").decode())
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    return stream.getvalue()
