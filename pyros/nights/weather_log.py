"""The weather's curve: a table in monitoring's journal of a reading a minute, written in its turns, for trends.

Readings themselves are fleeting and stand in no journal (decision 0065).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec

from pyros.journal import JournalReader
from pyros.messages import WeatherReading

EVERY_SECONDS = 60.0
"""Between two rows."""
KEPT_SECONDS = 40 * 86_400.0
"""How long a row is kept: 60,000 rows."""
QUANTITIES = ("temperature", "humidity", "wind", "gust", "cloud", "pressure", "dew_point", "sky_brightness")
"""The columns, in the units of `WeatherReading`; ``rain`` is 0 or 1."""
_COLUMNS = (*QUANTITIES, "rain")
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS weather_log (time REAL PRIMARY KEY, {", ".join(f"{name} REAL" for name in _COLUMNS)})
    WITHOUT ROWID
"""


class WeatherRow(msgspec.Struct, frozen=True):
    """The weather at one time."""

    time: float
    """Unix seconds."""
    temperature: float | None = None
    """Degrees Celsius."""
    humidity: float | None = None
    """Percent."""
    wind: float | None = None
    """Metres per second."""
    gust: float | None = None
    """Metres per second."""
    cloud: float | None = None
    """Fraction of the sky."""
    pressure: float | None = None
    """Hectopascal."""
    dew_point: float | None = None
    """Degrees Celsius."""
    sky_brightness: float | None = None
    """Magnitudes per square arcsecond."""
    rain: float | None = None
    """1 where it rained."""


def prepare(db: sqlite3.Connection) -> None:
    """Make the table where it isn't there; in a transaction."""
    db.execute(_SCHEMA)


def write(db: sqlite3.Connection, time: float, reading: WeatherReading) -> None:
    """Store a reading, and forget what is too old; in a transaction."""
    values = (getattr(reading, name) for name in _COLUMNS)
    numbers = [None if value is None else float(value) for value in values]
    db.execute(f"INSERT OR REPLACE INTO weather_log VALUES ({', '.join('?' * (1 + len(_COLUMNS)))})", (time, *numbers))
    db.execute("DELETE FROM weather_log WHERE time < ?", (time - KEPT_SECONDS,))


def read(journal: JournalReader, begin: float, end: float, most: int = 500) -> list[WeatherRow]:
    """Return what there is from ``begin`` to ``end`` (Unix seconds), thinned out evenly to ``most`` rows at most.

    Raises JournalError; a journal of an earlier version has none.
    """
    if not journal.has_table("weather_log"):
        return []
    columns = ", ".join(("time", *_COLUMNS))
    rows = journal.rows(f"SELECT {columns} FROM weather_log WHERE time BETWEEN ? AND ? ORDER BY time", begin, end)
    return [WeatherRow(*row) for row in _thinned(rows, most)]


def _thinned(rows: list[tuple[float | None, ...]], most: int) -> Iterator[tuple[float, ...]]:
    """Give every n-th row and the last one."""
    step = max(1, -(-len(rows) // max(1, most)))
    last = len(rows) - 1
    return (row for number, row in enumerate(rows) if (last - number) % step == 0)  # type: ignore[misc]
