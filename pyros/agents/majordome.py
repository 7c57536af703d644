"""The majordome: runs the night. It opens the dome, has the plan's observation run, closes and parks at the end.

It believes nobody who is silent. Without a *Weather safe* that was said not long ago nothing opens and nothing runs;
nor while the dome's agent doesn't acknowledge that it keeps the dome open, or says that it may not be. What was heard
before a restart counts for nothing: all of it is in memory only, and by the monotonic clock.
"""

from __future__ import annotations

import math

import msgspec

from pyros import messages
from pyros.agents.agent import Agent
from pyros.errors import PlanningError
from pyros.hold import Hold
from pyros.messages import Abort, DomeReport, KeepOpen, Message, Observation, Order, Plan
from pyros.planning import Site
from pyros.planning.visibility import sun_altitude

RENEW_LEASE = messages.guard("Renew lease")
END_SESSION = messages.guard("End session")
PAUSE_OVER = messages.guard("Pause over")
LEASE = 60.0
"""Seconds for which the dome may stay open without hearing from the majordome again, and for which the majordome goes
on without hearing from the dome's agent."""

_RENEW_SECONDS = LEASE / 3
_QUESTION_SECONDS = 5.0  # what is asked by *Keep open* while the dome is closed, keeps nothing open
_CLOSE_AFTER = 60.0
_PAUSE = 30.0
_DONE = 200
_PLAN_FRESH_SECONDS = 180.0
_GRACE_SECONDS = 15.0
_TWILIGHT_MARGIN = 0.5  # degrees of the Sun after the night's end: until then the scheduler ends the night
_MONITORING_SILENT = "monitoring is silent"
_DOME_SILENT = "the dome's agent is silent"


class MajordomeState(msgspec.Struct):
    """What the majordome remembers of the night."""

    plan: Plan | None = None
    """The last one."""
    running: Observation | None = None
    """What the observation manager was told to observe last, and hasn't ended."""
    observed: list[str] = []
    """The ids of every *Observe* whose end was not heard yet, in their order: the observation manager ends each of them
    exactly once, and the end of an earlier one says nothing about the one that runs."""
    done: dict[str, float] = {}
    """By the ids of observations that are done, when they had been requested: Unix seconds."""
    dome_wanted: bool = False
    """Whether the dome was asked to open."""
    end_timer: int | None = None
    """When the session ends for want of something to observe."""
    lease_timer: int | None = None
    """When *Keep open* is said next."""


