"""Coordinates as people write them: sexagesimal or degrees. Plain functions, for any thread.

Right ascension in hours, minutes and seconds (``05h35m17.3s``, ``5:35:17.3``, ``05 35 17.3``) or in degrees
(``83.822``, ``83.822deg``); declination in degrees, minutes and seconds (``-05d23m28s``, ``-5:23:28``, ``-05°23'28"``)
or in degrees. A number alone is degrees, never hours: ``5.588h`` says that it is hours.
"""

from __future__ import annotations

import re
from typing import Literal

_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_DEGREES = re.compile(rf"(?P<sign>[+-]?)\s*(?P<number>{_NUMBER})\s*(?:deg|degrees|d|°|)", re.IGNORECASE)
_HOURS = re.compile(rf"(?P<sign>[+-]?)\s*(?P<number>{_NUMBER})\s*h", re.IGNORECASE)
_SEXAGESIMAL = re.compile(
    rf"(?P<sign>[+-]?)\s*(?P<whole>\d+)\s*(?P<unit>[hd°:]|deg)?\s*"
    rf"(?P<minutes>{_NUMBER})\s*(?:[m'′:]|min)?\s*(?:(?P<seconds>{_NUMBER})\s*(?:s|''|[\"″]|sec)?)?",
    re.IGNORECASE,
)
_HALVES = re.compile(r"(?P<ra>[^+-]+?)\s*[,\s]\s*(?P<dec>[+-].*)|(?P<first>[^\s,]+)\s*[,\s]\s*(?P<second>[^\s,]+)")
_MINUSES = str.maketrans({"−": "-", "–": "-", "‐": "-", "º": "°"})
"""What people copy from web pages and papers."""

RA_WANTED = "must be a right ascension: 05h35m17.3s, 05:35:17.3, or degrees such as 83.822"
DEC_WANTED = "must be a declination: -05d23m28s, -05:23:28, or degrees such as -5.391"
POSITION_WANTED = "must be right ascension and declination, such as 05h35m17.3s -05d23m28s or 83.822 -5.391"


def right_ascension(text: str | float) -> float:
    """Return degrees, 0 to below 360; raises ValueError that says what would be right."""
    degrees = _angle(text, "h", RA_WANTED)
    if not 0 <= degrees < 360:
        raise ValueError(f"{RA_WANTED}; {text} is {degrees:g}°, and it goes from 0 to below 360")
    return degrees


def declination(text: str | float) -> float:
    """Return degrees, -90 to 90; raises ValueError that says what would be right."""
    degrees = _angle(text, "d", DEC_WANTED)
    if not -90 <= degrees <= 90:
        raise ValueError(f"{DEC_WANTED}; {text} is {degrees:g}°, and it goes from -90 to 90")
    return degrees


def position(text: str) -> tuple[float, float]:
    """Read both of one text, as POCS's fields and most catalogues have them; raises ValueError."""
    text = text.translate(_MINUSES).strip()
    match = _HALVES.fullmatch(text)
    if match is None:
        raise ValueError(f"{POSITION_WANTED}, not {text!r}")
    return (
        right_ascension(match["ra"] if match["ra"] is not None else match["first"]),
        declination(match["dec"] if match["dec"] is not None else match["second"]),
    )


def _angle(text: str | float, unit: Literal["h", "d"], wanted: str) -> float:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"{wanted}, not {text!r}")
    if not isinstance(text, str):
        return float(text)
    plain = text.translate(_MINUSES).strip()
    if (match := _DEGREES.fullmatch(plain)) is not None:
        return _signed(match["sign"], float(match["number"]))
    if unit == "h" and (match := _HOURS.fullmatch(plain)) is not None:
        return _signed(match["sign"], float(match["number"]) * 15)
    match = _SEXAGESIMAL.fullmatch(plain)
    if match is None:
        raise ValueError(f"{wanted}, not {text!r}")
    minutes, seconds = float(match["minutes"]), float(match["seconds"] or 0)
    if minutes >= 60 or seconds >= 60:
        raise ValueError(f"{wanted}; minutes and seconds of {text!r} go to below 60")
    if match["seconds"] is not None and "." in match["minutes"]:
        raise ValueError(f"{wanted}; {text!r} has a fraction of a minute and seconds")
    said = (match["unit"] or ":").lower()
    if unit == "d" and said == "h":
        raise ValueError(f"{wanted}; {text!r} is in hours")
    in_hours = said == "h" or (unit == "h" and said == ":")
    return _signed(match["sign"], float(match["whole"]) + minutes / 60 + seconds / 3600) * (15 if in_hours else 1)


def _signed(sign: str, number: float) -> float:
    return -number if sign == "-" else number


def sexagesimal(ra: float, dec: float) -> str:
    """Format degrees for people: ``05h35m17.30s -05d23m28.0s``; rounded, so that no second is 60."""
    tenths = round(ra * 240 * 100) % (24 * 3600 * 100)
    hours, rest = divmod(tenths, 3600 * 100)
    minutes, hundredths = divmod(rest, 60 * 100)
    arc = round(abs(dec) * 3600 * 10)
    degrees, rest = divmod(arc, 3600 * 10)
    arcminutes, arctenths = divmod(rest, 60 * 10)
    sign = "-" if dec < 0 and arc else "+"
    return (
        f"{hours:02}h{minutes:02}m{hundredths / 100:05.2f}s {sign}{degrees:02}d{arcminutes:02}m{arctenths / 10:04.1f}s"
    )
