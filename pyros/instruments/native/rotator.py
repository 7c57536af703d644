"""A rotator that speaks the native grammar."""

from __future__ import annotations

from pyros.angles import turn_between
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind, Started
from pyros.instruments.native._motor import NativeMotor

TOLERANCE_DEGREES = 0.5
"""A move that ends farther from its target has failed."""


class NativeRotator(NativeMotor):
    """A `Rotator` that speaks the native grammar."""

    kind: Kind = "rotator"

    @deferred
    async def move(self, angle: float, started: Started | None = None) -> float:
        """Fails with `DeviceFailed` too when the angle measured is off by more than the tolerance."""
        tolerance = self._option("tolerance_degrees", TOLERANCE_DEGREES)

        def there(here: float) -> bool:
            return turn_between(here, angle) <= tolerance

        return await self._move(self.angle, there, started, angle=angle % 360.0)

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
        await self._known(self._do("reverse", on=int(on)), "cannot count the other way round")

    @deferred
    async def reversed(self) -> bool | None:
        told = await self._number_or_none("reverse")
        return None if told is None else bool(told)
