"""The events that alerts were about, in two tables of the alert manager's journal: looked up by packet, key and place.

Every event is kept for good, so that a retraction finds what it takes back whatever came in between. What the turn
under way has changed is not in the file yet: `EventTable` looks through the turn's own writes first, and since those of
a handler that raised are undone with it, so is what it had changed here.

Places are found by zones of one degree in declination, and by right ascension within each: Gray, Nieto-Santisteban and
Szalay 2006, "The Zones Algorithm" (MSR-TR-2006-52). Several rows may turn out to be one event; the later ones then name
the first, instead of having their links written anew. For the agent's thread.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from pyros.alerts import coincidences, identity
from pyros.alerts.coincidences import Coincidence, Occurrence
from pyros.alerts.identity import Event, PacketRecord
from pyros.alerts.map_places import MapPlace
from pyros.alerts.tiling import Tiling
from pyros.angles import separation
from pyros.journal import AnyReader, JournalReader, past
from pyros.messages import Observation
from pyros.prepared import prepared

SCHEMA = """
CREATE TABLE IF NOT EXISTS alert_events (
    number INTEGER PRIMARY KEY, name TEXT UNIQUE, zone INTEGER, ra REAL, joined INTEGER, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS alert_event_links (
    link TEXT NOT NULL, test INTEGER NOT NULL, event INTEGER NOT NULL, PRIMARY KEY (link, test, event)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS alert_events_place ON alert_events (zone, ra) WHERE zone IS NOT NULL;
CREATE TABLE IF NOT EXISTS alert_event_times (event INTEGER PRIMARY KEY, time REAL NOT NULL);
CREATE INDEX IF NOT EXISTS alert_event_times_time ON alert_event_times (time);
CREATE TABLE IF NOT EXISTS alert_events_past (
    day INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT, content BLOB NOT NULL, joined INTEGER,
    PRIMARY KEY (day, number)) WITHOUT ROWID;
"""
_MAX_NAMES = 500
"""Values in one statement; SQLite takes 999."""

Rows = Callable[..., Sequence[Any]]
"""Runs a SELECT with its values over what is committed."""


class MapFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a sky map was measured to say."""

    area50: float | None = None
    """Square degrees of the smallest region that has half of the probability."""
    area90: float | None = None
    """Square degrees of the smallest region that has 90 % of the probability."""
    distance: float | None = None
    """Mean luminosity distance, Mpc; None where the map has none."""
    distance_error: float | None = None
    """Its standard deviation, Mpc."""
    place: MapPlace | None = None
    """Where it puts the event; None where an earlier version measured it."""


class Followed(msgspec.Struct):
    """One event: its packets, and the observation that it has caused."""

    event: Event = Event()
    observation: Observation | None = None
    requests: int = 0
    """How many observations it has caused so far, withdrawn ones included."""
    since: float = 0.0
    """When the last of them was asked for first: its repeats count from there."""
    accepted: list[str] = []
    """The packets that the rules wanted observed, the position of another one being better or not."""
    map: MapFacts | None = None
    """What the event's newest sky map was measured to say; None without one, or before it was."""
    asked: Observation | None = None
    """What the rules want observed of it, whether that is its own observation or a coincident event's."""
    tiling: Tiling | None = None
    """What is done about its sky maps; None for an event without any, or where fields are not observed."""

    @property
    def moment(self) -> Occurrence | None:
        """When and where it was, for coincidences; None too while the place depends on a map that is being read."""
        moment = coincidences.moment_of(self.event, self.map.place if self.map is not None else None)
        awaited = self.map is None and self.tiling is not None and self.tiling.is_awaited(self.event)
        return None if awaited and moment is not None and moment.ra is None else moment

    def __post_init__(self) -> None:
        if self.asked is None and self.observation is not None:
            self.asked = self.observation  # stored by a version that knew no coincidences


class StoredEvent(msgspec.Struct):
    """An event with its number in the table, which is in order of the first packets, and the name that it goes by."""

    number: int
    """The event's number; 0 for one that is not stored yet."""
    name: str
    """The name, which its first packet gave it."""
    followed: Followed
    """What is known of it; a copy of the reader's own."""


class EventChange:
    """A row as it is to be written with the turn; called inside its transaction."""

    __slots__ = ("content", "day", "dec", "joined", "links", "moment", "name", "number", "ra")

    def __init__(
        self, stored: StoredEvent, links: Iterable[tuple[str, bool]], joined: Sequence[int], day: int | None = None
    ) -> None:
        """``day``: whose beginning is to be kept, see `past.day_of`; None for none."""
        best = identity.believe(stored.followed.event).best
        self.moment = coincidences.moment_of(stored.followed.event)
        self.number = stored.number
        self.name = stored.name
        self.ra, self.dec = (best.ra, best.dec) if best is not None else (None, None)
        self.content = msgspec.json.encode(stored.followed)
        self.links = tuple(links)
        self.joined = joined
        self.day = day

    def __call__(self, db: sqlite3.Connection) -> None:
        """Write it."""
        if self.day is not None:
            self._keep_past(db, self.day)
        for number in self.joined:
            db.execute(
                "UPDATE alert_events SET joined = ?, name = NULL, zone = NULL, content = '' WHERE number = ?",
                (self.number, number),
            )
            db.execute("DELETE FROM alert_event_times WHERE event = ?", (number,))
        zone = None if self.dec is None else _zone(self.dec)
        db.execute(
            "INSERT OR REPLACE INTO alert_events VALUES (?, ?, ?, ?, NULL, ?)",
            (self.number, self.name, zone, self.ra, bytearray(self.content)),
        )
        if self.moment is not None:
            db.execute("INSERT OR REPLACE INTO alert_event_times VALUES (?, ?)", (self.number, self.moment.time))
        for link, test in self.links:
            db.execute("INSERT OR IGNORE INTO alert_event_links VALUES (?, ?, ?)", (link, test, self.number))

    def _keep_past(self, db: sqlite3.Connection, day: int) -> None:
        """Keep the rows as the day began, before its first change of them; of a new one, that there was none."""
        for number in (self.number, *self.joined):
            db.execute(
                "INSERT OR IGNORE INTO alert_events_past"
                " SELECT ?, number, name, content, joined FROM alert_events WHERE number = ?", (day, number),
            )  # fmt: skip
        db.execute("INSERT OR IGNORE INTO alert_events_past VALUES (?, ?, NULL, '', NULL)", (day, self.number))
        db.execute("DELETE FROM alert_events_past WHERE day <= ?", (day - past.KEPT_DAYS,))


class EventTable:
    """The events of one alert manager. Not thread-safe: the agent's thread only."""

    def __init__(
        self, rows: Rows, writes: Callable[[], Sequence[object]], time: Callable[[], float] | None = None
    ) -> None:
        """Read by ``rows`` what is committed; ``writes`` gives the writes of the turn under way.

        ``time`` (Unix seconds): by which it is kept how each day began, for `as_of`; None keeps nothing of it.
        """
        self._time = time
        self._rows = rows
        self._writes = writes
        self._pending = _Pending()
        self._last: int = 0

    def about(self, new: PacketRecord) -> list[StoredEvent]:
        """Return the events that a packet is about (`identity.is_same_event`), the one heard of first at the front."""
        return self._linked({new.id, new.key, *new.links}, (new.role == "test",))

    def having(self, packet: str) -> list[StoredEvent]:
        """Return the events that have the packet of that identifier."""
        return [each for each in self._linked({packet}, (False, True)) if each.followed.event.has(packet)]

    def named(self, name: str) -> StoredEvent | None:
        """Return the event of that name, if there is one."""
        pending = self._look_at_writes()
        if (number := pending.names.get(name)) is not None:
            change = pending.changes[number]
            return _stored(change.number, change.name, change.content)
        for number, found, content in self._rows("SELECT number, name, content FROM alert_events WHERE name = ?", name):
            if number not in pending.changes and number not in pending.joined:
                return StoredEvent(number, found, _decode(content))
        return None

    def near(self, ra: float, dec: float, radius: float) -> list[StoredEvent]:
        """Return the events whose best position is within ``radius`` of an ICRS position, all in degrees, in order."""
        pending = self._look_at_writes()
        places: dict[int, tuple[float, float]] = {}
        found: dict[int, StoredEvent] = {}
        for zone, ranges in _zones(ra, dec, radius):
            for least, most in ranges:
                for number, name, content in self._rows(
                    "SELECT number, name, content FROM alert_events WHERE zone = ? AND ra BETWEEN ? AND ?",
                    zone, least, most,
                ):  # fmt: skip
                    if number not in pending.changes and number not in pending.joined:
                        found[number] = StoredEvent(number, name, _decode(content))
        for number, change in pending.changes.items():
            if change.ra is not None:
                found[number] = _stored(change.number, change.name, change.content)
        for number, each in found.items():
            best = identity.believe(each.followed.event).best
            if best is not None and best.ra is not None and best.dec is not None:
                places[number] = best.ra, best.dec
        return [found[number] for number in sorted(places) if separation(ra, dec, *places[number]) <= radius]

    def coincident(self, stored: StoredEvent) -> list[tuple[StoredEvent, Coincidence]]:
        """Return the events of other missions that agree with one in time and place, in order.

        Its packets need not be in the table yet. Nothing agrees with what has only a sky map that is being read.
        """
        one = stored.followed.moment
        if one is None:
            return []
        found: list[tuple[StoredEvent, Coincidence]] = []
        before, after = coincidences.horizon(one.mission)
        for other in self._between(one.time + before, one.time + after, one.mission):
            moment = other.followed.moment if other.number != stored.number else None
            agrees = coincidences.coincide(one, moment, other.name) if moment is not None else None
            if agrees is not None:
                found.append((other, agrees))
        return found

    def _between(self, first: float, last: float, mission: str) -> list[StoredEvent]:
        """Return the events that those of a mission coincide with, by their times, in order of their numbers.

        Of all others only the packets are decoded: a sky map's region takes ten times as long.
        """
        pending = self._look_at_writes()
        rows = self._rows("SELECT event FROM alert_event_times WHERE time BETWEEN ? AND ?", first, last)
        numbers = {number for (number,) in rows if number not in pending.joined}
        numbers |= {
            number
            for number, change in pending.changes.items()
            if change.moment is not None and first <= change.moment.time <= last
        }
        found = []
        for row in filter(None, map(self._row, sorted(numbers))):
            other = coincidences.mission_of(_decode_packets(row[2]).event)
            if coincidences.window(mission, other) is not None:
                found.append(_stored(*row))
        return found

    def change(
        self, stored: StoredEvent, new: Iterable[PacketRecord] = (), joined: Iterable[StoredEvent] = ()
    ) -> EventChange:
        """Return the write that keeps an event; it must become one of the turn's writes before the next look-up.

        Args:
            stored: the event; number 0 makes a new row.
            new: the packets that it has got since it was read.
            joined: events that turned out to be this one: they are part of it from now on.
        """
        if not stored.number:
            self._last = max(self._last, self._newest()) + 1
            stored.number = self._last
        links = {(link, each.role == "test") for each in new for link in (each.id, each.key, *each.links)}
        day = None if self._time is None else past.day_of(self._time())
        return EventChange(stored, sorted(links), [each.number for each in joined], day)

    def _newest(self) -> int:
        if self._last:
            return self._last
        ((number,),) = self._rows("SELECT coalesce(max(number), 0) FROM alert_events")
        return int(number)

    def _linked(self, links: set[str], tests: Sequence[bool]) -> list[StoredEvent]:
        pending = self._look_at_writes()
        numbers: set[int] = set()
        for test in tests:
            wanted = list(links)
            for start in range(0, len(wanted), _MAX_NAMES):
                part = wanted[start : start + _MAX_NAMES]
                marks = ",".join("?" * len(part))
                rows = self._rows(
                    f"SELECT event FROM alert_event_links WHERE link IN ({marks}) AND test = ?", *part, test
                )
                numbers.update(row[0] for row in rows)
            for link in wanted:
                numbers |= pending.links.get((link, test), set())
        found: dict[int, StoredEvent] = {}
        for number in numbers:
            stored = self._get(number)
            if stored is not None:
                found[stored.number] = stored
        return [found[number] for number in sorted(found)]

    def _get(self, number: int) -> StoredEvent | None:
        """Return the event that a row is part of."""
        row = self._row(number)
        return _stored(*row) if row is not None else None

    def _row(self, number: int) -> tuple[int, str, bytes] | None:
        """Return the number, name and content of the event that a row is part of."""
        pending = self._pending
        while True:
            number = pending.joined.get(number, number)
            if (change := pending.changes.get(number)) is not None:
                return change.number, change.name, change.content
            rows = self._rows("SELECT name, content, joined FROM alert_events WHERE number = ?", number)
            if not rows:
                return None
            name, content, joined = rows[0]
            if joined is None:
                return number, name, content
            number = joined

    def _look_at_writes(self) -> _Pending:
        self._pending.look_at(self._writes())
        return self._pending


class _Pending:
    """What the turn under way has changed so far."""

    def __init__(self) -> None:
        self._writes: Sequence[object] = ()
        self._seen = 0
        self._forget()

    def _forget(self) -> None:
        self._newest: object = None
        self._seen = 0
        self.changes: dict[int, EventChange] = {}
        self.names: dict[str, int] = {}
        self.links: dict[tuple[str, bool], set[int]] = {}
        self.joined: dict[int, int] = {}

    def look_at(self, writes: Sequence[object]) -> None:
        """Take note of the writes that came since; of all when it is another turn, or some were undone."""
        undone = len(writes) < self._seen or (self._seen and writes[self._seen - 1] is not self._newest)
        if writes is not self._writes or undone:
            self._forget()
            self._writes = writes
        for each in writes[self._seen :]:
            if isinstance(each, EventChange):
                self._take(each)
            self._newest = each
        self._seen = len(writes)

    def _take(self, change: EventChange) -> None:
        for number in change.joined:
            self.joined[number] = change.number
            if (former := self.changes.pop(number, None)) is not None:
                self.names.pop(former.name, None)
        if (former := self.changes.get(change.number)) is not None:
            self.names.pop(former.name, None)
        self.changes[change.number] = change
        self.names[change.name] = change.number
        for link in change.links:
            self.links.setdefault(link, set()).add(change.number)


def migrate(table: EventTable, events: dict[str, Followed], keep: Callable[[EventChange], None]) -> None:
    """Put the events into the table that an earlier version kept in the agent's state, in their order there."""
    for name, followed in events.items():
        keep(table.change(StoredEvent(0, name, followed), followed.event.packets))


def read(journal: AnyReader, name: str | None = None) -> list[StoredEvent]:
    """Read the event of that name, or all of them, in the order in which they were heard of first.

    Raises JournalError when the journal cannot be read; one of an earlier version has no such table, and no events.
    """
    if not journal.rows("SELECT 1 FROM sqlite_master WHERE name = 'alert_events'"):
        return []
    select = "SELECT number, name, content FROM alert_events WHERE joined IS NULL"
    rows = journal.rows(f"{select} ORDER BY number") if name is None else journal.rows(f"{select} AND name = ?", name)
    return [StoredEvent(number, name, _decode(content)) for number, name, content in rows]


def page(journal: JournalReader, before: int | None = None, limit: int = 50) -> list[StoredEvent]:
    """Return the newest ``limit`` events with a number below ``before``, newest first; raises JournalError.

    By the table's own order, so that one page costs what another costs.
    """
    if not journal.has_table("alert_events"):
        return []
    select = "SELECT number, name, content FROM alert_events WHERE number < ? AND joined IS NULL"
    rows = journal.rows(f"{select} ORDER BY number DESC LIMIT ?", 1 << 62 if before is None else before, limit)
    return [StoredEvent(number, name, _decode(content)) for number, name, content in rows]


def with_packet(journal: JournalReader, packet: str) -> StoredEvent | None:
    """Return the event that has the packet of that identifier, or the name; raises JournalError."""
    if not journal.has_table("alert_events"):
        return None
    columns = "number, name, content, joined"
    rows = journal.rows(f"SELECT {columns} FROM alert_events WHERE name = ?", packet)
    rows = rows or journal.rows(
        f"SELECT {columns} FROM alert_events WHERE number IN (SELECT event FROM alert_event_links WHERE link = ?)"
        " ORDER BY number LIMIT 1", packet,
    )  # fmt: skip
    while rows and rows[0][3] is not None:
        rows = journal.rows(f"SELECT {columns} FROM alert_events WHERE number = ?", rows[0][3])
    return StoredEvent(rows[0][0], rows[0][1], _decode(rows[0][2])) if rows else None


def coinciding(journal: AnyReader, name: str) -> list[Coincidence]:
    """Return what agrees in time and place with the event of that name, of what the journal has now."""
    if not journal.rows("SELECT 1 FROM sqlite_master WHERE name = 'alert_event_times'"):
        return []
    table = EventTable(journal.rows, tuple)
    stored = table.named(name)
    return [agrees for _, agrees in table.coincident(stored)] if stored is not None else []


def _stored(number: int, name: str, content: bytes) -> StoredEvent:
    return StoredEvent(number, name, _decode(content))


class _Packets(msgspec.Struct):
    """A `Followed` of which only the packets are decoded."""

    event: Event = Event()


_decode = msgspec.json.Decoder(prepared(Followed)).decode
_decode_packets = msgspec.json.Decoder(prepared(_Packets)).decode


def _zone(dec: float) -> int:
    return math.floor(dec)


def _zones(ra: float, dec: float, radius: float) -> Iterable[tuple[int, list[tuple[float, float]]]]:
    """Give each zone that a cone touches, with the ranges of right ascension in it, all in degrees."""
    least, most = max(-90.0, dec - radius), min(90.0, dec + radius)
    if least <= -90 or most >= 90:
        ranges = [(0.0, 360.0)]
    else:
        # The cone's widest right ascension: where its rim touches a meridian.
        width = math.degrees(math.asin(min(1.0, math.sin(math.radians(radius)) / math.cos(math.radians(dec))))) + 1e-9
        low, high = ra - width, ra + width
        if low < 0:
            ranges = [(0.0, high), (low + 360, 360.0)]
        elif high > 360:
            ranges = [(0.0, high - 360), (low, 360.0)]
        else:
            ranges = [(low, high)]
    for zone in range(_zone(least), _zone(most) + 1):
        yield zone, ranges
