"""Weather stations and safety monitors behind INDI: the same devices, asked for their readings or for their verdict."""

from __future__ import annotations

import re

from twisted.logger import Logger

from pyros.errors import DeviceFailed
from pyros.instruments.device import deferred
from pyros.instruments.indi._device import IndiDevice
from pyros.instruments.indi.command import Command
from pyros.instruments.indi.properties import Property
from pyros.instruments.interfaces import Kind, Safety
from pyros.messages import WeatherReading

_READINGS, _VERDICT, _REFRESH = "WEATHER_PARAMETERS", "WEATHER_STATUS", "WEATHER_REFRESH"
_FRESH_SECONDS = 5.0
"""Readings older than this are asked for again, from a station that can be asked."""
_LATE = 3.0
"""A station that cannot be asked and has been silent for so many of its own periods has stopped."""
_PERIOD_SECONDS = 60.0

_NAMES = {
    "temperature": ("WEATHER_TEMPERATURE",),
    "humidity": ("WEATHER_HUMIDITY",),
    "wind": ("WEATHER_WIND_GUST", "WEATHER_WIND_SPEED"),
    "rain": ("WEATHER_RAIN_HOUR", "WEATHER_RAIN_RATE", "WEATHER_RAIN", "WEATHER_SNOW_HOUR"),
    "cloud": ("WEATHER_CLOUD_COVER", "WEATHER_CLOUDS"),
}
"""Of several, the greatest counts."""

_UNITS = ((r"\bm/s\b", 1.0), (r"\b(kph|km/?h)\b", 1 / 3.6), (r"\bmph\b", 0.44704), (r"\b(knots?|kn|kt)\b", 0.514444))
_KPH = 1 / 3.6  # what libindi's own drivers give where the label doesn't tell

log = Logger()


class _Station(IndiDevice):
    """What both share: readings that are fresh."""

    interface = 128
    _lacks_told = False

    async def _fresh(self, command: Command) -> Property:
        """The readings, no older than a moment, or than the station can do. Raises DeviceFailed for older ones."""
        await self._connection.until_ready()
        readings = command.property(_READINGS)
        age = self._clock.monotonic() - readings.heard
        if readings.changed and age <= _FRESH_SECONDS:
            return readings
        if _REFRESH in self._properties:
            _, since = await command.change(_REFRESH, {"REFRESH": True})

            def told() -> Property | None:
                now = self._properties.get(_READINGS)
                return now if now is not None and now.changed > since else None

            return await command.until(told, 30.0, "no new readings within 30 s")
        period = self._properties.number("WEATHER_UPDATE", "PERIOD") or _PERIOD_SECONDS
        if not readings.changed or age > period * _LATE:
            raise DeviceFailed(command.describe(f"no new readings for {age:.0f} s"))
        return readings


class IndiWeatherStation(_Station):
    """A `WeatherStation` behind INDI.

    What the station has no sensor for counts as 0, as good as can be, and is named in the log once: a limit of the
    observatory that must hold needs a station that measures it.
    """

    kind: Kind = "weather"
    needs = (_READINGS,)

    @deferred
    async def read(self) -> WeatherReading:
        with self._connection.command("reading") as command:
            readings = await self._fresh(command)
            if readings.state == "Alert":
                raise DeviceFailed(command.describe("the station says that its readings are of no use"))
            values = {quantity: self._value(readings, quantity) for quantity in _NAMES}
        if values["temperature"] is None:
            raise DeviceFailed(f"{self.name}: it tells no temperature")
        lacking = [quantity for quantity, value in values.items() if value is None]
        if lacking and not self._lacks_told:
            self._lacks_told = True
            log.warn("{name} does not measure {lacking}", name=self.name, lacking=", ".join(lacking))
        return WeatherReading(
            temperature=values["temperature"],
            humidity=min(100.0, values["humidity"] or 0.0),
            wind=values["wind"] or 0.0,
            rain=(values["rain"] or 0.0) > 0,
            cloud=min(1.0, (values["cloud"] or 0.0) / 100),
        )

    def _value(self, readings: Property, quantity: str) -> float | None:
        """In our units; None where there is no such sensor. Raises DeviceFailed for a sensor that gives no number."""
        found = []
        for name in _NAMES[quantity]:
            if name in readings.members:
                if (number := readings.number(name)) is None:
                    raise DeviceFailed(f"{self.name}: {name} is no number")
                found.append(_in_our_units(quantity, number, readings.members[name].label))
        return max(found) if found else None


def _in_our_units(quantity: str, number: float, label: str) -> float:
    """libindi has no units but in the labels: ``Wind (kph)``, ``Temperature (F)``."""
    if quantity == "temperature":
        return (number - 32) / 1.8 if re.search(r"\(F\)|\bFahrenheit\b", label) else number
    if quantity == "wind":
        return number * next((factor for unit, factor in _UNITS if re.search(unit, label, re.IGNORECASE)), _KPH)
    return number


class IndiSafetyMonitor(_Station):
    """A `SafetyMonitor` behind INDI: the verdict of a weather device on its own readings (WEATHER_STATUS).

    Ok is safe, and so is Busy, its warning; Alert is not, and Idle is no verdict, which isn't either.
    """

    kind: Kind = "safety"
    needs = (_VERDICT,)

    @deferred
    async def read(self) -> Safety:
        with self._connection.command("verdict") as command:
            await self._connection.until_ready()
            if _READINGS in self._properties and (await self._fresh(command)).state == "Alert":
                return Safety(False, "the station says that its readings are of no use")
            verdict = command.property(_VERDICT)  # drivers do not answer when they are asked for lights
        if verdict.state == "Idle":
            return Safety(False, "it gives no verdict")
        worst = [_words(name, member.label, str(member.value)) for name, member in verdict.members.items()
                 if member.value in ("Busy", "Alert")]  # fmt: skip
        return Safety(verdict.state != "Alert", ", ".join(worst))


def _words(name: str, label: str, state: str) -> str:
    return f"{label or name}: {'danger' if state == 'Alert' else 'warning'}"
