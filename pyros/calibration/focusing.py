"""A focusing: a V-curve through each filter, the old focus kept until a new one is found."""

from __future__ import annotations

import msgspec

from pyros.calibration import vcurve
from pyros.calibration.vcurve import FoundFocus, VCurve
from pyros.messages import FocusPoint, FocusReached

SPAN = 0.75
"""Half-widths of the last hyperbola between two positions: seven of them reach out to 2.25, where stars are 2.5 times
as large as in focus."""
_PARTS_OF_WAY = 200


class Focusing(msgspec.Struct):
    """How far a focusing is."""

    filters: list[str]
    """Those whose focus is to be found yet, the present one first; '' where there is no filter."""
    step: int | None = None
    """Steps between two positions; None until the focuser has told its limits."""
    old: int | None = None
    """Where the focuser stood in its old focus for the present filter; None before it went there."""
    curve: VCurve | None = None
    """The V-curve of the present filter."""
    moves: list[int] = []
    """Positions that the focuser is to go to before the next image."""
    temperature: float | None = None
    """Of the focuser, degrees Celsius."""
    result: FocusReached | None = None
    """Of the present filter, while the focuser goes where it says."""
    reached: list[FocusReached] = []
    """Results of the filters before."""
    half_width: float | None = None
    """Of the last hyperbola, steps."""


def first_step(half_width: float | None, least: int, most: int) -> int:
    """Return the steps between two positions: by the last hyperbola, or a part of the focuser's way."""
    step = SPAN * half_width if half_width else (most - least) / _PARTS_OF_WAY
    return max(1, round(step))


def result(focusing: Focusing, end: vcurve.FoundFocus | vcurve.NotFound) -> FocusReached:
    """Return what is to be reported of the present filter."""
    assert focusing.curve is not None
    assert focusing.old is not None
    points = tuple(FocusPoint(each.position, each.radius, each.stars) for each in focusing.curve.points)
    reached = FocusReached(
        filter=focusing.filters[0], position=focusing.old, found=False, temperature=focusing.temperature, points=points
    )
    if not isinstance(end, FoundFocus):
        return msgspec.structs.replace(reached, reason=end.reason)
    _, error, radius, slope = end.curve
    focusing.half_width = radius / slope
    return msgspec.structs.replace(reached, position=end.position, found=True, radius=radius, error=error)
