"""A cover and flat panel that speaks the native grammar."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyros.errors import DeviceFailed
from pyros.instruments.cover import CoverState
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind, Started
from pyros.instruments.native._device import NativeDevice

_LIT = ("lit", "light_aborted", "light_failed")


class NativeCover(NativeDevice):
    """A `Cover` that speaks the native grammar."""

    kind: Kind = "cover"

    def open(self, started: Started | None = None) -> Deferred[None]:
        return self._move("open", "open", started)

    def close(self, started: Started | None = None) -> Deferred[None]:
        return self._move("close", "closed", started)

    def state(self) -> Deferred[CoverState]:
        return self._read_state(CoverState)

    @deferred
    async def _move(self, action: str, there: CoverState, started: Started | None) -> None:
        order = self._order(action)
        events = ("opened" if action == "open" else "closed", "cover_aborted", "cover_failed")
        async with self._stopping_if_given_up(order):
            await self._known(self._to_its_end(action, events, action, "cover_seconds", started))
            state = await self._until_there(order, self.state, lambda state: state == there)
        if state != there:
            raise DeviceFailed(f"{self.name}: it is {state} after it was told to {action}")

    @deferred
    async def stop(self) -> None:
        self._order("stop")
        await self._known(self._do("stop"))

    @deferred
    async def lamp_on(self, brightness: int, started: Started | None = None) -> int:
        await self._known(self._to_its_end("light", _LIT, "lamp", "lamp_seconds", started, brightness=int(brightness)))
        measured: int = await self.brightness()
        if not measured:
            raise DeviceFailed(f"{self.name}: its lamp is off after it was told to light it")
        return measured

    @deferred
    async def lamp_off(self) -> None:
        await self._known(self._do("dark"))

    @deferred
    async def brightness(self) -> int:
        return await self._lamp("brightness")

    @deferred
    async def max_brightness(self) -> int:
        return await self._lamp("max_brightness")

    async def _lamp(self, name: str) -> int:
        """Read a level of the lamp; 0 where there is none."""
        return round(await self._number_or_none(name) or 0.0)
