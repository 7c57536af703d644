"""The V-curve: at which positions the stars are measured, what follows from their sizes, and when to give up.

Every position is approached from below, so that the play of the screw is always on the same side: before the first of a
series and before the focus itself the focuser goes one step farther down than it must.

    first     7 positions, a step apart, about the one where the focus is expected
    extend    while the vertex is not between the third and the third last position (or there is no vertex, and the
    smallest
              stars are at an edge), more positions beyond that edge
    widen     where the stars at the edges are less than `LEAST_CONTRAST` times as large as at the vertex, positions
    at twice
              the distance on both sides
    refine    positions in the window about the vertex, where the error of the vertex is too large still
    confirm   an image in the focus found: its stars must be as small as the curve says

The curve is fitted again to the points within `WINDOW` half-widths of the vertex: far outside, real stars are no
hyperbola. At most `MAX_POINTS` positions are measured; one with too few stars is measured twice at most, and left out
then.
"""

from __future__ import annotations

import math

import msgspec

from pyros.calibration import hyperbola
from pyros.calibration.hyperbola import LEAST_POINTS, Hyperbola

FIRST_POINTS = 7
EXTENSION = 3
"""Positions that are measured beyond an edge at once."""
MAX_POINTS = 24
LEAST_STARS = 5
"""Stars that an image must have for its point to count."""
LEAST_CONTRAST = 1.7
"""How many times as large as in focus the stars at both edges must be."""
WINDOW = 4.0
"""Half-widths of the hyperbola on each side of the vertex within which points count in the second fit."""
WANTED_ERROR = 0.015
"""Share of the hyperbola's half-width that the standard error of the vertex should be: three times that is 5 % of the
critical focus zone, in which stars are larger by at most a tenth (2 x 0.458 half-widths)."""
MAX_ERROR = 0.025
"""The same where `MAX_POINTS` are not enough for that; a vertex that is known worse is not the focus."""
CONFIRMED = 1.25
"""How many times as large as in the vertex of the curve the stars of the last image may be."""


class VCurvePoint(msgspec.Struct, frozen=True):
    """The size of the stars at one position."""

    position: int
    """Steps."""
    stars: int
    """Stars that were measured."""
    radius: float = 0.0
    """Median half-flux radius, pixels."""
    error: float = 0.0
    """Standard error of that median, pixels."""
    path: str = ""
    """The image."""


class VCurve(msgspec.Struct):
    """A V-curve in the making."""

    expected: int
    """Where the focus is expected, steps."""
    step: int
    """Between two positions, steps."""
    least: int
    """The lowest position that the focuser can reach."""
    most: int
    """The highest one."""
    points: list[VCurvePoint] = []
    """What was measured, in the order of time."""
    waiting: list[int] = []
    """Positions to be measured yet, upwards."""
    again: bool = False
    """Whether the next position is measured a second time."""
    extensions: int = 0
    """How often the curve was extended, widened or refined."""
    focus: int | None = None
    """The focus found, which an image must confirm."""
    here: int | None = None
    """Where the focuser was sent last; None at the beginning."""


class Move(msgspec.Struct, frozen=True):
    """The focuser is to go to these positions, one after the other; an image is to be taken at the last."""

    positions: tuple[int, ...]


class FoundFocus(msgspec.Struct, frozen=True):
    """The focus was found, and confirmed by an image; the focuser stands there."""

    position: int
    curve: tuple[float, float, float, float]
    """Vertex and its error (steps), radius (pixels), slope (pixels a step)."""


class NotFound(msgspec.Struct, frozen=True):
    """The focus was not found."""

    reason: str


Next = Move | FoundFocus | NotFound


def begin(expected: int, step: int, least: int, most: int) -> VCurve:
    """Begin a curve about the position where the focus is expected, within what the focuser can reach."""
    step = max(1, step)
    curve = VCurve(expected, step, least, most)
    below = FIRST_POINTS // 2
    start = min(max(expected - below * step, least + step), most - (FIRST_POINTS - 1) * step)
    curve.waiting = _reachable(curve, [start + number * step for number in range(FIRST_POINTS)])
    return curve


def add(curve: VCurve, point: VCurvePoint) -> None:
    """Add what an image at the last position has shown."""
    if curve.focus is None and point.stars < LEAST_STARS and not curve.again:
        curve.again = True  # a cloud may pass
        return
    curve.again = False
    curve.points.append(point)
    if curve.focus is None:
        curve.waiting.remove(point.position)


def following(curve: VCurve) -> Next:
    """Return what is to be done next."""
    if curve.again:
        return Move(())
    if curve.focus is not None and curve.points[-1].position == curve.focus == curve.here:
        return _judged(curve)
    if not curve.waiting and (problem := _plan(curve)):
        return NotFound(problem)
    return _move(curve, curve.waiting[0] if curve.focus is None else curve.focus)


