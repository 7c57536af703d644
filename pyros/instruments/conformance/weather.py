"""What a `WeatherStation` must do."""

from __future__ import annotations

from pyros.instruments.conformance._check import Check, Context, expect
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.interfaces import WeatherStation
from pyros.instruments.plausible import ESSENTIAL, impossible


async def _reads(weather: WeatherStation, context: Context) -> None:
    await named(weather, context, weather.read)
    reading = await weather.read()
    problem = impossible(reading)
    expect(not problem, problem)
    for name in ESSENTIAL:  # unknown, and not 0, where it is not measured: else the station's read fails
        value = getattr(reading, name)
        expect(value is None or isinstance(value, bool if name == "rain" else float), f"{name} is {value!r}")
    expect(0 <= reading.age < float("inf"), f"an age of {reading.age} s")


async def _together(weather: WeatherStation, context: Context) -> None:
    readings = [weather.read() for _ in range(3)]
    for each in readings:
        await each


CHECKS = (
    Check("tells its name, and readings that can be", _reads),
    Check("answers several who ask at the same time", _together),
    disconnecting(lambda weather: weather.read()),
)
