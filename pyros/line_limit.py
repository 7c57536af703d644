"""A bound on the lines of the log that others can cause: a hostile peer would wash everything else out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_LINES = 60
"""Within a minute."""
_MINUTE = 60.0


class LineLimit:
    """Lets a bounded number of lines through. For one thread."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """``seconds`` returns the time in seconds, such as a reactor's."""
        self._seconds = seconds
        self._since, self._count = seconds(), 0

    def tell(self, write: Callable[..., None], line: str, **values: Any) -> None:
        """Write one more line by ``write``, such as ``log.warn``, if that may be."""
        more = self.more()
        if more is not None:
            write(f"{line}{{more}}", **values, more=more)

    def more(self) -> str | None:
        """Whether one more line may be written: what to add to it, or None if it may not."""
        now = self._seconds()
        left_out = 0
        if not 0 <= now - self._since <= _MINUTE:  # a reactor's clock may be set back
            left_out = max(0, self._count - MAX_LINES)
            self._since, self._count = now, 0
        self._count += 1
        if self._count > MAX_LINES:
            return None
        if self._count == MAX_LINES:
            return " (more such lines are left out for a minute)"
        return f" (and {left_out} before, of which there is no line)" if left_out else ""
