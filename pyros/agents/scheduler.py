"""The scheduler: keeps what is wanted, and makes the plan whenever something changes.

The first plan is made in the turn itself. A better one is computed in a worker process meanwhile, and is taken as a
message when it comes, unless what it was made of has changed.
"""

from __future__ import annotations

import sqlite3
from datetime import date
from math import ceil
from typing import ClassVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents._filters import check_filters
from pyros.agents.agent import Agent
from pyros.agents.night_plan import NightPlanner
from pyros.agents.night_state import RETRY_SECONDS
from pyros.agents.options import AgentOption, OptionTable
from pyros.agents.runtime.batches import NotTaken
from pyros.messages import (
    FieldRequests,
    FiltersKnown,
    Message,
    Observation,
    ObservationReport,
    Payload,
    Plan,
    PlannedObservation,
)
from pyros.planning import Site, improvement, night_log
from pyros.planning.cadence import is_over, occurrences, wanted_until
from pyros.planning.improvement import ImprovementJob
from pyros.planning.night_log import DUE, Fate, NightLine, line_of
from pyros.planning.planner import ROUNDS, Running
from pyros.planning.visibility import warm_up
from pyros.quantities import whole
from pyros.reactor import Reactor
from pyros.workers import Worker

PLAN_IN_TIME = messages.guard("Time to plan")
PLAN_AROUND = messages.guard("Plan around", fleeting=True)
"""The scheduler to itself: an alert's observation has begun; plan the rest of the night around it."""
PLAN_IMPROVED = "Plan improved"
MAX_REQUESTS = 1000
"""How many requests are kept; each repeat of an alert's is one."""
_MAX_FIELDS_MADE = 300
_INTERVAL = 60.0
_PAUSES = (RETRY_SECONDS, 120.0, 300.0, 900.0, 1800.0)
"""Seconds before the instruments are tried again with what they failed at; after the last attempt it is given up.

A mount that refuses everything for some minutes fails all that is up, one after the other, and is in order again long
before an alert expires.
"""
_PLAN_LINES = 50  # the one to start, then the others in their order
_DAY_SECONDS = 86_400.0
_JOB_SECONDS = 60.0
"""After which a worker that plans hangs."""
_IMPROVE_EVERY_SECONDS = 600.0
"""While nothing changes, as in cloud, the better plan is made anew so often."""
_LEAST_TO_IMPROVE = 3
"""Of fewer requests the first plan is as good as any."""
_AROUND_SECONDS = 1.0
"""After the last alert the night is planned around its observation: not while one is on its way to the mount."""
_ROUNDS: AgentOption[int | None] = AgentOption("rounds", whole(0, 100_000), None)
_ROUNDS_INLINE = 10
"""Rounds of the better plan in a rehearsal, whose nights must be cheap."""


class PlanImproved(Payload, frozen=True):
    """The scheduler to itself: a better plan has been computed."""

    number: int
    """Which state of the requests it was made of."""
    plan: Plan
    """The plan."""


messages.register(PLAN_IMPROVED, PlanImproved, guarded=True)


class SchedulerState(msgspec.Struct):
    """What is to be observed.

    A request that is to be repeated is several: each of its repeats is an observation of its own. So is each time of a
    request with a cadence, but only the request is kept.
    """

    requests: dict[str, Observation] = {}
    """By their ids, in the order in which they came."""
    failures: dict[str, int] = {}
    """How often each has failed."""
    paused: dict[str, float] = {}
    """Until when each that failed is not tried again, Unix seconds."""
    running: str | None = None
    """The id of the one that runs."""
    started: Observation | None = None
    """The request for that one as it was when it started."""
    filters: FiltersKnown | None = None
    """What the filter wheel has said last."""
    timer: int | None = None
    """The number of the timer by which the next plan is made."""
    timer_due: float = 0.0
    """When the timer fires, Unix seconds."""
    began: float = 0.0
    """When the one that runs has started, Unix seconds."""
    next: Observation | None = None
    """What the last plan has said to start, with the place where a moving body is then."""
    taken: dict[str, int] = {}
    """How many images there are of observations that were interrupted, by their ids."""
    made: dict[str, list[int]] = {}
    """By the ids of requests with a cadence, the numbers of those of their times that need no observation any more."""
    fields_made: list[str] = []
    """The ids of fields that were observed, of which the alert manager may not know yet."""
    number: int = 0
    """Counts the changes of what plans are made of."""


