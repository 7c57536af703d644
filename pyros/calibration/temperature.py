"""How the focus moves with the temperature, learnt from the focuses found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MAX_CURVES = 50
"""Focuses that are remembered: the last ones, for a telescope that is taken apart has another focus afterwards."""
LEAST_CURVES = 3
LEAST_RANGE_KELVIN = 2.0
"""Between the coldest and the warmest focus; less says nothing that the V-curves' own errors don't drown."""


def steps_per_kelvin(focuses: Sequence[tuple[float, float]]) -> float | None:
    """Return the slope of position (steps) over temperature (degrees Celsius), from at least three focuses found.

    The median of the slopes between every two focuses at least half a kelvin apart (Theil 1950, Sen 1968), which a
    third of wrong ones doesn't move. None where there are too few, or all at the same temperature.
    """
    if len(focuses) < LEAST_CURVES:
        return None
    celsius, steps = np.array(focuses, dtype=np.float64).T
    if np.ptp(celsius) < LEAST_RANGE_KELVIN:
        return None
    one, other = np.triu_indices(len(celsius), 1)
    apart = celsius[other] - celsius[one]
    far = np.abs(apart) >= 0.5
    return float(np.median((steps[other] - steps[one])[far] / apart[far]))
