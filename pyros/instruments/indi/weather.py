"""Weather stations behind INDI."""

from __future__ import annotations

import math

from pyros.errors import DeviceFailed, DeviceRefused, NoAnswer
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi._device import IndiDevice
from pyros.instruments.indi.command import IndiCommand
from pyros.instruments.indi.parameters import reading_of
from pyros.instruments.indi.properties import Property
from pyros.instruments.interfaces import Kind
from pyros.instruments.plausible import checked
from pyros.messages import WeatherReading

READINGS, _REFRESH = "WEATHER_PARAMETERS", "WEATHER_REFRESH"
_FRESH_SECONDS = 5.0
"""Readings older than this are asked for again, from a station that can be asked."""
_REFRESH_SECONDS = 30.0
_MAX_SILENT_PERIODS = 3.0
"""A station that has been silent for so many of its own periods has stopped, where the address doesn't say when."""
_PERIOD_SECONDS = 60.0


class IndiStation(IndiDevice):
    """A device with readings that are fresh: a weather station, or a safety monitor."""

    interface = 128

    async def _fresh(self, command: IndiCommand) -> Property:
        """Return the newest readings that the station can give. Raises DeviceFailed for those that are too old."""
        await self._connection.until_ready()
        readings = command.property(READINGS)
        if self._age(readings) > _FRESH_SECONDS and _REFRESH in self._properties:
            readings = await self._refreshed(command, readings)
        if readings.state == "Alert":
            raise DeviceFailed(command.describe("the station says that its readings are of no use"))
        period = self._properties.number("WEATHER_UPDATE", "PERIOD") or _PERIOD_SECONDS
        age, oldest = self._age(readings), self._option("oldest_seconds", period * _MAX_SILENT_PERIODS)
        if not math.isfinite(age):
            raise DeviceFailed(command.describe("no new readings since it was connected"))
        if age > oldest:
            stamped = ", by its timestamps" if self._lateness(readings) > oldest else ""
            raise DeviceFailed(command.describe(f"no new readings for {age:.0f} s{stamped}, more than {oldest:g} s"))
        return readings

    async def _refreshed(self, command: IndiCommand, readings: Property) -> Property:
        """Ask for new readings; the old ones where it has none to give."""
        try:
            _, since = await command.change(_REFRESH, {"REFRESH": True})
        except DeviceRefused:
            return readings

        def told() -> Property | None:
            now = self._properties.get(READINGS)
            return now if now is not None and now.changed > since and now.state != "Busy" else None

        try:
            return await command.until(told, _REFRESH_SECONDS, f"no new readings within {_REFRESH_SECONDS:.0f} s")
        except NoAnswer:
            return command.property(READINGS)

    def _age(self, readings: Property) -> float:
        """Seconds since they were measured, as far as that is known; infinite for only a definition."""
        return self._clock.monotonic() - readings.measured + self._lateness(readings)

    def _lateness(self, readings: Property) -> float:
        return readings.late if self._option("timestamps", "yes") == "yes" else 0.0


class IndiWeatherStation(IndiStation):
    """A `WeatherStation` behind INDI.

    Which of its parameters is what, and in which unit, is told by their names and labels, or by the address:
    ``?rain=WEATHER_IS_RAIN&cloud=none&wind_unit=km/h`` (see ``indi.parameters``).
    """

    kind: Kind = "weather"
    needs = (READINGS,)

    @deferred
    async def read(self) -> WeatherReading:
        with self._connection.command("reading") as command:
            readings = await self._fresh(command)
        reading = reading_of(readings.members, self._options, self.name, self._age(readings))
        return checked(reading, self.name, self._without())

    def _without(self) -> tuple[str, ...]:
        """Return the quantities that the address names as absent, in either way."""
        return (*self._option("without", ()), *(name for name, value in self._options.items() if value == ()))
