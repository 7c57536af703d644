"""One movement of a mount, from the command to its end, whatever ends it. In the reactor's thread."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyros.clock import Clock
from pyros.errors import InstrumentError


class Motion:
    """A slew or a park under way; ``end`` ends it from outside."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._error: InstrumentError | None = None
        self._waiting: Deferred[None] | None = None

    def end(self, error: InstrumentError) -> None:
        """Whoever carries it out gets this error."""
        self._error = self._error or error
        self._wake()

    def check(self) -> None:
        """Raise what it was ended with, if it was."""
        if self._error is not None:
            raise self._error

    async def pause(self, clock: Clock, seconds: float) -> None:
        """Wait so long. Raises what it was ended with, at once."""
        self.check()
        waiting = self._waiting = Deferred()
        timer = clock.call_later(seconds, self._wake)
        try:
            await waiting
        finally:
            self._waiting = None
            if timer.active():
                timer.cancel()
        self.check()

    def _wake(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)
