"""What the log says of stored events: one line a second at most, the first at once.

A line for each event would cost a busy broker a tenth of its time.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger

from pyros.clock import Timer, cancel_call
from pyros.reactor import Reactor

EVERY = 1.0  # seconds between lines

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
