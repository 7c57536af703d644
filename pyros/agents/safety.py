"""The safety monitor's agent: asks it at a steady pace and passes its word on."""

from __future__ import annotations

from typing import Any

from pyros import messages
from pyros.agents._polling import PollingAgent
from pyros.agents.agent import Agent
from pyros.messages import SafetyReading


class SafetyAgent(PollingAgent):
    """Sends *Safety reading* to monitoring, which obeys it. ``option_interval`` in its section: seconds between two.

    What is unsafe, and the first word that isn't, are kept until they arrive; the others are said again soon.
    """

    def __init__(self) -> None:
        super().__init__(Agent.SAFETY)
        self._said: bool | None = None
        """What was said last."""

    def pass_on(self, reading: dict[str, Any]) -> None:
        word = SafetyReading(reading["safe"], str(reading["reason"])[:1000], reading["age"])
        new, self._said = word.safe != self._said, word.safe
        self.send_if_there(self.MONITORING, messages.SAFETY_READING, word, durable=new)
