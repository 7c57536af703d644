"""An agent whose device is only read, at a steady pace: a weather station, a safety monitor."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents.instrument import CommandEnded, InstrumentAgent, InstrumentState, in_words
from pyros.errors import InstrumentError
from pyros.messages import Message

READ = messages.guard("Read device", fleeting=True)
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
        self.actions_by_message |= {READ: self.read, HAS_READ: self._has_read, NOT_READ: self._not_read}
        self._number = 0
        """That of the last reading: the end of an older one means nothing any more."""

    def work(self) -> None:
        self._interval = self.option("interval", float, _INTERVAL)
        self.state.command = None
        super().work()
        self.call_later(0, READ)

    def look(self) -> None:
        """Refuse nothing and begin nothing: the device is only read."""

    def read(self) -> None:
        self._number += 1
        self.call_later(self._interval, READ)
        self.at_once(self._read, self._number)

    def pass_on(self, reading: dict[str, Any]) -> None:
        """Send what was read to whom it concerns; its ``age`` is in seconds as of now."""

    def ask(self) -> Deferred[Any]:
        """Read the device, in the reactor's thread."""
        asked: Deferred[Any] = self.device.read()
        return asked

    def _read(self, number: int) -> None:
        """In the reactor's thread."""
        asked = self.clock.monotonic()

        def done(reading: Any) -> None:
            result = {"reading": msgspec.to_builtins(reading), "asked": asked}
            self.post_to_self(HAS_READ, CommandEnded(number=number, result=result))

        def failed(failure: Failure) -> None:
            self.post_to_self(NOT_READ, CommandEnded(number=number, reason=in_words(failure)))
            if not isinstance(failure.value, (InstrumentError, OSError)):
                self.log.failure("a reading failed in an unexpected way", failure)

        maybeDeferred(self.ask).addCallback(done).addErrback(failed)

    def _has_read(self, message: Message) -> None:
        end: CommandEnded = message.payload
        if end.number == self._number:
            reading: dict[str, Any] = end.result["reading"]
            waited = self.clock.monotonic() - end.result["asked"]  # for this agent, too
            self.pass_on(reading | {"age": reading.get("age", 0.0) + waited})

    def _not_read(self, message: Message) -> None:
        end: CommandEnded = message.payload
        if end.number == self._number:
            self.log.error("{name} failed: {reason}", name=READ, reason=end.reason)
            self.state.failed_commands += 1
            self.state.last_failure = f"{READ}: {end.reason}"[:300]
