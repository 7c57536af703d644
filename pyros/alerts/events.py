"""The events that alerts were about, in two tables of the alert manager's journal: looked up by packet, key and time.

Every event is kept for good, so that a retraction finds what it takes back whatever came in between. What the turn
under way has changed is not in the file yet: `EventTable` looks through the turn's own writes first, and since those of
a handler that raised are undone with it, so is what it had changed here.

Identifiers come in no order, and so each index of them costs a page of the disk for every packet: only the links have
one, and all else is found through them (decision 0113). Several rows may turn out to be one event; the later ones then
name the first, instead of having their links written anew. For the agent's thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from pyros.alerts import coincidences, identity
from pyros.alerts.coincidences import Coincidence, Occurrence
from pyros.alerts.identity import Event, PacketRecord
from pyros.alerts.map_places import MapPlace
from pyros.alerts.tiling import Tiling
from pyros.journal import AnyReader, JournalReader, insert, past
from pyros.messages import Observation
from pyros.prepared import prepared

SCHEMA = """
CREATE TABLE IF NOT EXISTS alert_events (
    number INTEGER PRIMARY KEY, name TEXT, joined INTEGER, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS alert_links (
    link TEXT NOT NULL, test INTEGER NOT NULL, event INTEGER NOT NULL, PRIMARY KEY (link, test, event)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alert_event_links (link TEXT, test INTEGER, event INTEGER);
INSERT OR IGNORE INTO alert_links
    SELECT CASE instr(link, ':') WHEN 0 THEN link
        ELSE substr(link, instr(link, ':') + 1) || ':' || substr(link, 1, instr(link, ':') - 1) END, test, event
    FROM alert_event_links;
DROP TABLE alert_event_links;
CREATE TABLE IF NOT EXISTS alert_event_times (event INTEGER PRIMARY KEY, time REAL NOT NULL);
CREATE INDEX IF NOT EXISTS alert_event_times_time ON alert_event_times (time);
CREATE TABLE IF NOT EXISTS alert_events_past (
    day INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT, content BLOB NOT NULL, joined INTEGER,
    PRIMARY KEY (day, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alert_event_days (day INTEGER PRIMARY KEY, newest INTEGER NOT NULL);
PRAGMA cache_size = -16384;
"""
"""An earlier version's links are moved into today's table. The cache, of 16 MiB at most, has the links of some hundred
thousand events."""
_MAX_NAMES = 500
"""Values in one statement; SQLite takes 999."""
MAX_LOOKED_AT = 20_000
"""Events that are looked at for one page of a part of the sky: some tenths of a second."""

_LINKED = "FROM alert_links WHERE link IN"


@lru_cache(maxsize=16)
def _select_linked(count: int) -> str:
    return f"SELECT event, test {_LINKED} ({','.join('?' * count)})"


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


class Followed(msgspec.Struct, omit_defaults=True):
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
        if self.asked is None and self.observation is not None and self.event.has(self.observation.alert):
            self.asked = self.observation  # stored by a version that knew no coincidences: else it is held for another


class StoredEvent(msgspec.Struct):
    """An event with its number in the table, which is in order of the first packets, and the name that it goes by."""

    number: int
    """The event's number; 0 for one that is not stored yet."""
    name: str
    """The name, which its first packet gave it."""
    followed: Followed
    """What is known of it; a copy of the reader's own."""

    @property
    def retracted(self) -> bool:
        """Whether something real was said of it, and all of that is taken back."""
        return identity.believe(self.followed.event).retracted


def standing(agreements: Iterable[tuple[StoredEvent, Coincidence]]) -> dict[str, str]:
    """Return the missions of the events that coincide and are not retracted, by the events' names."""
    return {other.name: agrees.mission for other, agrees in agreements if not other.retracted}


class EventChange:
    """A row as it is to be written with the turn; called inside its transaction."""

    __slots__ = ("begun", "content", "day", "joined", "links", "moment", "name", "new", "number")

    def __init__(
        self,
        stored: StoredEvent,
        links: Iterable[tuple[str, bool]],
        joined: Sequence[int] = (),
        *,
        new: bool = True,
        day: int | None = None,
        begun: int | None = None,
    ) -> None:
        """Take the event as it stands.

        Args:
            stored: the event.
            links: what it is found by from now on, and whether as a test.
            joined: the numbers of events that are part of it from now on.
            new: whether it has no row yet.
            day: whose beginning is to be kept, see `past.day_of`; None for none.
            begun: the newest event's number before the turn, in the turn's first change.
        """
        self.moment = coincidences.moment_of(stored.followed.event)
        self.number = stored.number
        self.name = stored.name
        self.content = _encode(stored.followed)
        self.links = tuple(links)
        self.joined = joined
        self.new = new
        self.day = day
        self.begun = begun

    def __call__(self, db: sqlite3.Connection) -> None:
        """Write it."""
        if self.day is not None:
            self._keep_past(db, self.day)
        for number in self.joined:
            db.execute(
                "UPDATE alert_events SET joined = ?, name = NULL, content = '' WHERE number = ?", (self.number, number)
            )
            db.execute("DELETE FROM alert_event_times WHERE event = ?", (number,))
        db.execute(
            "INSERT OR REPLACE INTO alert_events (number, name, content) VALUES (?, ?, ?)",
            (self.number, self.name, bytearray(self.content)),
        )
        if self.moment is not None:
            db.execute("INSERT OR REPLACE INTO alert_event_times VALUES (?, ?)", (self.number, self.moment.time))
        insert(db, "INSERT OR IGNORE INTO alert_links", [(*link, self.number) for link in self.links])

    def _keep_past(self, db: sqlite3.Connection, day: int) -> None:
        """Keep which event was the newest as the day began, and of older ones the rows before their first change."""
        if self.begun is not None:
            first = db.execute("INSERT OR IGNORE INTO alert_event_days VALUES (?, ?)", (day, self.begun)).rowcount
            if first > 0:
                for table in ("alert_events_past", "alert_event_days"):
                    db.execute(f"DELETE FROM {table} WHERE day <= ?", (day - past.KEPT_DAYS,))
        for number in (*(() if self.new else (self.number,)), *self.joined):
            db.execute(
                "INSERT OR IGNORE INTO alert_events_past SELECT day, number, name, content, joined"
                " FROM alert_events JOIN alert_event_days ON number <= newest WHERE number = ? AND day = ?",
                (number, day),
            )


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

    def about(self, new: PacketRecord) -> tuple[list[StoredEvent], StoredEvent | None]:
        """Return the events that a packet is about (`identity.is_same_event`), the one heard of first at the front.

        Where there is none, also the event that goes by the packet's key: a test's where the packet is real, or the
        other way round.
        """
        test = new.role == "test"
        linked = self._linked({new.id, new.key, *new.links})
        if not linked:
            return [], None
        about = {number for number, of_tests in linked if of_tests == test}
        others = () if about else self._events({number for number, _ in linked})
        return self._events(about), next((each for each in others if each.name == new.key), None)

    def having(self, packet: str) -> list[StoredEvent]:
        """Return the events that have the packet of that identifier."""
        return [each for each in self._events_linked(packet) if each.followed.event.has(packet)]

    def named(self, name: str) -> StoredEvent | None:
        """Return the event of that name, if there is one."""
        return next((each for each in self._events_linked(name) if each.name == name), None)

    def known_as(self, word: str) -> StoredEvent | None:
        """Return the event of that name, else the first one that has it as a key or as a packet's identifier."""
        found = self._events_linked(word)
        return next((each for each in found if each.name == word), found[0] if found else None)

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
        newest, is_new = self._newest(), not stored.number
        if is_new:
            stored.number = self._last = newest + 1
        day = None if self._time is None else past.day_of(self._time())
        begun = newest if day is not None and not self._look_at_writes().changes else None
        gone = [each.number for each in joined]
        return EventChange(stored, links_of(stored, new), gone, new=is_new, day=day, begun=begun)

    def _newest(self) -> int:
        if self._last:
            return self._last
        ((number,),) = self._rows("SELECT coalesce(max(number), 0) FROM alert_events")
        return int(number)

    def _linked(self, links: set[str]) -> set[tuple[int, bool]]:
        """Return the numbers of the rows with one of those links, and whether they have it as tests."""
        pending = self._look_at_writes().links
        found: set[tuple[int, bool]] = set()
        wanted = list(map(as_stored, links))
        for start in range(0, len(wanted), _MAX_NAMES):
            part = wanted[start : start + _MAX_NAMES]
            for number, test in self._rows(_select_linked(len(part)), *part):
                found.add((number, bool(test)))
        for link in wanted:
            if link in pending:
                found |= pending[link]
        return found

    def _events_linked(self, link: str) -> list[StoredEvent]:
        return self._events({number for number, _ in self._linked({link})})

    def _events(self, numbers: set[int]) -> list[StoredEvent]:
        """Return the events that rows are part of, in order."""
        rows = {row[0]: row for row in map(self._row, numbers) if row is not None}
        return [_stored(*rows[number]) for number in sorted(rows)]

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
        self.links: dict[str, set[tuple[int, bool]]] = {}
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
            self.changes.pop(number, None)
        self.changes[change.number] = change
        for link, test in change.links:
            self.links.setdefault(link, set()).add((change.number, test))


def migrate(table: EventTable, events: dict[str, Followed], keep: Callable[[EventChange], None]) -> None:
    """Put the events into the table that an earlier version kept in the agent's state, in their order there."""
    for name, followed in events.items():
        keep(table.change(StoredEvent(0, name, followed), followed.event.packets))


def prepare(db: sqlite3.Connection) -> None:
    """Bring the tables of an earlier version up to date, in a transaction; the columns that it has more stay empty."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'alert_events_place'").fetchone():
        db.execute("DROP INDEX alert_events_place")
        # What is found by its name has a link of it; these have none.
        for number, name in db.execute("SELECT number, name FROM alert_events WHERE name LIKE '% (test)'").fetchall():
            db.execute("INSERT OR IGNORE INTO alert_links VALUES (?, 1, ?)", (as_stored(name), number))


def links_of(stored: StoredEvent, packets: Iterable[PacketRecord]) -> list[tuple[str, bool]]:
    """Return what an event is found by: its name, and what its packets are linked by; and whether as a test."""
    links: set[tuple[str, bool]] = set()
    named = False
    for each in packets:
        test = each.role == "test"
        for link in (each.id, each.key, *each.links):
            links.add((as_stored(link), test))
            named = named or link == stored.name
    if not named:
        of_tests = any(each.role == "test" for each in stored.followed.event.packets)
        links.add((as_stored(stored.name), of_tests))
    return sorted(links)


def as_stored(link: str) -> str:
    """Return a link with its beginning, up to the colon, at its end.

    A survey's packet then stands beside its object in the index: ``ztf.alert:ZTF26abc:17`` and ``ztf:ZTF26abc``.
    """
    beginning, colon, rest = link.partition(":")
    return f"{rest}:{beginning}" if colon else link


def read(journal: AnyReader) -> list[StoredEvent]:
    """Read all events, in the order in which they were heard of first.

    Raises JournalError when the journal cannot be read; one of an earlier version has no such table, and no events.
    """
    if not journal.rows("SELECT 1 FROM sqlite_master WHERE name = 'alert_events'"):
        return []
    rows = journal.rows("SELECT number, name, content FROM alert_events WHERE joined IS NULL ORDER BY number")
    return [StoredEvent(number, name, _decode(content)) for number, name, content in rows]


def numbers_linked(journal: AnyReader, links: Sequence[str]) -> list[int]:
    """Return the numbers of all rows that have, or had, one of those packets, keys or names; raises JournalError.

    At most 999 links, which SQLite takes in one statement.
    """
    if not journal.rows("SELECT 1 FROM sqlite_master WHERE name = 'alert_links'"):
        return []
    first = f"SELECT event {_LINKED} ({','.join('?' * len(links))})"
    further = "SELECT joined FROM alert_events JOIN linked USING (number) WHERE joined IS NOT NULL"
    query = f"WITH RECURSIVE linked(number) AS ({first} UNION {further}) SELECT number FROM linked"
    rows = journal.rows(query, *map(as_stored, links))
    return [number for (number,) in rows]


def page(journal: JournalReader, before: int | None = None, limit: int = 50) -> list[StoredEvent]:
    """Return the newest ``limit`` events with a number below ``before``, newest first; raises JournalError.

    By the table's own order, so that one page costs what another costs.
    """
    if not journal.has_table("alert_events"):
        return []
    select = "SELECT number, name, content FROM alert_events WHERE number < ? AND joined IS NULL"
    rows = journal.rows(f"{select} ORDER BY number DESC LIMIT ?", 1 << 62 if before is None else before, limit)
    return [StoredEvent(number, name, _decode(content)) for number, name, content in rows]


def page_within(
    journal: JournalReader, are_within: Callable[[Sequence[float], Sequence[float]], Sequence[bool]],
    before: int | None = None, limit: int = 50, among: Iterable[int] | None = None,
) -> tuple[list[StoredEvent], int | None]:  # fmt: skip
    """Return the newest ``limit`` events of a part of the sky with a number below ``before``; raises JournalError.

    No index has their places (decision 0113): unless they are among a few, `MAX_LOOKED_AT` are looked at, newest first.

    Args:
        journal: the alert manager's.
        are_within: tells which of the best positions, in ICRS degrees, lie there.
        before: what the page before has returned; None for the first page.
        limit: how many at most.
        among: the numbers of the only events that can be there; None for any.

    Returns:
        The events, and what to ask the next page with, also where this one has fewer; None at the end.
    """
    if not journal.has_table("alert_events"):
        return [], None
    found: list[StoredEvent] = []
    last, looked_at, left = 1 << 62 if before is None else before, 0, None
    if among is not None:
        left = sorted((number for number in among if number < last), reverse=True)
    select = "SELECT number, name, content FROM alert_events WHERE joined IS NULL AND"
    while looked_at < MAX_LOOKED_AT:
        if left is None:
            rows = journal.rows(f"{select} number < ? ORDER BY number DESC LIMIT ?", last, _MAX_NAMES)
        else:
            some, left = left[:_MAX_NAMES], left[_MAX_NAMES:]
            rows = journal.rows(f"{select} number IN ({','.join('?' * len(some))}) ORDER BY number DESC", *some)
        if not rows and not left:
            return found, None
        placed = [(row, best.ra, best.dec) for row in rows if (best := _best(row[2])) is not None]
        inside = are_within([ra for _, ra, _ in placed], [dec for _, _, dec in placed]) if placed else ()
        found += [_stored(*row) for (row, _, _), here in zip(placed, inside, strict=True) if here]
        if len(found) >= limit:
            return found[:limit], found[limit - 1].number
        last, looked_at = rows[-1][0] if rows else last, looked_at + len(rows)
    return found, last


def _best(content: bytes) -> Any:
    """Return an event's best position; None without one."""
    best = identity.believe(_decode_packets(content).event).best
    return None if best is None or best.ra is None or best.dec is None else best


def with_packet(journal: JournalReader, packet: str) -> StoredEvent | None:
    """Return the event that has that name, or the packet of that identifier; raises JournalError."""
    return EventTable(journal.rows, tuple).known_as(packet) if journal.has_table("alert_links") else None


def coinciding(journal: AnyReader, name: str) -> list[Coincidence]:
    """Return what agrees in time and place with the event of that name, of what the journal has now."""
    if not journal.rows("SELECT 1 FROM sqlite_master WHERE name = 'alert_links'"):
        return []
    table = EventTable(journal.rows, tuple)
    stored = table.named(name)
    return [agrees for _, agrees in table.coincident(stored)] if stored is not None else []


def _stored(number: int, name: str, content: bytes) -> StoredEvent:
    return StoredEvent(number, name, _decode(content))


class _Packets(msgspec.Struct):
    """A `Followed` of which only the packets are decoded."""

    event: Event = Event()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(prepared(Followed)).decode
_decode_packets = msgspec.json.Decoder(prepared(_Packets)).decode
