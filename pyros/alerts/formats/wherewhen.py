"""WhereWhen of a VOEvent: which of its coordinates are the source's, and what they say in degrees.

VOEvent 2.0 (IVOA Recommendation 2011-07-11), section 3.4, writes RA and Dec in degrees under FK5 or ICRS, with an
``Error2Radius``; VOEvent 1.1 leaves STC's other ways open: a unit, coordinates in another order under their names, both
in one text, an ``Error2`` of two sizes. VOEvent 2.1 (Proposed Recommendation 2026-02-25) has units for each number,
time scales, intervals and offsets, and coordinate systems that are described instead of named.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

import msgspec

from pyros.alerts.formats import values
from pyros.alerts.formats.xml import child, descendant, text

_SEXAGESIMAL = re.compile(r"hms|h:m:s|dms|d:m:s|sexagesimal")
"""Units that say only that the coordinates are texts."""
_LEAST = 1.0
"""The smallest unit in degrees that a position is believed to be in."""
_SECONDS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
_MOMENTS = ("ISOTime", "MJDTime", "JDTime", "ISOTimeStart")
"""A date, a Julian day (STC), or when an interval begins (VOEvent 2.1): the first that there is."""
_RIGHT_ASCENSION, _DECLINATION = ("ra", "r.a", "right", "alpha"), ("de", "delta")
"""How the names of the axes begin, lower case."""


class Coords(msgspec.Struct, frozen=True):
    """The coordinates of the source. RA, Dec and error are degrees as they are written: nothing is checked."""

    system: str = ""
    isotime: str = ""
    """As it is written; a Julian day perhaps. Of an interval its beginning."""
    offset: float = 0.0
    """Seconds after it."""
    ra: float | None = None
    dec: float | None = None
    error: float | None = None


def source_coords(where: Any | None) -> Coords:
    """Read the AstroCoords of the source. The observatory's may stand first (UTMOST), and are no sky position."""
    found = Coords()
    if where is None:
        return found
    for element in where.iter("{*}AstroCoords"):
        if next(element.iterancestors("{*}ObservatoryLocation"), None) is not None:
            continue
        parts = _parts(element)
        time = parts.get("Time")
        said = _descendants(time)
        system = _system(element)
        if "TimeScale" in said and (scale := text(said["TimeScale"])):
            system = f"{scale.upper()}-{system}"
        isotime = text(said.get("ISOTime")) or next(
            (moment for name in _MOMENTS if (moment := text(said.get(name)))), ""
        )
        offset = _offset(time, said) if "TimeOffset" in said else 0.0
        position = parts.get("Position2D", parts.get("Position3D"))
        if position is not None and _is_j2000(system):
            ra, dec, error = _read(position)
            return Coords(system, isotime or found.isotime, offset, ra, dec, error)
        if isotime and not found.isotime:
            found = Coords(system, isotime, offset)
    return found


def _is_j2000(system: str) -> bool:
    """Tell whether a system's coordinates are RA and Dec of J2000: those of 1950 are half a degree away."""
    return (not system or "FK5" in system or "ICRS" in system) and "1950" not in system


def _system(coords: Any) -> str:
    """Return the system that the coordinates or the AstroCoordSystem beside them name: ``UTC-ICRS-GEO``."""
    named = (coords.get("coord_system_id") or "").strip().upper()
    if "ICRS" in named or "FK5" in named:
        return str(named)
    beside = child(coords.getparent(), "AstroCoordSystem")
    if beside is None:
        return str(named)
    described = [text(descendant(beside, name)) for name in ("TimeScale", "SpaceRefFrame")]
    return "-".join(filter(None, described)).upper() or str(named or (beside.get("id") or "").strip().upper())


def _descendants(element: Any | None) -> dict[str, Any]:
    """Return an element's descendants by their names; of several with one name the first."""
    found: dict[str, Any] = {}
    for each in element.iter("*") if element is not None else ():
        found.setdefault(each.tag.rpartition("}")[2], each)
    return found


