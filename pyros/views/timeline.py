"""What happens to one alert, read from the journals while it happens.

The journals are opened read-only and looked at about ten times a second; nothing is asked of the agents. All times are
the observatory's: compare them with each other, not with the computer's clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyros import messages
from pyros.alerts import followup
from pyros.errors import AlertError
from pyros.journal import Received
from pyros.messages import Observation, decode_payload
from pyros.printable import last_line
from pyros.views.observed import Observed
from pyros.views.states import SeenScheduler
from pyros.views.timeline_steps import (
    Arrived,
    Decided,
    DomeOpened,
    Ended,
    How,
    ImageOnDisk,
    OnTarget,
    Planned,
    Published,
    ShutterOpened,
    SlewCommanded,
    SourceDetected,
    TakenBack,
    TelescopeAsked,
    TimelineStep,
    Trouble,
)

LOOK_EVERY = 0.1
"""Seconds between two looks at the journals."""

_AT_ONCE = 10_000
_BACKWARDS = ("observation_manager", "majordome", "scheduler", "monitoring", "alert_manager")
"""The journals in the order in which they are read: against the way of the messages. What is seen in one was caused by
something in a later one, which was committed before, and so is seen in the same look."""


class Follower:
    """Watches the journals for one alert, from now on."""

    def __init__(self, observed: Observed, ivorn: str, known_by: Callable[[bytes], str], key: str = "") -> None:
        """Remember where each journal ends now: make it before the alert is sent.

        ``known_by`` returns what the broker knows a packet by, or raises AlertError; ``key`` is that of this alert,
        where it isn't its ivorn.
        """
        self.observed, self._ivorn, self._key, self._known_by = observed, ivorn, key or ivorn, known_by
        config = observed.config
        several = len(config.telescopes) > 1
        self._several = several
        self._sections = {
            name: (section.kind, section.unit if several else "") for name, section in config.agents.items()
        }
        """The kind and, of several telescopes, the unit of each agent."""
        order = {kind: place for place, kind in enumerate(_BACKWARDS, 1)}
        self._agents = sorted(
            self._sections, key=lambda name: (order.get(self._sections[name][0], 0), not self._sections[name][1])
        )
        self._read = dict.fromkeys(self._agents, 0)
        self._waiting: list[tuple[str, Received]] = []
        """What cannot be told yet: which observation is this alert's is known after the decision."""
        self._arrived = False
        self._taken: float | None = None
        self._observation: str | None = None
        self._planned: dict[str, bool] = {}
        """By unit, whether its plan starts it."""
        self._reasons: dict[str, str] = {}
        """By unit, why it failed there last."""
        self._given_up = False
        """One of several telescopes has given it up."""
        self._published = 0
        self.ended = False
        for agent in self._agents:
            with observed.journal(agent) as journal:
                if journal is not None:
                    self._read[agent] = journal.newest()

    def look(self) -> list[TimelineStep]:
        """Return what has happened since the last look, in the order in which it happened."""
        for agent in self._agents:
            self._waiting += [(agent, received) for received in self._new(agent)]
        self._waiting.sort(key=lambda item: item[1].sent)
        steps = self._look_at_broker()
        if self._observation is None:
            told = [item for item in self._waiting if item[1].name in _BEFORE_OBSERVATION]
            self._waiting = [item for item in self._waiting if item[1].name not in _BEFORE_OBSERVATION]
            for agent, received in told:
                steps += self._tell(agent, received)
        if self._observation is not None:
            told, self._waiting = self._waiting, []
            for agent, received in told:
                steps += self._tell(agent, received)
            published = self._look_at_publications()
            if published:
                steps = sorted(steps + published, key=lambda step: step.at)
            steps += self._look_at_central()
        return steps

    def _new(self, agent: str) -> list[Received]:
        rows: list[tuple[int, Received]] = []
        with self.observed.journal(agent) as journal:
            if journal is not None:  # it has run here
                rows = journal.received(after=self._read[agent], last=_AT_ONCE)
        if rows:
            self._read[agent] = rows[-1][0]
        kind, unit = self._sections[agent]
        if self._several and kind == "scheduler":
            telling = _OF_SEVERAL if unit else {messages.OBSERVATION_REQUEST_WITHDRAWN}
            return [received for _, received in rows if received.error or received.name in telling]
        return [received for _, received in rows if received.error or (kind, received.name) in _TELLING]

    def _look_at_central(self) -> list[TimelineStep]:
        """Look whether what one of several telescopes has given up is wanted of none any more."""
        if self.ended or not self._given_up or not self._observation:
            return []
        state = self.observed.state("scheduler", SeenScheduler)
        if self._observation in state.requests:
            return []
        reasons = [f"{unit}: {reason}" for unit, reason in self._reasons.items() if reason]
        return self._end(self.observed.time(), "failed", "; ".join(reasons) or "its time is over")

    def _look_at_broker(self) -> list[TimelineStep]:
        """Look for the alert in the broker, which may keep it long before an alert manager runs."""
        arrival: tuple[float, str] | None = None
        if not self._arrived:
            with self.observed.events() as events:
                arrival = events.arrival(self._key) if events is not None else None
        return self._arrival(*arrival) if arrival else []

    def _look_at_publications(self) -> list[TimelineStep]:
        """Look for our own VOEvents about this observation in the broker; they go on after the end."""
        broker = self.observed.config.broker
        if broker is None or not broker.publish or not self._observation:
            return []
        begin = followup.beginning(broker.ivo, self._observation)
        rows: list[Any] = []
        with self.observed.events() as events:
            rows = events.beginning_with(begin, self._published) if events is not None else []
        if rows:
            self._published = rows[-1].number
        return [Published(at, ivorn.removeprefix(begin).partition("-")[0], ivorn) for _, at, ivorn in rows]

    def _arrival(self, at: float, source: str) -> list[TimelineStep]:
        if self._arrived:
            return []
        self._arrived = True
        return [Arrived(at, source)]

    def _end(
        self, at: float, how: How, reason: str = "", images: tuple[str, ...] = (), unit: str = ""
    ) -> list[TimelineStep]:
        self.ended = True
        return [Ended(at, how, reason, images, unit=unit)]

    def _tell(self, agent: str, received: Received) -> list[TimelineStep]:
        """Return the steps that a message means: none, if it is about something else or comes after the end."""
        if self.ended and received.name != messages.SOURCE_FOUND:  # the last images are measured after the end
            return []
        payload, unit = decode_payload(received.name, received.payload), self._sections[agent][1]
        if received.error is not None:
            return self._failed(agent, received, payload)
        steps: list[TimelineStep] = []
        match payload:
            case messages.AlertReceived():
                steps = self._alert_received(received, payload)
            case messages.AlertDecided():
                steps = self._alert_decided(received.sent, payload)
            case messages.Plan():
                steps = self._plan_updated(received.sent, payload, unit)
            case messages.SourceFound():
                steps = [self._found(received.sent, payload)] if self._is_mine(payload) else []
            case _ if received.name in _EVERYBODY:
                steps = self._of_everybody(received, payload, unit)
            case _ if self._is_mine(payload):
                steps = self._of_the_observation(received, payload, unit)
        return steps

    def _found(self, at: float, it: messages.SourceFound) -> SourceDetected:
        unit = self.observed.config.unit_of(it.telescope)
        return SourceDetected(at, it.ra, it.dec, it.filter, it.magnitude, it.magnitude_error, it.path, unit=unit)

    def _is_mine(self, payload: Any) -> bool:
        """Whether a payload is about this alert's observation."""
        if isinstance(payload, messages.Plan):
            return any(self._is_mine(each.observation) for each in payload.observations)
        field = "id" if isinstance(payload, Observation) else "observation"
        return bool(self._observation) and getattr(payload, field, None) == self._observation

    def _failed(self, agent: str, received: Received, payload: Any) -> list[TimelineStep]:
        """Return the steps that the failure of an agent's handler means."""
        at = received.taken
        what = f"{agent} failed at {received.name!r}: {last_line(received.error or '')} (pyros messages failed {agent})"
        if isinstance(payload, messages.AlertReceived) and self._is_this_alert(payload):
            return [*self._arrival(payload.received, payload.source), *self._end(at, "failed", what)]
        return [Trouble(at, what)] if self._is_mine(payload) else []

    def _is_this_alert(self, payload: messages.AlertReceived) -> bool:
        try:
            return self._known_by(payload.packet) == self._key
        except AlertError:
            return False

    def _alert_received(self, received: Received, payload: messages.AlertReceived) -> list[TimelineStep]:
        if not self._is_this_alert(payload):
            return []
        self._taken = received.taken
        return self._arrival(payload.received, payload.source)

    def _alert_decided(self, at: float, payload: messages.AlertDecided) -> list[TimelineStep]:
        not_understood = not payload.alert and self._taken is not None and at >= self._taken
        if self._observation is not None or not (payload.alert == self._ivorn or not_understood):
            return []
        self._observation = payload.observation if payload.accepted else ""
        decided = Decided(at, payload.accepted, payload.reason, self._observation, payload.ra, payload.dec)
        return [decided] if payload.accepted else [decided, *self._end(at, "refused", payload.reason)]

    def _plan_updated(self, at: float, plan: messages.Plan, unit: str) -> list[TimelineStep]:
        if self._observation in plan.withdrawn:
            if unit:  # told by what its scheduler has heard
                self._planned.pop(unit, None)
                return []
            return self._end(at, "withdrawn", "another alert took it back")
        mine = next((each for each in plan.observations if self._is_mine(each.observation)), None)
        if mine is None:  # made before it was asked for, or it has been given up
            return self._gives_up(at, unit) if self._planned.pop(unit, None) is not None else []
        starts = plan.start_now == self._observation
        if starts == self._planned.get(unit):
            return []
        self._planned[unit] = starts
        return [Planned(at, starts, mine.reason, mine.altitude, mine.observation, unit=unit)]

    def _gives_up(self, at: float, unit: str) -> list[TimelineStep]:
        """Return the step of a plan that has it no more: one of several telescopes may do what another gives up."""
        reason = self._reasons.get(unit, "") or "its time is over"
        if not unit:
            return self._end(at, "failed", reason)
        self._given_up, self._reasons[unit] = True, reason
        return [Trouble(at, f"given up: {reason}", unit=unit)]

    def _of_everybody(self, received: Received, payload: Any, unit: str) -> list[TimelineStep]:
        """Return the step of what concerns every observation there, and so this one if it has been planned."""
        if not self._planned.get(unit):
            return []
        if received.name == messages.DOME_OPENED:
            return [DomeOpened(received.sent, unit=unit)]
        return [Trouble(received.sent, f"{received.name.lower()}: {payload.reason}", unit=unit)]

    def _of_the_observation(self, received: Received, payload: Any, unit: str) -> list[TimelineStep]:
        at, it = received.sent, payload
        step: TimelineStep | None = None
        match it:
            case messages.SlewStarted():
                step = SlewCommanded(at, it.seconds, unit=unit)
            case messages.SlewFinished():
                step = OnTarget(at, it.ra, it.dec, it.error, unit=unit)
            case messages.ExposureStarted():
                step = ShutterOpened(at, it.number, it.of, it.filter, it.seconds, unit=unit)
            case messages.ExposureFinished():
                step = ImageOnDisk(at, it.number, it.filter, it.path, unit=unit)
            case Observation():
                step = TelescopeAsked(at, unit=unit)
            case messages.Withdrawal() if unit:
                step = TakenBack(at, it.reason, unit=unit)
            case messages.Withdrawal():
                return self._end(at, "withdrawn", it.reason)
        if step is not None:
            return [step]
        if received.name == messages.OBSERVATION_FINISHED:
            return self._end(at, "finished", it.reason, it.images, unit)
        if received.name == messages.OBSERVATION_FAILED:  # the next plan tells whether it will be tried again
            self._reasons[unit], self._planned[unit] = it.reason, False
        return [Trouble(at, f"{received.name.lower()}: {it.reason}", unit=unit)]


