"""What waits for one peer that reads too slowly."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Backlog:
    """Counts what was written while the transport couldn't send: its own buffer is beyond reach, and without bound."""

    def __init__(self, drained: Callable[[], None]) -> None:
        self._drained = drained
        self.full = False
        self.waiting = 0

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full, self.waiting = False, 0
        self._drained()

    def stopProducing(self) -> None:
        self.full, self.waiting = False, 0
