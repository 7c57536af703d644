"""How high a target stands: not every mount refuses one below the horizon, and so the drivers do."""

from __future__ import annotations

import math

import erfa

from pyros.angles import SECONDS_PER_DAY, TT_MINUS_UTC, UNIX_EPOCH_JD
from pyros.errors import DeviceRefused
from pyros.instruments.drivers.coordinates import apparent_of_icrs


def altitude(ra: float, dec: float, latitude: float, longitude: float, when: float) -> float:
    """Altitude of an apparent place of date, all in degrees, without refraction.

    Good to an arcminute: UT1 is taken as UTC. Sidereal time is SOFA's gst06a (IAU 2006/2000A).
    """
    day = when / SECONDS_PER_DAY
    sidereal = erfa.ufunc.gst06a(UNIX_EPOCH_JD, day, UNIX_EPOCH_JD, day + TT_MINUS_UTC / SECONDS_PER_DAY)
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
