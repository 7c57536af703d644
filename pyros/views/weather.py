"""The weather: the last reading with its limits, what the safety table makes of it, and the last hours' curves."""

from __future__ import annotations

import msgspec

from pyros.config import WeatherLimits
from pyros.messages import PowerReading, WeatherReading
from pyros.nights import weather_log
from pyros.nights.weather_log import WeatherRow
from pyros.views.observed import Observed
from pyros.views.states import Monitoring

_HOURS = 12.0
_MOST_HOURS = 24.0 * 40
_POINTS = 300


class Quantity(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the station measures."""

    name: str
    """As in `WeatherReading`."""
    value: float | None
    """None where the station doesn't measure it."""
    unit: str
    """For people."""
    limit: float | None = None
    """Beyond this it is unsafe; None for what has no limit."""
    safe_again: float | None = None
    """At this it is safe again."""
    bad: bool = False
    """Whether it is beyond its limit."""


class RuleState(msgspec.Struct, frozen=True):
    """A rule of the safety table that keeps it unsafe."""

    name: str
    """The rule's."""
    reason: str
    """Why, in words."""
    good_in: float | None
    """Seconds until it is satisfied if all stays good; None while it is broken."""


class WeatherView(msgspec.Struct, frozen=True, kw_only=True):
    """The weather now."""

    now: float
    """The observatory's time, Unix seconds."""
    time: float | None = None
    """When the last reading that the journal has was taken, Unix seconds: up to half a minute behind."""
    rain: bool | None = None
    """Whether it rains; None where nobody knows."""
    quantities: tuple[Quantity, ...] = ()
    """What the station measures."""
    rules: tuple[RuleState, ...] = ()
    """What keeps it unsafe."""
    power: PowerReading | None = None
    """The UPS's word; None without one."""
    trend: tuple[WeatherRow, ...] = ()
    """The curves, oldest first."""
    unit: str = ""
    """Of several telescopes, the unit of the one that hears it."""


_UNITS = {
    "temperature": "°C", "humidity": "%", "wind": "m/s", "gust": "m/s", "cloud": "", "pressure": "hPa",
    "dew_point": "°C", "sky_brightness": "mag/arcsec²",
}  # fmt: skip


def weather(observed: Observed, hours: float = _HOURS, trend: bool = True, unit: str = "") -> WeatherView:
    """Return the weather, with the curves of the last ``hours``, 40 days at most.

    ``unit``: of several telescopes the one that hears it, as `Observed.telescope` names it. Raises ValueError for other
    hours, and for a unit without a telescope.
    """
    observed = observed.telescope(unit)
    if not 0 < hours <= _MOST_HOURS:
        raise ValueError(f"hours: {hours:g} is not above 0 and up to {_MOST_HOURS:g}")
    now = observed.time()
    monitoring = observed.state("monitoring", Monitoring)
    told = monitoring.telemetry.get("weather")
    rows: list[WeatherRow] = []
    if trend:
        with observed.journal("monitoring") as journal:
            rows = weather_log.read(journal, now - hours * 3600, now + 60, _POINTS) if journal is not None else []
    steady = observed.clock.monotonic()
    rules = tuple(
        RuleState(
            name, rule.reason, None if rule.good_since is None else max(0.0, rule.quiet - steady + rule.good_since)
        )
        for name, rule in monitoring.broken.items()
    )
    reading = monitoring.last
    return WeatherView(
        now=now, unit=observed.config.unit,
        time=told.time if told is not None else None, rain=reading.rain if reading is not None else None,
        quantities=_quantities(reading, observed.config.limits) if reading is not None else (),
        rules=rules, power=monitoring.power.reading if monitoring.power is not None else None, trend=tuple(rows),
    )  # fmt: skip


def _quantities(reading: WeatherReading, limits: WeatherLimits) -> tuple[Quantity, ...]:
    bounds = {
        "wind": (limits.max_wind, limits.safe_wind), "gust": (limits.max_gust, limits.safe_gust),
        "humidity": (limits.max_humidity, limits.safe_humidity), "cloud": (limits.max_cloud, limits.safe_cloud),
    }  # fmt: skip
    found = []
    for name, unit in _UNITS.items():
        value = getattr(reading, name)
        limit, again = bounds.get(name, (None, None))
        bad = value is not None and limit is not None and value > limit
        found.append(Quantity(name=name, value=value, unit=unit, limit=limit, safe_again=again, bad=bad))
    if reading.temperature is not None and reading.dew_point is not None:
        spread = reading.temperature - reading.dew_point
        found.append(Quantity(name="spread", value=spread, unit="K", limit=limits.min_spread,
                              safe_again=limits.safe_spread, bad=spread < limits.min_spread))  # fmt: skip
    return tuple(found)
