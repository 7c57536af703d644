"""The central scheduler: hands each request to one of several telescopes, whose own schedulers plan their nights.

It is what people and the alert manager reach as ``scheduler`` where there are several telescopes (decision 0105).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property, lru_cache

import msgspec

from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.runtime.batches import NotTaken
from pyros.config import lies_within
from pyros.errors import ConfigError
from pyros.messages import FieldRequests, Message, Observation, ObservationReport, Withdrawal
from pyros.planning import Site
from pyros.planning.cadence import is_over
from pyros.planning.night_log import DUE
from pyros.planning.visibility import observable_after, warm_up

LOOK = messages.guard("Look at the telescopes")
MAX_REQUESTS = 5000
"""How many requests are kept."""
_LOOK_SECONDS = 60.0
_SILENCE_SECONDS = 120.0
"""After which a unit of which nothing is heard counts as unsafe."""
_DAY_SECONDS = 86_400.0
_WAIT_STEP_SECONDS = 600.0
_MAX_ENDED = 1000
_MAX_TRIES = 3
_AGAIN = re.compile(r"(?P<request>.+)-again\d+")


class CentralState(msgspec.Struct):
    """What is wanted, and which telescope has it."""

    requests: dict[str, Observation] = {}
    """By their ids, in the order in which they came."""
    handed: dict[str, str] = {}
    """By their ids, also of some that have ended: the unit that each was handed to."""
    tried: dict[str, list[str]] = {}
    """By their ids, the units where each has failed."""
    observing: dict[str, str] = {}
    """By unit, the id of the request whose observation runs there."""
    fields: dict[str, FieldRequests] = {}
    """By event, what is wanted of its sky map."""
    fields_made: list[str] = []
    """The ids of fields that were observed, of which the alert manager may not know yet."""
    timer: int | None = None
    """The number of the timer by which the telescopes are looked at next."""


class _Sky:
    """Of one unit: its site, and what was heard of its weather since this agent's start."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.safe = False
        self.heard = -math.inf
        """When monitoring has said so, monotonic seconds."""


