"""The rotator's agent: turns the camera to a position angle on the sky."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pyros.agents.instrument import Command, InstrumentAgent
from pyros.hold import Hold
from pyros.instruments.rotator import Rotator
from pyros.messages import ABORT, Failure, Message
from pyros.messages.rotator import FAILED, FINISHED, ROTATE, SYNC_ROTATOR, Rotate, Rotated


class RotatorAgent(InstrumentAgent):
    """Takes *Rotate*, *Sync rotator* and *Abort*."""

    device: Rotator

    def __init__(self) -> None:
        super().__init__("rotator")
        self.actions_by_message |= {ROTATE: self.rotate, SYNC_ROTATOR: self.sync, ABORT: self.abort}

    def rotate(self, message: Message) -> None:
        """Turn to an angle, in place of a move under way."""
        wanted: Rotate = message.payload
        if reason := self.reason_held(message):
            failure = Failure(observation=wanted.observation, reason=f"not moved: {reason}")
            self.send_if_there(message.sender, FAILED[ROTATE], failure)
            return

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            self.refuse_after_safe()
            return self.device.move(wanted.angle, started).addCallback(lambda angle: {"angle": angle})

        self.command(message.name, message.payload, run, order=message)

    def sync(self, message: Message) -> None:
        """Tell the device the angle at which it stands; not for a message that waited for long."""
        wanted: Rotate = message.payload
        if reason := self.too_old(message):
            failure = Failure(observation=wanted.observation, reason=f"not synchronised: {reason}")
            self.send_if_there(message.sender, FAILED[SYNC_ROTATOR], failure)
            return

        async def run() -> dict[str, Any]:
            await self.device.sync(wanted.angle)
            return {"angle": await self.device.angle()}

        self.command(
            message.name, message.payload, lambda started: Deferred.fromCoroutine(run()), order=message, aside=True
        )

    def abort(self, message: Message) -> None:
        """Stop a move; who wanted it hears that it failed."""
        command = self.state.command
        wanted = message.payload.observation
        if command is not None and wanted in ("", command.payload.get("observation", "")):
            self.aborting(self.device.stop)

    def obey_hold(self, hold: Hold, stop: bool) -> None:
        if stop or self.for_automation(ROTATE) is not None:
            self.stop_at_once(self.device.stop)

    def on_hold(self, hold: Hold, stop: bool) -> None:
        if stop or self.for_automation(ROTATE) is not None:
            self.state.command = self.state.interrupted = None
            self.aborting(self.device.stop)

    def make_safe(self, reason: str) -> Deferred[None] | None:
        """Stop a move."""
        if self.state.command is None:
            return None
        return self.device.stop().addErrback(
            lambda failure: self.log.error("stop failed: {reason}", reason=failure.getErrorMessage())
        )

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """Move to the interrupted command's angle again, which ends at once there; stop what moves for nobody."""
        if interrupted is not None:
            self.again(interrupted)
        elif state == "moving":
            self.log.warn("the rotator moves, and no agent asked for it: it is stopped")
            self.aborting(self.device.stop)

    async def measure(self) -> tuple[str, dict[str, float | str | None]]:
        return await self.device.state(), {
            "angle": await self.device.angle(),
            "mechanical": await self.device.mechanical(),
        }

    def done(self, command: Command, result: dict[str, Any]) -> None:
        rotated = Rotated(observation=command.payload.get("observation", ""), angle=result["angle"])
        self.answer(command, FINISHED[command.name], rotated)

    def failed(self, command: Command, failure: Failure) -> None:
        self.answer(command, FAILED[command.name], failure)
