"""The guider's agent: has it guide while an observation's exposures last, and tells when it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet.defer import Deferred

from pyros import messages
from pyros.agents.instrument import Command, InstrumentAgent, InstrumentState
from pyros.agents.options import AgentOption, OptionTable
from pyros.hold import Hold
from pyros.instruments.guider import GUIDING_STOPPED, STAR_FOUND, STAR_LOST, Guider, Settle
from pyros.messages import ABORT, Failure, Message, Payload
from pyros.messages.guider import (
    DITHER,
    FAILED,
    FINISHED,
    GUIDE,
    GUIDING_AGAIN,
    GUIDING_LOST,
    PAUSE_GUIDING,
    STOP_GUIDING,
    Guiding,
)
from pyros.quantities import positive
from pyros.reactor import Reactor

GUIDER_SAID = "Guider said"
_ARCSEC = AgentOption("settle_arcsec", positive, 1.5)
_SECONDS = AgentOption("settle_seconds", positive, 8.0)
_TIMEOUT = AgentOption("settle_timeout", positive, 60.0)  # seconds
_REASONS = {
    STAR_LOST: "the guide star is lost",
    GUIDING_STOPPED: "the guiding was stopped by somebody else",
}


class GuiderSaid(Payload, frozen=True):
    """What the guider said by itself."""

    event: str


messages.register(GUIDER_SAID, GuiderSaid, guarded=True)


class GuiderState(InstrumentState):
    """What the guider's agent remembers."""

    guided: str | None = None
    """The observation for which it guides; None while it is to guide for none."""
    lost: bool = False
    """Whether its star is away."""


class GuiderAgent(InstrumentAgent):
    """Takes *Guide*, *Dither*, *Pause guiding*, *Stop guiding* and *Abort*.

    Options: ``option_settle_arcsec`` (1.5) is how far the star may be off for the guiding to count as steady,
    ``option_settle_seconds`` (8) for how long it must be within that, ``option_settle_timeout`` (60, seconds) after how
    long it is given up.
    """

    OPTIONS: ClassVar[OptionTable] = (*InstrumentAgent.OPTIONS, _ARCSEC, _SECONDS, _TIMEOUT)
    state: GuiderState
    device: Guider

    def __init__(self) -> None:
        super().__init__("guider")
        self.actions_by_message |= {
            GUIDE: self.guide,
            DITHER: self.dither,
            PAUSE_GUIDING: self.pause,
            STOP_GUIDING: self.stop_guiding,
            ABORT: self.abort,
            GUIDER_SAID: self.guider_said,
        }

    def attach(self, reactor: Reactor) -> None:
        super().attach(reactor)
        self.device.on_event = self._on_event

    def work(self) -> None:
        self._steady = Settle(
            self.option(*_ARCSEC),
            self.option(*_SECONDS),
            self.option(*_TIMEOUT),
        )
        super().work()

    def guide(self, message: Message) -> None:
        """Guide until *Stop guiding*; the end of the command is that it is steady."""
        self._begin(message, lambda started: self.device.guide(self._steady, started))

    def dither(self, message: Message) -> None:
        """Move the star's place, and tell when it is steady there."""
        arcsec = message.payload.arcsec
        self._begin(message, lambda started: self.device.dither(arcsec, self._steady, started))

    def _begin(self, message: Message, act: Callable[[Callable[[float], None]], Deferred[float]]) -> None:
        wanted = message.payload
        if reason := self.reason_held(message) or self.too_old(message):
            self.refuse(message, FAILED[message.name], f"not guided: {reason}")
            return

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            self.refuse_after_safe()
            return act(started).addCallback(lambda error: {"error": error})

        self.command(message.name, wanted, run, order=message)

    def pause(self, message: Message) -> None:
        """Correct nothing while something in the beam moves."""
        if self.state.guided is not None:
            self.aborting(self.device.pause)

    def stop_guiding(self, message: Message) -> None:
        """Stop; whoever waited for the guiding to be steady does so no longer."""
        self._forget()
        self.aborting(self.device.stop)

    def abort(self, message: Message) -> None:
        """Stop what guides for that observation."""
        command, wanted = self.state.command, message.payload.observation
        mine = command is not None and command.payload.get("observation", "") == wanted
        if not wanted or wanted == self.state.guided or mine:
            self.state.guided = None
            self.aborting(self.device.stop)

    def obey_hold(self, hold: Hold, stop: bool) -> None:
        if stop or self._automatic():
            self.stop_at_once(self.device.stop)

    def on_hold(self, hold: Hold, stop: bool) -> None:
        if stop or self._automatic():
            self._forget()
            self.aborting(self.device.stop)

    def make_safe(self, reason: str) -> Deferred[None] | None:
        """Stop what guides for an observation."""
        if self.state.command is None and self.state.guided is None:
            return None
        return self.stop_at_once(self.device.stop)

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """Give the interrupted command again; tell what became of the guiding meanwhile."""
        if interrupted is not None:
            self.again(interrupted)
        elif self.state.guided is not None and state is not None:
            if state in ("guiding", "paused"):
                self._star_found()
            else:
                self._guiding_lost(f"the guider is {state}")

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        return await self.device.state(), {"error": await self.device.error()}

    def done(self, command: Command, result: dict[str, Any]) -> None:
        observation = command.payload.get("observation", "")
        self.state.guided, self.state.lost = observation, False
        self.answer(command, FINISHED[command.name], Guiding(observation=observation, error=result["error"]))

    def failed(self, command: Command, failure: Failure) -> None:
        self.state.guided = None
        self.answer(command, FAILED[command.name], failure)

    def guider_said(self, message: Message) -> None:
        """Tell the observation manager what it should know of the guiding it has asked for."""
        event = message.payload.event
        if self.state.guided is None or self.state.command is not None:
            return
        if event == STAR_FOUND:
            self._star_found()
        elif event in _REASONS:
            self._guiding_lost(_REASONS[event])

    def _star_found(self) -> None:
        if self.state.lost:
            self.state.lost = False
            again = Guiding(observation=self.state.guided or "", error=0.0)
            self.send_if_there(self.OBSERVATION_MANAGER, GUIDING_AGAIN, again)

    def _guiding_lost(self, reason: str) -> None:
        self.state.lost = True
        lost = Failure(observation=self.state.guided or "", reason=reason)
        self.send_if_there(self.OBSERVATION_MANAGER, GUIDING_LOST, lost)

    def _automatic(self) -> bool:
        """Whether it guides, or begins to, for the automation; in any thread."""
        return self.state.guided is not None or self.for_automation(GUIDE, DITHER) is not None

    def _forget(self) -> None:
        self.state.command = self.state.interrupted = self.state.guided = None
        self.state.lost = False

    def _on_event(self, event: str) -> None:
        self.post_to_self(GUIDER_SAID, GuiderSaid(event=event))
