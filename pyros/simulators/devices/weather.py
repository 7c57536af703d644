"""A weather station.

It has a climate with its day and night and its noise, a script of changes, and a person who may overrule all that. The
dew point follows from temperature and humidity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated

from msgspec import Meta

from pyros.clock import Clock
from pyros.simulators.device import Refused, SimulatedDevice, number, one_of
from pyros.simulators.grammar import DeviceAnswer, ok
from pyros.simulators.settings import (
    Brightness,
    Cloud,
    Humidity,
    NotNegative,
    Pressure,
    Rain,
    Settings,
    Strict,
    Temperature,
    Wind,
    out_of_order,
)
from pyros.simulators.smooth_noise import SmoothNoise

_LIMITS = {
    "temperature": (-90, 60),
    "humidity": (0, 100),
    "wind": (0, 100),
    "rain": (0, 1),
    "cloud": (0, 1),
    "pressure": (300, 1100),
    "sky_brightness": (0, 25),
}
_DIGITS = {"temperature": 1, "humidity": 1, "wind": 1, "rain": 0, "cloud": 2, "pressure": 1, "sky_brightness": 2}
_MAGNUS = (17.62, 243.12)


class Noise(Strict, frozen=True, kw_only=True):
    """How much the weather wavers: one standard deviation, in each reading's own unit."""

    temperature: NotNegative = 0.0
    """Degrees Celsius."""
    humidity: NotNegative = 0.0
    """Percent."""
    wind: NotNegative = 0.0
    """Metres per second."""
    cloud: NotNegative = 0.0
    """Fraction of the sky covered, 0 to 1."""
    pressure: NotNegative = 0.0
    """Hectopascal at the station."""
    sky_brightness: NotNegative = 0.0
    """Magnitudes per square arcsecond."""


class Day(Strict, frozen=True, kw_only=True):
    """What the hour of the day does.

    By how much it is warmer and drier at the warmest hour (UTC) than on average, and colder and damper twelve hours
    later.
    """

    warmest: Annotated[float, Meta(ge=0, lt=24)] = 14.0
    """Hour of the day, UTC."""
    temperature: Annotated[float, Meta(ge=0, le=50)] = 0.0
    """How much warmer it is then than on average, degrees Celsius."""
    humidity: Annotated[float, Meta(ge=0, le=100)] = 0.0
    """How much drier it is then than on average, percent."""


class Change(Strict, frozen=True, kw_only=True):
    """One step of the weather's script.

    From ``at`` seconds after the start these readings become so, ``over`` so many seconds; at once, if that is not
    said.
    """

    at: NotNegative
    """When it begins, seconds after the start."""
    over: NotNegative = 0.0
    """How long it takes, seconds."""
    temperature: Temperature | None = None
    """Degrees Celsius."""
    humidity: Humidity | None = None
    """Percent."""
    wind: Wind | None = None
    """Metres per second."""
    rain: Rain | None = None
    """0 or 1."""
    cloud: Cloud | None = None
    """Fraction of the sky covered, 0 to 1."""
    pressure: Pressure | None = None
    """Hectopascal at the station."""
    sky_brightness: Brightness | None = None
    """Magnitudes per square arcsecond."""


class WeatherSettings(Settings, frozen=True, kw_only=True):
    """A weather station and its climate."""

    kind = "weather"
    can_have = frozenset({"frozen"})

    temperature: Temperature = 10.0
    """Degrees Celsius."""
    humidity: Humidity = 50.0
    """Percent."""
    wind: Wind = 2.0
    """Metres per second."""
    rain: Rain = 0
    """0 or 1."""
    cloud: Cloud = 0.0
    """Fraction of the sky covered, 0 to 1."""
    pressure: Pressure = 1013.0
    """Hectopascal at the station."""
    sky_brightness: Brightness = 21.5
    """Magnitudes per square arcsecond."""
    day: Annotated[Day, Meta(description="such as {warmest: 14, temperature: 5, humidity: 15}; an hour UTC")] = Day()
    """What the hour of the day adds."""
    noise: Annotated[Noise, Meta(description="such as {temperature: 0.2, humidity: 1, wind: 0.5, cloud: 0.02}")] = (
        Noise()
    )
    """How much the readings waver."""
    climate: Annotated[
        tuple[Change, ...],
        Meta(max_length=10_000, description="a list of steps such as [{at: 600, rain: 1}, {at: 900, rain: 0}]"),
    ] = ()
    """How the weather changes, in the order of time."""

    def contradictions(self) -> list[str]:
        return out_of_order("climate", self.climate)


