"""A cover and flat panel that speaks Alpaca: its CoverCalibrator (ICoverCalibratorV1 and V2)."""

from __future__ import annotations

from typing import Literal

from twisted.internet.defer import Deferred

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.alpaca.client import LONG_SECONDS
from pyros.instruments.cover import CoverState
from pyros.instruments.drivers.commands import DeviceCommand
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind, Started

_COVER: tuple[CoverState, ...] = ("absent", "closed", "moving", "open", "stopped", "stopped")
"""ASCOM's CoverStatus; the last two are unknown and error."""
_LAMP = ("absent", "off", "warming", "ready", "unknown", "failed")
"""ASCOM's CalibratorStatus."""
_COVER_SECONDS = 10.0
_LAMP_SECONDS = 5.0
_MAX_MOTION_SECONDS = 300.0


class AlpacaCover(AlpacaDevice):
    """A `Cover` that speaks Alpaca."""

    kind: Kind = "cover"

    def open(self, started: Started | None = None) -> Deferred[None]:
        return self._move("open", "open", started)

    def close(self, started: Started | None = None) -> Deferred[None]:
        return self._move("close", "closed", started)

    @deferred
    async def _move(self, action: Literal["open", "close"], there: CoverState, started: Started | None) -> None:
        with self._command(action) as command:
            if await self.state() == "absent":
                raise DeviceRefused("UNSUPPORTED", f"{self.name} has no cover")
            async with self._turn(command):
                move = self._link.put(f"{action}cover", LONG_SECONDS)
                await self._ending(move, f"{action} took its place", "open", "close", before=command)
            stillness = self._stillness()

            async def look() -> CoverState | None:
                state: CoverState = await self.state()
                if state == "moving":
                    stillness.moves()
                    return None
                return state if state == there or stillness.too_long else None

            most = self._option("cover_seconds", _MAX_MOTION_SECONDS)
            async with self._stopping_if_given_up(command, lambda: self._link.put("haltcover"), "open", "close"):
                state = await self._until(command, look, _COVER_SECONDS, most, started)
                if state != there:
                    raise DeviceFailed(f"{self.name}: {action}: it is {state}")

    @deferred
    async def stop(self) -> None:
        await self._stop(lambda: self._link.put("haltcover"), "stopped", "open", "close")

    @deferred
    async def state(self) -> CoverState:
        return _COVER[await self._status("coverstate", len(_COVER))]

    @deferred
    async def lamp_on(self, brightness: int, started: Started | None = None) -> int:
        with self._command("lamp") as command:
            most = await self.max_brightness()
            if not most:
                raise DeviceRefused("UNSUPPORTED", f"{self.name} has no lamp")
            if not 1 <= brightness <= most:
                raise DeviceRefused("VALUE", f"{self.name}: a brightness is 1 to {most}, not {brightness}")
            await self._light("ready", command, started, Brightness=brightness)
        measured: int = await self.brightness()
        return measured

    @deferred
    async def lamp_off(self) -> None:
        with self._command("lamp") as command:
            await self._light("off", command, None)

    async def _light(self, wanted: str, command: DeviceCommand, started: Started | None, **parameters: int) -> None:
        """Put the lamp on or out, in place of an earlier lighting, and wait until its light is steady."""
        async with self._turn(command):
            order = self._link.put("calibratoron" if parameters else "calibratoroff", **parameters)
            await self._ending(order, "a newer command took its place", "lamp", before=command)
        stillness = self._stillness()

        async def look() -> str | None:
            lamp = _LAMP[await self._status("calibratorstate", len(_LAMP))]
            if lamp == "warming":
                stillness.moves()
                return None
            return lamp if lamp in (wanted, "failed") or stillness.too_long else None

        lamp = await self._until(
            command, look, _LAMP_SECONDS, self._option("lamp_seconds", _MAX_MOTION_SECONDS), started
        )
        if lamp != wanted:
            raise DeviceFailed(f"{self.name}: its lamp is {lamp}, not {wanted}")

    @deferred
    async def brightness(self) -> int:
        level: int = await self._link.get_or("brightness", int, 0)
        return level

    @deferred
    async def max_brightness(self) -> int:
        return await self._link.fact("maxbrightness", int, 0)

    async def _status(self, member: str, count: int) -> int:
        status = await self._link.get(member, int)
        if not 0 <= status < count:
            raise DeviceFailed(f"{self.name}: answered {status} to GET {member}, not 0 to {count - 1}")
        return status
