"""When a night's Sun and Moon rise and set, to two minutes. Plain Python, for any thread."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from pyros.angles import SECONDS_PER_DAY
from pyros.planning.night_log import noon_before
from pyros.planning.night_sky import NightSky
from pyros.site import Site

_STEP = 120.0
_HORIZON = -0.83  # degrees of the Sun's centre at sunset: refraction and its radius
_MOON_HORIZON = (
    0.125  # degrees of the Moon's centre: her parallax is more than refraction and her radius (Meeus, ch. 15)
)


class NightTimes(msgspec.Struct, frozen=True, kw_only=True):
    """A night's times, Unix seconds."""

    night: str
    """The date of its evening at the site."""
    noon: float
    """The noon before it, by the site's mean solar time."""
    sunset: float
    """Noon where the Sun doesn't set."""
    sunrise: float
    """The next noon where it doesn't rise."""
    dusk: float | None = None
    """When it becomes dark by the site's twilight; None when it doesn't."""
    dawn: float | None = None
    """When that ends; None when it isn't dark."""
    moonrise: float | None = None
    """From the noon to the next one; None when the Moon doesn't rise in that time."""
    moonset: float | None = None
    """The same of its setting."""
    moon_lit: float = 0.0
    """Illuminated fraction of the Moon at midnight."""


@lru_cache(maxsize=64)
def night_times(site: Site, night: str) -> NightTimes:
    """Return the times of the night that is named by the date of its evening; raises ValueError for no date.

    20 ms, and nothing the next time.
    """
    noon = noon_before(site, date.fromisoformat(night))
    sky = NightSky(site, noon, noon + SECONDS_PER_DAY, _STEP)
    down = _span(sky, sky.sun_altitude < _HORIZON) or (noon, noon + SECONDS_PER_DAY)
    dark = _span(sky, sky.sun_altitude < site.twilight)
    up = sky.moon_altitude > _MOON_HORIZON
    return NightTimes(
        night=night, noon=noon, sunset=down[0], sunrise=down[1],
        dusk=dark[0] if dark else None, dawn=dark[1] if dark else None,
        moonrise=_first(sky, ~up[:-1] & up[1:]), moonset=_first(sky, up[:-1] & ~up[1:]),
        moon_lit=float(sky.moon_illumination[len(sky.times) // 2]),
    )  # fmt: skip


def _span(sky: NightSky, inside: NDArray[np.bool_]) -> tuple[float, float] | None:
    where = np.flatnonzero(inside)
    return (float(sky.times[where[0]]), float(sky.times[where[-1]])) if where.size else None


def _first(sky: NightSky, change: NDArray[np.bool_]) -> float | None:
    where = np.flatnonzero(change)
    return float(sky.times[where[0] + 1]) if where.size else None
