"""The majordome: runs the nights, one after the other, for as long as it lives.

What it does at which event stands in a table (`pyros.agents.night_table`); here messages and timers become events, and
each action has its method. The state's name is in the journal. After a restart in any state dome, mount and camera are
asked: a dome that is open with both leases stays open, one that is open without is closed.

It believes nobody who is silent. Without a *Weather safe* that was said not long ago nothing opens and nothing runs;
nor while the dome's agent doesn't acknowledge that it keeps the dome open, or says that it may not be. What was heard
before a restart counts for nothing: all of it is in memory only, and by the monotonic clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from pyros import messages
from pyros.agents._options import yes_or_no
from pyros.agents.agent import Agent
from pyros.agents.night_table import OPEN_STATES, TABLE, Action, Cell, Event, State
from pyros.errors import PlanningError
from pyros.hold import Hold
from pyros.messages import (
    Abort,
    CalibrationAbort,
    CalibrationOrder,
    CalibrationReport,
    Cool,
    DeviceState,
    DomeFailure,
    DomeReport,
    KeepOpen,
    Message,
    NightReported,
    Observation,
    Order,
    Payload,
    Plan,
)
from pyros.nights import diary
from pyros.nights.report import write_report
from pyros.planning import Site
from pyros.planning.night_log import night_name
from pyros.planning.phases import Phase, phase, reason_not_now
from pyros.planning.visibility import sun_altitude
from pyros.workers import Worker


class Limit(Payload, frozen=True):
    """That a state has lasted as long as it may: the number of the change that it began with."""

    number: int


RENEW_LEASE = messages.guard("Renew lease", fleeting=True)
END_SESSION = messages.guard("End session")
PAUSE_OVER = messages.guard("Pause over")
STATE_OVERDUE = messages.register("State overdue", Limit, guarded=True)
LEASE = 60.0
"""Seconds for which the dome may stay open without hearing from the majordome again, and for which the majordome goes
on without hearing from the dome's agent."""

_RENEW_SECONDS = LEASE / 3
_QUESTION_SECONDS = 5.0  # what is asked by *Keep open* while the dome is closed, keeps nothing open
_CLOSE_AFTER = 60.0
PAUSES = (30.0, 120.0, 600.0, 1800.0)
"""Seconds without an attempt after the dome did not open, by how often in a row; the last is for all that follow."""

ATTEMPTS = 3
"""A dome that has not opened so often in a row is a fault."""

_LIMITS = {
    State.PREPARING: 1800.0, State.OPENING: 300.0, State.FLATS: 3600.0, State.FOCUSING: 1800.0, State.CLOSING: 300.0,
    State.FINISHING: 7200.0, State.FAULT: 60.0,
}  # fmt: skip
"""Seconds that a state may last; of a fault it is the minute between two alarms."""
_DONE = 200
_FLATS = 7  # images through each filter
_FLATS_SUN = -2.0  # degrees of the Sun below which flats of the sky are begun
_DARK_TIMES = 30
_REPORT_SECONDS = 300.0
_LAST_REPORT_SECONDS = 2.0  # for which the agent's end waits for a report that is being written
_PLAN_FRESH_SECONDS = 180.0
_GRACE_SECONDS = 15.0
_TWILIGHT_MARGIN = 0.5  # degrees of the Sun after the night's end: until then the scheduler ends the night
_MONITORING_SILENT = "monitoring is silent"
_DOME_SILENT = "the dome's agent is silent"
_FAULT = "the night has stopped"
_CLOSED_STATES = frozenset(State) - OPEN_STATES - {State.HELD, State.FAULT, State.CLOSING}
_AT_WORK = frozenset((State.FLATS, State.FOCUSING, State.OBSERVING))  # the dome has said that it is open


