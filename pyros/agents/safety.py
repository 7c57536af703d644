"""The safety monitor's agent: asks it at a steady pace and passes its word on."""

from __future__ import annotations

from typing import Any

from pyros import messages
from pyros.agents._polling import PollingAgent
from pyros.agents.agent import Agent
from pyros.agents.instrument import Command
from pyros.messages import SafetyReading


class SafetyAgent(PollingAgent):
    """Sends *Safety reading* to monitoring, which obeys it. ``option_interval`` in its section: seconds between two."""

    def __init__(self) -> None:
        super().__init__(Agent.SAFETY)

    def done(self, command: Command, result: dict[str, Any]) -> None:
        word = self.reading(result)
        reading = SafetyReading(word["safe"], str(word["reason"])[:1000], word["age"])
        self.send_if_there(self.MONITORING, messages.SAFETY_READING, reading)
