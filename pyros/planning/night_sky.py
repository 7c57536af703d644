"""The sky of a site through a night: Sun, Moon and any number of targets, by equal steps of time.

The Earth's place and the targets' directions are computed once, for the middle (`pyros.planning.visibility`); before
and after it the Earth only turns. What else happens in half a night is left out: precession and the annual aberration's
change are below 0.2 arcseconds. Sun, Moon and moving bodies are computed every ten minutes, straight in between. A
direction is kept as a vector in the frame of the middle's meridian and equator: an altitude through the night is then
a product of matrices, and so is the distance from the Moon.

Arrays have a row for each target and a column for each time. Plain Python, callable from any thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from itertools import islice

import erfa
import numpy as np
from numpy.typing import NDArray

from pyros.angles import SECONDS_PER_DAY, TT_MINUS_UTC, UNIX_EPOCH_JD, Floats
from pyros.errors import PlanningError
from pyros.planning.visibility import DEGREES_PER_DAY, _observer, _zenith, airmass, next_night
from pyros.site import Site

_COARSE = 600.0
"""Seconds between two computed places of what moves."""
_MOST_STEPS = 20_000


@dataclass(frozen=True)
class Tracks:
    """Where targets stand through the night."""

    sin_altitude: Floats
    """Sines of their altitudes, without refraction."""
    above: NDArray[np.bool_]
    """Whether they stand above the site's horizon."""
    east: NDArray[np.bool_]
    """Whether they stand in the east: before their culmination."""
    cos_moon: Floats
    """Cosines of their distances from the Moon."""

    @cached_property
    def airmass(self) -> Floats:
        """The `airmass` of each, of Pickering (2002); infinite below the mathematical horizon."""
        return airmasses(self.sin_altitude)


