"""Numbers with units, as people write them in the files of an observatory. Plain functions, for any thread."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

ValueReader = Callable[[Any], Any]
"""From what YAML or a command line gave to a value; raises ValueError that says what would be right."""

ANGLES = {"deg": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600}
"""Units of angles, in degrees."""
DURATIONS = {"s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
"""Units of durations, in seconds."""
SIZES = {"B": 1.0, "kB": 2.0**10, "MB": 2.0**20, "GB": 2.0**30, "TB": 2.0**40}
"""Units of memory and of files, in bytes."""

_QUANTITY = re.compile(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(.*?)\s*")


def positive(text: str) -> float:
    """Read a finite number above 0. Raises ValueError that says so."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError("is not a positive number")
    return value


def number(least: float = -math.inf, most: float = math.inf) -> Callable[[str], float]:
    """Make a reader of finite numbers in these bounds, which raises ValueError that says so."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError("is not a number")
        if not least <= value <= most:
            raise ValueError(f"is not {_bounds(least, most)}")
        return value

    return read


def whole(least: int, most: int) -> Callable[[str], int]:
    """Make a reader of whole numbers in these bounds, which raises ValueError that says so."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[-+]?\d{1,18}", text, re.ASCII):
            raise ValueError("is not a whole number")
        if not least <= int(text) <= most:
            raise ValueError(f"is not {_bounds(least, most)}")
        return int(text)

    return read


def names(text: str) -> tuple[str, ...]:
    """Read words that are separated by blanks, each once."""
    return tuple(dict.fromkeys(text.split()))


def _bounds(least: float, most: float) -> str:
    if most == math.inf:
        return f"{least:g} or more"
    return f"from {least:g} to {most:g}"


def quantity(units: dict[str, float], low: float, high: float) -> ValueReader:
    """Make a reader of ``12``, ``5 arcmin``, ``3 h`` ... into the first of the units.

    Args:
        units: names and their size in the first one.
        low, high: the smallest and largest allowed, in the first unit.
    """
    base = next(iter(units))

    def read(value: Any) -> float:
        match = _QUANTITY.fullmatch(str(value)) if isinstance(value, int | float | str) else None
        try:
            size = float(match[1]) * units[match[2] or base] if match and value is not True else math.nan
        except (KeyError, ValueError):
            size = math.nan
        if not low <= size <= high:
            wanted = f"a number of {base}".removesuffix(" of ") + (
                f", or one with a unit ({', '.join(units)})" if len(units) > 1 else ""
            )
            raise ValueError(f"must be {wanted}, from {low:g} to {high:g}; not {value!r}")
        return size

    return read


def yes_or_no(text: str) -> bool:
    """Convert an option's ``yes`` or ``no``; raises ValueError for anything else."""
    if text not in ("yes", "no"):
        raise ValueError("is neither yes nor no")
    return text == "yes"
