"""The place on Earth where the telescope stands."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pyros.errors import ConfigError
from pyros.files import read_yaml

LIMITS = {"latitude": (-90.0, 90.0), "longitude": (-180.0, 360.0), "elevation": (-500.0, 9000.0)}


@dataclass(frozen=True, slots=True)
class Site:
    """A place on Earth.

    ``latitude`` and ``longitude`` (east positive) are geodetic degrees on WGS 84, ``elevation`` metres above its
    ellipsoid (the height above the sea will do: it moves no star by a hundredth of an arcsecond).
    """

    name: str
    latitude: float
    longitude: float
    elevation: float

    @classmethod
    def load(cls, path: Path | str) -> Site:
        """Read a YAML file with the keys name, latitude, longitude and elevation.

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
            problem = _problem(key, content)
            if problem:
                problems.append(f"{path}: {key}: {problem}")
            else:
                values[key] = content[key] if key == "name" else float(content[key])
        if problems:
            raise ConfigError(problems)
        return cls(**values)


def _problem(key: str, content: dict[Any, Any]) -> str:
    if key == "name":
        named = isinstance(content.get(key), str) and content[key].strip()
        return "" if named else "must be a name, e.g. Pic du Midi"
    low, high = LIMITS[key]
    unit = "metres" if key == "elevation" else "degrees, east positive" if key == "longitude" else "degrees"
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        found = f", not {value!r}" if key in content else ""
        return f"must be a number from {low:g} to {high:g} ({unit}){found}"
    return ""
