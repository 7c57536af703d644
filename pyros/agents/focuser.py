"""The focuser's agent: moves it, to a position or to that of a filter."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred

from pyros import instruments, messages
from pyros.agents._motor import MotorAgent
from pyros.agents.agent import Agent
from pyros.agents.instrument import Command, InstrumentState, asked_ahead
from pyros.agents.options import AgentOption, OptionTable
from pyros.calibration import temperature
from pyros.calibration.temperature import MAX_CURVES
from pyros.messages import Failure, FocuserTemperature, FocusMoved, Message, MoveFocus, Telemetry
from pyros.prepared import prepared
from pyros.quantities import number, whole

_TOLD_KELVIN, _TOLD_SECONDS = 0.1, 600.0


class FocusFound(msgspec.Struct, frozen=True):
    """A focus that was found."""

    time: float
    """Unix seconds."""
    temperature: float
    """Of the focuser, degrees Celsius."""
    base: int
    """The position of a filter whose offset is 0, steps."""


class FocuserState(InstrumentState):
    """The position of a filter whose offset is 0; None until the device was asked where it is."""

    temperature: float | None = None
    """Of the focuser when `base` was found or given, degrees Celsius; None where it isn't known."""
    curves: list[FocusFound] = []  # noqa: RUF012  msgspec copies it
    """The last focuses found, from which the steps for each kelvin are learnt; the oldest first."""
    offsets: dict[str, int] = {}  # noqa: RUF012  msgspec copies it
    """The filters' offsets that were measured, steps; they count before those of the configuration."""

    base: int | None = None


@dataclass(frozen=True)
class FocusAim:
    """Where a move goes to, but for what only the device knows."""

    base: int | None
    """The position of a filter whose offset is 0, steps; None where it is that of now."""
    offset: int
    """The filter's, steps."""
    position: int | None
    """The one that was asked for, steps; None for the filter's."""
    reference: float | None
    """Temperature for which ``base`` is right, degrees Celsius; None where it isn't known."""
    per_kelvin: float | None
    """Steps by which the focus moves with each kelvin; None where it isn't known."""

    def drift(self, celsius: float | None) -> int:
        """Return the steps by which the focus has moved with the temperature."""
        if celsius is None or self.reference is None or self.per_kelvin is None:
            return 0
        return round(self.per_kelvin * (celsius - self.reference))


def offsets(text: str) -> dict[str, int]:
    """``r:0 g:120`` as values; ValueError for anything else."""
    found = {}
    for word in text.split():
        name, _, steps = word.rpartition(":")
        if not name or not re.fullmatch(r"[-+]?\d+", steps):
            raise ValueError(f"has {word}, which is not like r:120")
        found[name] = int(steps)
    return found


_OFFSETS: AgentOption[dict[str, int]] = AgentOption("offsets", offsets, {})
_BACKLASH = AgentOption("backlash", whole(-1_000_000, 1_000_000), 0)  # steps
_STEPS_PER_KELVIN: AgentOption[float | None] = AgentOption("steps_per_kelvin", number(), None)


