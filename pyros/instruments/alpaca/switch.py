"""Switches that speak Alpaca."""

from __future__ import annotations

import math

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Channel, Kind

_MAX_CHANNELS = 256


class AlpacaSwitch(AlpacaDevice):
    """A `Switch` that speaks Alpaca."""

    kind: Kind = "switch"

    @deferred
    async def channels(self) -> tuple[Channel, ...]:
        await self._link.ready()
        if "channels" not in self._link.facts:
            count = await self._count()
            self._link.facts["channels"] = tuple([await self._channel(number) for number in range(count)])
        channels: tuple[Channel, ...] = self._link.facts["channels"]
        return channels

    async def _count(self) -> int:
        count = await self._link.fact("maxswitch", int, 0)
        if not 0 <= count <= _MAX_CHANNELS:
            raise DeviceFailed(f"{self.name}: {count} channels; at most {_MAX_CHANNELS} can be")
        return count

    async def _channel(self, number: int) -> Channel:
        return Channel(
            name=await self._link.get("getswitchname", str, Id=number),
            writable=await self._link.get_or("canwrite", bool, True, Id=number),
            least=await self._link.get_or("minswitchvalue", float, 0.0, Id=number),
            most=await self._link.get_or("maxswitchvalue", float, 1.0, Id=number),
            step=await self._link.get_or("switchstep", float, 1.0, Id=number),
        )

    async def _there_is(self, channel: int) -> Channel:
        channels = await self.channels()
        if not 0 <= channel < len(channels):
            raise DeviceRefused("VALUE", f"{self.name}: no channel {channel}; there are {len(channels)}, from 0")
        return channels[channel]

    @deferred
    async def get(self, channel: int) -> float:
        await self._there_is(channel)
        return await self._link.get("getswitchvalue", float, Id=channel)

    @deferred
    async def set(self, channel: int, level: float) -> float:
        with self._command(f"channel {channel}") as command:
            async with self._turn(command):
                return await self._set(channel, level)

    async def _set(self, channel: int, level: float) -> float:
        there = await self._there_is(channel)
        if not there.writable:
            raise DeviceRefused("UNSUPPORTED", f"{self.name}: {there.name!r} can only be read")
        if not there.least <= level <= there.most:
            between = f"{there.least:g} and {there.most:g}"
            raise DeviceRefused("VALUE", f"{self.name}: {there.name!r} has levels between {between}, not {level:g}")
        await self._link.put("setswitchvalue", Id=channel, Value=float(level))
        measured = await self.get(channel)
        if not math.isclose(measured, level, abs_tol=max(abs(there.step), 1e-9)):
            raise DeviceFailed(f"{self.name}: {there.name!r} is at {measured:g} instead of {level:g}")
        return measured
