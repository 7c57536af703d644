"""The scheduler's plan of the night: made at once when something changes, then followed while nothing does.

A plan of the whole night takes tens of milliseconds, and the better one a second in a worker process. Between changes
neither is made: the telescope goes on with the plan that is there, whose next line begins when the one before it has
ended. What an alert asks for does not wait for a place in a plan: while it is up it supersedes whatever runs with a
lower priority, and the rest is planned around it. Plain Python: a unit test calls it directly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from pyros.messages import Exposures, Observation, Plan, PlannedObservation
from pyros.planning import make_plan
from pyros.planning.improvement import ImprovementJob
from pyros.planning.night_sky import NightSky
from pyros.planning.planner import Running, observing_span, plan_night
from pyros.planning.problem import DEFAULT_OVERHEADS, Overheads, make_problem
from pyros.printable import clock_time
from pyros.site import Site

_GAP_SECONDS = 120.0
"""The next line begins at once when the plan leaves no longer gap before it."""
_SLACK_SECONDS = 60.0
"""Of a plan that is late, a line that would begin, or end, so shortly before it must is not left until then."""
_LATE_SECONDS = 900.0
"""A plan whose next line should have begun so long ago is of no use any more."""
_LONG_SECONDS = 3600.0
"""Observations that take longer are cut to what fits into the night."""
_CUT_STEP = 300.0
_LEAST_SECONDS = 30.0
"""How much longer an observation is taken to run that should have ended already."""


class NightPlanner:
    """Plans of one observatory's nights, one after the other."""

    def __init__(self, site: Site, overheads: Overheads = DEFAULT_OVERHEADS) -> None:
        self.site, self.overheads = site, overheads
        self.pointing: tuple[float, float] | None = None
        """Where the telescope was sent last, ICRS degrees."""
        self._kept: Plan | None = None
        self._known: frozenset[str] = frozenset()
        """The ids of what that plan was made of."""
        self._asked: frozenset[str] = frozenset()
        """The ids of what the better plan is made of."""
        self._parts: dict[str, tuple[Observation, float, Observation]] = {}
        """Of long requests, by their ids: the whole one, when it was cut, the part."""

    def begin_night(self) -> None:
        """Note that the telescope was parked since it was sent somewhere last."""
        self.pointing = None

    def forget(self) -> None:
        """Follow the last plan no longer: what it was made of has changed."""
        self._kept = None

    def take(self, plan: Plan) -> None:
        """Follow a better plan, which was made of what is wanted still."""
        self._kept, self._known = plan, self._known | self._asked

    def plan(self, requests: Mapping[str, Observation], running: Running | None, when: datetime) -> Plan:
        """Return the plan from now on: ``start_now`` is what the telescope is to do.

        ``requests`` (by their ids, without cadences) are all that may be made, the ``running`` one among them.
        ``observations`` are those that are planned by their start, then what has to wait and somebody waits for: what
        alerts ask for, and a running observation that cannot go on.
        """
        now = when.timestamp()
        current, over = self._going_on(running, when)
        told = self._told(requests, current, when)
        urgent = self._urgent(requests, told, current, when)
        begun = urgent is not None and self._kept is not None and self._kept.start_now == urgent.id
        plan = self._follow(requests, current, when) if begun or urgent is None else None
        if plan is None or (urgent is not None and plan.start_now != urgent.id):
            plan = self._new(requests, current, urgent, now)
            self._known = frozenset(requests)
        self._kept = plan
        return _with_those_that_wait(plan, requests, told, over)

    def at_once(self, requests: Mapping[str, Observation], running: str | None, when: datetime) -> Plan | None:
        """Return a plan of what alerts ask for alone, in a millisecond, where one of them runs or is to begin now.

        None where none does, where there is a plan to follow, or where that depends on the plan of the whole night,
        since something of a higher priority is wanted. The plan of the whole night is to be made soon afterwards.
        """
        if self._kept is not None:
            return None
        current = None
        if running is not None and running in requests:
            current, _ = self._going_on(Running(requests[running], when.timestamp()), when)
        told = self._told(requests, current, when)
        urgent = self._urgent(requests, told, current, when)
        goes_on = current is not None and told.start_now == current.observation.id
        if urgent is None and not goes_on:
            return None
        others = (each.priority for each in requests.values() if not each.alert)
        if current is None and urgent is not None and max(others, default=urgent.priority) > urgent.priority:
            return None
        return told

    def _going_on(self, running: Running | None, when: datetime) -> tuple[Running | None, PlannedObservation | None]:
        """Return what runs, if it can go on; else the words of why it can't."""
        if running is None:
            return None, None
        line = make_plan([running.observation], self.site, when, running.observation.id)
        return (running, None) if line.start_now is not None else (None, line.observations[0])

    def _told(self, requests: Mapping[str, Observation], current: Running | None, when: datetime) -> Plan:
        alerts = [each for each in requests.values() if each.alert]
        return make_plan(alerts, self.site, when, current.observation.id if current else None)

    def job(
        self, requests: Mapping[str, Observation], running: Running | None, now: float, rounds: int,
        seconds: float | None,
    ) -> ImprovementJob:  # fmt: skip
        """Return what a worker needs to make the better plan; what is to start now is taken to run already."""
        plan = self._kept
        if running is None and plan is not None and plan.start_now is not None:
            line = plan.observations[0]
            running = Running(line.observation, line.end or now)
        wanted = tuple(self._cut(requests.values(), _free(running, now)))
        self._asked = frozenset(requests)
        return ImprovementJob(wanted, self.site, now, running, self.pointing, rounds, seconds)

    def running(self, observation: Observation, began: float, now: float) -> Running:
        """Return what runs with the end that is to be expected of it."""
        end = began + self.overheads.settle + self.overheads.observation_seconds(observation)
        if end - began > _LONG_SECONDS:
            part = self._part(observation, now)
            end = min(end, now + self.overheads.settle + self.overheads.observation_seconds(part))
        return Running(observation, max(end, now + _LEAST_SECONDS))

    def _urgent(
        self, requests: Mapping[str, Observation], told: Plan, current: Running | None, when: datetime
    ) -> Observation | None:
        """Return the alert's request that is to be begun now, whatever the plan says; None for none."""
        wanted = requests.get(told.start_now or "")
        if wanted is None or (current is not None and wanted.id == current.observation.id):
            return None
        if current is None:
            return wanted
        may = current.observation.interruptible and wanted.priority > current.observation.priority
        return wanted if may and self._has_time(wanted, when) else None

    def _has_time(self, wanted: Observation, when: datetime) -> bool:
        """Tell whether one image can be taken before night or horizon end it: else nothing is interrupted for it."""
        seconds = self.overheads.settle + next((each.seconds for each in wanted.remaining()), 0.0)
        return make_plan([wanted], self.site, when + timedelta(seconds=seconds), wanted.id).start_now is not None

    def _new(
        self, requests: Mapping[str, Observation], current: Running | None, urgent: Observation | None, now: float
    ) -> Plan:
        if urgent is not None:
            more = max((each.priority for each in requests.values() if not each.alert), default=urgent.priority)
            if current is None and more > urgent.priority:
                plan = self._whole(self._cut(requests.values(), now), None, now)
                first = requests.get(plan.start_now or "")
                if first is not None and first.priority > urgent.priority:
                    return plan
            current = self.running(urgent, now, now)
        return self._whole(self._cut(requests.values(), _free(current, now)), current, now)

    def _whole(self, wanted: list[Observation], running: Running | None, now: float) -> Plan:
        return plan_night(wanted, self.site, now, running=running, overheads=self.overheads, pointing=self.pointing)

    def _follow(self, requests: Mapping[str, Observation], current: Running | None, when: datetime) -> Plan | None:
        """Return the rest of the plan that is there, with its next line moved to where it begins; None without one."""
        plan = self._kept
        if plan is None or (plan.end or 0.0) <= when.timestamp() or not requests.keys() <= self._known:
            return None
        lines = [each for each in plan.observations if each.observation.id in requests]
        if current is None:
            return self._next(plan, lines, requests, when)
        mine = _named(lines, current.observation.id)
        if mine is None:
            return None
        mine = msgspec.structs.replace(mine, observation=current.observation, end=current.end)
        rest = [each for each in lines if each.observation.id != current.observation.id]
        return _rest(plan, [mine, *rest], mine)

    def _next(
        self, plan: Plan, lines: list[PlannedObservation], requests: Mapping[str, Observation], when: datetime
    ) -> Plan | None:
        """Return the rest of a plan where nothing runs: its next line begins when its time has come, or is free."""
        now = when.timestamp()
        if not lines:
            tried = now - (plan.begin or now) < _LATE_SECONDS
            return _rest(plan, lines, None) if tried or not requests else None
        first = lines[0]
        start = first.start or now
        if start < now - _LATE_SECONDS:
            return None
        before = [each.end or now for each in plan.observations if (each.start or 0.0) < start]
        gap = start - max(before, default=plan.begin or now)
        if start > now + 1.0 and (gap > _GAP_SECONDS or (plan.begin or 0.0) > now):
            return _rest(plan, lines, None)
        if not _may_begin(requests[first.observation.id], self.site, when):
            return None
        moved = msgspec.structs.replace(first, start=now, end=now + (first.end or now) - start)
        if now > start and _comes_too_late([moved, *lines[1:]]):
            return None
        return _rest(plan, [moved, *lines[1:]], moved)

    def _cut(self, requests: Iterable[Observation], free: float) -> list[Observation]:
        """Return the requests, those that are too long for this night cut to what of them fits in.

        ``free`` is when the telescope is (Unix seconds). They go on with their next image in another night.
        """
        wanted = list(requests)
        long = [
            each for each in wanted if each.interruptible and self.overheads.observation_seconds(each) > _LONG_SECONDS
        ]
        parts = {each.id: self._part(each, free) for each in long}
        return [parts.get(each.id, each) for each in wanted]

    def _part(self, request: Observation, now: float) -> Observation:
        known = self._parts.get(request.id)
        if known is not None and known[0] == request and 0 <= now - known[1] < _CUT_STEP:  # it has that room
            return known[2]
        part = _part_of_night(request, self.site, now, self.overheads)
        self._parts[request.id] = (request, now, part)
        while len(self._parts) > 1000:
            del self._parts[next(iter(self._parts))]
        return part


