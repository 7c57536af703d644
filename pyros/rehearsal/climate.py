"""The weather of a rehearsed night: rain, wind and damp that come and go, and readings that waver about a limit."""

from __future__ import annotations

import random

from pyros.rehearsal.script import Fault

_RAINY_NIGHTS = 0.3
_FLICKERING_NIGHTS = 0.5
_STORMY_NIGHTS = 0.2
_SMOKY_NIGHTS = 0.2
_LIMITS = {"humidity": 90.0, "wind": 15.0, "cloud": 0.8}  # about which the readings waver


def draw_weather(
    draw: random.Random, level: float, seconds: float, station: tuple[str, ...] = (), monitor: tuple[str, ...] = ()
) -> list[Fault]:
    """Draw a night's bad weather; ``level`` is the share of a heavy night's.

    ``station`` and ``monitor`` name the weather station and the safety monitor that notice it; () for all there are.
    """
    faults: list[Fault] = []
    if draw.random() < _RAINY_NIGHTS * min(1.0, 2 * level):
        showers = range(draw.randint(1, 3))
        faults += [
            _turn(draw, seconds, "weather", station, rain="1", humidity="97", length=(120, 7200)) for _ in showers
        ]
    if draw.random() < _STORMY_NIGHTS * level:
        faults.append(_turn(draw, seconds, "weather", station, wind=f"{draw.uniform(15.5, 30):.1f}", length=(60, 3600)))
    if draw.random() < _FLICKERING_NIGHTS * level:
        quantity = draw.choice(sorted(_LIMITS))
        limit = _LIMITS[quantity]
        values = {
            quantity: f"{limit * draw.uniform(0.9, 0.99):.2f}", "to": f"{limit * draw.uniform(1.01, 1.08):.2f}",
            "every": f"{draw.uniform(15, 600):.0f}",
        }  # fmt: skip
        faults.append(_turn(draw, seconds, "flicker", station, length=(600, 5400), **values))
    if draw.random() < _SMOKY_NIGHTS * level:
        faults.append(_turn(draw, seconds, "safety", monitor, length=(30, 1800)))
    return faults


def _turn(
    draw: random.Random,
    seconds: float,
    kind: str,
    names: tuple[str, ...],
    *,
    length: tuple[float, float],
    **values: str,
) -> Fault:
    lasts = f"{draw.uniform(*length):.1f}"
    return Fault(round(draw.uniform(0, seconds), 3), kind, names, values | {"for": lasts})
