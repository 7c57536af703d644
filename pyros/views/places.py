"""The part of the sky that a list is asked for: a cone, an event's sky map, a multi-order coverage (MOC)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pyros.alerts import events as table
from pyros.angles import separations
from pyros.errors import AlertError
from pyros.views.observed import Observed

if TYPE_CHECKING:  # numpy
    from pyros.alerts.archive.region import SkyRegion

DEFAULT_SHARE = 0.9
MAX_MAP_BYTES = 32 << 20
"""Of a sky map's file: multi-order ones have 1 to 10 million; a larger one would take seconds, and much memory."""


class PartOfSky(msgspec.Struct, frozen=True):
    """A part of the sky: what lies in all that is given."""

    cone: tuple[float, float, float] | None = None
    """Right ascension, declination and radius, ICRS degrees."""
    region: SkyRegion | None = None
    """A region of cells."""

    @property
    def is_everywhere(self) -> bool:
        """Whether it is the whole sky, and what has no position."""
        return self.cone is None and self.region is None

    @property
    def share(self) -> float:
        """The share of the whole sky that it has, or more, 0 to 1."""
        share = 1.0 if self.region is None else self.region.share
        return share if self.cone is None else min(share, (1 - math.cos(math.radians(self.cone[2]))) / 2)

    def are_within(self, ra: Sequence[float], dec: Sequence[float]) -> list[bool]:
        """Tell which ICRS positions, in degrees, lie in it."""
        import numpy as np  # noqa: PLC0415  slow to load

        from pyros.alerts.archive import healpix  # noqa: PLC0415

        inside = np.ones(len(ra), dtype=bool)
        if self.cone is not None:
            inside &= separations(np.array(ra), np.array(dec), *self.cone[:2]) <= self.cone[2]
        if self.region is not None:
            inside &= self.region.has(healpix.cells(np.array(ra), np.array(dec)))
        return [bool(each) for each in inside]


def part_of_sky(
    observed: Observed, ra: float | None = None, dec: float | None = None, radius: float | None = None,
    sky_map: str = "", share: float | None = None, moc: str = "",
) -> PartOfSky:  # fmt: skip
    """Return the part of the sky that is asked for.

    Args:
        observed: the observatory.
        ra: with ``dec`` and ``radius`` a cone, ICRS degrees.
        dec: its declination.
        radius: its radius.
        sky_map: an event's name: the smallest region of its sky map that has ``share`` of the probability.
        share: above 0, at most 1; None for 0.9.
        moc: a region as a MOC in ASCII, such as ``5/10-13 20 8/4500``.

    Raises:
        ValueError: it makes no sense, or the event has no map here.
    """
    if sky_map and moc:
        raise ValueError("one of sky_map and moc can be asked for, not both")
    if share is not None and not (sky_map and 0 < share <= 1):
        raise ValueError("share goes with sky_map, above 0 and at most 1")
    cone = _cone(ra, dec, radius)
    if moc:
        from pyros.alerts.archive.region import SkyRegion  # noqa: PLC0415

        return PartOfSky(cone, SkyRegion.of_moc(moc))
    return PartOfSky(cone, _region(observed, sky_map, DEFAULT_SHARE if share is None else share) if sky_map else None)


def _cone(ra: float | None, dec: float | None, radius: float | None) -> tuple[float, float, float] | None:
    if ra is None and dec is None and radius is None:
        return None
    if ra is None or dec is None or radius is None:
        raise ValueError("ra, dec and radius go together, degrees")
    if not (0 <= ra <= 360 and -90 <= dec <= 90 and 0 <= radius <= 180):
        raise ValueError("a cone has a ra of 0 to 360, a dec of -90 to 90 and a radius of 0 to 180 degrees")
    return ra % 360, dec, radius


def _region(observed: Observed, event: str, share: float) -> SkyRegion:
    """Return the region of an event's map that counts."""
    from pyros.areas.work import MAPS_FOLDER  # noqa: PLC0415  numpy and the planner

    stored = None
    with observed.journal("alert_manager") as journal:
        stored = table.with_packet(journal, event) if journal is not None else None
    if stored is None:
        raise ValueError(f"sky_map: there is no event {event[:80]!r}")
    tiling = stored.followed.tiling
    if tiling is None or not tiling.file:
        raise ValueError(f"sky_map: no sky map of {event[:80]!r} was read")
    return _of_file(observed.config.data / MAPS_FOLDER / tiling.file, share)


@lru_cache(maxsize=8)
def _of_file(path: Path, share: float) -> SkyRegion:
    """Return the region of a map's file, which never changes; some tens of milliseconds."""
    from pyros.alerts.archive.region import SkyRegion  # noqa: PLC0415
    from pyros.alerts.skymaps import read_skymap  # noqa: PLC0415

    try:
        if path.stat().st_size > MAX_MAP_BYTES:
            raise ValueError(f"sky_map: its file has more than {MAX_MAP_BYTES >> 20} MB; give its region as a moc")
        skymap = read_skymap(path.read_bytes())
    except (OSError, AlertError) as error:
        raise ValueError(f"sky_map: its map cannot be read: {getattr(error, 'strerror', None) or error}") from None
    inside = skymap.region(share)
    return SkyRegion.of_cells(skymap.level[inside], skymap.cell[inside])