class NightSky:
    """The sky from ``begin`` to ``end``, Unix seconds, every ``step`` seconds; both ends are in it.

    Raises PlanningError for more than 20,000 steps, or none.
    """

    def __init__(self, site: Site, begin: float, end: float, step: float) -> None:
        steps = math.ceil((end - begin) / step - 1e-9)
        if not 0 <= steps <= _MOST_STEPS:
            raise PlanningError(f"a night from {begin:.0f} to {end:.0f} by {step:g} s has {steps} steps")
        self.site, self.begin, self.step = site, begin, step
        self.times: Floats = begin + step * np.arange(steps + 1, dtype=np.float64)
        """Unix seconds of the columns."""
        self._middle = datetime.fromtimestamp(round((begin + end) / 2), UTC)
        turned = np.radians(DEGREES_PER_DAY) * (self.times - self._middle.timestamp()) / SECONDS_PER_DAY
        phi = math.radians(site.latitude)
        # sin(altitude) = zenith . vector, where the zenith turns under the stars
        self._zenith = np.stack([
            math.cos(phi) * np.cos(turned), -math.cos(phi) * np.sin(turned), np.full_like(turned, math.sin(phi))
        ])  # fmt: skip
        self._west = np.stack([np.sin(turned), np.cos(turned), np.zeros_like(turned)])
        self._north = np.stack([
            -math.sin(phi) * np.cos(turned), math.sin(phi) * np.sin(turned), np.full_like(turned, math.cos(phi))
        ])  # fmt: skip
        self._coarse = np.linspace(begin, max(end, begin + 1.0), 2 + int((end - begin) / _COARSE))

    def vector(self, ra: Floats, dec: Floats) -> Floats:
        """Return directions of ICRS positions (degrees) in the frame of the middle's meridian: a row for each."""
        _, _, hour_angle, declination = _zenith(self.site, np.radians(ra), np.radians(dec), self._middle)
        across = np.cos(declination)
        return np.stack([across * np.cos(hour_angle), across * np.sin(hour_angle), np.sin(declination)], axis=-1)

    def moving(self, place: Callable[[datetime], tuple[float, float]]) -> Floats:
        """Return the directions of what moves through the night, three rows; ``place`` gives ICRS degrees at a time."""
        places = [place(datetime.fromtimestamp(float(each), UTC)) for each in self._coarse]
        return self._between(self.vector(*np.array(places).T))

    def fixed_tracks(self, positions: Sequence[tuple[float, float]]) -> Tracks:
        """Return where fixed targets stand, given by their ICRS positions (ra, dec) in degrees."""
        vectors = self.vector(*np.asarray(positions, dtype=np.float64).reshape(-1, 2).T)
        return self._tracks(
            _products(vectors, self._zenith), _products(vectors, self._west),
            lambda: _products(vectors, self._north), _products(vectors, self.moon_vector),
        )  # fmt: skip

    def highest(self, ra: Floats, dec: Floats) -> Floats:
        """Return the sine of the highest altitude of each ICRS position (degrees) from the first column to the last.

        That is a position's altitude when its hour angle is nearest to zero: a thousandth of the work of its track.
        """
        x, y, z = self.vector(ra, dec).T
        phi, turn = math.radians(self.site.latitude), math.radians(DEGREES_PER_DAY) / SECONDS_PER_DAY
        first, last = ((self.times[place] - self._middle.timestamp()) * turn for place in (0, -1))
        begin = np.arctan2(y, x) + first
        culminates = np.ceil(begin / math.tau) * math.tau <= begin + (last - first)
        nearest = np.where(culminates, 1.0, np.maximum(np.cos(begin), np.cos(begin + (last - first))))
        best: Floats = math.cos(phi) * np.hypot(x, y) * nearest + math.sin(phi) * z
        return best

    def moving_track(self, place: Callable[[datetime], tuple[float, float]]) -> Tracks:
        """Return where one moving target stands; ``place`` gives its ICRS degrees at a time."""
        vectors = self.moving(place)
        return self._tracks(
            np.sum(vectors * self._zenith, 0)[None], np.sum(vectors * self._west, 0)[None],
            lambda: np.sum(vectors * self._north, 0)[None], np.sum(vectors * self.moon_vector, 0)[None],
        )  # fmt: skip

    def _tracks(self, up: Floats, west: Floats, north: Callable[[], Floats], moon: Floats) -> Tracks:
        if not self.site.horizon:
            return Tracks(up, up >= 0.0, west < 0.0, moon)
        azimuth, altitude = np.array(self.site.horizon).T
        above = up >= math.sin(math.radians(float(altitude.max())))
        unsure = ~above & (up >= math.sin(math.radians(float(altitude.min()))))
        angles = np.degrees(np.arctan2(-west[unsure], north()[unsure]))
        limits = np.interp(angles % 360, azimuth, altitude, period=360)
        above[unsure] = up[unsure] >= np.sin(np.radians(limits))
        return Tracks(up, above, west < 0.0, moon)

    @cached_property
    def sun_altitude(self) -> Floats:
        """Degrees of the Sun's centre above the horizon, without refraction."""
        return self._altitude(self._between(self._directions(-self._earth)))

    @cached_property
    def moon_vector(self) -> Floats:
        """The Moon's direction from the site, as `vector` gives it, but in columns."""
        return self._between(self._directions(self._moon - self._observers))

    @cached_property
    def moon_altitude(self) -> Floats:
        """Degrees of the Moon's centre above the horizon, without refraction."""
        return self._altitude(self.moon_vector)

    @cached_property
    def moon_illumination(self) -> Floats:
        """Illuminated fraction of the Moon's disc (Meeus, Astronomical Algorithms, 2nd ed. 1998, equation 48.1)."""
        to_sun = -self._earth - self._moon
        to_earth = -self._moon
        cosine = np.sum(to_sun * to_earth, 1) / (np.linalg.norm(to_sun, axis=1) * np.linalg.norm(to_earth, axis=1))
        fraction: Floats = np.interp(self.times, self._coarse, (1 + cosine) / 2)
        return fraction

    @cached_property
    def _days(self) -> Floats:
        return (self._coarse + TT_MINUS_UTC) / SECONDS_PER_DAY

    @cached_property
    def _earth(self) -> Floats:
        """The Earth's heliocentric places, au (SOFA epv00)."""
        return np.asarray(erfa.ufunc.epv00(UNIX_EPOCH_JD, self._days)[0]["p"], dtype=np.float64)

    @cached_property
    def _moon(self) -> Floats:
        """The Moon's geocentric places, au (SOFA moon98)."""
        return np.asarray(erfa.ufunc.moon98(UNIX_EPOCH_JD, self._days)["p"], dtype=np.float64)

    @cached_property
    def _observers(self) -> Floats:
        """The site's geocentric places, au: the middle's, turned about the celestial pole."""
        x, y, z = _observer(self.site, self._middle)
        angle = np.radians(DEGREES_PER_DAY) * (self._coarse - self._middle.timestamp()) / SECONDS_PER_DAY
        cosine, sine = np.cos(angle), np.sin(angle)
        return np.stack([x * cosine - y * sine, x * sine + y * cosine, np.full_like(angle, z)], axis=1)

    def _directions(self, places: Floats) -> Floats:
        x, y, z = places.T
        return self.vector(np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y))))

    def _between(self, vectors: Floats) -> Floats:
        """Return columns of unit vectors at every time, of those that were computed at the coarse ones."""
        straight = np.stack([np.interp(self.times, self._coarse, each) for each in vectors.T])
        result: Floats = straight / np.linalg.norm(straight, axis=0)
        return result

    def _altitude(self, vectors: Floats) -> Floats:
        height: Floats = np.degrees(np.arcsin(np.clip(np.sum(vectors * self._zenith, 0), -1.0, 1.0)))
        return height


