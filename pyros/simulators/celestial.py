"""Where the sky is above a site, and the geometry of great circles. Degrees everywhere.

ICRS becomes horizontal coordinates through the celestial intermediate system and the Earth rotation angle (IERS
Conventions 2010, chapter 5; routines of IAU SOFA as erfa). Without refraction, polar motion, UT1-UTC and diurnal
aberration it is right to better than 20 arcseconds on the ground, and its own inverse exactly, which is what a mount
that stands still under a moving sky needs.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

_TT_MINUS_UTC = 69.184  # seconds; since 2017, and a second more moves the sky's precession by nothing
_EARTH_SECONDS = 600.0
_UNIX_EPOCH = 2440587.5  # Julian date of 1970-01-01 UTC


class Sky(NamedTuple):
    """A direction: ICRS right ascension and declination, degrees."""

    ra: float
    dec: float


class Ground(NamedTuple):
    """A direction: altitude, and azimuth from north through east, degrees."""

    alt: float
    az: float


class Hour(NamedTuple):
    """A direction: apparent hour angle (-180 to 180, west positive) and declination, degrees."""

    angle: float
    dec: float


class OfDate(NamedTuple):
    """A direction: apparent right ascension and declination of date, from the true equinox, degrees ("JNow")."""

    ra: float
    dec: float


class SiteCoordinates(NamedTuple):
    """A place: geodetic latitude and longitude, degrees, east positive."""

    latitude: float
    longitude: float

    def ground(self, sky: Sky, time: float) -> Ground:
        """Where a direction of the sky stands at a time (seconds since 1970-01-01 UTC)."""
        return self.ground_of(self.hour(sky, time))

    def sky(self, ground: Ground, time: float) -> Sky:
        """Return what is seen in a direction of the ground at a time (seconds since 1970-01-01 UTC)."""
        return self.sky_of(self.hour_of(ground), time)

    def hour(self, sky: Sky, time: float) -> Hour:
        """Return the hour angle of a direction of the sky at a time (seconds since 1970-01-01 UTC)."""
        import erfa  # noqa: PLC0415  (a quarter of a second, which `pyros check` need not pay)

        ra, dec = erfa.ufunc.atciqz(math.radians(sky.ra), math.radians(sky.dec), _earth(time).place)
        return Hour(half_turn(math.degrees(self._rotation(time) - ra)), math.degrees(dec))

    def sky_of(self, hour: Hour, time: float) -> Sky:
        """Return what is seen at an hour angle at a time (seconds since 1970-01-01 UTC)."""
        import erfa  # noqa: PLC0415

        right_ascension = self._rotation(time) - math.radians(hour.angle)
        ra, dec = erfa.ufunc.aticq(right_ascension, math.radians(hour.dec), _earth(time).place)
        return Sky(math.degrees(ra) % 360, math.degrees(dec))

    def ground_of(self, hour: Hour) -> Ground:
        """Where an hour angle and declination stand above the horizon."""
        import erfa  # noqa: PLC0415

        az, alt = erfa.ufunc.hd2ae(math.radians(hour.angle), math.radians(hour.dec), math.radians(self.latitude))
        return Ground(math.degrees(alt), math.degrees(az) % 360)

    def hour_of(self, ground: Ground) -> Hour:
        """Return the hour angle and declination of a direction of the ground."""
        import erfa  # noqa: PLC0415

        angle, dec = erfa.ufunc.ae2hd(math.radians(ground.az), math.radians(ground.alt), math.radians(self.latitude))
        return Hour(half_turn(math.degrees(angle)), math.degrees(dec))

    def sidereal_time(self, time: float) -> float:
        """Local apparent sidereal time, degrees, at a time (seconds since 1970-01-01 UTC)."""
        return math.degrees(self._rotation(time) - _equation_of_the_origins(time)) % 360

    def _rotation(self, time: float) -> float:
        """Earth rotation angle at the site's meridian, radians, with UTC for UT1."""
        import erfa  # noqa: PLC0415

        return float(erfa.ufunc.era00(_UNIX_EPOCH, time / 86400)) + math.radians(self.longitude)


def of_date(sky: Sky, time: float) -> OfDate:
    """Return a direction in the coordinates that most mounts think in, at a time (seconds since 1970-01-01 UTC)."""
    import erfa  # noqa: PLC0415

    ra, dec = erfa.atciqz(math.radians(sky.ra), math.radians(sky.dec), _earth(time).place)
    return OfDate(math.degrees(ra - _equation_of_the_origins(time)) % 360, math.degrees(dec))


def from_date(place: OfDate, time: float) -> Sky:
    """Return the inverse of ``of_date``."""
    import erfa  # noqa: PLC0415

    ra = math.radians(place.ra) + _equation_of_the_origins(time)
    ra, dec = erfa.aticq(ra, math.radians(place.dec), _earth(time).place)
    return Sky(math.degrees(ra) % 360, math.degrees(dec))


def half_turn(angle: float) -> float:
    """Return the same angle from -180 to 180."""
    return (angle + 180) % 360 - 180


def separation(first: Sky, second: Sky) -> float:
    """Return the angle between two directions; by the arc tangent, which is exact for small and for large angles."""
    a, b = _vector(first), _vector(second)
    return math.degrees(math.atan2(math.hypot(*_cross(a, b)), math.fsum(x * y for x, y in zip(a, b, strict=True))))


def between(first: Sky, second: Sky, fraction: float) -> Sky:
    """Return the point after this fraction (0 to 1) of the great circle from the first to the second."""
    angle = math.radians(separation(first, second))
    if math.sin(angle) < 1e-12:  # the same point, or opposite ones, which no single great circle joins
        return first if fraction < 1 else second
    a = math.sin((1 - fraction) * angle) / math.sin(angle)
    b = math.sin(fraction * angle) / math.sin(angle)
    x, y, z = (a * u + b * v for u, v in zip(_vector(first), _vector(second), strict=True))
    return _direction(x, y, z)


def offset(sky: Sky, east: float, north: float) -> Sky:
    """Return the direction this many degrees to the east and north (small angles; right at the poles too)."""
    ra, dec = math.radians(sky.ra), math.radians(sky.dec)
    e, n = math.radians(east), math.radians(north)
    x, y, z = _vector(sky)
    x += -e * math.sin(ra) - n * math.sin(dec) * math.cos(ra)
    y += e * math.cos(ra) - n * math.sin(dec) * math.sin(ra)
    z += n * math.cos(dec)
    return _direction(x, y, z)


def _equation_of_the_origins(time: float) -> float:
    """From the celestial intermediate origin to the true equinox, radians (IAU 2006/2000A)."""
    return _earth(time).origins


class _Earth(NamedTuple):
    """The Earth at a time."""

    place: Any
    """erfa's parameters between ICRS and the celestial intermediate system."""
    origins: float
    """From the celestial intermediate origin to the true equinox, radians."""


def _earth(time: float) -> _Earth:
    """Return the Earth at the beginning of ten minutes: aberration and precession move the sky by 2 mas in them."""
    return _earth_at(time // _EARTH_SECONDS * _EARTH_SECONDS)


@lru_cache(maxsize=64)
def _earth_at(time: float) -> _Earth:
    import erfa  # noqa: PLC0415

    place, origins = erfa.apci13(_UNIX_EPOCH, (time + _TT_MINUS_UTC) / 86400)
    return _Earth(place, float(origins))


def _vector(sky: Sky) -> tuple[float, float, float]:
    ra, dec = math.radians(sky.ra), math.radians(sky.dec)
    return math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)


def _direction(x: float, y: float, z: float) -> Sky:
    return Sky(math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y))))


def _cross(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
