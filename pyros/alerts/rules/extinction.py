"""How much the dust of the Galaxy dims what lies beyond it: a mean law by latitude alone.

A_V = 0.165 (1.192 - |tan b|) |csc b| magnitudes below 50 degrees of Galactic latitude, and 0 above (Bahcall and Soneira
1980, ApJS 44, 73, equation 8, after Sandage 1972). It knows no clouds: beside the map of Schlegel, Finkbeiner and Davis
it is right to a factor of two at most places above 10 degrees, and not at all within 5 degrees of the plane, where it
only says that it is much. That map has 64 MB and is not shipped.
"""

from __future__ import annotations

import math

from pyros.alerts.formats import values

_DUSTLESS = 50.0
_THINNEST = 0.5
"""Degrees of latitude below which nothing more is said than that it is much."""


def extinction(ra: float, dec: float) -> float:
    """Return the mean visual extinction A_V, magnitudes, of what lies beyond the Galaxy, at an ICRS position."""
    latitude = max(_THINNEST, abs(values.galactic_latitude(ra, dec)))
    if latitude >= _DUSTLESS:
        return 0.0
    b = math.radians(latitude)
    return max(0.0, 0.165 * (1.192 - math.tan(b)) / math.sin(b))
