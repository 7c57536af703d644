"""Noise with a memory: how a temperature or a wind wavers around its mean."""

from __future__ import annotations

import math
import random

_PERIODS = (1800.0, 300.0, 70.0)  # seconds of the waves that the wavering is made of
_SCALE = math.sqrt(len(_PERIODS) / 2)


class SmoothNoise:
    """A smooth random course of time, of this standard deviation, the same for the same seed and name.

    It depends on the time alone, so two clients that ask at once are told the same. It is the sum of three waves of
    equal weight with phases of their own; each wave has a variance of one half.
    """

    def __init__(self, seed: int, name: str, deviation: float) -> None:
        generator = random.Random(f"{seed} {name}")
        self._phases = [generator.uniform(0, 2 * math.pi) for _ in _PERIODS]
        self._deviation = deviation

    def at(self, elapsed: float) -> float:
        """Its value so many seconds after the start."""
        if not self._deviation:
            return 0.0
        turn, (one, two, three) = 2 * math.pi * elapsed, self._phases
        slow, middle, quick = _PERIODS
        wave = math.sin(turn / slow + one) + math.sin(turn / middle + two) + math.sin(turn / quick + three)
        return self._deviation * wave / _SCALE
