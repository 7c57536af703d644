"""The words of packets, to be searched: FTS5 in SQLite, text-search vectors under a GIN index in PostgreSQL.

The index is in volumes of `VOLUME` packets each, for neither can give the newest packets with a common word, or with
the beginning of one, without going through all that have it. A search goes through volumes, those with the newest
packets first, and ends when it has enough; so what it costs doesn't grow with the archive.

This is the one place where the archive's SQL depends on the database.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from typing import Protocol

import msgspec
import sqlalchemy as sa

from pyros.alerts.archive.tables import volumes
from pyros.errors import AlertError

VOLUME = 131_072
"""Packets in a volume: a beginning of words that all packets have takes a tenth of a second in one."""

ROWS_A_LOOKUP = 50
"""Numbers that FTS5 gives one after the other in the time in which it looks one up."""
_BYTES_A_ROW = 30
"""Bytes of words that FTS5 merges in the time in which it gives one number: 0.3 microseconds."""
_LEAF_BYTES = 4_050
"""Of a page of FTS5's index, its ``pgsz``."""

_NUMBERS = msgspec.json.Decoder(list[int])

_ENCODED_DATA = re.compile(r'"[^"]{2000,}"')
"""Sky maps and images, in base64."""
_XML_TEXTS = re.compile(r">([^<]+)<|=\s*\"([^\"]*)\"|=\s*'([^']*)'")
"""What XML says: texts and attributes' values, without the names of elements."""
_WORD = re.compile(r"[^\W_]{2,40}")
MAX_TEXT_CHARACTERS = 200_000
MAX_WORDS_PER_PACKET = 3_000


