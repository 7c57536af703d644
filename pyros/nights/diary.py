"""The majordome's diary: a table in its journal, written in its turns, of how each night went."""

from __future__ import annotations

import sqlite3
from typing import Literal, NamedTuple

from pyros.journal import JournalReader

MAX_NIGHTS = 400
"""How many nights are kept."""

What = Literal["state", "weather", "observe", "ended", "focus"]
_SCHEMA = """
CREATE TABLE IF NOT EXISTS diary (
    number INTEGER PRIMARY KEY, night TEXT NOT NULL, time REAL NOT NULL, what TEXT NOT NULL, value TEXT NOT NULL,
    reason TEXT NOT NULL, alert TEXT NOT NULL)
"""
_INDICES = (
    "CREATE INDEX IF NOT EXISTS diary_night ON diary (night, number)",
    "CREATE INDEX IF NOT EXISTS diary_what ON diary (what, number)",
)


class DiaryLine(NamedTuple):
    """One thing that happened."""

    night: str
    """The date of its evening at the site."""
    time: float
    """Unix seconds."""
    what: str
    """``state``: the state that began; ``weather``: safe or unsafe; ``observe``: an observation was begun;
    ``ended``: one ended; ``focus``: it was looked for."""
    value: str
    """The state's name; ``safe`` or ``unsafe``; the observation's id; the position in steps."""
    reason: str = ""
    """Why, for people."""
    alert: str = ""
    """The identifier of the alert that an observation is for; '' for none."""


def prepare(db: sqlite3.Connection) -> None:
    """Make the table where it isn't there, and forget the oldest nights; in a transaction."""
    for statement in (_SCHEMA, *_INDICES):
        db.execute(statement)
    db.execute(
        "DELETE FROM diary WHERE night <="
        " (SELECT night FROM diary GROUP BY night ORDER BY night DESC LIMIT 1 OFFSET ?)",
        (MAX_NIGHTS,),
    )


def write(db: sqlite3.Connection, line: DiaryLine) -> None:
    """Store a line; in a transaction."""
    db.execute("INSERT INTO diary (night, time, what, value, reason, alert) VALUES (?, ?, ?, ?, ?, ?)", line)


def read(journal: JournalReader, night: str) -> list[DiaryLine]:
    """Return a night's lines in their order; raises JournalError."""
    if not journal.has_table("diary"):
        return []
    query = "SELECT night, time, what, value, reason, alert FROM diary WHERE night = ? ORDER BY number"
    return [DiaryLine(*row) for row in journal.rows(query, night)]


def last(journal: JournalReader, what: What) -> DiaryLine | None:
    """Return the last line of that kind in any night; None where there is none. Raises JournalError."""
    if not journal.has_table("diary"):
        return None
    query = "SELECT night, time, what, value, reason, alert FROM diary WHERE what = ? ORDER BY number DESC LIMIT 1"
    rows = journal.rows(query, what)
    return DiaryLine(*rows[0]) if rows else None


def about(journal: JournalReader, what: What, value: str) -> list[DiaryLine]:
    """Return the lines of a kind with that value, oldest first; raises JournalError."""
    if not journal.has_table("diary"):
        return []
    query = "SELECT night, time, what, value, reason, alert FROM diary WHERE what = ? AND value = ? ORDER BY number"
    return [DiaryLine(*row) for row in journal.rows(query, what, value)]


def page(journal: JournalReader, before: int | None = None, limit: int = 50) -> list[tuple[int, DiaryLine]]:
    """Return the newest lines with a number below ``before``, newest first; raises JournalError."""
    if not journal.has_table("diary"):
        return []
    select = "SELECT number, night, time, what, value, reason, alert FROM diary WHERE number < ?"
    rows = journal.rows(f"{select} ORDER BY number DESC LIMIT ?", 1 << 62 if before is None else before, limit)
    return [(row[0], DiaryLine(*row[1:])) for row in rows]


def following(journal: JournalReader, after: int, limit: int) -> list[tuple[int, DiaryLine]]:
    """Return the lines with a number above ``after``, oldest first; raises JournalError."""
    if not journal.has_table("diary"):
        return []
    select = "SELECT number, night, time, what, value, reason, alert FROM diary WHERE number > ?"
    rows = journal.rows(f"{select} ORDER BY number LIMIT ?", after, limit)
    return [(row[0], DiaryLine(*row[1:])) for row in rows]


def nights(journal: JournalReader) -> list[str]:
    """Return the nights that the diary has, oldest first; raises JournalError."""
    if not journal.has_table("diary"):
        return []
    return [row[0] for row in journal.rows("SELECT DISTINCT night FROM diary ORDER BY night")]
