"""One transaction of the broker's journal: which events of a group are new, and the messages that hand them on.

What is here runs where commits run: in the store's thread, or in a rehearsal in the reactor's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from twisted.internet.defer import Deferred

from pyros import messages
from pyros.config import StandardAgents
from pyros.errors import AlertError
from pyros.journal import Effects, Journal, Outgoing, insert
from pyros.journal.events import EventReader

MAX_REJECTED = 10_000  # packets kept though they were refused; the oldest go


class Stored(NamedTuple):
    """An event is safe: whether it is ``new``, and the number it is kept under."""

    new: bool
    number: int


class WaitingEvent(NamedTuple):
    """An event that waits for its commit."""

    packet: bytes
    ivorn: str
    source: str
    topic: str
    received: float
    answer: Deferred[Stored]
    refused: str = ""
    """Why it is no event; it is kept for people to look at."""
    own: bool = False
    """Whether it is one of our own follow-ups, which the alert manager wrote itself."""


class Answers:
    """What the alert manager and the subscribers have answered and is not yet in the journal."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.confirmed: dict[str, int] = {}
        self.refused: list[tuple[str, str, int]] = []
        self.positions: dict[str, tuple[str, int, float] | None] = {}
        """How far subscribers have got: (identifier, number, when) by identifier; None of whom is to be forgotten."""
        self.notices: list[tuple[str, str, float, bytes]] = []
        """Messages to other agents than the alert manager: (agent, name, when, payload)."""

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def write_positions(self, db: sqlite3.Connection) -> None:
        known = [each for each in self.positions.values() if each is not None]
        forgotten = [(ivo,) for ivo, each in self.positions.items() if each is None]
        db.executemany("INSERT OR REPLACE INTO subscribers VALUES (?, ?, ?)", known)
        db.executemany("DELETE FROM subscribers WHERE ivo = ?", forgotten)

    def add(self, acknowledged: dict[str, int], refused: Sequence[tuple[str, str, int]]) -> None:
        for agent, seq in acknowledged.items():
            self.acknowledged[agent] = max(seq, self.acknowledged.get(agent, 0))
        self.refused += refused


def add_topic(db: sqlite3.Connection) -> None:
    """Journals made before there was Kafka lack the column."""
    db.execute("ALTER TABLE events ADD COLUMN topic TEXT NOT NULL DEFAULT ''")


class Transaction:
    """Finds out which events of a group are new, and gathers what to write."""

    def __init__(self, journal: Journal, reader: EventReader, events: int) -> None:
        """``events`` is the number of the last event that is kept."""
        self._journal, self._reader, self._events = journal, reader, events
        self._known: dict[str, tuple[int, bytes]] = {}
        """Number and digest of what is kept, or is about to be, by ivorn."""
        self._rows: list[tuple[int, str, bytes, bytes, str, float, str]] = []
        self._rejected: list[tuple[str, bytes, bytes, str, float, str, str, int | None]] = []
        self.effects = Effects()

    def look_up(self, group: list[WaitingEvent]) -> None:
        """Find what is kept already, in one question for all; `place` comes after."""
        self._known.update(self._reader.numbers_and_digests([event.ivorn for event in group]))

    def place(self, event: WaitingEvent) -> Stored | AlertError:
        """Give the event its number; `commit` writes it if it is new. What is raised leaves nothing of the event."""
        digest = sha256(event.packet).digest()
        if event.refused:
            return self._reject(event, digest, event.refused, None)
        known = self._known.get(event.ivorn)
        if known is not None:
            number, kept = known
            if kept == digest:
                return Stored(False, number)
            reason = f"conflicts with the event that is stored under this ivorn (number {number})"
            return self._reject(event, digest, reason, number)
        number = self._events + len(self._rows) + 1
        outgoing = [] if event.own else [self._message(event, number)]
        self._known[event.ivorn] = number, digest
        self._rows.append((number, event.ivorn, digest, event.packet, event.source, event.received, event.topic))
        self.effects.outgoing += outgoing
        return Stored(True, number)

    def _reject(self, event: WaitingEvent, digest: bytes, reason: str, conflict: int | None) -> AlertError:
        row = (event.ivorn, digest, event.packet, event.source, event.received, event.topic, reason, conflict)
        self._rejected.append(row)
        return AlertError(reason)

    def _message(self, event: WaitingEvent, number: int) -> Outgoing:
        journal = self._journal
        seq = journal.destinations.get(StandardAgents.ALERT_MANAGER, 0) + len(self.effects.outgoing) + 1
        # The packet is kept once, among the events: `EventStore.complete` puts it in when the message is sent.
        payload = messages.AlertReceived(b"", event.source, event.received, kept=number, topic=event.topic)
        json = messages.encode_payload(messages.ALERT_RECEIVED, payload)
        id_ = f"{journal.epoch[:8]}-{seq}"
        return Outgoing(StandardAgents.ALERT_MANAGER, seq, id_, messages.ALERT_RECEIVED, event.received, json)

    def notify(self, notices: list[tuple[str, str, float, bytes]]) -> None:
        """Messages to other agents; after the events have their places."""
        journal, last = self._journal, dict(self._journal.destinations)
        for agent, name, when, payload in notices:
            last[agent] = last.get(agent, 0) + 1
            id_ = f"{journal.epoch[:8]}-{agent}-{last[agent]}"
            self.effects.outgoing.append(Outgoing(agent, last[agent], id_, name, when, payload))

    @property
    def last(self) -> int:
        """The number of the last event when this is committed."""
        return self._events + len(self._rows)

    def commit(self) -> None:
        """Write what was gathered; raises JournalError, and then nothing is written."""
        if self._rows or self._rejected:
            self.effects.also.append(self._write)
        if self.effects:
            self._journal.commit(self.effects)

    def _write(self, db: sqlite3.Connection) -> None:
        columns = "number, ivorn, sha256, packet, source, received, topic"
        insert(db, f"INSERT INTO events ({columns})", self._rows)
        if self._rejected:
            columns = "ivorn, sha256, packet, source, received, topic, reason, conflict"
            db.executemany(
                f"INSERT OR IGNORE INTO rejected ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._rejected
            )
            db.execute("DELETE FROM rejected WHERE number <= (SELECT max(number) FROM rejected) - ?", (MAX_REJECTED,))
