"""The light curve of an event: a CSV file with a line for each source in each image, and a picture of it.

A line is known by image and source: measuring an image again, after a restart, replaces its lines. The file is written
anew each time, synced and renamed, so that it is whole whatever happens.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from pyros.angles import separation_arcsec
from pyros.errors import ImageError
from pyros.files import atomic_write

_SAME_SOURCE_ARCSEC = 3.0
"""Two measurements within it are of one source."""
MAX_POINTS = 100_000
_MIN_SPREAD = 1e-6
_MAX_SLOPE_ERROR = 0.5
"""A few seconds of a burst tell no slope, whatever fits them."""


@dataclass(frozen=True)
class Point:
    """One measurement. ``mjd`` is the middle of the exposure, UTC; ``after`` are seconds since the event."""

    source: str
    """Name of the source."""
    utc: str
    """Middle of the exposure, UTC, as ISO 8601."""
    mjd: float
    """Middle of the exposure, modified Julian date, UTC."""
    after: float | None
    """Seconds since the event; None where its time isn't known."""
    filter: str
    """The filter's name."""
    seconds: float
    """Exposure time, seconds."""
    magnitude: float
    """Magnitude through the filter."""
    error: float
    """Standard error, magnitudes."""
    ra: float
    """Right ascension, ICRS degrees."""
    dec: float
    """Declination, ICRS degrees."""
    observation: str
    """Id of the observation."""
    image: str
    """The FITS file."""


_COLUMNS = [field.name for field in fields(Point)]


def read(path: Path) -> list[Point]:
    """Read the points of a file, none if it isn't there. Raises ImageError naming file and line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            points = []
            for number, row in enumerate(rows, 2):
                try:
                    points.append(_point(row))
                except (KeyError, ValueError, TypeError):
                    raise ImageError(f"{path}: line {number} is no point of a light curve") from None
            return points
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from None


def add(path: Path, image: str, new: Sequence[Point]) -> list[Point]:
    """Put an image's points into the file in place of any that it has of that image; returns all points by time.

    A point's ``source`` is set here: A is the first source that was found, B another one, and so on. Raises ImageError
    or OSError.
    """
    points = [point for point in read(path) if point.image != image]
    for point in new:
        points.append(replace(point, source=_source(points, point, image)))
    points.sort(key=lambda point: (point.mjd, point.source))
    if len(points) > MAX_POINTS:
        raise ImageError(f"{path}: has more than {MAX_POINTS} points; begin another one")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_row(point) for point in points)
    return points


def file_name(event: str) -> str:
    """Make a file's name for an event, without characters that folders and shells give a meaning."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", event).strip("._")[:120] or "event"


def slope(points: Sequence[Point]) -> tuple[float, float] | None:
    """Fit the power law F ~ t^-a by weighted least squares; return its index a and the error.

    Points of several filters each get a level of their own. None with fewer than three points, and where the error is
    more than 0.5.
    """
    usable = [p for p in points if p.after is not None and p.after > 0 and p.error > 0]
    filters = sorted({p.filter for p in usable})
    if len(usable) < len(filters) + 2:
        return None
    weights = [1 / p.error**2 for p in usable]
    x = [math.log10(p.after or 1.0) for p in usable]
    y = [p.magnitude / 2.5 for p in usable]
    # With each filter's weighted means taken off, one coefficient is left.
    sxx = sxy = 0.0
    for filter in filters:
        of = [i for i, p in enumerate(usable) if p.filter == filter]
        total = sum(weights[i] for i in of)
        mx, my = (sum(weights[i] * v[i] for i in of) / total for v in (x, y))
        sxx += sum(weights[i] * (x[i] - mx) ** 2 for i in of)
        sxy += sum(weights[i] * (x[i] - mx) * (y[i] - my) for i in of)
    spread = sxx / sum(weights)  # of the logarithms of time, squared
    if spread <= _MIN_SPREAD:
        return None
    error = 1 / (2.5 * math.sqrt(sxx))
    return (sxy / sxx, error) if error <= _MAX_SLOPE_ERROR else None


def _source(points: Sequence[Point], new: Point, image: str) -> str:
    taken = {point.source for point in points if point.image == image}
    for point in points:
        if point.source not in taken and separation_arcsec(point.ra, point.dec, new.ra, new.dec) < _SAME_SOURCE_ARCSEC:
            return point.source
    used = {point.source for point in points}
    return next(name for name in map(_letters, range(len(used) + 1)) if name not in used)


def _letters(number: int) -> str:
    """Return the letters of a number from 0: A, B ... Z, AA, AB ..."""
    text = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


def _row(point: Point) -> dict[str, str]:
    formats = {
        "mjd": ".6f",
        "after": ".1f",
        "magnitude": ".3f",
        "error": ".3f",
        "ra": ".6f",
        "dec": ".6f",
        "seconds": "g",
    }
    return {
        name: "" if value is None else format(value, formats.get(name, "")) for name, value in asdict(point).items()
    }


def _point(row: dict[str, str]) -> Point:
    number = {name: float(row[name]) for name in ("mjd", "seconds", "magnitude", "error", "ra", "dec")}
    words = {name: row[name] for name in ("source", "utc", "filter", "observation", "image")}
    return Point(**number, **words, after=float(row["after"]) if row["after"] else None)  # type: ignore[arg-type]
