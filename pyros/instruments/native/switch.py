"""A switch that speaks the native grammar."""

from __future__ import annotations

import math

import msgspec

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Channel, Kind
from pyros.instruments.native._device import NativeDevice
from pyros.prepared import prepared

_MAX_CHANNELS = 1000


class NativeSwitch(NativeDevice):
    """A `Switch` that speaks the native grammar."""

    kind: Kind = "switch"

    @deferred
    async def channels(self) -> tuple[Channel, ...]:
        names = (await self._get("channels")).values
        if len(names) > _MAX_CHANNELS:
            raise DeviceFailed(f"{self.name}: it tells {len(names)} channels, more than {_MAX_CHANNELS}")
        return tuple([await self._channel(index) for index in range(len(names))])

    async def _channel(self, index: int) -> Channel:
        named = (await self._get(f"channel_{index}")).named
        try:
            channel = msgspec.convert(named, prepared(Channel), strict=False)
        except msgspec.ValidationError as error:
            raise DeviceFailed(f"{self.name}: answered {named} to GET channel_{index}: {error}") from None
        if not all(map(math.isfinite, (channel.least, channel.most, channel.step))):
            raise DeviceFailed(f"{self.name}: answered {named} to GET channel_{index}: not all finite")
        return channel

    @deferred
    async def get(self, channel: int) -> float:
        try:
            (level,) = await self._numbers(f"level_{channel}", 1)
        except DeviceRefused as refusal:
            raise self._no_such_channel(channel, refusal) from None
        return level

    @deferred
    async def set(self, channel: int, level: float) -> float:
        try:
            await self._connection.ask("SET", f"level_{channel}", float(level))
        except DeviceRefused as refusal:
            raise self._no_such_channel(channel, refusal) from None
        return await self.get(channel)

    def _no_such_channel(self, index: int, refusal: DeviceRefused) -> DeviceRefused:
        """Turn an unknown property, which a channel is in the grammar, into an unknown channel."""
        if refusal.code not in ("UNKNOWN", "SYNTAX"):
            return refusal
        return DeviceRefused("VALUE", f"{self.name} has no channel {index}")