class CentralSchedulerAgent(Agent):
    """Hands requests to the telescopes' schedulers, by sky, weather and what each does already."""

    state: CentralState

    def __init__(self) -> None:
        super().__init__(Agent.CENTRAL_SCHEDULER)
        self.actions_by_message |= {
            messages.OBSERVATION_REQUESTED: self.observation_requested,
            messages.OBSERVATION_REQUEST_CHANGED: self.observation_requested,
            messages.OBSERVATION_REQUEST_WITHDRAWN: self.observation_withdrawn,
            messages.FIELDS_REQUESTED: self.fields_requested,
            messages.OBSERVATION_STARTED: self.observation_started,
            messages.OBSERVATION_FINISHED: self.observation_finished,
            messages.OBSERVATION_FAILED: self.observation_failed,
            messages.WEATHER_SAFE: self.weather_judged,
            messages.WEATHER_UNSAFE: self.weather_judged,
            LOOK: self.look,
        }
        self._firsts: dict[str, Observation | None] = {}
        """By unit, what it could begin now that goes first; of those that were asked for since the last change."""
        self.guarded |= {messages.OBSERVATION_STARTED, messages.OBSERVATION_FINISHED, messages.OBSERVATION_FAILED}

    @cached_property
    def _units(self) -> dict[str, _Sky]:
        return {unit: _Sky(Site.load(self.config.seen_from(unit).required("site", f"the telescope {unit}")))
                for unit in self.config.telescopes}  # fmt: skip

    def check_needs(self, config: object) -> None:
        """Sites are those of the units; see `work`."""

    def work(self) -> None:
        """Load the sites; what was heard of the weather before this start doesn't count."""
        if not self.config.telescopes:
            raise ConfigError([f"{self.config.path}: [{self.name}]: there is no section like [telescope east]"])
        for unit in self._units:
            self.log.info("{unit} is at {site}", unit=unit, site=self._units[unit].site.name)
        warm_up()
        self.cancel_timer(self.state.timer)
        self._look_later()

    # What is wanted ----------------------------------------------------------------------------------------------

    def observation_requested(self, message: Message) -> None:
        """Hand a new request to a telescope; one that has changed goes where it was handed to before."""
        request: Observation = message.payload
        if request.id not in self.state.requests and len(self.state.requests) >= MAX_REQUESTS:
            raise ValueError(f"{MAX_REQUESTS} observations are waiting already; withdraw some before {request.id}")
        self._firsts.clear()
        allowed = self._allowed(request)
        unit = self.state.handed.get(request.id)
        if unit is not None and unit not in allowed:
            self._withdraw(request.id, unit, f"it is for {request.telescope} now")
            unit = None
        self.state.requests[request.id] = request
        name = messages.OBSERVATION_REQUEST_CHANGED if unit is not None else messages.OBSERVATION_REQUESTED
        self._hand(request, unit or self._best(request, allowed), name)

    def observation_withdrawn(self, message: Message) -> None:
        """Pass it on to the telescope that has it."""
        withdrawal: Withdrawal = message.payload
        unit = self.state.handed.get(withdrawal.observation)
        self._forget(withdrawal.observation)
        if unit is not None:
            self._withdraw(withdrawal.observation, unit, withdrawal.reason)

    def fields_requested(self, message: Message) -> None:
        """Share the fields of an event's sky map out among the telescopes that can see them."""
        wanted: FieldRequests = message.payload
        self.state.fields_made = [each for each in self.state.fields_made if each not in wanted.observed]
        self._share_out(wanted)

    def _share_out(self, wanted: FieldRequests) -> None:
        before = self.state.fields.pop(wanted.event, None)
        had = {self.state.handed.get(each.id, "") for each in before.requests} if before is not None else set()
        shares: dict[str, list[Observation]] = {unit: [] for unit in self._units}
        for request in wanted.requests:
            if request.id in self.state.fields_made:
                continue
            allowed = self._allowed(request)
            unit = self.state.handed.get(request.id, "")
            if unit not in allowed or not self._can_begin(request, unit):
                unit = self._best(request, allowed, {each: len(share) for each, share in shares.items()})
            self._note(request.id, unit)
            shares[unit].append(request)
        for unit, share in shares.items():
            if share or unit in had:
                given = msgspec.structs.replace(wanted, requests=tuple(share))
                self.send_to(f"{self.SCHEDULER} {unit}", messages.FIELDS_REQUESTED, given)
        if wanted.requests:
            self.state.fields[wanted.event] = wanted

    # What becomes of it ------------------------------------------------------------------------------------------

    def observation_started(self, message: Message) -> None:
        """Note what a telescope does."""
        report: ObservationReport = message.payload
        self.state.observing[self._unit_of(message)] = self._request_of(report.observation)

    def observation_finished(self, message: Message) -> None:
        """Forget a request that is done; repeats and times of a cadence stay where they are."""
        request = self._ended(message)
        if any(request == each.id for wanted in self.state.fields.values() for each in wanted.requests):
            self.state.fields_made = [*self.state.fields_made, request][-_MAX_ENDED:]
        elif (known := self.state.requests.get(request)) is not None and _moves(known):
            self._forget(request)

    def observation_failed(self, message: Message) -> None:
        """Try elsewhere what has failed here; what was interrupted goes on where it can."""
        request, report = self._ended(message), message.payload
        known = self.state.requests.get(request)
        unit = self._unit_of(message)
        if known is not None and not report.again and _moves(known) and self.state.handed.get(request) == unit:
            tried = self.state.tried.setdefault(request, [])
            tried.append(unit)
            others = [each for each in self._allowed(known) if each not in tried and self._wait(known, each) < math.inf]
            if others and len(tried) < _MAX_TRIES:
                self._move(known, self._best(known, others), f"it failed at {unit}: {report.reason}")
            elif len(tried) >= _MAX_TRIES:
                self.log.warn("{request} is given up: {reason}", request=request, reason=report.reason)
                self._forget(request)
        self._rebalance()

    def weather_judged(self, message: Message) -> None:
        """Note whether a telescope's dome may be open."""
        sky = self._units.get(self._unit_of(message))
        if sky is None:
            return
        turned = sky.safe != (message.name == messages.WEATHER_SAFE)
        sky.safe, sky.heard = message.name == messages.WEATHER_SAFE, message.said
        if turned:
            self._rebalance()

    def look(self) -> None:
        """Time has passed: targets have risen, requests have expired, a telescope may be silent."""
        self.state.timer = None
        now = self.clock.time()
        for request in list(self.state.requests.values()):
            if is_over(request, now):
                self._forget(request.id)
        self._rebalance()
        self._look_later()

    def _look_later(self) -> None:
        self.state.timer = self.call_later(_LOOK_SECONDS, LOOK)

    def _rebalance(self) -> None:
        """Move what its telescope cannot begin to one that can."""
        self._firsts.clear()
        for request in list(self.state.requests.values()):
            unit = self.state.handed.get(request.id)
            if unit is None or not _moves(request) or request.id in self.state.observing.values():
                continue
            allowed = self._allowed(request)
            if self._can_begin(request, unit) and self._is_free(unit, request):
                continue
            free = [each for each in allowed if self._can_begin(request, each) and self._is_free(each, request)]
            free = [each for each in free if each not in self.state.tried.get(request.id, ())]
            if free:
                self._move(request, free[0], f"{free[0]} can begin it, and {unit} cannot")
        for wanted in list(self.state.fields.values()):
            lost = [each for each in wanted.requests if not self._can_begin(each, self.state.handed.get(each.id, ""))]
            if any(self._can_begin(each, unit) for each in lost for unit in self._units):
                self._share_out(wanted)

    # The telescopes ----------------------------------------------------------------------------------------------

    def _allowed(self, request: Observation) -> list[str]:
        """Return the units whose telescope it may be; raises NotTaken naming them where it is none."""
        allowed = [unit for unit in self._units if not request.telescope or _is_called(unit, request.telescope)]
        if not allowed:
            raise NotTaken(f"telescope: {request.telescope!r} is none of {', '.join(self._units)}")
        return allowed

    def _best(self, request: Observation, units: Iterable[str], loads: dict[str, int] | None = None) -> str:
        """Return the unit that is to have it: see decision 0105; of equals the first in the configuration."""
        loads = loads or {}

        def cost(unit: str) -> tuple[float, ...]:
            wait = self._wait(request, unit)
            ready = wait == 0 and self._is_safe(unit)
            running = self.state.requests.get(self.state.observing.get(unit, ""))
            busy = 0.0 if self._is_free(unit, request) else 1.0
            priority = running.priority if running is not None and running.id != request.id else -math.inf
            return (
                unit in self.state.tried.get(request.id, ()), wait == math.inf, not ready, loads.get(unit, 0), busy,
                priority if ready else 0, wait // _WAIT_STEP_SECONDS if wait < math.inf else 0, not self._is_safe(unit),
            )  # fmt: skip

        return min(units, key=cost)

    def _wait(self, request: Observation, unit: str) -> float:
        """Seconds until the target can be seen from there; infinite where not within a day."""
        minute = self.clock.now().replace(second=0, microsecond=0)
        return _wait_at(self._units[unit].site, request.ra, request.dec, minute, request.min_altitude)

    def _can_begin(self, request: Observation, unit: str) -> bool:
        """Whether it could be observed there now: the dome may be open, and the target is up in the dark."""
        return unit in self._units and self._is_safe(unit) and self._wait(request, unit) == 0

    def _is_safe(self, unit: str) -> bool:
        sky = self._units[unit]
        return sky.safe and self.clock.monotonic() - sky.heard <= _SILENCE_SECONDS

    def _is_free(self, unit: str, request: Observation) -> bool:
        """Whether the telescope has nothing else to do now than this request."""
        if self.state.observing.get(unit, request.id) != request.id:
            return False
        first = self._first(unit)
        return first is None or first.id == request.id or first.priority < request.priority

    def _first(self, unit: str) -> Observation | None:
        """Return what the telescope could begin now that goes first: of equal priorities what came first."""
        if unit not in self._firsts:
            ready = (each for each in self.state.requests.values()
                     if self.state.handed.get(each.id) == unit and self._wait(each, unit) == 0)  # fmt: skip
            self._firsts[unit] = max(ready, key=lambda each: each.priority, default=None)
        return self._firsts[unit]

    def _unit_of(self, message: Message) -> str:
        section = self.config.agents.get(message.sender)
        return section.unit if section is not None else ""

    # Books -------------------------------------------------------------------------------------------------------

    def _request_of(self, observation: str) -> str:
        """Return the id of the request that an observation belongs to: its own, or the one that it repeats."""
        if observation not in self.state.requests:
            for form in (_AGAIN, DUE):
                if (match := form.fullmatch(observation)) and match["request"] in self.state.requests:
                    return match["request"]
        return observation

    def _ended(self, message: Message) -> str:
        request, unit = self._request_of(message.payload.observation), self._unit_of(message)
        if self.state.observing.get(unit) == request:
            del self.state.observing[unit]
        return request

    def _note(self, request: str, unit: str) -> None:
        self._firsts.clear()
        self.state.handed.pop(request, None)
        self.state.handed[request] = unit
        while len(self.state.handed) > MAX_REQUESTS + _MAX_ENDED:
            del self.state.handed[next(iter(self.state.handed))]

    def _hand(self, request: Observation, unit: str, name: str) -> None:
        self._note(request.id, unit)
        self.log.info("{request} goes to {unit}", request=request.id, unit=unit)
        self.send_to(f"{self.SCHEDULER} {unit}", name, request)

    def _move(self, request: Observation, unit: str, reason: str) -> None:
        self._withdraw(request.id, self.state.handed[request.id], reason)
        self._hand(request, unit, messages.OBSERVATION_REQUESTED)

    def _withdraw(self, request: str, unit: str, reason: str) -> None:
        withdrawal = Withdrawal(observation=request, reason=reason)
        self.send_to(f"{self.SCHEDULER} {unit}", messages.OBSERVATION_REQUEST_WITHDRAWN, withdrawal)

    def _forget(self, request: str) -> None:
        """Forget it, but for where it was: a better position that comes late goes there, too."""
        self._firsts.clear()
        self.state.requests.pop(request, None)
        self.state.tried.pop(request, None)


@lru_cache(maxsize=20_000)
def _wait_at(site: Site, ra: float, dec: float, when: datetime, min_altitude: float) -> float:
    after = observable_after(site, ra, dec, when, min_altitude, _DAY_SECONDS)
    return math.inf if after is None else after


def _is_called(unit: str, telescope: str) -> bool:
    """Whether a unit is meant by a request's telescope: its name, its last word, or that of the site around it."""
    return lies_within(unit, telescope) or unit.rpartition(" ")[2] == telescope


def _moves(request: Observation) -> bool:
    """Whether it may go to another telescope: what comes again stays with its times."""
    return request.cadence is None and not request.repeat
