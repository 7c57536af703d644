"""The weather station's agent: reads it at a steady pace and passes the readings on."""

from __future__ import annotations

from typing import Any

import msgspec

from pyros import messages
from pyros.agents._polling import PollingAgent
from pyros.agents.agent import Agent
from pyros.messages import WeatherReading
from pyros.prepared import prepared


class WeatherAgent(PollingAgent):
    """Sends *Weather reading* to monitoring. ``option_interval`` in its section: seconds between readings."""

    def __init__(self) -> None:
        super().__init__(Agent.WEATHER)

    def pass_on(self, reading: dict[str, Any]) -> None:
        self.send_if_there(
            self.MONITORING, messages.WEATHER_READING, msgspec.convert(reading, prepared(WeatherReading))
        )
