"""Where the telescope points for calibrations under the sky."""

from __future__ import annotations

import math
from datetime import datetime

from pyros.planning import Site
from pyros.planning.visibility import altitude_azimuth, moon_separation, place_overhead, sun

FOCUS_ALTITUDE = 75.0
"""Degrees: near the zenith seeing is best, and a mount on either side of the meridian is far from its limits."""
MOON_DISTANCE = 30.0
"""Degrees from the Moon at which a field is good enough for a focusing."""
FLAT_ALTITUDE = 75.0
"""Degrees. The null spot, where the twilight sky has no gradient, lies 10 to 15 degrees from the zenith on the side
away from the Sun (Chromey & Hasselbacher 1996, PASP 108, 944)."""
DITHER_DEGREES = 0.05
"""How far apart the fields of two flats are, so that a star is on other pixels in each."""


def focus_field(site: Site, when: datetime) -> tuple[float, float]:
    """Return an ICRS position (degrees) near the zenith, in the first direction that is far from the Moon."""
    places = [place_overhead(site, when, FOCUS_ALTITUDE, azimuth) for azimuth in (90.0, 180.0, 270.0, 0.0)]
    distances = [moon_separation(site, ra, dec, when) for ra, dec in places]
    good = [place for place, distance in zip(places, distances, strict=True) if distance >= MOON_DISTANCE]
    return good[0] if good else places[distances.index(max(distances))]


def flat_field(site: Site, when: datetime, number: int) -> tuple[float, float]:
    """Return the ICRS position (degrees) of the flat of that number: at the null spot, on a spiral about it."""
    _, sun_azimuth = altitude_azimuth(site, *sun(when), when)
    ra, dec = place_overhead(site, when, FLAT_ALTITUDE, (sun_azimuth + 180.0) % 360.0)
    away, turn = DITHER_DEGREES * math.sqrt(number), math.radians(137.508) * number  # the golden angle
    dec = max(-89.0, min(89.0, dec + away * math.cos(turn)))
    return (ra + away * math.sin(turn) / math.cos(math.radians(dec))) % 360, dec
