"""The set points of a ramp from one temperature of the detector to another, and when it has been reached.

A detector that is cooled or warmed fast may crack, or collect ice: makers of cameras advise some kelvins a minute. The
set point runs ahead of the detector by at most `MAX_LEAD_KELVIN`, so that a cooler that lags keeps the ramp, too.

    cooling   set point - ramp x time --> goal; cold when `STEADY_LOOKS` looks in a row are within `TOLERANCE_KELVIN`
    warming   set point + ramp x time, until the detector doesn't follow, the camera refuses, or it is at
              `WARMEST_CELSIUS`; then the cooler is switched off
"""

from __future__ import annotations

import msgspec

LOOK_SECONDS = 10.0
"""Time between two looks at the detector's temperature."""
TOLERANCE_KELVIN = 0.5
"""How near to the goal a temperature counts as reached."""
STEADY_LOOKS = 3
"""Looks in a row for which it must be that near."""
MAX_LEAD_KELVIN = 5.0
"""How far the set point of a ramp runs ahead of the detector."""
WARMEST_CELSIUS = 20.0
"""The set point at which a warm-up ends where nothing else ends it."""
_FOLLOWS_KELVIN = 3.0
_LEAST_POWER_PERCENT = 1.0


class Ramp(msgspec.Struct):
    """A detector on its way to a temperature."""

    goal: float | None
    """Degrees Celsius; None to warm up and switch the cooler off."""
    rate: float | None = None
    """Kelvins a minute; None for as fast as the cooler can."""
    set_point: float | None = None
    """The one that the camera has, degrees Celsius; None when the cooler is off, or before the first."""
    begun: bool = False
    """Whether the camera has taken the first one."""
    steady: int = 0
    """Looks in a row at which the goal was reached."""


def first(ramp: Ramp, temperature: float | None) -> float | None:
    """Return the set point to begin with, degrees Celsius; None to switch the cooler off.

    Without a known temperature there is no ramp.
    """
    if ramp.rate is None or temperature is None:
        return ramp.goal
    return _towards(ramp, temperature, temperature)


def following(ramp: Ramp, temperature: float | None, power: float | None = None) -> float | None:
    """Return the set point after another `LOOK_SECONDS` with this temperature and power of the cooler (percent)."""
    if ramp.rate is None or ramp.set_point is None or temperature is None:
        return first(ramp, temperature)
    if ramp.goal is None:
        idle = power is not None and power <= _LEAST_POWER_PERCENT and abs(temperature - ramp.set_point) < 1.0
        if ramp.set_point >= WARMEST_CELSIUS or ramp.set_point - temperature > _FOLLOWS_KELVIN or idle:
            return None
    return _towards(ramp, ramp.set_point, temperature)


def reached(ramp: Ramp, temperature: float | None) -> bool:
    """Whether the detector is at its goal, `STEADY_LOOKS` looks in a row; counts them in the ramp."""
    if ramp.goal is None:
        return ramp.begun and ramp.set_point is None
    near = temperature is not None and abs(temperature - ramp.goal) <= TOLERANCE_KELVIN
    ramp.steady = ramp.steady + 1 if near else 0
    return ramp.steady >= STEADY_LOOKS


def _towards(ramp: Ramp, set_point: float, temperature: float) -> float:
    assert ramp.rate is not None
    goal = WARMEST_CELSIUS if ramp.goal is None else ramp.goal
    way = ramp.rate * LOOK_SECONDS / 60
    if goal < set_point:
        return max(goal, min(set_point, max(set_point - way, temperature - max(way, MAX_LEAD_KELVIN))))
    return min(goal, max(set_point, min(set_point + way, temperature + max(way, MAX_LEAD_KELVIN))))
