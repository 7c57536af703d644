"""Where the source is in a JSON notice: which of its numbers are the position, and how large the error is, in degrees.

GCN's unified schema (https://gcn.nasa.gov/docs/schema, core/Localization) writes ICRS degrees under ``ra``, ``dec`` and
``ra_dec_error``; its earlier versions, and schemas of a mission's own, have other names and nest them.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pyros.alerts.formats import values
from pyros.alerts.formats.streams import Stream
from pyros.angles import separation

Position = tuple[float, float]

_PLACES = ("localization", "location", "position", "equatorial", "event", "alert", "source", "target")
"""Where schemas of a mission's own nest what the unified one has at the top."""
_SIZES = (
    *("ra_uncertainty", "dec_uncertainty", "circle_error_radius", "elliptical_error_radii"),
    *("position_a_error", "semi_major"),
)
"""Error radii in degrees as earlier schemas called them."""
_FRAMES = frozenset(
    {
        *("frame", "coordinate_frame", "reference_frame", "coordinate_system", "coord_system", "coord_system_id"),
        *("radesys", "radecsys", "equinox", "epoch"),
    }
)
"""Fields, lower case, that say what the coordinates are of, where a packet has such."""
_SIZE = re.compile(r"([\d.eE+-]{1,32}) *([a-z]{1,20})")
"""A number with its unit behind it: ``6 arcmin``."""
_NOT_ICRS = re.compile(r"(?i).*(?:1950|fk4|gal|ecl|alt.?az|horiz|itrs|cirs|jnow|apparent|date)")
_FITS = re.compile(r".*\.fits?(?:\.gz|\.fz)?(?:,\d+)?", re.IGNORECASE)


def find_target(notice: dict[str, Any]) -> dict[str, Any]:
    """Find what holds the localization: the notice, its ``data``'s only target (BOOM), or a place one level below."""
    if "ra" in notice:
        return notice
    data = notice.get("data")
    targets = data.get("targets") if isinstance(data, dict) else None
    if isinstance(targets, list) and len(targets) == 1 and isinstance(targets[0], dict):
        return targets[0]
    nested = [place for name in _PLACES if isinstance(place := notice.get(name), dict) and "ra" in place]
    return nested[0] if len(nested) == 1 else notice


def find_position(target: dict[str, Any], row: Stream) -> tuple[Position | None, float | None, bool]:
    """Read RA, Dec and error radius in degrees, and whether they are only where an instrument looked.

    Args:
        target: what `find_target` found.
        row: the notice's stream, which may keep the source's position under names of its own.
    """
    for ra, dec, size in row.json_places:
        place = _position(target, ra, dec)
        if place is not None:
            return place, values.radius(target.get(size)), False
    place = _position(target, "ra", "dec")
    if (_size(target.get("ra_dec_error"), _unit(target, "ra_dec_error")) or 0) >= values.WHOLE_SKY:
        place = None
    return place, _error(target, place) if place else None, row.json_pointing and place is not None


def find_skymap(target: dict[str, Any]) -> str | None:
    """Return a HEALPix map's URL, ``embedded``, or None. A ``skymap_url`` of no FITS file is a page for people."""
    url, other = (_first_text(target.get(name)) for name in ("healpix_url", "skymap_url"))
    url = url or (other if _FITS.fullmatch(other) else "")
    if url.startswith(("http://", "https://")):
        return url
    return "embedded" if target.get("healpix_file") else None


def _position(target: dict[str, Any], ra: str, dec: str) -> Position | None:
    """Read a position; None where the packet says that it is of another frame than ICRS, or of an unknown unit."""
    if any(_NOT_ICRS.match(str(said)[:40]) for name, said in target.items() if name.lower() in _FRAMES):
        return None
    if "2000" not in str(target.get("equinox") or "2000"):
        return None
    return values.position(_axis(target, ra, "ra"), _axis(target, dec, "dec"))


def _axis(target: dict[str, Any], name: str, which: Literal["ra", "dec"]) -> float | None:
    plain = values.number(target.get(name))
    if plain is None:
        return values.axis(target.get(name), which)
    size = _unit(target, name, hours=which == "ra")
    return None if size is None else plain * size


def _unit(target: dict[str, Any], name: str, *, hours: bool = False) -> float | None:
    """Return in degrees the unit that stands beside a field, degrees where none does (as in GCN's schema)."""
    said = target.get(f"{name}_units") or target.get(f"{name}_unit")
    return 1.0 if not said else values.angle(said, hours=hours) if isinstance(said, str) else None


def _size(written: object, unit: float | None) -> float | None:
    """Read an angle in degrees: a number in the unit that stands beside it, or a text with its own."""
    match = _SIZE.fullmatch(written.strip()) if isinstance(written, str) else None
    if match:
        written, unit = match[1], values.angle(match[2])
    size = values.number(written)
    return None if size is None or unit is None else size * unit


def _error(target: dict[str, Any], place: Position) -> float | None:
    """Read an error: a number, [a], [a, b] or [a, b, position angle]; or the farthest corner of a box (MAXI)."""
    given = [target.get("ra_dec_error")]
    if given == [None]:  # early schemas
        error = target.get("error")
        given = [target.get(name) for name in _SIZES]
        given += [error.get("radius")] if isinstance(error, dict) else []
    unit = _unit(target, "ra_dec_error")
    sides = (size for each in given for size in (_sides(each) if isinstance(each, list) else [each]))
    known = [size for side in sides if (size := values.radius(_size(side, unit))) is not None]
    if known:
        return max(known)
    corners = target.get("rectangular_error_corners")
    distances = []
    for corner in corners[:100] if isinstance(corners, list) else ():
        if isinstance(corner, list) and len(corner) == 2:
            ra, dec = values.number(corner[0]), values.number(corner[1])
            if ra is not None and dec is not None and -90 <= dec <= 90:
                distances.append(separation(*place, ra, dec))
    return values.radius(max(distances)) if distances else None


def _first_text(value: object) -> str:
    """Return a string, or the first of a list; '' for everything else and for what is too long to be a URL."""
    if isinstance(value, list):
        value = value[0] if value else None
    return value.strip() if isinstance(value, str) and len(value) < 2000 else ""


def _sides(sizes: list[Any]) -> list[Any]:
    """Return the sizes of [a], [a, b], [a, b, position angle], or [below, above] (-1.5, 1.4)."""
    return [abs(size) if len(sizes) > 1 and isinstance(size, int | float) else size for size in sizes[:2]]
