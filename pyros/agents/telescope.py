"""The telescope's agent: slews, stops, parks, and says what was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pyros import instruments, messages
from pyros.agents._instrument import Command, InstrumentAgent, InstrumentState
from pyros.agents.base import Agent
from pyros.messages import Failure, Message, Order, Slew, SlewFinished, SlewStarted
from pyros.planning import Site

_PARK_AGAIN = 30.0  # seconds


class TelescopeState(InstrumentState):
    """Whether the telescope shall be parked, and when that is tried again."""

    park_wanted: bool = False
    park_timer: int | None = None


class TelescopeAgent(InstrumentAgent):
    """Takes *Slew*, *Park* and *Abort*."""

    state: TelescopeState
    device: instruments.Telescope

    def __init__(self) -> None:
        super().__init__(Agent.TELESCOPE)
        self.actions_by_message |= {
            messages.SLEW: self.slew,
            messages.PARK: self.park,
            messages.ABORT: self.abort,
        }

    def place(self) -> instruments.Place:
        return Site.load(self.config.site)

    def slew(self, message: Message) -> None:
        """A slew that is under way gives way to the new one."""
        slew: Slew = message.payload
        if reason := self.too_old(message):  # the dome may be closed and the night over
            failure = Failure(observation=slew.observation, reason=reason)
            self.send_if_there(message.sender, messages.SLEW_FAILED, failure)
            return
        self.state.park_wanted = False

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            slewing = self.device.slew(slew.ra, slew.dec, slew.observation, started)
            return slewing.addCallback(lambda end: {"ra": end.ra, "dec": end.dec, "error": end.error_arcsec})

        self.command(message, run)

    def park(self, message: Message) -> None:
        """Park; where that fails it is tried again, until the telescope is parked or something else is wanted."""
        if message.sender == self.name and not self.state.park_wanted:
            return  # a second attempt, and meanwhile there was a slew
        self.state.park_wanted = True
        if self.state.park_timer is not None:
            self.cancel_timer(self.state.park_timer)
            self.state.park_timer = None

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
            self.aborting(self.device.stop)

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """Going to the same place again is safe, and ends at once if the telescope is there. What moves for nobody is
        stopped, and what should be parked is parked."""
        if interrupted is not None:
            self.again(interrupted)
        elif self.state.park_wanted:
            if state not in ("parked", "parking"):
                self._park_again("it should be parked")
        elif state == "slewing":
            self.log.warn("the telescope is slewing for nobody: it is stopped")
            self.aborting(self.device.stop)

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        state = await self.device.state()
        here = await self.device.position()
        return state, {"ra": here.ra, "dec": here.dec}

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
            self.state.park_timer = self.call_later(_PARK_AGAIN, messages.PARK, Order(reason="parking failed before"))
        else:
            failure = Failure(observation=command.payload["observation"], reason=reason)
            self.answer(command, messages.SLEW_FAILED, failure)

    def _park_again(self, reason: str) -> None:
        if self.state.park_timer is not None:
            self.cancel_timer(self.state.park_timer)
        self.state.park_timer = self.call_later(0, messages.PARK, Order(reason=reason))
