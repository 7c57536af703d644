"""The events that the broker keeps in its journal beside its messages, for everybody who reads them.

An event is known by its ivorn; `pyros.broker.packet.identify_by_content` gives one to a packet that has none. The
column ``conflict`` of a rejected packet is the number of the event that is kept under the same ivorn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pyros.journal._reader import JournalReader

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, ivorn TEXT NOT NULL UNIQUE, sha256 BLOB NOT NULL, packet BLOB NOT NULL,
    source TEXT NOT NULL, received REAL NOT NULL, topic TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS rejected (
    number INTEGER PRIMARY KEY, ivorn TEXT NOT NULL, sha256 BLOB NOT NULL UNIQUE, packet BLOB NOT NULL,
    source TEXT NOT NULL, received REAL NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL, conflict INTEGER);
CREATE TABLE IF NOT EXISTS subscribers (
    ivo TEXT PRIMARY KEY, number INTEGER NOT NULL, seen REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conflicts ON rejected (number) WHERE conflict IS NOT NULL;
"""


class KeptEvent(NamedTuple):
    """An event as it is kept."""

    number: int
    ivorn: str
    packet: bytes
    topic: str | None = None
    """The Kafka topic of a packet that is no VOEvent, or is a long one; '' for none. None for other VOEvents."""


class Conflict(NamedTuple):
    """A packet that came under the ivorn of another event, whose number is ``of``; it is kept, and not handed on."""

    ivorn: str
    of: int
    source: str
    received: float
    """Unix seconds."""


class PublishedEvent(NamedTuple):
    """An event of the observatory's own: its number, when the broker got it (Unix seconds), and its ivorn."""

    number: int
    received: float
    ivorn: str


class ArchivablePacket(NamedTuple):
    """A packet with what the archive keeps beside it; ``refused`` is the reason if it is no event, else ''."""

    number: int
    packet: bytes
    source: str
    received: float
    """Unix seconds."""
    topic: str
    refused: str


class EventReader(JournalReader):
    """A read-only view of the broker's journal. Raises JournalError naming the file."""

    def has_topics(self) -> bool:
        """Return whether the table of events has the column of Kafka's topics, which the first journals lacked."""
        return "topic" in [row[1] for row in self.rows("PRAGMA table_info(events)")]

    def last_number(self) -> int:
        """Return the number of the last event; 0 before the first."""
        number: int = self.rows("SELECT coalesce(max(number), 0) FROM events")[0][0]
        return number

    def count(self) -> int:
        """Return how many events are kept."""
        count: int = self.rows("SELECT count(*) FROM events")[0][0]
        return count

    def packet(self, number: int) -> bytes | None:
        """Return the bytes of an event; None when no event has that number."""
        rows = self.rows("SELECT packet FROM events WHERE number = ?", number)
        return rows[0][0] if rows else None

    def received_at(self, number: int) -> float | None:
        """Return when an event was received, in Unix seconds; None when no event has that number."""
        rows = self.rows("SELECT received FROM events WHERE number = ?", number)
        return rows[0][0] if rows else None

    def arrival(self, ivorn: str) -> tuple[float, str] | None:
        """Return when (Unix seconds) and from where an event came; None when it isn't kept."""
        rows = self.rows("SELECT received, source FROM events WHERE ivorn = ?", ivorn)
        return rows[0] if rows else None

    def heard_last(self, limit: int) -> list[tuple[str, float]]:
        """Return from where (source) and when (Unix seconds) the newest events came, newest first."""
        return self.rows("SELECT source, received FROM events ORDER BY number DESC LIMIT ?", limit)

    def beginning_with(self, prefix: str, after: int = 0) -> list[PublishedEvent]:
        """Return the events whose ivorn begins with ``prefix`` and whose number is above ``after``, oldest first."""
        rows = self.rows(
            "SELECT number, received, ivorn FROM events WHERE ivorn >= ? AND ivorn < ? AND number > ? ORDER BY number",
            prefix, prefix + "\uffff", after,
        )  # fmt: skip
        return [PublishedEvent(*row) for row in rows]

    def numbers_and_digests(self, ivorns: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return number and SHA-256 of those events that are kept, by ivorn, from one query for all."""
        marks = ",".join("?" * len(ivorns))
        rows = self.rows(f"SELECT ivorn, number, sha256 FROM events WHERE ivorn IN ({marks})", *ivorns)
        return {ivorn: (number, digest) for ivorn, number, digest in rows}

    def between(self, after: int, last: int, largest: int, limit: int, others: int = 0) -> list[KeptEvent]:
        """Return VOEvents of at most ``largest`` bytes with numbers above ``after`` up to ``last``, oldest first.

        With ``others`` also larger ones, and packets of other forms, of at most so many bytes: these have their topic.
        """
        plain = "(length(packet) <= ? AND substr(ivorn, 1, 5) <> 'json:')"
        rows = self.rows(
            f"SELECT number, ivorn, packet, CASE WHEN {plain} THEN NULL ELSE topic END FROM events WHERE number > ?"
            f" AND number <= ? AND ({plain} OR length(packet) <= ?) ORDER BY number LIMIT ?",
            largest, after, last, largest, others, limit,
        )  # fmt: skip
        return [KeptEvent(*row) for row in rows]

    def conflicts(self, limit: int) -> list[Conflict]:
        """Return the newest packets that came under the ivorn of another event, newest first."""
        rows = self.rows(
            "SELECT ivorn, conflict, source, received FROM rejected WHERE conflict IS NOT NULL"
            " ORDER BY number DESC LIMIT ?", limit,
        )  # fmt: skip
        return [Conflict(*row) for row in rows]

    def subscribers(self, limit: int) -> list[tuple[str, int]]:
        """Return the subscribers heard last and the number up to which each has every event, heard last first."""
        return self.rows("SELECT ivo, number FROM subscribers ORDER BY seen DESC LIMIT ?", limit)

    def archivable(self, after: int, limit: int, *, rejected: bool = False) -> list[ArchivablePacket]:
        """Return events, or else rejected packets, with numbers above ``after``, oldest first."""
        columns, table = ("reason", "rejected") if rejected else ("''", "events")
        rows = self.rows(
            f"SELECT number, packet, source, received, topic, {columns} FROM {table} WHERE number > ?"
            " ORDER BY number LIMIT ?", after, limit,
        )  # fmt: skip
        return [ArchivablePacket(*row) for row in rows]
