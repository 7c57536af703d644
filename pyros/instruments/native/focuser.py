"""A focuser that speaks the native grammar."""

from __future__ import annotations

from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import FocuserLimits, Kind, Started
from pyros.instruments.native._motor import NativeMotor

TOLERANCE_STEPS = 5
"""A move that ends farther from its target has failed."""


class NativeFocuser(NativeMotor):
    """A `Focuser` that speaks the native grammar."""

    kind: Kind = "focuser"

    @deferred
    async def move(self, position: int, started: Started | None = None) -> int:
        """Fails with `DeviceFailed` too when the position measured is off by more than the tolerance."""
        tolerance: float = self._option("tolerance_steps", TOLERANCE_STEPS)

        def there(here: int) -> bool:
            return abs(here - position) <= tolerance

        return await self._move(self.position, there, started, position=int(position))

    @deferred
    async def position(self) -> int:
        (position,) = await self._numbers("position", 1)
        return round(position)

    @deferred
    async def limits(self) -> FocuserLimits:
        least, most = await self._numbers("limits", 2)
        return FocuserLimits(round(least), round(most))

    @deferred
    async def temperature(self) -> float | None:
        return await self._number_or_none("temperature")