def restored(plan: Plan, requests: Mapping[str, Observation]) -> Plan:
    """Return a plan whose lines have their whole exposures, where they were cut for the night."""
    lines = tuple(
        msgspec.structs.replace(
            line, observation=msgspec.structs.replace(line.observation, exposures=whole.exposures, taken=whole.taken)
        )
        if (whole := requests.get(line.observation.id)) is not None and whole.exposures != line.observation.exposures
        else line
        for line in plan.observations
    )
    return msgspec.structs.replace(plan, observations=lines)


def _rest(plan: Plan, lines: list[PlannedObservation], first: PlannedObservation | None) -> Plan:
    """Return what is left of a plan; its bound was of the whole."""
    start_now = first.observation.id if first is not None else None
    value = math.fsum(each.value for each in lines)
    return msgspec.structs.replace(plan, observations=tuple(lines), start_now=start_now, value=value, bound=None)


def _free(running: Running | None, now: float) -> float:
    """Return when the telescope is free, Unix seconds."""
    return now if running is None else max(now, running.end)


def _named(lines: Iterable[PlannedObservation], id_: str) -> PlannedObservation | None:
    return next((each for each in lines if each.observation.id == id_), None)


def _may_begin(request: Observation, site: Site, when: datetime) -> bool:
    """Tell whether a request is up now, in the night, and within its windows."""
    now = when.timestamp()
    if request.windows and not any(each.begin <= now <= each.end for each in request.windows):
        return False
    return make_plan([request], site, when).start_now is not None


