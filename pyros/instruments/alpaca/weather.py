"""A weather station that speaks Alpaca (ObservingConditions)."""

from __future__ import annotations

from typing import Any

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.device import deferred
from pyros.instruments.interfaces import Kind
from pyros.messages import WeatherReading

OLDEST_SECONDS = 300.0
"""A station whose newest reading is older doesn't know the weather."""

_PROPERTIES = {"temperature": "temperature", "humidity": "humidity", "wind": "windspeed", "rain": "rainrate"}


class AlpacaWeatherStation(AlpacaDevice):
    """A `WeatherStation` that speaks Alpaca.

    A station need not have every sensor. Without one for clouds, the sky counts as clear; the others are needed, unless
    ``?without=rain`` in the address says that the observatory does without.
    """

    kind: Kind = "weather"

    @deferred
    async def read(self) -> WeatherReading:
        age = await self._link.get_or("timesincelastupdate", float, 0.0, SensorName="")
        if age > OLDEST_SECONDS:
            raise DeviceFailed(f"{self.name}: its newest reading is {age:.0f} s old")
        readings = {name: await self._sensor(name, member) for name, member in _PROPERTIES.items()}
        cloud = await self._link.get_or("cloudcover", float, 0.0)  # percent
        return WeatherReading(**readings | {"rain": readings["rain"] > 0, "cloud": min(1.0, max(0.0, cloud / 100))})

    async def _sensor(self, name: str, member: str) -> Any:
        try:
            return await self._link.get(member, float)
        except DeviceRefused as refusal:
            if name in self._address.options.get("without", ()):
                return 0.0
            raise DeviceRefused(
                "UNSUPPORTED", f"{refusal}; if it has no sensor for {name}, say so in its address: ?without={name}"
            ) from None
