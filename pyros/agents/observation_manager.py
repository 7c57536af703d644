"""The observation manager: runs one observation at a time. It slews, waits for *Slew finished* and for the dome, and
exposes N times through each filter.

What else stands in the light's way is made ready while the telescope slews: the dome's slit, and the first filter where
a filter wheel or a focuser is there. Each of them is asked again before an exposure through another filter.
"""

from __future__ import annotations

from math import cos, hypot, radians
from typing import Literal

import msgspec

from pyros import messages
from pyros.agents.base import Agent
from pyros.messages import (
    Abort,
    Expose,
    ExposureFinished,
    Failure,
    Follow,
    FollowUp,
    Message,
    MoveFocus,
    Observation,
    ObservationReport,
    Payload,
    SelectFilter,
    Slew,
    TakenImage,
)

STEP_OVERDUE = "Step overdue"
STEP_AGAIN = "Step again"
_SLEW_LIMIT = 600.0
_EXPOSURE_MARGIN = 300.0
_FILTER_LIMIT = 300.0
_ATTEMPTS = 3
_PAUSE = 5.0  # seconds before a failed exposure is tried again
_SLEW_PAUSES = (5.0, 10.0, 20.0)  # the same for a slew whose mount was lost meanwhile; after them it is a failure
_ON_TARGET = 0.1  # degrees; a report of a slew to elsewhere is an old one


class Step(Payload, frozen=True):
    """Which step has taken too long, or is to be tried again."""

    number: int


messages.register(STEP_OVERDUE, Step)
messages.register(STEP_AGAIN, Step)


class ObservationManagerState(msgspec.Struct):
    """The observation that runs, and how far it is.

    ``step`` counts commands, so that old answers are known; ``lost`` the slews in which the mount was lost;
    ``pointing`` is where the telescope has arrived, None while it has not. ``filter`` is the one that the wheel and the
    focuser (``focus``) were asked for, and whether they have answered; ``slit`` whether the dome's slit looks at the
    target. ``announced`` says whether others were told that it has begun.
    """

    current: Observation | None = None
    phase: Literal["idle", "slewing", "ready", "exposing", "waiting"] = "idle"
    step: int = 0
    done: int = 0
    failures: int = 0
    lost: int = 0
    images: list[str] = []
    taken: list[TakenImage] = []
    pointing: tuple[float, float] | None = None
    dome_open: bool = False
    slit: bool = True
    filter: str = ""
    filter_ready: bool = True
    focus_ready: bool = True
    overdue: int | None = None
    announced: bool = False


