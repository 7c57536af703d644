"""Looking into the archive: by event, time, stream, words and position."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from pyros.alerts import sky, values
from pyros.alerts.alert import Alert
from pyros.alerts.archive import engine, meta, names, packets, raw, shown, unusable, words_for
from pyros.alerts.query import Entry, Query
from pyros.alerts.words import wanted_words
from pyros.errors import JournalError

_CHUNK = 1_000
_MANY = 20_000
"""Packets with the words asked for, from which on it is quicker to look at the newest packets for them."""
_WIDE = 1e-3
"""The share of the sky, about, from which on the newest packets are asked whether they are there."""
_ALERT: msgspec.json.Decoder[Alert] = msgspec.json.Decoder(Alert)


class ArchiveReader:
    """A read-only view of an archive, from any process; for one thread at a time. Raises JournalError naming it."""

    def __init__(self, where: Path | str) -> None:
        self.where = shown(where)
        if "://" not in str(where) and not Path(where).is_file():
            raise self._nothing()
        self._engine = engine(where, read_only=True)
        if not self._made():
            self._engine.dispose()
            raise self._nothing()
        self._words = words_for(self._engine)

    def _made(self) -> bool:
        """Whether the writer has made its tables, the format's line last."""
        try:
            with self._engine.connect() as connection:
                there = sa.inspect(connection).has_table(meta.name)
                return there and connection.execute(sa.select(meta.c.format)).scalar() is not None
        except sa.exc.SQLAlchemyError as error:
            raise unusable(self.where, error) from None

    def _nothing(self) -> JournalError:
        return JournalError(f"{self.where}: no such archive (no packet has been archived here yet)")

    def find(self, query: Query) -> Iterator[Entry]:
        """The packets that fit, oldest first."""
        common = query.last is not None and bool(query.words) and self._many(query.words)
        statement = self.statement(query, common=common)
        chunk = _CHUNK if query.last is None else max(1, min(query.last, _CHUNK))
        found: Iterator[Entry] = (
            _entry(row) for row in self._rows(statement, chunk) if query.cone is None or _within(row, query.cone)
        )
        if query.last is None:
            return found
        newest: list[Entry] = []
        for entry in found:  # the statement gives the newest first
            newest.append(entry)
            if len(newest) == query.last:
                break
        return reversed(newest)

    def _many(self, words: str) -> bool:
        """Whether more packets have these words than it is quick to sort, and one packet is quickly asked for them."""
        if any(beginning for _, beginning in wanted_words(words)):
            return False
        numbers = self._words.numbers(words).limit(_MANY).subquery()
        (row,) = self._rows(sa.select(sa.func.count()).select_from(numbers))
        return int(row[0]) == _MANY

    def statement(self, query: Query, *, common: bool = False) -> sa.Select[Any]:
        """The SELECT of a query; newest first where only the last ones are wanted. ``common`` words are looked for in
        one packet after the other.

        Databases like to go through all packets in the order that is asked for, when a small part of them would have to
        be sorted; so where few fit, the order is by an expression, which no index has.
        """
        columns = [packets.c[name] for name in ("number", "identity", "source", "received", "size", "alert", "error")]
        event = sa.func.coalesce(names.c.event, packets.c.key).label("event")
        statement = sa.select(*columns, packets.c.ra, packets.c.dec, event).select_from(
            packets.outerjoin(names, names.c.key == packets.c.key)
        )
        if query.number is not None:
            statement = statement.where(packets.c.number == query.number)
        if query.event:
            statement = statement.where(self._about(query.event))
        for column, wanted in (("stream", query.streams), ("role", query.roles), ("kind", query.kinds)):
            if wanted:
                statement = statement.where(packets.c[column].in_(wanted))
        if query.since is not None:
            statement = statement.where(packets.c.received >= query.since)
        if query.until is not None:
            statement = statement.where(packets.c.received < query.until)
        if query.words:
            has, numbers = self._words.has(packets.c.number, query.words), self._words.numbers(query.words)
            statement = statement.where(has if common else packets.c.number.in_(numbers))
        if query.cone:
            statement = statement.where(sa.or_(*(packets.c.cell.between(*cells) for cells in sky.cone(*query.cone))))
        if query.last is not None and query.cone is None:
            statement = statement.limit(query.last)
        wide = query.cone is None or (query.last is not None and _share(query.cone[2]) > _WIDE)
        few = not wide or (bool(query.words) and not common)
        order = (packets.c.received + 0.0 if few else packets.c.received, packets.c.number)
        return statement.order_by(*(order if query.last is None else (column.desc() for column in order)))

    def packet(self, number: int) -> bytes:
        """A packet's bytes as they came."""
        for row in self._rows(sa.select(raw.c.packet).where(raw.c.number == number)):
            try:
                return zlib.decompress(row.packet)
            except zlib.error:
                raise JournalError(f"{self.where}: the bytes of packet {number} are damaged") from None
        raise JournalError(f"{self.where}: there is no packet {number}")

    def count(self) -> int:
        """How many packets there are."""
        (row,) = self._rows(sa.select(sa.func.count()).select_from(packets))
        return int(row[0])

    def close(self) -> None:
        """Close the connections; may be called twice."""
        self._engine.dispose()

    def _about(self, event: str) -> sa.ColumnElement[bool]:
        """Packets of the event that has this name or this packet."""
        by_packet = sa.select(packets.c.key).where(packets.c.identity == event)
        known = sa.select(names.c.event).where((names.c.key == event) | names.c.key.in_(by_packet))
        joined = sa.select(names.c.key).where(names.c.event.in_(known))
        return packets.c.key.in_(joined) | (packets.c.identity == event)

    def _rows(self, statement: sa.Select[Any], chunk: int = _CHUNK) -> Iterator[Any]:
        try:
            with (
                self._engine.connect() as connection,
                connection.execution_options(yield_per=chunk).execute(statement) as result,
            ):
                yield from result
        except sa.exc.SQLAlchemyError as error:
            raise unusable(self.where, error) from None


def _share(radius: float) -> float:
    """Of the sky, within so many degrees of a position."""
    return (1 - math.cos(math.radians(min(radius, 180.0)))) / 2


def _within(row: Any, cone: tuple[float, float, float]) -> bool:
    return row.ra is not None and values.separation(cone[0], cone[1], row.ra, row.dec) <= cone[2]


def _entry(row: Any) -> Entry:
    alert = _ALERT.decode(row.alert) if row.alert is not None else None
    return Entry(row.number, row.identity, row.event, row.source, row.received, row.size, alert, row.error)
