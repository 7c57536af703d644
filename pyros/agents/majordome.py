"""The majordome: runs the night. It opens the dome, has the plan's observation run, closes and parks at the end.

It never opens for itself in doubt: without a *Weather safe* that was said not long ago, nothing opens and nothing runs.
"""

from __future__ import annotations

import msgspec

from pyros import messages
from pyros.agents.base import Agent
from pyros.hold import Hold
from pyros.messages import Abort, KeepOpen, Message, Observation, Order, Plan

RENEW_LEASE = messages.guard("Renew lease")
END_SESSION = messages.guard("End session")
PAUSE_OVER = messages.guard("Pause over")
LEASE = 60.0
"""Seconds for which the dome may stay open without hearing from the majordome again."""

_CLOSE_AFTER = 60.0
_PAUSE = 30.0
_DONE = 200


class MajordomeState(msgspec.Struct):
    """The last plan, what runs, the weather as last heard and until when that counts (Unix seconds), whether the dome
    was asked to open, and until when it is not asked again, because it did not.

    ``observed`` has the id of every *Observe* whose end was not heard yet, in their order: the observation manager ends
    each of them exactly once, and the end of an earlier one says nothing about the one that runs.
    """

    plan: Plan | None = None
    running: Observation | None = None
    observed: list[str] = []
    done: dict[str, float] = {}
    weather_safe: bool = False
    weather_until: float = 0.0
    dome_wanted: bool = False
    pause_until: float = 0.0
    end_timer: int | None = None
    lease_timer: int | None = None


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

    def work(self) -> None:
        """Take up the night where it was left: a dome that was wanted open gets its lease again, if it is safe."""
        self._close_after = self.option("close_after", float, _CLOSE_AFTER)

    def plan_updated(self, message: Message) -> None:
        plan: Plan = message.payload
        self.state.plan = plan
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
        """Counts from when it was said: it may have waited for this agent."""
        self.state.weather_until = min(message.sent, self.clock.time()) + self.config.limits.max_silence
        if not self.state.weather_safe:
            self.log.info("the weather is safe")
            self.state.weather_safe = True
            self._decide()

    def weather_unsafe(self, message: Message) -> None:
        """Stop everything, close, park."""
        if self.state.weather_safe or self.state.dome_wanted:
            self._unsafe(f"weather unsafe: {message.payload.reason}")

    def dome_opened(self) -> None:
        self.log.info("the dome is open")

    def dome_closed(self, message: Message) -> None:
        """Closed by itself, because a lease ended, it is asked to open again only with the next observation."""
        self.log.info("the dome is closed: {reason}", reason=message.payload.reason)
        if self.state.dome_wanted:
            reason = f"the dome has closed: {message.payload.reason}"
            self._pause()
            self._abort(reason)
            self._close_and_park(reason)

    def dome_failed(self, message: Message) -> None:
        """It did not open: nothing is tried for some time. (What did not close is the dome agent's own affair, and so
        is what was lost while it opened: that is opened as soon as it is back, while the leases run.)"""
        self.log.error("the dome: {reason}", reason=message.payload.reason)
        if self.state.dome_wanted and not message.payload.lost:
            self._pause()
            self._abort(f"dome: {message.payload.reason}")
            self._close_and_park(message.payload.reason)

    def on_hold(self, hold: Hold, stop: bool) -> None:
        """Stop what runs. What a person has moved meanwhile stays as it is."""
        self._abort(str(hold))
        if self.state.dome_wanted:
            self._close_and_park(str(hold))

    def on_release(self) -> None:
        """The plan is as old as the hold."""
        self.state.plan = None
        self.send_to(self.SCHEDULER, messages.PLAN_AGAIN)

    def kept_open(self) -> None:
        """The dome's agent has heard that it may stay open."""

    def parked(self) -> None:
        self.log.info("the telescope is parked")

    def park_failed(self, message: Message) -> None:
        self.log.error("parking failed: {reason}", reason=message.payload.reason)

    def renew_lease(self) -> None:
        """While the dome shall be open, say so again before the lease ends."""
        if self.state.lease_timer is not None:
            self.cancel_timer(self.state.lease_timer)
            self.state.lease_timer = None
        if self.state.weather_safe and self.state.weather_until <= self.clock.time():
            self._unsafe("monitoring is silent")
        if self.state.dome_wanted and self.state.weather_safe:
            self.send_to(self.DOME, messages.KEEP_OPEN, KeepOpen(seconds=LEASE))
            self.state.lease_timer = self.call_later(LEASE / 3, RENEW_LEASE)

    def pause_over(self) -> None:
        """Go on with the plan; it may have come meanwhile."""
        self._decide()

    def end_session(self) -> None:
        self.state.end_timer = None
        if self.state.running is None and self._wanted() is None:
            self._close_and_park("nothing to observe")

    def _wanted(self) -> Observation | None:
        plan, now = self.state.plan, self.clock.time()
        if (
            plan is None
            or self.holds.hold is not None
            or not self.state.weather_safe
            or now >= self.state.weather_until
        ):
            return None
        if now < self.state.pause_until:
            return None
        for planned in plan.observations:
            observation = planned.observation
            if observation.id == plan.start_now and observation.requested > self.state.done.get(observation.id, -1.0):
                return observation
        return None

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
            self.send_to(self.DOME, messages.OPEN, Order(reason=f"for {wanted.id}"))
            self.renew_lease()

    def _done(self, observation: str, requested: float) -> None:
        """An old plan may still name it; only a newer request for the same is observed again."""
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
        self.state.weather_safe = False
        self._abort(reason)
        self._close_and_park(reason)

    def _pause(self) -> None:
        """A dome that has just refused is not asked again at once."""
        self.state.pause_until = self.clock.time() + _PAUSE
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