class ObservationManagerAgent(Agent):
    """Turns *Observe* into commands for telescope and camera, and their answers into reports."""

    state: ObservationManagerState

    def __init__(self) -> None:
        super().__init__(Agent.OBSERVATION_MANAGER)
        self.actions_by_message |= {
            messages.OBSERVE: self.observe,
            messages.ABORT_OBSERVATION: self.abort_observation,
            messages.SLEW_STARTED: self.slew_started,
            messages.SLEW_FINISHED: self.slew_finished,
            messages.SLEW_FAILED: self.slew_failed,
            messages.EXPOSURE_STARTED: self.exposure_started,
            messages.EXPOSURE_FINISHED: self.exposure_finished,
            messages.EXPOSURE_FAILED: self.exposure_failed,
            messages.FILTER_SELECTED: self.filter_selected,
            messages.FILTER_FAILED: self.filter_failed,
            messages.FOCUS_MOVED: self.focus_moved,
            messages.FOCUS_FAILED: self.focus_failed,
            messages.SLIT_IN_PLACE: self.slit_in_place,
            messages.SLIT_FAILED: self.slit_failed,
            messages.INSTRUMENT_CONNECTED: self.instrument_connection,
            messages.INSTRUMENT_DISCONNECTED: self.instrument_connection,
            messages.DOME_OPENED: self.dome_opened,
            messages.DOME_CLOSED: self.dome_closed,
            STEP_OVERDUE: self.step_overdue,
            STEP_AGAIN: self.step_again,
        }

    def observe(self, message: Message) -> None:
        """Begin an observation at once; one that runs gives way."""
        observation: Observation = message.payload
        if self.state.current is not None:
            self._stop(f"gave way to {observation.id}", again=True, halt=False)
        self.state.current = observation
        self.state.done = self.state.failures = self.state.lost = 0
        self.state.images, self.state.taken = [], []
        self._slew(observation)
        self.state.slit = self.DOME not in self.config.agents
        if not self.state.slit:
            follow = Follow(observation=observation.id, ra=observation.ra, dec=observation.dec)
            self.send_to(self.DOME, messages.FOLLOW, follow)
        self._prepare(observation, observation.exposures[0].filter)
        self._report(messages.OBSERVATION_STARTED, ObservationReport(observation=observation.id))
        self.state.announced = False  # others are told when the telescope is on its way: no commit is in the slew's way

    def abort_observation(self, message: Message) -> None:
        wanted = message.payload.observation
        if self.state.current is not None and wanted in ("", self.state.current.id):
            self._stop(message.payload.reason or "aborted", again=True, halt=True)

    def slew_started(self, message: Message) -> None:
        self.log.info("slewing for {id}: {seconds:.1f} s", id=message.payload.observation,
                      seconds=message.payload.seconds)  # fmt: skip
        if self._is_current(message, "slewing"):
            self._announce()

    def slew_finished(self, message: Message) -> None:
        end, current = message.payload, self.state.current
        if current is None or self.state.phase != "slewing" or end.observation != current.id:
            return
        east = ((end.ra - current.ra + 180) % 360 - 180) * cos(radians(current.dec))
        if hypot(east, end.dec - current.dec) > _ON_TARGET:
            return
        self.state.pointing = (end.ra, end.dec)
        self.state.phase = "ready"
        self._announce()
        self._next()

    def slew_failed(self, message: Message) -> None:
        """A mount that was lost may be back soon, and the burst is fading: it is sent there again, some times."""
        if not self._is_current(message, "slewing"):
            return
        failure: Failure = message.payload
        reason = f"slew failed: {failure.reason}"
        if failure.lost and self.state.lost < len(_SLEW_PAUSES):
            self._pause(reason, _SLEW_PAUSES[self.state.lost])
            self.state.lost += 1
        else:
            self._stop(reason, again=False, halt=False)

    def exposure_started(self, message: Message) -> None:
        self.log.info("exposure {number} of {of} for {id}", number=message.payload.number, of=message.payload.of,
                      id=message.payload.observation)  # fmt: skip

    def exposure_finished(self, message: Message) -> None:
        end: ExposureFinished = message.payload
        if not self._is_current(message, "exposing") or end.number != self.state.done + 1:
            return
        self.state.images.append(end.path)
        if end.started is not None and end.seconds is not None:
            self.state.taken.append(TakenImage(end.path, end.filter, end.seconds, end.started))
        self.state.done += 1
        self.state.failures = 0
        self.state.phase = "ready"
        self._next()

    def exposure_failed(self, message: Message) -> None:
        """Try the same exposure again, some times."""
        if self._is_current(message, "exposing"):
            self._try_again(f"exposure failed: {message.payload.reason}")

    def filter_selected(self, message: Message) -> None:
        if self._is_of_current(message) and message.payload.filter == self.state.filter:
            self.state.filter_ready = True
            self._next()

    def filter_failed(self, message: Message) -> None:
        if self._is_of_current(message) and not self.state.filter_ready:
            self._not_prepared(f"filter {self.state.filter}: {message.payload.reason}")

    def focus_moved(self, message: Message) -> None:
        if self._is_of_current(message) and message.payload.filter == self.state.filter:
            self.state.focus_ready = True
            self._next()

    def focus_failed(self, message: Message) -> None:
        if self._is_of_current(message) and not self.state.focus_ready:
            self._not_prepared(f"focus for filter {self.state.filter}: {message.payload.reason}")

    def slit_in_place(self, message: Message) -> None:
        if self._is_of_current(message):
            self.state.slit = True
            self._next()

    def slit_failed(self, message: Message) -> None:
        """The dome tries again by itself; while it is closed there is no hurry."""
        if not self._is_of_current(message) or self.state.slit:
            return
        self.log.warn("the dome's slit: {reason}", reason=message.payload.reason)
        if self.state.dome_open:
            self.state.failures += 1
            if self.state.failures >= _ATTEMPTS:
                self._stop(f"the dome's slit: {message.payload.reason}", again=False, halt=True)

    def instrument_connection(self, message: Message) -> None:
        """What it does meanwhile is unknown; the end of the command that is under way will tell."""
        self.log.info("{name}: {text}", name=message.name, text=message.payload.text)

    def step_again(self, message: Message) -> None:
        if message.payload.number != self.state.step or self.state.phase != "waiting":
            return
        if self.state.pointing is None:
            assert self.state.current is not None
            self._slew(self.state.current)
        else:
            self.state.phase = "ready"
            self._next()

    def dome_opened(self) -> None:
        self.state.dome_open = True
        self._next()

    def dome_closed(self, message: Message) -> None:
        """No light comes in any more."""
        self.state.dome_open = False
        if self.state.phase in ("exposing", "waiting") and self.state.pointing is not None:
            self._stop(f"the dome has closed: {message.payload.reason}", again=True, halt=True)

    def step_overdue(self, message: Message) -> None:
        if message.payload.number == self.state.step and self.state.current is not None:
            self._stop(f"no end of {self.state.phase} was heard in time", again=False, halt=True)

    def _is_current(self, message: Message, phase: str) -> bool:
        return self.state.phase == phase and self._is_of_current(message)

    def _is_of_current(self, message: Message) -> bool:
        current = self.state.current
        return current is not None and message.payload.observation == current.id

    def _try_again(self, reason: str) -> None:
        """Once more after a pause, if it has not failed too often."""
        self.state.failures += 1
        if self.state.failures >= _ATTEMPTS:
            self._stop(reason, again=False, halt=True)
            return
        self._pause(reason, _PAUSE)

    def _pause(self, reason: str, seconds: float) -> None:
        self.log.warn("{reason}; it is tried again", reason=reason)
        self._expect_within(None)
        self.state.phase = "waiting"
        self.call_later(seconds, STEP_AGAIN, Step(number=self.state.step))

    def _slew(self, current: Observation) -> None:
        self.state.phase, self.state.pointing = "slewing", None
        self.send_to(self.TELESCOPE, messages.SLEW, Slew(observation=current.id, ra=current.ra, dec=current.dec))
        self._expect_within(_SLEW_LIMIT)

    def _prepare(self, current: Observation, filter: str) -> None:
        """Have the filter turned into the beam, and its focus found, where there are devices for that."""
        self.state.filter = filter
        self.state.filter_ready = self.FILTER_WHEEL not in self.config.agents
        self.state.focus_ready = self.FOCUSER not in self.config.agents
        if not self.state.filter_ready:
            self.send_to(self.FILTER_WHEEL, messages.SELECT_FILTER, SelectFilter(observation=current.id, filter=filter))
        if not self.state.focus_ready:
            self.send_to(self.FOCUSER, messages.MOVE_FOCUS, MoveFocus(observation=current.id, filter=filter))

    def _not_prepared(self, reason: str) -> None:
        """What the wheel or the focuser could not do is asked of them again, by the next exposure, if one is left."""
        self.state.filter = ""
        if self.state.phase == "ready":
            self._try_again(reason)
        else:
            self.log.warn("{reason}", reason=reason)

    def _next(self) -> None:
        """The next exposure, if the telescope is on target and the dome open; after the last one, the report."""
        current = self.state.current
        if current is None or self.state.phase != "ready" or not self.state.dome_open:
            return
        exposures = [each for each in current.exposures for _ in range(each.count)]
        if self.state.done >= len(exposures):
            report = ObservationReport(observation=current.id, images=tuple(self.state.images))
            self._end()
            self._report(messages.OBSERVATION_FINISHED, report)
            self._publish("finished", current)
            return
        exposure = exposures[self.state.done]
        if exposure.filter != self.state.filter:
            self._prepare(current, exposure.filter)
            self._expect_within(_FILTER_LIMIT)
        if not (self.state.filter_ready and self.state.focus_ready and self.state.slit):
            return
        assert self.state.pointing is not None
        self.state.phase = "exposing"
        expose = Expose(
            observation=current.id,
            number=self.state.done + 1,
            of=len(exposures),
            filter=exposure.filter,
            seconds=exposure.seconds,
            target=current.target,
            ra=current.ra,
            dec=current.dec,
            pointing_ra=self.state.pointing[0],
            pointing_dec=self.state.pointing[1],
            alert=current.alert,
            event=current.event,
            error_radius=current.error_radius,
            event_time=current.event_time,
        )
        self.send_to(self.CAMERA, messages.EXPOSE, expose)
        self._expect_within(exposure.seconds + _EXPOSURE_MARGIN)

    def _stop(self, reason: str, *, again: bool, halt: bool) -> None:
        """End the observation that runs as failed. ``halt`` stops the telescope too: no slew follows at once."""
        current = self.state.current
        assert current is not None
        abort = Abort(observation=current.id, reason=reason)
        if self.state.phase == "exposing":
            self.send_to(self.CAMERA, messages.ABORT, abort)
        if halt and self.state.phase == "slewing":
            self.send_to(self.TELESCOPE, messages.ABORT, abort)
        report = ObservationReport(observation=current.id, images=tuple(self.state.images), reason=reason, again=again)
        self._end()
        self._report(messages.OBSERVATION_FAILED, report)
        if self.state.announced:
            self._publish("stopped", current, reason)

    def _end(self) -> None:
        self.state.current = None
        self.state.phase = "idle"
        self._expect_within(None)

    def _expect_within(self, seconds: float | None) -> None:
        """The answer to the command just given must come within so many seconds."""
        if self.state.overdue is not None:
            self.cancel_timer(self.state.overdue)
        self.state.step += 1
        self.state.overdue = (
            None if seconds is None else self.call_later(seconds, STEP_OVERDUE, Step(number=self.state.step))
        )

    def _report(self, name: str, report: ObservationReport) -> None:
        self.send_to(self.MAJORDOME, name, report)
        self.send_to(self.SCHEDULER, name, report)

    def _announce(self) -> None:
        """Once for each observation."""
        if self.state.current is not None and not self.state.announced:
            self.state.announced = True
            self._publish("started", self.state.current)

    def _publish(self, what: Literal["started", "finished", "stopped"], request: Observation, reason: str = "") -> None:
        """Others may want to know it too; the telescope comes first."""
        if self.config.publishes:
            images = tuple(self.state.taken) if what != "started" else ()
            follow_up = FollowUp(what=what, request=request, time=self.clock.time(), images=images, reason=reason)
            self.send_if_there(self.ALERT_MANAGER, messages.FOLLOW_UP, follow_up)
