"""Journals of older formats are brought up to date by their writer, in a transaction: wholly or not at all."""

from __future__ import annotations

import sqlite3

import msgspec

from pyros.journal._rows import FAILED, FORMAT, RECEIVED, TURNS

_TOGETHER = 1_000  # messages
_encode = msgspec.json.Encoder().encode


def from_format_1(db: sqlite3.Connection) -> None:
    """Convert format 1, with a row for each message that was taken: a turn for each. Raises sqlite3.Error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("ALTER TABLE received RENAME TO received_1")
        db.execute("DROP INDEX IF EXISTS failed")
        for statement in (TURNS, FAILED, RECEIVED):
            db.execute(statement)
        rows = db.execute(
            "SELECT number, id, name, sender, sent, taken, payload, error FROM received_1 ORDER BY number"
        )
        while some := rows.fetchmany(_TOGETHER):
            turns = []
            for number, *message, payload, error in some:
                kept = (*message, str(payload, "utf-8", "replace")) if error is None else None
                turns.append((number, number, _encode([kept]).decode()))
            db.executemany("INSERT INTO turns VALUES (?, ?, ?)", turns)
        db.execute("INSERT INTO failed SELECT * FROM received_1 WHERE error IS NOT NULL")
        db.execute("DROP TABLE received_1")
        db.execute("UPDATE meta SET value = ? WHERE key = 'format'", (str(FORMAT),))
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
