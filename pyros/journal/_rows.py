"""What stands in a journal: its tables, their rows, and what one turn adds to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from pyros.wire import Entry

Peer = tuple[str, str]
"""A sender's name and the epoch of its journal."""

PROGRAM = "program:"
"""How the names of senders begin that are no agents; their rows are forgotten a day after they were last seen."""

FORMAT = 2

# The messages of a turn are one row, a JSON array: a row for each took half of the time of a pipeline. The ones that
# failed stand in a table of their own, and leave a null in the array; the view has all of them, one by one.
TURNS = "CREATE TABLE turns (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, messages TEXT NOT NULL);"
FAILED = """
CREATE TABLE failed (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, sender TEXT NOT NULL,
    sent REAL NOT NULL, taken REAL NOT NULL, payload BLOB NOT NULL, error TEXT);
"""
RECEIVED = """
CREATE VIEW received AS
    SELECT turns.first + one.key AS number, one.value ->> 0 AS id, one.value ->> 1 AS name, one.value ->> 2 AS sender,
        one.value ->> 3 AS sent, one.value ->> 4 AS taken, CAST(one.value ->> 5 AS BLOB) AS payload, NULL AS error,
        turns.last AS turn
    FROM turns, json_each(turns.messages) AS one WHERE one.type = 'array'
    UNION ALL SELECT number, id, name, sender, sent, taken, payload, error, number FROM failed;
"""
SCHEMA = f"""
{TURNS} {FAILED} {RECEIVED}
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE peers (
    name TEXT NOT NULL, epoch TEXT NOT NULL, last_seq INTEGER NOT NULL, seen REAL NOT NULL,
    PRIMARY KEY (name, epoch)) WITHOUT ROWID;
CREATE TABLE destinations (agent TEXT PRIMARY KEY, last_seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (
    agent TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, sent REAL NOT NULL,
    payload BLOB NOT NULL, refused TEXT, PRIMARY KEY (agent, seq)) WITHOUT ROWID;
CREATE TABLE timers (number INTEGER PRIMARY KEY AUTOINCREMENT, due REAL NOT NULL, name TEXT NOT NULL, payload BLOB);
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), value BLOB NOT NULL);
"""

INDICES = """
CREATE INDEX IF NOT EXISTS failed_standing ON failed (number) WHERE error IS NOT NULL;
CREATE INDEX IF NOT EXISTS outbox_refused ON outbox (agent, seq) WHERE refused IS NOT NULL;
"""
"""For who counts and pages through them: of rows that are rare, so that no turn pays for them."""

# The last number for each agent when the journal was opened, until the agent has said what it has: an old copy of a
# journal, put in its place, counts on from too low a number. What doesn't have the mark of the opening before is a
# copy: all it has is old. An opening that fails may leave its mark in the lock alone: its name stands here before.
CONFIRMATIONS = """
CREATE TABLE IF NOT EXISTS unconfirmed (agent TEXT PRIMARY KEY, last_seq INTEGER NOT NULL) WITHOUT ROWID;
DELETE FROM unconfirmed WHERE {copied:d};
INSERT OR IGNORE INTO unconfirmed SELECT agent, last_seq FROM destinations;
INSERT OR REPLACE INTO meta VALUES ('file', '{mark}');
DELETE FROM meta WHERE key = 'opening';
"""

NEWEST = "SELECT max(ifnull((SELECT max(last) FROM turns), 0), ifnull((SELECT max(number) FROM failed), 0))"
"""The number of the message that was taken last."""


class Received(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A message that was taken, as it is kept; ``error`` is the traceback of a handler that failed."""

    id: str
    name: str
    sender: str
    sent: float
    taken: float
    payload: bytes
    error: str | None = None


class Outgoing(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A message for another agent, numbered for it; ``seq`` is 0 for a fleeting one, which no journal keeps."""

    agent: str
    seq: int
    id: str
    name: str
    sent: float
    payload: bytes
    said: float | None = None
    """Monotonic seconds of this computer; never stored, for after a restart nothing counts as fresh."""

    def entry(self) -> Entry:
        """Return the message as it goes on the wire."""
        return Entry(self.seq, self.id, self.name, self.sent, msgspec.Raw(self.payload), self.said)


class StoredTimer(NamedTuple):
    """A message the agent will get at ``due`` (Unix seconds), which only bridges restarts."""

    number: int
    due: float
    name: str
    payload: bytes
    steady: float = 0.0
    """The same in the agent's monotonic seconds, by which a running process goes; not stored."""


@dataclass(slots=True, eq=False)
class Effects:
    """Everything one turn wants to store, gathered while its handlers run."""

    received: list[Received] = field(default_factory=list)
    seen: dict[Peer, int] = field(default_factory=dict)
    seen_at: float = 0.0
    """When (Unix seconds) the turn took what is in ``seen``."""
    outgoing: list[Outgoing] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    confirmed: dict[str, int] = field(default_factory=dict)
    """The last number that an agent has, for those that were unconfirmed: messages that were given such numbers since
    the journal was opened get higher ones."""
    refused: list[tuple[str, str, int]] = field(default_factory=list)
    """(reason, agent, seq): what another agent would not take."""
    timers_set: list[StoredTimer] = field(default_factory=list)
    timers_gone: list[int] = field(default_factory=list)
    retried: list[tuple[str | None, int]] = field(default_factory=list)
    """(new error or None, number) of failed messages that were handled again."""
    state: bytes | None = None
    also: list[Callable[[sqlite3.Connection], None]] = field(default_factory=list)
    """Further writes in the same transaction."""

    def __bool__(self) -> bool:
        return bool(
            self.received or self.seen or self.outgoing or self.acknowledged or self.confirmed or self.refused
            or self.timers_set or self.timers_gone or self.retried or self.state is not None or self.also
        )  # fmt: skip
