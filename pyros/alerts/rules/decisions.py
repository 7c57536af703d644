"""What was decided about each packet, and why: a table in the alert manager's journal, written in the deciding turn.

It is kept for good: a decision takes one or two kilobytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from math import floor
from operator import attrgetter
from typing import Any, Literal

import msgspec

from pyros.alerts import events as events_table
from pyros.alerts.alert import Alert
from pyros.alerts.events import StoredEvent
from pyros.alerts.formats import values
from pyros.alerts.rules.circumstances import LocalSky, age
from pyros.alerts.rules.rules import Considered
from pyros.errors import JournalError
from pyros.journal import AnyReader, JournalReader
from pyros.prepared import prepared

RequestChange = Literal["requested", "changed", "withdrawn", "nothing"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY, alert TEXT NOT NULL, event TEXT NOT NULL, decided REAL NOT NULL,
    accepted INTEGER NOT NULL, rule TEXT NOT NULL, reason TEXT NOT NULL, outcome TEXT NOT NULL,
    observation TEXT NOT NULL, looked_at TEXT NOT NULL, considered TEXT NOT NULL DEFAULT '[]', about INTEGER)
"""
_LATER_COLUMNS = {"considered": "TEXT NOT NULL DEFAULT '[]'", "about": "INTEGER"}
_INDICES = (
    "CREATE INDEX IF NOT EXISTS decisions_about ON decisions (about) WHERE about IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS decisions_alert_alone ON decisions (alert) WHERE about IS NULL",
    "CREATE INDEX IF NOT EXISTS decisions_event_alone ON decisions (event) WHERE about IS NULL",
    "DROP INDEX IF EXISTS decisions_alert",
    "DROP INDEX IF EXISTS decisions_event",
)
"""By the event's number in the table of events, which grows: identifiers come in no order (decision 0113). What is
about no event there, or was kept by an earlier version, is found by its words."""
_COLUMNS = (
    "alert",
    "event",
    "decided",
    "accepted",
    "rule",
    "reason",
    "outcome",
    "observation",
    "looked_at",
    "considered",
)
_JSON = ("looked_at", "considered")
_INSERT = f"INSERT INTO decisions ({', '.join(_COLUMNS)}, about) VALUES ({', '.join('?' * len(_COLUMNS))}, ?)"
_SAID = (
    *("stream", "notice_type", "role", "kind", "ra", "dec", "error_radius", "containment"),
    *("importance", "far", "significant", "known_source"),
)
_NAMED = ("classification", "instruments", "group", "pipeline", "search")
"""What an alert says that rules can ask for; of `_NAMED` where it isn't empty."""
_said, _named = attrgetter(*_SAID), attrgetter(*_NAMED)
_BRIEF = tuple(name for name in _COLUMNS if name not in _JSON)
_encode = msgspec.json.Encoder().encode
MAX_PARAMETERS = 500
"""Values in one statement; SQLite takes 999."""


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, as it is kept. Times are Unix seconds."""

    alert: str
    """The alert's identifier."""
    event: str
    """Name of its event."""
    decided: float
    """When, Unix seconds."""
    accepted: bool
    """Whether it is to be observed."""
    rule: str
    """Name of the rule that decided; '' for none."""
    reason: str
    """In words, with the limits that the values were held against."""
    outcome: RequestChange
    """What was asked of the scheduler."""
    observation: str = ""
    """Id of the observation that is asked for; '' for none."""
    looked_at: dict[str, Any] = {}
    """What the conditions were asked about, by name."""
    considered: tuple[Considered, ...] = ()
    """The rules that were asked, each with its conditions: what was wanted, what was found, and whether it held."""


