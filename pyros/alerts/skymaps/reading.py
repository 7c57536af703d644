"""FITS files of sky maps to `SkyMap`: multi-order and flat, as LIGO/Virgo/KAGRA, Fermi GBM and IceCube write them.

LVK's user guide, section "Working with Sky Maps" (UNIQ and PROBDENSITY), and the HEALPix FITS conventions (ORDERING,
INDXSCHM, NSIDE; https://healpix.sourceforge.io). Old LALInference maps have 1,024 pixels a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyros.alerts.skymaps.skymap import Floats, Integers, SkyMap, healpix
from pyros.alerts.skymaps.unpacking import COLUMNS, unpacked_table
from pyros.errors import AlertError

MAX_LEVEL = 29
FINEST_FLAT = 10
"""The level (3.4 arcminutes) to which finer flat maps are made coarser while they are read."""
PIECE_CELLS = 1 << 20
"""So many cells of a flat map are read at a time."""
_MERGED = 1e-6
"""Four cells that have less probability together become one."""
_TOLERANCE = 0.1
"""How far the sum of the probabilities may be from 1: GBM's maps are rounded."""


def read_skymap(data: bytes) -> SkyMap:
    """Read a sky map from a FITS file's bytes, also compressed by gzip.

    Raises:
        AlertError: it is no FITS file, has no table of HEALPix probabilities, or one that makes no sense; one line.
    """
    from astropy.io import fits  # noqa: PLC0415  slow to load

    try:
        return _read(fits.BinTableHDU.fromstring(unpacked_table(data)))
    except AlertError:
        raise
    except Exception as error:  # astropy raises whatever the damage leads to
        raise AlertError(f"no sky map: {type(error).__name__}: {' '.join(str(error).split())[:150]}") from None


def _column(table: Any) -> str:
    names = {name.upper(): name for name in table.columns.names}
    return next((names[name] for name in COLUMNS if name in names), "")


def _read(table: Any) -> SkyMap:
    header, name = table.header, _column(table)
    frame = str(header.get("COORDSYS", "C")).strip().upper()[:20]
    if frame not in {"C", "EQ", "EQUATORIAL", "CEL", "CELESTIAL", "ICRS", ""}:
        raise AlertError(f"a sky map in COORDSYS {frame!r}; celestial ones are read")
    names = {each.upper(): each for each in table.columns.names}
    if _is_too_fine(table, names, name):
        level, cell, values = _merged(FINEST_FLAT, *_coarse(table, name), is_density=name.upper() == "PROBDENSITY")
        return _finished(header, level, cell, values, None, is_density=name.upper() == "PROBDENSITY")
    values = _values(table.data[name])
    along = _along(table, names, len(values))
    if "UNIQ" in names:
        level, cell = _of_uniq(np.asarray(table.data[names["UNIQ"]], dtype=np.int64).ravel())
    else:
        level, cell = _of_nside(table, names, len(values))
        order = np.argsort(cell, kind="stable")
        cell, values = cell[order], values[order]
        if along is not None and level[0] <= FINEST_FLAT:
            along = along[0][order], along[1][order], along[2][order]
        else:
            level, cell, values = _merged(int(level[0]), cell, values, is_density=name.upper() == "PROBDENSITY")
            along = None
    return _finished(header, level, cell, values, along, is_density=name.upper() == "PROBDENSITY")


def _finished(
    header: Any,
    level: Integers,
    cell: Integers,
    values: Floats,
    along: tuple[Floats, Floats, Floats] | None,
    *,
    is_density: bool,
) -> SkyMap:
    _check_apart(level, cell)
    areas = 4 * np.pi / 12 / 4.0**level
    probability = values * areas if is_density else values
    total = float(probability.sum())
    if not 1 - _TOLERANCE <= total <= 1 + _TOLERANCE:
        raise AlertError(f"the probabilities of the sky map sum to {total:.3g}, not to 1")
    return SkyMap(level, cell, probability / total, distance=_distance(header), along=along)


def _values(column: Any) -> Floats:
    values = np.asarray(column, dtype=np.float64).ravel()
    values = np.where(np.isfinite(values), values, 0.0)
    if values.size == 0 or values.min() < 0:
        raise AlertError("the sky map is empty, or has negative probabilities")
    return values


def _is_too_fine(table: Any, names: dict[str, str], name: str) -> bool:
    """Whether this is a flat map of the whole sky that is read coarser."""
    size = table.data[name].size
    if {"UNIQ", "PIXEL"} & names.keys() or size <= 12 * 4**FINEST_FLAT or table.header.get("FIRSTPIX"):
        return False
    return bool(size == 12 * _nside(table.header, size) ** 2)


