"""A rotator behind INDI; it must know its angle (ABS_ROTATOR_ANGLE)."""

from __future__ import annotations

from pyros.angles import turn_between
from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi._device import MOTION_SECONDS, IndiDevice, begun
from pyros.instruments.indi.command import GRACE_SECONDS, IndiCommand
from pyros.instruments.indi.properties import Property
from pyros.instruments.interfaces import Kind, MotorState, Started

_PLACE, _ANGLE, _ABORT = "ABS_ROTATOR_ANGLE", "ANGLE", "ROTATOR_ABORT_MOTION"
_SYNC, _REVERSE = "SYNC_ROTATOR_ANGLE", "ROTATOR_REVERSE"
_TOLERANCE = 0.5
"""Degrees, where the address doesn't say, by which a move may end beside its target."""


class IndiRotator(IndiDevice):
    """A `Rotator` behind INDI, which has no word for the mechanical angle."""

    kind: Kind = "rotator"
    interface = 4096
    needs = (_PLACE,)

    @deferred
    async def move(self, angle: float, started: Started | None = None) -> float:
        target = angle % 360.0
        with self._connection.command(f"move to {target:g}", "move") as command:
            await self._connection.until_ready()
            self._end("move", "a newer one took its place", command)
            await command.settled(_PLACE)
            seconds, tolerance = self._option("move_seconds", MOTION_SECONDS), self._tolerance
            clock, begin = self._clock, self._clock.monotonic()

            def there(now: Property) -> bool:
                here = now.number(_ANGLE)
                return here is not None and turn_between(here, target) <= tolerance

            def taken(now: Property) -> bool:
                # What it tells by itself may be from before the command.
                return now.state == "Busy" or there(now) or clock.monotonic() - begin > self._begin_seconds

            vector, since = await command.insist(
                _PLACE, {_ANGLE: target}, taken, seconds, stop=lambda: self._abort_motion(command), seconds=seconds
            )
            if vector.state == "Busy":
                begun(started, vector)
            vector = await command.arrived(_PLACE, there, seconds, self._begin_seconds)
            measured = self._degrees(vector)
            if vector.state == "Alert" or not there(vector):
                raise command.failed(since, f"told to move to {target:g}, it is at {measured:g} degrees", vector)
            return measured

    @property
    def _tolerance(self) -> float:
        return self._option("tolerance_degrees", _TOLERANCE)

    def _degrees(self, vector: Property) -> float:
        if (degrees := vector.number(_ANGLE)) is None:
            raise DeviceFailed(f"{self.name}: its angle is no number")
        return degrees % 360.0

    @deferred
    async def stop(self) -> None:
        """Stop the rotator; do nothing to one that cannot be stopped and stands still."""
        with self._connection.command("stop") as command, self._stopping("move"):
            await self._connection.until_ready()
            if _ABORT not in self._properties and (await command.ask(_PLACE)).state != "Busy":
                return
            await self._abort_motion(command)

    async def _abort_motion(self, command: IndiCommand) -> None:
        await command.change(_ABORT, {"ABORT": True})

        def still() -> bool | None:
            vector = self._properties.get(_PLACE)
            stands = vector is not None and vector.state != "Busy"
            return True if stands or not self._connection.commands.is_newest(command, "move") else None

        await command.until(still, 10.0, "told to stop, it still moves")

    @deferred
    async def sync(self, angle: float) -> None:
        """Refused (UNSUPPORTED) too by a driver that takes the angle, and goes on counting from where it was."""
        with self._connection.command("sync") as command:
            await command.change(_SYNC, {_ANGLE: angle % 360.0})
            here = self._degrees(await command.ask(_PLACE))
            if turn_between(here, angle) > self._tolerance:
                await self._pause(GRACE_SECONDS)  # some tell it with their next look at the motor
                here = self._degrees(await command.ask(_PLACE))
            if turn_between(here, angle) > self._tolerance:
                raise DeviceRefused("UNSUPPORTED", command.describe(f"it still says that it is at {here:g} degrees"))

    @deferred
    async def angle(self) -> float:
        return self._degrees(await self._ask(_PLACE))

    @deferred
    async def mechanical(self) -> float | None:
        await self._connection.until_ready()
        return None

    @deferred
    async def reverse(self, on: bool) -> None:
        await self._switch(_REVERSE, "INDI_ENABLED" if on else "INDI_DISABLED", "reverse")

    @deferred
    async def reversed(self) -> bool | None:
        await self._connection.until_ready()
        return (await self._ask(_REVERSE)).is_on("INDI_ENABLED") if _REVERSE in self._properties else None

    @deferred
    async def state(self) -> MotorState:
        return "moving" if (await self._ask(_PLACE)).state == "Busy" else "idle"
