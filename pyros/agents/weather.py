"""The weather station's agent: reads it at a steady pace and passes the readings on."""

from __future__ import annotations

from pyros import messages
from pyros.agents._polling import PollingAgent
from pyros.agents.agent import Agent
from pyros.messages import WeatherReading


class WeatherAgent(PollingAgent):
    """Sends *Weather reading* to monitoring. ``option_interval`` in its section: seconds between readings."""

    says = messages.WEATHER_READING

    def __init__(self) -> None:
        super().__init__(Agent.WEATHER)

    def word(self, reading: WeatherReading) -> WeatherReading:
        return reading
