"""The dome's agent. The dome may be open only while two leases run: the weather's, renewed by every *Weather safe* of
monitoring, and the majordome's, renewed by *Keep open*. When either ends, for whatever reason, it closes by itself. So
it does when it is found open though it should not be.

A dome whose connection is lost while it may be open is opened again as soon as it is back, if both leases still run and
it did not stay open by itself; else it is closed.

The slit of a dome follows the telescope: it is turned to the target's azimuth, as seen from the centre of the dome, and
turned again when the sky has moved on. A roof has none, and says so at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from pyros import instruments, messages
from pyros.agents._instrument import Command, InstrumentAgent, InstrumentState
from pyros.agents.base import Agent
from pyros.messages import Failure, Follow, Message, Order, SlitInPlace
from pyros.planning import Site
from pyros.planning.visibility import altitude_azimuth

CHECK_LEASES = "Check leases"
FOLLOW_ON = "Follow on"
OPEN_AGAIN = "Open again"
_FOLLOW_EVERY = 30.0
_SLIT = 3.0  # degrees by which the slit may look beside the target
_OPEN_LEASE = 60.0
_AGAIN = 10.0
_OPEN_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0)  # before it is opened again, each time that it was lost meanwhile


class DomeState(InstrumentState):
    """Until when each lease runs (Unix seconds), why the weather is unsafe, whether the dome shall be open, what the
    slit follows, and who waits to hear that it has got there; how often it was lost while it opened, and the timer of
    the next attempt."""

    weather_until: float = 0.0
    weather_reason: str = "no word from monitoring yet"
    open_until: float = 0.0
    wanted_open: bool = False
    check: int | None = None
    follows: Follow | None = None
    follow_sender: str = ""
    follow_timer: int | None = None
    lost: int = 0
    open_timer: int | None = None


class DomeAgent(InstrumentAgent):
    """Takes *Open*, *Close*, *Keep open*, *Follow*, *Weather safe* and *Weather unsafe*."""

    state: DomeState
    device: instruments.Dome

    def __init__(self) -> None:
        super().__init__(Agent.DOME)
        self.actions_by_message |= {
            messages.OPEN: self.open,
            messages.CLOSE: self.close,
            messages.KEEP_OPEN: self.keep_open,
            messages.FOLLOW: self.follow,
            FOLLOW_ON: self.follow_on,
            messages.WEATHER_SAFE: self.weather_safe,
            messages.WEATHER_UNSAFE: self.weather_unsafe,
            CHECK_LEASES: self.check_leases,
            OPEN_AGAIN: self.open_again,
        }

    def work(self) -> None:
        """A dome that this agent does not know to be allowed open is closed, whatever it was doing before."""
        self.site = Site.load(self.config.site)
        self.state.command = self.state.interrupted = None
        super().work()
        if self.state.wanted_open and self._why_not() == "":
            self._open("this agent was restarted, and both leases run")
            self._check_in_time()
        else:
            self._close("this agent was started")

    def open(self, message: Message) -> None:
        """Open, if the weather's lease runs."""
        self.state.open_until = self._said(message) + _OPEN_LEASE
        reason = self._why_not()
        if reason:
            self.log.warn("not opened: {reason}", reason=reason)
            self.send_if_there(message.sender, messages.DOME_FAILED, Failure(reason=f"not opened: {reason}"))
            return
        self.state.wanted_open, self.state.lost = True, 0
        self._open(message.payload.reason)
        self._check_in_time()

    def open_again(self) -> None:
        """It was lost while it opened. One that is still away is opened when it is connected again."""
        self.state.open_timer = None
        if self.state.wanted_open and self.state.connected:
            self._open_if_it_may("it was lost while it opened")

    def close(self, message: Message) -> None:
        if message.sender == self.name and self.state.wanted_open:
            return  # a second attempt to close, and meanwhile it was told to open
        self._close(message.payload.reason)

    def keep_open(self, message: Message) -> None:
        self.state.open_until = self._said(message) + message.payload.seconds
        self._check_in_time()

    def weather_safe(self, message: Message) -> None:
        self.state.weather_until = self._said(message) + self.config.limits.max_silence
        self.state.weather_reason = ""
        self._check_in_time()

    def weather_unsafe(self, message: Message) -> None:
        self.state.weather_until = 0.0
        self.state.weather_reason = f"weather unsafe: {message.payload.reason}"
        if self.state.wanted_open:
            self._close(self.state.weather_reason)

    def check_leases(self) -> None:
        self.state.check = None
        reason = self._why_not()
        if self.state.wanted_open and reason:
            self._close(reason)
        else:
            self._check_in_time()

    def follow(self, message: Message) -> None:
        """Turn the slit to a target and follow it; when it first looks there is told."""
        self.state.follows, self.state.follow_sender = message.payload, message.sender
        self._turn(message)

    def follow_on(self) -> None:
        self.state.follow_timer = None
        follows = self.state.follows
        if follows is not None and self.state.wanted_open:
            self._turn(self._message(messages.FOLLOW, follows))

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """The device is connected again, and no command is under way: what it was wanted to be it shall be."""
        if state is None:
            return
        if not self.state.wanted_open:
            self.noticed(state)
        elif self.state.open_timer is None and (self.state.lost or state != "open"):
            if state != "open":  # no light comes in
                self.log.warn("the dome was lost, and is {state}", state=state)
                self._tell_dark(f"the dome was lost, and is {state}")
            self._open_if_it_may("it is connected again, and both leases run")
        if self.state.wanted_open and self.state.follows is not None:
            self._turn(self._message(messages.FOLLOW, self.state.follows))

    def noticed(self, state: str) -> None:
        """The dome is not as it should be: somebody, or a fault, has moved it."""
        if self.state.wanted_open and self.state.open_timer is not None:
            return  # it was lost, and is about to be opened again
        if self.state.wanted_open and state in ("closed", "closing", "stopped"):
            self._close(f"the dome was found {state}")
        elif not self.state.wanted_open and state in ("open", "opening", "stopped"):
            self.log.warn("the dome was found {state}, and is closed", state=state)
            self._close(f"the dome was found {state}")

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        return await self.device.state(), {"azimuth": await self.device.azimuth()}

    def started(self, command: Command, seconds: float) -> None:
        self.log.info("{name}: {seconds:.1f} s", name=command.name, seconds=seconds)

    def done(self, command: Command, result: dict[str, Any]) -> None:
        if command.name == messages.FOLLOW:
            azimuth: float | None = result["azimuth"]
            observation = command.payload.get("observation", "")
            self._tell_follower(messages.SLIT_IN_PLACE, SlitInPlace(observation=observation, azimuth=azimuth))
            self.state.follow_sender = ""
            if azimuth is not None:
                self._follow_later(_FOLLOW_EVERY)
            return
        self.state.lost = 0
        name = messages.DOME_OPENED if command.name == messages.OPEN else messages.DOME_CLOSED
        self._tell(name, Order(reason=command.payload.get("reason", "")))

    def failed(self, command: Command, failure: Failure) -> None:
        """What failed to open is closed; what failed to close is closed again and again, until it is. What was lost
        while it opened is tried again, for it could not be closed either."""
        if command.name == messages.FOLLOW:
            self._tell_follower(messages.SLIT_FAILED, failure)
            self._follow_later(_AGAIN)
            return
        reason = failure.reason
        again = command.name == messages.OPEN and failure.lost and self.state.lost < len(_OPEN_PAUSES)
        told = msgspec.structs.replace(failure, reason=f"{command.name}: {reason}", lost=again)
        self._tell(messages.DOME_FAILED, told)
        if again:
            self.state.open_timer = self.call_later(_OPEN_PAUSES[self.state.lost], OPEN_AGAIN)
            self.state.lost += 1
        elif command.name == messages.OPEN:
            self._close(f"opening failed: {reason}")
        else:
            self.log.critical("THE DOME DOES NOT CLOSE: {reason}", reason=reason)
            self.call_later(_AGAIN, messages.CLOSE, Order(reason="closing failed before"))

    def _said(self, message: Message) -> float:
        """When a lease begins: when the other agent said so, for its message may have waited for this one. The clocks
        of people's programs need not be the observatory's."""
        now = self.clock.time()
        return min(now, message.sent) if message.sender in self.config.agents else now

    def _why_not(self) -> str:
        """Why the dome must not be open now; '' when it may."""
        now = self.clock.time()
        if self.state.weather_until <= now:
            return self.state.weather_reason or "monitoring is silent"
        return "" if self.state.open_until > now else "the majordome is silent"

    def _close(self, reason: str) -> None:
        if self.state.wanted_open:  # from now on the light is not sure to come in
            self._tell_dark(reason)
        self.state.wanted_open = False
        self._forget_opening()
        if self.state.check is not None:
            self.cancel_timer(self.state.check)
            self.state.check = None
        self._move(messages.CLOSE, reason)

    def _open(self, reason: str) -> None:
        self._forget_opening()
        self._move(messages.OPEN, reason)

    def _open_if_it_may(self, reason: str) -> None:
        """Open, or close what may not be open."""
        if why_not := self._why_not():
            self._close(why_not)
        else:
            self._open(reason)

    def _forget_opening(self) -> None:
        if self.state.open_timer is not None:
            self.cancel_timer(self.state.open_timer)
            self.state.open_timer = None

    def _tell_dark(self, reason: str) -> None:
        """Tell whoever exposes that it is dark."""
        self.send_if_there(self.OBSERVATION_MANAGER, messages.DOME_CLOSED, Order(reason=reason))

    def _move(self, name: str, reason: str) -> None:
        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            move = self.device.open if name == messages.OPEN else self.device.close
            return move(started).addCallback(lambda _: {})

        self.command(self._message(name, Order(reason=reason)), run)

    def _message(self, name: str, payload: Any) -> Message:
        """A message of this agent to itself, that isn't sent."""
        return Message("order", name, self.name, self.clock.time(), messages.encode_payload(name, payload))

    def _turn(self, message: Message) -> None:
        """Turn the slit beside whatever the shutter is doing. A turn under way gives way."""
        follow: Follow = message.payload
        _, wanted = altitude_azimuth(self.site, follow.ra, follow.dec, self.clock.now())

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return Deferred.fromCoroutine(self._turn_to(wanted))

        self.state.aside = [command for command in self.state.aside if command.name != messages.FOLLOW]
        self.command(message, run, aside=True)

    async def _turn_to(self, wanted: float) -> dict[str, Any]:
        """In the reactor's thread."""
        azimuth = await self.device.azimuth()
        if azimuth is not None and abs((azimuth - wanted + 180) % 360 - 180) > _SLIT:
            azimuth = await self.device.rotate(wanted % 360)
        return {"azimuth": azimuth}

    def _tell_follower(self, name: str, payload: Any) -> None:
        if self.state.follow_sender:
            self.send_if_there(self.state.follow_sender, name, payload)

    def _follow_later(self, seconds: float) -> None:
        if self.state.follow_timer is not None:
            self.cancel_timer(self.state.follow_timer)
        self.state.follow_timer = self.call_later(seconds, FOLLOW_ON)

    def _check_in_time(self) -> None:
        if self.state.check is not None or not self.state.wanted_open:
            return
        first = min(self.state.weather_until, self.state.open_until)
        self.state.check = self.call_later(max(0.0, first - self.clock.time()) + 0.01, CHECK_LEASES)

    def _tell(self, name: str, payload: Any) -> None:
        for agent in (self.MAJORDOME, self.OBSERVATION_MANAGER):
            if agent == self.MAJORDOME or name != messages.DOME_FAILED:
                self.send_if_there(agent, name, payload)
