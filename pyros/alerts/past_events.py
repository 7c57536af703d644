"""The events as they were when a day began, from what each day has kept of its first changes; for a replay."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from pyros.alerts.events import EventChange, Followed, StoredEvent, as_stored, links_of
from pyros.errors import JournalError
from pyros.journal import AnyReader, insert
from pyros.prepared import prepared

_PAGE = 5000
"""Rows that are read at a time: there may be millions."""


def as_of(journal: AnyReader, day: int) -> Callable[[sqlite3.Connection], None]:
    """Return the write that fills empty tables with the events as they were when that day began, see `past.day_of`.

    It knows the days of `past.KEPT_DAYS`. It raises JournalError when the journal cannot be read.
    """

    def write(db: sqlite3.Connection) -> None:
        newest = _newest(journal, day)
        then: dict[int, tuple[str | None, bytes, int | None]] = {}
        rows = journal.rows(
            "SELECT number, name, content, joined FROM alert_events_past WHERE day >= ? AND number <= ?"
            " ORDER BY day DESC", day, newest,
        )  # fmt: skip
        for number, name, content, joined in rows:
            then[number] = (name, bytes(content) if isinstance(content, bytes) else b"", joined)

        def is_as_it_was(number: int) -> bool:
            return number <= newest and number not in then

        columns = "number, name, joined, content"
        for page in _pages(journal, f"SELECT {columns} FROM alert_events WHERE number > ? ORDER BY number LIMIT ?"):
            insert(db, f"INSERT INTO alert_events ({columns})", [row for row in page if is_as_it_was(row[0])])
        for page in _pages(journal, "SELECT event, time FROM alert_event_times WHERE event > ? ORDER BY event LIMIT ?"):
            insert(db, "INSERT INTO alert_event_times", [row for row in page if is_as_it_was(row[0])])
        for rows in _links(journal):
            insert(db, "INSERT INTO alert_links", [row for row in rows if is_as_it_was(row[2])])
        for number, (name, content, joined) in sorted(then.items()):
            if joined is not None:
                db.execute("INSERT INTO alert_events VALUES (?, NULL, ?, '')", (number, joined))
            elif name is not None:
                _restore(db, StoredEvent(number, name, _decode(journal, content)))

    return write


def _restore(db: sqlite3.Connection, stored: StoredEvent) -> None:
    EventChange(stored, links_of(stored, stored.followed.event.packets))(db)


def _newest(journal: AnyReader, day: int) -> float:
    """Return the number of the newest event as that day began; infinity where the days don't tell.

    An earlier version kept a row of each new event instead.
    """
    if not journal.rows("SELECT 1 FROM sqlite_master WHERE name = 'alert_event_days'"):
        return math.inf
    ((newest,),) = journal.rows("SELECT min(newest) FROM alert_event_days WHERE day >= ?", day)
    return math.inf if newest is None else newest


def _pages(journal: AnyReader, query: str) -> Iterator[list[Any]]:
    """Yield the rows of a query by pages: its first column is what the next page goes on after."""
    last = 0
    while rows := journal.rows(query, last, _PAGE):
        yield rows
        last = rows[-1][0]


def _links(journal: AnyReader) -> Iterator[list[Any]]:
    """Yield the links by pages, as today's table has them; that of an earlier version had them in another form."""
    today = bool(journal.rows("SELECT 1 FROM sqlite_master WHERE name = 'alert_links'"))
    table = "alert_links" if today else "alert_event_links"
    last: tuple[Any, ...] = ("", -1, -1)
    query = f"SELECT link, test, event FROM {table} WHERE (link, test, event) > (?, ?, ?) ORDER BY 1, 2, 3"
    while rows := journal.rows(f"{query} LIMIT ?", *last, _PAGE):
        yield rows if today else [(as_stored(link), test, event) for link, test, event in rows]
        last = tuple(rows[-1])


def _decode(journal: AnyReader, content: bytes) -> Followed:
    try:
        return msgspec.json.decode(content, type=prepared(Followed))
    except msgspec.DecodeError as error:
        raise JournalError(f"{journal.path}: an event of the past cannot be read: {error}") from None
