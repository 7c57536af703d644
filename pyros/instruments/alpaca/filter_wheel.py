"""A filter wheel that speaks Alpaca."""

from __future__ import annotations

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.alpaca.client import LONG_SECONDS
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind, MotorState, Started

_SECONDS_PER_FILTER = 1.0
_MAX_MOTION_SECONDS = 60.0
_MOVING = -1


class AlpacaFilterWheel(AlpacaDevice):
    """A `FilterWheel` that speaks Alpaca."""

    kind: Kind = "filter_wheel"

    @deferred
    async def filters(self) -> tuple[str, ...]:
        return await self._link.fact("names", tuple[str, ...], ())

    @deferred
    async def select(self, filter: str, started: Started | None = None) -> str:
        with self._command("turn") as command:
            filters = await self.filters()
            if filter not in filters:
                raise DeviceRefused("VALUE", f"{self.name}: no filter {filter!r}; there are {', '.join(filters)}")
            wanted = filters.index(filter)
            before = await self._position()
            async with self._turn(command):
                turn = self._link.put("position", LONG_SECONDS, Position=wanted)
                await self._ending(turn, "a newer command took its place", "turn", before=command)
            steps = abs(wanted - before) if before != _MOVING else len(filters) // 2
            estimate = _SECONDS_PER_FILTER * min(steps, len(filters) - steps)
            stillness = self._stillness()

            async def look() -> int | None:
                position = await self._position()
                if position == _MOVING:
                    stillness.moves()
                return position if position == wanted or stillness.too_long else None

            most = self._option("turn_seconds", _MAX_MOTION_SECONDS)
            position = await self._until(command, look, estimate, most, started)
        if position != wanted:
            raise DeviceFailed(f"{self.name}: filter {position} instead of {wanted}, {filter!r}, is in the beam")
        return filter

    @deferred
    async def filter(self) -> str:
        position, filters = await self._position(), await self.filters()
        if position == _MOVING:
            return ""
        if not 0 <= position < len(filters):
            raise DeviceFailed(f"{self.name}: filter {position} of {len(filters)} is in the beam")
        return filters[position]

    @deferred
    async def state(self) -> MotorState:
        return "moving" if await self._position() == _MOVING else "idle"

    async def _position(self) -> int:
        return await self._link.get("position", int)
