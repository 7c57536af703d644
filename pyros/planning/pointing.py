"""Where the telescope may point: above the site's horizon and, while it isn't night, never near the Sun.

How a mount gets from one place to another is its own affair. Three ways are looked at: the great circle, both axes of
an equatorial mount at the same speed, and both axes of an alt-azimuth mount; none may pass through the Sun's cone.
"""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np

from pyros.angles import Floats, separation, separations, wrapped
from pyros.planning.visibility import altitude_azimuth, sun, sun_altitude
from pyros.site import Site

_STEP_DEGREES = 1.0
"""Distance between two looked-at points of a way."""
_ROUNDING_DEGREES = 0.5
"""How much nearer to the Sun a way out of the cone may come."""


def reason_refused(
    site: Site,
    ra: float,
    dec: float,
    when: datetime,
    *,
    origin: tuple[float, float] | None = None,
    margin: float = 0.0,
    horizon: bool = True,
) -> str:
    """Tell why the telescope must not point at an ICRS position (degrees) at that time; '' when it may.

    ``origin`` is where it points now (ICRS degrees): then the ways from there count, too. ``margin`` is kept beside the
    horizon and the Sun's cone, degrees. ``horizon=False`` leaves the horizon out. Any thread.
    """
    altitude, azimuth = altitude_azimuth(site, ra, dec, when)
    lowest = site.horizon_at(azimuth) + margin
    if horizon and altitude < lowest:
        return f"altitude {altitude:.1f}° at azimuth {azimuth:.0f}°, the horizon there is at {lowest:.1f}°"
    height = sun_altitude(site, when)
    if height < site.twilight or not site.sun_exclusion:
        return ""
    cone = site.sun_exclusion + margin
    there = sun(when)
    distance = separation(ra, dec, *there)
    if distance < cone:
        return f"{distance:.1f}° from the Sun, which is at {height:+.1f}°; the limit is {cone:g}°"
    if origin is None:
        return ""
    start = separation(*origin, *there)
    nearest = _nearest_to_sun(site, origin, (ra, dec), there, when)
    if nearest < min(cone, start - _ROUNDING_DEGREES):
        return f"the way there passes {nearest:.1f}° from the Sun, which is at {height:+.1f}°; the limit is {cone:g}°"
    return ""


def _nearest_to_sun(
    site: Site, origin: tuple[float, float], target: tuple[float, float], there: tuple[float, float], when: datetime
) -> float:
    """Return the least distance from the Sun in degrees on any of the three ways."""

    def above(place: tuple[float, float]) -> tuple[float, float]:
        altitude, azimuth = altitude_azimuth(site, *place, when)
        return azimuth, altitude

    ways = (
        (_great_circle(origin, target), there),
        (_by_axes(origin, target), there),
        (_by_axes(above(origin), above(target)), above(there)),
    )
    return min(float(np.min(separations(longitude, latitude, *centre))) for (longitude, latitude), centre in ways)


def _great_circle(one: tuple[float, float], other: tuple[float, float]) -> tuple[Floats, Floats]:
    a, b = _vector(one), _vector(other)
    angle = math.acos(max(-1.0, min(1.0, float(a @ b))))
    if math.sin(angle) < 1e-9:
        return np.array([one[0], other[0]]), np.array([one[1], other[1]])
    share = np.linspace(0, 1, 2 + int(math.degrees(angle) / _STEP_DEGREES))[:, None]
    x, y, z = ((np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / math.sin(angle)).T
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def _by_axes(one: tuple[float, float], other: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return the way on which both axes turn at the same speed, each the shorter way, until each is there."""
    first, second = wrapped(other[0] - one[0]), other[1] - one[1]
    moved = np.linspace(0, max(abs(first), abs(second)), 2 + int(max(abs(first), abs(second)) / _STEP_DEGREES))
    return (
        one[0] + math.copysign(1, first) * np.minimum(moved, abs(first)),
        one[1] + math.copysign(1, second) * np.minimum(moved, abs(second)),
    )


def _vector(place: tuple[float, float]) -> Floats:
    longitude, latitude = math.radians(place[0]), math.radians(place[1])
    return np.array(
        [math.cos(latitude) * math.cos(longitude), math.cos(latitude) * math.sin(longitude), math.sin(latitude)]
    )
