"""A command under way, from its beginning to its end, whatever ends it: for devices whose end is seen by asking.

In the reactor's thread.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyros.clock import Clock
from pyros.errors import InstrumentError


class Stillness:
    """How long a device has stood still elsewhere than where it was sent.

    For the first seconds it may not have begun, and at the end not know yet that it has arrived; a device that stands
    still for longer has failed.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._since = clock.monotonic()

    def moves(self) -> None:
        """Note that the device was seen moving now."""
        self._since = self._clock.monotonic()

    @property
    def too_long(self) -> bool:
        """Whether it has stood still for so long that nothing more is to be expected of it."""
        return self._clock.monotonic() - self._since > self._seconds


class Running:
    """A command under way, which somebody else may end."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._error: InstrumentError | None = None
        self._held = False
        self._waiting: Deferred[None] | None = None

    def hold(self) -> None:
        """Something is being done about it: whatever the device shows now doesn't count."""
        self._held = True

    def release(self) -> None:
        """It goes on."""
        self._held = False
        self._wake()

    def end(self, error: InstrumentError) -> None:
        """Whoever waits for its end gets this error, at once."""
        self._error = self._error or error
        self.release()

    def _wake(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def check(self) -> None:
        """Raise the error with which it was ended, if it was."""
        while self._held:
            self._waiting = waiting = Deferred[None]()
            await waiting
        if self._error is not None:
            raise self._error

    async def pause(self, clock: Clock, seconds: float) -> None:
        """Wait so long, or until it is ended, which raises."""
        await self.check()
        self._waiting = waiting = Deferred[None]()
        timer = clock.call_later(seconds, self._wake)
        try:
            await waiting
        finally:
            self._waiting = None
            if timer.active():
                timer.cancel()
        await self.check()
