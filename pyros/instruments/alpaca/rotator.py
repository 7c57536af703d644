"""A rotator that speaks Alpaca (IRotatorV3 and V4; V2 without synchronisation)."""

from __future__ import annotations

from pyros.angles import turn_between
from pyros.errors import DeviceFailed
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind, MotorState, Started

_DEGREES_PER_SECOND = 5.0
_MAX_MOTION_SECONDS = 300.0
_TOLERANCE = 0.5
"""Degrees; a rotator that ends farther from where it was sent has failed."""


class AlpacaRotator(AlpacaDevice):
    """A `Rotator` that speaks Alpaca."""

    kind: Kind = "rotator"

    @deferred
    async def move(self, angle: float, started: Started | None = None) -> float:
        with self._command("move") as command:
            before = await self.angle()
            async with self._turn(command):
                move = self._link.put("moveabsolute", Position=angle % 360.0)
                await self._ending(move, "a newer command took its place", "move", before=command)
            stillness, tolerance = self._stillness(), self._option("tolerance_degrees", _TOLERANCE)

            async def look() -> float | None:
                moving, here = await self._link.get("ismoving", bool), await self.angle()
                if moving:
                    stillness.moves()
                    return None
                return here if turn_between(here, angle) <= tolerance or stillness.too_long else None

            estimate, most = (
                turn_between(before, angle) / _DEGREES_PER_SECOND,
                self._option("move_seconds", _MAX_MOTION_SECONDS),
            )
            async with self._stopping_if_given_up(command, lambda: self._link.put("halt"), "move"):
                measured = await self._until(command, look, estimate, most, started)
                if turn_between(measured, angle) > tolerance:
                    raise DeviceFailed(f"{self.name}: at {measured:g} degrees instead of {angle:g}")
            return measured

    @deferred
    async def stop(self) -> None:
        await self._stop(lambda: self._link.put("halt"), "stopped", "move")

    @deferred
    async def sync(self, angle: float) -> None:
        await self._link.put("sync", Position=angle % 360.0)

    @deferred
    async def angle(self) -> float:
        return await self._link.get("position", float) % 360.0

    @deferred
    async def mechanical(self) -> float | None:
        angle: float | None = await self._link.get_or("mechanicalposition", float)
        return None if angle is None else angle % 360.0

    @deferred
    async def reverse(self, on: bool) -> None:
        await self._link.put("reverse", Reverse=on)

    @deferred
    async def reversed(self) -> bool | None:
        if not await self._link.fact("canreverse", bool, False):
            return None
        return await self._link.get("reverse", bool)

    @deferred
    async def state(self) -> MotorState:
        return "moving" if await self._link.get("ismoving", bool) else "idle"
