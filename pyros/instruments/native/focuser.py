"""A focuser that speaks the native grammar."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import FocuserLimits, Kind, MotorState, Started
from pyros.instruments.native._device import NativeDevice

TOLERANCE_STEPS = 5
"""A move that ends farther from its target has failed."""

_EVENTS = ("moved", "move_aborted", "move_failed")


class NativeFocuser(NativeDevice):
    """A `Focuser` that speaks the native grammar."""

    kind: Kind = "focuser"

    def __init__(self, *args: Any, tolerance_steps: float = TOLERANCE_STEPS, **named: Any) -> None:
        super().__init__(*args, **named)
        self.tolerance_steps: float = self._option("tolerance_steps", tolerance_steps)

    def state(self) -> Deferred[MotorState]:
        return self._read_state(MotorState)

    @deferred
    async def move(self, position: int, started: Started | None = None) -> int:
        """Fails with `DeviceFailed` too when the position measured is off by more than the tolerance."""
        order = self._order("move")

        def there(here: int) -> bool:
            return abs(here - position) <= self.tolerance_steps

        async with self._stopping_if_given_up(order):
            await self._to_its_end("move", _EVENTS, "move", "move_seconds", started, position=int(position))
            measured = await self._until_there(order, self.position, there)
        if not there(measured):
            raise DeviceFailed(f"{self.name}: it is at {measured} after it was told to move to {position}")
        return measured

    @deferred
    async def stop(self) -> None:
        self._order("stop")
        await self._do("stop")

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
        try:
            (celsius,) = await self._numbers("temperature", 1)
        except DeviceRefused as refusal:
            if refusal.code == "UNKNOWN":  # it has no sensor
                return None
            raise
        return celsius
