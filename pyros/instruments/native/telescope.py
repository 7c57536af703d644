"""A telescope that speaks the native grammar."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.drivers.commands import DeviceCommand
from pyros.instruments.drivers.device import deferred
from pyros.instruments.drivers.pointing import TOLERANCE_ARCSEC, checked_slew
from pyros.instruments.interfaces import (
    Kind,
    PierSide,
    Pointing,
    Position,
    Started,
    TelescopeState,
)
from pyros.instruments.native._device import NativeDevice


class NativeTelescope(NativeDevice):
    """A `Telescope` that speaks the native grammar."""

    kind: Kind = "telescope"

    def __init__(self, *args: Any, tolerance_arcsec: float = TOLERANCE_ARCSEC, **named: Any) -> None:
        super().__init__(*args, **named)
        self.tolerance_arcsec: float = self._option("tolerance_arcsec", tolerance_arcsec)

    def state(self) -> Deferred[TelescopeState]:
        return self._read_state(TelescopeState)

    @deferred
    async def slew(
        self, ra: float, dec: float, tag: str = "", started: Started | None = None, *, side: PierSide = ""
    ) -> Pointing:
        order = self._order("slew")

        def slew_once(attempt: int) -> Awaitable[None]:
            return self._slew_once(order, ra, dec, tag, started if attempt == 1 else None, side)

        async with self._stopping_if_given_up(order):
            return await checked_slew(slew_once, self.position, ra, dec, self.name, self.tolerance_arcsec)

    async def _slew_once(
        self, order: DeviceCommand, ra: float, dec: float, tag: str, started: Started | None, side: PierSide
    ) -> None:
        await order.check()
        tag = self._tag(tag)
        way: dict[str, Any] = {"side": side} if side else {}
        begin = partial(self._do, "slew", started, ra=float(ra), dec=float(dec), tag=tag, **way)
        parking = self._connection.watches("park_finished")
        with self._connection.watch("slew", "slew_finished", "slew_failed", "slew_aborted", tag=tag) as watch:
            try:
                busy = await begin()
            except DeviceRefused as refusal:
                if refusal.code not in ("STATE", "BUSY") or not await self._make_ready(order):
                    raise
                await order.check()
                busy = await begin()
            self._end_watches(parking, "a slew took its place")
            if busy is not None:
                self._raise_unless_finished(await self._end(watch, busy, "slew_seconds"), "slew")
        await self._until_it_tracks(order)

    async def _until_it_tracks(self, order: DeviceCommand) -> None:
        """Let the mount track again if it doesn't, or fail: a target that isn't followed is lost."""
        state = await self._until_there(order, self.state, lambda state: state != "slewing")
        if state != "tracking":
            await order.check()
            with suppress(DeviceRefused):
                await self.track(True)
            state = await self.state()
        if state != "tracking":
            await order.check()
            raise DeviceFailed(f"{self.name}: slew: it is {state} on its target, and doesn't track")

    async def _make_ready(self, order: DeviceCommand) -> bool:
        """Unpark a parked telescope, stop one that moves; whether it was either."""
        state: TelescopeState = await self._read_state(TelescopeState)
        await order.check()
        if state == "parked":
            await self.unpark()
        elif state in ("parking", "slewing"):
            await self._stop()
        return state in ("parked", "parking", "slewing")

    def stop(self) -> Deferred[None]:
        self._order("stop")
        return self._stop()

    @deferred
    async def _stop(self) -> None:
        parking = self._connection.watches("park_finished")
        await self._do("stop")
        self._end_watches(parking, "stopped")

    @deferred
    async def park(self, started: Started | None = None) -> None:
        async with self._stopping_if_given_up(self._order("park")):
            with self._connection.watch("park", "park_finished", "park_aborted") as watch:
                busy = await self._do("park", started)
                if busy is not None:
                    watch.forget()  # its events have no tags
                    self._raise_unless_finished(await self._end(watch, busy, "slew_seconds"), "park")

    @deferred
    async def unpark(self) -> None:
        await self._do("unpark")

    @deferred
    async def position(self) -> Position:
        return Position(*await self._numbers("position", 2))

    @deferred
    async def side(self) -> PierSide:
        try:
            (word,) = (await self._get("pier")).values
        except (DeviceRefused, ValueError):
            return ""
        return "east" if word == "east" else "west" if word == "west" else ""

    @deferred
    async def track(self, on: bool) -> None:
        await self._do("track", on=int(on))

    @deferred
    async def sync(self, ra: float, dec: float) -> None:
        await self._do("sync", ra=float(ra), dec=float(dec))
