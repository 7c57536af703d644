"""An agent's journal: one SQLite file that holds received messages, outbox, timers and state.

It is the only durable thing an agent has. A turn is written by one call of `Journal.commit`, in one transaction with
``synchronous=FULL``: after a crash at any instant either nothing of the turn is there or all of it.

One connection writes and checkpoints (SQLite below 3.51.3 can corrupt a WAL file otherwise), and a lock file keeps a
second process away; everybody else uses `JournalReader`, which is read-only.

A rehearsal may keep its agents' journals as Python objects (`MemoryJournals`), behind the same interface.
"""

from __future__ import annotations

from pathlib import Path

from pyros.journal._lock import running
from pyros.journal._memory import MemoryJournal, MemoryJournals, MemoryReader
from pyros.journal._reader import MAX_COUNTED, NOT_YOURS, JournalFigures, JournalReader
from pyros.journal._rows import FORMAT, PROGRAM, Effects, Outgoing, Peer, Received, StoredTimer
from pyros.journal._writer import Journal, insert

AnyJournal = Journal | MemoryJournal
AnyReader = JournalReader | MemoryReader


class SqliteJournals:
    """The journals of an observatory: files."""

    def open(self, path: Path, *, epoch: str = "", durable: bool = True, schema: str = "") -> Journal:
        """Open or make a journal, as `Journal` does. Raises JournalError."""
        return Journal(path, epoch=epoch, durable=durable, schema=schema)

    def reader(self, path: Path) -> JournalReader:
        """Return a view of a journal. Raises JournalError where there is none."""
        return JournalReader(path)


AnyJournals = SqliteJournals | MemoryJournals
SQLITE = SqliteJournals()

__all__ = [
    "FORMAT",
    "MAX_COUNTED",
    "NOT_YOURS",
    "PROGRAM",
    "SQLITE",
    "AnyJournal",
    "AnyJournals",
    "AnyReader",
    "Effects",
    "Journal",
    "JournalFigures",
    "JournalReader",
    "MemoryJournal",
    "MemoryJournals",
    "MemoryReader",
    "Outgoing",
    "Peer",
    "Received",
    "SqliteJournals",
    "StoredTimer",
    "insert",
    "running",
]