def _coarse(table: Any, name: str) -> tuple[Integers, Floats]:
    """Sum the values of a flat map of the whole sky up to cells of `FINEST_FLAT`, by and by: it may have 50 million."""
    column, nside = table.data[name], _nside(table.header, table.data[name].size)
    shift = 2 * (nside.bit_length() - 1 - FINEST_FLAT)
    sums, first = np.zeros(12 * 4**FINEST_FLAT), 0
    step = max(1, PIECE_CELLS * len(column) // column.size)
    for begin in range(0, len(column), step):
        values = _values(column[begin : begin + step])
        cell = _nested(table.header, np.arange(first, first + len(values), dtype=np.int64), nside)
        np.add.at(sums, cell >> shift, values)
        first += len(values)
    sums /= 4 ** (shift // 2) if name.upper() == "PROBDENSITY" else 1
    return np.arange(len(sums), dtype=np.int64), sums


def _along(table: Any, names: dict[str, str], count: int) -> tuple[Floats, Floats, Floats] | None:
    """Return what is known of the distances along each cell's line of sight; a sigma of 0 says nothing."""
    if not {"DISTMU", "DISTSIGMA", "DISTNORM"} <= names.keys():
        return None
    columns = (
        np.asarray(table.data[names[each]], dtype=np.float64).ravel() for each in ("DISTMU", "DISTSIGMA", "DISTNORM")
    )
    mu, sigma, norm = columns
    if not len(mu) == len(sigma) == len(norm) == count:
        raise AlertError("the sky map has distances for other cells than probabilities")
    good = np.isfinite(mu) & np.isfinite(sigma) & np.isfinite(norm) & (sigma > 0) & (norm > 0)
    return np.where(good, mu, 0.0), np.where(good, sigma, 1.0), np.where(good, norm, 0.0)


def _of_uniq(numbers: Integers) -> tuple[Integers, Integers]:
    """Take levels and nested numbers out of NUNIQ's numbers, 4 * 4**level + cell."""
    if numbers.min() < 4:
        raise AlertError(f"UNIQ {numbers.min()} is no HEALPix cell")
    level, cell = (np.asarray(array, dtype=np.int64) for array in healpix().uniq_to_level_ipix(numbers))
    if level.max() > MAX_LEVEL or (cell >= 12 * 4**level).any():
        raise AlertError("the sky map has a UNIQ that is no HEALPix cell")
    return level, cell


def _of_nside(table: Any, names: dict[str, str], count: int) -> tuple[Integers, Integers]:
    """Return level and nested number of each row of a map whose cells have one size."""
    header = table.header
    nside = _nside(header, count)
    if "PIXEL" in names:
        cell = np.asarray(table.data[names["PIXEL"]], dtype=np.int64).ravel()
    else:
        cell = np.arange(count, dtype=np.int64) + int(header.get("FIRSTPIX", 0))
    if len(cell) != count or cell.min() < 0 or cell.max() >= 12 * nside**2:
        raise AlertError(f"the sky map has cells that NSIDE {nside} has not")
    return np.full(count, nside.bit_length() - 1, dtype=np.int64), _nested(header, cell, nside)


def _nside(header: Any, count: int) -> int:
    nside = int(header.get("NSIDE", 0)) or round((count / 12) ** 0.5)
    level = nside.bit_length() - 1
    if nside < 1 or nside != 1 << level or level > MAX_LEVEL:
        raise AlertError(f"NSIDE {nside} of the sky map is no power of 2 up to 2**{MAX_LEVEL}")
    return nside


def _nested(header: Any, cell: Integers, nside: int) -> Integers:
    ordering = str(header.get("ORDERING", "")).strip().upper()
    if ordering == "RING":
        return np.asarray(healpix().ring_to_nested(cell, nside), dtype=np.int64)
    if ordering not in {"NESTED", "NEST"}:
        raise AlertError(f"ORDERING {ordering[:20]!r} of the sky map; RING, NESTED and NUNIQ are read")
    return cell


def _merged(level: int, cell: Integers, values: Floats, is_density: bool) -> tuple[Integers, Integers, Floats]:
    """Merge four cells into one, again and again, where the map is too fine or they have next to no probability."""
    kept: list[tuple[Integers, Integers, Floats]] = []
    unit = np.pi / 3 / 4.0**level if is_density else 1.0
    while level > 0 and len(cell):
        first = cell >> 2
        starts = np.flatnonzero(np.append(True, first[1:] != first[:-1]))
        sizes = np.diff(np.append(starts, len(cell)))
        sums = np.add.reduceat(values, starts)
        merges = (sizes == 4) & ((sums * unit < _MERGED) | (level > FINEST_FLAT))
        stays = ~np.repeat(merges, sizes)
        kept.append((np.full(int(stays.sum()), level, dtype=np.int64), cell[stays], values[stays]))
        cell = first[starts[merges]]
        values = sums[merges] / 4 if is_density else sums[merges]
        unit *= 4 if is_density else 1
        level -= 1
    kept.append((np.full(len(cell), level, dtype=np.int64), cell, values))
    levels, cells, merged = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
    return levels, cells, merged


def _check_apart(level: Integers, cell: Integers) -> None:
    """Raise AlertError where two cells overlap: their probability would count twice."""
    shift = 2 * (MAX_LEVEL - level)
    first = cell << shift
    order = np.argsort(first, kind="stable")
    ends = (first + (np.int64(1) << shift))[order]
    if (first[order][1:] < ends[:-1]).any():
        raise AlertError("cells of the sky map overlap")


def _distance(header: Any) -> tuple[float, float] | None:
    mean, deviation = header.get("DISTMEAN"), header.get("DISTSTD")
    if not isinstance(mean, float) or not isinstance(deviation, float) or not (mean > 0 and deviation > 0):
        return None
    return mean, deviation
