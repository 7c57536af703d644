"""How bright the Moon makes the sky: Krisciunas & Schaefer 1991, PASP 103, 1033. Degrees; magnitudes in V.

Their model is right to 8 to 23 percent of the moonlight. The Moon's direction is its geocentric one (Meeus 1998, as
erfa's ``moon98``), from which a place on the ground sees it up to a degree away: nothing to the sky's brightness.
"""

from __future__ import annotations

import math

from pyros.simulators.celestial import Ground, SiteCoordinates, Sky, separation

_UNIX_EPOCH = 2440587.5
_TT_MINUS_UTC = 69.184


def air(altitude: float) -> float:
    """Return the optical path through the atmosphere, 1 in the zenith (their equation 3)."""
    return float((1 - 0.96 * math.cos(math.radians(altitude)) ** 2) ** -0.5)


def moon(time: float) -> tuple[Sky, float]:
    """Return the Moon's ICRS direction and phase angle (0 at full Moon) at a time (seconds since 1970-01-01 UTC)."""
    import erfa  # noqa: PLC0415  (a quarter of a second, which `pyros check` need not pay)

    tt = (time + _TT_MINUS_UTC) / 86400
    moon_xyz = erfa.moon98(_UNIX_EPOCH, tt)["p"]
    earth_xyz = erfa.epv00(_UNIX_EPOCH, tt)[0]["p"]
    ra, dec = erfa.c2s(moon_xyz)
    to_sun = [-(float(earth_xyz[i]) + float(moon_xyz[i])) for i in range(3)]
    to_earth = [-float(moon_xyz[i]) for i in range(3)]
    phase = float(erfa.sepp(to_sun, to_earth))
    return Sky(math.degrees(float(ra)) % 360, math.degrees(float(dec))), math.degrees(phase)


def moonlight(phase: float, distance: float, moon_altitude: float, altitude: float, extinction: float) -> float:
    """Return the sky's brightness by moonlight, nanoLamberts (their equations 15, 20 and 21); 0 while the Moon is down.

    ``phase`` is the phase angle, ``distance`` the angle between the Moon and the point of the sky, ``extinction``
    magnitudes per airmass.
    """
    if moon_altitude <= 0:
        return 0.0
    illuminance = 10 ** (-0.4 * (3.84 + 0.026 * abs(phase) + 4e-9 * phase**4))
    scattered = 10**5.36 * (1.06 + math.cos(math.radians(distance)) ** 2) + 10 ** (6.15 - distance / 40)
    if distance < 10:  # closer in than their measurements, Mie scattering follows this (their equation 19)
        scattered = 10**5.36 * (1.06 + math.cos(math.radians(distance)) ** 2) + 6.2e7 * max(distance, 0.25) ** -2
    arrives = 10 ** (-0.4 * extinction * air(moon_altitude))
    return float(scattered * illuminance * arrives * (1 - 10 ** (-0.4 * extinction * air(max(altitude, 0.0)))))


def nanolamberts(magnitude: float) -> float:
    """Return the brightness of a sky of so many magnitudes per square arcsecond (their equation 1)."""
    return 34.08 * math.exp(20.7233 - 0.92104 * magnitude)


def sky_factor(site: SiteCoordinates, pointing: Sky, time: float, dark_sky: float, extinction: float) -> float:
    """How many times brighter than without a Moon the sky is: 1 while it is down.

    ``dark_sky`` is the moonless sky, magnitudes per square arcsecond.
    """
    where, phase = moon(time)
    up, target = site.ground(where, time), site.ground(pointing, time)
    light = moonlight(phase, separation(where, pointing), up.alt, target.alt, extinction)
    return 1 + light / nanolamberts(dark_sky)


def dimming(target: Ground, extinction: float) -> float:
    """Magnitudes that the air takes from a star."""
    return extinction * air(max(target.alt, 0.0))
