"""The cover's agent: opens and closes the cover, and lights the lamp for flat fields."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pyros.agents._motor import MotorAgent
from pyros.agents.instrument import Command
from pyros.errors import DeviceRefused
from pyros.instruments.cover import Cover
from pyros.messages import DOME_CLOSED, Failure, Message
from pyros.messages.cover import (
    CALIBRATOR_OFF,
    CALIBRATOR_ON,
    CLOSE_COVER,
    FAILED,
    FINISHED,
    OPEN_COVER,
    CalibratorOn,
    CoverOrder,
    CoverReport,
)

Started = Callable[[float], None]


class CoverAgent(MotorAgent):
    """Takes *Open cover*, *Close cover*, *Calibrator on*, *Calibrator off* and *Abort*.

    A flat panel without a cover is open, and closed, as soon as it is told to be.
    A hold stops an opening, and lets none begin; closing it never forbids. The lamp, which moves nothing, has its
    commands beside those of the cover. With *Dome closed* it closes though the observation manager may be dead.
    """

    device: Cover
    moves = OPEN_COVER

    def __init__(self) -> None:
        super().__init__("cover")
        self.actions_by_message |= {
            OPEN_COVER: self.open_cover,
            CLOSE_COVER: self.close_cover,
            CALIBRATOR_ON: self.calibrator_on,
            CALIBRATOR_OFF: self.calibrator_off,
            DOME_CLOSED: self.dome_closed,
        }
        self._open_said = -math.inf
        """When it was last told to open, monotonic seconds."""
        self._opens_for_nobody = False
        """An opening was under way when the agent stopped, and is refused now: it is stopped if it goes on."""

    def open_cover(self, message: Message) -> None:
        """Open, in place of a movement under way; not in a hold, nor for a message that waited for long."""
        if reason := self.reason_held(message) or self.too_old(message):
            self.refuse(message, FAILED[message.name], f"not opened: {reason}")
            return
        self._open_said = message.said

        def run(started: Started) -> Deferred[dict[str, Any]]:
            self.refuse_after_safe()
            return self._with_state(self._moved(self.device.open(started)))

        self.command(message.name, message.payload, run, order=message)

    def close_cover(self, message: Message) -> None:
        """Close, in place of a movement under way."""
        self._close(message.payload, message)

    def dome_closed(self, message: Message) -> None:
        """Close with the dome, but for a word that has waited while it was told to open; a person moves it by hand."""
        command = self.state.command
        closes = command is not None and command.name == CLOSE_COVER
        if not closes and message.said > self._open_said and self.holds.service is None:
            self._close(CoverOrder(f"the dome has closed: {message.payload.reason}"), None)

    def _close(self, order: CoverOrder, message: Message | None) -> None:
        self.command(
            CLOSE_COVER, order, lambda started: self._with_state(self._moved(self.device.close(started))), order=message
        )

    def calibrator_on(self, message: Message) -> None:
        """Light the lamp; not for a message that waited for long."""
        wanted: CalibratorOn = message.payload
        if reason := self.too_old(message):
            self.refuse(message, FAILED[message.name], f"not lit: {reason}")
            return

        async def light(started: Started) -> None:
            brightness = wanted.brightness or await self.device.max_brightness()
            await self.device.lamp_on(brightness, started)

        def run(started: Started) -> Deferred[dict[str, Any]]:
            self.refuse_after_safe()
            return self._with_state(Deferred.fromCoroutine(light(started)))

        self.command(message.name, message.payload, run, order=message, aside=True)

    def calibrator_off(self, message: Message) -> None:
        """Put the lamp out, or end its lighting."""
        self.command(
            message.name,
            message.payload,
            lambda started: self._with_state(self.device.lamp_off()),
            order=message,
            aside=True,
        )

    def abort(self, message: Message) -> None:
        """Stop the cover; the agent that moved it hears that the command failed."""
        if self.state.command is not None and message.payload.observation == "":
            self.aborting(self.device.stop)

    def ends_by_hold(self, stop: bool) -> bool:
        """Whether a hold ends what the cover does: an opening of the automation; with ``stop`` all but a closing."""
        command = self.state.command
        closes = command is not None and command.name == CLOSE_COVER
        return (stop and not closes) or self.for_automation(OPEN_COVER) is not None

    def make_safe(self, reason: str) -> Deferred[None] | None:
        """Stop an opening; a cover that closes may go on by itself."""
        command = self.state.command
        if command is None or command.name != OPEN_COVER:
            return None
        return self.stop_at_once(self.device.stop)

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """Give an interrupted command again, which ends at once where it is done; stop an opening refused by a hold.

        What else moves for nobody ends by itself: it may be closing.
        """
        if interrupted is not None:
            self.again(interrupted)
            self._opens_for_nobody = self.state.command is None
        if self._opens_for_nobody and state is not None:
            self._opens_for_nobody = False
            if state == "moving":
                self.log.warn("the cover opens, and no agent asked for it: it is stopped")
                self.aborting(self.device.stop)

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        return await self.device.state(), {"brightness": await self.device.brightness()}

    def done(self, command: Command, result: dict[str, Any]) -> None:
        report = CoverReport(**result, observation=command.payload.get("observation", ""))
        self.answer(command, FINISHED[command.name], report)

    def failed(self, command: Command, failure: Failure) -> None:
        self.answer(command, FAILED[command.name], failure)

    def _moved(self, ended: Deferred[None]) -> Deferred[None]:
        """Wait for a movement's end, and take it as done where there is no cover; in the reactor's thread."""

        async def wait() -> None:
            try:
                await ended
            except DeviceRefused:
                if await self.device.state() != "absent":
                    raise

        return Deferred.fromCoroutine(wait())

    def _with_state(self, ended: Deferred[Any]) -> Deferred[dict[str, Any]]:
        """Return what the device says of itself when the command has ended; in the reactor's thread."""

        async def measure() -> dict[str, Any]:
            await ended
            return {"state": await self.device.state(), "brightness": await self.device.brightness()}

        return Deferred.fromCoroutine(measure())
