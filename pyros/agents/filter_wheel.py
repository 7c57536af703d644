"""The filter wheel's agent: turns a filter into the beam, and says which one the wheel then reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pyros import instruments, messages
from pyros.agents._filters import FiltersAgent
from pyros.agents.agent import Agent
from pyros.agents.instrument import Command, asked_ahead
from pyros.messages import Failure, FilterSelected, Message, SelectFilter


class FilterWheelAgent(FiltersAgent):
    """Takes *Select filter*."""

    device: instruments.FilterWheel

    def __init__(self) -> None:
        super().__init__(Agent.FILTER_WHEEL)
        self.actions_by_message |= {messages.SELECT_FILTER: self.select_filter}

    def select_filter(self, message: Message) -> None:
        """Turn the wheel; a turn under way is superseded by the new one."""
        select: SelectFilter = message.payload
        if reason := self.reason_held(message):
            self.refuse(message, messages.FILTER_FAILED, f"not turned: {reason}")
            return

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return self.device.select(select.filter, started).addCallback(lambda filter: {"filter": filter})

        self.command(messages.SELECT_FILTER, select, run, order=message)

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """To select the same filter again is safe, and ends at once when it is in the beam."""
        if interrupted is not None:
            self.again(interrupted)

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        with asked_ahead(self.device.filter()) as filter_:
            return await self.device.state(), {"filter": await filter_}

    def done(self, command: Command, result: dict[str, Any]) -> None:
        observation, wanted = command.payload.get("observation", ""), command.payload["filter"]
        if result["filter"] == wanted:
            selected = FilterSelected(observation=observation, filter=wanted)
            self.answer(command, messages.FILTER_SELECTED, selected)
        else:
            reason = f"the wheel was told to select {wanted} and reports {result['filter']}"
            self.failed(command, Failure(observation=observation, reason=reason))

    def failed(self, command: Command, failure: Failure) -> None:
        self.answer(command, messages.FILTER_FAILED, failure)
