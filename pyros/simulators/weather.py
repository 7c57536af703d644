"""A weather station: a climate with its wavering, a script of changes, and a human who may overrule both."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

from pyros.clock import Clock
from pyros.simulators.description import WeatherSettings
from pyros.simulators.device import Device, Refused, number, one_of
from pyros.simulators.grammar import Answer, ok

_LIMITS = {"temperature": (-90, 60), "humidity": (0, 100), "wind": (0, 100), "rain": (0, 1), "cloud": (0, 1)}
_DIGITS = {"temperature": 1, "humidity": 1, "wind": 1, "rain": 0, "cloud": 2}
_PERIODS = (1800.0, 300.0, 70.0)  # seconds of the waves that the wavering is made of


class Weather(Device):
    """State: ok. Its readings depend on the time alone, so two clients that ask at once are told the same."""

    def __init__(self, settings: WeatherSettings, clock: Clock, emit: Callable[[Answer], None]) -> None:
        super().__init__(settings, clock, emit)
        self._settings = settings
        self._start = self.pace.monotonic()
        self._overrides: dict[str, float] = {}
        generator = random.Random(settings.seed)
        self._phases = {name: [generator.uniform(0, 2 * math.pi) for _ in _PERIODS] for name in _LIMITS}
        self.properties |= {"readings": self._readings}
        self.properties |= {name: partial(self._reading, name) for name in _LIMITS}
        self.properties |= {"climate": lambda: ok("manual" if self._overrides else "auto")}
        self.settable |= {name: partial(self._override, name) for name in _LIMITS}
        self.settable |= {"climate": self._auto}

    def _readings(self) -> Answer:
        return ok(**{name: self._text(name) for name in _LIMITS})

    def _reading(self, name: str) -> Answer:
        return ok(self._text(name))

    def _text(self, name: str) -> str:
        return f"{self._value(name):.{_DIGITS[name]}f}"

    def _value(self, name: str) -> float:
        if name in self._overrides:
            return self._overrides[name]
        elapsed = self.pace.monotonic() - self._start
        value = getattr(self._settings, name)
        for change in self._settings.climate:
            if change.at <= elapsed and (changed := getattr(change, name)) is not None:
                value = changed
        # Three waves of equal weight: each has a variance of one half.
        waves = zip(_PERIODS, self._phases[name], strict=True)
        wave = sum(math.sin(2 * math.pi * elapsed / period + phase) for period, phase in waves)
        value += getattr(self._settings.noise, name, 0.0) * wave / math.sqrt(len(_PERIODS) / 2)
        least, most = _LIMITS[name]
        return float(min(max(value, least), most))

    def _override(self, name: str, values: tuple[str, ...]) -> Answer:
        if len(values) != 1:
            raise Refused("VALUE", f"{name} takes one value")
        if name == "rain":
            one_of(name, values, ["0", "1"])
        self._overrides[name] = number(name, values[0], *_LIMITS[name])
        return ok()

    def _auto(self, values: tuple[str, ...]) -> Answer:
        one_of("climate", values, ["auto"])
        self._overrides.clear()
        return ok()