class MajordomeState(msgspec.Struct):
    """What the majordome remembers of the night."""

    state: State = State.CLOSED
    """Where the night stands."""
    change: int = 0
    """How often that has changed."""
    night: str = ""
    """The date of the night that was begun last; '' before the first."""
    over: bool = True
    """Whether that night is over."""
    attempts: int = 0
    """How often in a row the dome did not open."""
    shut: list[str] = []
    """Of dome and mount those that have said, since they were told to close and park, that they are."""
    limit_timer: int | None = None
    """When the state has lasted as long as it may."""
    calibration: str = ""
    """The id of the calibration that was ordered last, and hasn't ended."""
    orders: list[CalibrationOrder] = []
    """Those that follow it in this state."""
    calibrations: int = 0
    """How many were ordered in all."""
    cooling: bool = False
    """Whether the night's beginning waits for a cold detector."""
    dark_times: list[float] = []
    """Exposure times of this night, seconds: darks are taken of each in the morning."""
    flats: list[str] = []
    """The twilights of this night in which flats were begun."""
    focused: float = 0.0
    """When the focus was looked for last, Unix seconds."""
    plan: Plan | None = None
    """The last one."""
    running: Observation | None = None
    """What the observation manager was told to observe last, and hasn't ended."""
    observed: list[str] = []
    """The ids of every *Observe* whose end was not heard yet, in their order: the observation manager ends each of them
    exactly once, and the end of an earlier one says nothing about the one that runs."""
    done: dict[str, float] = {}
    """By the ids of observations that are done, when they had been requested: Unix seconds."""
    end_timer: int | None = None
    """When the session ends for want of something to observe."""


