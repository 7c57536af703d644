"""Archives of older formats are brought up to date: in a transaction of the only writer, so wholly or not at all."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from pyros.alerts.archive.tables import FORMAT, meta, packets, volumes
from pyros.alerts.archive.text_index import SqliteTextIndex, TextIndex, add_to_index

_TOGETHER = 10_000  # packets


def from_format_1(connection: sa.Connection, words: TextIndex, told: Callable[[int, int], None]) -> None:
    """Convert format 1, with all words in one table, which becomes a volume (SQLite) or is split into volumes.

    ``told`` hears how many packets of how many are done: at the beginning, and as it goes on.
    """
    connection.execute(meta.update().values(format=2))  # first: it begins SQLite's transaction
    number, received = packets.c.number, packets.c.received
    first, last, oldest, newest = connection.execute(
        sa.select(sa.func.min(number), sa.func.max(number), sa.func.min(received), sa.func.max(received))
    ).one()
    told(0, last or 0)
    if isinstance(words, SqliteTextIndex):
        connection.exec_driver_sql("ALTER TABLE words RENAME TO words_1")
        span = {"first": first or 1, "oldest": oldest or 0.0, "newest": newest or 0.0}
        connection.execute(volumes.insert().values(volume=1, **span))
        return
    old = sa.table("word_table", sa.column("packet"), sa.column("word"))
    said = sa.select(number, received, sa.func.array_agg(old.c.word)).join_from(packets, old, old.c.packet == number)
    said = said.group_by(number).order_by(number)
    for begin in range(first or 0, (last or -1) + 1, _TOGETHER):
        part = connection.execute(said.where(number.between(begin, begin + _TOGETHER - 1))).all()
        add_to_index(connection, words, [(row[0], row[1], row[2]) for row in part])
        told(min(begin + _TOGETHER - 1, last), last)
    connection.exec_driver_sql("DROP TABLE word_table")


def from_format_2(connection: sa.Connection, told: Callable[[int, int], None]) -> None:
    """Convert format 2, whose index of cells had no times: a minute for 10 million packets.

    ``told`` hears how many packets of how many are done: none, and all.
    """
    connection.execute(meta.update().values(format=FORMAT))
    last = connection.execute(sa.select(sa.func.max(packets.c.number))).scalar() or 0
    told(0, last)
    connection.exec_driver_sql("DROP INDEX IF EXISTS ix_packets_cell")
    for each in packets.indexes:  # format 1 lacks more of them
        each.create(connection, checkfirst=True)
    told(last, last)
