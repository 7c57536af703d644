"""Longer and longer pauses between attempts that fail, such as those to connect."""

from __future__ import annotations

STEADY_SECONDS = 10.0
"""What lasts so long has succeeded. A peer that takes a connection and drops it at once fails, and is tried ever more
rarely."""


class Backoff:
    """The pauses in seconds after the first, the second ... failure in a row; the last one again and again.

    ``Backoff(1, 2, 5)`` pauses for 1, 2, 5, 5, 5 ... seconds.
    """

    def __init__(self, *pauses: float) -> None:
        self._pauses = pauses
        self.failures = 0
        """Attempts in a row that have failed."""

    def next_pause(self) -> float:
        """Count a failure, and return the seconds to wait before the next attempt."""
        self.failures += 1
        return self._pauses[min(self.failures, len(self._pauses)) - 1]

    def reset(self) -> None:
        """Begin with the first pause again: an attempt has succeeded."""
        self.failures = 0

    def ended(self, seconds: float) -> None:
        """Do that if what was attempted has lasted, now that it has ended after so many seconds."""
        if seconds >= STEADY_SECONDS:
            self.reset()
