"""Looking into the archive: by event, time, stream, words and position."""

from __future__ import annotations

import math
import zlib
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from pyros.alerts.alert import Alert
from pyros.alerts.archive import healpix
from pyros.alerts.archive.archive import engine, shown, text_index_for, unusable
from pyros.alerts.archive.query import ArchivedPacket, Query
from pyros.alerts.archive.tables import FORMAT, cursors, meta, names, packets, raw
from pyros.alerts.archive.volumes import VolumeSearch
from pyros.angles import separation
from pyros.errors import JournalError
from pyros.prepared import prepared

_CHUNK = 1_000
_WIDE = 1e-3
"""The share of the sky, about, from which on the newest packets are asked whether they are there."""
_VERY_WIDE = 0.2
"""The same, where all of them are wanted."""
_MAX_RANGES = 200
"""Of cells, in one statement."""
_ALERT: msgspec.json.Decoder[Alert] = msgspec.json.Decoder(prepared(Alert))


def archive_format(where: Path | str) -> int | None:
    """Return the format of an archive; None where there is none yet. Raises JournalError naming it."""
    if "://" not in str(where) and not Path(where).is_file():
        return None
    reading = engine(where, read_only=True)
    try:
        return _format(reading, shown(where))
    finally:
        reading.dispose()


def _format(reading: sa.Engine, where: str) -> int | None:
    """Read the archive's format; None until the writer has made its tables, the format's line last."""
    try:
        with reading.connect() as connection:
            if not sa.inspect(connection).has_table(meta.name):
                return None
            found: int | None = connection.execute(sa.select(meta.c.format)).scalar()
            return found
    except sa.exc.SQLAlchemyError as error:
        raise unusable(where, error) from None


