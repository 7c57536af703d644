"""What the log says of events that were stored: one line a second at most, the first one at once.

A line for each event would cost a busy broker a tenth of its time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.logger import Logger

from pyros.clock import Timer

EVERY = 1.0  # seconds between lines

log = Logger(namespace="pyros.broker")


class Telling:
    """Every method is for the reactor's thread."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._quiet: Timer | None = None
        self._first: tuple[str, str, int] | None = None
        self._last = self._count = 0

    def add(self, events: Iterable[tuple[str, str, int]]) -> None:
        """What a commit has brought: (ivorn, source, number) of each."""
        for event in events:
            self._first = self._first or event
            self._last = event[2]
            self._count += 1
        if self._quiet is None:
            self._tell()

    def stop(self) -> None:
        """Tell the rest."""
        if self._quiet is not None:
            self._quiet.cancel()
        self._tell(last=True)

    def _tell(self, *, last: bool = False) -> None:
        self._quiet = None
        if self._first is None:
            return
        ivorn, source, number = self._first
        more = f", and {self._count - 1} more events, up to number {self._last}" if self._count > 1 else ""
        log.info(
            "stored: {ivorn} from {source} as event {number}{more}",
            ivorn=ivorn, source=source, number=number, more=more,
        )  # fmt: skip
        self._first, self._count = None, 0
        if not last:
            self._quiet = self._reactor.callLater(EVERY, self._tell)
