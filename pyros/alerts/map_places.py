"""Where a sky map puts an event, in so few points that an agent can hold a position against it in passing.

A worker that reads a map makes a `MapPlace` of it (`pyros.alerts.skymaps.place_of`); the map itself stays there. Plain
functions, for any thread.
"""

from __future__ import annotations

import math

import msgspec

from pyros.angles import separation

SKY = 360.0**2 / math.pi
"""The whole sky in square degrees."""


class MapPlace(msgspec.Struct, frozen=True, array_like=True):
    """The smallest region with 99 % of a map's probability, as the surroundings of points."""

    points: tuple[tuple[float, float, float], ...]
    """ICRS right ascension and declination in degrees, and the share of the probability (0 to 1) that lies where the
    map is at least as dense as about this point."""
    radius: float
    """Degrees about each point that belong to the region."""
    area: float
    """Square degrees of the region."""

    @property
    def densest(self) -> tuple[float, float]:
        """Return the point about which the map is densest, ICRS degrees."""
        ra, dec, _ = min(self.points, key=lambda each: each[2])
        return ra, dec

    def share_at(self, ra: float, dec: float, radius: float) -> float | None:
        """Return the share of the smallest region that comes within ``radius`` of a position, all in degrees.

        None where even that of 99 % doesn't.
        """
        near = radius + self.radius
        return min((share for lon, lat, share in self.points if separation(lon, lat, ra, dec) <= near), default=None)

    def share_with(self, other: MapPlace) -> float | None:
        """Return the share at which the smallest regions of both maps touch; None where those of 99 % don't."""
        shares = (
            max(share, found)
            for ra, dec, share in self.points
            if (found := other.share_at(ra, dec, self.radius)) is not None
        )
        return min(shares, default=None)

    def chance(self, area: float) -> float:
        """Return which share of the sky a circle's centre has to hit so that the circle, of that area, touches this."""
        return min(1.0, (math.sqrt(self.area) + math.sqrt(area)) ** 2 / SKY)
