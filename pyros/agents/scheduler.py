"""The scheduler: keeps what is wanted, and makes the plan whenever something changes."""

from __future__ import annotations

import msgspec

from pyros import messages
from pyros.agents._filters import check_filters
from pyros.agents.agent import Agent
from pyros.messages import FiltersKnown, Message, Observation
from pyros.planning import Site, make_plan
from pyros.planning.visibility import warm_up

PLAN_IN_TIME = messages.guard("Time to plan")
_INTERVAL = 60.0
_ATTEMPTS = 3
_PAUSE = 60.0  # seconds before the instruments are tried again with what they failed at
_MOST = 1000
_PLAN_LINES = 50  # the one to start, then the others in their order


class SchedulerState(msgspec.Struct):
    """What is to be observed.

    A request that is to be repeated is several: each of its repeats is an observation of its own.
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
    timer_due: float = 0.0
    """When the timer fires, Unix seconds."""


class SchedulerAgent(Agent):
    """Turns requests into *Plan updated* for the majordome."""

    MSG_OBS_FINISHED = messages.OBSERVATION_FINISHED

    needs = ("site",)
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
            messages.OBSERVATION_STARTED: self.observation_started,
            messages.OBSERVATION_FINISHED: self.observation_finished,
            messages.OBSERVATION_FAILED: self.observation_failed,
            messages.PLAN_AGAIN: self.plan_again,
            messages.FILTERS_KNOWN: self.filters_known,
            PLAN_IN_TIME: self.plan_in_time,
        }

    def work(self) -> None:
        """Load the tables of the sky, so that the first alert does not wait for them."""
        self.site = Site.load(self.config.site)
        warm_up()
        if self.state.requests:
            self._plan()

    def observation_requested(self, message: Message) -> None:
        """Take a new request, or one whose position has become better."""
        request: Observation = message.payload
        if request.id not in self.state.requests and len(self.state.requests) + len(request.repeat) >= _MOST:
            raise ValueError(f"{_MOST} observations are waiting already; withdraw some before {request.id}")
        self.state.requests[request.id] = msgspec.structs.replace(request, repeat=())
        self._plan_repeats(request)
        self._check_filters()
        self._plan()

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
        for observation in withdrawn:
            self._forget(observation)
        self._plan(withdrawn=tuple(withdrawn))

    def observation_started(self, message: Message) -> None:
        self.state.running = message.payload.observation
        self.state.started = self.state.requests.get(message.payload.observation)

    def observation_finished(self, message: Message) -> None:
        """Forget a finished observation, unless a better position came while its last image was taken."""
        observation = message.payload.observation
        self._ended(observation)
        wanted, started = self.state.requests.get(observation), self.state.started
        if wanted is None or started is None or started.id != wanted.id or _same_sky(started, wanted):
            self._forget(observation)
        self._plan()

    def observation_failed(self, message: Message) -> None:
        """Keep it when it may be observed again, but not for ever when the instruments fail."""
        observation = message.payload.observation
        self._ended(observation)
        failures = self.state.failures.get(observation, 0)
        if not message.payload.again:
            failures += 1
            self.state.failures[observation] = failures
            self.state.paused[observation] = self.clock.time() + _PAUSE
        if failures >= _ATTEMPTS or observation not in self.state.requests:
            self.log.warn("{observation} is given up: {reason}", observation=observation, reason=message.payload.reason)
            self._forget(observation)
        self._plan()

    def plan_again(self) -> None:
        """Plan anew: the majordome has become free and wants to know what is next."""
        self._plan()

    def plan_in_time(self) -> None:
        """Time has passed: what was below the horizon may be up now."""
        self.state.timer = None
        self._plan()

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

    def _ended(self, observation: str) -> None:
        if self.state.running == observation:
            self.state.running = None

    def _forget(self, observation: str) -> None:
        self.state.requests.pop(observation, None)
        self.state.failures.pop(observation, None)
        self.state.paused.pop(observation, None)

    def _plan(self, withdrawn: tuple[str, ...] = ()) -> None:
        now = self.clock.now()
        due = [each for each in self.state.requests.values() if self.state.paused.get(each.id, 0.0) <= now.timestamp()]
        plan = make_plan(due, self.site, now, self.state.running)
        kept = {planned.observation.id for planned in plan.observations}
        for observation in [each.id for each in due if each.id not in kept]:
            self.log.info("{observation} has expired", observation=observation)
            self._forget(observation)
        lines = [each for each in plan.observations if each.observation.id == plan.start_now]
        if lines and plan.start_now != self.state.running:
            self.log.info("{id}: {reason}", id=plan.start_now, reason=lines[0].reason)
        lines += [each for each in plan.observations if each.observation.id != plan.start_now]
        plan = msgspec.structs.replace(plan, observations=tuple(lines[:_PLAN_LINES]), withdrawn=withdrawn)
        self.send_to(self.MAJORDOME, messages.PLAN_UPDATED, plan)
        self._plan_in_time(now.timestamp())

    def _plan_in_time(self, now: float) -> None:
        """Plan again in a minute, or when the first repeat begins or a pause ends, if that is sooner."""
        if not self.state.requests:
            return
        moments = [each.not_before or 0.0 for each in self.state.requests.values()] + [*self.state.paused.values()]
        due = min([now + _INTERVAL, *(moment for moment in moments if moment > now)])
        if self.state.timer is not None and self.state.timer_due <= due:
            return
        if self.state.timer is not None:
            self.cancel_timer(self.state.timer)
        self.state.timer, self.state.timer_due = self.call_later(due - now, PLAN_IN_TIME), due


def _same_sky(one: Observation, other: Observation) -> bool:
    """Whether the same images would be taken of the same place for both."""
    return (one.ra, one.dec, one.exposures) == (other.ra, other.dec, other.exposures)
