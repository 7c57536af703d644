"""The words of packets, to be searched: FTS5 in SQLite, a plain table of words in any other database.

This is the one place where the archive's SQL depends on the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

import sqlalchemy as sa

from pyros.errors import AlertError

_LONG = re.compile(r'"[^"]{2000,}"')
"""Sky maps and images, in base64."""
_SAID = re.compile(r">([^<]+)<|=\s*\"([^\"]*)\"|=\s*'([^']*)'")
"""What XML says: texts and attributes' values, without the names of elements."""
_WORD = re.compile(r"[^\W_]{2,40}")
_MOST_TEXT = 200_000
_MOST_WORDS = 3_000


def words_of(packet: bytes, *more: str) -> list[str]:
    """The different words in a packet's text, in lower case; in ``more`` too, which are taken first."""
    encoding = "utf-16" if packet[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"
    text = _LONG.sub(" ", packet[: 20 * _MOST_TEXT].decode(encoding, "replace"))[:_MOST_TEXT]
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        text = " ".join(part for parts in _SAID.findall(text) for part in parts if part)
    return list(dict.fromkeys(split(" ".join([*more, text]))))[:_MOST_WORDS]


def split(text: str) -> list[str]:
    """The words of a text, in lower case: ``GRB_Pos 1017711-349`` has four."""
    return [word.lower() for word in _WORD.findall(text)]


class Words(Protocol):
    """An index from words to packets' numbers."""

    def create(self, connection: sa.Connection) -> None:
        """Make what is not there yet."""

    def add(self, connection: sa.Connection, packets: Iterable[tuple[int, list[str]]]) -> None:
        """Index packets by (number, words)."""

    def numbers(self, wanted: str) -> sa.Select[Any]:
        """A SELECT of the numbers of the packets that have all words of a text; ``burst*`` wants a beginning."""

    def has(self, number: sa.ColumnElement[int], wanted: str) -> sa.ColumnElement[bool]:
        """Whether the packet of that number does; for asking one packet after the other."""


def wanted_words(text: str) -> list[tuple[str, bool]]:
    """(word, whether it is only a beginning); raises AlertError when there is none."""
    found: list[tuple[str, bool]] = []
    for part in text.split():
        words = split(part)
        found += [(word, part.endswith("*") and word is words[-1]) for word in words]
    if not found:
        raise AlertError(f"{text!r} has no word to search for; words have at least two letters or digits")
    return found


class FullText:
    """SQLite's FTS5, without a copy of the text and without positions: a fifth of the packets' size."""

    def create(self, connection: sa.Connection) -> None:
        connection.execute(
            sa.text("CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='', columnsize=0, detail=none)")
        )

    def add(self, connection: sa.Connection, packets: Iterable[tuple[int, list[str]]]) -> None:
        rows = [{"number": number, "text": " ".join(words)} for number, words in packets]
        if rows:
            connection.execute(sa.text("INSERT INTO words (rowid, text) VALUES (:number, :text)"), rows)

    def numbers(self, wanted: str) -> sa.Select[Any]:
        return sa.select(self._words.c.rowid).where(self._matches(wanted))

    def has(self, number: sa.ColumnElement[int], wanted: str) -> sa.ColumnElement[bool]:
        words = self._words
        return sa.exists(sa.select(words.c.rowid).where(words.c.rowid == number, self._matches(wanted)))

    _words = sa.table("words", sa.column("rowid"), sa.column("words"))

    def _matches(self, wanted: str) -> sa.ColumnElement[bool]:
        query = " ".join(f'"{word}"{"*" if beginning else ""}' for word, beginning in wanted_words(wanted))
        return self._words.c.words.op("MATCH")(query)


class WordTable:
    """A row for each word of each packet."""

    table = sa.Table(
        "word_table",
        sa.MetaData(),
        sa.Column("word", sa.String(40), primary_key=True),
        sa.Column("packet", sa.BigInteger, primary_key=True),
    )

    def create(self, connection: sa.Connection) -> None:
        self.table.metadata.create_all(connection)

    def add(self, connection: sa.Connection, packets: Iterable[tuple[int, list[str]]]) -> None:
        rows = [{"word": word, "packet": number} for number, words in packets for word in words]
        if rows:
            connection.execute(self.table.insert(), rows)

    def has(self, number: sa.ColumnElement[int], wanted: str) -> sa.ColumnElement[bool]:
        return sa.and_(*(sa.exists(one.where(self.table.c.packet == number)) for one in self._each(wanted)))

    def _each(self, wanted: str) -> list[sa.Select[Any]]:
        column = self.table.c.word
        return [
            sa.select(self.table.c.packet).where(column.startswith(word, autoescape=True) if start else column == word)
            for word, start in wanted_words(wanted)
        ]

    def numbers(self, wanted: str) -> sa.Select[Any]:
        each = self._each(wanted)
        return sa.select(self.table.c.packet).where(*(self.table.c.packet.in_(one) for one in each)).distinct()
