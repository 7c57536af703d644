"""Angles on the sky and days of the Julian calendar: what every room calculates in the same way.

All angles are in degrees unless the name says arcseconds. Plain functions, for any thread. The simulators have their
own (``pyros/simulators/celestial.py``): shared formulas would hide a mistake in them.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

SECONDS_PER_DAY = 86_400.0
UNIX_EPOCH_JD = 2_440_587.5
"""Julian date of 1970-01-01."""
UNIX_EPOCH_MJD = 40_587.0
TT_MINUS_UTC = 69.184
"""Seconds since 2017. A second more moves the Sun by 0.04 arcseconds and a star by less than a microarcsecond."""

Floats = NDArray[np.float64]
_Angle = TypeVar("_Angle", float, Floats)


def wrapped(angle: _Angle) -> _Angle:
    """Return the same direction as an angle from -180 to below 180 degrees: the shorter way around."""
    return (angle + 180.0) % 360.0 - 180.0


def turn_between(one: float, other: float) -> float:
    """Return the angle between two azimuths or right ascensions the shorter way, 0 to 180 degrees."""
    return abs(wrapped(one - other))


def separation(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Return the angle between two positions in degrees, by the haversine formula, which is good for small angles."""
    phi1, phi2 = math.radians(dec1), math.radians(dec2)
    haversine = math.sin((phi2 - phi1) / 2) ** 2
    haversine += math.cos(phi1) * math.cos(phi2) * math.sin(math.radians(ra2 - ra1) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(haversine))))


def separation_arcsec(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Return the `separation` of two positions in arcseconds."""
    return separation(ra1, dec1, ra2, dec2) * 3600


def separations(ra: Floats, dec: Floats, ra0: float, dec0: float) -> Floats:
    """Return the `separation` of each of many positions from one, in degrees."""
    half_ra, half_dec = np.radians(ra - ra0) / 2, np.radians(dec - dec0) / 2
    haversine = np.sin(half_dec) ** 2 + np.cos(np.radians(dec)) * np.cos(np.radians(dec0)) * np.sin(half_ra) ** 2
    angle: Floats = np.degrees(2 * np.arcsin(np.sqrt(np.minimum(1.0, haversine))))
    return angle


def mjd_of_unix(seconds: float) -> float:
    """Return the modified Julian date of Unix seconds, both UTC."""
    return seconds / SECONDS_PER_DAY + UNIX_EPOCH_MJD


def unix_of_mjd(mjd: float) -> float:
    """Return the Unix seconds of a modified Julian date, both UTC."""
    return (mjd - UNIX_EPOCH_MJD) * SECONDS_PER_DAY
