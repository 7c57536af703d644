"""The index of images: one SQLite file in the data folder, which the FITS files on disk can always make anew.

It is searched by time (newest first), cone, night, filter, event, observation and object, page after page: the next
page begins after the last row of the one before, so that page 1,000 costs what page 1 does. It keeps SQLite's rollback
journal, since several processes write it, each seldom.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pyros.alerts.archive import healpix
from pyros.config import Config
from pyros.errors import JournalError
from pyros.files import read_only_database
from pyros.imagery.record import ImageRecord
from pyros.prepared import prepared

if TYPE_CHECKING:  # numpy
    from pyros.alerts.archive.region import SkyRegion

FORMAT = 1
MAX_LIMIT = 1000
_SECONDS = 10.0
"""For which a process waits for another that writes."""
_FIELDS = ImageRecord.__struct_fields__
_KEYS = ("observation", "event", "object", "night", "filter", "type")
"""What a query may ask for by its value; those of which there are the most values first."""
_SCHEMA = f"""
CREATE TABLE images (number INTEGER PRIMARY KEY, {", ".join(_FIELDS)},
    x REAL, y REAL, z REAL, cosine REAL, sine REAL, UNIQUE (path));
CREATE INDEX images_started ON images (started, number);
CREATE INDEX images_cell ON images (cell) WHERE cell IS NOT NULL;
CREATE INDEX images_radius ON images (radius) WHERE radius IS NOT NULL;
{"".join(f"CREATE INDEX images_{key} ON images ({key}, started, number);" for key in _KEYS)}
CREATE INDEX images_night_filter ON images (night, filter, started, number);
PRAGMA user_version = {FORMAT};
"""
_MOST_RANGES = 400
"""SQLite takes 500 SELECTs in one."""
MANY_CANDIDATES = 20_000
"""Rows from the cells of a cone or a region beyond which they are not sorted, but looked for by time."""
_FIRST_GROUP, _MAX_GROUP = 200, 10_000
"""Images that are held against a region together, at first and at most."""
_ORDER = "ORDER BY started DESC, number DESC"


class ImageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which images are wanted: those for which all holds that is given."""

    cone: tuple[float, float, float] | None = None
    """Right ascension, declination and radius, ICRS degrees: images of which some part may lie in it."""
    region: SkyRegion | None = None
    """A part of the sky: images of which some part may lie in it."""
    night: str = ""
    """The date of the night's evening."""
    filter: str = ""
    """The filter's name."""
    event: str = ""
    """The event's name."""
    observation: str = ""
    """The observation's id."""
    object: str = ""
    """The target's name."""
    type: str = ""
    """LIGHT, BIAS, DARK or FLAT."""
    telescope: str = ""
    """The telescope's name; without an index of its own, since each has many of the images."""
    since: float | None = None
    """Exposed at or after this, Unix seconds."""
    until: float | None = None
    """Exposed before this, Unix seconds."""
    limit: int = 50
    """How many at most, up to `MAX_LIMIT`."""
    after: str = ""
    """The page after the one that gave this word; '' for the first."""


class FoundImage(msgspec.Struct, frozen=True):
    """An image of the index."""

    number: int
    """Its number in this index."""
    record: ImageRecord
    """What is known of it."""


class FoundImages(msgspec.Struct, frozen=True):
    """A page of a search, the newest first."""

    images: tuple[FoundImage, ...]
    """The images."""
    next: str = ""
    """The word of the next page; '' where this is the last one."""


def index_file(config: Config) -> Path:
    """Return where the index of an observatory is."""
    return config.data / "images.sqlite"


