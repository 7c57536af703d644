"""Looking into the archive: by event, time, stream, words and position."""

from __future__ import annotations

import math
import zlib
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from pyros.alerts.alert import Alert
from pyros.alerts.archive import healpix
from pyros.alerts.archive.archive import engine, shown, text_index_for, unusable
from pyros.alerts.archive.query import ArchivedPacket, PacketPage, Query
from pyros.alerts.archive.tables import FORMAT, cursors, meta, names, packets, raw, volumes
from pyros.alerts.archive.text_index import Wanted, has_beginnings, words_of
from pyros.alerts.archive.volumes import ALL_TIME, Keys, Pause, Span, VolumeSearch, in_groups
from pyros.angles import separation
from pyros.clock import Deadline
from pyros.errors import JournalError
from pyros.prepared import prepared

_CHUNK = 1_000
FEW_PACKETS = 10_000
"""Packets that one condition leaves, up to which they are gone through before any other index is asked."""
COUNTED = (100_000, 400_000)
"""Up to how many packets are counted further, where no condition leaves few, to know which leaves the fewest."""
SPANS_PER_VOLUME = 8
"""Parts of a volume's time that are gone through one after the other."""
_MANY = 10**9
"""Packets that are left where nobody knows how many."""
_UNORDERED = ("cell", "number")
"""What gives packets in another order than that of their times."""
_VERY_WIDE = 0.2
"""The share of the sky, about, from which on all packets are asked whether they are there, if all are wanted."""
_MAX_RANGES = 200
"""Of cells, in one statement."""
_FILTERS = {"stream": "streams", "role": "roles", "kind": "kinds"}
"""Columns with an index that has the time, too, and what of a query they must be."""
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

    def page(self, query: Query, seconds: float) -> PacketPage:
        """Return the newest packets that fit, as many as ``last`` says, and how the search goes on.

        Where that takes longer than ``seconds``, it pauses after the group of packets, or span of time, that it is at.
        """
        if query.last is None:
            raise ValueError("a page has so many packets at most: last")
        try:
            with self._engine.connect() as connection:
                keys = list(islice(self._keys(connection, query, Deadline(seconds)), query.last + 1))
                paused = keys.pop() if keys and isinstance(keys[-1], Pause) else None
                shown = keys[: query.last]
                found = tuple(self._entries(connection, [key.number for key in shown]))
        except sa.exc.SQLAlchemyError as error:
            raise unusable(self.where, error) from None
        if len(keys) > len(shown):
            return PacketPage(found, (shown[-1].received, shown[-1].number))
        return PacketPage(found, None if paused is None else (paused.received, paused.number))

    def _found(self, query: Query) -> Generator[ArchivedPacket]:
        """Find the packets that fit, in the order in which they are looked for."""
        try:
            with self._engine.connect() as connection:
                if query.last is None and not query.words:
                    yield from map(_entry, self._all_rows(connection, query))
                    return
                keys, size = self._keys(connection, query, None), query.last or _CHUNK
                while group := [row.number for row in islice(keys, min(size, _CHUNK))]:
                    yield from self._entries(connection, group)
        except sa.exc.SQLAlchemyError as error:
            raise unusable(self.where, error) from None

    def _entries(self, connection: sa.Connection, numbers: list[int]) -> Iterator[ArchivedPacket]:
        for begin in range(0, len(numbers), _CHUNK):
            some = numbers[begin : begin + _CHUNK]
            rows = {row.number: row for row in connection.execute(_entries(packets.c.number.in_(some)))}
            yield from (_entry(rows[number]) for number in some)

    def _all_rows(self, connection: sa.Connection, query: Query) -> Iterator[Any]:
        side, _ = self._side(connection, query)
        if side == "" and _has_place(query) and _share(query) <= _VERY_WIDE:
            side = "cell"
        statement = _in_order(_entries(*self._where(query, side)), query, few=side in _UNORDERED)
        rows = _rows(connection, statement)
        return (row for row in rows if _is_within(row, query)) if _has_place(query) else rows

    def _keys(self, connection: sa.Connection, query: Query, deadline: Deadline | None) -> Iterator[Any]:
        """Find the keys of the packets that fit, in the order of the query; after ``deadline`` a `Pause` may end them.

        The condition that the fewest packets fulfil gives them, by its index, and each is held against the others.
        Where even these are many, and there are words, the words are one condition more, volume by volume.
        """
        side, left = self._side(connection, query)
        few = left <= FEW_PACKETS

        def keys(has: sa.ColumnElement[bool] | None = None, span: Span = ALL_TIME, *, few: bool = few) -> Iterator[Any]:
            return _rows(connection, self.statement(query, has, span, side=side, few=few))

        if query.words:
            own = partial(self._with_beginnings, connection, query)
            search = VolumeSearch(connection, self._words, query, left, own, deadline)
            found = search.matching_rows(keys()) if few else search.rows(keys)
        elif few or side == "cell" or deadline is None:
            found = keys()
        else:
            found = _by_spans(connection, query, keys, deadline)
        if not _has_place(query):
            return found
        return in_groups(found, partial(self._within, connection, query), deadline)

    def _within(self, connection: sa.Connection, query: Query, numbers: list[int]) -> set[int]:
        """Return which packets are where a query looks, by their rows."""
        columns = [packets.c[name] for name in ("number", "ra", "dec", "cell")]
        rows = connection.execute(sa.select(*columns).where(packets.c.number.in_(numbers)))
        return {row.number for row in rows if _is_within(row, query)}

    def _side(self, connection: sa.Connection, query: Query) -> tuple[str, int]:
        """Return the column whose index leaves the fewest packets, '' for the time's, and about how many."""
        if query.number is not None or query.event:
            return "number", 0
        received = list(_received(query))
        asked: dict[str, sa.Select[Any] | sa.TextualSelect] = {
            column: sa.select(packets.c.number).where(packets.c[column].in_(wanted), *received)
            for column, name in _FILTERS.items() if (wanted := getattr(query, name))
        }  # fmt: skip
        if query.since is not None or query.until is not None:
            asked[""] = sa.select(packets.c.number).where(*received)
        if _has_place(query):
            asked["cell"] = _in_cells(_cells(query))
        if not asked or (len(asked) == 1 and "cell" not in asked and not query.words):  # it doesn't matter how many
            return next(iter(asked), ""), _MANY
        counts: dict[str, int] = {}
        for most in (FEW_PACKETS + 1, *COUNTED):
            counts = {name: _bounded(connection, numbers, most) for name, numbers in asked.items()}
            if counts.get("cell", -1) >= COUNTED[0]:  # they would have to be sorted: the time's index is better
                counts.pop("cell")
                asked.pop("cell")
            if not asked or min(counts.values()) < most:
                break
        side = min(counts, key=counts.__getitem__, default="")
        return side, counts.get(side, _MANY)

    def statement(
        self, query: Query, has: sa.ColumnElement[bool] | None = None, span: Span = ALL_TIME, *, side: str, few: bool
    ) -> sa.Select[Any]:
        """Build the SELECT of the keys that fit a query but for its words and its place, for which rows must be read.

        They come newest first where the last are wanted, and by indices alone, but for an event or a number.

        Databases like to go through all packets in the order that is asked for, when a small part of them would have to
        be sorted; or the other way round. So where few fit, the order is by an expression, which no index has, unless
        it is that of the index used.

        Args:
            query: what is looked for.
            has: what must hold besides.
            span: when they came.
            side: the column whose index is used; '' for the time's.
            few: that condition, or ``has``, leaves few packets.
        """
        side_of = side if has is None or not few else "number"
        statement = sa.select(packets.c.number, packets.c.received).where(*self._where(query, side_of, span))
        if has is not None:
            statement = statement.where(has)
        if query.last is not None and has is None and not _has_place(query) and not query.words:
            statement = statement.limit(query.last + 1)
        return _in_order(statement, query, few=side == "cell" or (few and (has is not None or side in _UNORDERED)))

    def _where(self, query: Query, side: str, span: Span = ALL_TIME) -> Iterator[sa.ColumnElement[bool]]:
        """Build a query's conditions but for its words, so that no other index than that column's begins with all.

        Where it is, is one only for the index of cells: about.
        """
        if query.number is not None:
            yield packets.c.number == query.number
        if query.event:
            yield self._about(query.event)
        for name, wanted in ((name, getattr(query, of)) for name, of in _FILTERS.items()):
            if wanted and name == side:
                yield packets.c[name].in_(wanted)
            elif wanted:
                yield _probe(name, wanted) if side != "number" else (packets.c[name] + "").in_(wanted)
        yield from _received(query, span, by_index=side != "cell")
        if side == "cell":
            yield sa.literal_column(f"({' OR '.join(_ranges(_cells(query)))})")

    def _with_beginnings(
        self, connection: sa.Connection, query: Query, numbers: list[int], wanted: Wanted
    ) -> set[int]:  # fmt: skip
        """Tell which packets, of those where the query looks, have words with all these beginnings, by their bytes."""
        columns = [packets.c[name] for name in ("number", "ra", "dec", "cell", "stream", "key", "identity", "alert")]
        statement = sa.select(*columns, raw.c.packet).join_from(packets, raw, raw.c.number == packets.c.number)
        rows = connection.execute(statement.where(packets.c.number.in_(numbers)))
        there = (row for row in rows if not _has_place(query) or _is_within(row, query))
        return {row.number for row in there if has_beginnings(self._words_of(row), wanted)}

    def _words_of(self, row: Any) -> list[str]:
        alert = _ALERT.decode(row.alert) if row.alert is not None else None
        more = (row.stream, row.key, alert.notice_type, row.identity) if alert is not None else ()
        try:
            return words_of(self._unpacked(row.number, row.packet), *more)
        except JournalError:  # damaged bytes, of which the index of words may know more
            return words_of(b"", *more)

    def packet(self, number: int) -> bytes:
        """Return a packet's bytes as they came."""
        for row in self._all(sa.select(raw.c.packet).where(raw.c.number == number)):
            return self._unpacked(number, row.packet)
        raise JournalError(f"{self.where}: there is no packet {number}")

    def _unpacked(self, number: int, packet: bytes) -> bytes:
        try:
            return zlib.decompress(packet)
        except zlib.error:
            raise JournalError(f"{self.where}: the bytes of packet {number} are damaged") from None

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