_BEFORE_OBSERVATION = (messages.ALERT_RECEIVED, messages.ALERT_DECIDED)
_EVERYBODY = (messages.DOME_OPENED, messages.DOME_FAILED, messages.WEATHER_UNSAFE)
_TELLING = {
    ("alert_manager", messages.ALERT_RECEIVED),
    ("alert_manager", messages.SOURCE_FOUND),
    ("monitoring", messages.ALERT_DECIDED),
    ("majordome", messages.PLAN_UPDATED),
    *(("majordome", name) for name in _EVERYBODY),
    ("observation_manager", messages.SLEW_STARTED),
    ("observation_manager", messages.SLEW_FINISHED),
    ("observation_manager", messages.SLEW_FAILED),
    ("observation_manager", messages.EXPOSURE_STARTED),
    ("observation_manager", messages.EXPOSURE_FINISHED),
    ("observation_manager", messages.EXPOSURE_FAILED),
    ("scheduler", messages.OBSERVATION_FINISHED),
    ("scheduler", messages.OBSERVATION_FAILED),
}
"""(receiver, message): what tells how the alert fares. Some messages go to several agents, and count once."""
_OF_SEVERAL = {
    messages.OBSERVATION_REQUESTED, messages.OBSERVATION_REQUEST_WITHDRAWN, messages.OBSERVATION_FINISHED,
    messages.OBSERVATION_FAILED,
}  # fmt: skip
"""The same of the scheduler of each of several telescopes."""
