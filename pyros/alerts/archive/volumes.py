"""Searching for words, volume by volume: the newest packets first, or the oldest, and no further than is wanted."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from pyros.alerts.archive.query import Query
from pyros.alerts.archive.tables import packets, volumes
from pyros.alerts.archive.text_index import TextIndex, Wanted, wanted_words
from pyros.clock import Deadline, steady_seconds

MANY_PACKETS = 2_000
"""Packets of a volume with the words, from which on the index of times is gone through instead of sorting them; fewer
where the query's other conditions leave fewer."""
FIRST_GROUP, MAX_GROUP = 50, 500
"""Packets that are looked up together, at first and at most."""
QUICK_SECONDS = 0.1
"""In which a group of packets is looked up, where the next one may be larger: a disk may need 2 ms for each."""
_NO_LAST_PACKET = 2**62
"""Last packet's number of the volume that is still growing."""
OWN_WORDS_BYTES = 32_768
"""Bytes of words that are merged (`TextIndex.price`) while a packet's own words are read and split: 0.3 ms."""
_MAX_VOLUMES_AT_HAND = 3


Own = Callable[[list[int], Wanted], set[int]]
"""Tells which packets of a few have words with all these beginnings, by looking at their bytes."""


Span = tuple[float, float]
"""When packets came, Unix seconds: from the first, before the second."""
ALL_TIME = (-math.inf, math.inf)


class Pause(NamedTuple):
    """The last thing that a search gives, which had no more time: all that is newer has been given."""

    number: int
    received: float


class Keys(Protocol):
    """Gives rows of ``number`` and ``received`` that fit a query but for words and place, in the query's order."""

    def __call__(self, has: sa.ColumnElement[bool] | None, span: Span = ALL_TIME, *, few: bool) -> Iterator[Any]:
        """Give those that came in a span and for which ``has`` holds too; ``few``: it does for few packets."""


class _Volume(NamedTuple):
    number: int
    first: int
    last: int
    oldest: float
    newest: float


class _Having:
    """The packets of a volume that have the words."""

    def __init__(
        self, connection: sa.Connection, words: TextIndex, wanted: Wanted, many: int, own: Own, volume: _Volume
    ) -> None:  # fmt: skip
        self._connection, self._words, self._own, self._volume = connection, words, own, volume
        self._many = many
        self._whole = tuple(each for each in wanted if not each[1])
        self._beginnings = tuple(each for each in wanted if each[1])
        self._price = words.price(connection, volume.number, self._beginnings) if self._beginnings else 0
        self._spent = 0
        self._highest: frozenset[int] = frozenset()
        self._lowest, self._below = _NO_LAST_PACKET, _NO_LAST_PACKET
        self._all: frozenset[int] | None = None

    def few(self, before: int | None) -> list[int] | None:
        """Return all of them; None where they are many, or where it costs too much to know.

        Where there are many whole words below the number ``before``, the highest ones are kept for `among`.
        """
        if self._whole:
            if before is not None and len(self._newest(before)) > self._many:
                return None
            found = self._newest(None)
            return None if len(found) > self._many else sorted(self._beginning(found))
        if self._price > OWN_WORDS_BYTES * FIRST_GROUP:
            return None
        return None if len(self._every()) > self._many else sorted(self._every())

    def among(self, numbers: list[int]) -> set[int]:
        """Return which of these packets of the volume have the words."""
        return self._beginning(self._with_whole(numbers) if self._whole else numbers)

    def _newest(self, before: int | None) -> list[int]:
        most = self._many + 1
        found = self._words.newest(self._connection, self._volume.number, self._whole, most, before)
        self._highest = frozenset(found)
        self._lowest = min(found, default=0) if len(found) > self._many else 0
        self._below = _NO_LAST_PACKET if before is None else before
        return found

    def _with_whole(self, numbers: list[int]) -> list[int]:
        known = [number for number in numbers if self._lowest <= number < self._below]
        other = [number for number in numbers if not self._lowest <= number < self._below]
        found = [number for number in known if number in self._highest]
        if other:
            found += self._words.matching(self._connection, self._volume.number, self._whole, other)
        return found

    def _beginning(self, numbers: list[int]) -> set[int]:
        """Return which have the beginnings: by their own words until that has cost what the index does."""
        if not self._beginnings or not numbers:
            return set(numbers)
        if not self._price:
            return self._words.matching(self._connection, self._volume.number, self._beginnings, numbers)
        self._spent += len(numbers) * OWN_WORDS_BYTES
        if self._all is None and self._spent <= self._price:
            return self._own(numbers, self._beginnings)
        return set(self._every().intersection(numbers))

    def _every(self) -> frozenset[int]:
        if self._all is None:
            most = _NO_LAST_PACKET if self._price else self._many + 1
            found = self._words.newest(self._connection, self._volume.number, self._beginnings, most)
            self._all = frozenset(found)
        return self._all


