"""A focuser that speaks the native grammar."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused
from pyros.instruments.interfaces import FocuserLimits, Kind, MotorState, Started
from pyros.instruments.native._device import NativeDevice, reason

TOLERANCE_STEPS = 5
"""A move that ends farther from its target has failed."""


class NativeFocuser(NativeDevice):
    """A `Focuser` that speaks the native grammar."""

    kind: Kind = "focuser"

    def __init__(self, *args: Any, tolerance_steps: int = TOLERANCE_STEPS, **named: Any) -> None:
        super().__init__(*args, **named)
        self.tolerance_steps = tolerance_steps

    def move(self, position: int, started: Started | None = None) -> Deferred[int]:
        """Fails with `DeviceFailed` too when the position measured is off by more than the tolerance."""
        return Deferred.fromCoroutine(self._move(position, started))

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    def position(self) -> Deferred[int]:
        return Deferred.fromCoroutine(self._position())

    def limits(self) -> Deferred[FocuserLimits]:
        return Deferred.fromCoroutine(self._limits())

    def temperature(self) -> Deferred[float | None]:
        return Deferred.fromCoroutine(self._temperature())

    def state(self) -> Deferred[MotorState]:
        return Deferred.fromCoroutine(self._read_state(MotorState))

    async def _move(self, position: int, started: Started | None) -> int:
        tag = self._tag("move")
        with self._connection.watch("moved", "move_aborted", "move_failed", tag=tag) as watch:
            busy = await self._do("move", started, position=int(position), tag=tag)
            if busy is not None:
                event = await self._end(watch, busy, "move")
                if event.name == "move_aborted":
                    raise CommandAborted(f"{self.name}: move: stopped, or a newer command took its place")
                if event.name == "move_failed":
                    raise DeviceFailed(f"{self.name}: move failed: {reason(event)}")
        measured = await self._position()
        if abs(measured - position) > self.tolerance_steps:
            raise DeviceFailed(f"{self.name}: it is at {measured} after it was told to move to {position}")
        return measured

    async def _stop(self) -> None:
        await self._do("stop")

    async def _position(self) -> int:
        (position,) = await self._numbers("position", 1)
        return round(position)

    async def _limits(self) -> FocuserLimits:
        least, most = await self._numbers("limits", 2)
        return FocuserLimits(round(least), round(most))

    async def _temperature(self) -> float | None:
        try:
            (celsius,) = await self._numbers("temperature", 1)
        except DeviceRefused as refusal:
            if refusal.code == "UNKNOWN":  # it has no sensor
                return None
            raise
        return celsius
