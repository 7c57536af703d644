"""A weather station that speaks the native grammar."""

from __future__ import annotations

import msgspec

from pyros.errors import DeviceFailed
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import (
    Kind,
)
from pyros.instruments.native._device import NativeDevice
from pyros.instruments.plausible import checked
from pyros.messages import WeatherReading
from pyros.prepared import prepared

OLDEST_SECONDS = 300.0
"""A station that says that its readings are older doesn't know the weather."""

_REQUIRED = ("temperature", "humidity", "wind", "rain")


class NativeWeatherStation(NativeDevice):
    """A `WeatherStation` that speaks the native grammar.

    A sensor that it has not is named in the address, ``?without=cloud``. The station may tell the ``age`` of its oldest
    reading in seconds.
    """

    kind: Kind = "weather"

    @deferred
    async def read(self) -> WeatherReading:
        named = (await self._get("readings")).named
        without = self._option("without", ())
        known = {
            key: text for key, text in named.items() if key in WeatherReading.__struct_fields__ and key not in without
        }
        told = dict.fromkeys(_REQUIRED) | known
        try:
            reading = msgspec.convert(told, prepared(WeatherReading), strict=False)
        except msgspec.ValidationError as error:
            raise DeviceFailed(f"{self.name}: answered {named} to GET readings: {error}") from None
        if reading.age > (oldest := self._option("oldest_seconds", OLDEST_SECONDS)):
            raise DeviceFailed(f"{self.name}: its readings are {reading.age:.0f} s old, more than {oldest:g} s")
        return checked(reading, self.name, without)
