"""Whether anything may be opened or observed now: by the weather, the dome's word, a hold, the Sun, and the plan.

All that was heard is in memory only: what was heard before a restart counts for nothing. Instants: monotonic seconds.
"""

from __future__ import annotations

import math

from pyros.agents.agent import Agent
from pyros.agents.night_state import RETRY_SECONDS, MajordomeState
from pyros.agents.night_table import State
from pyros.errors import PlanningError
from pyros.messages import Message, Observation
from pyros.planning import Site
from pyros.planning.phases import reason_not_now
from pyros.planning.visibility import sun_altitude

MONITORING_SILENT = "monitoring is silent"
DOME_SILENT = "the dome's agent is silent"
NO_DOME = "there is no [dome], and [telescope] doesn't say that it stands in the open (open_air = yes)"
_PLAN_FRESH_SECONDS = 180.0
_LAG_SECONDS = 10.0  # how much later the scheduler may hear of a failure than was meant
_MAX_FAILED = 100
_TWILIGHT_MARGIN = 0.5  # degrees of the Sun after the night's end: until then the scheduler ends the night


class NightGate:
    """What the majordome has heard, and what follows from it; for the agent's turns."""

    site: Site

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.weather_reason = "monitoring has said nothing yet"
        """Why it isn't safe; '' when it is, until `weather_until`."""
        self.weather_until = -math.inf
        self.dome_reason = ""
        """Why the dome may not be open, by its agent's last word; '' when it may."""
        self.no_dome = ""
        """Why nothing is observed where there is no dome; '' where there is one, or where it is meant so."""
        self.planned = self.pause_until = -math.inf
        """When the last plan was said, and until when nothing is opened."""
        self.heard_monitoring = self.heard_dome = -math.inf
        """When the two agents said something last."""
        self.failed: dict[str, tuple[float, float]] = {}
        """By the ids of observations that have failed: when that request was made (Unix seconds), and until when it is
        not begun again. A scheduler that hears of it later plans with it still, and the mount would be sent off anew
        with each of its plans."""
        self.flats = False
        """Whether flats of the sky are wanted, for which the dome opens in twilight."""
        self._told_reason = ""

    @property
    def _state(self) -> MajordomeState:
        state: MajordomeState = self._agent.state
        return state

    def wanted(self) -> Observation | None:
        """Return what the plan says to observe now, if nothing is against it; why nothing opens is logged once."""
        plan = self._state.plan
        if plan is None:
            return None
        for planned in plan.observations:
            observation = planned.observation
            if observation.id != plan.start_now or self._state.is_done(observation):
                continue
            reason = self.reason_closed() or self._reason_failed(observation) or self._reason_not_now(observation)
            if reason != self._told_reason:
                self._told_reason = reason
                if reason:
                    self._agent.log.warn("{id} has to wait: {reason}", id=observation.id, reason=reason)
            return None if reason or self._agent.clock.monotonic() < self.pause_until else observation
        return None

    def reason_closed(self, *, flats: bool = False) -> str:
        """Why nothing may be opened or observed now; '' when it may."""
        hold, now = self._agent.holds.hold, self._agent.clock.monotonic()
        if hold is not None:
            return str(hold)
        if self.weather_reason:
            return self.weather_reason
        if now >= self.weather_until:
            return MONITORING_SILENT
        return self.no_dome or self.dome_reason or self.reason_day(flats=flats)

    def note_failed(self, observation: str, requested: float, said: float) -> None:
        """Note what has failed by the instruments, when it was requested (Unix), and when that was said (monotonic)."""
        self.failed.pop(observation, None)
        self.failed[observation] = (requested, said + RETRY_SECONDS - _LAG_SECONDS)
        while len(self.failed) > _MAX_FAILED:
            del self.failed[next(iter(self.failed))]

    def _reason_failed(self, observation: Observation) -> str:
        requested, until = self.failed.get(observation.id, (None, -math.inf))
        fails = requested == observation.requested and self._agent.clock.monotonic() < until
        return "it has just failed" if fails else ""

    def _reason_not_now(self, observation: Observation) -> str:
        """Why the sky or the time forbids this observation, though the plan has it: the plan is older than this moment.

        What runs is left to the plan.
        """
        running = self._state.running
        if running is not None and running.id == observation.id:
            return ""
        try:
            return reason_not_now(self.site, observation, self._agent.clock.now(), running=observation.taken > 0)
        except (PlanningError, ValueError, OverflowError, OSError) as error:
            return f"where {observation.id} stands cannot be computed: {error}"

    def reason_day(self, *, flats: bool = False) -> str:
        """Why the Sun keeps the dome closed; '' when it doesn't.

        In twilight a living scheduler may have it open, and so may flats.
        """
        flats = flats or self._state.state is State.FLATS or (self.flats and self._dome_opens_for_flats())
        plan, age = self._state.plan, self._agent.clock.monotonic() - self.planned
        planned = plan is not None and plan.start_now is not None and age < _PLAN_FRESH_SECONDS
        limit = self.site.dome_sun_limit
        if not planned and not flats:
            limit = min(limit, self.site.twilight + _TWILIGHT_MARGIN)
        try:
            sun = sun_altitude(self.site, self._agent.clock.now())
        except (PlanningError, ValueError, OverflowError, OSError) as error:
            return f"the Sun's place cannot be computed: {error}"
        if sun < limit:
            return ""
        part = "day" if sun >= self.site.dome_sun_limit else "twilight, and nothing is planned"
        return f"it is {part}: the Sun is at {sun:+.1f}°"

    def _dome_opens_for_flats(self) -> bool:
        return self._state.state is State.OPENING and self._state.running is None

    def hear_monitoring(self, message: Message) -> None:
        if message.said > self.heard_monitoring:
            self.heard_monitoring = message.said
            self._agent.alarm_over(MONITORING_SILENT)

    def hear_dome(self, message: Message) -> None:
        if message.said > self.heard_dome:
            self.heard_dome = message.said
            self._agent.alarm_over(DOME_SILENT)
