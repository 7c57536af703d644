"""The telescope's agent: slews, stops, parks, and says what was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from pyros import instruments, messages
from pyros.agents._instrument import Command, InstrumentAgent
from pyros.agents.base import Agent
from pyros.messages import Failure, Message, Slew, SlewFinished, SlewStarted

_STALE = 120.0  # seconds


class TelescopeAgent(InstrumentAgent):
    """Takes *Slew*, *Park* and *Abort*."""

    device: instruments.Telescope

    def __init__(self) -> None:
        super().__init__(Agent.TELESCOPE)
        self.actions_by_message |= {
            messages.SLEW: self.slew,
            messages.PARK: self.park,
            messages.ABORT: self.abort,
        }

    def slew(self, message: Message) -> None:
        """A slew that is under way gives way to the new one."""
        slew: Slew = message.payload
        age = self.clock.time() - message.sent
        if age > _STALE:  # it waited while this agent was down; the dome may be closed and the night over
            failure = Failure(observation=slew.observation, reason=f"the command is {age:.0f} s old")
            self.send_if_there(message.sender, messages.SLEW_FAILED, failure)
            return

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            slewing = self.device.slew(slew.ra, slew.dec, slew.observation, started)
            return slewing.addCallback(lambda end: {"ra": end.ra, "dec": end.dec, "error": end.error_arcsec})

        self.command(message, run)

    def park(self, message: Message) -> None:
        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return self.device.park(started).addCallback(lambda _: {})

        self.command(message, run)

    def abort(self, message: Message) -> None:
        """Stop the slew of that observation; parking goes on."""
        command = self.state.command
        if command is None or command.name != messages.SLEW:
            return
        if message.payload.observation in ("", command.payload["observation"]):
            self.state.command = None
            self.after_commit(self._stop)

    def resumed(self, command: Command) -> None:
        """Going to the same place again is safe, and ends at once if the telescope is there."""
        payload = msgspec.json.encode(command.payload)
        message = Message("resumed", command.name, command.sender, self.clock.time(), payload)
        self.analyze_message(message)

    def started(self, command: Command, seconds: float) -> None:
        if command.name == messages.SLEW:
            self.answer(command, messages.SLEW_STARTED,
                        SlewStarted(observation=command.payload["observation"], seconds=seconds))  # fmt: skip

    def done(self, command: Command, result: dict[str, Any]) -> None:
        if command.name == messages.PARK:
            self.answer(command, messages.PARK_FINISHED)
        else:
            self.answer(command, messages.SLEW_FINISHED,
                        SlewFinished(observation=command.payload["observation"], **result))  # fmt: skip

    def failed(self, command: Command, reason: str) -> None:
        if command.name == messages.PARK:
            self.answer(command, messages.PARK_FAILED, Failure(reason=reason))
        else:
            failure = Failure(observation=command.payload["observation"], reason=reason)
            self.answer(command, messages.SLEW_FAILED, failure)

    def _stop(self) -> None:
        self.device.stop().addErrback(
            lambda failure: self.log.error("stop failed: {reason}", reason=failure.getErrorMessage())
        )
