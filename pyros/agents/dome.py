"""The dome's agent. The dome may be open only while two leases run: the weather's, renewed by every *Weather safe* of
monitoring, and the majordome's, renewed by *Keep open*. When either ends, for whatever reason, it closes by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pyros import instruments, messages
from pyros.agents._instrument import Command, InstrumentAgent, InstrumentState
from pyros.agents.base import Agent
from pyros.messages import Failure, Message, Order

CHECK_LEASES = "Check leases"
_OPEN_LEASE = 60.0
_CLOSE_AGAIN = 10.0


class DomeState(InstrumentState):
    """Until when each lease runs (Unix seconds), why the weather is unsafe, and whether the dome shall be open."""

    weather_until: float = 0.0
    weather_reason: str = "no word from monitoring yet"
    open_until: float = 0.0
    wanted_open: bool = False
    check: int | None = None


class DomeAgent(InstrumentAgent):
    """Takes *Open*, *Close*, *Keep open*, *Weather safe* and *Weather unsafe*."""

    state: DomeState
    device: instruments.Dome

    def __init__(self) -> None:
        super().__init__(Agent.DOME)
        self.actions_by_message |= {
            messages.OPEN: self.open,
            messages.CLOSE: self.close,
            messages.KEEP_OPEN: self.keep_open,
            messages.WEATHER_SAFE: self.weather_safe,
            messages.WEATHER_UNSAFE: self.weather_unsafe,
            CHECK_LEASES: self.check_leases,
        }

    def work(self) -> None:
        """A dome that this agent does not know to be allowed open is closed, whatever it was doing before."""
        self.state.command = None
        if self.state.wanted_open and self._why_not() == "":
            self._move(messages.OPEN, "this agent was restarted, and both leases run")
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
        self.state.wanted_open = True
        self._move(messages.OPEN, message.payload.reason)
        self._check_in_time()

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

    def started(self, command: Command, seconds: float) -> None:
        self.log.info("{name}: {seconds:.1f} s", name=command.name, seconds=seconds)

    def done(self, command: Command, result: dict[str, Any]) -> None:
        name = messages.DOME_OPENED if command.name == messages.OPEN else messages.DOME_CLOSED
        self._tell(name, Order(reason=command.payload.get("reason", "")))

    def failed(self, command: Command, reason: str) -> None:
        """What failed to open is closed; what failed to close is closed again and again, until it is."""
        self._tell(messages.DOME_FAILED, Failure(reason=f"{command.name}: {reason}"))
        if command.name == messages.OPEN:
            self._close(f"opening failed: {reason}")
        else:
            self.log.critical("THE DOME DOES NOT CLOSE: {reason}", reason=reason)
            self.call_later(_CLOSE_AGAIN, messages.CLOSE, Order(reason="closing failed before"))

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
            self.send_if_there(self.OBSERVATION_MANAGER, messages.DOME_CLOSED, Order(reason=reason))
        self.state.wanted_open = False
        if self.state.check is not None:
            self.cancel_timer(self.state.check)
            self.state.check = None
        self._move(messages.CLOSE, reason)

    def _move(self, name: str, reason: str) -> None:
        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            move = self.device.open if name == messages.OPEN else self.device.close
            return move(started).addCallback(lambda _: {})

        order = Message(
            "order", name, self.name, self.clock.time(), messages.encode_payload(name, Order(reason=reason))
        )
        self.command(order, run)

    def _check_in_time(self) -> None:
        if self.state.check is not None or not self.state.wanted_open:
            return
        first = min(self.state.weather_until, self.state.open_until)
        self.state.check = self.call_later(max(0.0, first - self.clock.time()) + 0.01, CHECK_LEASES)

    def _tell(self, name: str, payload: Any) -> None:
        for agent in (self.MAJORDOME, self.OBSERVATION_MANAGER):
            if agent == self.MAJORDOME or name != messages.DOME_FAILED:
                self.send_if_there(agent, name, payload)
