"""The place on Earth where the telescope stands, and what of its sky may be looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from pyros.errors import ConfigError
from pyros.files import read_yaml

_LIMITS = {
    "latitude": (-90.0, 90.0),
    "longitude": (-180.0, 360.0),
    "elevation": (-500.0, 9000.0),
    "twilight": (-30.0, 0.0),
    "dome_sun_limit": (-30.0, 90.0),
    "sun_exclusion": (0.0, 120.0),
}
_UNITS = {"longitude": "degrees, east positive", "elevation": "metres"}
_MAX_HORIZON_POINTS = 720


@dataclass(frozen=True, slots=True)
class Site:
    """A place on Earth.

    ``latitude`` and ``longitude`` (east positive) are geodetic degrees on WGS 84, ``elevation`` metres above its
    ellipsoid (the height above the sea will do: it moves no star by a hundredth of an arcsecond).
    """

    name: str
    """Name of the place."""
    latitude: float
    """Geodetic latitude on WGS 84, degrees."""
    longitude: float
    """Longitude, degrees, east positive."""
    elevation: float
    """Metres above the ellipsoid; the height above the sea will do."""
    horizon: tuple[tuple[float, float], ...] = ()
    """What stands around: (azimuth from north through east, altitude) in degrees, by azimuth; straight in between."""
    twilight: float = -12.0
    """The Sun's altitude in degrees below which it is night, and observations may run; by default nautical twilight's
    end."""
    dome_sun_limit: float = -1.0
    """The Sun's altitude in degrees from which on it is day, and the dome closed."""
    sun_exclusion: float = 30.0
    """Degrees around the Sun that the telescope never looks at, nor slews through, while it isn't night."""

    def __hash__(self) -> int:
        return hash((self.latitude, self.longitude, self.elevation))  # what is computed for a site is asked for often

    @classmethod
    def load(cls, path: Path | str) -> Site:
        """Read a YAML file with the keys name, latitude, longitude and elevation; the others have defaults.

        Raises ConfigError with every mistake in it, each naming the file, the key and what would be right.
        """
        path = Path(path)
        try:
            content = read_yaml(path)
        except ValueError as error:
            raise ConfigError([f"{path}: {error}"]) from None
        keys = [field.name for field in fields(cls)]
        if not isinstance(content, dict):
            raise ConfigError([f"{path}: must hold the keys {', '.join(keys)}"])
        problems = [f"{path}: {key}: unknown key; known are {', '.join(keys)}" for key in content if key not in keys]
        values: dict[str, Any] = {}
        for key in keys:
            if key not in content and key not in _REQUIRED:
                continue
            try:
                values[key] = _CONVERTERS.get(key, _number)(key, content.get(key))
            except ValueError as error:
                problems.append(f"{path}: {key}: {error}")
        if problems:
            raise ConfigError(problems)
        return cls(**values)

    def horizon_at(self, azimuth: float) -> float:
        """Return the altitude in degrees below which nothing is seen at an azimuth (degrees); 0 by default."""
        if not self.horizon:
            return 0.0
        azimuth %= 360
        (first_azimuth, first), (last_azimuth, last) = self.horizon[0], self.horizon[-1]
        around = [(last_azimuth - 360, last), *self.horizon, (first_azimuth + 360, first)]
        for (left, low), (right, high) in pairwise(around):
            if left <= azimuth <= right:
                return high if right == left else low + (high - low) * (azimuth - left) / (right - left)
        raise AssertionError("the profile goes all around")


_REQUIRED = ("name", "latitude", "longitude", "elevation")


def _name(_: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a name, e.g. Pic du Midi")
    return value


def _number(key: str, value: object) -> float:
    low, high = _LIMITS[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        found = "" if value is None else f", not {value!r}"
        raise ValueError(f"must be a number from {low:g} to {high:g} ({_UNITS.get(key, 'degrees')}){found}")
    return float(value)


def _horizon(_: str, value: object) -> tuple[tuple[float, float], ...]:
    wanted = "must be a list of [azimuth, altitude] in degrees, such as [[0, 5], [90, 20], [180, 5]]"
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_HORIZON_POINTS:
        raise ValueError(f"{wanted}; {_MAX_HORIZON_POINTS} points at most")
    points: dict[float, float] = {}
    for point in value:
        if not (isinstance(point, list) and len(point) == 2 and all(_is_number(each) for each in point)):
            raise ValueError(f"{wanted}, not {point!r}")
        azimuth, altitude = point
        if not (0 <= azimuth < 360 and -10 <= altitude < 90):
            raise ValueError(f"azimuth goes from 0 to below 360 degrees, altitude from -10 to below 90, not {point!r}")
        if azimuth in points:
            raise ValueError(f"azimuth {azimuth:g} is there twice")
        points[float(azimuth)] = float(altitude)
    return tuple(sorted(points.items()))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_CONVERTERS: dict[str, Callable[[str, object], Any]] = {"name": _name, "horizon": _horizon}
