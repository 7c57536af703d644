"""The UPS's agent: asks it at a steady pace and passes its word on."""

from __future__ import annotations

from typing import Any

from pyros import messages
from pyros.agents._polling import PollingAgent
from pyros.agents.agent import Agent
from pyros.messages import PowerReading


class UpsAgent(PollingAgent):
    """Sends *Power reading* to monitoring, which closes on battery. ``option_interval``: seconds between two.

    That the mains fail, or are back, is kept until it arrives; the others are said again soon.
    """

    def __init__(self) -> None:
        super().__init__(Agent.UPS)
        self._on_mains: bool | None = None
        """What was said last."""

    def pass_on(self, reading: dict[str, Any]) -> None:
        word = PowerReading(on_mains=reading["on_mains"], charge=reading["charge"], age=reading["age"])
        new, self._on_mains = word.on_mains != self._on_mains, word.on_mains
        self.send_if_there(self.MONITORING, messages.POWER_READING, word, durable=new)
