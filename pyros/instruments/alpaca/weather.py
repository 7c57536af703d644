"""A weather station that speaks Alpaca (ObservingConditions)."""

from __future__ import annotations

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.alpaca.replies import PropertyAbsent
from pyros.instruments.device import deferred
from pyros.instruments.interfaces import Kind
from pyros.instruments.plausible import ESSENTIAL, absent, checked, implausible
from pyros.messages import WeatherReading

OLDEST_SECONDS = 300.0
"""A sensor whose last value is older doesn't know the weather."""

_PROPERTIES = {
    "temperature": "Temperature",
    "humidity": "Humidity",
    "wind": "WindSpeed",
    "gust": "WindGust",
    "rain": "RainRate",
    "cloud": "CloudCover",
    "pressure": "Pressure",
    "dew_point": "DewPoint",
    "sky_brightness": "SkyQuality",
}


class AlpacaWeatherStation(AlpacaDevice):
    """A `WeatherStation` that speaks Alpaca.

    A sensor is absent only where the station says that it is not implemented (0x400); with any other error it is out of
    order, and there is no reading. One that decides whether the dome may be open, and is absent, is named in the
    address: ``?without=rain,cloud``. Each sensor is asked for its own age.
    """

    kind: Kind = "weather"

    @deferred
    async def read(self) -> WeatherReading:
        without = self._option("without", ())
        values: dict[str, float] = {}
        oldest = 0.0
        for quantity, member in _PROPERTIES.items():
            if quantity in without or (quantity == "gust" and "wind" in without):
                continue
            try:
                # The age comes first, so that the value is not older than it.
                asked, age = self._clock.monotonic(), await self._age(quantity, member)
                value = await self._link.get(member.lower(), float)
            except PropertyAbsent as refusal:
                if quantity in ESSENTIAL:
                    raise DeviceRefused("UNSUPPORTED", f"{_said(refusal)}; {absent(quantity)}") from None
                continue
            except DeviceRefused as refusal:  # by whatever code: it is there, and doesn't work
                raise DeviceFailed(f"{_said(refusal)}: the sensor for {quantity} is out of order") from None
            if age is not None:
                oldest = max(oldest, age + self._clock.monotonic() - asked)
            values[quantity] = value
        return self._reading(values, oldest)

    def _reading(self, values: dict[str, float], age: float) -> WeatherReading:
        if "rain" in values and (problem := implausible("rain_rate", values["rain"])):
            raise DeviceFailed(f"{self.name}: {problem}")
        reading = WeatherReading(
            temperature=values.get("temperature"),
            humidity=values.get("humidity"),
            wind=values.get("wind"),
            rain=values["rain"] > 0 if "rain" in values else None,
            cloud=values["cloud"] / 100 if "cloud" in values else None,  # it tells percent
            pressure=values.get("pressure"),
            dew_point=values.get("dew_point"),
            sky_brightness=values.get("sky_brightness"),
            gust=values.get("gust"),
            age=age,
        )
        return checked(reading, self.name, self._option("without", ()))

    async def _age(self, quantity: str, member: str) -> float | None:
        """Seconds since the sensor was read; None where the station doesn't tell."""
        try:
            age = await self._link.get("timesincelastupdate", float, SensorName=member)
        except PropertyAbsent:
            return None
        if age < 0:
            raise DeviceFailed(f"{self.name}: its sensor for {quantity} has not been read yet")
        if age > (oldest := self._option("oldest_seconds", OLDEST_SECONDS)):
            raise DeviceFailed(f"{self.name}: its reading of {quantity} is {age:.0f} s old, more than {oldest:g} s")
        return age


def _said(refusal: DeviceRefused) -> str:
    return str(refusal).removeprefix(f"{refusal.code}: ")
