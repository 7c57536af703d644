"""Regions of the sky in which positions and images are looked for: of a sky map, or a multi-order coverage (MOC).

A region is ranges of nested HEALPix cells of `healpix.LEVEL`, which the indexes of the archive and of the images know;
of finer cells it has the whole cell that they lie in. MOC: IVOA Recommendation 2.0 (2022-07-27), its ASCII form. Numpy
and astropy-healpix; for any thread.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pyros.alerts.archive import healpix
from pyros.alerts.skymaps.skymap import Floats, Integers, cell_radius
from pyros.alerts.skymaps.skymap import healpix as healpix_library

MAX_LEVEL = 29
MAX_RANGES = 20_000
"""Of a MOC."""
_CELLS = 12 * 4**healpix.LEVEL
_SIZE = 58.6
"""Degrees, of a cell of level 0. What is within half a cell's size of a cell lies in that cell or in one beside it."""
_MAX_RIM = 3_000
"""Cells of the rim against which images are held."""
_MAX_CELLS = 50_000
"""Of one size, into which a region is cut to find its rim: some tens of milliseconds."""
_PART = re.compile(r"(?:(\d{1,2})/)?(?:(\d{1,19})(?:-(\d{1,19}))?)?")


class SkyRegion:
    """A part of the sky; not changed once it is made."""

    def __init__(self, first: Integers, last: Integers) -> None:
        """Take ranges of cells of `healpix.LEVEL`, in any order; they may overlap."""
        order = np.argsort(first, kind="stable")
        first, last = first[order], np.maximum.accumulate(last[order])
        begins = np.ones(len(first), dtype=bool)
        begins[1:] = first[1:] > last[:-1] + 1
        self.first: Integers = first[begins]
        self.last: Integers = last[np.roll(begins, -1)]

    @classmethod
    def of_cells(cls, level: Integers, cell: Integers, last: Integers | None = None) -> SkyRegion:
        """Return the region of nested cells of any levels, or of ranges of cells that end with the cells ``last``."""
        finer, coarser = 2 * np.maximum(0, healpix.LEVEL - level), 2 * np.maximum(0, level - healpix.LEVEL)
        end = cell if last is None else last
        return cls((cell << finer) >> coarser, (((end + 1) << finer) - 1) >> coarser)

    @classmethod
    def of_moc(cls, text: str) -> SkyRegion:
        """Return the region of a MOC in ASCII, such as ``5/10-13 20 8/4500``; raises ValueError for anything else."""
        level = -1
        ranges: list[tuple[int, int, int]] = []
        for part in text.removeprefix("s").replace(",", " ").split():
            match = _PART.fullmatch(part)
            level = int(match[1]) if match is not None and match[1] else level
            if match is None or not 0 <= level <= MAX_LEVEL:
                raise ValueError(f"moc: {part[:40]!r} is not of a MOC in ASCII, such as 5/10-13 20 8/4500")
            if match[2]:
                begin, end = int(match[2]), int(match[3] or match[2])
                if not begin <= end < 12 * 4**level:
                    raise ValueError(f"moc: {part[:40]!r} is no cell of order {level}")
                ranges.append((level, begin, end))
        if not 1 <= len(ranges) <= MAX_RANGES:
            raise ValueError(f"moc: it has {len(ranges)} ranges of cells; there are 1 to {MAX_RANGES}")
        levels, begins, ends = (np.array(each, dtype=np.int64) for each in zip(*ranges, strict=True))
        return cls.of_cells(levels, begins, ends)

    @cached_property
    def share(self) -> float:
        """The share of the whole sky that it has, 0 to 1."""
        return float((self.last - self.first + 1).sum() / _CELLS)

    def has(self, cells: Integers) -> NDArray[np.bool_]:
        """Tell which of these cells of `healpix.LEVEL` belong to it; none that is below 0."""
        index = np.searchsorted(self.first, cells, side="right") - 1
        inside: NDArray[np.bool_] = (index >= 0) & (cells <= self.last[np.maximum(index, 0)])
        return inside

    def has_cell(self, cell: int) -> bool:
        """Tell whether a cell of `healpix.LEVEL` belongs to it."""
        index = bisect_right(self._first, cell) - 1
        return index >= 0 and cell <= self._last[index]

    @cached_property
    def _first(self) -> list[int]:
        return list(map(int, self.first))

    @cached_property
    def _last(self) -> list[int]:
        return list(map(int, self.last))

    def covering(self, most: int) -> list[tuple[int, int]]:
        """Return at most so many ranges that together have all of it; where that is too few, some more of the sky."""
        gaps = self.first[1:] - self.last[:-1]
        kept = np.sort(np.argsort(-gaps, kind="stable")[: most - 1])
        first = np.append(self.first[:1], self.first[1:][kept])
        last = np.append(self.last[:-1][kept], self.last[-1:])
        return list(zip(first.tolist(), last.tolist(), strict=True))

    def around(self, radius: float) -> SkyRegion:
        """Return a region that has all that comes within so many degrees of this one, and more."""
        level = min(self._finest(_MAX_CELLS // 8), math.floor(math.log2(_SIZE / max(2 * radius, 1e-9))))
        if level < 0:
            return SkyRegion(np.array([0]), np.array([_CELLS - 1]))
        cells = self._cells(level)
        near = np.unique(np.append(cells, _beside(cells, level)))
        near = near[near >= 0]
        return SkyRegion.of_cells(np.full(len(near), level, dtype=np.int64), near)

    def touches(self, cells: Integers, vectors: Floats, radii: Floats) -> NDArray[np.bool_]:
        """Tell which circles come into it.

        Args:
            cells: of the circles' centres, of `healpix.LEVEL`.
            vectors: unit vectors to the centres, a row each.
            radii: degrees.
        """
        touches = self.has(cells)
        rim, size = self._rim
        for begin in range(0, len(cells), 1000):
            left = begin + np.flatnonzero(~touches[begin : begin + 1000])
            if len(left):
                limit = np.cos(np.radians(np.minimum(180.0, radii[left] + size)))
                touches[left] = (vectors[left] @ rim.T).max(axis=1) >= limit
        return touches

    def _cells(self, level: int) -> Integers:
        """Return the cells of a level that have some of it."""
        shift = 2 * (healpix.LEVEL - level)
        first, last = self.first >> shift, self.last >> shift
        counts = last - first + 1
        numbers = np.repeat(first - np.append(0, np.cumsum(counts)[:-1]), counts) + np.arange(int(counts.sum()))
        return np.unique(numbers)

    def _finest(self, most: int) -> int:
        """Return the finest level of which it has at most so many cells."""
        return next((level for level in range(healpix.LEVEL, 0, -1) if self._count(level) <= most), 0)

    def _count(self, level: int) -> int:
        shift = 2 * (healpix.LEVEL - level)
        return int(((self.last >> shift) - (self.first >> shift) + 1).sum())

    @cached_property
    def _rim(self) -> tuple[Floats, float]:
        """Vectors to the centres of the cells at its rim, of the finest level with few enough, and their reach."""
        for level in range(self._finest(_MAX_CELLS), -1, -1):
            cells = self._cells(level)
            inside = np.isin(_beside(cells, level), cells).reshape(8, -1)
            rim = cells[~inside.all(axis=0)] if level > 0 else cells
            if len(rim) <= _MAX_RIM:
                break
        lon, lat = (np.radians(each) for each in _centres(rim, level))
        vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
        return vectors, cell_radius(level)


def _beside(cells: Integers, level: int) -> Integers:
    """Return the eight cells beside each, one after the other; -1 where there are only seven."""
    with np.errstate(invalid="ignore"):
        return np.asarray(healpix_library().neighbours(cells, 2**level, order="nested"), dtype=np.int64).ravel()


def _centres(cells: Integers, level: int) -> tuple[Floats, Floats]:
    """Return right ascension and declination of cells' centres, ICRS degrees."""
    lon, lat = healpix_library().healpix_to_lonlat(cells, 2**level, order="nested")
    return lon.deg, lat.deg
