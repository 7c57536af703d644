"""How many bytes of a link may be on their way: all that fits, or, for bulk, what the path takes in about a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MAX_BYTES = 8 * 1024 * 1024
MIN_BYTES = 64 * 1024
FIRST_BYTES = 256 * 1024
LONG_SECONDS = 1.0
"""A frame that is acknowledged later than that says that too much was before it."""
SHORT_SECONDS = 0.5
"""One that is acknowledged sooner says that more may be on its way."""


class SendWindow:
    """The bytes that may be unacknowledged; ``bounded`` ones follow how long frames are on their way."""

    def __init__(self, bounded: bool, seconds: Callable[[], float]) -> None:
        """``seconds`` is a monotonic clock."""
        self.bytes = FIRST_BYTES if bounded else MAX_BYTES
        self._bounded = bounded
        self._seconds = seconds
        self._written: deque[tuple[int, float]] = deque()

    def wrote(self, seq: int) -> None:
        """Note that a frame was written whose last message has this number."""
        if self._bounded:
            self._written.append((seq, self._seconds()))

    def answered(self, seq: int) -> None:
        """Note that all messages up to this number are acknowledged."""
        at: float | None = None
        while self._written and self._written[0][0] <= seq:
            at = self._written.popleft()[1]
        if at is None:
            return
        took = self._seconds() - at
        if took > LONG_SECONDS:
            self.bytes = max(MIN_BYTES, self.bytes // 2)
        elif took < SHORT_SECONDS:
            self.bytes = min(MAX_BYTES, self.bytes + MIN_BYTES)

    def begin_again(self) -> None:
        """Forget what was written to a connection that has ended."""
        self._written.clear()