def _offset(time: Any | None, said: dict[str, Any]) -> float:
    """Return the seconds that a TimeInstant lies after its ISOTime (VOEvent 2.1)."""
    size = values.number(text(said["TimeOffset"]))
    return size * _SECONDS.get((time.get("unit") or "s").strip().lower(), 0.0) if size and time is not None else 0.0


def _read(position: Any) -> tuple[float | None, float | None, float | None]:
    """Read RA, Dec and error radius in degrees; None for units that are no angle's, and for other coordinates."""
    parts = _parts(position)
    value = parts.get("Value2", parts.get("Value3"))
    pair = _parts(value) if value is not None else {}
    units = _degrees(_said_unit(pair.get("C1"), value, position) or "deg")
    if units is None:
        return None, None, None
    first, second = text(pair.get("C1")), text(pair.get("C2"))
    if not first and not second:
        words = text(value).replace(",", " ").split()
        if len(words) in {2, 6}:
            half = len(words) // 2
            first, second = " ".join(words[:half]), " ".join(words[half:])
    name1, name2 = text(parts.get("Name1")).lower(), text(parts.get("Name2")).lower()
    if name1.startswith(_DECLINATION) and name2.startswith(_RIGHT_ASCENSION):
        first, second = second, first
    elif not ((name1 or "ra").startswith(_RIGHT_ASCENSION) and (name2 or "dec").startswith(_DECLINATION)):
        return None, None, None
    return _axis(first, "ra", units[0]), _axis(second, "dec", units[1]), _error(parts, units[1] or 1.0)


def _axis(written: str, which: Literal["ra", "dec"], unit: float | None) -> float | None:
    """Read a coordinate: a number in its unit, or a sexagesimal text, which needs none."""
    plain = values.number(written)
    return values.axis(written, which) if plain is None else _times(plain, unit)


def _parts(element: Any) -> dict[str, Any]:
    """Return an element's children by their names; of several with one name the first."""
    found: dict[str, Any] = {}
    for each in element:
        tag = each.tag
        if isinstance(tag, str) and (name := tag.rpartition("}")[2]) not in found:
            found[name] = each
    return found


@lru_cache(maxsize=64)
def _degrees(unit: str) -> tuple[float | None, float | None] | None:
    """Return the sizes of the units of RA and Dec (``deg``, ``deg-deg``, ``deg deg Mpc``, ``h-deg``).

    A unit that is only of texts has no size. Hours for both, or what is no unit of an angle, is not understood.
    """
    if _SEXAGESIMAL.search(unit):
        return None, None
    words = re.split(r"[-\s,]+", unit)[:2]
    ra, dec = values.angle(words[0], hours=len(words) == 2), values.angle(words[-1])
    return None if ra is None or dec is None or min(ra, dec) < _LEAST else (ra, dec)


def _said_unit(*elements: Any) -> str:
    """Return the unit of the first element that has one."""
    for element in elements:
        if element is not None and (word := element.get("unit") or element.get("pos_unit")):
            return str(word).strip().lower()[:40]
    return ""


def _error(parts: dict[str, Any], unit: float) -> float | None:
    """Read the radius, in its own unit where it has one; else the larger of two sizes."""
    element = parts.get("Error2Radius")
    radius = values.number(text(element))
    if element is not None and radius is not None:
        word = _said_unit(element)
        return _times(radius, values.angle(word)) if word else radius * unit
    error = parts.get("Error2", parts.get("Error3"))
    sizes = (
        [_size(axis, error, unit) for name, axis in _parts(error).items() if name != "C3"] if error is not None else []
    )
    return max((size for size in sizes if size is not None), default=None)


def _size(axis: Any, error: Any, unit: float) -> float | None:
    word = _said_unit(axis, error)
    return _times(values.number(text(axis)), values.angle(word) if word else unit)


def _times(size: float | None, unit: float | None) -> float | None:
    return None if size is None or unit is None else size * unit
