"""How the focus moves with the temperature, learnt from the focuses found, and when it is time to focus again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MAX_CURVES = 50
"""Focuses that are remembered: the last ones, for a telescope that is taken apart has another focus afterwards."""
LEAST_CURVES = 3
LEAST_RANGE_KELVIN = 2.0
"""Between the coldest and the warmest focus; less says nothing that the V-curves' own errors don't drown."""

AGAIN_KELVIN = 1.5
"""Change of the temperature after which the focus is looked for again, where steps for each kelvin aren't known."""
AGAIN_HOURS = 2.0
AGAIN_WIDTH = 0.46
"""Half-widths of the hyperbola by which the focus may move: beyond, stars are larger by a tenth."""
AGAIN_FWHM = 1.2
"""How many times as large as after the last focusing stars may be."""


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


def reason_to_focus(
    *, hours: float | None, kelvin: float | None, fwhm: float | None, per_kelvin: float | None = None,
    half_width: float | None = None,
) -> str:  # fmt: skip
    """Why the focus is to be looked for again; '' when it isn't.

    ``hours`` since the last focusing (None: never), ``kelvin`` that it is warmer since then, ``fwhm`` of the last
    image as a multiple of that after the focusing; None for what isn't known. ``per_kelvin`` (steps) and
    ``half_width`` of the hyperbola (steps) say how much the temperature matters.
    """
    if hours is None:
        return "it was not focused yet"
    if hours >= AGAIN_HOURS:
        return f"it was focused {hours:.1f} h ago"
    limit = AGAIN_KELVIN
    if per_kelvin and half_width:
        limit = max(0.5, AGAIN_WIDTH * half_width / abs(per_kelvin))
    if kelvin is not None and abs(kelvin) >= limit:
        return f"the temperature has changed by {kelvin:+.1f} K"
    if fwhm is not None and fwhm >= AGAIN_FWHM:
        return f"stars are {fwhm:.1f} times as large as after the last focusing"
    return ""
