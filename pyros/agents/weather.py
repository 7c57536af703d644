"""The weather station's agent: reads it at a steady pace and passes the readings on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from pyros import instruments, messages
from pyros.agents._instrument import Command, InstrumentAgent, InstrumentState
from pyros.agents.base import Agent
from pyros.messages import Message, WeatherReading

READ = "Read weather"
_INTERVAL = 10.0


class WeatherAgentState(InstrumentState):
    """The timer of the next reading."""

    timer: int | None = None


class WeatherAgent(InstrumentAgent):
    """Sends *Weather reading* to monitoring. ``option_interval`` in its section: seconds between readings."""

    state: WeatherAgentState
    device: instruments.WeatherStation

    def __init__(self) -> None:
        super().__init__(Agent.WEATHER)
        self.actions_by_message[READ] = self.read

    def work(self) -> None:
        self._interval = self.option("interval", float, _INTERVAL)
        self.state.command = None
        if self.state.timer is not None:
            self.cancel_timer(self.state.timer)
        self.state.timer = self.call_later(0, READ)

    def read(self, message: Message) -> None:
        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return self.device.read().addCallback(msgspec.to_builtins)

        self.state.timer = self.call_later(self._interval, READ)
        self.command(message, run)

    def done(self, command: Command, result: dict[str, Any]) -> None:
        self.send_if_there(self.MONITORING, messages.WEATHER_READING, msgspec.convert(result, WeatherReading))
