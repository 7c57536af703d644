"""What a journal keeps of how each of its days began, so that a night can be replayed from there.

The first turn of each UTC day that is committed keeps the agent's state as it was before it, and the number of the last
message before it; each start of the agent is noted, because what an agent has in memory begins anew with it. Together
with the received messages that is all an agent's decisions depend on, but for tables of its own.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from pyros.journal._memory import MemoryReader
from pyros.journal._reader import JournalReader

DAY_SECONDS = 86_400.0
KEPT_DAYS = 60
"""How many days' beginnings are kept."""
MAX_STARTS = 1000
"""How many starts are kept: an agent that fails at its start tries for ever."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS past_days (day INTEGER PRIMARY KEY, number INTEGER NOT NULL, state BLOB);
CREATE TABLE IF NOT EXISTS past_starts (number INTEGER NOT NULL, at REAL NOT NULL);
"""

Write = Callable[[sqlite3.Connection], None]


class DayBegun(NamedTuple):
    """How a day of the agent began."""

    day: int
    """Days since 1970-01-01 UTC."""
    number: int
    """Of the message that was taken last before it; 0 before the first."""
    state: bytes | None
    """The agent's state then, JSON; None where it had none yet."""


class AgentStart(NamedTuple):
    """A start of the agent."""

    number: int
    """Of the message that was taken last before it; 0 before the first."""
    at: float
    """When, Unix seconds."""


def day_of(when: float) -> int:
    """Return the UTC day of a moment (Unix seconds), in days since 1970-01-01."""
    return math.floor(when / DAY_SECONDS)


def keep_day(begun: DayBegun) -> Write:
    """Return the write that keeps how a day began, for its first turn; a later one changes nothing."""

    def write(db: sqlite3.Connection) -> None:
        state = None if begun.state is None else bytearray(begun.state)
        db.execute("INSERT OR IGNORE INTO past_days VALUES (?, ?, ?)", (begun.day, begun.number, state))
        db.execute("DELETE FROM past_days WHERE day <= ?", (begun.day - KEPT_DAYS,))

    return write


def keep_start(start: AgentStart) -> Write:
    """Return the write that notes a start of the agent."""

    def write(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO past_starts VALUES (?, ?)", start)
        db.execute("DELETE FROM past_starts WHERE rowid <= (SELECT max(rowid) FROM past_starts) - ?", (MAX_STARTS,))

    return write


def days(journal: JournalReader | MemoryReader) -> list[DayBegun]:
    """Return the beginnings of days that are kept, the oldest first, without their states.

    Raises JournalError; an older PYROS has kept none.
    """
    if not _has(journal, "past_days"):
        return []
    return [
        DayBegun(day, number, None) for day, number in journal.rows("SELECT day, number FROM past_days ORDER BY day")
    ]


def state(journal: JournalReader | MemoryReader, day: int) -> bytes | None:
    """Return the agent's state at the beginning of a day that is kept. Raises JournalError."""
    rows = journal.rows("SELECT state FROM past_days WHERE day = ?", day)
    return bytes(rows[0][0]) if rows and rows[0][0] is not None else None


def starts(journal: JournalReader | MemoryReader, after: int) -> list[AgentStart]:
    """Return the starts of the agent after the message of that number, the first one first. Raises JournalError."""
    if not _has(journal, "past_starts"):
        return []
    rows = journal.rows("SELECT number, at FROM past_starts WHERE number >= ? ORDER BY rowid", after)
    return [AgentStart(*row) for row in rows]


def _has(journal: JournalReader | MemoryReader, table: str) -> bool:
    return bool(journal.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table))
