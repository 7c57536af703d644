"""An agent whose device is only read, at a steady pace: a weather station, a safety monitor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from pyros import messages
from pyros.agents.instrument import InstrumentAgent, InstrumentState
from pyros.messages import Message

READ = messages.guard("Read device")
_INTERVAL = 10.0


class PollingState(InstrumentState):
    """The timer of the next reading."""

    timer: int | None = None


class PollingAgent(InstrumentAgent):
    """Reads its device. ``option_interval`` in its section: seconds between readings, which are its telemetry too."""

    state: PollingState

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message[READ] = self.read

    def work(self) -> None:
        self._interval = self.option("interval", float, _INTERVAL)
        self.state.command = None
        super().work()
        if self.state.timer is not None:
            self.cancel_timer(self.state.timer)
        self.state.timer = self.call_later(0, READ)

    def look(self) -> None:
        """Refuse nothing and begin nothing: the device is only read."""

    def read(self, message: Message) -> None:
        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            asked = self.clock.monotonic()
            return self.ask().addCallback(lambda reading: {"reading": msgspec.to_builtins(reading), "asked": asked})

        self.state.timer = self.call_later(self._interval, READ)
        self.command(message.name, message.payload, run, order=message)

    def reading(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what was read, with its ``age`` (seconds) as of now: it may have waited for this agent."""
        reading: dict[str, Any] = result["reading"]
        return reading | {"age": reading.get("age", 0.0) + self.clock.monotonic() - result["asked"]}

    def ask(self) -> Deferred[Any]:
        """Read the device, in the reactor's thread."""
        asked: Deferred[Any] = self.device.read()
        return asked
