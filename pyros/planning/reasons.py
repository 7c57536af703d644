"""Why a request is in the plan, and why not: sentences for people, of what was computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

from pyros.angles import Floats
from pyros.messages import Observation
from pyros.planning.problem import Booleans, Problem, dark, in_windows
from pyros.planning.search import Line
from pyros.printable import clock_time

_Tell = Callable[[Booleans], str]
"""What to say of a wish, by the times at which all others before it are fulfilled."""
_MOST_NAMED = 3
"""How many requests are named that stand in another's way."""


def date(seconds: float) -> str:
    """Return the date, hour and minute (UTC) of Unix seconds."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def reason_never(request: Observation, begin: float, end: float) -> str:
    """Tell why a request can't be made between two times whatever the sky is like; '' when that isn't so."""
    if not request.remaining():
        return "all its images are taken"
    if request.expires is not None and request.expires < begin:
        return f"it had to begin by {date(request.expires)}"
    if request.not_before is not None and request.not_before >= end:
        return f"it waits until {date(request.not_before)}"
    if request.windows and not any(each.begin < end and each.end > begin for each in request.windows):
        ahead = [each.begin for each in request.windows if each.begin >= end]
        return f"its next window begins at {date(min(ahead))}" if ahead else "all its windows are over"
    return ""


def reason_planned(problem: Problem, row: int, airmass: float) -> str:
    """Tell why a line stands in the plan."""
    possible = np.flatnonzero(problem.value[row] > 0)
    first, last = (float(problem.sky.times[slot]) for slot in (possible[0], possible[-1]))
    span = f"it can begin from {clock_time(first)} to {clock_time(last)} UTC"
    best = float(problem.value[row].max())
    return f"airmass {airmass:.2f}, {span}, worth {best:.1f} at best"


def reason_refused(problem: Problem, row: int, lines: Sequence[Line], displaced: Floats) -> str:
    """Tell why a request isn't in the plan.

    ``displaced`` is the worth of the lines that it would displace by beginning with each slot.
    """
    value = problem.value[row]
    if (value > 0).any():
        return _outranked(problem, row, lines, displaced)
    sky, request = problem.sky, problem.requests[row]
    left = np.ones(len(sky.times), dtype=bool)
    for holds, tell in _conditions(problem, row):
        before, left = left, left & holds
        if not left.any():
            where = np.flatnonzero(before)
            span = (
                ""
                if before.all()
                else f"from {clock_time(sky.times[where[0]])} to {clock_time(sky.times[where[-1]])} UTC "
            )
            return span + tell(before)
    minutes = (float(problem.seconds[row]) + problem.slew) / 60
    begin, end = _longest(problem.allowed[row])
    if request.expires is not None and sky.times[begin] > request.expires:
        soonest = clock_time(sky.times[begin])
        return f"it had to begin by {clock_time(request.expires)} UTC, and can be observed from {soonest} on"
    longest = (sky.times[end] - sky.times[begin]) / 60
    span = f"from {clock_time(sky.times[begin])} to {clock_time(sky.times[end])} UTC"
    return f"it takes {minutes:.0f} min, and can be observed for {longest:.0f} min together at most, {span}"


def _conditions(problem: Problem, row: int) -> list[tuple[Booleans, _Tell]]:
    """Return when each of a request's wishes is fulfilled, and what to say where it never is."""
    sky, tracks, request = problem.sky, problem.tracks, problem.requests[row]
    constraints = request.constraints
    sine = tracks.sin_altitude[row]
    altitude = np.degrees(np.arcsin(np.clip(sine, -1, 1)))
    time = np.ones(len(sky.times), dtype=bool)
    if request.windows:
        time &= in_windows(request, sky)
    if request.not_before is not None:
        time &= sky.times >= request.not_before
    sun = min(sky.site.twilight, constraints.sun_altitude or 0.0)

    def at_best(before: Booleans) -> str:
        best = int(np.argmax(np.where(before, altitude, -np.inf)))
        return f"{altitude[best]:.0f}° at {clock_time(sky.times[best])} UTC"

    def too_low(before: Booleans) -> str:
        if altitude[before].max() < 0:
            return f"it is never up: at most {at_best(before)}"
        return f"it is too low: at most {at_best(before)}, its limit is {request.min_altitude:g}°"

    def behind(before: Booleans) -> str:
        return f"it is behind the site's horizon: at most {at_best(before)}"

    def too_thick(before: Booleans) -> str:
        least = float(tracks.airmass[row][before].min())
        return f"its airmass is {least:.2f} at least, its limit is {constraints.max_airmass:g}"

    def not_dark(before: Booleans) -> str:
        return (
            f"it isn't dark enough: the Sun is at {sky.sun_altitude[before].min():.0f}° at best, its limit is {sun:g}°"
        )

    def near_moon(before: Booleans) -> str:
        away = np.degrees(np.arccos(np.clip(tracks.cos_moon[row][before], -1, 1)))
        near, far = round(float(away.min())), round(float(away.max()))
        distance = f"{near}°" if near == far else f"{near}° to {far}°"
        return f"the Moon is {distance} away, its limit is {constraints.moon_distance:g}°"

    def bright_moon(before: Booleans) -> str:
        light = float(sky.moon_illumination[before].mean())
        return f"the Moon is up, {light:.0%} lit; its limit is {constraints.moon_illumination:.0%}"

    moon_up = sky.moon_altitude > 0
    return [
        (time, lambda _: "its time falls between two slots of the plan"),
        (dark(request, sky), not_dark),
        (sine >= math.sin(math.radians(request.min_altitude)), too_low),
        (tracks.above[row], behind),
        (tracks.airmass[row] <= (constraints.max_airmass or math.inf), too_thick),
        (~moon_up | (tracks.cos_moon[row] <= math.cos(math.radians(constraints.moon_distance))), near_moon),
        (~moon_up | (sky.moon_illumination <= constraints.moon_illumination), bright_moon),
    ]


def _longest(allowed: Booleans) -> tuple[int, int]:
    """Return the first and the last time of the longest unbroken run of allowed ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], allowed, [False]]).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2] - 1
    longest = int(np.argmax(ends - begins))
    return int(begins[longest]), int(ends[longest])


def _outranked(problem: Problem, row: int, lines: Sequence[Line], displaced: Floats) -> str:
    """Tell which lines stand where the request would cost the plan least, and what they are worth together."""
    value = problem.value[row]
    loss = np.where(value > 0, displaced - value, np.inf)
    slot = int(loss.argmin())
    end = slot + int(problem.length[row, slot])
    times = problem.sky.times
    span = f"{clock_time(times[slot])} to {clock_time(times[end])} UTC"
    others = [each for each in lines if each[1] < end and each[1] + problem.length[each] > slot]
    if not others:
        return f"from {span} the way of the telescope leaves no time for it"
    others.sort(key=lambda each: -problem.value[each])
    names = [f"{problem.requests[each].target} (priority {problem.requests[each].priority})" for each, _ in others]
    if len(names) > _MOST_NAMED:
        names[_MOST_NAMED - 1 :] = [f"{len(names) - _MOST_NAMED + 1} more"]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return (
        f"outranked by {listed}: where it would cost least, from {span}, they are worth {displaced[slot]:.1f},"
        f" it {value[slot]:.1f} (priority {problem.requests[row].priority})"
    )
