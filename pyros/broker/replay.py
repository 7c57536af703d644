"""What was broadcast and how far each known subscriber has got, for those who were away.

A subscriber is known by the identifier that it authenticates with, from the first time that it does. All that is known
of it is the number of the last event before the first one that it has not acknowledged.
"""

from __future__ import annotations

from pyros.broker.packet import MAX_IVORN, one_line
from pyros.broker.store import EventStore
from pyros.broker.vtp.carried import MAX_CARRIED
from pyros.broker.vtp.protocol import MAX_LENGTH
from pyros.journal.events import Conflict, EventReader, KeptEvent

MAX_REPLAY = 10_000  # events; whoever was away longer gets the last ones
MAX_KNOWN = 1_000  # subscribers; those that were heard last


class Replay:
    """The past of one broker. All methods are for the reactor's thread."""

    def __init__(self, store: EventStore) -> None:
        """Read the positions of the subscribers; raises JournalError when the journal cannot be read."""
        self._store = store
        self._reader = EventReader(store.journal.path)
        self._positions: dict[str, int] = dict(reversed(self._reader.subscribers(MAX_KNOWN)))  # heard last at the end
        self.newest: int = store.events
        """The number of the last event that was broadcast."""

    def position(self, ivo: str) -> int | None:
        """Up to where this subscriber has everything; None when it isn't known."""
        return self._positions.get(ivo)

    def moved(self, ivo: str, number: int) -> None:
        """Note that a subscriber has every event up to this number; it is written to the journal within a moment."""
        if not ivo or len(ivo) > MAX_IVORN or ivo != one_line(ivo):
            return
        known = self._positions.pop(ivo, None)
        if known is None and len(self._positions) >= MAX_KNOWN:
            forgotten = next(iter(self._positions))
            del self._positions[forgotten]
            self._store.forget_subscriber(forgotten)
        self._positions[ivo] = number
        if known != number:
            self._store.record_position(ivo, number)

    def between(self, after: int, last: int, limit: int, *, all_forms: bool = False) -> list[KeptEvent]:
        """Events with numbers above ``after`` up to ``last``, oldest first.

        Those that VTP can carry; with ``all_forms`` the others too, as far as they are carried at all.
        """
        return self._reader.between(after, last, MAX_LENGTH, limit, MAX_CARRIED if all_forms else 0)

    def before(self, time: float) -> int:
        """Return the number of the last event that was received before this time (Unix seconds); 0 when there is none.

        Numbers rise with time, so it is found by halving; there is no index to keep for a question asked so rarely.
        """
        low, high = 0, self.newest
        while low < high:
            middle = (low + high + 1) // 2
            received = self._reader.received_at(middle)
            if received is None or received < time:
                low = middle
            else:
                high = middle - 1
        return low

    def conflicts(self, last: int = 5) -> list[Conflict]:
        """Return the newest packets that came under the ivorn of another event, newest first."""
        return self._reader.conflicts(last)

    def close(self) -> None:
        self._reader.close()