def looked_at(
    alert: Alert, now: datetime, sky: LocalSky | None = None, coincident: Iterable[str] = ()
) -> dict[str, Any]:
    """Return an alert's values that rules can ask for: angles in degrees, age in seconds, false-alarm rate in Hz.

    With a ``sky`` also where its position stood then, and the Sun and the Moon. ``coincident`` says in words what
    agrees with it in time and place.
    """
    seconds, target = age(alert, now), alert.target
    found: dict[str, Any] = {name: value for name, value in zip(_SAID, _said(alert), strict=True) if value is not None}
    if target is not None:
        found["galactic_latitude"] = _rounded(values.galactic_latitude(*target), 1000)
    found.update((name, value) for name, value in zip(_NAMED, _named(alert), strict=True) if value)
    if alert.measured:
        found |= alert.measured
    if agrees := list(coincident):
        found["coincides_with"] = agrees
    if seconds is not None:
        found["age"] = _rounded(seconds, 1000)
    if sky is not None and target is not None:
        now = now.replace(microsecond=0)  # 0.004 degrees; the Earth and the Moon are computed once for many packets
        found["altitude"] = _rounded(sky.altitude(*target, now), 100)
        found["moon_distance"] = _rounded(sky.moon_distance(*target, now), 10)
        found["sun_altitude"] = _rounded(sky.sun_altitude(now), 10)
    return found


def _rounded(value: float, per_unit: int) -> float:
    """Round to a fraction of one; `round` goes by way of the decimal digits, in five times as long."""
    return floor(value * per_unit + 0.5) / per_unit


def prepare(db: sqlite3.Connection) -> None:
    """Make the table where it isn't there, and give it the columns that it had not in the past; in a transaction."""
    db.execute(_SCHEMA)
    there = {row[1] for row in db.execute("PRAGMA table_info(decisions)")}
    for name, kind in _LATER_COLUMNS.items():
        if name not in there:
            db.execute(f"ALTER TABLE decisions ADD COLUMN {name} {kind}")
    for statement in _INDICES:
        db.execute(statement)


def write(db: sqlite3.Connection, record: DecisionRecord, about: int | None = None) -> None:
    """Store a decision, inside a transaction that is under way; `prepare` comes once before.

    ``about`` is the number of the event (`StoredEvent.number`); None where it has none.
    """
    plain = msgspec.structs.astuple(record)[: -len(_JSON)]
    looked_at, considered = _encode(record.looked_at).decode(), _encode(record.considered).decode()
    db.execute(_INSERT, (*plain, looked_at, considered, about))


def read(
    journal: JournalReader, *, alerts: Iterable[str] | None = None, events: Iterable[str] | None = None
) -> list[DecisionRecord]:
    """Read the decisions about those packets or events, oldest first; all when neither is given.

    Raises JournalError when the journal cannot be read; a journal without decisions has none.
    """
    there = [row[1] for row in journal.rows("PRAGMA table_info(decisions)")]
    if not there:
        return []
    columns = ", ".join(name if name in there else "'[]'" for name in _COLUMNS)
    found: dict[int, DecisionRecord] = {}
    select = f"SELECT number, {columns} FROM decisions"
    if alerts is None and events is None:
        return [_record(journal, row) for row in journal.rows(f"{select} ORDER BY number")]
    for column, wanted in (("alert", list(alerts or ())), ("event", list(events or ()))):
        for start in range(0, len(wanted), MAX_PARAMETERS):
            part = wanted[start : start + MAX_PARAMETERS]
            asked = f"{select} WHERE {column} IN ({', '.join('?' * len(part))})"
            if "about" not in there:
                rows = journal.rows(asked, *part)
            else:
                rows = journal.rows(f"{asked} AND about IS NULL", *part)
                numbers = ", ".join(map(str, events_table.numbers_linked(journal, part)))
                rows += journal.rows(f"{asked} AND about IN ({numbers})", *part)
            found |= {row[0]: _record(journal, row) for row in rows}
    return [found[number] for number in sorted(found)]


def newest(journal: JournalReader) -> int:
    """Return the number of the last decision; 0 before the first. Raises JournalError."""
    if not journal.has_table("decisions"):
        return 0
    number: int = journal.rows("SELECT coalesce(max(number), 0) FROM decisions")[0][0]
    return number


