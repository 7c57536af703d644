"""What was decided about each packet, and why: a table in the alert manager's journal, written in the deciding turn.

It is kept for good: a decision takes some hundred bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import msgspec

from pyros.alerts import values
from pyros.alerts.alert import Alert
from pyros.errors import JournalError
from pyros.journal import JournalReader

Outcome = Literal["requested", "changed", "withdrawn", "nothing"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY, alert TEXT NOT NULL, event TEXT NOT NULL, decided REAL NOT NULL,
    accepted INTEGER NOT NULL, rule TEXT NOT NULL, reason TEXT NOT NULL, outcome TEXT NOT NULL,
    observation TEXT NOT NULL, looked_at TEXT NOT NULL)
"""
_INDICES = (
    "CREATE INDEX IF NOT EXISTS decisions_alert ON decisions (alert)",
    "CREATE INDEX IF NOT EXISTS decisions_event ON decisions (event)",
)
_COLUMNS = "alert, event, decided, accepted, rule, reason, outcome, observation, looked_at"
_MOST = 500  # of SQLite's 999 parameters


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, as it is kept. Times are Unix seconds."""

    alert: str
    event: str
    decided: float
    accepted: bool
    rule: str
    reason: str
    """In words, with the limits that the values were held against."""
    outcome: Outcome
    """What was asked of the scheduler."""
    observation: str = ""
    looked_at: dict[str, Any] = {}


def looked_at(alert: Alert, now: datetime) -> dict[str, Any]:
    """The values of an alert that rules can ask for: angles in degrees, age in seconds, false-alarm rate in Hz."""
    moment = alert.time or alert.sent
    found: dict[str, Any] = {
        "stream": alert.stream,
        "notice_type": alert.notice_type,
        "role": alert.role,
        "kind": alert.kind,
        "ra": alert.ra,
        "dec": alert.dec,
        "error_radius": alert.error_radius,
        "containment": alert.containment,
        "galactic_latitude": round(values.galactic_latitude(*alert.target), 3) if alert.target else None,
        "importance": alert.importance,
        "far": alert.far,
        "significant": alert.significant,
        "known_source": alert.known_source,
        "classification": alert.classification or None,
        "age": round((now - moment).total_seconds(), 3) if moment else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def write(db: sqlite3.Connection, record: Record) -> None:
    """Store a decision, inside a transaction that is under way."""
    for statement in (_SCHEMA, *_INDICES):
        db.execute(statement)
    values_ = msgspec.structs.astuple(record)
    db.execute(
        f"INSERT INTO decisions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values_[:-1], msgspec.json.encode(record.looked_at).decode()),
    )


def read(journal: JournalReader, *, alerts: Iterable[str] = (), events: Iterable[str] = ()) -> list[Record]:
    """The decisions about those packets or events, oldest first.

    Raises JournalError when the journal cannot be read; a journal without decisions has none.
    """
    if not journal.rows("SELECT 1 FROM sqlite_master WHERE name = 'decisions'"):
        return []
    found: dict[int, Record] = {}
    for column, wanted in (("alert", list(alerts)), ("event", list(events))):
        for start in range(0, len(wanted), _MOST):
            part = wanted[start : start + _MOST]
            marks = ", ".join("?" * len(part))
            for row in journal.rows(f"SELECT number, {_COLUMNS} FROM decisions WHERE {column} IN ({marks})", *part):
                found[row[0]] = _record(journal, row)
    return [found[number] for number in sorted(found)]


def _record(journal: JournalReader, row: tuple[Any, ...]) -> Record:
    named = dict(zip(Record.__struct_fields__, row[1:], strict=True))
    try:
        named["looked_at"] = msgspec.json.decode(named["looked_at"])
        return msgspec.convert(named, Record, strict=False)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise JournalError(f"{journal.path}: decision {row[0]} cannot be read: {error}") from None
