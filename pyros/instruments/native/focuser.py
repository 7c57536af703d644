"""A focuser that speaks the native grammar."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.device import deferred
from pyros.instruments.interfaces import FocuserLimits, Kind, MotorState, Started
from pyros.instruments.native._device import NativeDevice

TOLERANCE_STEPS = 5
"""A move that ends farther from its target has failed."""

_EVENTS = ("moved", "move_aborted", "move_failed")


class NativeFocuser(NativeDevice):
    """A `Focuser` that speaks the native grammar."""

    kind: Kind = "focuser"

    def __init__(self, *args: Any, tolerance_steps: int = TOLERANCE_STEPS, **named: Any) -> None:
        super().__init__(*args, **named)
        self.tolerance_steps = tolerance_steps

    def state(self) -> Deferred[MotorState]:
        return self._read_state(MotorState)

    @deferred
    async def move(self, position: int, started: Started | None = None) -> int:
        """Fails with `DeviceFailed` too when the position measured is off by more than the tolerance."""
        await self._to_its_end("move", _EVENTS, "move", started, position=int(position))
        measured = await self.position()
        if abs(measured - position) > self.tolerance_steps:
            raise DeviceFailed(f"{self.name}: it is at {measured} after it was told to move to {position}")
        return measured

    @deferred
    async def stop(self) -> None:
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
