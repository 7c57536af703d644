"""From ICRS to the apparent place of date and back: what mounts call JNow.

The true equator and equinox of date, with precession and nutation (IAU 2006/2000A), annual aberration and the Sun's
deflection of light, as seen from the Earth's centre: SOFA's atci13 and atic13 through pyerfa, with right ascensions
counted from the equinox by the equation of the origins ("SOFA Astrometry Tools", section 2). Diurnal aberration, at
most 0.3 arcseconds, and refraction are left out. It is not FK5 of the equinox of date, 20 to 30 arcseconds away.
"""

from __future__ import annotations

import math

import erfa

from pyros.angles import SECONDS_PER_DAY, TT_MINUS_UTC, UNIX_EPOCH_JD


def apparent_of_icrs(ra: float, dec: float, unix: float) -> tuple[float, float]:
    """Apparent right ascension and declination in degrees of an ICRS position, at Unix seconds."""
    place = erfa.ufunc.atci13(math.radians(ra), math.radians(dec), 0, 0, 0, 0, *_date(unix))
    return math.degrees(float(place[0] - place[2])) % 360, math.degrees(float(place[1]))


def icrs_of_apparent(ra: float, dec: float, unix: float) -> tuple[float, float]:
    """ICRS right ascension and declination in degrees of an apparent place, at Unix seconds."""
    origin = erfa.eo06a(*_date(unix))
    place = erfa.ufunc.atic13(math.radians(ra) + origin, math.radians(dec), *_date(unix))
    return math.degrees(float(place[0])) % 360, math.degrees(float(place[1]))


def _date(unix: float) -> tuple[float, float]:
    return UNIX_EPOCH_JD, (unix + TT_MINUS_UTC) / SECONDS_PER_DAY