class ArchiveReader:
    """A read-only view of an archive, from any process; for one thread at a time. Raises JournalError naming it."""

    def __init__(self, where: Path | str) -> None:
        self.where = shown(where)
        if "://" not in str(where) and not Path(where).is_file():
            raise self._nothing()
        self._engine = engine(where, read_only=True)
        try:
            self._words = text_index_for(self._engine)
            found = _format(self._engine, self.where)
            if found is None:
                raise self._nothing()
            if found != FORMAT:
                older = "the broker, when it starts, or pyros alerts import brings it up to date"
                what = older if found < FORMAT else "take a newer PYROS"
                raise JournalError(f"{self.where}: an archive of format {found}, this PYROS has {FORMAT}; {what}")
        except JournalError:
            self._engine.dispose()
            raise

    def _nothing(self) -> JournalError:
        return JournalError(f"{self.where}: no such archive (no packet has been archived here yet)")

    def find(self, query: Query) -> Iterator[ArchivedPacket]:
        """Find the packets that fit, oldest first, each as soon as it is found, unless ``last`` is asked for."""
        found = self._found(query)
        if query.last is None:
            return found
        newest = list(islice(found, query.last))
        found.close()
        return reversed(newest)

    def _found(self, query: Query) -> Generator[ArchivedPacket]:
        """Find the packets that fit, in the order in which they are looked for."""
        try:
            with self._engine.connect() as connection:
                if not query.words:
                    rows = _rows(connection, self.statement(query), _chunk(query))
                elif _narrow(query):
                    rows = self._narrowed(connection, query)
                else:
                    rows = VolumeSearch(connection, self._words, query).rows(self.statement, _rows)
                rows = _in_place(rows, query)
                for row in rows:
                    yield _entry(row)
        except sa.exc.SQLAlchemyError as error:
            raise unusable(self.where, error) from None

    def _narrowed(self, connection: sa.Connection, query: Query) -> Iterator[Any]:
        """Find what fits where few packets can: an index gives them, and they are searched for the words.

        The newest first, as far as is wanted: a beginning of words costs the whole of each volume that is looked into.
        """
        columns = [packets.c[name] for name in ("number", "received", "ra", "dec", "cell")]
        rows = connection.execute(sa.select(*columns).where(*self._where(query, by_cell=True))).all()
        newest = _in_place(iter(sorted(rows, key=lambda row: (row.received, row.number), reverse=True)), query)
        look = VolumeSearch(connection, self._words, query)
        having = sorted(row.number for row in islice(look.matching_rows(newest), query.last))
        return _rows(connection, self.statement(query, packets.c.number.in_(having), few=True), _chunk(query))

    def statement(
        self, query: Query, has: sa.ColumnElement[bool] | None = None, *, limited: bool = True, few: bool = False
    ) -> sa.Select[Any]:
        """Build the SELECT of a query but for its words; newest first where only the last ones are wanted.

        Databases like to go through all packets in the order that is asked for, when a small part of them would have to
        be sorted; or the other way round. So where few fit, the order is by an expression, which no index has; where
        many do, the cells are.

        Args:
            query: what is looked for.
            has: what must hold besides.
            limited: only so many rows as are wanted, if nothing else is asked of them.
            few: ``has`` is true for few packets.
        """
        wide = _share(query) > (_WIDE if query.last is not None else _VERY_WIDE)
        few = few or not wide or query.event != "" or query.number is not None
        columns = [packets.c[name] for name in ("number", "identity", "source", "received", "size", "alert", "error")]
        event = sa.func.coalesce(names.c.event, packets.c.key).label("event")
        statement = sa.select(*columns, packets.c.ra, packets.c.dec, packets.c.cell, event).select_from(
            packets.outerjoin(names, names.c.key == packets.c.key)
        )
        statement = statement.where(*self._where(query, by_cell=few and has is None))
        if has is not None:
            statement = statement.where(has)
        if query.last is not None and not _has_place(query) and limited:
            statement = statement.limit(query.last)
        order = (packets.c.received + 0.0 if few else packets.c.received, packets.c.number)
        return statement.order_by(*(order if query.last is None else (column.desc() for column in order)))

    def _where(self, query: Query, *, by_cell: bool) -> Iterator[sa.ColumnElement[bool]]:
        """Build a query's conditions but for its words; its cone by the index of cells, or by any other."""
        if query.number is not None:
            yield packets.c.number == query.number
        if query.event:
            yield self._about(query.event)
        for column, wanted in (("stream", query.streams), ("role", query.roles), ("kind", query.kinds)):
            if wanted:  # its index, of more packets than the cells have, must not be taken for them
                by_column = packets.c[column] + "" if by_cell and _has_place(query) else packets.c[column]
                yield by_column.in_(wanted)
        if query.since is not None:
            yield packets.c.received >= query.since
        if query.until is not None:
            yield packets.c.received < query.until
        if query.before is not None:
            received, number = query.before
            yield packets.c.received <= received
            yield sa.or_(packets.c.received < received, packets.c.number < number)
        if query.cone:
            cell = packets.c.cell if by_cell else packets.c.cell + 0
            yield sa.or_(*(cell.between(*cells) for cells in healpix.cone(*query.cone)))
        if query.region is not None:
            cell = packets.c.cell if by_cell and not query.cone else packets.c.cell + 0
            yield sa.or_(*(cell.between(*cells) for cells in query.region.covering(_MAX_RANGES)))

    def packet(self, number: int) -> bytes:
        """Return a packet's bytes as they came."""
        for row in self._all(sa.select(raw.c.packet).where(raw.c.number == number)):
            try:
                return zlib.decompress(row.packet)
            except zlib.error:
                raise JournalError(f"{self.where}: the bytes of packet {number} are damaged") from None
        raise JournalError(f"{self.where}: there is no packet {number}")

    def count(self, since: float | None = None, until: float | None = None) -> int:
        """Count the packets that were received in a span of Unix seconds."""
        statement = sa.select(sa.func.count()).select_from(packets)
        if since is not None:
            statement = statement.where(packets.c.received >= since)
        if until is not None:
            statement = statement.where(packets.c.received < until)
        (row,) = self._all(statement)
        return int(row[0])

    def read_up_to(self, origin: str) -> int:
        """Return the number of the last packet of that origin that is archived; 0 before the first."""
        rows = self._all(sa.select(cursors.c.number).where(cursors.c.origin == origin))
        return int(rows[0][0]) if rows else 0

    def close(self) -> None:
        """Close the connections; may be called twice."""
        self._engine.dispose()

    def _about(self, event: str) -> sa.ColumnElement[bool]:
        """Build the condition for packets of the event that has this name or this packet."""
        one = packets.alias()
        keys = sa.union(sa.select(sa.literal(event)), sa.select(one.c.key).where(one.c.identity == event))
        known = sa.select(names.c.event).where(names.c.key.in_(keys))
        joined = sa.select(names.c.key).where(names.c.event.in_(known))
        of_event = sa.select(one.c.number).where(one.c.key.in_(joined))  # with an OR PostgreSQL goes through the table
        return packets.c.number.in_(sa.union(of_event, sa.select(one.c.number).where(one.c.identity == event)))

    def _all(self, statement: sa.Select[Any]) -> Sequence[Any]:
        try:
            with self._engine.connect() as connection:
                return connection.execute(statement).all()
        except sa.exc.SQLAlchemyError as error:
            raise unusable(self.where, error) from None


def _rows(connection: sa.Connection, statement: sa.Select[Any], chunk: int) -> Iterator[Any]:
    with connection.execution_options(yield_per=chunk).execute(statement) as result:
        yield from result


def _chunk(query: Query) -> int:
    return _CHUNK if query.last is None else max(1, min(query.last, _CHUNK))


def _narrow(query: Query) -> bool:
    """Tell whether so few packets fit that they are looked up first, and then searched for the words."""
    return bool(query.number is not None or query.event or _share(query) <= _WIDE)


def _has_place(query: Query) -> bool:
    return query.cone is not None or query.region is not None


def _in_place(rows: Iterator[Any], query: Query) -> Iterator[Any]:
    return (row for row in rows if _is_within(row, query)) if _has_place(query) else rows


def _share(query: Query) -> float:
    """Return the share of the sky in which a query looks, 0 to 1."""
    share = 1.0 if query.region is None else query.region.share
    return share if query.cone is None else min(share, (1 - math.cos(math.radians(min(query.cone[2], 180.0)))) / 2)


def _is_within(row: Any, query: Query) -> bool:
    if row.ra is None or (query.region is not None and not query.region.has_cell(row.cell)):
        return False
    return query.cone is None or separation(query.cone[0], query.cone[1], row.ra, row.dec) <= query.cone[2]


def _entry(row: Any) -> ArchivedPacket:
    alert = _ALERT.decode(row.alert) if row.alert is not None else None
    return ArchivedPacket(row.number, row.identity, row.event, row.source, row.received, row.size, alert, row.error)
