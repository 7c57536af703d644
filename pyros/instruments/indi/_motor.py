"""What the INDI drivers of a focuser and of a rotator share: a motor that knows its place, one number of one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi._device import MOTION_SECONDS, IndiDevice, begun
from pyros.instruments.indi.command import IndiCommand
from pyros.instruments.indi.properties import Property
from pyros.instruments.interfaces import MotorState, Started


class IndiMotor(IndiDevice):
    """A motor behind INDI."""

    place: ClassVar[str]
    """The vector that has its place, and takes a new one."""
    member: ClassVar[str]
    """The number in it."""
    abort: ClassVar[str]
    """The vector that stops it."""

    async def _move(
        self, command: IndiCommand, target: float, there: Callable[[Property], bool], started: Started | None
    ) -> tuple[Property, int]:
        """Move, in place of an older move; return the vector when it is there or has failed, and since when it moves.

        That is for `IndiCommand.failed`.
        """
        self._end("move", "a newer one took its place", command)
        await command.settled(self.place)
        seconds = self._option("move_seconds", MOTION_SECONDS)
        vector, since = await command.insist(
            self.place,
            {self.member: target},
            self._answer_to(there),
            seconds,
            stop=lambda: self._abort_vector(command, self.place, self.abort, "move"),
            seconds=seconds,
        )
        begun(started, vector)
        return await command.arrived(self.place, there, seconds, self._begin_seconds), since

    @deferred
    async def stop(self) -> None:
        """Stop the motor; do nothing to one that cannot be stopped and stands still."""
        with self._connection.command("stop") as command, self._stopping("move"):
            await self._connection.until_ready()
            if self.abort not in self._properties and (await command.ask(self.place)).state != "Busy":
                return
            await self._abort_vector(command, self.place, self.abort, "move")

    @deferred
    async def state(self) -> MotorState:
        return "moving" if (await self._ask(self.place)).state == "Busy" else "idle"
