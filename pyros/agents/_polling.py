"""An agent whose device is only read, at a steady pace: a weather station, a safety monitor."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents.instrument import CommandEnded, InstrumentAgent, InstrumentState, in_words
from pyros.errors import InstrumentError
from pyros.messages import Message
from pyros.quantities import positive
from pyros.reactor import Reactor

HAS_READ = messages.register("Device read", CommandEnded, guarded=True, fleeting=True)
NOT_READ = messages.register("Device not read", CommandEnded, guarded=True, fleeting=True)
_INTERVAL = 10.0


class PollingAgent(InstrumentAgent):
    """Reads its device. ``option_interval`` in its section: seconds between readings, which are its telemetry too.

    A reading changes nothing that a restart needs: its messages are fleeting.
    """

    state: InstrumentState

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message |= {HAS_READ: self._has_read, NOT_READ: self._not_read}
        self._number = 0
        """That of the last reading that has ended: an older one means nothing any more."""

    def work(self) -> None:
        self.state.command = None
        super().work()

    def look(self) -> None:
        """Refuse nothing and begin nothing: the device is only read."""

    def pass_on(self, reading: dict[str, Any]) -> None:
        """Send what was read to whom it concerns; its ``age`` is in seconds as of now."""

    def ask(self) -> Deferred[Any]:
        """Read the device, in the reactor's thread."""
        asked: Deferred[Any] = self.device.read()
        return asked

    # In the reactor's thread -------------------------------------------------------------------------------------

    def attach(self, reactor: Reactor) -> None:
        super().attach(reactor)
        self._pace = self.option("interval", positive, _INTERVAL)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.clock.call_later(0, self._measure)

    def _measure(self) -> None:
        """Read once, unless the reading before is under way, which ends by the driver's patience."""
        self._timer = self.clock.call_later(self._pace, self._measure)
        if self._measuring is None:
            reading = self._measuring = self._read()
            reading.addBoth(self._measured_once)

    def _read(self) -> Deferred[None]:
        asked = self.clock.monotonic()

        def done(reading: Any) -> None:
            result = {"reading": msgspec.to_builtins(reading), "asked": asked}
            self._number += 1
            self.post_to_self(HAS_READ, CommandEnded(number=self._number, result=result))

        def failed(failure: Failure) -> None:
            if failure.check(CancelledError) is not None:
                return
            self._number += 1
            self.post_to_self(NOT_READ, CommandEnded(number=self._number, reason=in_words(failure)))
            if not isinstance(failure.value, (InstrumentError, OSError)):
                self.log.failure("a reading failed in an unexpected way", failure)

        return maybeDeferred(self.ask).addCallback(done).addErrback(failed)

    # Messages from the device ------------------------------------------------------------------------------------

    def _has_read(self, message: Message) -> None:
        end: CommandEnded = message.payload
        if end.number == self._number:
            reading: dict[str, Any] = end.result["reading"]
            waited = self.clock.monotonic() - end.result["asked"]  # for this agent, too
            self.pass_on(reading | {"age": reading.get("age", 0.0) + waited})

    def _not_read(self, message: Message) -> None:
        end: CommandEnded = message.payload
        if end.number == self._number:
            self.log.error("the device could not be read: {reason}", reason=end.reason)
            self.state.failed_commands += 1
            self.state.last_failure = f"reading: {end.reason}"[:300]
