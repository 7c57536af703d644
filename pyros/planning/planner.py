"""The night's plan: what is observed when, from now until the morning, and why the rest is not.

It is made in three steps. `problem` turns the requests into slots and worths; `search` looks for the plan of the
greatest worth and for the bound that no plan exceeds; then the plan's lines are taken in their order in continuous
time, with the true ways of the telescope in place of the mean one. A line that would thereby come too late for what it
asks of the sky is left out, which is said, and what still finds room comes in its place.

Bound and worth are of plans of slots, where each way of the telescope takes the mean time.

Plain Python without reactor, agent or clock; callable from any thread, and from a worker process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec
import numpy as np

from pyros.messages import Observation, Plan, PlannedObservation, RefusedRequest
from pyros.planning.beam import WIDTH, search_beam
from pyros.planning.cadence import next_due, occurrences
from pyros.planning.neighbourhood import Neighbourhood
from pyros.planning.night_sky import NightSky, night_of
from pyros.planning.orbits import place_of
from pyros.planning.problem import DEFAULT_OVERHEADS, Overheads, Problem, make_problem
from pyros.planning.reasons import date, reason_never, reason_planned, reason_refused
from pyros.planning.search import Line, Multipliers, by_worth, displaced, exchange, first_plan, insert, worth
from pyros.printable import clock_time
from pyros.site import Site

ROUNDS = 300
"""Rounds of the better plan."""
_FIRST_STEP = 60.0
"""Seconds of a slot of the first plan."""
_STEP = 30.0
"""Seconds of a slot of the better plan."""
_PLAN_EVERY = 3
"""Of so many rounds one makes a plan of its path: that takes longer than the round."""
_CHANGES = 2
"""Changes that the neighbourhood search tries for each round."""
_ROUNDS_A_BEGINNING = 10
"""Of so many rounds each has the beam search follow one beginning more, up to its `WIDTH`."""
_SOON = 1.0
"""Seconds from now in which a line begins now."""
_AS_GOOD = 0.99
"""Share of its worth for which an observation begins earlier rather than later, where the telescope waits."""


@dataclass(frozen=True, slots=True)
class Running:
    """What the telescope does now."""

    observation: Observation
    """With the images that it has ``taken`` so far."""
    end: float
    """When it ends, Unix seconds."""


def plan_night(
    requests: Sequence[Observation],
    site: Site,
    begin: float,
    *,
    end: float | None = None,
    running: Running | None = None,
    overheads: Overheads = DEFAULT_OVERHEADS,
    pointing: tuple[float, float] | None = None,
    rounds: int = 0,
    seconds: float = math.inf,
    reasons: bool = True,
) -> Plan:
    """Plan from ``begin`` (now, Unix seconds) until ``end``, by default the morning of the night that is or comes next.

    ``rounds`` is how much is done for it: 0 makes the first plan, by insertion, in some ten milliseconds and without a
    bound; `ROUNDS` the better one with its bound in about a second. The same arguments give the same plan, unless
    ``seconds`` of processor time of this thread, which are a limit besides, end it earlier.

    ``running`` is kept to its end unless a request of a higher priority is to begin now and makes the plan worth more:
    then ``start_now`` names that one, and what is left of the running one is planned like the others. It need not be
    among ``requests``. ``pointing`` is where the telescope points, ICRS degrees. Requests with a cadence are planned by
    their `occurrences`. ``reasons=False`` leaves the refusals out.

    Raises PlanningError for an orbit that cannot be computed or a span that is too long.
    """
    dusk, dawn = observing_span(site, begin)
    end = dawn if end is None else end
    start = begin if running else max(begin, min(dusk, end))
    wanted, refused = _sorted_out(requests, running, start, end)
    if end <= start:
        reason = f"no night comes within a day: the Sun doesn't sink below {site.twilight:g}°"
        refused += [RefusedRequest(each.id, reason, each.target) for each in wanted]
        return Plan(observations=(), refused=tuple(refused) if reasons else (), begin=start, end=start)
    step = _STEP if rounds else _FIRST_STEP
    sky = NightSky(site, start, max(end, start), step)
    slew = overheads.mean_slew_seconds([(each.ra, each.dec) for each in wanted])
    problem = make_problem(wanted, sky, overheads, slew)
    problem, lines, kept = _begin(problem, running)
    bound = None
    if rounds:
        lines, bound = _better(problem, lines, rounds, seconds)
        bound += kept.value if kept else 0.0
    planned, lines, late = _in_time(problem, lines, overheads, pointing, kept)
    if reasons:
        refused += _refusals(problem, lines, kept, late)
    first = planned[0] if planned else None
    return Plan(
        observations=tuple(planned),
        start_now=first.observation.id if first and (first.start or 0.0) <= begin + _SOON else None,
        refused=tuple(sorted(refused, key=lambda each: each.observation)) if reasons else (),
        begin=start,
        end=end,
        value=math.fsum(each.value for each in planned),
        bound=bound,
    )


def observing_span(site: Site, begin: float) -> tuple[float, float]:
    """Return from when until when can be observed in the night that is or comes next, from ``begin`` on; Unix seconds.

    Both are ``begin`` where no night comes within a day.
    """
    night = night_of(site, datetime.fromtimestamp(begin, UTC))
    return (max(begin, night[0].timestamp()), night[1].timestamp()) if night else (begin, begin)


def _sorted_out(
    requests: Sequence[Observation], running: Running | None, begin: float, end: float
) -> tuple[list[Observation], list[RefusedRequest]]:
    """Return what may be planned, each occurrence by itself, and what can't be, whatever the sky is like."""
    wanted: dict[str, Observation] = {}
    refused: list[RefusedRequest] = []
    for request in requests:
        each_time = occurrences(request, begin, end)
        if not each_time:
            due = next_due(request, begin)
            reason = f"it is due next at {date(due)}" if due is not None else "it has been due for the last time"
            refused.append(RefusedRequest(request.id, reason, request.target))
        for each in each_time:
            if running and each.id == running.observation.id:
                continue
            if reason := reason_never(each, begin, end):
                refused.append(RefusedRequest(each.id, reason, each.target))
            else:
                wanted[each.id] = each
    if running and running.observation.remaining():
        # It has begun: neither an expiry nor its first moment counts any more.
        wanted[running.observation.id] = msgspec.structs.replace(
            running.observation, expires=None, not_before=None, cadence=None
        )
    return [wanted[each] for each in sorted(wanted)], refused