def decided_after(journal: JournalReader, number: int) -> set[str]:
    """Return the names of the events about which there are decisions with a number above that. Raises JournalError."""
    if not journal.has_table("decisions"):
        return set()
    return {row[0] for row in journal.rows("SELECT DISTINCT event FROM decisions WHERE number > ?", number)}


def following(journal: JournalReader, after: int, limit: int) -> list[tuple[int, DecisionRecord]]:
    """Return the decisions with a number above ``after``, oldest first. Raises JournalError."""
    if not journal.has_table("decisions"):
        return []
    columns = ", ".join(name if name != "considered" else "'[]'" for name in _COLUMNS)
    rows = journal.rows(
        f"SELECT number, {columns} FROM decisions WHERE number > ? ORDER BY number LIMIT ?", after, limit
    )
    return [(row[0], _record(journal, row)) for row in rows]


def decided_between(journal: AnyReader, begin: float, end: float) -> list[DecisionRecord]:
    """Return the decisions made from ``begin`` until before ``end``, Unix seconds, oldest first.

    By halving, since they stand in the order in which they were made; a clock that was set back misleads it. Raises
    JournalError; a journal without decisions has none.
    """
    there = [row[1] for row in journal.rows("PRAGMA table_info(decisions)")]
    if not there:
        return []
    low, high = 0, journal.rows("SELECT coalesce(max(number), 0) FROM decisions")[0][0]
    while low < high:
        middle = (low + high) // 2
        rows = journal.rows("SELECT number, decided FROM decisions WHERE number > ? ORDER BY number LIMIT 1", middle)
        if rows and rows[0][1] < begin:
            low = rows[0][0]
        else:
            high = middle
    columns = ", ".join(name if name in there else "'[]'" for name in _COLUMNS)
    select = f"SELECT number, {columns} FROM decisions WHERE number > ? AND decided >= ? AND decided < ?"
    return [_record(journal, row) for row in journal.rows(f"{select} ORDER BY number", low, begin, end)]


def first_and_last(journal: JournalReader, stored: StoredEvent) -> tuple[float, DecisionRecord] | None:
    """Return when an event was decided about first, and its last decision without what led to it; None for none.

    Raises JournalError. Some look-ups in the index, however many packets the event has.
    """
    there = [row[1] for row in journal.rows("PRAGMA table_info(decisions)")]
    if not there:
        return None

    def one(columns: str, asked: str = "", order: str = "") -> list[Any]:
        """Return the first row, or the last one with ``DESC``: those of an earlier version come first."""
        ways = [("about IS NULL", ()), ("about = ?", (stored.number,))] if "about" in there else [("TRUE", ())]
        for way, number in reversed(ways) if order else ways:
            select = f"SELECT {columns} FROM decisions WHERE event = ? AND {way} {asked}"
            if rows := journal.rows(f"{select} ORDER BY number {order} LIMIT 1", stored.name, *number):
                return rows
        return []

    columns = ", ".join(_BRIEF)
    rows = one(columns, "AND outcome != 'nothing'", "DESC") or one(columns, "", "DESC")
    if not rows:
        return None
    try:
        last = msgspec.convert(dict(zip(_BRIEF, rows[0], strict=True)), prepared(DecisionRecord), strict=False)
    except msgspec.ValidationError as error:
        raise JournalError(f"{journal.path}: the decision about {stored.name} cannot be read: {error}") from None
    return one("decided")[0][0], last


def _record(journal: AnyReader, row: tuple[Any, ...]) -> DecisionRecord:
    named = dict(zip(_COLUMNS, row[1:], strict=True))
    try:
        for name in _JSON:
            named[name] = msgspec.json.decode(named[name])
        return msgspec.convert(named, prepared(DecisionRecord), strict=False)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise JournalError(f"{journal.path}: decision {row[0]} cannot be read: {error}") from None
