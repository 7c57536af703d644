"""Stars as arrays, and the ones near a point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stars:
    """Right ascensions and declinations (ICRS degrees) and magnitudes, one array each of the same length."""

    ra: Floats
    dec: Floats
    magnitude: Floats

    def __len__(self) -> int:
        return len(self.ra)

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Stars:
        """Those of a mask, of indices, or of a slice."""
        return Stars(self.ra[which], self.dec[which], self.magnitude[which])

    def within(self, ra: float, dec: float, radius: float) -> Stars:
        """Those of a circle; all in degrees."""
        return self.chosen(separations(self.ra, self.dec, ra, dec) < radius)


NONE = Stars(np.empty(0), np.empty(0), np.empty(0))


def joined(parts: list[Stars]) -> Stars:
    """All of them, in order."""
    if not parts:
        return NONE
    return Stars(*(np.concatenate([getattr(stars, name) for stars in parts]) for name in ("ra", "dec", "magnitude")))


def separations(ra: Floats, dec: Floats, ra0: float, dec0: float) -> Floats:
    """Angles to one point, all in degrees, by the haversine formula, which is good for small angles."""
    half_ra, half_dec = np.radians(ra - ra0) / 2, np.radians(dec - dec0) / 2
    haversine = np.sin(half_dec) ** 2 + np.cos(np.radians(dec)) * np.cos(np.radians(dec0)) * np.sin(half_ra) ** 2
    angle: Floats = np.degrees(2 * np.arcsin(np.sqrt(np.minimum(1.0, haversine))))
    return angle
