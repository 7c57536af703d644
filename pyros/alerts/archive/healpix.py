"""Positions as numbers that an index can find: nested HEALPix cells, and the cells that a cone touches.

HEALPix: Gorski et al. 2005, ApJ 622, 759; in the nested scheme a cell of one level holds four consecutive cells of the
next one, so that a coarse cell is a range of fine ones. The cells are astropy-healpix's, which is loaded when the first
one is asked for: it takes half a second.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

LEVEL = 12
"""Cells of 0.86 arcminutes, 201 million of them."""
_CELL_0 = 58.6
"""The size of the twelve cells of level 0 in degrees. A cone is covered by cells of half its radius to its radius."""
_MIN_RADIUS = _CELL_0 / 2**LEVEL
"""Degrees: of smaller cones than a cell astropy-healpix misses cells that they touch, one cone of forty."""
_PAD = 1e-9
"""Degrees that rounding may take from a cone."""


def cell(ra: float, dec: float) -> int:
    """Return the nested cell of `LEVEL` that holds an ICRS position in degrees."""
    core, degrees = _library()
    return int(core.lonlat_to_healpix(ra * degrees, dec * degrees, 2**LEVEL, order="nested"))


def cells(ra: Any, dec: Any) -> Any:
    """Return the nested cells of `LEVEL` that hold ICRS positions in degrees: arrays, a number each."""
    core, degrees = _library()
    return core.lonlat_to_healpix(ra * degrees, dec * degrees, 2**LEVEL, order="nested")


def cone(ra: float, dec: float, radius: float) -> list[tuple[int, int]]:
    """Return ranges (first, last) of cells of `LEVEL` that hold all positions within ``radius`` of one, in degrees."""
    radius = max(radius, _MIN_RADIUS)
    if radius >= 60:
        return [(0, 12 * 4**LEVEL - 1)]
    core, degrees = _library()
    level = max(0, min(LEVEL, math.floor(math.log2(_CELL_0 / radius)) + 1))
    cells = core.healpix_cone_search(ra * degrees, dec * degrees, (radius + _PAD) * degrees, 2**level, order="nested")
    shift = 2 * (LEVEL - level)
    ranges: list[tuple[int, int]] = []
    for each in sorted(int(number) for number in cells):
        first, last = each << shift, ((each + 1) << shift) - 1
        if ranges and ranges[-1][1] + 1 == first:
            ranges[-1] = ranges[-1][0], last
        else:
            ranges.append((first, last))
    return ranges


@cache
def _library() -> tuple[Any, Any]:
    from astropy import units  # noqa: PLC0415  slow to load, and few processes need it
    from astropy_healpix import core  # noqa: PLC0415

    return core, units.deg
