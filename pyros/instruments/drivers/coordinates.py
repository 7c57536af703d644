"""From ICRS to the apparent place of date and back: what mounts call JNow.

The true equator and equinox of date, with precession and nutation (IAU 2006/2000A), annual aberration and the Sun's
deflection of light, as seen from the Earth's centre: SOFA's apci13, atciqz and aticq through pyerfa, with right
ascensions counted from the equinox by the equation of the origins ("SOFA Astrometry Tools", section 2). Diurnal
aberration, at most 0.3 arcseconds, and refraction are left out. It is not FK5 of the equinox of date, 20 to 30
arcseconds away.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import erfa

from pyros.angles import SECONDS_PER_DAY, TT_MINUS_UTC, UNIX_EPOCH_JD

_SAME_SECONDS = 60.0
"""Within which one place of the Earth is taken for another: less than 0.0003 arcseconds."""


def apparent_of_icrs(ra: float, dec: float, unix: float) -> tuple[float, float]:
    """Apparent right ascension and declination in degrees of an ICRS position, at Unix seconds."""
    frame, origin = _frame(unix // _SAME_SECONDS)
    place = erfa.ufunc.atciqz(math.radians(ra), math.radians(dec), frame)
    return math.degrees(float(place[0] - origin)) % 360, math.degrees(float(place[1]))


def icrs_of_apparent(ra: float, dec: float, unix: float) -> tuple[float, float]:
    """ICRS right ascension and declination in degrees of an apparent place, at Unix seconds."""
    frame, origin = _frame(unix // _SAME_SECONDS)
    place = erfa.ufunc.aticq(math.radians(ra) + origin, math.radians(dec), frame)
    return math.degrees(float(place[0])) % 360, math.degrees(float(place[1]))


@lru_cache(maxsize=8)
def _frame(number: float) -> tuple[Any, float]:
    """Return where the Earth is, what turns ICRS to the equator of date, and the equation of the origins, radians."""
    frame, origin = erfa.ufunc.apci13(UNIX_EPOCH_JD, ((number + 0.5) * _SAME_SECONDS + TT_MINUS_UTC) / SECONDS_PER_DAY)
    return frame, float(origin)
