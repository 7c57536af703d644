"""Numbers and positions as packets write them, made plain or None."""

from __future__ import annotations

import math
import re
from typing import Literal

from pyros import coordinates

SECONDS_PER_YEAR = 365.25 * 86_400
_SECONDS = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("h", "hr", "hour"), 3_600.0),
    **dict.fromkeys(("d", "day"), 86_400.0),
    "month": SECONDS_PER_YEAR / 12,
    **dict.fromkeys(("yr", "y", "year", "a"), SECONDS_PER_YEAR),
}
_RATE = re.compile(r"(?:(?:1|events?)?\s*(?:/|per)\s*([a-z]+))|(?:([a-z]+)\s*(?:\^|\*\*)?\s*\(?-1\)?)")
"""``1/yr``, ``per year``, ``events/day``; ``yr^-1``, ``s-1``."""
_ANGLES = {
    **dict.fromkeys(("deg", "degree"), 1.0),
    **dict.fromkeys(("rad", "radian"), math.degrees(1.0)),
    **dict.fromkeys(("arcmin", "arcminute", "amin"), 1 / 60),
    **dict.fromkeys(("arcsec", "arcsecond", "asec"), 1 / 3600),
}
"""Units of angles in degrees."""
_HOURS = frozenset({"h", "hr", "hour", "hourangle"})
TRUE, _FALSE = frozenset({"true", "t", "yes", "y", "1"}), frozenset({"false", "f", "no", "n", "0", "none", "null"})
_NOTHING = re.compile(
    r"(?i)[-+]?0*(?:\.0*)?|-1(?:\.0*)?|-99+(?:\.0*)?|none|null|[-+]?(?:nan|inf(?:inity)?)|n/?a|unknown|tb[ad]"
    r"|[-?]+|-1_-1|0+_0+"
)
_POLE_RA = 192.85948
_POLE_SINE, _POLE_COSINE = math.sin(math.radians(27.12825)), math.cos(math.radians(27.12825))
MAX_COORDINATE = 64
"""Characters of a coordinate in text."""
WHOLE_SKY = 180.0
"""A circle of this radius in degrees is the whole sky: it says nothing about where the source is."""
_SPANS = {
    "": 1.0,
    **dict.fromkeys(("us", "usec", "microsecond"), 1e-6),
    **dict.fromkeys(("ms", "msec", "millisec", "millisecond"), 1e-3),
    **dict.fromkeys(("min", "minute"), 60.0),
    "orbit": 5_560.0,  # of the ISS (MAXI)
    **{unit: size for unit, size in _SECONDS.items() if unit not in {"a", "month"}},
}
"""Units of a duration in seconds."""


def number(value: object) -> float | None:
    """Read a finite float from a number, its text, or a list of one; None for everything else, booleans included."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        if len(value) > 64 or not value.isascii() or "_" in value:
            return None  # Python would take 1_2 for 12, and any script's digits
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def is_nothing(name: str) -> bool:
    """Tell whether it is what streams write for "none": 0, -1, -999, ``N/A``, a run and an event of 0, nothing ..."""
    return len(name) <= 200 and _NOTHING.fullmatch(name.strip()) is not None


def span(unit: str) -> float | None:
    """Return the size in seconds of a unit of durations, seconds where none is named; None for what is no such unit."""
    word = unit.strip(" []").lower()[:20]
    return _SPANS.get(word, _SPANS.get(word.removesuffix("s")))


def angle(unit: str, *, hours: bool = False) -> float | None:
    """Return the size in degrees of a unit of angles; of an hour where ``hours`` may be meant; None for others."""
    word = unit.strip(" []").lower()[:20]
    word = word if word == "h" else word.removesuffix("s")
    return 15.0 if hours and word in _HOURS else _ANGLES.get(word)


def truth(value: object) -> bool | None:
    """Read a mark: true, false, 1, 0, or such a word; None for everything else."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    return True if word in TRUE else False if word in _FALSE else None


def fraction(value: object) -> float | None:
    """Read a probability, 0 to 1."""
    result = number(value)
    return result if result is not None and 0 <= result <= 1 else None


def hertz(value: object, unit: str) -> float | None:
    """Convert a rate to Hz; None for a negative one and for an unknown unit."""
    unit = unit.strip().lower()
    match = _RATE.fullmatch(unit) if len(unit) < 32 else None
    seconds = 1.0 if unit == "hz" else _SECONDS.get(match[1] or match[2]) if match else None
    result = number(value)
    return result / seconds if result is not None and seconds is not None and result >= 0 else None


def axis(value: object, which: Literal["ra", "dec"]) -> float | None:
    """Read a coordinate in degrees: a number, or a text that is one or sexagesimal (``12:34:56.7``, ``12h34m56.7s``).

    A right ascension is in hours where it is sexagesimal, and never where it is a number alone.
    """
    result = number(value)
    if result is not None or isinstance(value, bool):
        return result
    written = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(written, str) or not 0 < len(written) <= MAX_COORDINATE:
        return None
    try:
        return coordinates.right_ascension(written) if which == "ra" else coordinates.declination(written)
    except ValueError:
        return None


def position(ra: float | None, dec: float | None) -> tuple[float, float] | None:
    """Return RA and Dec in degrees, 0 <= RA < 360, or None where they are no position.

    Out of range (-1/-1, -360/91, -999) and exactly 0/0 are what streams write for "no position"; RA 360 is 0.
    """
    if ra is None or dec is None or not 0 <= ra <= 360 or not -90 <= dec <= 90 or ra == dec == 0:
        return None
    return ra % 360.0, dec


def radius(value: object) -> float | None:
    """Read an error radius in degrees; None for 0, a negative one, or the whole sky."""
    result = number(value)
    return result if result is not None and 0 < result < WHOLE_SKY else None


def galactic_latitude(ra: float, dec: float) -> float:
    """Return the Galactic latitude in degrees of an ICRS position in degrees.

    The pole (192.85948, 27.12825) is that of the Hipparcos Catalogue, ESA SP-1200, vol. 1, section 1.5.3.
    """
    phi = math.radians(dec)
    sine = math.sin(phi) * _POLE_SINE + math.cos(phi) * _POLE_COSINE * math.cos(math.radians(ra - _POLE_RA))
    return math.degrees(math.asin(max(-1.0, min(1.0, sine))))