def _begin(problem: Problem, running: Running | None) -> tuple[Problem, list[Line], PlannedObservation | None]:
    """Return the problem that is left beside what is kept running, its first plan, and what is kept."""
    if running is None:
        return problem, first_plan(problem), None
    mine = next((row for row, each in enumerate(problem.requests) if each.id == running.observation.id), None)
    times = problem.sky.times
    blocked = min(problem.slots, max(0, math.ceil((running.end - times[0]) / problem.sky.step)))
    value = problem.value.copy()
    value[:, :blocked] = 0.0
    if mine is not None:
        value[mine] = 0.0
    keeping = replace(problem, value=value)
    lines = first_plan(keeping)
    height = float(np.degrees(np.arcsin(problem.tracks.sin_altitude[mine, 0]))) if mine is not None else 0.0
    kept = PlannedObservation(
        observation=running.observation,
        altitude=height,
        reason=f"it runs until {clock_time(running.end)} UTC",
        start=float(times[0]),
        end=running.end,
        airmass=float(problem.tracks.airmass[mine, 0]) if mine is not None and height >= 0 else None,
        value=float(problem.value[mine].max(initial=0.0)) if mine is not None else 0.0,
    )
    if mine is None or not running.observation.interruptible:
        return keeping, lines, kept
    better = [
        row
        for row, each in enumerate(problem.requests)
        if each.priority > running.observation.priority and problem.value[row, 0] > 0
    ] if problem.slots else []  # fmt: skip
    if better:
        interrupting = first_plan(problem)
        at_once = [row for row, slot in interrupting if slot == 0]
        if at_once and at_once[0] in better and worth(problem, interrupting) > worth(keeping, lines) + kept.value:
            return problem, interrupting, None
    return keeping, lines, kept