class ImageIndex:
    """The writing side. For one thread at a time; several processes may write in turn."""

    def __init__(self, path: Path) -> None:
        """Open or make an index; raises JournalError where that can't be, or it is of another format."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=_SECONDS, isolation_level=None, check_same_thread=False)
            with self._writing():
                found = self._db.execute("PRAGMA user_version").fetchone()[0]
                if found == 0:
                    for statement in filter(str.strip, _SCHEMA.split(";")):
                        self._db.execute(statement)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"{path}: cannot open the index of images: {error}") from None
        if found not in (0, FORMAT):
            self.close()
            raise JournalError(f"{path}: is of format {found}: remove it, and run pyros images index")

    def add(self, records: Iterable[ImageRecord]) -> None:
        """Add images; one whose path is there is replaced, and keeps what its header alone doesn't say.

        Raises JournalError; then none of them is there.
        """
        columns = (*_FIELDS, "x", "y", "z", "cosine", "sine")
        keeps = ("fwhm", "zero_point", "sources")  # the analyzer's word, which no FITS file has
        changes = [f"{key} = coalesce(excluded.{key}, {key})" if key in keeps else f"{key} = excluded.{key}"
                   for key in columns if key != "path"]  # fmt: skip
        insert = (
            f"INSERT INTO images ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            f" ON CONFLICT (path) DO UPDATE SET {', '.join(changes)}"
        )
        try:
            with self._writing():
                self._db.executemany(insert, map(_row, records))
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot write the index of images: {error}") from None

    def known(self) -> dict[str, tuple[int, float]]:
        """Return size and time of change of every file that is there, by path."""
        return {path: (size, time) for path, size, time in self._db.execute("SELECT path, size, modified FROM images")}

    def forget(self, paths: Iterable[str]) -> None:
        """Remove images whose files are gone."""
        with self._writing():
            self._db.executemany("DELETE FROM images WHERE path = ?", [(path,) for path in paths])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _writing(self) -> Any:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


class ImageIndexReader:
    """The reading side, for any process that may read the data folder. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open an index; raises JournalError where there is none."""
        self.path = path
        if not path.is_file():
            raise JournalError(f"{path}: there is no index of images yet: pyros images index makes it")
        try:
            self._db = sqlite3.connect(read_only_database(path), uri=True, timeout=_SECONDS, check_same_thread=False)
        except sqlite3.Error as error:
            raise JournalError(f"{path}: cannot open the index of images: {error}") from None

    def find(self, query: ImageQuery) -> FoundImages:
        """Return a page of images, the newest first.

        Raises ValueError for a query that makes no sense, JournalError when the index cannot be read.
        """
        conditions, values = _conditions(query)
        limit = max(1, min(query.limit, MAX_LIMIT))
        try:
            rows = self._rows(query, conditions, values, limit + 1)
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot read the index of images: {error}") from None
        images = tuple(FoundImage(row[0], _record(row[1:])) for row in rows[:limit])
        last = images[-1] if images else None
        more = f"{last.record.started!r}:{last.number}" if last is not None and len(rows) > limit else ""
        return FoundImages(images, more)

    def get(self, number: int) -> ImageRecord | None:
        """Return the image of that number, None where there is none."""
        if not 0 <= number < 1 << 63:  # more than a number of a row can be
            return None
        row = self._db.execute(f"SELECT {', '.join(_FIELDS)} FROM images WHERE number = ?", (number,)).fetchone()
        return None if row is None else _record(row)

    def count(self) -> int:
        """Return how many images there are."""
        return int(self._db.execute("SELECT count(*) FROM images").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _rows(self, query: ImageQuery, conditions: list[str], values: list[Any], limit: int) -> list[Any]:
        """Find a page's rows, by the index of the condition that the fewest images fulfil."""
        key, count = self._rarest(query)
        images = f"images INDEXED BY images_{key}" if key else "images"
        if query.cone is not None:
            in_cone, vector = _in_cone(*query.cone)
            conditions, values = [*conditions, in_cone], [*values, *vector]
        if query.cone is not None or query.region is not None:
            largest = self._db.execute("SELECT max(radius) FROM images WHERE radius IS NOT NULL").fetchone()[0]
            if largest is None:
                return []
            if (few := self._few(_ranges(query, largest), count)) is not None:
                images = "images NOT INDEXED"
                conditions = [*conditions, "number IN (SELECT value FROM json_each(?))"]
                values = [*values, msgspec.json.encode(few).decode()]
        if query.region is not None:
            numbers = list(islice(self._touching(query.region, images, conditions, values), limit))
            images, conditions = "images NOT INDEXED", ["number IN (SELECT value FROM json_each(?))"]
            values = [msgspec.json.encode(numbers).decode()]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        select = f"SELECT number, {', '.join(_FIELDS)} FROM {images} {where} {_ORDER} LIMIT ?"
        return self._db.execute(select, (*values, limit)).fetchall()

    def _rarest(self, query: ImageQuery) -> tuple[str, int]:
        """Return the condition that the fewest images fulfil, '' without one, and how many; `MANY_CANDIDATES` at most.

        Where there are as many of several, that of the most values counts.
        """
        counts = {}
        for key in filter(partial(getattr, query), _KEYS):
            some = f"SELECT 1 FROM images INDEXED BY images_{key} WHERE {key} = ? LIMIT ?"
            row = self._db.execute(f"SELECT count(*) FROM ({some})", (getattr(query, key), MANY_CANDIDATES)).fetchone()
            counts[key] = int(row[0])
        rarest = min(counts, key=counts.__getitem__, default="")
        also_filter = rarest == "night" and query.filter
        return "night_filter" if also_filter else rarest, counts.get(rarest, MANY_CANDIDATES)

    def _few(self, ranges: list[tuple[int, int]], most: int) -> list[int] | None:
        """Return the images of these cells; None for more than ``most``: those are sooner found by another index."""
        if len(ranges) > _MOST_RANGES:
            return None
        among = " UNION ALL ".join(
            ["SELECT number FROM images INDEXED BY images_cell WHERE cell BETWEEN ? AND ?"] * len(ranges)
        )
        cells = [value for each in ranges for value in each]
        few = [row[0] for row in self._db.execute(f"{among} LIMIT ?", (*cells, most + 1))]
        return few if len(few) <= most else None

    def _touching(self, region: SkyRegion, images: str, conditions: list[str], values: list[Any]) -> Iterator[int]:
        """Find the numbers of the images that come into a region, the newest first."""
        import numpy as np  # noqa: PLC0415  slow to load

        where = " AND ".join([*conditions, "cell IS NOT NULL", "radius IS NOT NULL"])
        rows = self._db.execute(f"SELECT number, cell, x, y, z, radius FROM {images} WHERE {where} {_ORDER}", values)
        size = _FIRST_GROUP
        while group := rows.fetchmany(size):
            numbers, cells, *vector, radii = zip(*group, strict=True)
            touches = region.touches(np.array(cells), np.array(vector).T, np.array(radii))
            yield from (number for number, inside in zip(numbers, touches.tolist(), strict=True) if inside)
            size = min(4 * size, _MAX_GROUP)


