"""What the log says of events: one line a second at most for those that are stored, a line for each that is not.

The first stored event is logged at once; too many lines of refused ones are left out.
A line for each event would cost a busy broker a tenth of its time, and a hostile peer would fill the disk with lines.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger

from pyros.clock import Clock, Timer, cancel_call
from pyros.reactor import Reactor

EVERY = 1.0  # seconds between lines
MAX_LINES = 60  # of events that were not stored, in a minute
_MINUTE = 60.0

log = Logger(namespace="pyros.broker")


class EventLog:
    """Writes the lines of stored events. Every method is for the reactor's thread."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._quiet: Timer | None = None
        self._untold: list[tuple[str, str, int]] = []

    def add(self, events: Iterable[tuple[str, str, int]]) -> None:
        """Add the events that a commit has brought: (ivorn, source, number) of each."""
        self._untold += events
        if self._quiet is None:
            self._tell()

    def stop(self) -> None:
        """Tell the rest."""
        cancel_call(self._quiet)
        self._tell(last=True)

    def _tell(self, *, last: bool = False) -> None:
        events, self._untold = self._untold, []
        self._quiet = None
        if not events:
            return
        ivorn, source, number = events[0]
        more = f", and {len(events) - 1} more events, up to number {events[-1][2]}" if len(events) > 1 else ""
        log.info(
            "stored: {ivorn} from {source} as event {number}{more}",
            ivorn=ivorn, source=source, number=number, more=more,
        )  # fmt: skip
        if not last:
            self._quiet = self._reactor.callLater(EVERY, self._tell)


class LineLimit:
    """Lets a bounded number of lines through. For one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since, self._count = clock.monotonic(), 0

    def more(self) -> str | None:
        """Whether one more line may be written: what to add to it, or None if it may not."""
        now = self._clock.monotonic()
        left_out = 0
        if now - self._since > _MINUTE:
            left_out = max(0, self._count - MAX_LINES)
            self._since, self._count = now, 0
        self._count += 1
        if self._count > MAX_LINES:
            return None
        if self._count == MAX_LINES:
            return " (more such lines are left out for a minute)"
        return f" (and {left_out} before, of which there is no line)" if left_out else ""
