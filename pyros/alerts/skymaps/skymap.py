"""A sky map in memory: probabilities of HEALPix cells of any sizes, and what they say together.

HEALPix: Gorski et al. 2005, ApJ 622, 759. Plain numpy; for any thread, but slow enough (tens of milliseconds) to
belong into a worker process.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_SKY = 360.0**2 / math.pi
"""The whole sky in square degrees."""


def healpix() -> Any:
    """Return astropy-healpix's functions; they take half a second to load, so that only who has a map loads them."""
    from astropy_healpix import core  # noqa: PLC0415

    return core


def cell_radius(level: int) -> float:
    """Return how far the corners of a level's cells are from their centres at most, degrees.

    That is the distance of (z = 2/3, phi = pi/4 nside) and (z = 1 - (1 - 1/nside)**2 / 3, phi = 0): Gorski et al. 2005.
    """
    nside = 2**level
    one, other, turn = 2 / 3, 1 - (1 - 1 / nside) ** 2 / 3, math.pi / (4 * nside)
    cosine = one * other + math.sqrt((1 - one**2) * (1 - other**2)) * math.cos(turn)
    return math.degrees(math.acos(min(1.0, cosine)))


class SkyMap:
    """Where an event probably is: HEALPix cells (nested) of mixed levels, each with its probability.

    The cells don't overlap, and their probabilities sum to 1. Arrays have one element a cell and are not to be changed.
    """

    def __init__(
        self,
        level: Integers,
        cell: Integers,
        probability: Floats,
        *,
        distance: tuple[float, float] | None = None,
        along: tuple[Floats, Floats, Floats] | None = None,
    ) -> None:
        """Take cells by their level (0 to 29) and nested number, and their probabilities.

        Where the map has them, ``distance`` is the mean luminosity distance and its standard deviation in Mpc, and
        ``along`` for each cell DISTMU, DISTSIGMA (Mpc) and DISTNORM (1/Mpc**2) of the distances along its line of
        sight, norm * r**2 * N(r; mu, sigma) (Singer et al. 2016, ApJ 829, L15).
        """
        self.level, self.cell, self.probability = level, cell, probability
        self.distance, self.along = distance, along

    @cached_property
    def areas(self) -> Floats:
        """Areas of the cells in square degrees."""
        return np.asarray(_SKY / 12 / 4.0**self.level, dtype=np.float64)

    @cached_property
    def centres(self) -> tuple[Floats, Floats]:
        """Right ascension and declination of the cells' centres, ICRS degrees."""
        ra, dec = np.empty(len(self.cell)), np.empty(len(self.cell))
        for level in np.unique(self.level):
            some = self.level == level
            lon, lat = healpix().healpix_to_lonlat(self.cell[some], 2 ** int(level), order="nested")
            ra[some], dec[some] = lon.deg, lat.deg
        return ra, dec

    @cached_property
    def by_density(self) -> Integers:
        """Indices of the cells, the densest first."""
        order: Integers = np.argsort(-self.probability / self.areas, kind="stable")
        return order

    def area(self, share: float) -> float:
        """Return the area in square degrees of the smallest region that has this share of the probability (0 to 1).

        Of the cell in which the share is reached only the part counts that is needed.
        """
        sums = np.cumsum(self.probability[self.by_density])
        areas = np.cumsum(self.areas[self.by_density])
        return float(np.interp(share * sums[-1], np.append(0.0, sums), np.append(0.0, areas)))

    def region(self, share: float) -> NDArray[np.bool_]:
        """Return which cells belong to the smallest region of whole cells that has this share of the probability."""
        sums = np.cumsum(self.probability[self.by_density])
        count = int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12))) + 1
        inside = np.zeros(len(self.cell), dtype=bool)
        inside[self.by_density[:count]] = True
        return inside

    @property
    def most_probable(self) -> tuple[float, float]:
        """ICRS position of the centre of the densest cell, degrees."""
        ra, dec = self.centres
        index = self.by_density[0]
        return float(ra[index]), float(dec[index])

    def split(self, size: float, share: float) -> SkyMap:
        """Return the region of that share of the probability, its cells no larger than about ``size`` degrees.

        A cell that is split shares its probability out evenly.
        """
        inside = self.region(share)
        level, cell, probability = self.level[inside], self.cell[inside], self.probability[inside]
        finest = min(29, max(0, math.ceil(math.log2(math.sqrt(_SKY / 12) / size))))
        parts: list[tuple[Integers, Integers, Floats]] = []
        for each in np.unique(level):
            some = level == each
            more = max(0, finest - int(each))
            count = 4**more
            children = (cell[some, None] * count + np.arange(count)).ravel()
            parts.append((np.full(len(children), each + more), children, np.repeat(probability[some] / count, count)))
        levels, cells, probabilities = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return SkyMap(levels, cells, probabilities, distance=self.distance)
