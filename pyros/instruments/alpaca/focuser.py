"""A focuser that speaks Alpaca."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.interfaces import FocuserLimits, Kind, MotorState, Started

_STEPS_A_SECOND = 1000.0
_MOST_SECONDS = 300.0
_TOLERANCE = 10
"""Steps; a focuser that ends farther from where it was sent has failed."""


class AlpacaFocuser(AlpacaDevice):
    """A `Focuser` that speaks Alpaca. One that knows no positions, only ways, is refused."""

    kind: Kind = "focuser"

    def move(self, position: int, started: Started | None = None) -> Deferred[int]:
        return Deferred.fromCoroutine(self._move(position, started))

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    def position(self) -> Deferred[int]:
        return Deferred.fromCoroutine(self._position())

    def limits(self) -> Deferred[FocuserLimits]:
        return Deferred.fromCoroutine(self._limits())

    def temperature(self) -> Deferred[float | None]:
        return Deferred.fromCoroutine(self._link.get_or("temperature", float))

    def state(self) -> Deferred[MotorState]:
        return Deferred.fromCoroutine(self._state())

    async def _move(self, position: int, started: Started | None) -> int:
        with self._command("move") as running:
            limits = await self._limits()
            if not limits.least <= position <= limits.most:
                raise DeviceRefused("LIMIT", f"{self.name}: {position} is not within {limits.least} and {limits.most}")
            most = max(1, await self._link.fact("maxincrement", int, limits.most))
            here, target = await self._position(), None
            while target != position:  # a move may be limited to so many steps
                target = here + max(-most, min(most, position - here))
                await running.check()
                move = self._link.put("move", Position=target)
                await self._ending(move, "a newer command took its place", "move", but=running)
                await running.check()
                seconds = abs(position - here) / _STEPS_A_SECOND
                await self._until(running, self._still, seconds, _MOST_SECONDS, started)
                here, started = await self._position(), None
                if abs(here - target) > min(_TOLERANCE, most // 2):
                    raise DeviceFailed(f"{self.name}: at {here} instead of {target}")
            return here

    async def _still(self) -> bool | None:
        return None if await self._link.get("ismoving", bool) else True

    async def _stop(self) -> None:
        await self._ending(self._link.put("halt"), "stopped", "move")

    async def _position(self) -> int:
        if not await self._link.fact("absolute", bool, True):
            raise DeviceRefused("UNSUPPORTED", f"{self.name} knows no positions (Absolute is false)")
        return await self._link.get("position", int)

    async def _limits(self) -> FocuserLimits:
        return FocuserLimits(0, await self._link.fact("maxstep", int, 0))

    async def _state(self) -> MotorState:
        return "moving" if await self._link.get("ismoving", bool) else "idle"