class SchedulerAgent(Agent):
    """Turns requests into *Plan updated* for the majordome.

    ``option_rounds``: how much is done for the better plan (0: none is made).
    """

    MSG_OBS_FINISHED = messages.OBSERVATION_FINISHED

    needs = ("site",)
    OPTIONS: ClassVar[OptionTable] = (_ROUNDS,)
    state: SchedulerState

    def __init__(self) -> None:
        super().__init__(Agent.SCHEDULER)
        self.guarded |= {  # what they end in is the next observation's slew
            messages.OBSERVATION_STARTED, messages.OBSERVATION_FINISHED, messages.OBSERVATION_FAILED,
        }  # fmt: skip
        self.actions_by_message |= {
            messages.OBSERVATION_REQUESTED: self.observation_requested,
            messages.OBSERVATION_REQUEST_CHANGED: self.observation_requested,
            messages.OBSERVATION_REQUEST_WITHDRAWN: self.observation_withdrawn,
            messages.FIELDS_REQUESTED: self.fields_requested,
            messages.OBSERVATION_STARTED: self.observation_started,
            messages.OBSERVATION_FINISHED: self.observation_finished,
            messages.OBSERVATION_FAILED: self.observation_failed,
            messages.PLAN_AGAIN: self.plan_again,
            messages.FILTERS_KNOWN: self.filters_known,
            PLAN_IN_TIME: self.plan_in_time,
            PLAN_AROUND: self.plan_around,
            PLAN_IMPROVED: self.plan_improved,
        }
        self._night = ""
        """Which the last plan was of: a replay begins at a day's beginning, without what was in memory then."""
        self._improved = 0.0
        """When the better plan was asked for last, Unix seconds."""
        self._written: dict[str, NightLine] = {}
        """What is in the log of the night already."""
        self._around_due = 0.0
        """When the night is to be planned around an alert's observation (monotonic seconds); 0: it isn't to be."""
        self._computing = False
        self._next_job: tuple[int, ImprovementJob] | None = None

    def attach(self, reactor: Reactor) -> None:
        self._worker = Worker(reactor, self.clock, self.log, "scheduler's", [improvement.__name__])
        self._worker.warm_up()

    def detach(self) -> Deferred[None]:
        return self._worker.stop()

    def site_changed(self, site: Site) -> None:
        """Plan for the site as it is now."""
        super().site_changed(site)
        self._planner.site = site
        self._planner.forget()
        self._plan()

    def work(self) -> None:
        """Load the tables of the sky, so that the first alert does not wait for them."""
        self.site = Site.load(self.config.site)
        rounds = self.option(*_ROUNDS)
        self._rounds = (_ROUNDS_INLINE if self._worker.inline else ROUNDS) if rounds is None else rounds
        self._planner = NightPlanner(self.site)
        warm_up()
        self.in_transaction(night_log.prepare)
        if self.state.requests:
            self._plan()

    def observation_requested(self, message: Message) -> None:
        """Take a new request, or one whose position has become better."""
        request: Observation = message.payload
        if request.telescope and not self.section.unit:
            raise NotTaken(f"telescope: {request.telescope!r} is not there: this observatory has one, without a name")
        if not self._accept_request(request):
            raise ValueError(f"{MAX_REQUESTS} observations are waiting already; withdraw some before {request.id}")
        self._check_filters()
        self._plan(at_once=True)

    def _accept_request(self, request: Observation) -> bool:
        """Take a request, and its repeats, in place of what it was; False where too many wait already."""
        requests = self.state.requests
        known = requests.get(request.id)
        if known is None and len(requests) + len(request.repeat) >= MAX_REQUESTS:
            return False
        if known is not None and not _same_sky(known, request):
            self.state.taken.pop(request.id, None)
        requests[request.id] = msgspec.structs.replace(request, repeat=())
        self._plan_repeats(request)
        return True

    def filters_known(self, message: Message) -> None:
        """Note which filters the wheel has, which is connected."""
        self.state.filters = message.payload
        self._check_filters()

    def _check_filters(self) -> None:
        if self.state.filters is not None:
            named = (each.filter for request in self.state.requests.values() for each in request.exposures)
            check_filters(self, self.state.filters, named, "requests")

    def observation_withdrawn(self, message: Message) -> None:
        """Forget a request that is not wanted any more; if it runs, the majordome stops it."""
        wanted = message.payload.observation
        withdrawn = [wanted, *(each.id for each in self.state.requests.values() if each.repeats == wanted)]
        running = self.state.running
        if running is not None and (match := DUE.fullmatch(running)) and match["request"] == wanted:
            withdrawn.append(running)
        for observation in withdrawn:
            if (request := self._find(observation)) is not None:
                self._log_fate(request, "withdrawn", message.payload.reason)
        for observation in withdrawn:
            self._forget(observation)
        self._plan(withdrawn=tuple(withdrawn))

    def fields_requested(self, message: Message) -> None:
        """Take all that is wanted of an event's sky map, in place of what was; one plan for all of it."""
        wanted: FieldRequests = message.payload
        stay = {*(each.id for each in wanted.requests), *wanted.observed}
        gone = [
            each
            for each in self.state.requests.values()
            if each.event == wanted.event and each.probability is not None and (each.repeats or each.id) not in stay
        ]
        for request in gone:
            self._log_fate(request, "withdrawn", wanted.reason)
            self._forget(request.id)
        left = 0
        for request in wanted.requests:
            left += request.id not in self.state.fields_made and not self._accept_request(request)
        if left:
            self.log.error(
                "{event}: {left} fields are left out, for {most} observations wait already",
                event=wanted.event, left=left, most=MAX_REQUESTS,
            )  # fmt: skip
        self.state.fields_made = [each for each in self.state.fields_made if each not in wanted.observed]
        self._check_filters()
        self._plan(withdrawn=tuple(each.id for each in gone), at_once=True)

    def observation_started(self, message: Message) -> None:
        """Note what runs, as the plan has sent it: a moving body where it was then."""
        observation = message.payload.observation
        sent = self.state.next
        self.state.running = observation
        self.state.began = self.clock.time()
        self.state.started = sent if sent is not None and sent.id == observation else self._find(observation)
        if self.state.started is not None:
            self._planner.pointing = (self.state.started.ra, self.state.started.dec)
            self._log_fate(self.state.started, "observing", "")

    def observation_finished(self, message: Message) -> None:
        """Forget a finished observation, unless a better position came while its last image was taken."""
        report: ObservationReport = message.payload
        observation = report.observation
        wanted, started = self._find(observation), self.state.started
        if (told := wanted or started) is not None and told.id == observation:
            self._log_fate(told, "observed", "", len(report.images))
        self._ended(observation)
        if told is not None and told.probability is not None:
            self.state.fields_made = [*self.state.fields_made, observation][-_MAX_FIELDS_MADE:]
        if started is not None and report.is_of(started):
            done = wanted is None or _same_sky(started, wanted)
        else:  # what has begun was another request with this id
            done = wanted is None or report.is_of(wanted)
        if done:
            self._made(observation)
        self.state.taken.pop(observation, None)
        self._plan(changed=False)

    def observation_failed(self, message: Message) -> None:
        """Keep it when it may be observed again, but not for ever when the instruments fail.

        What one of them can never do is given up at once.
        """
        observation, report = message.payload.observation, message.payload
        wanted = self._find(observation)
        self._ended(observation)
        failures = self.state.failures.get(observation, 0)
        if not report.again:
            pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
            failures = len(_PAUSES) + 1 if report.for_good else failures + 1
            self.state.failures[observation] = failures
            self.state.paused[observation] = self.clock.time() + pause
        if report.images and wanted is not None:
            self.state.taken[observation] = len(report.images)
        fate: Fate = "withdrawn" if wanted is None else "interrupted" if report.again else "failed"
        told = wanted or self.state.started
        if told is not None and told.id == observation:
            self._log_fate(told, fate, report.reason, len(report.images))
        if failures > len(_PAUSES) or wanted is None:
            self.log.warn("{observation} is given up: {reason}", observation=observation, reason=report.reason)
            self._made(observation)
        if report.superseded_by:  # it is about to say that it has started: nothing else is to begin before
            self.state.running, self.state.began = report.superseded_by, self.clock.time()
        self._plan(at_once=True)

    def plan_again(self) -> None:
        """Plan anew: the majordome has become free and wants to know what is next."""
        self._plan(changed=False, at_once=True)

    def plan_in_time(self) -> None:
        """Time has passed: what was below the horizon may be up now."""
        self.state.timer = None
        self._plan(changed=False)

    def plan_around(self) -> None:
        """Have the whole night planned by the worker, now that the alert's observation has begun."""
        left = self._around_due - self.clock.monotonic()
        if left > 0:
            self.call_later(left, PLAN_AROUND)
            return
        self._around_due = 0.0
        self._plan(changed=False, around=True)

    def plan_improved(self, message: Message) -> None:
        """Follow a better plan, unless what it was made of has changed meanwhile."""
        improved: PlanImproved = message.payload
        if message.sender != self.name or improved.number != self.state.number:
            return
        self._planner.take(improved.plan)
        self._plan(changed=False, improve=False)

    def _plan_repeats(self, request: Observation) -> None:
        """Each repeat is an observation of its own, with as long to begin in as the first one has.

        A changed request changes those that are still to be done; one whose time has come and that isn't there any more
        was done, has expired or was given up, and stays so.
        """
        now, requests = self.clock.time(), self.state.requests
        patience = None if request.expires is None else request.expires - request.requested
        ids = [f"{request.id}-again{number}" for number in range(1, len(request.repeat) + 1)]
        for old in [each.id for each in requests.values() if each.repeats == request.id and each.id not in ids]:
            if old != self.state.running:
                self._forget(old)
        for id_, moment in zip(ids, request.repeat, strict=True):
            if id_ in requests or moment > now:
                requests[id_] = msgspec.structs.replace(
                    request, id=id_, repeats=request.id, not_before=moment, repeat=(),
                    expires=None if patience is None else moment + patience,
                )  # fmt: skip

    def _find(self, observation: str) -> Observation | None:
        """Return what is wanted under an observation's id: a request, or one of the times of one with a cadence."""
        if (request := self.state.requests.get(observation)) is not None:
            return request
        match = DUE.fullmatch(observation)
        request = self.state.requests.get(match["request"]) if match else None
        if match is None or request is None or request.cadence is None:
            return None
        due = request.cadence.start + int(match["number"]) * request.cadence.period
        return next((each for each in occurrences(request, due, due) if each.id == observation), None)

    def _ended(self, observation: str) -> None:
        if self.state.running == observation:
            self.state.running = None

    def _made(self, observation: str) -> None:
        """Do without an observation from now on: of a request with a cadence, without this time."""
        match = DUE.fullmatch(observation)
        if match is None or match["request"] not in self.state.requests:
            self._forget(observation)
            return
        self._forget_failures(observation)
        self.state.made.setdefault(match["request"], []).append(int(match["number"]))

    def _forget(self, observation: str) -> None:
        self.state.requests.pop(observation, None)
        self.state.made.pop(observation, None)
        self._forget_failures(observation)

    def _forget_failures(self, observation: str) -> None:
        self.state.failures.pop(observation, None)
        self.state.paused.pop(observation, None)
        self.state.taken.pop(observation, None)

    def _plan(
        self,
        withdrawn: tuple[str, ...] = (),
        changed: bool = True,
        improve: bool = True,
        at_once: bool = False,
        around: bool = False,
    ) -> None:
        """Send the majordome a plan: a new one when something has ``changed``, else the rest of the last one.

        ``at_once``: an alert's observation is begun before the rest of the night is planned; ``around`` plans that,
        where there is much of it not in this turn, for which the next alert would wait.
        """
        when = self.clock.now()
        now = when.timestamp()
        night = date.fromisoformat(night_log.night_name(self.site, now))
        if str(night) != self._night:
            self._night, changed = str(night), True
            self._planner.begin_night()
        if self._forget_expired(now) or changed:
            self.state.number += 1
            self._planner.forget()
        everything = wanted_until(self.state, now, night_log.noon_before(self.site, night) + _DAY_SECONDS)
        wanted = {each.id: each for each in everything if self.state.paused.get(each.id, 0.0) <= now}
        if at_once and (plan := self._planner.at_once(wanted, self.state.running, when)) is not None:
            self._send_plan(plan, withdrawn)
            self._plan_in_time(now, plan)  # also where this turn is undone, and what is in memory isn't
            due = self.clock.monotonic()
            if self._around_due <= due:
                self.call_later(_AROUND_SECONDS, PLAN_AROUND)
            self._around_due = due + _AROUND_SECONDS
            return
        running = self._running(wanted, now)
        many = len(wanted) >= _LEAST_TO_IMPROVE and self._rounds > 0
        if around and many and (plan := self._planner.at_once(wanted, self.state.running, when)) is not None:
            self._plan_in_time(now, plan)
            self._ask_for_better(wanted, running, now)
            return
        plan = self._planner.plan(wanted, running, when)
        self._send_plan(plan, withdrawn)
        self._log_plan(plan, now)
        self._plan_in_time(now, plan)
        if improve and many and (changed or around or now - self._improved >= _IMPROVE_EVERY_SECONDS):
            self._ask_for_better(wanted, running, now)

    def _ask_for_better(self, wanted: dict[str, Observation], running: Running | None, now: float) -> None:
        self._improved = now
        seconds = None if self._worker.inline else improvement.LONGEST_SECONDS
        job = self._planner.job(wanted, running, now, self._rounds, seconds)
        self.after_commit(self._improve, self.state.number, job)

    def _send_plan(self, plan: Plan, withdrawn: tuple[str, ...]) -> None:
        lines = [each for each in plan.observations if each.observation.id == plan.start_now]
        self.state.next = lines[0].observation if lines else None
        if lines and plan.start_now != self.state.running:
            self.log.info("{id}: {reason}", id=plan.start_now, reason=lines[0].reason)
        sent = msgspec.structs.replace(
            plan, observations=_first_lines(plan), running=self.state.running, withdrawn=withdrawn, refused=()
        )
        self.send_to(self.MAJORDOME, messages.PLAN_UPDATED, sent)

    def _running(self, wanted: dict[str, Observation], now: float) -> Running | None:
        """Return what runs, as it was sent, unless it isn't wanted any more."""
        if self.state.running is None or self.state.running not in wanted:
            return None
        request, started = wanted[self.state.running], self.state.started
        if started is not None and started.id == request.id and request.orbit is not None:
            request = msgspec.structs.replace(request, ra=started.ra, dec=started.dec)
        return self._planner.running(request, self.state.began or now, now)

    def _forget_expired(self, now: float) -> bool:
        """Forget what cannot be made any more; return whether there was any."""
        gone = False
        for request in list(self.state.requests.values()):
            running = self.state.running
            if running is not None and running.startswith(request.id) and self._find(running) is not None:
                match = DUE.fullmatch(running)
                if request.id in (running, match["request"] if match else ""):
                    continue
            if is_over(request, now):
                self.log.info("{observation} has expired", observation=request.id)
                self._log_fate(request, "expired", "its time is over")
                self._forget(request.id)
                gone = True
            elif (cadence := request.cadence) is not None and request.id in self.state.made:
                first = ceil((now - cadence.tolerance - cadence.start) / cadence.period)
                kept = [number for number in self.state.made[request.id] if number >= first]
                self.state.made[request.id] = kept
                if cadence.count is not None and len(kept) >= cadence.count - max(0, first):
                    self.log.info("{observation} has been made for the last time", observation=request.id)
                    self._forget(request.id)
                    gone = True
        return gone

    def _plan_in_time(self, now: float, plan: Plan) -> None:
        """Plan again in a minute, or when something begins or a pause ends, if that is sooner."""
        if not self.state.requests:
            return
        moments = [each.not_before or 0.0 for each in self.state.requests.values()] + [*self.state.paused.values()]
        moments += [each.start for each in plan.observations[:2] if each.start is not None]
        due = min([now + _INTERVAL, *(moment for moment in moments if moment > now)])
        if self.state.timer is not None and now < self.state.timer_due <= due:
            return
        self.cancel_timer(self.state.timer)
        self.state.timer, self.state.timer_due = self.call_later(due - now, PLAN_IN_TIME), due

    # The log of the night ----------------------------------------------------------------------------------------

    def _log_plan(self, plan: Plan, now: float) -> None:
        """Keep what has become different of what the plan says of each request."""
        begin = plan.begin if plan.begin is not None else now
        night = night_log.night_name(self.site, max(begin, now))
        if any(line.night != night for line in self._written.values()):
            self._written = {}
            self.in_transaction(night_log.forget_oldest)
        requests = {each.observation: request for each in plan.refused if (request := self._find(each.observation))}
        found = night_log.lines_of(night, plan, requests, now)
        lines = [line for id_, line in found.items() if not _says_the_same(self._written.get(id_), line)]
        if lines:
            self._written |= {line.observation: line for line in lines}
            self.in_transaction(lambda db: night_log.write(db, lines))

    def _log_fate(self, request: Observation, fate: Fate, reason: str, images: int | None = None) -> None:
        """Keep what has become of an observation."""
        now = self.clock.time()
        began = None
        if request.id == self.state.running or fate == "observing":
            began = self.state.began
        line = msgspec.structs.replace(
            line_of(night_log.night_name(self.site, now), request, now), fate=fate, fate_reason=reason, began=began,
            ended=now if fate in ("observed", "interrupted", "failed") else None,
            images=self.state.taken.get(request.id, 0) if images is None else images,
        )  # fmt: skip

        def write(db: sqlite3.Connection) -> None:
            night_log.write_fate(db, [line])

        self.in_transaction(write)

    # In the reactor's thread -------------------------------------------------------------------------------------

    def _improve(self, number: int, job: ImprovementJob) -> None:
        """Have the better plan computed; while one is under way only the newest waits."""
        self._next_job = (number, job)
        if not self._computing:
            self._compute()

    def _compute(self) -> None:
        if self._next_job is None:
            return
        (number, job), self._next_job = self._next_job, None
        self._computing = True

        def improved(plan: Plan) -> None:
            self._computing = False
            if self._next_job is None or self._next_job[0] == number:
                self.post_to_self(PLAN_IMPROVED, PlanImproved(number=number, plan=plan))
            self._compute()

        def failed(failure: Failure) -> None:
            self._computing = False
            if not self.made_safe and not self.ending:
                self.log.warn("no better plan: {reason}", reason=failure.getErrorMessage())
            self._compute()

        self._worker.run(improvement.improve, job, seconds=_JOB_SECONDS).addCallbacks(improved, failed)


