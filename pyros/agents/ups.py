"""The UPS's agent: asks it at a steady pace and passes its word on."""

from __future__ import annotations

from pyros import messages
from pyros.agents._polling import PollingAgent
from pyros.agents.agent import Agent
from pyros.instruments.ups import Power
from pyros.messages import PowerReading


class UpsAgent(PollingAgent):
    """Sends *Power reading* to monitoring, which closes on battery. ``option_interval``: seconds between two.

    That the mains fail, or are back, is kept until it arrives; the others are said again soon.
    """

    says = messages.POWER_READING

    def __init__(self) -> None:
        super().__init__(Agent.UPS)

    def word(self, reading: Power) -> PowerReading:
        return PowerReading(on_mains=reading.on_mains, charge=reading.charge)

    def news(self, word: PowerReading) -> bool:
        return word.on_mains
