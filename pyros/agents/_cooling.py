"""The camera's detector on its way to a temperature: the part of the camera's agent that follows a ramp.

A look every 10 s reads the detector's temperature and gives the ramp's next set point. The way survives a restart of
the agent, and a camera that is away for a while; it ends when the goal is reached, with another *Cool*, or when its
time is over.
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from pyros import messages
from pyros.agents.agent import Agent
from pyros.calibration import cooling
from pyros.calibration.cooling import LOOK_SECONDS, Ramp
from pyros.errors import DeviceRefused, InstrumentError
from pyros.instruments import Camera
from pyros.messages import Cool, CoolingReport, Failure, Message, Payload

COOLING_LOOK = "Cooling look"
COOLING_OVERDUE = "Cooling overdue"
COOLING_LOOKED = "Cooling looked"


class CoolingLook(Payload, frozen=True):
    """Which way to a temperature is to be looked at, or has lasted too long."""

    number: int
    """Counts the orders to cool."""


class CoolingLooked(Payload, frozen=True, kw_only=True):
    """What a look has found, and whether the camera took the next set point."""

    number: int
    """Counts the orders to cool."""
    temperature: float | None = None
    """Of the detector, degrees Celsius; None for a camera that doesn't tell."""
    power: float | None = None
    """Of the cooler, percent."""
    set_point: float | None = None
    """Degrees Celsius that the camera was given; None when the cooler was switched off."""
    reason: str = ""
    """Why the camera could not be asked or told; '' when it was."""
    refused: bool = False
    """Whether the camera refused the set point."""


messages.register(COOLING_LOOK, CoolingLook, guarded=True)
messages.register(COOLING_OVERDUE, CoolingLook, guarded=True)
messages.register(COOLING_LOOKED, CoolingLooked, guarded=True)


class CoolingState(msgspec.Struct):
    """The way to a temperature that is under way."""

    number: int
    """Counts the orders to cool, so that old timers and looks are known."""
    ramp: Ramp
    sender: str
    """Who ordered it, and hears of its end where it is an agent."""
    within: float
    """Seconds that it may last."""
    order: str = ""
    """Id of the order's message."""
    command: int = 0
    """Number of the command that gives the first set point."""
    timer: int | None = None
    """That of the next look."""
    temperature: float | None = None
    """The last one measured, degrees Celsius."""
    trouble: str = ""
    """Why the last look failed, as it stands in the log."""


