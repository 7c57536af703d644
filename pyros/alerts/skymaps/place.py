"""A sky map's region of 99 % as few points, to be held against positions where the map is not at hand."""

from __future__ import annotations

import numpy as np

from pyros.alerts.map_places import MapPlace
from pyros.alerts.skymaps.skymap import Floats, Integers, SkyMap, cell_radius, healpix

SHARE = 0.99
"""As positions are held against each other (`pyros.alerts.coincidences`)."""
MAX_POINTS = 1000
_FINEST = 9


def place_of(skymap: SkyMap) -> MapPlace:
    """Return a map's region of 99 % in the finest cells, of one size, of which `MAX_POINTS` suffice."""
    inside = np.flatnonzero(skymap.region(SHARE))
    level, cell = skymap.level[inside], skymap.cell[inside]
    shares = np.empty(len(skymap.cell))
    shares[skymap.by_density] = np.cumsum(skymap.probability[skymap.by_density])
    for finest in range(_FINEST, -1, -1):
        found = _in_cells(level, cell, shares[inside], finest)
        if found is not None:
            break
    assert found is not None, "level 0 has twelve cells"
    cells, least = found
    ra, dec = (each.deg for each in healpix().healpix_to_lonlat(cells, 2**finest, order="nested"))
    points = tuple(
        (round(float(lon), 4), round(float(lat), 4), round(float(share), 4))
        for lon, lat, share in zip(ra, dec, least, strict=True)
    )
    return MapPlace(points, cell_radius(finest), float(skymap.areas[inside].sum()))


def _in_cells(level: Integers, cell: Integers, shares: Floats, finest: int) -> tuple[Integers, Floats] | None:
    """Return the cells of a level that hold those of a region, and the least share in each; None for too many."""
    finer, coarser = np.maximum(0, finest - level), np.maximum(0, level - finest)
    spread = 4**finer
    if spread.sum() > 4 * MAX_POINTS + len(cell):
        return None
    starts = np.repeat((cell << 2 * finer) >> 2 * coarser, spread)
    numbers = starts + np.arange(len(starts)) - np.repeat(np.cumsum(spread) - spread, spread)
    cells, where = np.unique(numbers, return_inverse=True)
    if len(cells) > MAX_POINTS:
        return None
    least = np.ones(len(cells))
    np.minimum.at(least, where, np.repeat(shares, spread))
    return cells, least