def _comes_too_late(lines: Iterable[PlannedObservation]) -> bool:
    """Tell whether a line would begin too late, or end outside of its windows, if each begins after those before it.

    What ran longer than was planned may have used up the time of a line that was planned for its last moment.
    """
    free = -math.inf
    for line in lines:
        start, end = line.start or 0.0, line.end or 0.0
        free = max(free, start)
        request = line.observation
        if request.expires is not None and free + _SLACK_SECONDS > request.expires:
            return True
        length = end - start
        windows = request.windows
        if (
            free > start
            and windows
            and not any(w.begin <= free and free + length + _SLACK_SECONDS <= w.end for w in windows)
        ):
            return True
        free += length
    return False


def _with_those_that_wait(
    plan: Plan, requests: Mapping[str, Observation], told: Plan, over: PlannedObservation | None
) -> Plan:
    """Return the plan with all that somebody waits for, and the words of why it waits."""
    plan = restored(plan, requests)
    words = {line.observation.id: line for line in told.observations}
    if over is not None:
        words[over.observation.id] = over
    lines: list[PlannedObservation] = []
    for line in plan.observations:
        if (said := words.pop(line.observation.id, None)) is not None:
            ahead = line.observation.id != plan.start_now and line.start is not None
            reason = f"{said.reason}; planned from {clock_time(line.start or 0.0)} UTC" if ahead else said.reason
            lines.append(msgspec.structs.replace(line, reason=reason))
        else:
            lines.append(line)
    refused = {each.observation: each.reason for each in plan.refused}
    for id_, said in words.items():
        reason = f"{said.reason}; {refused[id_]}" if id_ in refused else said.reason
        lines.append(msgspec.structs.replace(said, reason=reason))
    return msgspec.structs.replace(plan, observations=tuple(lines))


def _part_of_night(request: Observation, site: Site, now: float, overheads: Overheads) -> Observation:
    """Return of a request as many images as fit into the longest time that it is up without a break tonight."""
    probe = msgspec.structs.replace(
        request,
        exposures=(Exposures(filter=request.exposures[0].filter, seconds=1.0),),
        taken=0,
        windows=request.windows,
    )
    begin, end = observing_span(site, now)
    if end <= begin:
        return request
    sky = NightSky(site, begin, end, _CUT_STEP)
    problem = make_problem([probe], sky, overheads, overheads.settle)
    longest = run = 0
    for allowed in problem.allowed[0]:
        run = run + 1 if allowed else 0
        longest = max(longest, run)
    room = (longest - 2) * _CUT_STEP - overheads.settle
    if overheads.observation_seconds(request) <= room:
        return request
    left, exposures = room, list[Exposures]()
    for each in request.remaining():
        count = min(each.count, int(left // (each.seconds + overheads.readout)))
        if count < 1:
            break
        exposures.append(msgspec.structs.replace(each, count=count))
        left -= count * (each.seconds + overheads.readout) + overheads.filter_change
        if count < each.count:
            break
    if not exposures:
        return request
    return msgspec.structs.replace(request, exposures=tuple(exposures), taken=0)
