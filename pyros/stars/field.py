"""Stars as arrays, and the ones near a point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyros.angles import Floats, separations


@dataclass(frozen=True)
class Stars:
    """Right ascensions and declinations (ICRS degrees) and magnitudes, one array each of the same length."""

    ra: Floats
    """Right ascensions, ICRS degrees."""
    dec: Floats
    """Declinations, ICRS degrees."""
    magnitude: Floats
    """Magnitudes."""

    def __len__(self) -> int:
        return len(self.ra)

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Stars:
        """Return the stars of a mask, of indices, or of a slice."""
        return Stars(self.ra[which], self.dec[which], self.magnitude[which])

    def within(self, ra: float, dec: float, radius: float) -> Stars:
        """Return the stars within a circle; all in degrees."""
        return self.chosen(separations(self.ra, self.dec, ra, dec) < radius)


NONE = Stars(np.empty(0), np.empty(0), np.empty(0))


def joined(parts: list[Stars]) -> Stars:
    """Join stars in the order of the list."""
    if not parts:
        return NONE
    return Stars(*(np.concatenate([getattr(stars, name) for stars in parts]) for name in ("ra", "dec", "magnitude")))
