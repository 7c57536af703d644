"""A rotator behind INDI; it must know its angle (ABS_ROTATOR_ANGLE)."""

from __future__ import annotations

from pyros.angles import turn_between
from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi._motor import IndiMotor
from pyros.instruments.indi.command import GRACE_SECONDS
from pyros.instruments.indi.properties import Property
from pyros.instruments.interfaces import Kind, Started

_PLACE, _ANGLE = "ABS_ROTATOR_ANGLE", "ANGLE"
_SYNC, _REVERSE = "SYNC_ROTATOR_ANGLE", "ROTATOR_REVERSE"
_TOLERANCE = 0.5
"""Degrees, where the address doesn't say, by which a move may end beside its target."""


class IndiRotator(IndiMotor):
    """A `Rotator` behind INDI, which has no word for the mechanical angle."""

    kind: Kind = "rotator"
    interface = 4096
    needs = (_PLACE,)
    place, member, abort = _PLACE, _ANGLE, "ROTATOR_ABORT_MOTION"

    @deferred
    async def move(self, angle: float, started: Started | None = None) -> float:
        target = angle % 360.0
        with self._connection.command(f"move to {target:g}", "move") as command:
            await self._connection.until_ready()
            tolerance = self._tolerance

            def there(now: Property) -> bool:
                here = now.number(_ANGLE)
                return here is not None and turn_between(here, target) <= tolerance

            vector, since = await self._move(command, target, there, started)
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
