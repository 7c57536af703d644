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
from typing import ClassVar, Literal

from twisted.internet.defer import Deferred

from pyros import messages
from pyros.agents._night_calibrations import OPTIONS as CALIBRATIONS
from pyros.agents._night_calibrations import NightCalibrations
from pyros.agents._night_gate import DOME_SILENT, MONITORING_SILENT, NO_DOME, NightGate
from pyros.agents._night_machine import LIMIT_SECONDS, STATE_OVERDUE, NightMachine
from pyros.agents.agent import Agent
from pyros.agents.night_reporting import REPORT, NightReporting
from pyros.agents.night_state import MajordomeState
from pyros.agents.night_table import OPEN_STATES, NightAction, NightEvent, State
from pyros.agents.options import AgentOption, OptionTable
from pyros.errors import PlanningError
from pyros.hold import Hold
from pyros.messages import (
    Abort,
    DeviceState,
    DomeFailure,
    DomeReport,
    KeepOpen,
    Message,
    Observation,
    Order,
    Plan,
)
from pyros.messages.cover import CLOSE_COVER, CoverOrder
from pyros.nights import diary
from pyros.planning import Site
from pyros.planning.night_log import night_name
from pyros.planning.phases import Phase, phase
from pyros.quantities import number
from pyros.reactor import Reactor

RENEW_LEASE = messages.guard("Renew lease", fleeting=True)
END_SESSION = messages.guard("End session")
PAUSE_OVER = messages.guard("Pause over")
LEASE = 60.0
"""Seconds for which the dome may stay open without hearing from the majordome again, and for which the majordome goes
on without hearing from the dome's agent."""

_RENEW_SECONDS = LEASE / 3
_QUESTION_SECONDS = 5.0  # what is asked by *Keep open* while the dome is closed, keeps nothing open
_CLOSE_AFTER = AgentOption("close_after", number(0.0), 60.0)
PAUSES = (30.0, 120.0, 600.0, 1800.0)
"""Seconds without an attempt after the dome did not open, by how often in a row; the last is for all that follow."""

_SHUT_AGAIN = 3
"""So often in half an hour a dome that has closed by itself is opened as soon as its agent says that it may be."""

ATTEMPTS = 3
"""A dome that has not opened so often in a row is a fault."""

_GRACE_SECONDS = 15.0
_FAULT = "the night has stopped"
_CLOSED_STATES = frozenset(State) - OPEN_STATES - {State.HELD, State.FAULT, State.CLOSING}
_ENDS_NIGHTS = frozenset((State.PREPARING, State.READY, State.HELD, State.FAULT))  # in the others it goes on, or closes
_AT_WORK = frozenset((State.FLATS, State.FOCUSING, State.OBSERVING))  # the dome has said that it is open


