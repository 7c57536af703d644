"""What a rule can ask of an alert: one row a condition, with how its value is read and how it is judged.

A limit on something that the alert doesn't tell (an unknown error radius, no false-alarm rate) does not hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, get_args

import msgspec

from pyros.alerts import values
from pyros.alerts.alert import Alert, Kind

_QUANTITY = re.compile(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(.*?)\s*")
_FUTURE = -600.0
"""An event this many seconds ahead of the observatory's clock is a wrong date, not a fresh event."""

Check = Callable[[Alert, datetime, Any], tuple[bool, str]]
Read = Callable[[Any], Any]


class Known(msgspec.Struct, frozen=True):
    """One condition that a rule may use."""

    read: Read
    """From what YAML gave to what ``check`` wants; raises ValueError in words."""
    check: Check
    """(alert, now, wanted) to (holds, words with the value that was looked at)."""
    selects: bool = False
    """True where it chooses which alerts the rule is about at all: a miss isn't worth telling."""


def quantity(units: dict[str, float], low: float, high: float) -> Read:
    """A reader of ``12``, ``5 arcmin``, ``3 h`` ... into the first of the units.

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


ANGLE = quantity({"deg": 1.0, "arcmin": 1 / 60, "arcsec": 1 / 3600}, 0.0, 180.0)
DURATION = quantity({"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}, 0.0, 3650 * 86_400.0)
RATE = quantity(
    {
        "Hz": 1.0,
        "per year": 1 / values.SECONDS_PER_YEAR,
        "per month": 12 / values.SECONDS_PER_YEAR,
        "per day": 1 / 86_400,
    },
    0.0,
    1e9,
)
FRACTION = quantity({"": 1.0}, 0.0, 1.0)
ALTITUDE = quantity({"deg": 1.0}, 0.0, 90.0)


def _globs(value: Any) -> tuple[str, ...]:
    words = value if isinstance(value, list) else [value]
    if not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError(f"must be a name or a list of names (with * for any letters), not {value!r}")
    return tuple(words)


def _kinds(value: Any) -> tuple[str, ...]:
    allowed = tuple(kind for kind in get_args(Kind) if kind != "retraction")
    words = _globs(value)
    if not set(words) <= set(allowed):
        raise ValueError(f"must be of {', '.join(allowed)} (a retraction is never observed), not {value!r}")
    return words


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def _name(label: str, field: str) -> Check:
    def check(alert: Alert, _now: datetime, wanted: tuple[str, ...]) -> tuple[bool, str]:
        value = getattr(alert, field)
        fits = any(fnmatchcase(value.lower(), word.lower()) for word in wanted)
        return fits, f"{label} {value}" if fits else f"{label} {value or 'unknown'} is not {' or '.join(wanted)}"

    return check


def _limit(label: str, unit: str, take: Callable[[Alert, datetime], float | None], *, at_most: bool) -> Check:
    def check(alert: Alert, now: datetime, wanted: float) -> tuple[bool, str]:
        value = take(alert, now)
        if value is None:
            return False, f"{label} unknown"
        fits = value <= wanted if at_most else value >= wanted
        sign = ("<=" if fits else ">") if at_most else (">=" if fits else "<")
        return fits, f"{label} {value:.4g} {sign} {wanted:.4g} {unit}".rstrip()

    return check


def _truth_of(label: str, field: str) -> Check:
    def check(alert: Alert, _now: datetime, wanted: bool) -> tuple[bool, str]:
        value = getattr(alert, field)
        return value is wanted, f"{label}: {'unknown' if value is None else 'yes' if value else 'no'}"

    return check


def _age(alert: Alert, now: datetime) -> float | None:
    """Seconds since the event; since the packet was written where the event's time isn't told."""
    moment = alert.time or alert.sent
    return (now - moment).total_seconds() if moment else None


def _young(alert: Alert, now: datetime, wanted: float) -> tuple[bool, str]:
    age = _age(alert, now)
    if age is not None and age < _FUTURE:
        return False, f"its time lies {-age:.0f} s in the future"
    return _limit("age", "s", _age, at_most=True)(alert, now, wanted)


def _latitude(alert: Alert, _now: datetime) -> float | None:
    return abs(values.galactic_latitude(*alert.target)) if alert.target else None


def _classified(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"must be a mapping such as {{BNS: 0.5}}, not {value!r}")
    return {str(name): FRACTION(least) for name, least in value.items()}


def _probable(alert: Alert, _now: datetime, wanted: dict[str, float]) -> tuple[bool, str]:
    """One of the classes is at least that probable."""
    found = {name: alert.classification.get(name) for name in wanted}
    fits = any(value is not None and value >= wanted[name] for name, value in found.items())
    said = ", ".join(f"{name} {'unknown' if value is None else format(value, '.2g')}" for name, value in found.items())
    return fits, f"class {said}"


CONDITIONS: dict[str, Known] = {
    "stream": Known(_globs, _name("stream", "stream"), selects=True),
    "notice_type": Known(_globs, _name("notice", "notice_type"), selects=True),
    "kind": Known(_kinds, _name("kind", "kind")),
    "known_source": Known(_truth, _truth_of("known source", "known_source")),
    "significant": Known(_truth, _truth_of("significant", "significant")),
    "max_error_radius": Known(ANGLE, _limit("error radius", "deg", lambda alert, _: alert.error_radius, at_most=True)),
    "min_importance": Known(FRACTION, _limit("importance", "", lambda alert, _: alert.importance, at_most=False)),
    "max_far": Known(RATE, _limit("false-alarm rate", "Hz", lambda alert, _: alert.far, at_most=True)),
    "min_probability": Known(_classified, _probable),
    "max_age": Known(DURATION, _young),
    "min_galactic_latitude": Known(ANGLE, _limit("galactic latitude", "deg", _latitude, at_most=False)),
}
"""In the order in which they are judged; the cheap and telling ones first."""