class MajordomeAgent(Agent):
    """Turns *Plan updated* and the weather into *Observe*, *Open*, *Close* and *Park*.

    ``option_close_after`` in its section: seconds without anything to observe before it closes and parks.
    Calibrations, all of them left out by default: ``option_cool``: degrees Celsius of the detector by night;
    ``option_biases`` and ``option_darks``: images, before and after the night (darks of each exposure time);
    ``option_flats``: filters of which flats are taken in both twilights; ``option_focus``: hours after which the focus
    is looked for again. ``option_report = no``: no report is written in the morning.
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
            messages.DEVICE_STATE: self.device_state,
            RENEW_LEASE: self.renew_lease,
            END_SESSION: self.end_session,
            PAUSE_OVER: self.pause_over,
            STATE_OVERDUE: self.state_overdue,
            messages.COOLING_SET: self.cooling_set,
            messages.COOLING_FINISHED: self.cooling_ended,
            messages.COOLING_FAILED: self.cooling_ended,
            messages.CALIBRATION_STARTED: self.calibration_started,
            messages.CALIBRATION_FINISHED: self.calibration_ended,
            messages.CALIBRATION_FAILED: self.calibration_ended,
            messages.NIGHT_REPORTED: self.night_reported,
        }
        self.actions: dict[Action, Callable[[str], None]] = {
            Action.ASK: self._ask_devices,
            Action.PREPARE: self._prepare,
            Action.OPEN: self._open,
            Action.OBSERVE: self._observe,
            Action.FLATS: self._take_flats,
            Action.FOCUS: self._focus,
            Action.DECIDE: lambda _: self._decide(),
            Action.ABORT: self._abort,
            Action.STOP: self._stop_calibrating,
            Action.CLOSE: self._close_and_park,
            Action.PAUSE: lambda _: self._pause(),
            Action.ALARM: self._fault_alarm,
            Action.FINISH: self._finish,
            Action.REPORT: self._end_night,
            Action.PLAN: lambda _: self._ask_for_plan(),
            Action.WARN: self._warn,
        }
        self.impossible = 0
        """How often an event came up that the table has no cell for."""
        self._weather_reason = "monitoring has said nothing yet"
        """Why it isn't safe; '' when it is, until `_weather_until`."""
        self._weather_until = -math.inf
        self._dome_reason = ""
        """Why the dome may not be open, by its agent's last word; '' when it may."""
        self._lease_timer: int | None = None
        """When *Keep open* is said next."""
        self._planned = self._pause_until = self._opened = -math.inf
        self._paused_by_dome = False
        """The pause is because the dome's agent says that the dome may not be open: its better word ends it."""
        self._told_reason = ""
        self._next: Observation | None = None
        """What the event is about that is being handled."""
        self._mount_clear = False
        """The mount has said that it is parked, for a roof that is about to open."""
        self._closes = False
        """The dome was told to close, and to open since, and has not said yet that it was closed."""
        self._dome_not_closed = False
        """The dome did not close when it was told to: its device was not there."""
        self._was_open = self._was_closing = False
        """Whether the dome was wanted open, or was being closed, before the event that is being handled."""
        # All instants are monotonic seconds.

    def attach(self, reactor: Any) -> None:
        self._worker = Worker(reactor, self.clock, self.log, "majordome's", [write_report.__module__])

    def detach(self) -> Deferred[None] | None:
        return self._worker.stop(_LAST_REPORT_SECONDS)

    def work(self) -> None:
        """Take up the night where it was left: a dome that was wanted open gets its lease again, if it is safe."""
        self._close_after = self.option("close_after", float, _CLOSE_AFTER)
        self._site = Site.load(self.config.site)
        dome = self.config.agents.get(self.DOME)
        self._cool = self.option("cool", float, math.nan)
        self._biases = self.option("biases", int, 0)
        self._darks = self.option("darks", int, 0)
        self._flat_filters = tuple(self.option("flats", str, "").split())
        self._focus_seconds = 3600 * self.option("focus", float, math.inf)
        self._reports = self.option("report", yes_or_no, True)
        self.in_transaction(diary.prepare)
        self._roof = dome is not None and dome.roof
        began = self.clock.monotonic()
        self._heard_monitoring = self._heard_dome = began  # it has so long to say something
        self._happen(Event.RESTART, "this agent was started")
        self._limit_state()
        self._wait_for_lease(0.0)
        hold = self.holds.hold
        if hold is not None and self.state.state is not State.HELD:
            self._happen(Event.HOLD, str(hold))
        elif hold is None and self.state.state is State.HELD:
            self._happen(Event.RELEASE, "nobody holds the observatory any more")
        self._look_at_sun()

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
        self._note("ended", report.observation, f"{message.name} {report.reason}".strip())
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
            self._note("weather", "safe")
            self._weather_reason = ""
            if self._dome_wanted:
                self.renew_lease()
            self._decide()

    def weather_unsafe(self, message: Message) -> None:
        """Stop everything, close, park."""
        self._hear_monitoring(message)
        reason = f"weather unsafe: {message.payload.reason}"
        if not self._weather_reason or self._dome_wanted:
            self._unsafe(reason)
        self._weather_reason, self._weather_until = reason, -math.inf

    def dome_opened(self, message: Message) -> None:
        """Go on by the dome's own word. An opening from before the last order is old news."""
        self._hear_dome(message)
        self.log.info("the dome is open")
        if message.said >= self._opened:
            self._dome_is_open()

    def _dome_is_open(self) -> None:
        self._closes = False
        if self._dome_wanted:
            self.state.attempts = 0
            self.alarm_over(_FAULT)
            event = Event.OPENED
            if self.state.state is State.OPENING and self.state.running is None:
                if self._flats_are_due(self._now()[0]):
                    event = Event.OPENED_FOR_FLATS
                elif self._focus_is_due() and self._wanted() is not None:
                    event = Event.OPENED_FOR_FOCUS
            self._happen(event, "the dome is open")

    def kept_open(self, message: Message) -> None:
        """Take the dome's agent's answer to *Keep open*: whether the dome may be open, by all that it knows."""
        report: DomeReport = message.payload
        if self.age(message) > LEASE:
            return
        self._hear_dome(message)
        self._dome_reason = report.may_open and f"the dome may not be open: {report.may_open}"
        if self._dome_reason and self._dome_wanted:
            self._happen(Event.DOME_SHUT, self._dome_reason)
            self._paused_by_dome = True
        elif not self._dome_reason:
            if self._paused_by_dome:  # what kept it closed is over
                self._pause_until = -math.inf
            self._decide()

    def dome_closed(self, message: Message) -> None:
        """End the session of a dome that closed by itself: it is asked to open again only with the next observation."""
        self._hear_dome(message)
        self.log.info("the dome is closed: {reason}", reason=message.payload.reason)
        closed_before, self._closes = message.said < self._opened or self._closes, False
        if closed_before and self._dome_wanted:
            return  # told to open since
        if self._dome_wanted:
            self._dome_reason = f"the dome has closed: {message.payload.reason}"
            self._happen(Event.DOME_SHUT, self._dome_reason)
        else:
            self._dome_is_back()
            self._is_shut(self.DOME)

    def _dome_is_back(self) -> None:
        """End the pause of a dome that did not do what it was told, and now has closed: its device works again."""
        if self._dome_not_closed:
            self._dome_not_closed, self._dome_reason = False, ""
            self._pause_until = -math.inf
            self._decide()

    def dome_failed(self, message: Message) -> None:
        """Try nothing for some time, for the dome did not open.

        What did not close is the dome agent's own affair, and so is what was lost while it opened: that is opened as
        soon as it is back, while the leases run.
        """
        self._hear_dome(message)
        failure: DomeFailure = message.payload
        self.log.error("the dome: {reason}", reason=failure.reason)
        self._dome_not_closed = self._dome_not_closed or failure.what == "close"
        if not self._dome_wanted or failure.lost:
            return
        self._dome_reason = f"the dome: {failure.reason}"
        if self.state.state is State.OPENING and failure.what == "open":
            self._not_opened(self._dome_reason)
        else:
            self._happen(Event.DOME_FAILED, self._dome_reason)

    def _not_opened(self, reason: str) -> None:
        self.state.attempts += 1
        self._happen(Event.GIVEN_UP if self.state.attempts >= ATTEMPTS else Event.DOME_FAILED, reason)

    def on_hold(self, hold: Hold, stop: bool) -> None:
        """Stop what runs. What a person has moved meanwhile stays as it is."""
        self._happen(Event.HOLD, str(hold))

    def on_release(self) -> None:
        """Ask for a new plan: the last one is as old as the hold."""
        if self.holds.hold is not None:
            return  # another one began
        if self.state.state is State.HELD:
            self._happen(Event.RELEASE, "nobody holds the observatory any more")
        else:
            self._ask_for_plan()
        self._look_at_sun()

    def parked(self) -> None:
        self.log.info("the telescope is parked")
        if self.state.state is State.OPENING and self._roof and not self._mount_clear:
            self._mount_clear = True
            self._happen(Event.MOUNT_CLEAR, "the telescope is parked")
        else:
            self._is_shut(self.TELESCOPE)

    def park_failed(self, message: Message) -> None:
        self.log.error("parking failed: {reason}", reason=message.payload.reason)

    def device_state(self, message: Message) -> None:
        """Compare what a device says that it does, asked after a restart, with what it should."""
        told: DeviceState = message.payload
        self.log.info("the {device} is {state}", device=told.instrument, state=told.state)
        state = self.state.state
        if told.instrument == self.DOME:
            self._hear_dome(message)
            open_, shut = told.state in ("open", "opening"), told.state == "closed"
            if self._dome_wanted and told.reason:
                self._dome_reason = f"the dome may not be open: {told.reason}"
                self._happen(Event.DOME_SHUT, self._dome_reason)
            elif state is State.OPENING and told.state == "open":
                self._dome_is_open()
            elif state in _AT_WORK and shut:
                self._happen(Event.DOME_SHUT, "the dome is closed")
        else:
            open_ = told.instrument == self.TELESCOPE and told.state in ("slewing", "tracking")
        if open_ and state in _CLOSED_STATES:
            self._happen(Event.FOUND_OPEN, f"the {told.instrument} was found {told.state}")

    def state_overdue(self, message: Message) -> None:
        """Leave a state that has lasted too long; in a fault a minute has passed."""
        if message.payload.number != self.state.change:
            return
        self.state.limit_timer = None
        match self.state.state:
            case State.FAULT:
                self._happen(Event.MINUTE, "")
                self._limit_state()
            case State.OPENING:
                self._not_opened(f"the dome is not open after {_LIMITS[State.OPENING]:.0f} s")
            case state:
                self._happen(Event.OVERDUE, f"{state} has lasted {_LIMITS[state]:.0f} s")

    def renew_lease(self) -> None:
        """While the dome shall be open, say so again before the lease ends; and look who is silent, and at the Sun."""
        self._wait_for_lease(_RENEW_SECONDS)
        self._look_who_is_silent()
        if self._dome_wanted and (day := self._reason_day()):
            self._happen(Event.DAY, day)
        self._look_at_sun()
        if self._dome_wanted and not self._weather_reason:
            self.send_to(self.DOME, messages.KEEP_OPEN, KeepOpen(seconds=LEASE))
        elif not self._dome_wanted:
            self._ask_dome()

    def pause_over(self) -> None:
        """Go on with the plan, which may have come meanwhile, when the dome's agent says that it may be open."""
        if not self._dome_wanted:
            self._ask_dome()
        self._recover()
        self._decide()

    def end_session(self) -> None:
        self.state.end_timer = None
        if self.state.state is State.OBSERVING and self.state.running is None and self._wanted() is None:
            self._happen(Event.IDLE, "nothing to observe")

    # The table ----------------------------------------------------------------------------------------------------

    @property
    def _dome_wanted(self) -> bool:
        """Whether the dome shall be open now, or be opened."""
        return self.state.state in OPEN_STATES

    def _happen(self, event: Event, reason: str) -> None:
        """Go to the next state, and do what the table says; ``reason`` is for people, and goes with the orders."""
        before = self.state.state
        cell = TABLE.get((before, event))
        if cell is None:
            self.impossible += 1
            self.log.error("{event} while {state}: the table has no such cell", event=event, state=before)
            return
        self._was_open = self._dome_wanted
        if before is not State.OPENING:
            self._was_closing = before is State.CLOSING and self.DOME not in self.state.shut
        if cell.state is not before:
            self._enter(cell, reason or event)
        for action in cell.actions:
            self.actions[action](reason or event)

    def _enter(self, cell: Cell, reason: str) -> None:
        self.log.info("{old} -> {new}: {reason}", old=self.state.state, new=cell.state, reason=reason)
        if self.state.end_timer is not None:
            self.cancel_timer(self.state.end_timer)
            self.state.end_timer = None
        self.state.state = cell.state
        self._note("state", cell.state, reason)
        self._mount_clear = False
        self._limit_state()

    def _note(self, what: diary.What, value: str, reason: str = "", alert: str = "") -> None:
        """Write a line into the diary, with this turn."""
        now = self.clock.time()
        line = diary.DiaryLine(night_name(self._site, now), now, what, value, reason, alert)
        self.in_transaction(lambda db: diary.write(db, line))

    def _limit_state(self) -> None:
        """Hear of it when the state has lasted as long as it may."""
        self.state.change += 1
        if self.state.limit_timer is not None:
            self.cancel_timer(self.state.limit_timer)
            self.state.limit_timer = None
        if (seconds := _LIMITS.get(self.state.state)) is not None:
            self.state.limit_timer = self.call_later(seconds, STATE_OVERDUE, Limit(number=self.state.change))

    # Day and night ------------------------------------------------------------------------------------------------

    def _look_at_sun(self) -> None:
        """Begin and end the nights."""
        now = self.clock.now()
        try:
            part, night = phase(self._site, now), night_name(self._site, now.timestamp())
        except (PlanningError, ValueError, OverflowError, OSError) as error:
            self.log.error("the Sun's place cannot be computed: {error}", error=error)
            return
        state = self.state.state
        if state in (State.PREPARING, State.READY, State.OBSERVING) and self._flats_are_due(part):
            if self.state.running is None:
                self._happen(Event.FLATS_DUE, "flats of the twilight")
        elif self._is_over(part, night):
            if not self.state.over and state in (State.PREPARING, State.READY, State.HELD, State.FAULT):
                self._happen(Event.MORNING, "the night is over")
        elif part != "afternoon" and night != self.state.night and state in (State.CLOSED, State.FINISHING):
            self._happen(Event.EVENING, f"the night of {night} begins")

    def _is_over(self, part: Phase, night: str) -> bool:
        """Whether it is morning, or the night that was begun is another one than that of now."""
        return part == "morning" or (not self.state.over and night != self.state.night)

    def _prepare(self, reason: str) -> None:
        self.state.night, self.state.over = night_name(self._site, self.clock.time()), False
        self.state.attempts = 0
        self.state.dark_times, self.state.flats = [], []
        if not math.isnan(self._cool):
            self.state.cooling = True
            self.send_to(self.CAMERA, messages.COOL, Cool(celsius=self._cool))
        self._calibrate(CalibrationOrder(id="bias", kind="bias", count=self._biases) if self._biases else None)

    def _finish(self, reason: str) -> None:
        times = tuple(self.state.dark_times)
        darks = (
            CalibrationOrder(id="", kind="dark", count=self._darks, seconds=times) if self._darks and times else None
        )
        self._calibrate(darks)

    def _take_flats(self, reason: str) -> None:
        self.state.flats.append(self._now()[0])
        self._calibrate(CalibrationOrder(id="flat", kind="flat", filters=self._flat_filters, count=_FLATS))

    def _focus(self, reason: str) -> None:
        self.state.focused = self.clock.time()
        self._calibrate(CalibrationOrder(id="focus", kind="focus"))

    def _calibrate(self, *orders: CalibrationOrder | None) -> None:
        """Order these calibrations one after the other; None is for one that isn't wanted."""
        self.state.orders = [order for order in orders if order is not None]
        if not (self.state.cooling and self.state.state is State.PREPARING):  # they wait for a cold detector
            self._next_calibration()

    def _next_calibration(self) -> None:
        self.state.calibration = ""
        if self.state.orders:
            self.state.calibrations += 1
            order = self.state.orders.pop(0)
            self.state.calibration = f"{self.state.night}-{order.kind}-{self.state.calibrations}"
            order = msgspec.structs.replace(order, id=self.state.calibration)
            self.send_to(self.OBSERVATION_MANAGER, messages.CALIBRATE, order)
            return
        if self.state.state is State.FINISHING and not math.isnan(self._cool):
            self.state.cooling = False
            self.send_to(self.CAMERA, messages.COOL, Cool())
        self._happen(Event.CALIBRATED, "calibrated")

    def cooling_set(self) -> None:
        """Wait for the second answer: it tells when the detector is there."""

    def cooling_ended(self, message: Message) -> None:
        """Go on in the evening, with a cold detector or with one that doesn't get so."""
        was_awaited, self.state.cooling = self.state.cooling, False
        self.log.info("{name} {what}", name=message.name, what=message.payload)
        if was_awaited and self.state.state is State.PREPARING and not self.state.calibration:
            self._next_calibration()

    def calibration_started(self, message: Message) -> None:
        self.log.info("{id} has started", id=message.payload.calibration)

    def calibration_ended(self, message: Message) -> None:
        """Go on with the next one; what has failed is not tried again in this state."""
        report: CalibrationReport = message.payload
        self.log.info("{id}: {name} {reason}", id=report.calibration, name=message.name, reason=report.reason)
        for found in report.focus:
            self._note("focus", str(found.position), found.reason)
        if report.calibration and report.calibration == self.state.calibration:
            self._next_calibration()

    def _stop_calibrating(self, reason: str) -> None:
        if self.state.calibration:
            abort = CalibrationAbort(self.state.calibration, reason)
            self.send_to(self.OBSERVATION_MANAGER, messages.ABORT_CALIBRATION, abort)
        self.state.calibration, self.state.orders = "", []

    def _focus_is_due(self) -> bool:
        return self.FOCUSER in self.config.agents and self.clock.time() - self.state.focused >= self._focus_seconds

    def _flats_are_due(self, part: Phase) -> bool:
        """Whether the twilight is right for flats of the sky, none were begun in it, and the dome may be open."""
        if not self._flat_filters or part not in ("evening", "morning") or part in self.state.flats or self.state.over:
            return False
        low = sun_altitude(self._site, self.clock.now())
        dark = self._site.twilight <= low < min(_FLATS_SUN, self._site.dome_sun_limit)
        return dark and not self._reason_closed(flats=True) and self.clock.monotonic() >= self._pause_until

    def _end_night(self, reason: str) -> None:
        """Have the night's report written, once."""
        if not self.state.over:
            self.state.over = True
            self.after_commit(self._report, self.state.night)

    def _report(self, night: str) -> None:
        """In the reactor's thread; a worker does it."""
        if not self._reports:
            return
        done = self._worker.run(write_report, (str(self.config.path), night), seconds=_REPORT_SECONDS)

        def written(files: list[str]) -> None:
            self.log.info("the night of {night}: {files}", night=night, files=" ".join(files))
            self.post_to_self(messages.NIGHT_REPORTED, NightReported(night=night, file=files[0]))

        done.addCallbacks(
            written,
            lambda failure: self.log.error(
                "the night of {night} has no report: {why}; try pyros report {night}", night=night,
                why=failure.getErrorMessage(),
            ),
        )  # fmt: skip

    def night_reported(self, message: Message) -> None:
        """Tell the notifier of the report that a worker has written."""
        self.send_if_there(self.NOTIFIER, messages.NIGHT_REPORTED, message.payload)

    # Looking ------------------------------------------------------------------------------------------------------

    def _wanted(self) -> Observation | None:
        """Return what the plan says to observe now, if nothing is against it; why nothing opens is logged once."""
        plan = self.state.plan
        if plan is None:
            return None
        for planned in plan.observations:
            observation = planned.observation
            if observation.id != plan.start_now or observation.requested <= self.state.done.get(observation.id, -1.0):
                continue
            reason = self._reason_closed() or self._reason_not_now(observation)
            if reason != self._told_reason:
                self._told_reason = reason
                if reason:
                    self.log.warn("{id} has to wait: {reason}", id=observation.id, reason=reason)
            return None if reason or self.clock.monotonic() < self._pause_until else observation
        return None

    def _reason_closed(self, *, flats: bool = False) -> str:
        """Why nothing may be opened or observed now; '' when it may."""
        hold, now = self.holds.hold, self.clock.monotonic()
        if hold is not None:
            return str(hold)
        if self._weather_reason:
            return self._weather_reason
        if now >= self._weather_until:
            return _MONITORING_SILENT
        return self._dome_reason or self._reason_day(flats=flats)

    def _reason_not_now(self, observation: Observation) -> str:
        """Why the sky or the time forbids this observation, though the plan has it: the plan is older than this moment.

        What runs is left to the plan.
        """
        running = self.state.running
        if running is not None and running.id == observation.id:
            return ""
        try:
            return reason_not_now(self._site, observation, self.clock.now(), running=observation.taken > 0)
        except (PlanningError, ValueError, OverflowError, OSError) as error:
            return f"where {observation.id} stands cannot be computed: {error}"

    def _reason_day(self, *, flats: bool = False) -> str:
        """Why the Sun keeps the dome closed; '' when it doesn't.

        In twilight a living scheduler may have it open, and so may flats.
        """
        flats = flats or self.state.state is State.FLATS or (bool(self._flat_filters) and self._dome_opens_for_flats())
        plan, age = self.state.plan, self.clock.monotonic() - self._planned
        planned = plan is not None and plan.start_now is not None and age < _PLAN_FRESH_SECONDS
        limit = self._site.dome_sun_limit
        if not planned and not flats:
            limit = min(limit, self._site.twilight + _TWILIGHT_MARGIN)
        try:
            sun = sun_altitude(self._site, self.clock.now())
        except (PlanningError, ValueError, OverflowError, OSError) as error:
            return f"the Sun's place cannot be computed: {error}"
        return f"it is day: the Sun is at {sun:+.1f}°" if sun >= limit else ""

    def _dome_opens_for_flats(self) -> bool:
        return self.state.state is State.OPENING and self.state.running is None

    def _hear_monitoring(self, message: Message) -> None:
        if message.said > self._heard_monitoring:
            self._heard_monitoring = message.said
            self.alarm_over(_MONITORING_SILENT)

    def _hear_dome(self, message: Message) -> None:
        if message.said > self._heard_dome:
            self._heard_dome = message.said
            self.alarm_over(_DOME_SILENT)

    def _look_who_is_silent(self) -> None:
        now = self.clock.monotonic()
        silent, patience = now - self._heard_monitoring, self.config.limits.max_silence
        if silent >= patience + _GRACE_SECONDS:  # it says itself that the weather station is silent
            text = f"monitoring has said nothing for {silent:.0f} s: nothing opens; start it again"
            self.alarm(_MONITORING_SILENT, text)
        if (not self._weather_reason and now >= self._weather_until) or (self._dome_wanted and silent >= patience):
            self._unsafe(_MONITORING_SILENT)
        silent = now - self._heard_dome
        if self._dome_wanted and silent >= LEASE - _RENEW_SECONDS / 2:
            self._dome_reason = f"the dome's agent has said nothing for {silent:.0f} s"
            text = (
                f"{self._dome_reason}: nothing is observed; look whether the dome is closed, and start the agent again"
            )
            self.alarm(_DOME_SILENT, text)
            self._happen(Event.DOME_SILENT, self._dome_reason)

    def _ask_dome(self) -> None:
        """Ask the dome's agent, whose last word was that the dome may not be open, whether that is still so."""
        if self._dome_reason and self.clock.monotonic() >= self._pause_until:
            self.send_to(self.DOME, messages.KEEP_OPEN, KeepOpen(seconds=_QUESTION_SECONDS))

    def _wait_for_lease(self, seconds: float) -> None:
        if self._lease_timer is not None:
            self.cancel_timer(self._lease_timer)
        self._lease_timer = self.call_later(seconds, RENEW_LEASE)

    # What is done -------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        wanted, running = self._wanted(), self.state.running
        if wanted is None:
            if running is None and self.state.state is State.OBSERVING and self.state.end_timer is None:
                self.state.end_timer = self.call_later(self._close_after, END_SESSION)
            return
        if self.state.end_timer is not None:
            self.cancel_timer(self.state.end_timer)
            self.state.end_timer = None
        if running is not None and running.id == wanted.id and _same_sky(running, wanted):
            self.state.running = wanted
            return
        self._next = wanted
        if running is None and not wanted.alert and self.state.state is State.OBSERVING and self._focus_is_due():
            self._happen(Event.FOCUS_DUE, f"the focus was found {_hours(self.clock.time() - self.state.focused)} ago")
            return
        self._happen(Event.URGENT if wanted.alert else Event.WORK, f"for {wanted.id}")
        self._next = None

    def _observe(self, reason: str) -> None:
        """Have the observation begin. The telescope under a roof waits until that is open."""
        wanted = self._next
        if wanted is None or (self._roof and self.state.state not in _AT_WORK):
            return
        if self.state.state is State.OPENING and not wanted.alert and self._focus_is_due():
            return  # the focus comes first
        for exposures in wanted.exposures:
            if exposures.seconds not in self.state.dark_times and len(self.state.dark_times) < _DARK_TIMES:
                self.state.dark_times.append(exposures.seconds)
        self.state.running = wanted
        self.state.observed.append(wanted.id)
        self.send_to(self.OBSERVATION_MANAGER, messages.OBSERVE, wanted)
        self._note("observe", wanted.id, reason, wanted.alert)

    def _open(self, reason: str) -> None:
        """Open, while the telescope is on its way already: nothing of a dome is in its way."""
        if self._roof and not self._mount_clear:
            self.send_to(self.TELESCOPE, messages.PARK, Order(reason=f"the roof opens {reason}"))
            return
        self._observe(reason)
        self._opened, self._closes = self.clock.monotonic(), self._was_closing
        self._heard_dome = max(self._heard_dome, self._opened)  # it has so long to answer
        self.send_to(self.DOME, messages.OPEN, Order(reason=reason))
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
        self._note("weather", "unsafe", reason)
        self._weather_reason, self._weather_until = reason, -math.inf
        self._happen(Event.UNSAFE, reason)

    def _pause(self) -> None:
        """Pause before the dome, which has just refused, is asked again: the longer the more often it has failed."""
        seconds = PAUSES[min(max(self.state.attempts, 1), len(PAUSES)) - 1]
        self._pause_until = self.clock.monotonic() + seconds
        self._paused_by_dome = False
        self.call_later(seconds, PAUSE_OVER)

    def _close_and_park(self, reason: str) -> None:
        if self.holds.service is not None and not self._was_open:
            return  # a person moves the devices
        self.state.shut = []
        self.send_to(self.DOME, messages.CLOSE, Order(reason=reason))
        self.send_to(self.TELESCOPE, messages.PARK, Order(reason=reason))

    def _is_shut(self, device: str) -> None:
        """Note that the dome is closed, or the mount parked, by its own word."""
        if device not in self.state.shut:
            self.state.shut.append(device)
        if len(self.state.shut) < 2:
            return
        if self.state.state is State.CLOSING:
            over = not self.state.over and self._is_over(*self._now())
            self._happen(Event.SHUT_AT_MORNING if over else Event.SHUT, "closed and parked")
        else:
            self._recover()

    def _now(self) -> tuple[Phase, str]:
        now: datetime = self.clock.now()
        return phase(self._site, now), night_name(self._site, now.timestamp())

    def _recover(self) -> None:
        """End a fault when everything is closed and parked, and the dome may be tried again."""
        if (
            self.state.state is State.FAULT
            and len(self.state.shut) == 2
            and self.clock.monotonic() >= self._pause_until
        ):
            self._happen(Event.RECOVERED, "closed and parked; it goes on")

    def _fault_alarm(self, reason: str) -> None:
        """Tell a person, each minute: once as an alarm, which stands, and in the log."""
        opening = self.state.attempts >= ATTEMPTS
        what = f"the dome has not opened {self.state.attempts} times" if opening else "dome or mount does not close"
        text = f"{what}: look at the device; it is tried again without end"
        self.alarm(_FAULT, text)
        self.log.critical("{text}", text=text)

    def _warn(self, reason: str) -> None:
        self.log.warn("{reason}: the night goes on without", reason=reason)

    def _ask_for_plan(self) -> None:
        self.state.plan = None
        self.send_to(self.SCHEDULER, messages.PLAN_AGAIN)

    def _ask_devices(self, reason: str) -> None:
        """Ask what cannot be known after a restart; the answers are compared with the state."""
        for device in (self.DOME, self.TELESCOPE, self.CAMERA):
            self.send_if_there(device, messages.TELL_STATE)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds < 1e6 else "long"


def _same_sky(one: Observation, other: Observation) -> bool:
    """Whether the telescope and the camera would do the same for both."""
    return (one.ra, one.dec, one.exposures) == (other.ra, other.dec, other.exposures)