def fitted(curve: VCurve) -> Hyperbola | None:
    """Fit the points measured so far, and once more those in a window about the vertex."""
    good = [each for each in curve.points if each.stars >= LEAST_STARS]
    first = _fit(good)
    if first is None:
        return None
    near = [each for each in good if abs(each.position - first.vertex) <= WINDOW * first.width]
    return (_fit(near) if len(near) >= LEAST_POINTS else None) or first


def _fit(points: list[VCurvePoint]) -> Hyperbola | None:
    return hyperbola.fit(
        [each.position for each in points], [each.radius for each in points], [each.error for each in points]
    )


def _plan(curve: VCurve) -> str:
    """Choose what to measure next, or the focus; returns why neither is possible."""
    good = sorted((each for each in curve.points if each.stars >= LEAST_STARS), key=lambda each: each.position)
    room = MAX_POINTS - len(curve.points)
    if len(good) < LEAST_POINTS and (room <= 0 or len(curve.points) >= 2 * FIRST_POINTS):
        return f"only {len(good)} of {len(curve.points)} images show {LEAST_STARS} stars or more"
    fit = fitted(curve)
    more = _wanted(curve, good, fit)
    if fit is not None and not more:
        return _chosen(curve, good, fit)
    curve.waiting = _reachable(curve, more)[: max(0, room)]
    curve.extensions += 1
    if curve.waiting:
        return ""
    short = f"no clear minimum within {MAX_POINTS} positions"
    return short if room <= 0 else "the stars get smaller up to the end of the focuser's way"


def _chosen(curve: VCurve, good: list[VCurvePoint], fit: Hyperbola) -> str:
    """Take the vertex for the focus; returns why it cannot be believed."""
    if not good[0].position < fit.vertex < good[-1].position:
        return f"the vertex at {fit.vertex:.0f} is not among the positions measured"
    if fit.error > MAX_ERROR * fit.width:
        return f"the vertex is not known better than to {fit.error:.0f} steps"
    curve.focus = min(max(round(fit.vertex), curve.least), curve.most)
    return ""


def _wanted(curve: VCurve, good: list[VCurvePoint], fit: Hyperbola | None) -> list[int]:
    """Return the positions that are wanting for a curve that can be believed; none when nothing is."""
    if len(good) < LEAST_POINTS:
        return [each.position + curve.step // 2 for each in curve.points]
    low, high, step = good[0].position, good[-1].position, curve.step
    if fit is None:
        smallest = min(good, key=lambda each: each.radius)
        stride = step * 2 ** min(curve.extensions, 5)
        down = good.index(smallest) < len(good) / 2
        return _beyond(low, -stride, EXTENSION) if down else _beyond(high, stride, EXTENSION)
    below, above = low + 2 * step - fit.vertex, fit.vertex - high + 2 * step
    if below > 0 or above > 0:
        return _beyond(low, *_strides(below, -step)) if below > 0 else _beyond(high, *_strides(above, step))
    if min(fit.at(low), fit.at(high)) < LEAST_CONTRAST * fit.radius:
        far = 1.2 * math.sqrt(LEAST_CONTRAST**2 - 1) * fit.width
        return [each for each in (round(fit.vertex - far), round(fit.vertex + far)) if not low <= each <= high]
    if fit.error > WANTED_ERROR * fit.width and len(curve.points) < MAX_POINTS:
        turn = 0.25 * (curve.extensions % 3)
        return [round(fit.vertex + way * fit.width) for way in (turn - 2.25, turn - 1.5, 1.5 - turn, 2.25 - turn)]
    return []


def _beyond(edge: int, step: int, count: int) -> list[int]:
    return sorted(edge + step * (number + 1) for number in range(count))


def _strides(way: float, step: int) -> tuple[int, int]:
    """Return the stride that covers a way in at most 6 positions, and their number."""
    stride = max(abs(step), math.ceil(way / 6))
    return int(math.copysign(stride, step)), max(1, math.ceil(way / stride))


def _reachable(curve: VCurve, positions: list[int]) -> list[int]:
    """Return the positions that the focuser can reach from below."""
    return sorted({each for each in positions if curve.least + curve.step <= each <= curve.most})


def _move(curve: VCurve, position: int) -> Move:
    """Approach a position from below."""
    before = curve.here
    curve.here = position
    if before is not None and before <= position:
        return Move((position,) if before < position else ())
    return Move((max(curve.least, position - curve.step), position))


def _judged(curve: VCurve) -> Next:
    """Judge the image that was taken in the focus found."""
    fit, last = fitted(VCurve(curve.expected, curve.step, curve.least, curve.most, curve.points[:-1])), curve.points[-1]
    assert fit is not None
    assert curve.focus is not None
    if last.stars < LEAST_STARS:
        return NotFound("the image in the focus found shows no stars")
    if last.radius > CONFIRMED * fit.radius:
        return NotFound(
            f"the stars in the focus found have a radius of {last.radius:.2f} pixels, the curve says {fit.radius:.2f}"
        )
    return FoundFocus(curve.focus, (fit.vertex, fit.error, fit.radius, fit.slope))
