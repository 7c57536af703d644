"""A guider that speaks the native grammar."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyros.errors import DeviceRefused
from pyros.instruments.drivers.device import deferred
from pyros.instruments.guider import GuidingState, Settle
from pyros.instruments.interfaces import Kind, Started
from pyros.instruments.native._device import NativeDevice

_EVENTS = ("settled", "settle_aborted", "settle_failed")


class NativeGuider(NativeDevice):
    """A `Guider` that speaks the native grammar."""

    kind: Kind = "guider"

    def state(self) -> Deferred[GuidingState]:
        return self._read_state(GuidingState)

    @deferred
    async def guide(self, settle: Settle, started: Started | None = None) -> float:
        return await self._until_steady("guide", settle, started)

    @deferred
    async def dither(self, arcsec: float, settle: Settle, started: Started | None = None) -> float:
        return await self._until_steady("dither", settle, started, by=arcsec)

    async def _until_steady(self, action: str, settle: Settle, started: Started | None, **named: float) -> float:
        order = self._order(action) if action == "guide" else self._newest
        named |= {"arcsec": settle.arcsec, "seconds": settle.seconds, "timeout": settle.timeout}
        async with self._stopping_if_given_up(order):
            await self._to_its_end(action, _EVENTS, action, "guide_seconds", started, **named)
        (error,) = await self._numbers("error", 1)
        return error

    @deferred
    async def pause(self) -> None:
        await self._do("pause")

    @deferred
    async def stop(self) -> None:
        self._order("stop")
        await self._do("stop")

    @deferred
    async def error(self) -> float | None:
        try:
            (error,) = await self._numbers("error", 1)
        except DeviceRefused as refusal:
            if refusal.code == "STATE":
                return None
            raise
        return error
