"""The switch's agent: power outlets, lamps, relays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from pyros import instruments, messages
from pyros.agents.agent import Agent
from pyros.agents.instrument import Command, InstrumentAgent
from pyros.errors import DeviceRefused
from pyros.messages import Failure, Message, SetSwitch


class SwitchAgent(InstrumentAgent):
    """Takes *Set switch*; several may be under way."""

    device: instruments.Switch

    def __init__(self) -> None:
        super().__init__(Agent.SWITCH)
        self.actions_by_message |= {messages.SET_SWITCH: self.set_switch}

    def set_switch(self, message: Message) -> None:
        """Set a channel; what waited long while this agent was down is not set any more."""
        wanted: SetSwitch = message.payload
        if reason := self.too_old(message):
            self.refuse(message, messages.SWITCH_FAILED, reason)
            return

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return Deferred.fromCoroutine(self._set(wanted))

        self.command(messages.SET_SWITCH, wanted, run, order=message, aside=True)

    def look(self) -> None:
        """Begin nothing: a switch does nothing by itself."""

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        levels: dict[str, float | str | None] = {}
        for number, channel in enumerate(await self.device.channels()):
            levels[channel.name or str(number)] = await self.device.get(number)
        return "ok", levels

    def done(self, command: Command, result: dict[str, Any]) -> None:
        self.answer(command, messages.SWITCH_SET, SetSwitch(command.payload["channel"], result["level"]))

    def failed(self, command: Command, failure: Failure) -> None:
        reason = f"{command.payload['channel']}: {failure.reason}"
        self.answer(command, messages.SWITCH_FAILED, msgspec.structs.replace(failure, reason=reason))

    async def _set(self, wanted: SetSwitch) -> dict[str, Any]:
        """In the reactor's thread."""
        number = wanted.channel
        if isinstance(number, str):
            names = [channel.name for channel in await self.device.channels()]
            if number not in names:
                raise DeviceRefused("VALUE", f"there is no channel {number!r}; there is {', '.join(names)}")
            number = names.index(number)
        return {"level": await self.device.set(number, wanted.level)}
