"""How high a target stands: not every mount refuses one below the horizon, and so the drivers do."""

from __future__ import annotations

import math

import erfa

from pyros.errors import DeviceRefused
from pyros.instruments.drivers.coordinates import apparent_of_icrs

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


def refuse_below(
    ra: float, dec: float, latitude: float | None, longitude: float | None, when: float, name: str
) -> None:
    """Raise DeviceRefused (LIMIT) for an ICRS position below the horizon of that place; nothing for no place.

    A mount that knows no place says 0, 0: that is none.
    """
    if not latitude or longitude is None or not (math.isfinite(ra) and -90 <= dec <= 90):
        return
    height = altitude(*apparent_of_icrs(ra, dec, when), latitude, longitude, when)
    if height < 0:
        raise DeviceRefused("LIMIT", f"{name}: the target is at altitude {height:.1f} degrees")
