"""Searching for words, volume by volume: the newest packets first, or the oldest, and no further than is wanted."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, islice
from typing import Any, NamedTuple

import sqlalchemy as sa

from pyros.alerts.archive.query import Query
from pyros.alerts.archive.tables import packets, volumes
from pyros.alerts.archive.text_index import TextIndex, wanted_words

_MANY_PACKETS = 2_000
"""Packets of a volume with the words, from which on the index of times is gone through instead of sorting them."""
_FIRST_GROUP, _MAX_GROUP = 50, 500
"""Packets that are looked up together, at first and at most."""
_NO_LAST_PACKET = 2**62
"""Last packet's number of the volume that is still growing."""

Select = Callable[..., sa.Select[Any]]
Rows = Callable[[sa.Connection, sa.Select[Any], int], Iterator[Any]]


class _Volume(NamedTuple):
    number: int
    first: int
    last: int
    oldest: float
    newest: float


class VolumeSearch:
    """One search for words. Its rows have the columns ``number`` and ``received``."""

    def __init__(self, connection: sa.Connection, words: TextIndex, query: Query) -> None:
        """Split the query's words; raises AlertError when it has none."""
        self._connection, self._words, self._query = connection, words, query
        self._wanted = wanted_words(query.words)
        self._backwards = query.last is not None
        rows = connection.execute(sa.select(volumes).order_by(volumes.c.volume)).all()
        lasts = [*(row.first - 1 for row in rows[1:]), _NO_LAST_PACKET]
        self._volumes = [
            _Volume(row.volume, row.first, last, row.oldest, row.newest) for row, last in zip(rows, lasts, strict=True)
        ]

    def rows(self, select: Select, rows: Rows) -> Iterator[Any]:
        """Find the rows that fit, in the order of the query.

        ``select`` makes the query's statement with one more condition, and is told whether few packets fulfil it.
        """
        return _merged(self._parts(select, rows), self._place)

    def matching_rows(self, rows: Iterator[Any]) -> Iterator[Any]:
        """Return which of the rows have the words."""
        size = _FIRST_GROUP
        while group := list(islice(rows, size)):
            having = self.matching([row.number for row in group])
            yield from (row for row in group if row.number in having)
            size = min(4 * size, _MAX_GROUP)

    def matching(self, numbers: list[int]) -> set[int]:
        """Return which of the packets have the words."""
        having: set[int] = set()
        placed = sorted((self._volume_of(number), number) for number in numbers)
        for volume, pairs in groupby(placed, key=lambda pair: pair[0]):
            these = [number for _, number in pairs]
            having |= self._words.matching(self._connection, volume, self._wanted, these)
        return having

    def _volume_of(self, number: int) -> int:
        return next(volume.number for volume in reversed(self._volumes) if number >= volume.first)

    def _parts(self, select: Select, rows: Rows) -> Iterator[tuple[tuple[float, float], Iterator[Any]]]:
        """Give the rows of one volume, or of several with few, each with a place that is not after its first row's."""
        query, place = self._query, packets.c.number
        numbers: list[int] = []
        start = 0.0
        enough = min(query.last or _MAX_GROUP, _MAX_GROUP)

        def few() -> tuple[tuple[float, float], Iterator[Any]]:
            listed = place.in_(sorted(numbers))
            return (start, float("-inf")), rows(self._connection, select(query, listed, few=True), enough)

        for volume in self._in_order():
            edge = -volume.newest if self._backwards else volume.oldest
            if not numbers:
                yield (edge, float("-inf")), iter(())  # the rows before it are taken first; they may be enough
            found, below = self._highest(volume)
            if len(found) <= _MANY_PACKETS:
                start = start if numbers else edge
                numbers += found
            if numbers and (len(found) > _MANY_PACKETS or len(numbers) >= enough):
                yield few()
                numbers = []
            if len(found) > _MANY_PACKETS:
                yield (edge, float("-inf")), self._many(volume, found, below, select, rows)
        if numbers:
            yield few()

    def _highest(self, volume: _Volume) -> tuple[list[int], int]:
        """Return the highest numbers in a volume that have the words, and below which number they are.

        Of the page after a packet they are below that packet's number, since a beginning of words costs the whole
        volume each time that it is asked for; but only where there are many, for else they must be all.
        """
        before = self._query.before
        if before is not None and volume.first < before[1] <= volume.last:
            found = self._words.newest(self._connection, volume.number, self._wanted, _MANY_PACKETS + 1, before[1])
            if len(found) > _MANY_PACKETS:
                return found, before[1]
        found = self._words.newest(self._connection, volume.number, self._wanted, _MANY_PACKETS + 1)
        return found, _NO_LAST_PACKET

    def _many(self, volume: _Volume, found: list[int], below: int, select: Select, rows: Rows) -> Iterator[Any]:
        """Find the rows of a volume where many packets have the words, by going through their times."""
        number = packets.c.number
        here = packets.c.received.between(volume.oldest, volume.newest) & (number + 0).between(
            volume.first, volume.last
        )
        if not self._backwards and any(beginning for _, beginning in self._wanted):
            here &= self._words.condition(volume.number, number, self._wanted)
            return rows(self._connection, select(self._query, here), _MAX_GROUP)
        all_rows = rows(self._connection, select(self._query, here, limited=False), _MAX_GROUP)
        return self._newest(found, below, all_rows) if self._backwards else self.matching_rows(all_rows)

    def _newest(self, found: list[int], below: int, rows: Iterator[Any]) -> Iterator[Any]:
        """Find the newest rows that have the words.

        They hardly ever are others than ``found``, the highest numbers that have them ``below`` one.
        """
        having, lowest = set(found), min(found)
        for row in rows:
            if row.number < lowest:
                yield from self.matching_rows(chain((row,), rows))
            elif row.number >= below:
                yield from self.matching_rows(iter((row,)))
            elif row.number in having:
                yield row

    def _in_order(self) -> list[_Volume]:
        since = float("-inf") if self._query.since is None else self._query.since
        until = float("inf") if self._query.until is None else self._query.until
        last = float("inf") if self._query.before is None else self._query.before[0]
        there = [each for each in self._volumes if each.newest >= since and each.oldest < until and each.oldest <= last]
        return sorted(there, key=lambda volume: -volume.newest if self._backwards else volume.oldest)

    def _place(self, row: Any) -> tuple[float, float]:
        return (-row.received, -row.number) if self._backwards else (row.received, row.number)


def _merged(
    parts: Iterable[tuple[tuple[float, float], Iterator[Any]]], place: Callable[[Any], tuple[float, float]]
) -> Iterator[Any]:
    """Merge the rows of all parts in order; a part is begun when its first row may be the next.

    Each part's rows are in order, and the parts are in the order of places that are not after their first rows.
    """
    heap: list[tuple[tuple[float, float], Any, Iterator[Any]]] = []

    def push(rows: Iterator[Any]) -> None:
        row = next(rows, None)
        if row is not None:
            heapq.heappush(heap, (place(row), row, rows))

    for start, begun in parts:
        while heap and heap[0][0] < start:
            _, row, rows = heapq.heappop(heap)
            yield row
            push(rows)
        push(begun)
    while heap:
        _, row, rows = heapq.heappop(heap)
        yield row
        push(rows)
