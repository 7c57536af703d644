"""From what a person wrote in a rule to a value: each reader raises ValueError that says what would be right."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, get_args

import msgspec

from pyros.alerts.alert import Kind
from pyros.alerts.formats import values
from pyros.quantities import ANGLES, DURATIONS, ValueReader, quantity

DAY_SECONDS = 86_400.0
ANGLE = quantity(ANGLES, 0.0, 180.0)
DURATION = quantity(DURATIONS, 0.0, 3650 * DAY_SECONDS)
SHORT_DURATION = quantity({"s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3_600.0, "d": 86_400.0}, 0.0, 3650 * DAY_SECONDS)
PATIENCE = quantity(DURATIONS, 1.0, 3650 * DAY_SECONDS)
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
NUMBER = quantity({"": 1.0}, -1e9, 1e9)
ALTITUDE = quantity({"deg": 1.0}, 0.0, 90.0)
LATITUDE = quantity(ANGLES, 0.0, 90.0)
DECLINATION = quantity({"deg": 1.0}, -90.0, 90.0)
SUN = quantity({"deg": 1.0}, -90.0, 90.0)
MAGNITUDES = quantity({"mag": 1.0}, -30.0, 40.0)
AREA = quantity({"deg2": 1.0, "sq deg": 1.0}, 0.0, 41_253.0)
DISTANCE = quantity({"Mpc": 1.0, "kpc": 1e-3, "Gpc": 1e3}, 0.0, 1e6)
KINDS = tuple(kind for kind in get_args(Kind) if kind != "retraction")
ROLES = ("observation", "prediction")

_MAX_TERMS = 20
_SUM = re.compile(r"\s*([A-Za-z][\w .-]*?(?:\s*\+\s*[A-Za-z][\w .-]*?)*)\s*(<=|>=|<|>)\s*([\d.]+(?:[eE][-+]?\d+)?)\s*")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class Sum(msgspec.Struct, frozen=True):
    """A sum of class probabilities, and what it is held against."""

    classes: tuple[str, ...]
    """The classes."""
    sign: str
    """One of > >= < <=."""
    limit: float
    """0 to 1."""

    def holds(self, total: float) -> bool:
        """Tell whether a sum is on the right side; rounding of the packet's own digits counts for it."""
        return _SIGNS[self.sign](round(total, 9), self.limit)

    def __str__(self) -> str:
        return f"{' + '.join(self.classes)} {self.sign} {self.limit:g}"


def read_sums(value: Any) -> tuple[Sum, ...]:
    """Read ``BNS + NSBH > 0.5``, or a list of such, all of which must hold."""
    texts = value if isinstance(value, list) else [value]
    found = []
    for each in texts:
        match = _SUM.fullmatch(each[:500]) if isinstance(each, str) else None
        classes = tuple(part.strip() for part in match[1].split("+")) if match else ()
        try:
            limit = FRACTION(match[3]) if match else None
        except ValueError:
            limit = None
        if match is None or limit is None or len(classes) > _MAX_TERMS:
            raise ValueError(f'must be such as "BNS + NSBH > 0.5", with a number from 0 to 1, not {each!r}')
        found.append(Sum(classes, match[2], limit))
    if not found:
        raise ValueError('must be such as "BNS + NSBH > 0.5", or a list of such')
    return tuple(found)


def read_globs(value: Any) -> tuple[str, ...]:
    """Read a name, or a list of names, in which * stands for any letters."""
    words = value if isinstance(value, list) else [value]
    if not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError(f"must be a name or a list of names (with * for any letters), not {value!r}")
    return tuple(words)


def one_of(allowed: tuple[str, ...], never: str) -> ValueReader:
    """Make a reader of one or several of these words; ``never`` says what becomes of the others."""

    def read(value: Any) -> tuple[str, ...]:
        words = value if isinstance(value, list) else [value]
        if not words or any(word not in allowed for word in words):
            raise ValueError(f"must be of {', '.join(allowed)} ({never}), not {value!r}")
        return tuple(words)

    return read


def read_truth(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def read_count(value: Any) -> int:
    """Read a whole number from 1 to 100."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100:
        raise ValueError(f"must be a whole number from 1 to 100, not {value!r}")
    return value


def read_classes(value: Any) -> dict[str, float]:
    """Read ``{BNS: 0.5, NSBH: 0.5}``."""
    if not isinstance(value, dict) or not value:
        raise ValueError(f"must be a mapping such as {{BNS: 0.5}}, not {value!r}")
    return {str(name): FRACTION(least) for name, least in value.items()}