def _products(rows: Floats, columns: Floats) -> Floats:
    """Return the matrix product; without BLAS, whose threads cost more here than they bring, and round as they like."""
    result: Floats = np.multiply.outer(rows[:, 0], columns[0])
    for axis in (1, 2):
        result += np.multiply.outer(rows[:, axis], columns[axis])
    return result


@cache
def _airmass_table() -> tuple[Floats, Floats]:
    altitudes = np.concatenate([np.arange(0.0, 15.0, 0.05), np.arange(15.0, 90.0, 0.25), [90.0]])
    return np.sin(np.radians(altitudes)), np.array([airmass(float(each)) for each in altitudes])


def airmasses(sin_altitude: Floats) -> Floats:
    """Return airmasses by the sines of altitudes, from a table good to 0.01 %; infinite below the horizon."""
    result: Floats = np.interp(sin_altitude, *_airmass_table(), left=np.inf)
    return result


def night_of(site: Site, when: datetime) -> tuple[datetime, datetime] | None:
    """Return when it is night by the site's twilight, dusk and dawn: the night that is, or the next one.

    None where the Sun does not go so deep in the next day, as in a polar summer. In a polar night it begins and ends
    at noon. Good to a second; each night is computed once, so that all who ask in it are told the same.
    """
    now = when.timestamp()
    day = math.floor((now + site.longitude / 360 * SECONDS_PER_DAY) / SECONDS_PER_DAY - 0.5)
    # By the mean Sun, from which the true one is up to 17 minutes off: the day before may be the one that is asked for.
    near = (_night(site, day + offset) for offset in (-1, 0, 1, 2))
    ahead = (each for each in near if each[0] > now - SECONDS_PER_DAY / 2)
    for _, dusk, dawn in islice(ahead, 2):
        if dawn > now:
            return datetime.fromtimestamp(dusk, UTC), datetime.fromtimestamp(dawn, UTC)
    return None


@lru_cache(maxsize=64)
def _night(site: Site, day: int) -> tuple[float, float, float]:
    """Return solar midnight after the mean local noon of a day since 1970, and dusk and dawn, Unix seconds.

    Dusk and dawn are minus infinity where it does not get dark.
    """
    noon = (day + 0.5 - site.longitude / 360) * SECONDS_PER_DAY
    midnight = next_night(site, datetime.fromtimestamp(noon, UTC)).timestamp()
    begin = midnight - SECONDS_PER_DAY / 2
    sky = NightSky(site, begin, begin + SECONDS_PER_DAY, 120.0)
    dark = sky.sun_altitude < site.twilight
    return midnight, *(_edges(sky, dark, site.twilight) if dark.any() else (-math.inf, -math.inf))


def _edges(sky: NightSky, dark: NDArray[np.bool_], twilight: float) -> tuple[float, float]:
    """Return when darkness begins and ends, between the steps by a straight line."""
    first, last = int(np.argmax(dark)), len(dark) - 1 - int(np.argmax(dark[::-1]))

    def crossing(outside: int, inside: int) -> float:
        if not 0 <= outside < len(dark):
            return float(sky.times[inside])
        share = (twilight - sky.sun_altitude[outside]) / (sky.sun_altitude[inside] - sky.sun_altitude[outside])
        return float(sky.times[outside] + share * (sky.times[inside] - sky.times[outside]))

    return crossing(first - 1, first), crossing(last + 1, last)
