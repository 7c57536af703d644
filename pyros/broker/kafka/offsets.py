"""How far a partition of a Kafka topic is done: what has been taken out of order is committed in order."""

from __future__ import annotations

from collections import deque


class Offsets:
    """The offsets of one partition that are being stored. For one thread."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self._pending: deque[int] = deque()
        self._done: set[int] = set()
        self._next: int | None = None

    def __len__(self) -> int:
        """How many are not done yet."""
        return len(self._pending) - len(self._done)

    def took(self, offset: int) -> None:
        """Note a packet that was handed over. Offsets rise, with gaps where transactions or compaction left them."""
        self._pending.append(offset)

    def finished(self, offset: int) -> None:
        """Note that a packet is durable."""
        self._done.add(offset)
        while self._pending and self._pending[0] in self._done:
            self._done.discard(self._pending[0])
            self._next = self._pending.popleft() + 1

    def to_commit(self) -> int | None:
        """Return the offset to go on from after a restart, or None when it has not changed since the last call."""
        position, self._next = self._next, None
        return position

    def not_committed(self, position: int) -> None:
        """Make a commit that the service refused due again, unless a later one is due by now."""
        if self._next is None:
            self._next = position
