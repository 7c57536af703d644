"""How bright the Sun makes the sky from below the horizon: Patat, Ugolnikov & Postylyakov 2006, A&A 455, 385.

Their parabola for the zenith in V (zenith distances of the Sun from 95 to 105 degrees). At 95 degrees the light
halves in 170 s at middle latitudes, as at La Palma (2.9 minutes: ING, 2013). Between sunset and 95 degrees it goes on
along its tangent, which is right to some tenths of a magnitude; beyond the parabola's own turning point the light is
too faint to matter. Degrees, magnitudes per square arcsecond. The sky away from the Sun is as bright as the zenith
here, and without a gradient: flats are taken where the real one has least of it.
"""

from __future__ import annotations

from pyros.simulators.camera.moonlight import nanolamberts
from pyros.simulators.celestial import SiteCoordinates, Sky

_AT_95, _SLOPE, _CURVE = 11.84, 1.518, -0.057
_FIRST, _LAST = 95.0, 108.0
_BRIGHTEST = 3.5
"""Of the sky by day."""
_UNIX_EPOCH = 2440587.5
_TT_MINUS_UTC = 69.184


def sun(time: float) -> Sky:
    """Return the Sun's ICRS direction at a time (seconds since 1970-01-01 UTC), without aberration."""
    import erfa  # noqa: PLC0415  (a quarter of a second, which `pyros check` need not pay)

    earth = erfa.epv00(_UNIX_EPOCH, (time + _TT_MINUS_UTC) / 86400)[0]["p"]
    ra, dec = erfa.c2s([-float(earth[axis]) for axis in range(3)])
    return Sky(float(erfa.anp(ra)) * 57.29577951308232, float(dec) * 57.29577951308232)


def brightness(sun_altitude: float) -> float | None:
    """Return the twilight's magnitude per square arcsecond in the zenith; None when there is none any more."""
    beyond = 90.0 - sun_altitude - _FIRST
    if beyond > _LAST - _FIRST:
        return None
    curve = _CURVE * beyond**2 if beyond > 0 else 0.0
    return max(_BRIGHTEST, _AT_95 + _SLOPE * beyond + curve)


def sky_factor(site: SiteCoordinates, time: float, dark_sky: float) -> float:
    """How many times as bright as the dark sky (magnitudes per square arcsecond) the twilight alone is; 0 at night."""
    magnitude = brightness(site.ground(sun(time), time).alt)
    return 0.0 if magnitude is None else nanolamberts(magnitude) / nanolamberts(dark_sky)
