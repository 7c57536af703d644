"""A sky map cut into a telescope's fields, in the order in which they add most probability.

Fields stand in rings of declination, in each as many side by side as its lowest latitude needs, so that no gap is left
anywhere. Which to take is a weighted maximum coverage problem; taking what adds most is within 1 - 1/e of the best, and
in practice within some percent (Nemhauser et al. 1978, Math. Programming 14, 265; "lazy": Minoux 1978).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyros.alerts.skymaps.skymap import Floats, Integers, SkyMap
from pyros.errors import AlertError

Mask = Callable[[Floats, Floats], NDArray[np.bool_]]
"""Of right ascensions and declinations (ICRS degrees) those that may be observed."""
_SPLIT, _WIDE_SPLIT, _WIDE = 4, 8, 3.0
"""Cells across a field, across a wide one, and from how many degrees on it is wide: it has few of them."""
_REGION = 0.999
"""The share of the probability that is looked at: the rest may be most of the sky."""


class FieldOfView(NamedTuple):
    """A telescope's field of view."""

    width: float
    """Degrees along right ascension, at the declination of the field."""
    height: float
    """Degrees along declination."""
    overlap: float = 0.0
    """Degrees that neighbours share."""

    def check(self) -> None:
        """Raise AlertError for a field that cannot cover a sky."""
        if not (0.02 <= self.width <= 90 and 0.02 <= self.height <= 90):
            raise AlertError(f"a field of {self.width:g} by {self.height:g} degrees; 0.02 to 90 are possible")
        if not 0 <= self.overlap <= 0.5 * min(self.width, self.height):
            raise AlertError(f"an overlap of {self.overlap:g} degrees; 0 to half of the field is possible")


class Tile(NamedTuple):
    """One field of a map."""

    ra: float
    """Centre, ICRS degrees."""
    dec: float
    probability: float
    """Of the whole map, what lies in this field."""
    added: float
    """Of that, what lies in no field before."""


def make_tiles(
    skymap: SkyMap, field: FieldOfView, *, share: float = 0.9, limit: int = 1000, observable: Mask | None = None
) -> list[Tile]:
    """Return fields of a map, those that add most first, until they have ``share`` of what can be observed.

    ``observable`` tells which positions count; without it all do. At most ``limit`` fields are returned. Raises
    AlertError for a field that makes no sense.
    """
    field.check()
    total = float(
        skymap.probability.sum() if observable is None else skymap.probability[observable(*skymap.centres)].sum()
    )
    size = min(field.width, field.height)
    fine = skymap.split(size / (_WIDE_SPLIT if size >= _WIDE else _SPLIT), max(share, _REGION))
    ra, dec = fine.centres
    weight = fine.probability if observable is None else np.where(observable(ra, dec), fine.probability, 0.0)
    used = weight > 0
    if not used.any():
        return []
    ra, dec, weight = ra[used], dec[used], weight[used]
    grid = _Grid(field)
    names, owner, cells = grid.members(ra, dec)
    centres = np.array([grid.centre(int(name)) for name in names])
    if observable is not None:
        seen = observable(centres[:, 0], centres[:, 1])[owner]
        owner, cells = owner[seen], cells[seen]
    starts = np.searchsorted(owner, np.arange(len(names) + 1))
    whole = np.bincount(owner, weights=weight[cells], minlength=len(names))
    tiles: list[Tile] = []
    left, reached, goal = weight.copy(), 0.0, share * total
    heap = [(-value, index) for index, value in enumerate(whole.tolist()) if value > 0]
    heapq.heapify(heap)
    while heap and reached < goal and len(tiles) < limit:
        index = heap[0][1]
        inside = cells[starts[index] : starts[index + 1]]
        added = float(left[inside].sum())
        if added <= 0:
            heapq.heappop(heap)
        elif len(heap) == 1 or added >= -min(heap[1:3])[0] - 1e-15:
            heapq.heappop(heap)
            left[inside] = 0.0
            reached += added
            tiles.append(Tile(float(centres[index, 0]), float(centres[index, 1]), float(whole[index]), added))
        else:  # less than when it was last looked at, since others have taken of it
            heapq.heapreplace(heap, (-added, index))
    return tiles


class _Grid:
    """The fields that cover the sky, each with a number: ring * 2**32 + place in the ring."""

    def __init__(self, field: FieldOfView) -> None:
        self._half_width, self._half_height = field.width / 2, field.height / 2
        count = math.ceil((180.0 - field.overlap) / (field.height - field.overlap))
        self._step = 180.0 / count  # at most the height less the overlap, so that whole rings fit
        self._decs = -90.0 + self._step * (np.arange(count) + 0.5)
        lowest = np.maximum(0.0, np.abs(self._decs) - self._step / 2)
        around = 360.0 * np.cos(np.radians(lowest)) / (field.width - field.overlap)
        self._counts = np.maximum(1, np.ceil(around - 1e-9)).astype(np.int64)

    def centre(self, name: int) -> tuple[float, float]:
        ring, place = divmod(name, 1 << 32)
        return (place + 0.5) * 360.0 / float(self._counts[ring]) % 360.0, float(self._decs[ring])

    def members(self, ra: Floats, dec: Floats) -> tuple[Integers, Integers, Integers]:
        """Return the fields that hold any of the positions, and pairs: (index of a field, index of a position).

        The pairs are sorted by the fields.
        """
        own = np.clip(np.floor((dec + 90.0) / self._step).astype(np.int64), 0, len(self._decs) - 1)
        pairs_field: list[Integers] = []
        pairs_cell: list[Integers] = []
        for ring_step in (-1, 0, 1):
            ring = own + ring_step
            some = np.flatnonzero((ring >= 0) & (ring < len(self._decs)))
            some = some[np.abs(dec[some] - self._decs[ring[some]]) <= self._half_height]
            counts = self._counts[ring[some]]
            spacing = 360.0 / counts
            nearest = np.floor(ra[some] / spacing).astype(np.int64)
            for place_step in (-1, 0, 1):
                place = (nearest + place_step) % counts
                off = (ra[some] - (place + 0.5) * spacing + 180.0) % 360.0 - 180.0
                inside = np.abs(off) * np.cos(np.radians(dec[some])) <= self._half_width
                inside |= (place_step == 0) & (ring_step == 0)  # its own field: none is left out by rounding
                inside &= (place_step == 0) | (counts > 2)  # with one or two side by side the neighbours are itself
                pairs_field.append((ring[some[inside]] << 32) + place[inside])
                pairs_cell.append(some[inside])
        fields, cells = np.concatenate(pairs_field), np.concatenate(pairs_cell)
        names, owner = np.unique(fields, return_inverse=True)
        order = np.argsort(owner, kind="stable")
        return names, owner[order], cells[order]