def _better(problem: Problem, lines: list[Line], rounds: int, seconds: float) -> tuple[list[Line], float]:
    """Return the better plan and the bound."""
    limit = time.thread_time() + seconds
    multipliers = Multipliers(problem, lines)
    for number in range(rounds):
        if not multipliers.round(number % _PLAN_EVERY == 0) or time.thread_time() > limit:
            break
    beginnings = search_beam(multipliers, min(WIDTH, 1 + rounds // _ROUNDS_A_BEGINNING))
    neighbourhood = Neighbourhood(problem, beginnings, multipliers.prices, seed=0)
    enough = multipliers.bound * (1 - 1e-6)
    for _ in range(_CHANGES * rounds):
        if worth(problem, neighbourhood.lines) >= enough or time.thread_time() > limit:
            break
        neighbourhood.round()
    lines = exchange(problem, neighbourhood.lines)
    return lines, max(multipliers.bound, worth(problem, lines))


def _in_time(
    problem: Problem,
    lines: list[Line],
    overheads: Overheads,
    pointing: tuple[float, float] | None,
    kept: PlannedObservation | None,
) -> tuple[list[PlannedObservation], list[Line], set[int]]:
    """Return the plan in continuous time, its lines, and the rows of what would have come too late."""
    late: set[int] = set()
    while True:
        planned, dropped = _forward(problem, lines, overheads, pointing, kept)
        late |= {row for row, _ in dropped}
        lines = [each for each in lines if each not in dropped]
        more = insert(problem, [row for row in by_worth(problem) if row not in late], lines) if dropped else lines
        if len(more) == len(lines):
            return planned, lines, late
        lines = more


def _forward(
    problem: Problem,
    lines: list[Line],
    overheads: Overheads,
    pointing: tuple[float, float] | None,
    kept: PlannedObservation | None,
) -> tuple[list[PlannedObservation], list[Line]]:
    """Take the lines in their order in continuous time; return them, and those for which it becomes too late."""
    planned = [kept] if kept else []
    dropped: list[Line] = []
    sky = problem.sky
    now = kept.end if kept and kept.end is not None else float(sky.times[0])
    if kept:
        pointing = kept.observation.ra, kept.observation.dec
    for row, slot in lines:
        request = problem.requests[row]
        if request.orbit is not None:
            ra, dec = place_of(sky.site, request.orbit, datetime.fromtimestamp(float(sky.times[slot]), UTC))
            request = msgspec.structs.replace(request, ra=ra, dec=dec)
        place = request.ra, request.dec
        way = problem.slew if pointing is None else overheads.slew_seconds(pointing, place)
        start = _start(problem, row, slot, now, way, overheads)
        if start is None:
            dropped.append((row, slot))
            continue
        end = start + _duration(problem, row, start, way, overheads)
        middle = (start + end) / 2
        height = math.degrees(math.asin(np.interp(middle, sky.times, problem.tracks.sin_altitude[row])))
        airmass = float(np.interp(middle, sky.times, problem.tracks.airmass[row]))
        planned.append(
            PlannedObservation(
                observation=request,
                altitude=round(height, 3),
                reason=reason_planned(problem, row, airmass),
                start=start,
                end=end,
                airmass=round(airmass, 4),
                value=float(problem.value[row, slot]),
            )
        )
        now, pointing = end, place
    return planned, dropped


def _duration(problem: Problem, row: int, start: float, way: float, overheads: Overheads) -> float:
    """Return the seconds that an observation takes from when the telescope sets out, with a flip where it needs one."""
    length = float(problem.seconds[row]) + way
    if overheads.flip:
        east = problem.tracks.east[row]
        times = problem.sky.times
        before = int(np.searchsorted(times, start, side="right")) - 1
        after = min(int(np.searchsorted(times, start + length + overheads.flip)), len(times) - 1)
        if east[before] and not east[after]:
            length += overheads.flip
    return length


def _start(problem: Problem, row: int, slot: int, now: float, way: float, overheads: Overheads) -> float | None:
    """Return when the telescope sets out for a line: as early as is as good; None where it becomes too late."""
    sky, request = problem.sky, problem.requests[row]
    wanted = float(sky.times[slot])
    value = problem.value[row]
    first = max(0, math.floor((now - sky.begin) / sky.step + 1e-9))
    candidates = [now] if now >= wanted else [now, *(float(each) for each in sky.times[first + 1 : slot + 1])]
    for start in candidates:
        here = min(max(0, math.floor((start - sky.begin) / sky.step + 1e-9)), problem.slots - 1)
        if start < wanted and value[here] < _AS_GOOD * value[slot]:
            continue
        if _holds(problem, row, start, start + _duration(problem, row, start, way, overheads), request):
            return start
    return None


def _holds(problem: Problem, row: int, start: float, end: float, request: Observation) -> bool:
    """Tell whether what a request asks for holds at all times of the grid from before its start until after its end."""
    sky = problem.sky
    low = math.floor((start - sky.begin) / sky.step + 1e-9)
    high = math.ceil((end - sky.begin) / sky.step - 1e-9)
    if high >= len(sky.times) or not problem.allowed[row, low : high + 1].all():
        return False
    if request.expires is not None and start > request.expires:
        return False
    return not request.windows or any(each.begin <= start and end <= each.end for each in request.windows)


def _refusals(
    problem: Problem, lines: list[Line], kept: PlannedObservation | None, late: set[int]
) -> list[RefusedRequest]:
    """Return the requests that are in no line, and why; those of the rows ``late`` were dropped."""
    there = {row for row, _ in lines}
    lost = displaced(problem, lines)
    result = []
    for row, request in enumerate(problem.requests):
        if row in there or (kept and kept.observation.id == request.id):
            continue
        if row in late:
            reason = "the telescope's ways before it take so long that it would come too late"
        else:
            reason = reason_refused(problem, row, lines, lost[row])
        result.append(RefusedRequest(request.id, reason, request.target))
    return result
