"""A rotator that speaks the native grammar."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyros.angles import turn_between
from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind, MotorState, Started
from pyros.instruments.native._device import NativeDevice

TOLERANCE_DEGREES = 0.5
"""A move that ends farther from its target has failed."""

_EVENTS = ("moved", "move_aborted", "move_failed")


class NativeRotator(NativeDevice):
    """A `Rotator` that speaks the native grammar."""

    kind: Kind = "rotator"

    def state(self) -> Deferred[MotorState]:
        return self._read_state(MotorState)

    @deferred
    async def move(self, angle: float, started: Started | None = None) -> float:
        """Fails with `DeviceFailed` too when the angle measured is off by more than the tolerance."""
        order, tolerance = self._order("move"), self._option("tolerance_degrees", TOLERANCE_DEGREES)

        def there(here: float) -> bool:
            return turn_between(here, angle) <= tolerance

        async with self._stopping_if_given_up(order):
            await self._to_its_end("move", _EVENTS, "move", "move_seconds", started, angle=angle % 360.0)
            measured: float = await self._until_there(order, self.angle, there)
        if not there(measured):
            raise DeviceFailed(f"{self.name}: it is at {measured:g} after it was told to move to {angle:g}")
        return measured

    @deferred
    async def stop(self) -> None:
        self._order("stop")
        await self._do("stop")

    @deferred
    async def sync(self, angle: float) -> None:
        await self._do("sync", angle=angle % 360.0)

    @deferred
    async def angle(self) -> float:
        (angle,) = await self._numbers("angle", 1)
        return angle % 360.0

    @deferred
    async def mechanical(self) -> float | None:
        return await self._number_or_none("mechanical")

    @deferred
    async def reverse(self, on: bool) -> None:
        try:
            await self._do("reverse", on=int(on))
        except DeviceRefused as refusal:
            if refusal.code == "UNKNOWN":
                raise DeviceRefused("UNSUPPORTED", f"{self.name} cannot count the other way round") from None
            raise

    @deferred
    async def reversed(self) -> bool | None:
        told = await self._number_or_none("reverse")
        return None if told is None else bool(told)

    async def _number_or_none(self, name: str) -> float | None:
        """Read a number; None where the device has no such property."""
        try:
            (number,) = await self._numbers(name, 1)
        except DeviceRefused as refusal:
            if refusal.code == "UNKNOWN":
                return None
            raise
        return number