class FocuserAgent(MotorAgent):
    """Takes *Move focus* and *Abort*.

    ``option_offsets`` in its section are the filters' offsets in steps, like ``r:0 g:120 i:-40``; a filter that isn't
    named has none. The offset 0 belongs to the position in which the focuser stands when it is first asked for a
    filter, or to the one that *Move focus* last gave, and moves with the temperature from there: by
    ``option_steps_per_kelvin``, or as it was learnt from the focuses found (`pyros.calibration.temperature`).
    ``option_backlash`` is how many steps the focuser goes beyond a position that it must reach downwards, so that every
    position is reached from below; 0 for not at all.
    """

    OPTIONS: ClassVar[OptionTable] = (*MotorAgent.OPTIONS, _OFFSETS, _BACKLASH, _STEPS_PER_KELVIN)
    state: FocuserState
    device: instruments.Focuser
    moves = messages.MOVE_FOCUS
    heeds_telemetry = True

    def __init__(self) -> None:
        super().__init__(Agent.FOCUSER)
        self.actions_by_message |= {messages.MOVE_FOCUS: self.move_focus}
        self._sent_celsius = self._sent_at = -math.inf
        """The temperature that the majordome was told last, degrees Celsius, and when, monotonic seconds."""

    def work(self) -> None:
        self._offsets = self.option(*_OFFSETS)
        self._backlash = self.option(*_BACKLASH)
        self._per_kelvin = self.option(*_STEPS_PER_KELVIN)
        super().work()

    def move_focus(self, message: Message) -> None:
        """Move the focuser; a move under way is superseded by the new one."""
        move: MoveFocus = message.payload
        if reason := self.reason_held(message):
            self.refuse(message, messages.FOCUS_FAILED, f"not moved: {reason}")
            return
        aim = FocusAim(
            base=self.state.base,
            offset=self._offset(move.filter),
            position=move.position,
            reference=self.state.temperature,
            per_kelvin=self.steps_per_kelvin(),
        )

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            return Deferred.fromCoroutine(self._move(aim, started))

        self.command(messages.MOVE_FOCUS, move, run, order=message)

    def steps_per_kelvin(self) -> float | None:
        """Return how the focus moves with the temperature; None while that is not known."""
        if self._per_kelvin is not None:
            return self._per_kelvin
        return temperature.steps_per_kelvin([(each.temperature, each.base) for each in self.state.curves])

    def _offset(self, filter: str) -> int:
        return self.state.offsets.get(filter, self._offsets.get(filter, 0))

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        with asked_ahead(self.device.position()) as position, asked_ahead(self.device.temperature()) as temperature:
            return await self.device.state(), {"position": await position, "temperature": await temperature}

    def measured(self, telemetry: Telemetry) -> None:
        """Tell the majordome how warm it is, who may have the focus looked for again."""
        celsius, now = telemetry.values.get("temperature"), self.clock.monotonic()
        if not isinstance(celsius, int | float) or not math.isfinite(celsius):
            return
        if abs(celsius - self._sent_celsius) >= _TOLD_KELVIN or now - self._sent_at >= _TOLD_SECONDS:
            self._sent_celsius, self._sent_at = float(celsius), now
            self.send_if_there(self.MAJORDOME, messages.FOCUSER_TEMPERATURE, FocuserTemperature(float(celsius)))

    def done(self, command: Command, result: dict[str, Any]) -> None:
        move = msgspec.convert(command.payload, prepared(MoveFocus))
        self._learn(move, result)
        moved = FocusMoved(
            observation=move.observation, position=result["position"], filter=move.filter,
            temperature=result["temperature"], limits=result["limits"],
        )  # fmt: skip
        self.answer(command, messages.FOCUS_MOVED, moved)

    def _learn(self, move: MoveFocus, result: dict[str, Any]) -> None:
        """Keep what the position means for the moves to come."""
        state, celsius = self.state, result["temperature"]
        if state.base is None:
            state.base, state.temperature = result["base"], celsius
        if move.position is None or move.use == "visit":
            return
        if move.use == "offset":
            state.offsets[move.filter] = move.position - state.base
            self.log.info(
                "filter {name} has an offset of {steps} steps", name=move.filter, steps=move.position - state.base
            )
            return
        state.base, state.temperature = move.position - self._offset(move.filter), celsius
        if move.use == "focus" and celsius is not None:
            state.curves = [*state.curves, FocusFound(self.clock.time(), celsius, state.base)][-MAX_CURVES:]
            if (learnt := self.steps_per_kelvin()) is not None:
                self.log.info("the focus moves by {steps:.1f} steps for each kelvin", steps=learnt)

    def failed(self, command: Command, failure: Failure) -> None:
        self.answer(command, messages.FOCUS_FAILED, failure)

    async def _move(self, aim: FocusAim, started: Callable[[float], None]) -> dict[str, Any]:
        """In the reactor's thread."""
        here, celsius, limits = (
            await self.device.position(),
            await self.device.temperature(),
            await self.device.limits(),
        )
        base = aim.base
        if base is None:  # a position that is given says nothing of the one before, which was this filter's
            base = here if aim.position is None else here - aim.offset
        target = aim.position if aim.position is not None else base + aim.offset + aim.drift(celsius)
        target = min(max(target, limits.least), limits.most) if aim.position is None else target
        if target < here and self._backlash:
            await self.device.move(max(limits.least, target - self._backlash), started)
        reached = here if here == target else await self.device.move(target, started)
        return {
            "base": base, "position": reached, "temperature": celsius, "limits": (limits.least, limits.most),
        }  # fmt: skip
