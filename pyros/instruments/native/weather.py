"""A weather station that speaks the native grammar."""

from __future__ import annotations

import math

import msgspec

from pyros.errors import DeviceFailed
from pyros.instruments.device import deferred
from pyros.instruments.interfaces import (
    Kind,
)
from pyros.instruments.native._device import NativeDevice
from pyros.messages import WeatherReading


class NativeWeatherStation(NativeDevice):
    """A `WeatherStation` that speaks the native grammar."""

    kind: Kind = "weather"

    @deferred
    async def read(self) -> WeatherReading:
        named = (await self._get("readings")).named
        known = {key: text for key, text in named.items() if key in WeatherReading.__struct_fields__}
        try:
            reading = msgspec.convert(known, WeatherReading, strict=False)
        except msgspec.ValidationError as error:
            raise DeviceFailed(f"{self.name}: answered {named} to GET readings: {error}") from None
        # A NaN is smaller than no limit and greater than none: it would pass every test for bad weather.
        if not all(number is None or math.isfinite(number) for number in msgspec.structs.astuple(reading)):
            raise DeviceFailed(f"{self.name}: answered {named} to GET readings: not all finite")
        return reading