def words_of(packet: bytes, *more: str) -> list[str]:
    """Return the different words of ``more`` and of a packet's text, in lower case."""
    encoding = "utf-16" if packet[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"
    text = _ENCODED_DATA.sub(" ", packet[: 20 * MAX_TEXT_CHARACTERS].decode(encoding, "replace"))[:MAX_TEXT_CHARACTERS]
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        text = " ".join(part for parts in _XML_TEXTS.findall(text) for part in parts if part)
    return list(dict.fromkeys(split(" ".join([*more, text]))))[:MAX_WORDS_PER_PACKET]


def split(text: str) -> list[str]:
    """Split a text into words, in lower case: ``GRB_Pos 1017711-349`` has four."""
    return [word.lower() for word in _WORD.findall(text)]


Wanted = tuple[tuple[str, bool], ...]
"""Words that are all searched for; whether each is only a beginning."""


def wanted_words(text: str) -> Wanted:
    """Split a search into words, ``burst*`` being a beginning; raises AlertError when there is none."""
    found: list[tuple[str, bool]] = []
    for part in text.split():
        words = split(part)
        found += [(word, part.endswith("*") and word is words[-1]) for word in words]
    if not found:
        raise AlertError(f"{text!r} has no word to search for; words have at least two letters or digits")
    return tuple(found)


def has_beginnings(words: list[str], wanted: Wanted) -> bool:
    """Tell whether, for each of these beginnings, one of the words begins so, accents apart, as FTS5 has it."""
    plain = [_plain(word) for word in words]
    return all(any(word.startswith(_plain(beginning)) for word in plain) for beginning, _ in wanted)


def _plain(word: str) -> str:
    if word.isascii():
        return word
    return "".join(each for each in unicodedata.normalize("NFD", word) if not unicodedata.combining(each))


class TextIndex(Protocol):
    """An index from words to packets' numbers, in volumes."""

    def create(self, connection: sa.Connection, volume: int) -> None:
        """Make an empty volume."""

    def add(self, connection: sa.Connection, volume: int, packets: Iterable[tuple[int, list[str]]]) -> None:
        """Index packets by (number, words)."""

    def close(self, connection: sa.Connection, volume: int) -> None:
        """Prepare a volume into which nothing more will come."""

    def newest(
        self, connection: sa.Connection, volume: int, wanted: Wanted, most: int, below: int | None = None
    ) -> list[int]:
        """Return the numbers of packets in a volume with all the words: the ``most`` highest below a number."""

    def matching(self, connection: sa.Connection, volume: int, wanted: Wanted, numbers: list[int]) -> set[int]:
        """Return which of these packets, all in that volume, have all the words."""

    def price(self, connection: sa.Connection, volume: int, wanted: Wanted) -> int:
        """Return what it costs to collect all packets with these beginnings, which FTS5 does before it tells of any.

        In bytes of words that are merged, 10 nanoseconds each; 0: it costs each packet what a word does.
        """


class SqliteTextIndex:
    """SQLite's FTS5, without a copy of the text and without positions: a tenth of the packets' size."""

    def create(self, connection: sa.Connection, volume: int) -> None:
        connection.exec_driver_sql(
            f"CREATE VIRTUAL TABLE words_{volume} USING fts5(text, content='', columnsize=0, detail=none)"
        )

    def add(self, connection: sa.Connection, volume: int, packets: Iterable[tuple[int, list[str]]]) -> None:
        rows = [(number, " ".join(words)) for number, words in packets]
        if rows:
            connection.exec_driver_sql(f"INSERT INTO words_{volume} (rowid, text) VALUES (?, ?)", rows)

    def close(self, connection: sa.Connection, volume: int) -> None:
        """Merge the index's dozen segments to one: a word is looked up in each."""
        connection.exec_driver_sql(f"INSERT INTO words_{volume} (words_{volume}) VALUES ('optimize')")

    def newest(
        self, connection: sa.Connection, volume: int, wanted: Wanted, most: int, below: int | None = None
    ) -> list[int]:
        here = "" if below is None else f"AND rowid < {below}"
        return self._matching(connection, volume, wanted, f"{here} ORDER BY rowid DESC LIMIT {most}")

    def matching(self, connection: sa.Connection, volume: int, wanted: Wanted, numbers: list[int]) -> set[int]:
        """Go through all that have the words between the first and the last; where that is too much, look up each."""
        ordered, most = sorted(numbers), ROWS_A_LOOKUP * len(numbers)
        between = f"AND rowid BETWEEN {ordered[0]} AND {ordered[-1]} ORDER BY rowid LIMIT {most}"
        having = self._matching(connection, volume, wanted, between)
        found = set(having).intersection(ordered)
        if len(having) == most and (left := ordered[bisect_right(ordered, having[-1]) :]):
            found.update(self._matching(connection, volume, wanted, f"AND rowid IN ({', '.join(map(str, left))})"))
        return found

    def price(self, connection: sa.Connection, volume: int, wanted: Wanted) -> int:
        """Count the pages of the index between the beginning and what follows it, in each segment.

        FTS5's table ``..._idx`` has the first word of each page, behind a ``0``, and the page's number, twice that.
        """
        index, pages = f"words_{volume}_idx", 0
        place = f"(SELECT pgno >> 1 FROM {index} WHERE segid = s.segid AND term <= ? ORDER BY term DESC LIMIT 1)"
        select = f"SELECT sum({place} - {place} + 1) FROM (SELECT DISTINCT segid FROM {index}) AS s"
        for word, beginning in wanted:
            if beginning:
                ends = (f"0{_plain(word)}\U0010ffff".encode(), f"0{_plain(word)}".encode())
                pages += connection.exec_driver_sql(select, ends).scalar() or 0
        size = pages * _LEAF_BYTES
        return size + _BYTES_A_ROW * min(size, VOLUME)  # a packet is a byte or more for each word

    def _matching(self, connection: sa.Connection, volume: int, wanted: Wanted, further: str) -> list[int]:
        """Select the numbers, as one value: a volume's come in 20 ms, of which 131,072 rows would take 300."""
        inner = f"SELECT rowid FROM words_{volume} WHERE words_{volume} MATCH ? {further}"
        select = f"SELECT json_group_array(rowid) FROM ({inner})"
        return _NUMBERS.decode(connection.exec_driver_sql(select, (_match(wanted),)).scalar() or "[]")


def _match(wanted: Wanted) -> str:
    return " ".join(f'"{word}"{"*" if beginning else ""}' for word, beginning in wanted)


class PostgresqlTextIndex:
    """PostgreSQL's text search: a row with the packet's words in each volume's table, and their GIN index."""

    def create(self, connection: sa.Connection, volume: int) -> None:
        connection.exec_driver_sql(f"CREATE TABLE words_{volume} (packet bigint PRIMARY KEY, words tsvector NOT NULL)")
        connection.exec_driver_sql(f"CREATE INDEX words_{volume}_words ON words_{volume} USING gin (words)")

    def add(self, connection: sa.Connection, volume: int, packets: Iterable[tuple[int, list[str]]]) -> None:
        rows = [(number, words) for number, words in packets]
        if rows:
            insert = f"INSERT INTO words_{volume} VALUES (%s, array_to_tsvector(%s::text[]))"
            connection.exec_driver_sql(insert, rows)

    def close(self, connection: sa.Connection, volume: int) -> None:
        """Tell the planner what the volume holds, and empty the list of new words that every search goes through."""
        connection.exec_driver_sql(f"SELECT gin_clean_pending_list('words_{volume}_words'::regclass)")
        connection.exec_driver_sql(f"ANALYZE words_{volume}")

    def newest(
        self, connection: sa.Connection, volume: int, wanted: Wanted, most: int, below: int | None = None
    ) -> list[int]:
        here = "" if below is None else f"AND packet < {below}"
        select = f"SELECT packet FROM words_{volume} WHERE words @@ %s::tsquery {here} ORDER BY packet DESC LIMIT %s"
        return list(connection.exec_driver_sql(select, (_query(wanted), most)).scalars().all())

    def matching(self, connection: sa.Connection, volume: int, wanted: Wanted, numbers: list[int]) -> set[int]:
        select = f"SELECT packet FROM words_{volume} WHERE packet = ANY(%s) AND words @@ %s::tsquery"
        return {row[0] for row in connection.exec_driver_sql(select, (numbers, _query(wanted)))}

    def price(self, connection: sa.Connection, volume: int, wanted: Wanted) -> int:
        """Each packet's own words are looked at: a beginning costs what a word does."""
        return 0


def _query(wanted: Wanted) -> str:
    return " & ".join(f"'{word}'{':*' if beginning else ''}" for word, beginning in wanted)


def add_to_index(connection: sa.Connection, words: TextIndex, packets: list[tuple[int, float, list[str]]]) -> None:
    """Index packets by (number, when received, words), into the last volume or, when that is full, into a new one."""
    if not packets:
        return
    first = packets[0][0]
    times = [received for _, received, _ in packets]
    oldest, newest = min(times), max(times)
    last = connection.execute(sa.select(volumes).order_by(volumes.c.volume.desc()).limit(1)).first()
    if last is None or first >= last.first + VOLUME:
        if last is not None and first < last.first + 2 * VOLUME:  # not one that an older PYROS made, of any size
            words.close(connection, last.volume)
        volume = last.volume + 1 if last is not None else 1
        words.create(connection, volume)
        connection.execute(volumes.insert().values(volume=volume, first=first, oldest=oldest, newest=newest))
    else:
        volume = last.volume
        if oldest < last.oldest or newest > last.newest:
            span = {"oldest": min(oldest, last.oldest), "newest": max(newest, last.newest)}
            connection.execute(volumes.update().where(volumes.c.volume == volume).values(span))
    words.add(connection, volume, ((number, said) for number, _, said in packets))