class DetectorCooling:
    """Brings the detector to a temperature. Methods are for the camera agent's turns, unless they say otherwise."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @property
    def under_way(self) -> CoolingState | None:
        """The way to a temperature, if one is under way."""
        way: CoolingState | None = self._agent.state.cooling
        return way

    def begin(self, message: Message) -> Ramp:
        """Follow a ramp from now on, in place of an older order's; an order that is given again goes on."""
        order: Cool = message.payload
        way, state = self.under_way, self._agent.state
        if way is None or way.order != message.id:
            self.stop("superseded by another order to cool")
            state.coolings += 1
            ramp = Ramp(order.celsius, order.ramp)
            state.cooling = way = CoolingState(state.coolings, ramp, message.sender, order.within, message.id)
            self._agent.call_later(order.within, COOLING_OVERDUE, CoolingLook(way.number))
        return msgspec.structs.replace(way.ramp)

    def commanded(self, number: int) -> None:
        """Remember the number of the command that gives the first set point."""
        self._agent.state.cooling.command = number

    def given(self, number: int, set_point: float | None) -> None:
        """Go on after the camera took the first set point by the command of that number."""
        way = self.under_way
        if way is not None and way.command == number:
            way.ramp.set_point, way.ramp.begun = set_point, True
            if cooling.reached(way.ramp, None):
                self._end(way)
            else:
                self._look_later(way)

    def not_given(self, number: int, failure: Failure) -> None:
        """Try again at the next look, where the camera was lost; else it has refused, and the way ends."""
        way = self.under_way
        if way is None or way.command != number:
            return
        if failure.lost:
            self._look_later(way)
        else:
            self.stop(failure.reason)

    def restarted(self) -> None:
        """Look again: what the last look has found is lost with the agent's earlier life."""
        if self.under_way is not None:
            self._look_later(self.under_way)

    def stop(self, reason: str, *, lost: bool = False) -> None:
        """End the way as failed."""
        way = self.under_way
        if way is not None:
            self._agent.state.cooling = None
            self._agent.send_if_there(way.sender, messages.COOLING_FAILED, Failure(reason=reason, lost=lost))

    def look(self, message: Message) -> None:
        way = self.under_way
        if way is not None and message.payload.number == way.number:
            ramp = msgspec.structs.replace(way.ramp)
            self._agent.after_commit(self._look, way.number, ramp)

    def looked(self, message: Message) -> None:
        way, found = self.under_way, message.payload
        if way is None or found.number != way.number:
            return
        if found.refused and way.ramp.goal is not None:
            self._agent.log.error("the detector cannot be cooled: {reason}", reason=found.reason)
            self.stop(found.reason)
            return
        if found.reason and found.reason != way.trouble:
            self._agent.log.warn("the detector's temperature: {reason}; it is tried again", reason=found.reason)
        way.trouble = found.reason
        if not found.reason:
            way.temperature, way.ramp.set_point, way.ramp.begun = found.temperature, found.set_point, True
            if cooling.reached(way.ramp, found.temperature):
                self._end(way, found.power)
                return
        self._look_later(way)

    def overdue(self, message: Message) -> None:
        way = self.under_way
        if way is not None and message.payload.number == way.number:
            at = "is not known" if way.temperature is None else f"is {way.temperature:.1f} °C"
            goal = "it has not warmed up" if way.ramp.goal is None else f"it is not at {way.ramp.goal:g} °C"
            text = f"the detector's temperature {at}: {goal} after {way.within / 60:.0f} min"
            self._agent.log.error("{text}", text=text)
            self.stop(way.trouble or text, lost=bool(way.trouble))

    def _look_later(self, way: CoolingState) -> None:
        self._agent.cancel_timer(way.timer)
        way.timer = self._agent.call_later(LOOK_SECONDS, COOLING_LOOK, CoolingLook(way.number))

    def _end(self, way: CoolingState, power: float | None = None) -> None:
        self._agent.state.cooling = None
        text = "has warmed up" if way.ramp.goal is None else f"has reached {way.ramp.goal:g} °C"
        self._agent.log.info("the detector {text}", text=text)
        report = CoolingReport(celsius=way.ramp.goal, temperature=way.temperature, power=power)
        self._agent.send_if_there(way.sender, messages.COOLING_FINISHED, report)

    # In the reactor's thread -------------------------------------------------------------------------------------

    def _look(self, number: int, ramp: Ramp) -> None:
        Deferred.fromCoroutine(self._look_now(number, ramp)).addErrback(
            lambda failure: self._agent.log.failure("a look at the detector failed in an unexpected way", failure)
        )

    async def _look_now(self, number: int, ramp: Ramp) -> None:
        device: Any = self._agent.device  # type: ignore[attr-defined]
        found: dict[str, Any] = {}
        try:
            measured = await device.cooling()
            found = {"temperature": measured.temperature, "power": measured.power}
            found["set_point"] = await self._give(device, ramp, measured.temperature, measured.power)
        except InstrumentError as error:
            refused = isinstance(error, DeviceRefused)
            self._agent.post_to_self(COOLING_LOOKED, CoolingLooked(number=number, reason=str(error), refused=refused))
            return
        self._agent.post_to_self(COOLING_LOOKED, CoolingLooked(number=number, **found))

    @staticmethod
    async def _give(device: Camera, ramp: Ramp, temperature: float | None, power: float | None) -> float | None:
        """Give the camera the ramp's next set point, and return it; a warm-up ends where the camera refuses one."""
        wanted = cooling.following(ramp, temperature, power)
        if wanted == ramp.set_point and ramp.begun:
            return wanted
        try:
            await device.cool(wanted)
        except DeviceRefused:
            if ramp.goal is not None or wanted is None:
                raise
            wanted = None
            await device.cool(None)
        return wanted
