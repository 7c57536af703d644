"""Monitoring: judges the weather, and says so at every reading; its silence is as good as bad weather."""

from __future__ import annotations

import msgspec

from pyros import messages
from pyros.agents.base import Agent
from pyros.config import WeatherLimits
from pyros.messages import Message, WeatherReading, WeatherState

WEATHER_SILENT = "Weather silent"
_SAFE_AFTER = 300.0


class MonitoringState(msgspec.Struct):
    """``safe`` is None until the first reading; ``good_since`` is when the readings became good again."""

    safe: bool | None = None
    good_since: float | None = None
    silence_timer: int | None = None


class MonitoringAgent(Agent):
    """Turns *Weather reading* into *Weather safe* and *Weather unsafe* for majordome and dome.

    ``option_safe_after`` in its section: seconds for which the readings must have been good before unsafe weather
    counts as safe again.
    """

    state: MonitoringState

    def __init__(self) -> None:
        super().__init__(Agent.MONITORING)
        self.actions_by_message |= {
            messages.WEATHER_READING: self.weather_reading,
            messages.ALERT_DECIDED: self.alert_decided,
            WEATHER_SILENT: self.weather_silent,
        }

    def work(self) -> None:
        """Until a reading has come, nothing is safe."""
        self._safe_after = self.option("safe_after", float, _SAFE_AFTER)
        self._expect_reading()

    def weather_reading(self, message: Message) -> None:
        reading: WeatherReading = message.payload
        self._expect_reading()
        bad = _too_much(reading, self.config.limits)
        if bad:
            self.state.good_since = None
            self._say(False, bad, reading)
            return
        now = self.clock.time()
        if self.state.good_since is None:
            self.state.good_since = now
        wait = self._safe_after - (now - self.state.good_since)
        if self.state.safe is False and wait > 0:
            self._say(False, f"good again, safe in {wait:.0f} s", reading)
        else:
            self._say(True, "all readings are within their limits", reading)

    def weather_silent(self) -> None:
        """The station says nothing."""
        self.state.silence_timer = None
        self.state.good_since = None
        self._say(False, f"no reading for {self.config.limits.max_silence:g} s", None)
        self._expect_reading()

    def alert_decided(self, message: Message) -> None:
        """Kept in the journal, for `pyros alert` and for people."""

    def _expect_reading(self) -> None:
        if self.state.silence_timer is not None:
            self.cancel_timer(self.state.silence_timer)
        self.state.silence_timer = self.call_later(self.config.limits.max_silence, WEATHER_SILENT)

    def _say(self, safe: bool, reason: str, reading: WeatherReading | None) -> None:
        """Every time: the dome's leave to be open ends with the silence."""
        name = messages.WEATHER_SAFE if safe else messages.WEATHER_UNSAFE
        state = WeatherState(reason=reason, reading=reading)
        self.send_if_there(self.DOME, name, state)
        self.send_if_there(self.MAJORDOME, name, state)
        if safe != self.state.safe:
            self.log.info("{name}: {reason}", name=name, reason=reason)
        self.state.safe = safe


def _too_much(reading: WeatherReading, limits: WeatherLimits) -> str:
    """What is above its limit, in words; '' when nothing is."""
    found = []
    if reading.rain:
        found.append("rain")
    if reading.wind > limits.max_wind:
        found.append(f"wind {reading.wind:.1f} m/s, the limit is {limits.max_wind:g}")
    if reading.humidity > limits.max_humidity:
        found.append(f"humidity {reading.humidity:.0f} %, the limit is {limits.max_humidity:g}")
    if reading.cloud > limits.max_cloud:
        found.append(f"cloud {reading.cloud:.2f}, the limit is {limits.max_cloud:g}")
    return ", ".join(found)