class VolumeSearch:
    """One search for words."""

    def __init__(
        self, connection: sa.Connection, words: TextIndex, query: Query, left: int, own: Own, deadline: Deadline | None
    ) -> None:
        """Split the query's words; raises AlertError when it has none.

        Args:
            connection: to the archive.
            words: its index of words.
            query: what is looked for.
            left: about how many packets it leaves but for its words.
            own: looks at packets' own bytes.
            deadline: when it pauses; None for never.
        """
        self._connection, self._words, self._query = connection, words, query
        self._wanted = wanted_words(query.words)
        self._own, self._deadline = own, deadline
        self._backwards = query.last is not None
        rows = connection.execute(sa.select(volumes).order_by(volumes.c.volume)).all()
        lasts = [*(row.first - 1 for row in rows), _NO_LAST_PACKET][1:]
        self._volumes = [
            _Volume(row.volume, row.first, last, row.oldest, row.newest) for row, last in zip(rows, lasts, strict=True)
        ]
        self._many = min(MANY_PACKETS, max(FIRST_GROUP, left // max(1, len(rows))))
        self._at_hand: dict[int, _Having] = {}

    def rows(self, keys: Keys) -> Iterator[Any]:
        """Find the rows of ``keys`` that have the words, in the order of the query."""
        return _merged(self._parts(keys), self._place)

    def matching_rows(self, rows: Iterator[Any]) -> Iterator[Any]:
        """Return which of the rows have the words."""
        return in_groups(rows, self._matching, self._deadline)

    def _matching(self, numbers: list[int]) -> set[int]:
        having: set[int] = set()
        placed = sorted(((self._volume_of(number), number) for number in numbers), key=lambda pair: pair[1])
        for volume, pairs in groupby(placed, key=lambda pair: pair[0]):
            having |= self._having(volume).among([number for _, number in pairs])
        return having

    def _having(self, volume: _Volume) -> _Having:
        """Return what is known of a volume; only of the last few, since that may be 131,072 numbers."""
        there = self._at_hand.pop(volume.number, None)
        if there is None:
            there = _Having(self._connection, self._words, self._wanted, self._many, self._own, volume)
        self._at_hand[volume.number] = there
        if len(self._at_hand) > _MAX_VOLUMES_AT_HAND:
            self._at_hand.pop(next(iter(self._at_hand)))
        return there

    def _volume_of(self, number: int) -> _Volume:
        return next(volume for volume in reversed(self._volumes) if number >= volume.first)

    def _parts(self, keys: Keys) -> Iterator[tuple[tuple[float, float], Iterator[Any]]]:
        """Give the rows of one volume, or of several with few, each with a place that is not after its first row's."""
        number = packets.c.number
        numbers: list[int] = []
        start, looked = 0.0, False
        enough = min(self._query.last or MAX_GROUP, MAX_GROUP)

        def few() -> tuple[tuple[float, float], Iterator[Any]]:
            return (start, float("-inf")), keys(number.in_(sorted(numbers)), few=True)

        for volume in self._in_order():
            edge = -volume.newest if self._backwards else volume.oldest
            if looked and self._is_late() and self._is_on(volume.newest):
                if numbers:
                    yield few()
                yield (edge, float("-inf")), iter((Pause(_NO_LAST_PACKET, volume.newest),))
                return
            looked = True
            if not numbers:
                yield (edge, float("-inf")), iter(())  # the rows before it are taken first; they may be enough
            found = self._having(volume).few(self._before(volume))
            if found:
                start = start if numbers else edge
                numbers += found
            if numbers and (found is None or len(numbers) >= enough):
                yield few()
                numbers = []
            if found is None:
                here = (number + 0).between(volume.first, volume.last)
                span = (volume.oldest, math.nextafter(volume.newest, math.inf))
                yield (edge, float("-inf")), self.matching_rows(keys(here, span, few=False))
        if numbers:
            yield few()

    def _is_late(self) -> bool:
        return self._deadline is not None and self._deadline.left() <= 0

    def _is_on(self, received: float) -> bool:
        """Tell whether a page that begins there has come further than this one did."""
        return self._query.before is None or received < self._query.before[0]

    def _before(self, volume: _Volume) -> int | None:
        """Return the number below which the highest ones are likely the page's; None for all of the volume."""
        before = self._query.before
        return before[1] if before is not None and volume.first < before[1] <= volume.last else None

    def _in_order(self) -> list[_Volume]:
        since = float("-inf") if self._query.since is None else self._query.since
        until = float("inf") if self._query.until is None else self._query.until
        last = float("inf") if self._query.before is None else self._query.before[0]
        there = [each for each in self._volumes if each.newest >= since and each.oldest < until and each.oldest <= last]
        return sorted(there, key=lambda volume: -volume.newest if self._backwards else volume.oldest)

    def _place(self, row: Any) -> tuple[float, float]:
        return (-row.received, -row.number) if self._backwards else (row.received, row.number)


def in_groups(
    rows: Iterator[Any], passing: Callable[[list[int]], set[int]], deadline: Deadline | None
) -> Iterator[Any]:
    """Give the rows whose packets pass, of some hundred at once; after ``deadline`` a `Pause` may end them.

    The next group is larger than the one before while that took little time.
    """
    size, last = FIRST_GROUP, None
    while group := list(islice(rows, size)):
        paused = group.pop() if isinstance(group[-1], Pause) else None
        if last is not None and deadline is not None and deadline.left() <= 0:
            yield Pause(last.number, last.received)
            return
        begin = steady_seconds()
        passed = passing([row.number for row in group]) if group else set()
        yield from (row for row in group if row.number in passed)
        if paused is not None:
            yield paused
            return
        last = group[-1]
        size = min(4 * size, MAX_GROUP) if steady_seconds() - begin < QUICK_SECONDS else FIRST_GROUP


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
            if isinstance(row, Pause):
                return
            push(rows)
        push(begun)
    while heap:
        _, row, rows = heapq.heappop(heap)
        yield row
        if isinstance(row, Pause):
            return
        push(rows)