class MajordomeAgent(Agent):
    """Turns *Plan updated* and the weather into *Observe*, *Open*, *Close* and *Park*.

    ``option_close_after`` in its section: seconds without anything to observe before it closes and parks.
    """

    state: MajordomeState

    def __init__(self) -> None:
        super().__init__(Agent.MAJORDOME)
        self.guarded |= {  # what they end in is the next observation's slew
            messages.OBSERVATION_STARTED, messages.OBSERVATION_FINISHED, messages.OBSERVATION_FAILED,
        }  # fmt: skip
        self.actions_by_message |= {
            messages.PLAN_UPDATED: self.plan_updated,
            messages.OBSERVATION_STARTED: self.observation_started,
            messages.OBSERVATION_FINISHED: self.observation_ended,
            messages.OBSERVATION_FAILED: self.observation_ended,
            messages.WEATHER_SAFE: self.weather_safe,
            messages.WEATHER_UNSAFE: self.weather_unsafe,
            messages.DOME_OPENED: self.dome_opened,
            messages.DOME_CLOSED: self.dome_closed,
            messages.DOME_FAILED: self.dome_failed,
            messages.KEPT_OPEN: self.kept_open,
            messages.PARK_FINISHED: self.parked,
            messages.PARK_FAILED: self.park_failed,
            RENEW_LEASE: self.renew_lease,
            END_SESSION: self.end_session,
            PAUSE_OVER: self.pause_over,
        }
        self._weather_reason = "monitoring has said nothing yet"
        """Why it isn't safe; '' when it is, until `_weather_until`."""
        self._weather_until = -math.inf
        self._dome_reason = ""
        """Why the dome may not be open, by its agent's last word; '' when it may."""
        self._asked_dome = False
        self._planned = self._pause_until = -math.inf
        self._paused_by_dome = False
        """The pause is because the dome's agent says that the dome may not be open: its better word ends it."""
        self._told_reason = ""
        # All instants are monotonic seconds.

    def work(self) -> None:
        """Take up the night where it was left: a dome that was wanted open gets its lease again, if it is safe."""
        self._close_after = self.option("close_after", float, _CLOSE_AFTER)
        self._site = Site.load(self.config.site)
        began = self.clock.monotonic()
        self._heard_monitoring = self._heard_dome = began  # it has so long to say something
        self._wait_for_lease(0.0)

    def plan_updated(self, message: Message) -> None:
        plan: Plan = message.payload
        self.state.plan = plan
        self._planned = message.said
        running = self.state.running
        if running is not None and running.id in plan.withdrawn:
            self._done(running.id, running.requested)
            self._abort("its request was withdrawn")
        elif running is not None and plan.start_now is None:
            for planned in plan.observations:
                if planned.observation.id == running.id:  # it has set, or the night is over
                    self._abort(planned.reason)
        self._decide()

    def observation_started(self, message: Message) -> None:
        self.log.info("{observation} has started", observation=message.payload.observation)

    def observation_ended(self, message: Message) -> None:
        report = message.payload
        self.log.info("{observation}: {name} {reason}", observation=report.observation, name=message.name,
                      reason=report.reason)  # fmt: skip
        if report.observation in self.state.observed:
            self.state.observed.remove(report.observation)
        running = self.state.running
        mine = running is not None and running.id == report.observation and running.id not in self.state.observed
        if message.name == messages.OBSERVATION_FINISHED:
            self._done(report.observation, running.requested if running and mine else message.sent)
        if mine:
            self.state.running = None
            self.state.plan = None  # it was made before this end
        self.send_to(self.SCHEDULER, messages.PLAN_AGAIN)
        self._decide()

    def weather_safe(self, message: Message) -> None:
        """Take monitoring's *Weather safe*, as old as its readings: it may have waited for this agent."""
        until = message.said - message.payload.age + self.config.limits.max_silence
        now = self.clock.monotonic()
        if until <= now:
            return  # old news
        self._hear_monitoring(message)
        self._weather_until = max(self._weather_until, until)
        if self._weather_reason:
            self.log.info("the weather is safe")
            self._weather_reason = ""
            if self.state.dome_wanted:
                self.renew_lease()
            self._decide()

    def weather_unsafe(self, message: Message) -> None:
        """Stop everything, close, park."""
        self._hear_monitoring(message)
        reason = f"weather unsafe: {message.payload.reason}"
        if not self._weather_reason or self.state.dome_wanted:
            self._unsafe(reason)
        self._weather_reason, self._weather_until = reason, -math.inf

    def dome_opened(self, message: Message) -> None:
        self._hear_dome(message)
        self.log.info("the dome is open")

    def kept_open(self, message: Message) -> None:
        """Take the dome's agent's answer to *Keep open*: whether the dome may be open, by all that it knows."""
        report: DomeReport = message.payload
        if self.age(message) > LEASE:
            return
        self._hear_dome(message)
        self._dome_reason = report.may_open and f"the dome may not be open: {report.may_open}"
        if self._dome_reason and self.state.dome_wanted:
            self._pause()
            self._paused_by_dome = True
            self._abort(self._dome_reason)
            self._close_and_park(self._dome_reason)
        elif not self._dome_reason:
            if self._paused_by_dome:  # what kept it closed is over
                self._pause_until = -math.inf
            self._decide()

    def dome_closed(self, message: Message) -> None:
        """End the session of a dome that closed by itself: it is asked to open again only with the next observation."""
        self._hear_dome(message)
        self.log.info("the dome is closed: {reason}", reason=message.payload.reason)
        if self.state.dome_wanted:
            reason = self._dome_reason = f"the dome has closed: {message.payload.reason}"
            self._pause()
            self._abort(reason)
            self._close_and_park(reason)

    def dome_failed(self, message: Message) -> None:
        """Try nothing for some time, for the dome did not open.

        What did not close is the dome agent's own affair, and so is what was lost while it opened: that is opened as
        soon as it is back, while the leases run.
        """
        self._hear_dome(message)
        self.log.error("the dome: {reason}", reason=message.payload.reason)
        if self.state.dome_wanted and not message.payload.lost:
            self._dome_reason = f"the dome: {message.payload.reason}"
            self._pause()
            self._abort(f"dome: {message.payload.reason}")
            self._close_and_park(message.payload.reason)

    def on_hold(self, hold: Hold, stop: bool) -> None:
        """Stop what runs. What a person has moved meanwhile stays as it is."""
        self._abort(str(hold))
        if self.state.dome_wanted:
            self._close_and_park(str(hold))

    def on_release(self) -> None:
        """Ask for a new plan: the last one is as old as the hold."""
        self.state.plan = None
        self.send_to(self.SCHEDULER, messages.PLAN_AGAIN)

    def parked(self) -> None:
        self.log.info("the telescope is parked")

    def park_failed(self, message: Message) -> None:
        self.log.error("parking failed: {reason}", reason=message.payload.reason)

    def renew_lease(self) -> None:
        """While the dome shall be open, say so again before the lease ends; and look who is silent."""
        self._wait_for_lease(_RENEW_SECONDS)
        self._look_who_is_silent()
        if self.state.dome_wanted and self._reason_day():
            self._abort(self._reason_day())
            self._close_and_park(self._reason_day())
        if self.state.dome_wanted and not self._weather_reason:
            self.send_to(self.DOME, messages.KEEP_OPEN, KeepOpen(seconds=LEASE))
        elif not self.state.dome_wanted:
            self._ask_dome()

    def pause_over(self) -> None:
        """Go on with the plan, which may have come meanwhile, when the dome's agent says that it may be open."""
        if not self.state.dome_wanted:
            self._ask_dome()
        self._decide()

    def end_session(self) -> None:
        self.state.end_timer = None
        if self.state.running is None and self._wanted() is None:
            self._close_and_park("nothing to observe")

    def _wanted(self) -> Observation | None:
        """Return what the plan says to observe now, if nothing is against it; why nothing opens is logged once."""
        plan = self.state.plan
        if plan is None:
            return None
        for planned in plan.observations:
            observation = planned.observation
            if observation.id != plan.start_now or observation.requested <= self.state.done.get(observation.id, -1.0):
                continue
            reason = self._reason_closed()
            if reason != self._told_reason:
                self._told_reason = reason
                if reason:
                    self.log.warn("{id} has to wait: {reason}", id=observation.id, reason=reason)
            return None if reason or self.clock.monotonic() < self._pause_until else observation
        return None

    def _reason_closed(self) -> str:
        """Why nothing may be opened or observed now; '' when it may."""
        hold, now = self.holds.hold, self.clock.monotonic()
        if hold is not None:
            return str(hold)
        if self._weather_reason:
            return self._weather_reason
        if now >= self._weather_until:
            return _MONITORING_SILENT
        return self._dome_reason or self._reason_day()

    def _reason_day(self) -> str:
        """Why the Sun keeps the dome closed; '' when it doesn't. In twilight a living scheduler may have it open."""
        plan, age = self.state.plan, self.clock.monotonic() - self._planned
        planned = plan is not None and plan.start_now is not None and age < _PLAN_FRESH_SECONDS
        limit = self._site.dome_sun_limit
        if not planned:
            limit = min(limit, self._site.twilight + _TWILIGHT_MARGIN)
        try:
            sun = sun_altitude(self._site, self.clock.now())
        except (PlanningError, ValueError, OverflowError, OSError) as error:
            return f"the Sun's place cannot be computed: {error}"
        return f"it is day: the Sun is at {sun:+.1f}°" if sun >= limit else ""

    def _hear_monitoring(self, message: Message) -> None:
        if message.said > self._heard_monitoring:
            self._heard_monitoring = message.said
            self.alarm_over(_MONITORING_SILENT)

    def _hear_dome(self, message: Message) -> None:
        if message.said > self._heard_dome:
            self._heard_dome, self._asked_dome = message.said, False
            self.alarm_over(_DOME_SILENT)

    def _look_who_is_silent(self) -> None:
        now = self.clock.monotonic()
        silent, patience = now - self._heard_monitoring, self.config.limits.max_silence
        if silent >= patience + _GRACE_SECONDS:  # it says itself that the weather station is silent
            text = f"monitoring has said nothing for {silent:.0f} s: nothing opens; start it again"
            self.alarm(_MONITORING_SILENT, text)
        if (not self._weather_reason and now >= self._weather_until) or (self.state.dome_wanted and silent >= patience):
            self._unsafe(_MONITORING_SILENT)
        silent = now - self._heard_dome
        if self.state.dome_wanted and silent >= LEASE - _RENEW_SECONDS / 2:
            self._dome_reason = f"the dome's agent has said nothing for {silent:.0f} s"
            text = (
                f"{self._dome_reason}: nothing is observed; look whether the dome is closed, and start the agent again"
            )
            self.alarm(_DOME_SILENT, text)
            self._abort(self._dome_reason)
            self._close_and_park(self._dome_reason)

    def _ask_dome(self) -> None:
        """Ask the dome's agent, whose last word was that the dome may not be open, whether that is still so."""
        if self._dome_reason and not self._asked_dome and self.clock.monotonic() >= self._pause_until:
            self._asked_dome = True  # the question waits where that agent is away
            self.send_to(self.DOME, messages.KEEP_OPEN, KeepOpen(seconds=_QUESTION_SECONDS))

    def _wait_for_lease(self, seconds: float) -> None:
        if self.state.lease_timer is not None:
            self.cancel_timer(self.state.lease_timer)
        self.state.lease_timer = self.call_later(seconds, RENEW_LEASE)

    def _decide(self) -> None:
        wanted, running = self._wanted(), self.state.running
        if wanted is None:
            if running is None and self.state.dome_wanted and self.state.end_timer is None:
                self.state.end_timer = self.call_later(self._close_after, END_SESSION)
            return
        if self.state.end_timer is not None:
            self.cancel_timer(self.state.end_timer)
            self.state.end_timer = None
        if running is not None and running.id == wanted.id and _same_sky(running, wanted):
            self.state.running = wanted
            return
        self.state.running = wanted
        self.state.observed.append(wanted.id)
        self.send_to(self.OBSERVATION_MANAGER, messages.OBSERVE, wanted)
        if not self.state.dome_wanted:
            self.state.dome_wanted = True
            self._heard_dome = max(self._heard_dome, self.clock.monotonic())  # it has so long to answer
            self.send_to(self.DOME, messages.OPEN, Order(reason=f"for {wanted.id}"))
            self.renew_lease()

    def _done(self, observation: str, requested: float) -> None:
        """Note that an observation is done; an old plan may name it still, but only a newer request is observed."""
        self.state.done.pop(observation, None)
        self.state.done[observation] = requested
        while len(self.state.done) > _DONE:
            del self.state.done[next(iter(self.state.done))]

    def _abort(self, reason: str) -> None:
        """Have the observation that runs stopped, if one does."""
        if self.state.running is not None:
            abort = Abort(observation=self.state.running.id, reason=reason)
            self.send_to(self.OBSERVATION_MANAGER, messages.ABORT_OBSERVATION, abort)
            self.state.running = None

    def _unsafe(self, reason: str) -> None:
        self.log.warn("{reason}", reason=reason)
        self._weather_reason, self._weather_until = reason, -math.inf
        self._abort(reason)
        self._close_and_park(reason)

    def _pause(self) -> None:
        """Pause before the dome, which has just refused, is asked again."""
        self._pause_until = self.clock.monotonic() + _PAUSE
        self._paused_by_dome = False
        self.call_later(_PAUSE, PAUSE_OVER)

    def _close_and_park(self, reason: str) -> None:
        if self.holds.service is not None and not self.state.dome_wanted:
            return  # a person moves the devices
        self.state.dome_wanted = False
        self.send_to(self.DOME, messages.CLOSE, Order(reason=reason))
        self.send_to(self.TELESCOPE, messages.PARK, Order(reason=reason))


def _same_sky(one: Observation, other: Observation) -> bool:
    """Whether the telescope and the camera would do the same for both."""
    return (one.ra, one.dec, one.exposures) == (other.ra, other.dec, other.exposures)
