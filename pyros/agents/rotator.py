"""The rotator's agent: turns the camera to a position angle on the sky."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pyros.agents._motor import MotorAgent
from pyros.agents.instrument import Command
from pyros.instruments.rotator import Rotator
from pyros.messages import Failure, Message
from pyros.messages.rotator import FAILED, FINISHED, ROTATE, SYNC_ROTATOR, Rotate, Rotated


class RotatorAgent(MotorAgent):
    """Takes *Rotate*, *Sync rotator* and *Abort*."""

    device: Rotator
    moves = ROTATE

    def __init__(self) -> None:
        super().__init__("rotator")
        self.actions_by_message |= {ROTATE: self.rotate, SYNC_ROTATOR: self.sync}

    def rotate(self, message: Message) -> None:
        """Turn to an angle, in place of a move under way."""
        wanted: Rotate = message.payload
        if reason := self.reason_held(message):
            self.refuse(message, FAILED[ROTATE], f"not moved: {reason}")
            return

        def run(started: Callable[[float], None]) -> Deferred[dict[str, Any]]:
            self.refuse_after_safe()
            return self.device.move(wanted.angle, started).addCallback(lambda angle: {"angle": angle})

        self.command(message.name, message.payload, run, order=message)

    def sync(self, message: Message) -> None:
        """Tell the device the angle at which it stands; not for a message that waited for long."""
        wanted: Rotate = message.payload
        if reason := self.too_old(message):
            self.refuse(message, FAILED[SYNC_ROTATOR], f"not synchronised: {reason}")
            return

        async def run() -> dict[str, Any]:
            await self.device.sync(wanted.angle)
            return {"angle": await self.device.angle()}

        self.command(
            message.name, message.payload, lambda started: Deferred.fromCoroutine(run()), order=message, aside=True
        )

    def make_safe(self, reason: str) -> Deferred[None] | None:
        """Stop a move."""
        if self.state.command is None:
            return None
        return self.stop_at_once(self.device.stop)

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
