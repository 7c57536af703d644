"""A focuser that speaks Alpaca."""

from __future__ import annotations

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.drivers.commands import DeviceCommand
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import FocuserLimits, Kind, MotorState, Started

_STEPS_PER_SECOND = 1000.0
_MAX_MOTION_SECONDS = 300.0
_TOLERANCE_STEPS = 10.0
"""Steps; a focuser that ends farther from where it was sent has failed."""


class AlpacaFocuser(AlpacaDevice):
    """A `Focuser` that speaks Alpaca. One that knows no positions, only ways, is refused."""

    kind: Kind = "focuser"

    @deferred
    async def move(self, position: int, started: Started | None = None) -> int:
        with self._command("move") as command:
            limits = await self.limits()
            if not limits.least <= position <= limits.most:
                raise DeviceRefused("LIMIT", f"{self.name}: {position} is not within {limits.least} and {limits.most}")
            most = max(1, await self._link.fact("maxincrement", int, limits.most))
            here, target = await self.position(), None
            while target != position:  # a move may be limited to so many steps
                target = here + max(-most, min(most, position - here))
                async with self._turn(command):
                    move = self._link.put("move", Position=target)
                    await self._ending(move, "a newer command took its place", "move", before=command)
                seconds = abs(position - here) / _STEPS_PER_SECOND
                tolerance = min(self._option("tolerance_steps", _TOLERANCE_STEPS), most // 2)
                async with self._stopping_if_given_up(command, lambda: self._link.put("halt"), "move"):
                    here = await self._until_there(command, target, tolerance, seconds, started)
                started = None
            return here

    async def _until_there(
        self, command: DeviceCommand, target: int, tolerance: float, estimate: float, started: Started | None
    ) -> int:
        stillness = self._stillness()

        async def look() -> int | None:
            moving, here = await self._link.get("ismoving", bool), await self.position()
            if moving:
                stillness.moves()
            if abs(here - target) <= tolerance:
                return None if moving else here
            return here if stillness.too_long else None

        most = self._option("move_seconds", _MAX_MOTION_SECONDS)
        here = await self._until(command, look, estimate, most, started)
        if abs(here - target) > tolerance:
            raise DeviceFailed(f"{self.name}: at {here} instead of {target}")
        return here

    @deferred
    async def stop(self) -> None:
        await self._stop(lambda: self._link.put("halt"), "stopped", "move")

    @deferred
    async def position(self) -> int:
        if not await self._link.fact("absolute", bool, True):
            raise DeviceRefused("UNSUPPORTED", f"{self.name} knows no positions (Absolute is false)")
        return await self._link.get("position", int)

    @deferred
    async def limits(self) -> FocuserLimits:
        return FocuserLimits(0, await self._link.fact("maxstep", int, 0))

    @deferred
    async def temperature(self) -> float | None:
        celsius: float | None = await self._link.get_or("temperature", float)
        return celsius

    @deferred
    async def state(self) -> MotorState:
        return "moving" if await self._link.get("ismoving", bool) else "idle"
