"""A weather station that speaks Alpaca (ObservingConditions)."""

from __future__ import annotations

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.alpaca.replies import PropertyAbsent
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind
from pyros.instruments.plausible import ESSENTIAL, absent, checked, implausible
from pyros.messages import WeatherReading

OLDEST_SECONDS = 300.0
"""A sensor whose last value is older doesn't know the weather."""

_SENSORS = {
    "rain": "RainRate",
    "temperature": "Temperature",
    "humidity": "Humidity",
    "wind": "WindSpeed",
    "gust": "WindGust",
    "cloud": "CloudCover",
}
"""What the safety of the dome depends on."""
_INFORMATION = {"pressure": "pressure", "dew_point": "dewpoint", "sky_brightness": "skyquality"}
"""What nothing depends on: what cannot be had of it is unknown."""


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
        ages: list[float | None] = []
        began = self._clock.monotonic()
        for quantity, sensor in _SENSORS.items():
            if quantity in without or (quantity == "gust" and "wind" in without):
                continue
            try:
                values[quantity], age = await self._measured(sensor)
            except PropertyAbsent as refusal:
                if quantity in ESSENTIAL:
                    raise DeviceRefused("UNSUPPORTED", f"{_said(refusal)}; {absent(quantity)}") from None
                continue
            except DeviceRefused as refusal:  # by whatever code: it is there, and doesn't work
                raise DeviceFailed(f"{_said(refusal)}: the sensor for {quantity} is out of order") from None
            ages.append(self._checked_age(age, f"its sensor for {quantity}"))
        if set(ages) <= {None}:  # it tells the age of its newest value, at most
            ages.append(self._checked_age(await self._age(""), "it"))
        for quantity, member in _INFORMATION.items():
            if (value := await self._link.get_if_told(member, float)) is not None:
                values[quantity] = value
        oldest = max(age or 0.0 for age in ages)
        return self._reading(values, oldest + self._clock.monotonic() - began if oldest else 0.0)

    async def _measured(self, sensor: str) -> tuple[float, float | None]:
        """Return the sensor's value, and its greatest possible age in seconds."""
        asked = self._clock.monotonic()
        value = await self._link.get(sensor.lower(), float)
        age = await self._age(sensor)
        if age is not None and 0 <= age < self._clock.monotonic() - asked:  # it was measured anew meanwhile
            value = await self._link.get(sensor.lower(), float)
        return value, age

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

    async def _age(self, sensor: str) -> float | None:
        """Seconds since the sensor was read, '' for any of them; None where the station doesn't tell."""
        try:
            return await self._link.get("timesincelastupdate", float, SensorName=sensor)
        except PropertyAbsent:
            return None

    def _checked_age(self, age: float | None, what: str) -> float | None:
        """Raise DeviceFailed for a value that there never was, or that is too old."""
        if age is not None and age < 0:
            raise DeviceFailed(f"{self.name}: {what} has not been read yet")
        if age is not None and age > (oldest := self._option("oldest_seconds", OLDEST_SECONDS)):
            raise DeviceFailed(f"{self.name}: {what} was read {age:.0f} s ago, more than {oldest:g} s")
        return age


def _said(refusal: DeviceRefused) -> str:
    return str(refusal).removeprefix(f"{refusal.code}: ")
