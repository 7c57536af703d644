"""The safety monitor's agent: asks it at a steady pace and passes its word on."""

from __future__ import annotations

from pyros import messages
from pyros.agents._polling import PollingAgent
from pyros.agents.agent import Agent
from pyros.instruments import Safety
from pyros.messages import SafetyReading


class SafetyAgent(PollingAgent):
    """Sends *Safety reading* to monitoring, which obeys it. ``option_interval`` in its section: seconds between two.

    What is unsafe, and the first word that isn't, are kept until they arrive; the others are said again soon.
    """

    says = messages.SAFETY_READING

    def __init__(self) -> None:
        super().__init__(Agent.SAFETY)

    def word(self, reading: Safety) -> SafetyReading:
        return SafetyReading(reading.safe, reading.reason[:1000])

    def news(self, word: SafetyReading) -> bool:
        return word.safe
