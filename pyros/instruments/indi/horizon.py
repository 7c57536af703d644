"""How high a target stands: not every mount behind INDI refuses one below the horizon."""

from __future__ import annotations

import math

import erfa

_UNIX_EPOCH = 2440587.5
_DAY = 86400.0
_TT_MINUS_UTC = 69.184  # seconds since 2017


def altitude(ra: float, dec: float, latitude: float, longitude: float, when: float) -> float:
    """Altitude of an apparent place of date, all in degrees, without refraction.

    Good to an arcminute: UT1 is taken as UTC. Sidereal time is SOFA's gst06a (IAU 2006/2000A).
    """
    day = when / _DAY
    sidereal = erfa.ufunc.gst06a(_UNIX_EPOCH, day, _UNIX_EPOCH, day + _TT_MINUS_UTC / _DAY)
    hour_angle = float(sidereal) + math.radians(longitude - ra)
    phi, delta = math.radians(latitude), math.radians(dec)
    return math.degrees(
        math.asin(math.sin(phi) * math.sin(delta) + math.cos(phi) * math.cos(delta) * math.cos(hour_angle))
    )