class SimulatedWeather(SimulatedDevice):
    """State: ok. Its readings depend on the time alone, so two clients that ask at once are told the same."""

    def __init__(self, settings: WeatherSettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        super().__init__(settings, clock, emit)
        self._settings = settings
        self._start = self.device_clock.monotonic()
        self._overrides: dict[str, float] = {}
        self._changes = {
            name: [
                (each.at, each.over, value) for each in settings.climate if (value := getattr(each, name)) is not None
            ]
            for name in _LIMITS
        }
        """What the climate does to each quantity: when, over how many seconds, and to what."""
        self._told: dict[str, float] = {}
        """The values of the instant that was asked for last."""
        self._told_at = math.nan
        self._noise = {name: SmoothNoise(settings.seed, name, getattr(settings.noise, name, 0.0)) for name in _LIMITS}
        self.properties |= {"readings": self._readings}
        self.properties |= {name: partial(self._reading, name) for name in _LIMITS}
        self.properties |= {"dew_point": lambda: DeviceAnswer(f"OK {_dew_point(self._values())}")}
        self.properties |= {"climate": lambda: ok("manual" if self._overrides else "auto")}
        self.settable |= {name: partial(self._override, name) for name in _LIMITS}
        self.settable |= {"climate": self._auto}

    def _readings(self) -> DeviceAnswer:
        values = self._values()
        words = [f"{name}={_text(name, values[name])}" for name in _LIMITS]
        return DeviceAnswer(f"OK {' '.join(words)} dew_point={_dew_point(values)}")

    def _reading(self, name: str) -> DeviceAnswer:
        return DeviceAnswer(f"OK {_text(name, self._values()[name])}")  # a number is written as it is

    def _values(self) -> dict[str, float]:
        """Return all quantities as they are at this instant."""
        elapsed = self.device_clock.monotonic() - self._start
        if elapsed != self._told_at:
            self._told, self._told_at = {name: self._value_at(name, elapsed) for name in _LIMITS}, elapsed
        return self._told | self._overrides

    def _value_at(self, name: str, elapsed: float) -> float:
        """Return a quantity so many seconds after the start."""
        value = getattr(self._settings, name)
        for at, over, changed in self._changes[name]:
            if at <= elapsed:
                done = min(1.0, (elapsed - at) / over) if over else 1.0
                value = value + (changed - value) * (int(done) if name == "rain" else done)
        value += self._swing(name) + self._noise[name].at(elapsed)
        least, most = _LIMITS[name]
        return float(min(max(value, least), most))

    def _swing(self, name: str) -> float:
        """Return what the hour of the day adds."""
        if name not in ("temperature", "humidity"):
            return 0.0
        day = self._settings.day
        most = day.temperature if name == "temperature" else -day.humidity
        return most * math.cos(2 * math.pi * (self.clock.time() / 3600 - day.warmest) / 24)

    def _override(self, name: str, values: tuple[str, ...]) -> DeviceAnswer:
        if len(values) != 1:
            raise Refused("VALUE", f"{name} takes one value")
        if name == "rain":
            one_of(name, values, ["0", "1"])
        self._overrides[name] = number(name, values[0], *_LIMITS[name])
        return ok()

    def _auto(self, values: tuple[str, ...]) -> DeviceAnswer:
        one_of("climate", values, ["auto"])
        self._overrides.clear()
        return ok()


def _text(name: str, value: float) -> str:
    return f"{value:.{_DIGITS[name]}f}"


def _dew_point(values: dict[str, float]) -> str:
    """By the Magnus formula over water (WMO Guide to Instruments, CIMO 8, annex 4.B), degrees Celsius."""
    a, b = _MAGNUS
    temperature, humidity = values["temperature"], max(values["humidity"], 1.0)
    gamma = math.log(humidity / 100) + a * temperature / (b + temperature)
    return f"{b * gamma / (a - gamma):.1f}"
