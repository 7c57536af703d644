"""What a `WeatherStation` must do."""

from __future__ import annotations

from pyros.instruments.conformance._check import Check, Context, expect
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.interfaces import WeatherStation


async def _reads(weather: WeatherStation, context: Context) -> None:
    await named(weather, context, weather.read)
    reading = await weather.read()
    for name, least, most in (
        ("temperature", -90, 60),
        ("humidity", 0, 100),
        ("wind", 0, 120),
        ("cloud", 0, 1),
    ):
        value = getattr(reading, name)
        expect(
            value is None or least <= value <= most, f"{name} {value} is not from {least} to {most}"
        )  # and not for NaN
    expect(reading.rain is None or isinstance(reading.rain, bool), f"rain is {reading.rain!r}")


async def _together(weather: WeatherStation, context: Context) -> None:
    readings = [weather.read() for _ in range(3)]
    for each in readings:
        await each


CHECKS = (
    Check("tells its name, and readings that can be", _reads),
    Check("answers several who ask at the same time", _together),
    disconnecting(lambda weather: weather.read()),
)