def _rows(connection: sa.Connection, statement: sa.Select[Any]) -> Iterator[Any]:
    with connection.execution_options(yield_per=_CHUNK).execute(statement) as result:
        yield from result


def _by_spans(connection: sa.Connection, query: Query, keys: Keys, deadline: Deadline) -> Iterator[Any]:
    """Find the newest keys span by span, each of a part of a volume's, so that the search can pause between them."""
    spans = connection.execute(sa.select(volumes.c.oldest, volumes.c.newest)).all()
    parts = range(SPANS_PER_VOLUME)
    edges = {span.oldest + (span.newest - span.oldest) * part / SPANS_PER_VOLUME for span in spans for part in parts}
    end = math.inf
    for begin in (*sorted(edges, reverse=True)[:-1], -math.inf):
        if query.before is None or (begin, 0) < query.before:
            yield from keys(None, (begin, end), few=False)
            if begin > -math.inf and deadline.left() <= 0:
                yield Pause(0, begin)
                return
        end = begin


def _entries(*where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    columns = ("number", "identity", "source", "received", "size", "alert", "error", "ra", "dec", "cell")
    event = sa.func.coalesce(names.c.event, packets.c.key).label("event")
    joined = packets.outerjoin(names, names.c.key == packets.c.key)
    return sa.select(*(packets.c[name] for name in columns), event).select_from(joined).where(*where)


def _in_order(statement: sa.Select[Any], query: Query, *, few: bool) -> sa.Select[Any]:
    order = (packets.c.received + 0.0 if few else packets.c.received, packets.c.number)
    return statement.order_by(*(order if query.last is None else (column.desc() for column in order)))


def _probe(name: str, wanted: tuple[str, ...]) -> sa.ColumnElement[bool]:
    """Build the condition that a packet's column has one of these values, to be looked up in its index, not its row."""
    it, number = packets.alias(), packets.c.number  # BETWEEN, for = would go to the row
    same = (it.c.received == packets.c.received, it.c.number.between(number, number))
    return sa.select(it.c.number).where(it.c[name].in_(wanted), *same).correlate(packets).exists()


def _received(query: Query, span: Span = ALL_TIME, *, by_index: bool = True) -> Iterator[sa.ColumnElement[bool]]:
    column = packets.c.received if by_index else packets.c.received + 0.0
    since = max(span[0], -math.inf if query.since is None else query.since)
    until = min(span[1], math.inf if query.until is None else query.until)
    if since > -math.inf:
        yield column >= since
    if until < math.inf:
        yield column < until
    if query.before is not None:
        received, number = query.before
        yield column <= received
        yield sa.or_(column < received, packets.c.number < number)


def _cells(query: Query) -> list[tuple[int, int]]:
    """Return ranges of cells that hold all positions of a query's place, and more."""
    if query.region is not None and (query.cone is None or _share(query) == query.region.share):
        return query.region.covering(_MAX_RANGES)
    return healpix.cone(*query.cone) if query.cone is not None else []


def _in_cells(cells: list[tuple[int, int]]) -> sa.TextualSelect:
    """Build a SELECT of the numbers in ranges of cells, as text: 200 of them would take SQLAlchemy half a second."""
    each = "SELECT number FROM packets WHERE {}".format
    return sa.text(" UNION ALL ".join(map(each, _ranges(cells)))).columns(packets.c.number)


def _ranges(cells: list[tuple[int, int]]) -> list[str]:
    return [f"packets.cell BETWEEN {int(first)} AND {int(last)}" for first, last in cells]


def _bounded(connection: sa.Connection, numbers: sa.Select[Any] | sa.TextualSelect, most: int) -> int:
    """Count the packets that are selected, up to so many."""
    some = sa.select(numbers.subquery()).limit(most).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar() or 0


def _has_place(query: Query) -> bool:
    return query.cone is not None or query.region is not None


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