def find_images(config: Config, query: ImageQuery) -> FoundImages:
    """Search the index of an observatory once. Raises ValueError or JournalError as `ImageIndexReader` does."""
    with closing(ImageIndexReader(index_file(config))) as reader:
        return reader.find(query)


def _conditions(query: ImageQuery) -> tuple[list[str], list[Any]]:
    conditions, values = [], list[Any]()
    for key in (*_KEYS, "telescope"):
        if value := getattr(query, key):
            conditions.append(f"{key} = ?")
            values.append(value)
    for key, sign in (("since", ">="), ("until", "<")):
        if (when := getattr(query, key)) is not None:
            conditions.append(f"started {sign} ?")
            values.append(float(when))
    if query.after:
        match = re.fullmatch(r"(-?[\d.e+]{1,30}):(\d{1,15})", query.after)
        try:
            started, number = (float(match[1]), int(match[2])) if match else (math.nan, 0)
        except ValueError:
            started = math.nan
        if not math.isfinite(started):
            raise ValueError(f"after: {query.after[:40]!r} is not the word of a page")
        conditions.append("(started, number) < (?, ?)")
        values += [started, number]
    return conditions, values


def _in_cone(ra: float, dec: float, radius: float) -> tuple[str, list[float]]:
    """Return the condition that an image's surrounding circle touches a cone: the cosine of the sum of the radii."""
    if not (0 <= ra <= 360 and -90 <= dec <= 90 and 0 <= radius <= 180):
        raise ValueError(
            "a cone has a right ascension of 0 to 360, a declination of -90 to 90 and a radius of 0 to 180"
        )
    cosine, sine = math.cos(math.radians(radius)), math.sin(math.radians(radius))
    test = "cell IS NOT NULL AND x * ? + y * ? + z * ? >= ? * cosine - ? * sine - 1e-15"
    return test, [*_vector(ra, dec), cosine, sine]


def _ranges(query: ImageQuery, largest: float) -> list[tuple[int, int]]:
    """Return the cells that the centres of images with a radius of up to ``largest`` degrees may be in."""
    if query.cone is not None:
        ra, dec, radius = query.cone
        return healpix.cone(ra, dec, min(180.0, radius + largest))
    return query.region.around(largest).covering(_MOST_RANGES) if query.region is not None else []


def _vector(ra: float, dec: float) -> tuple[float, float, float]:
    ra, dec = math.radians(ra), math.radians(dec)
    return math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)


def _row(record: ImageRecord) -> tuple[Any, ...]:
    values = [getattr(record, key) for key in _FIELDS]
    values[_FIELDS.index("corners")] = msgspec.json.encode(record.corners).decode()
    if record.ra is None or record.dec is None or record.radius is None:
        return (*values, None, None, None, None, None)
    radius = math.radians(record.radius)
    return (*values, *_vector(record.ra, record.dec), math.cos(radius), math.sin(radius))


def _record(row: tuple[Any, ...]) -> ImageRecord:
    values = dict(zip(_FIELDS, row, strict=True))
    values["corners"] = msgspec.json.decode(values["corners"])
    return msgspec.convert(values, prepared(ImageRecord), strict=False)