class MajordomeAgent(Agent):
    """Turns *Plan updated* and the weather into *Observe*, *Open*, *Close* and *Park*.

    ``option_close_after`` in its section: seconds without anything to observe before it closes and parks.
    Calibrations, all of them left out by default: ``option_cool``: degrees Celsius of the detector by night;
    ``option_biases`` and ``option_darks``: images, before and after the night (darks of each exposure time);
    ``option_flats``: filters of which flats are taken in both twilights; ``option_focus``: hours after which the focus
    is looked for again; ``option_focus_kelvin`` and ``option_focus_wider``: kelvins by which the temperature must have
    changed, or percent by which the stars must have become wider, for that; ``option_focus_filters``: the filters whose
    offsets are to be learnt, the first one's focus counts.
    ``option_report = no``: no report is written in the morning.
    """

    OPTIONS: ClassVar[OptionTable] = (_CLOSE_AFTER, *CALIBRATIONS, REPORT)
    state: MajordomeState

    def __init__(self) -> None:
        super().__init__(Agent.MAJORDOME)
        self.guarded |= {  # what they end in is the next observation's slew
            messages.OBSERVATION_STARTED, messages.OBSERVATION_FINISHED, messages.OBSERVATION_FAILED,
        }  # fmt: skip
        self.actions: dict[NightAction, Callable[[str], None]] = {}
        self.machine = NightMachine(self, self.actions)
        self._gate = NightGate(self)
        self._calibrations = NightCalibrations(self, self.machine, self._gate)
        self._reporting = NightReporting(self)
        self.guarded.add(messages.IMAGE_ANALYSED)  # wide stars may have the focus looked for
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
            messages.COOLING_FINISHED: self._calibrations.cooling_ended,
            messages.COOLING_FAILED: self._calibrations.cooling_ended,
            messages.CALIBRATION_STARTED: self.calibration_started,
            messages.CALIBRATION_FINISHED: self._calibrations.calibration_ended,
            messages.CALIBRATION_FAILED: self._calibrations.calibration_ended,
            messages.NIGHT_REPORTED: self.night_reported,
            messages.IMAGE_ANALYSED: self._calibrations.image_analysed,
            messages.FOCUSER_TEMPERATURE: self._calibrations.focuser_temperature,
        }
        self.actions |= {
            NightAction.ASK: self._ask_devices,
            NightAction.BEGIN: self._begin_night,
            NightAction.PREPARE: self._calibrations.prepare,
            NightAction.OPEN: self._open,
            NightAction.OBSERVE: self._observe,
            NightAction.FLATS: self._calibrations.take_flats,
            NightAction.FOCUS: self._calibrations.focus,
            NightAction.DECIDE: lambda _: self._decide(),
            NightAction.ABORT: self._abort,
            NightAction.STOP: self._calibrations.stop,
            NightAction.CLOSE: self._close_and_park,
            NightAction.PAUSE: lambda _: self._pause(),
            NightAction.ALARM: self._fault_alarm,
            NightAction.FINISH: self._calibrations.finish,
            NightAction.REPORT: self._end_night,
            NightAction.PLAN: lambda _: self._ask_for_plan(),
            NightAction.WARN: self._warn,
        }
        self._lease_timer: int | None = None
        """When *Keep open* is said next."""
        self._opened = -math.inf
        """When the dome was told to open last, monotonic seconds."""
        self._paused_by_dome = False
        """The pause is because the dome's agent says that the dome may not be open: its better word ends it."""
        self._pauses: list[float] = []
        """When each pause of the last half hour began, monotonic seconds."""
        self._noted_weather: Literal["", "safe", "unsafe"] = ""
        """What the diary says last of the weather; '' before this agent has heard of it."""
        self._next: Observation | None = None
        """What the event is about that is being handled."""
        self._closes = False
        """The dome was told to close, and to open since, and has not said yet that it was closed."""
        self._dome_not_closed = False
        """The dome did not close when it was told to: its device was not there."""
        self._has_dome = True
        """Whether there is a dome: without, all is open as soon as it may be, and closed once the mount is parked."""

    def attach(self, reactor: Reactor) -> None:
        self._reporting.attach(reactor)

    def detach(self) -> Deferred[None] | None:
        return self._reporting.detach()

    def site_changed(self, site: Site) -> None:
        super().site_changed(site)
        self.machine.site = self._gate.site = site

    def work(self) -> None:
        """Take up the night where it was left: a dome that was wanted open gets its lease again, if it is safe."""
        self._close_after = self.option(*_CLOSE_AFTER)
        self.site_changed(Site.load(self.config.site))
        dome = self.config.agents.get(self.DOME)
        self._calibrations.begin()
        self._reporting.begin()
        self.in_transaction(diary.prepare)
        telescope = self.config.agents.get(self.TELESCOPE)
        self._has_dome, self._roof = dome is not None, dome is not None and dome.roof
        open_air = telescope is not None and telescope.open_air
        self._gate.no_dome = "" if self._has_dome or open_air else NO_DOME
        began = self.clock.monotonic()
        self._gate.heard_monitoring = self._gate.heard_dome = began  # it has so long to say something
        self.machine.happen(NightEvent.RESTART, "this agent was started")
        self.machine.limit_state()
        self._wait_for_lease(0.0)
        hold = self.holds.hold
        if hold is not None and self.state.state is not State.HELD:
            self.machine.happen(NightEvent.HOLD, str(hold))
        elif hold is None and self.state.state is State.HELD:
            self.machine.happen(NightEvent.RELEASE, "nobody holds the observatory any more")
        self._look_at_sun()
        if not self._has_dome and self.state.state is State.OPENING:
            self._dome_is_open()

    def plan_updated(self, message: Message) -> None:
        plan: Plan = message.payload
        running = self.state.running
        self._gate.planned = message.said
        if not self._is_overtaken(plan):
            self.state.plan = plan
        if running is not None and running.id in plan.withdrawn:
            self.state.note_done(running.id, running.requested)
            self._abort("its request was withdrawn")
        elif running is not None and plan.start_now is None:
            for planned in plan.observations:
                if planned.observation.id == running.id:  # it has set, or the night is over
                    self._abort(planned.reason)
        self._decide()

    def _is_overtaken(self, plan: Plan) -> bool:
        """Tell whether a plan goes on with what has given way to what was ordered since; then a newer one will come.

        To obey it would bring the one before back, of which the scheduler hears after it has planned with the newer
        one, and so on without an end.
        """
        running = self.state.running
        return running is not None and plan.start_now is not None and plan.start_now == plan.running != running.id

    def observation_started(self, message: Message) -> None:
        self.log.info("{observation} has started", observation=message.payload.observation)

    def observation_ended(self, message: Message) -> None:
        report = message.payload
        self.log.info("{observation}: {name} {reason}", observation=report.observation, name=message.name,
                      reason=report.reason)  # fmt: skip
        self.machine.note("ended", report.observation, f"{message.name} {report.reason}".strip())
        if report.observation in self.state.observed:
            self.state.observed.remove(report.observation)
        running = self.state.running
        mine = running is not None and running.id == report.observation and running.id not in self.state.observed
        requested = running.requested if running is not None and mine else report.requested
        if requested is None:
            pass  # an older version has said it, of what does not run here
        elif message.name == messages.OBSERVATION_FINISHED:
            self.state.note_done(report.observation, requested)
        elif not report.again:
            self._gate.note_failed(report.observation, requested, message.said)
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
        self._gate.hear_monitoring(message)
        self._gate.weather_until = max(self._gate.weather_until, until)
        if self._gate.weather_reason:
            self.log.info("the weather is safe")
            self._note_weather("safe")
            self._gate.weather_reason = ""
            if self.machine.dome_wanted:
                self.renew_lease()
            self._decide()

    def weather_unsafe(self, message: Message) -> None:
        """Stop everything, close, park."""
        self._gate.hear_monitoring(message)
        reason = f"weather unsafe: {message.payload.reason}"
        if self._noted_weather != "unsafe" or self.machine.dome_wanted:
            self._unsafe(reason)
        self._gate.weather_reason, self._gate.weather_until = reason, -math.inf

    def dome_opened(self, message: Message) -> None:
        """Go on by the dome's own word. An opening from before the last order is old news."""
        self._gate.hear_dome(message)
        self.log.info("the dome is open")
        if message.said >= self._opened:
            self._dome_is_open()

    def _dome_is_open(self) -> None:
        self._closes = False
        if self.machine.dome_wanted:
            self.state.attempts = 0
            self.alarm_over(_FAULT)
            event = NightEvent.OPENED
            if self.state.state is State.OPENING and self.state.running is None:
                (part, night), wanted, ask = self._now(), self._gate.wanted(), self._calibrations
                if ask.flats_are_due(part):
                    event = NightEvent.OPENED_FOR_FLATS
                elif ask.why_open_to_focus(part, night) if wanted is None else not wanted.alert and ask.why_focus():
                    event = NightEvent.OPENED_FOR_FOCUS
            self.machine.happen(event, "the dome is open")

    def kept_open(self, message: Message) -> None:
        """Take the dome's agent's answer to *Keep open*: whether the dome may be open, by all that it knows."""
        report: DomeReport = message.payload
        if self.age(message) > LEASE:
            return
        self._gate.hear_dome(message)
        self._gate.dome_reason = report.may_open and f"the dome may not be open: {report.may_open}"
        if self._gate.dome_reason and self.machine.dome_wanted:
            self.machine.happen(NightEvent.DOME_SHUT, self._gate.dome_reason)
            self._paused_by_dome = True
        elif not self._gate.dome_reason:
            if self._paused_by_dome:  # what kept it closed is over
                self._end_pause()
            self._decide()

    def dome_closed(self, message: Message) -> None:
        """End the session of a dome that closed by itself: it is asked to open again only with the next observation."""
        self._gate.hear_dome(message)
        self.log.info("the dome is closed: {reason}", reason=message.payload.reason)
        closed_before, self._closes = message.said < self._opened or self._closes, False
        if closed_before and self.machine.dome_wanted:
            return  # told to open since
        if self.machine.dome_wanted:
            self._gate.dome_reason = f"the dome has closed: {message.payload.reason}"
            self.machine.happen(NightEvent.DOME_SHUT, self._gate.dome_reason)
        else:
            self._dome_is_back()
            self._is_shut(self.DOME)

    def _dome_is_back(self) -> None:
        """End the pause of a dome that did not do what it was told, and now has closed: its device works again."""
        if self._dome_not_closed:
            self._dome_not_closed, self._gate.dome_reason = False, ""
            self._end_pause()
            self._decide()

    def dome_failed(self, message: Message) -> None:
        """Try nothing for some time, for the dome did not open.

        What did not close is the dome agent's own affair, and so is what was lost while it opened: that is opened as
        soon as it is back, while the leases run.
        """
        self._gate.hear_dome(message)
        failure: DomeFailure = message.payload
        self.log.error("the dome failed: {reason}", reason=failure.reason)
        self._dome_not_closed = self._dome_not_closed or failure.what == "close"
        if not self.machine.dome_wanted or failure.lost:
            return
        self._gate.dome_reason = f"the dome: {failure.reason}"
        if self.state.state is State.OPENING and failure.what == "open":
            self._not_opened(self._gate.dome_reason)
        else:
            self.machine.happen(NightEvent.DOME_FAILED, self._gate.dome_reason)

    def _not_opened(self, reason: str) -> None:
        self.state.attempts += 1
        self.machine.happen(NightEvent.GIVEN_UP if self.state.attempts >= ATTEMPTS else NightEvent.DOME_FAILED, reason)

    def on_hold(self, hold: Hold, stop: bool) -> None:
        """Stop what runs. What a person has moved meanwhile stays as it is."""
        self.machine.happen(NightEvent.HOLD, str(hold))

    def on_release(self) -> None:
        """Ask for a new plan: the last one is as old as the hold."""
        if self.holds.hold is not None:
            return  # another one began
        if self.state.state is State.HELD:
            self.machine.happen(NightEvent.RELEASE, "nobody holds the observatory any more")
        else:
            self._ask_for_plan()
        self._look_at_sun()

    def parked(self) -> None:
        self.log.info("the telescope is parked")
        if self.state.state is State.OPENING and self._roof and not self.machine.mount_clear:
            self.machine.mount_clear = True
            self.machine.happen(NightEvent.MOUNT_CLEAR, "the telescope is parked")
        else:
            self._is_shut(self.TELESCOPE)

    def park_failed(self, message: Message) -> None:
        self.log.error("parking failed: {reason}", reason=message.payload.reason)

    def device_state(self, message: Message) -> None:
        """Compare what a device says that it does, asked after a restart, with what it should."""
        told: DeviceState = message.payload
        device, state = self.config.short_name(told.instrument), self.state.state
        self.log.info("the {device} is {state}", device=device, state=told.state)
        if device == self.DOME:
            self._gate.hear_dome(message)
            open_, shut = told.state in ("open", "opening"), told.state == "closed"
            if self.machine.dome_wanted and told.reason:
                self._gate.dome_reason = f"the dome may not be open: {told.reason}"
                self.machine.happen(NightEvent.DOME_SHUT, self._gate.dome_reason)
            elif state is State.OPENING and told.state == "open":
                self._dome_is_open()
            elif state in _AT_WORK and shut:
                self.machine.happen(NightEvent.DOME_SHUT, "the dome is closed")
        else:
            open_ = device == self.TELESCOPE and told.state in ("slewing", "tracking")
        if open_ and state in _CLOSED_STATES:
            self.machine.happen(NightEvent.FOUND_OPEN, f"the {device} was found {told.state}")

    def state_overdue(self, message: Message) -> None:
        """Leave a state that has lasted too long; in a fault a minute has passed."""
        if message.payload.number != self.state.change:
            return
        self.state.limit_timer = None
        match self.state.state:
            case State.FAULT:
                self.machine.happen(NightEvent.MINUTE, "")
                self.machine.limit_state()
            case State.OPENING:
                self._not_opened(f"the dome is not open after {LIMIT_SECONDS[State.OPENING]:.0f} s")
            case state:
                self.machine.happen(NightEvent.OVERDUE, f"{state} has lasted {LIMIT_SECONDS[state]:.0f} s")

    def renew_lease(self) -> None:
        """While the dome shall be open, say so again before the lease ends; and look who is silent, and at the Sun."""
        self._wait_for_lease(_RENEW_SECONDS)
        self._look_who_is_silent()
        self._look_at_sun()  # flats that are due keep a dome open that twilight would close
        if self.machine.dome_wanted and (day := self._gate.reason_day()):
            self.machine.happen(NightEvent.DAY, day)
        if self.machine.dome_wanted and not self._gate.weather_reason:
            keeper = self.DOME if self._has_dome else self.TELESCOPE
            self.send_if_there(keeper, messages.KEEP_OPEN, KeepOpen(seconds=LEASE))
        elif not self.machine.dome_wanted:
            self._ask_dome()

    def pause_over(self) -> None:
        """Go on with the plan, which may have come meanwhile, when the dome's agent says that it may be open."""
        if not self.machine.dome_wanted:
            self._ask_dome()
        self._recover()
        self._decide()

    def end_session(self) -> None:
        self.state.end_timer = None
        if self.state.state is State.OBSERVING and self.state.running is None and self._gate.wanted() is None:
            why = self._calibrations.why_focus_at_leisure(self._now()[0])
            self.machine.happen(NightEvent.FOCUS_DUE if why else NightEvent.IDLE, why or "nothing to observe")

    # Day and night ------------------------------------------------------------------------------------------------

    def _look_at_sun(self) -> None:
        """Begin and end the nights."""
        try:
            part, night = self._now()
        except (PlanningError, ValueError, OverflowError, OSError) as error:
            self.log.error("the Sun's place cannot be computed, no night begins or ends: {error}", error=error)
            return
        state = self.state.state
        if state in (State.PREPARING, State.READY, State.OBSERVING) and self._calibrations.flats_are_due(part):
            if self.state.running is None:
                self.machine.happen(NightEvent.FLATS_DUE, "flats of the twilight")
        elif not self.state.over and state in _ENDS_NIGHTS and self._is_over(part, night):
            self.machine.happen(NightEvent.MORNING, "the night is over")
        elif part in ("evening", "night"):
            unprepared = state is State.READY and not self.state.prepared
            if (night != self.state.night or unprepared) and state is not State.PREPARING:
                self.machine.happen(NightEvent.EVENING, f"the night of {night} begins")
            elif state is State.READY and (why := self._calibrations.why_open_to_focus(part, night)):
                self.machine.happen(NightEvent.FOCUS_DUE, why)

    def _is_over(self, part: Phase, night: str) -> bool:
        """Whether it is morning, or the night that was begun is another one than that of now."""
        return part == "morning" or (not self.state.over and night != self.state.night)

    def _begin_night(self, reason: str) -> None:
        night = self._now()[1]
        if night != self.state.night:
            self._end_night(reason)
            self.state.night, self.state.over, self.state.prepared = night, False, False
            self.state.dark_times, self.state.binned_times, self.state.flats = [], {}, []
            self.state.focus_missed = 0
            self.state.flats_twilight = ""

    def _end_night(self, reason: str) -> None:
        """Have the night's report written, once."""
        if not self.state.over:
            self.state.over = True
            self.after_commit(self._reporting.write, self.state.night)

    def cooling_set(self) -> None:
        """Wait for the second answer: it tells when the detector is there."""

    def calibration_started(self, message: Message) -> None:
        self.log.info("{id} has started", id=message.payload.calibration)

    def night_reported(self, message: Message) -> None:
        """Tell the notifier of the report that a worker has written."""
        self.send_if_there(self.NOTIFIER, messages.NIGHT_REPORTED, message.payload)

    # Looking ------------------------------------------------------------------------------------------------------

    def _look_who_is_silent(self) -> None:
        now = self.clock.monotonic()
        silent, patience = now - self._gate.heard_monitoring, self.config.limits.max_silence
        if silent >= patience + _GRACE_SECONDS:  # it says itself that the weather station is silent
            text = f"monitoring has said nothing for {silent:.0f} s: nothing opens; start it again"
            self.alarm(MONITORING_SILENT, text)
        news = self.machine.dome_wanted or self._noted_weather != "unsafe"
        if (not self._gate.weather_reason and now >= self._gate.weather_until) or (news and silent >= patience):
            self._unsafe(MONITORING_SILENT)
        silent = now - self._gate.heard_dome if self._has_dome else 0.0
        if self.machine.dome_wanted and silent >= LEASE - _RENEW_SECONDS / 2:
            self._gate.dome_reason = f"the dome's agent has said nothing for {silent:.0f} s"
            told = "nothing is observed; look whether the dome is closed, and start the agent again"
            self.alarm(DOME_SILENT, f"{self._gate.dome_reason}: {told}")
            self.machine.happen(NightEvent.DOME_SILENT, self._gate.dome_reason)

    def _ask_dome(self) -> None:
        """Ask the dome's agent, whose last word was that the dome may not be open, whether that is still so.

        In bad weather that is not asked: monitoring's word is for both.
        """
        paused = self.clock.monotonic() < self._gate.pause_until
        if self._gate.dome_reason and not self._gate.weather_reason and not paused:
            self.send_to(self.DOME, messages.KEEP_OPEN, KeepOpen(seconds=_QUESTION_SECONDS))

    def _wait_for_lease(self, seconds: float) -> None:
        self.cancel_timer(self._lease_timer)
        self._lease_timer = self.call_later(seconds, RENEW_LEASE)

    # What is done -------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        wanted, running = self._gate.wanted(), self.state.running
        if wanted is None:
            if running is None and self.state.state is State.OBSERVING and self.state.end_timer is None:
                self.state.end_timer = self.call_later(self._close_after, END_SESSION)
            return
        self.cancel_timer(self.state.end_timer)
        self.state.end_timer = None
        if running is not None and running.id == wanted.id and _same_sky(running, wanted):
            self.state.running = wanted
            return
        may_focus = running is None and not wanted.alert and self.state.state is State.OBSERVING
        if may_focus and (why := self._calibrations.why_focus()):
            self.machine.happen(NightEvent.FOCUS_DUE, why)
            return
        self._next = wanted
        self.machine.happen(NightEvent.URGENT if wanted.alert else NightEvent.WORK, f"for {wanted.id}")
        self._next = None

    def _observe(self, reason: str) -> None:
        """Have the observation begin. The telescope under a roof waits until that is open."""
        wanted = self._next
        if wanted is None or (self._roof and self.state.state not in _AT_WORK):
            return
        if self.state.state is State.OPENING and not wanted.alert and self._calibrations.why_focus():
            return  # the focus comes first
        self._calibrations.note_exposures(wanted.exposures)
        if self.state.over and self._now()[1] == self.state.night:
            self.state.over = False  # after a day of minutes it is dark on the same date again
        self.state.running = wanted
        self.state.observed.append(wanted.id)
        self.send_to(self.OBSERVATION_MANAGER, messages.OBSERVE, wanted)
        self.machine.note("observe", wanted.id, reason, wanted.alert)

    def _open(self, reason: str) -> None:
        """Open, while the telescope is on its way already: nothing of a dome is in its way."""
        if self._roof and not self.machine.mount_clear:
            self.send_to(self.TELESCOPE, messages.PARK, Order(reason=f"the roof opens {reason}"))
            return
        if not self._has_dome:
            self._open_without_dome(reason)
            return
        self._observe(reason)
        self._opened, self._closes = self.clock.monotonic(), self.machine.was_closing
        self._gate.heard_dome = max(self._gate.heard_dome, self._opened)  # it has so long to answer
        self.send_to(self.DOME, messages.OPEN, Order(reason=reason))
        self.renew_lease()

    def _open_without_dome(self, reason: str) -> None:
        """Go on at once: nothing opens. The telescope hears first that it may leave its place."""
        self.renew_lease()
        if self.machine.dome_wanted:
            self._observe(reason)
            self._dome_is_open()

    def _abort(self, reason: str) -> None:
        """Have the observation that runs stopped, if one does."""
        if self.state.running is not None:
            abort = Abort(observation=self.state.running.id, reason=reason)
            self.send_to(self.OBSERVATION_MANAGER, messages.ABORT_OBSERVATION, abort)
            self.state.running = None

    def _note_weather(self, word: Literal["safe", "unsafe"], reason: str = "") -> None:
        self.machine.note("weather", word, reason)
        self._noted_weather = word

    def _unsafe(self, reason: str) -> None:
        self.log.warn("{reason}", reason=reason)
        self._note_weather("unsafe", reason)
        self._gate.weather_reason, self._gate.weather_until = reason, -math.inf
        self.machine.happen(NightEvent.UNSAFE, reason)

    def _pause(self) -> None:
        """Pause before the dome, which has just refused, is asked again: the longer the more often it has failed."""
        now = self.clock.monotonic()
        self._pauses = [*(each for each in self._pauses if now - each < PAUSES[-1]), now]
        failed = max(1, self.state.attempts, len(self._pauses) - _SHUT_AGAIN + 1)
        seconds = PAUSES[min(failed, len(PAUSES)) - 1]
        self._gate.pause_until = now + seconds
        self._paused_by_dome = False
        if failed > 1:
            text = "the dome was shut {count} times in half an hour: it is not opened for {seconds:.0f} s"
            self.log.warn(text, count=len(self._pauses), seconds=seconds)
        self.call_later(seconds, PAUSE_OVER)

    def _end_pause(self) -> None:
        """Have the dome opened before the pause is over, unless it has closed by itself too often of late."""
        if len(self._pauses) <= _SHUT_AGAIN:
            self._gate.pause_until = -math.inf

    def _close_and_park(self, reason: str) -> None:
        if not self.machine.was_open and self.holds.service is not None:
            return  # a person moves the devices
        self.state.shut = [] if self._has_dome else [self.DOME]
        self.send_if_there(self.DOME, messages.CLOSE, Order(reason=reason))
        self.send_to(self.TELESCOPE, messages.PARK, Order(reason=reason))
        if self.COVER in self.config.agents:
            # By the agent that has it opened, so that neither order overtakes the other.
            self.send_to(self.OBSERVATION_MANAGER, CLOSE_COVER, CoverOrder(reason))

    def _is_shut(self, device: str) -> None:
        """Note that the dome is closed, or the mount parked, by its own word."""
        if device not in self.state.shut:
            self.state.shut.append(device)
        if len(self.state.shut) < 2:
            return
        if self.state.state is State.CLOSING:
            part, night = self._now()
            over = not self.state.over and self._is_over(part, night) and not self._calibrations.flats_are_due(part)
            self.machine.happen(NightEvent.SHUT_AT_MORNING if over else NightEvent.SHUT, "closed and parked")
        else:
            self._recover()

    def _now(self) -> tuple[Phase, str]:
        now: datetime = self.clock.now()
        return phase(self.site, now), night_name(self.site, now.timestamp())

    def _recover(self) -> None:
        """End a fault when everything is closed and parked, and the dome may be tried again."""
        paused = self.clock.monotonic() < self._gate.pause_until
        if self.state.state is State.FAULT and len(self.state.shut) == 2 and not paused:
            self.machine.happen(NightEvent.RECOVERED, "closed and parked; it goes on")

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


def _same_sky(one: Observation, other: Observation) -> bool:
    """Whether the telescope and the camera would do the same for both."""
    return (one.ra, one.dec, one.exposures) == (other.ra, other.dec, other.exposures)