def _first_lines(plan: Plan) -> tuple[PlannedObservation, ...]:
    """Return the lines that the majordome is told: the one to start, then the others; alerts' are never left out."""
    first = [each for each in plan.observations if each.observation.id == plan.start_now]
    others = [each for each in plan.observations if each.observation.id != plan.start_now]
    room = _PLAN_LINES - len(first) - sum(bool(each.observation.alert) for each in others)
    for each in others:
        if each.observation.alert:
            first.append(each)
        elif room > 0:
            first.append(each)
            room -= 1
    return tuple(first[:MAX_REQUESTS])


def _says_the_same(known: NightLine | None, line: NightLine) -> bool:
    """Tell whether a line says nothing new: times that moved by less than a minute are not new."""
    if known is None or (known.start is None) != (line.start is None):
        return False
    if known.start is not None and line.start is not None:
        return abs(known.start - line.start) < 60 and abs((known.end or 0.0) - (line.end or 0.0)) < 60
    return known.reason == line.reason


def _same_sky(one: Observation, other: Observation) -> bool:
    """Whether the same images would be taken of the same place for both."""
    if one.orbit is not None or other.orbit is not None:
        return (one.orbit, one.exposures) == (other.orbit, other.exposures)
    return (one.ra, one.dec, one.exposures) == (other.ra, other.dec, other.exposures)
