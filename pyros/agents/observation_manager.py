"""The observation manager: runs one observation at a time, or one calibration.

It slews, waits for *Slew finished* and for the dome, and exposes N times through each filter.

What else stands in the light's way is made ready while the telescope slews: the dome's slit, the cover, and the first
filter where a filter wheel or a focuser is there. Wheel and focuser are asked again before an exposure through another
filter. The cover is closed when the majordome closes the dome and parks.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import msgspec

from pyros import messages
from pyros.agents._calibrating import CALIBRATION_STEP_AGAIN, CALIBRATION_STEP_OVERDUE, Calibrating, FramesRecipe
from pyros.agents._centring import CENTRE, CENTRE_SECONDS, ObservationCentring
from pyros.agents._covering import COVER_AGAIN, Covering
from pyros.agents._flats import OPTIONS as FLATS
from pyros.agents._flats import FlatRecipe
from pyros.agents._focusing import STEP, FocusRecipe
from pyros.agents._guiding import GUIDE_FROM, ObservationGuiding
from pyros.agents.agent import Agent
from pyros.agents.instrument import STALE_ORDER_SECONDS
from pyros.agents.observing import STEP_AGAIN, STEP_OVERDUE, ObservationManagerState, ObservingStep, Progress
from pyros.agents.options import MERIDIAN_MINUTES, OptionTable
from pyros.angles import separation
from pyros.config import NOWHERE
from pyros.errors import AgentError
from pyros.hold import Hold
from pyros.messages import (
    Abort,
    Expose,
    ExposureFinished,
    Exposures,
    Failure,
    Follow,
    FollowUp,
    Message,
    MoveFocus,
    Observation,
    ObservationReport,
    SelectFilter,
    Slew,
    TakenImage,
    cover,
)
from pyros.planning import meridian
from pyros.site import Site

_SLEW_LIMIT = 600.0
_EXPOSURE_MARGIN = 300.0
_FILTER_LIMIT = 300.0
_ATTEMPTS = 3
_MAX_INTERRUPTED = 100
_PAUSE = 5.0  # seconds before a failed exposure is tried again
_LOST_PAUSES = (1.0, 5.0, 10.0, 20.0)  # the same where the device was lost meanwhile; after them it is a failure
_RETURN_LIMIT = 600.0  # seconds for which a device that is away, or a dome that does not open, is waited for
_MAX_FLIPS = 2
_READOUT_SECONDS = 10.0  # and what else an exposure takes beside its own time
_DITHER_PLACES = 16
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_LATE = 2.0  # seconds; a message that took longer was waiting for this agent, or for a connection
_CATCH_UP = 5.0  # seconds in which whoever has something to say is heard: who is away is tried each four
_ON_TARGET = 0.1  # degrees; a report of a slew to elsewhere is an old one


class ObservationManagerAgent(Agent):
    """Turns *Observe* and *Calibrate* into commands for the instruments, and their answers into reports.

    ``option_focus_step`` is the way between two positions of the first V-curve, steps. ``option_flat_level`` (ADU above
    the bias), ``option_flat_least_seconds`` and ``option_flat_most_seconds`` are for flats, ``option_flat_filters``
    names the filters from the narrowest on, separated by blanks. With ``option_centre`` (arcseconds) an image of
    ``option_centre_seconds`` is taken after a flip, and before an observation that no alert asks for; where its
    solution shows the field farther off, the telescope is sent there again. With a guider, exposures of
    ``option_guide_from`` seconds (60) and longer are guided.
    """

    OPTIONS: ClassVar[OptionTable] = (CENTRE, CENTRE_SECONDS, GUIDE_FROM, STEP, *FLATS)
    state: ObservationManagerState

    def __init__(self) -> None:
        super().__init__(Agent.OBSERVATION_MANAGER)
        recipes = {"bias": FramesRecipe, "dark": FramesRecipe, "flat": FlatRecipe, "focus": FocusRecipe}
        self._cover = Covering(self, self._next, lambda: self.state.current is not None)
        self._calibrating = Calibrating(self, recipes, self._cover, self._catching_up)
        self.actions_by_message |= {
            messages.OBSERVE: self.observe,
            messages.ABORT_OBSERVATION: self.abort_observation,
            messages.CALIBRATE: self.calibrate,
            messages.ABORT_CALIBRATION: self.abort_calibration,
            messages.SLEW_STARTED: self.slew_started,
            messages.SLEW_FINISHED: self.slew_finished,
            messages.SLEW_FAILED: self.slew_failed,
            messages.TRACKING_LOST: self.tracking_lost,
            messages.EXPOSURE_STARTED: self.exposure_started,
            messages.EXPOSURE_FINISHED: self.exposure_finished,
            messages.EXPOSURE_FAILED: self.exposure_failed,
            messages.FILTER_SELECTED: self.filter_selected,
            messages.FILTER_FAILED: self.filter_failed,
            messages.FOCUS_MOVED: self.focus_moved,
            messages.FOCUS_FAILED: self.focus_failed,
            messages.SLIT_IN_PLACE: self.slit_in_place,
            messages.SLIT_FAILED: self.slit_failed,
            messages.INSTRUMENT_CONNECTED: self.instrument_connected,
            messages.INSTRUMENT_DISCONNECTED: self.instrument_disconnected,
            messages.DOME_OPENED: self.dome_opened,
            messages.DOME_CLOSED: self.dome_closed,
            cover.CLOSE_COVER: self.close_cover,
            COVER_AGAIN: self._cover.again,
            **dict.fromkeys(cover.FINISHED.values(), self.cover_ended),
            **dict.fromkeys(cover.FAILED.values(), self.cover_failed),
            STEP_OVERDUE: self.step_overdue,
            STEP_AGAIN: self.step_again,
            CALIBRATION_STEP_OVERDUE: self._calibrating.step_overdue,
            CALIBRATION_STEP_AGAIN: self._calibrating.step_again,
        }
        self._guiding = ObservationGuiding(self, self._expect_within, self._go_on_exposing)
        self._centring = ObservationCentring(self, self._slew, self._expose, self._expect_within, self._go_on_exposing)

    def work(self) -> None:
        runs = self.state.current is not None or self.state.calibration is not None
        self._heard_late = self.clock.monotonic() if runs else -math.inf  # its end may be on its way
        self._guiding.work()
        self._centring.work()
        telescope = self.config.agents.get(self.TELESCOPE)
        text = telescope.options.get(MERIDIAN_MINUTES.name) if telescope is not None else None
        try:
            self._meridian_minutes = None if text is None else MERIDIAN_MINUTES.convert(text)
        except ValueError as error:  # the telescope may be an agent of another process
            key = f"{self.config.path}: [{self.TELESCOPE}] option_{MERIDIAN_MINUTES.name}"
            raise AgentError(f"{key}: {text!r} {error}") from None
        self._calibrating.site = None if self.config.site == NOWHERE else Site.load(self.config.site)
        self._calibrating.work()
        self.state.began = min(self.state.began, self.clock.monotonic())  # the computer may have begun anew

    def site_changed(self, site: Site) -> None:
        self._calibrating.site = site

    def analyze_message(self, message: Message) -> None:
        """Handle a message; the answer to a command of a calibration is for that."""
        if message.was_said_before(self.clock.monotonic() - _LATE):
            self._heard_late = self.clock.monotonic()
        self._cover.hears(message)
        if not self._calibrating.takes(message):
            super().analyze_message(message)

    def _catching_up(self) -> float:
        """Return for how many seconds nothing is begun on the strength of what is known: others may have news, too."""
        return max(0.0, self._heard_late + _CATCH_UP - self.clock.monotonic())

    def close_cover(self, message: Message) -> None:
        """Have the cover closed, by the majordome's or the guardian's word; what needs the sky ends."""
        reason = f"the cover closes: {message.payload.reason}" if self._cover.present else message.payload.reason
        if self.state.current is not None:
            self._stop(reason, again=True, halt=True)
        self._calibrating.stop_for_sky(reason)
        self._cover.close(message.payload.reason)

    def cover_ended(self, message: Message) -> None:
        """Note that the cover, or its lamp, has done what it was told."""
        self.log.info("{name}", name=message.name)

    def cover_failed(self, message: Message) -> None:
        """Note that the cover, or its lamp, has not done what it was told."""
        self.log.error("{name}: {reason}", name=message.name, reason=message.payload.reason)

    def observe(self, message: Message) -> None:
        """Begin an observation at once; an observation or a calibration that runs is superseded.

        The telescope is told first: whoever is told after it has something to do, and takes the processor from it.
        """
        observation: Observation = message.payload
        if not_now := self._reason_not_begun(message):
            report = ObservationReport(observation.id, reason=not_now, again=True, requested=observation.requested)
            self._report(messages.OBSERVATION_FAILED, report)
            return
        slew = Slew(observation=observation.id, ra=observation.ra, dec=observation.dec)
        self.send_to(self.TELESCOPE, messages.SLEW, slew)
        if self.state.current is not None:
            self._stop(f"gave way to {observation.id}", again=True, halt=False, superseded_by=observation.id)
        self._calibrating.stop(f"superseded by {observation.id}", again=True)
        self.state.current, self.state.began = observation, self.clock.monotonic()
        self.state.failures = self.state.lost = self.state.flips = self.state.dithered = 0
        self._guiding.observes()
        self._take_up(observation)
        self._slews(centre=not observation.alert)
        self.state.slit = self.DOME not in self.config.agents
        if not self.state.slit:
            follow = Follow(observation=observation.id, ra=observation.ra, dec=observation.dec)
            self.send_to(self.DOME, messages.FOLLOW, follow)
        self._cover.open(f"for {observation.id}")
        exposures = _one_by_one(observation)
        self._prepare(observation, exposures[min(self.state.done, len(exposures) - 1)].filter)
        report = ObservationReport(observation.id, requested=observation.requested)
        self._report(messages.OBSERVATION_STARTED, report)
        self.state.announced = False  # others are told when the telescope is on its way: no commit is in the slew's way

    def _reason_not_begun(self, message: Message) -> str:
        """Why what is ordered is not begun now, and may be ordered again at once; '' when it is."""
        if (hold := self.holds.hold) is not None:
            return str(hold)
        old = message.was_said_before(self.clock.monotonic() - STALE_ORDER_SECONDS)
        return f"the order has waited for more than {STALE_ORDER_SECONDS:.0f} s" if old else ""

    def abort_observation(self, message: Message) -> None:
        wanted = message.payload.observation
        if self.state.current is not None and wanted in ("", self.state.current.id):
            self._stop(message.payload.reason or "aborted", again=True, halt=True)

    def calibrate(self, message: Message) -> None:
        """Begin a calibration, unless an observation runs or somebody holds the observatory."""
        not_now = self._reason_not_begun(message)
        if self.state.current is not None:
            not_now = f"{self.state.current.id} is being observed"
        self._calibrating.begin(message.payload, message.sender, not_now)

    def abort_calibration(self, message: Message) -> None:
        running, wanted = self.state.calibration, message.payload
        if running is not None and wanted.calibration in ("", running.order.id):
            self._calibrating.stop(wanted.reason or "aborted", again=True)

    def on_hold(self, hold: Hold, stop: bool) -> None:
        if self.state.current is not None:
            self._stop(str(hold), again=True, halt=True)
        self._calibrating.stop(str(hold), again=True)

    def slew_started(self, message: Message) -> None:
        self.log.info("slewing for {id}: {seconds:.1f} s", id=message.payload.observation,
                      seconds=message.payload.seconds)  # fmt: skip
        if self._is_current(message, "slewing"):
            self._announce()

    def slew_finished(self, message: Message) -> None:
        end, current = message.payload, self.state.current
        if current is None or not self._is_current(message, "slewing"):
            return
        if separation(*_dithered(current, self.state.dithered), end.ra, end.dec) > _ON_TARGET:
            return
        self.state.pointing, self.state.side = (end.ra, end.dec), end.side
        self._announce()
        self._go_on_exposing()

    def slew_failed(self, message: Message) -> None:
        """Send a mount that was lost to the target again, some times: it may be back soon, and the burst is fading.

        What it refuses it may do later, whatever its reason: the sky turns.
        """
        if not self._is_current(message, "slewing"):
            return
        failure: Failure = message.payload
        reason = f"slew failed: {failure.reason}"
        if failure.lost:
            self._lost(self.TELESCOPE, reason)
        else:
            self._stop(reason, again=False, halt=False)

    def tracking_lost(self, message: Message) -> None:
        """Throw the exposure away, which shows trails from now on, and send the telescope to the target again."""
        current, lost = self.state.current, message.payload
        if current is None or not self._is_of_current(message) or self.state.pointing is None:
            return
        reason = f"the telescope has lost the target: {lost.reason}"
        if not lost.again or self.state.lost >= len(_LOST_PAUSES):
            self._stop(reason, again=not lost.again, halt=True)
            return
        self.log.warn("{reason}; it is sent there again", reason=reason)
        if self.state.phase != "exposing":
            self.state.astray = True
            self._next()
            return
        self.send_to(self.CAMERA, messages.ABORT, Abort(observation=current.id, reason=reason))
        self.state.lost += 1
        self.state.pointing = None
        self._go_on()

    def exposure_started(self, message: Message) -> None:
        self.log.info("exposure {number} of {of} for {id}", number=message.payload.number, of=message.payload.of,
                      id=message.payload.observation)  # fmt: skip

    def exposure_finished(self, message: Message) -> None:
        end: ExposureFinished = message.payload
        if not self._is_of_current(message):
            self._count_late(end)
            return
        if self._centring.takes(end) or self.state.phase != "exposing" or end.number != self.state.done + 1:
            return
        self._count(end)
        self.state.failures = self.state.lost = 0
        self.state.phase = "ready"
        self._next()

    def _count(self, end: ExposureFinished) -> None:
        self.state.images.append(end.path)
        if end.started is not None and end.seconds is not None:
            self.state.taken.append(TakenImage(end.path, end.filter, end.seconds, end.started))
        self.state.done += 1

    def _count_late(self, end: ExposureFinished) -> None:
        """Count an image that was exposed before the camera heard that it is to be aborted: it is not taken again."""
        current, before = self.state.current, self.state.interrupted.get(end.observation)
        if end.observation != self.state.late:
            return
        if not self._is_open and (end.started or 0.0) + (end.seconds or math.inf) > self.state.dark_since:
            return
        if current is not None and current.id == end.observation:  # it goes on already
            if end.number == self.state.done + 1 and self.state.phase != "exposing":
                self.state.late = ""
                self._count(end)
            return
        if before is None or end.number != before.done + 1:
            return
        self.state.late = ""
        taken = before.taken
        if end.started is not None and end.seconds is not None:
            taken = (*taken, TakenImage(end.path, end.filter, end.seconds, end.started))
        self.state.interrupted[end.observation] = msgspec.structs.replace(
            before, done=end.number, images=(*before.images, end.path), taken=taken
        )

    def exposure_failed(self, message: Message) -> None:
        """Try the same exposure again, some times."""
        if self._is_current(message, "exposing"):
            self._try_again(self.CAMERA, message.payload, "exposure failed")
        elif self._is_current(message, "centring"):
            self._centring.fails(f"exposure failed: {message.payload.reason}")

    def _go_on_exposing(self) -> None:
        """Begin the next exposure: what had to be done before it has ended."""
        self.state.phase = "ready"
        self._expect_within(_RETURN_LIMIT)
        self._next()

    def filter_selected(self, message: Message) -> None:
        if self._is_of_current(message) and message.payload.filter == self.state.filter:
            self.state.filter_ready = True
            self._next()

    def filter_failed(self, message: Message) -> None:
        if self._is_of_current(message) and not self.state.filter_ready:
            self._not_prepared(self.FILTER_WHEEL, message.payload, f"filter {self.state.filter}")

    def focus_moved(self, message: Message) -> None:
        if self._is_of_current(message) and message.payload.filter == self.state.filter:
            self.state.focus_ready = True
            self._next()

    def focus_failed(self, message: Message) -> None:
        if self._is_of_current(message) and not self.state.focus_ready:
            self._not_prepared(self.FOCUSER, message.payload, f"focus for filter {self.state.filter}")

    def slit_in_place(self, message: Message) -> None:
        if self._is_of_current(message):
            self.state.slit = True
            self._next()

    def slit_failed(self, message: Message) -> None:
        """Wait: the dome tries again by itself, and while it is closed there is no hurry."""
        if not self._is_of_current(message) or self.state.slit:
            return
        self.log.warn("the dome's slit: {reason}", reason=message.payload.reason)
        if self.state.dome_open and not message.payload.lost:
            self.state.failures += 1
            if self.state.failures >= _ATTEMPTS:
                self._stop(f"the dome's slit: {message.payload.reason}", again=False, halt=True)

    def instrument_connected(self, message: Message) -> None:
        """Go on with what waited for the device. A telescope that was away may have been moved, or have stood still."""
        name = self.config.short_name(message.payload.instrument)
        self.log.info("{name}: {text}", name=message.name, text=message.payload.text)
        if name in self.state.away:
            self.state.away.remove(name)
            if name == self.TELESCOPE and self.state.pointing is not None:
                self.state.astray = True
        if name == self.state.awaited and self.state.phase == "waiting":
            self._go_on()
        if name == self.COVER:
            self._cover.connected()
        self._calibrating.connected(name)

    def instrument_disconnected(self, message: Message) -> None:
        """Note that a device is away: what it does is unknown, and the end of the command under way will tell."""
        name = self.config.short_name(message.payload.instrument)
        self.log.warn("{name}: {text}", name=message.name, text=message.payload.text)
        if name not in self.state.away:
            self.state.away.append(name)
        if name == self.GUIDER:
            self._guiding.away()

    def step_again(self, message: Message) -> None:
        """Go on after a pause; a device that is still away is waited for."""
        if message.payload.number != self.state.step or self.state.phase != "waiting":
            return
        if message.payload.device in self.state.away:
            self.state.awaited = message.payload.device
            self._expect_within(_RETURN_LIMIT)
        else:
            self._go_on()

    def _go_on(self) -> None:
        assert self.state.current is not None
        self.state.awaited = ""
        if wait := self._catching_up():
            self._wait(wait)
        elif self.state.pointing is None:
            self._slew(self.state.current)
        else:
            self._go_on_exposing()

    @property
    def _is_open(self) -> bool:
        """Whether nothing is between the telescope and the sky: the dome is open, or there is none."""
        return self.state.dome_open or self.DOME not in self.config.agents

    def dome_opened(self) -> None:
        self.state.dome_open = True
        self._cover.dome_opened()
        self._calibrating.dome_opened()
        self._next()

    def dome_closed(self, message: Message) -> None:
        """No light comes in any more."""
        if self.state.dome_open:
            self.state.dome_open, self.state.dark_since = False, message.sent
        self._cover.dome_closed()
        self._calibrating.stop_for_sky(f"the dome has closed: {message.payload.reason}")
        if self.state.phase in ("centring", "guiding", "exposing", "waiting") and self.state.pointing is not None:
            self._stop(f"the dome has closed: {message.payload.reason}", again=True, halt=True)

    def step_overdue(self, message: Message) -> None:
        """Give up a step that takes too long.

        A device that stays away, and a dome or a cover that stays closed, say nothing against the target.
        """
        if message.payload.number != self.state.step or self.state.current is None:
            return
        if self.state.awaited:
            self._stop(f"the {self.state.awaited} does not come back", again=True, halt=True)
        elif self.state.phase == "centring":
            self._centring.fails("no analysis was heard in time")
        elif self.state.phase == "guiding":
            self._guiding.overdue()
        elif self.state.phase == "ready" and not self._is_open:
            self._stop("the dome does not open", again=True, halt=True)
        elif self.state.phase == "ready" and not self._cover.is_open:
            self._cover.overdue()
            self._stop("the cover does not open", again=True, halt=True)
        else:
            self._stop(f"no end of {self.state.phase} was heard in time", again=False, halt=True)

    def _is_current(self, message: Message, phase: str) -> bool:
        return self.state.phase == phase and self._is_of_current(message)

    def _is_of_current(self, message: Message) -> bool:
        """Tell whether an answer is about what runs, and not about an earlier time that the same was observed."""
        current = self.state.current
        if current is None or message.payload.observation != current.id:
            return False
        return not message.was_said_before(self.state.began)

    def _try_again(self, device: str, failure: Failure, what: str) -> None:
        """Once more after a pause, if it has not failed too often, and the device may do it then."""
        reason = f"{what}: {failure.reason}"
        if failure.lost:
            self._lost(device, reason)
            return
        self.state.failures += 1
        if failure.for_good or self.state.failures >= _ATTEMPTS:
            self._stop(reason, again=False, halt=True, for_good=failure.for_good)
        else:
            self._pause(reason, _PAUSE)

    def _lost(self, device: str, reason: str) -> None:
        """Once more when the device is back; one that is lost at every command has failed."""
        if self.state.lost >= len(_LOST_PAUSES):
            self._stop(reason, again=False, halt=self.state.phase != "slewing")
            return
        self._pause(reason, _LOST_PAUSES[self.state.lost], device)
        self.state.lost += 1

    def _pause(self, reason: str, seconds: float, device: str = "") -> None:
        self.log.warn("{reason}; it is tried again", reason=reason)
        self._wait(seconds, device)

    def _wait(self, seconds: float, device: str = "") -> None:
        self._expect_within(None)
        self.state.phase = "waiting"
        self.call_later(seconds, STEP_AGAIN, ObservingStep(number=self.state.step, device=device))

    def _slew(self, current: Observation, side: Literal["", "east", "west"] = "") -> None:
        self._guiding.stop()
        ra, dec = _dithered(current, self.state.dithered)
        self.send_to(self.TELESCOPE, messages.SLEW, Slew(observation=current.id, ra=ra, dec=dec, side=side))
        self._slews(centre=bool(side))

    def _slews(self, *, centre: bool) -> None:
        self._centring.ask(centre)
        self.state.phase, self.state.pointing, self.state.astray = "slewing", None, False
        self._expect_within(_SLEW_LIMIT)

    def _prepare(self, current: Observation, filter: str) -> None:
        """Have the filter turned into the beam, and its focus found, where there are devices for that."""
        self.state.filter = filter
        if self.FOCUSER in self.config.agents:
            self._guiding.pause()
        self.state.filter_ready = self.FILTER_WHEEL not in self.config.agents
        self.state.focus_ready = self.FOCUSER not in self.config.agents
        if not self.state.filter_ready:
            self.send_to(self.FILTER_WHEEL, messages.SELECT_FILTER, SelectFilter(observation=current.id, filter=filter))
        if not self.state.focus_ready:
            self.send_to(self.FOCUSER, messages.MOVE_FOCUS, MoveFocus(observation=current.id, filter=filter))

    def _not_prepared(self, device: str, failure: Failure, what: str) -> None:
        """Ask the wheel and the focuser again for what they could not do, by the next exposure, if one is left."""
        self.state.filter = ""
        if self.state.phase == "ready" or failure.for_good:
            self._try_again(device, failure, what)
        else:
            self.log.warn("{what}: {reason}", what=what, reason=failure.reason)

    def _next(self) -> None:
        """Begin the next exposure, if the telescope is on target, dome and cover open; report after the last one."""
        current = self.state.current
        if current is None or self.state.phase != "ready" or not self._is_open:
            return
        exposures = _one_by_one(current)
        if self.state.done >= len(exposures):
            report = ObservationReport(current.id, tuple(self.state.images), requested=current.requested)
            self._end()
            self._report(messages.OBSERVATION_FINISHED, report)
            self._publish("finished", current)
            return
        if wait := self._catching_up():
            self.log.info("the others are heard first, for {seconds:.1f} s", seconds=wait)
            self._wait(wait)
            return
        if self.state.astray:
            self.log.warn("the telescope was away for a moment: it is sent there again")
            self._slew(current)
            return
        exposure = exposures[self.state.done]
        if self._turns_at_the_meridian(current, exposure.seconds) or self._dithers(current, exposure):
            return
        if exposure.filter != self.state.filter:
            self._prepare(current, exposure.filter)
            self._expect_within(_FILTER_LIMIT)
        prepared = self.state.filter_ready and self.state.focus_ready and self.state.slit and self._cover.is_open
        if not prepared or self._holds_the_field(current, exposure):
            return
        self.state.phase = "exposing"
        self._expose(current, exposure, self.state.done + 1)

    def _expose(self, current: Observation, exposure: Exposures, number: int) -> None:
        assert self.state.pointing is not None
        ra, dec = self.state.pointing
        expose = Expose(
            observation=current.id, number=number, of=len(_one_by_one(current)), filter=exposure.filter,
            seconds=exposure.seconds, gain=exposure.gain, binning=exposure.binning,
            readout_mode=exposure.readout_mode, target=current.target, pointing_ra=ra, pointing_dec=dec,
            **current.target_fields(),
        )  # fmt: skip
        self.send_to(self.CAMERA, messages.EXPOSE, expose)
        self._expect_within(exposure.seconds + _EXPOSURE_MARGIN)

    def _dithers(self, current: Observation, exposure: Exposures) -> bool:
        """Move the field a little before the next image, where that is wanted: by the guider, or with a slew."""
        if not exposure.dither or self.state.done in (0, self.state.dithered):
            return False
        self.state.dithered = self.state.done
        if not self._guiding.dithers(current, exposure):
            self._slew(current, "east" if self.state.side == "east" else "")
        return True

    def _holds_the_field(self, current: Observation, exposure: Exposures) -> bool:
        """Have the field centred, and then guided, where either is due; whether that is to be waited for."""
        if self._guiding.gives_up_a_lost_star():
            self._centring.ask()
        return self._centring.begins(current) or self._guiding.begins(current, exposure)

    def _turns_at_the_meridian(self, current: Observation, seconds: float) -> bool:
        """Have the tube change sides before an exposure that would go beyond the mount's limit, or wait for that."""
        site = self._calibrating.site
        if self._meridian_minutes is None or site is None:
            return False
        step = meridian.before_exposure(
            site, current.ra, current.dec, self.clock.now(), side=self.state.side, seconds=seconds + _READOUT_SECONDS,
            limit_minutes=self._meridian_minutes,
        )  # fmt: skip
        if step.wait:
            self.log.info("no exposure fits in before the meridian: waiting {seconds:.0f} s", seconds=step.wait)
            self._wait(step.wait)
        elif step.flip and self.state.flips >= _MAX_FLIPS:
            self._stop("the mount does not change the side of its pier", again=False, halt=True)
        elif step.flip:
            self.state.flips += 1
            self.log.info("{id}: the tube changes to the other side of the pier", id=current.id)
            self._slew(current, "east")
        else:
            self.state.flips = 0
        return bool(step.wait or step.flip)

    def _stop(
        self, reason: str, *, again: bool, halt: bool, superseded_by: str = "", for_good: bool = False
    ) -> None:  # fmt: skip
        """End the observation that runs as failed. ``halt`` stops the telescope too: no slew follows at once."""
        current = self.state.current
        assert current is not None
        abort = Abort(observation=current.id, reason=reason)
        self.state.late = current.id if self.state.phase == "exposing" else ""
        if self.state.phase in ("centring", "exposing"):
            self.send_to(self.CAMERA, messages.ABORT, abort)
        if halt and self.state.phase == "slewing":
            self.send_to(self.TELESCOPE, messages.ABORT, abort)
        report = ObservationReport(
            observation=current.id, images=tuple(self.state.images), reason=reason, again=again,
            superseded_by=superseded_by, for_good=for_good, requested=current.requested,
        )  # fmt: skip
        self._interrupted(current)
        self._end()
        self._report(messages.OBSERVATION_FAILED, report)
        if self.state.announced:
            self._publish("stopped", current, reason)

    def _take_up(self, observation: Observation) -> None:
        """Go on with the next image where this observation was interrupted before, or begin with the first."""
        progress = self.state.interrupted.pop(observation.id, None)
        if progress is not None and progress.is_of(observation):
            self.log.info("{id} goes on after {done} images", id=observation.id, done=progress.done)
            self.state.done = progress.done
            self.state.images, self.state.taken = list(progress.images), list(progress.taken)
        else:
            self.state.done = 0
            self.state.images, self.state.taken = [], []

    def _interrupted(self, current: Observation) -> None:
        """Remember how far it is, for when it is observed again."""
        if self.state.done or self.state.late:
            self.state.interrupted[current.id] = Progress(
                current.ra, current.dec, current.exposures, self.state.done, tuple(self.state.images),
                tuple(self.state.taken),
            )  # fmt: skip
            while len(self.state.interrupted) > _MAX_INTERRUPTED:
                del self.state.interrupted[next(iter(self.state.interrupted))]

    def _end(self) -> None:
        self._guiding.stop()
        self.state.current = None
        self.state.phase, self.state.awaited = "idle", ""
        self._expect_within(None)

    def _expect_within(self, seconds: float | None) -> None:
        """Expect the answer to the command just given within so many seconds."""
        self.cancel_timer(self.state.overdue)
        self.state.step += 1
        self.state.overdue = (
            None if seconds is None else self.call_later(seconds, STEP_OVERDUE, ObservingStep(number=self.state.step))
        )

    def _report(self, name: str, report: ObservationReport) -> None:
        self.send_to(self.MAJORDOME, name, report)
        self.send_to(self.SCHEDULER, name, report)
        self.send_if_there(self.CENTRAL_SCHEDULER, name, report)
        if name == messages.OBSERVATION_FAILED and not report.again:
            self.send_if_there(self.NOTIFIER, name, report)

    def _announce(self) -> None:
        """Once for each observation."""
        if self.state.current is not None and not self.state.announced:
            self.state.announced = True
            self._publish("started", self.state.current)

    def _publish(self, what: Literal["started", "finished", "stopped"], request: Observation, reason: str = "") -> None:
        """Others may want to know it too; the telescope comes first. The alert manager counts fields of sky maps."""
        if self.config.publishes or request.probability is not None:
            images = tuple(self.state.taken) if what != "started" else ()
            follow_up = FollowUp(what=what, request=request, time=self.clock.time(), images=images, reason=reason)
            self.send_if_there(self.ALERT_MANAGER, messages.FOLLOW_UP, follow_up)


def _one_by_one(observation: Observation) -> list[Exposures]:
    """Its exposures in their order, each as often as it is asked for."""
    return [each for each in observation.exposures for _ in range(each.count)]


def _dithered(observation: Observation, done: int) -> tuple[float, float]:
    """Return where the telescope points for the image after so many, ICRS degrees: the first is on the target.

    The places are those of a sunflower's seeds (Vogel 1979, Mathematical Biosciences 44, 179): they fill the circle
    evenly, and no two of sixteen lie together.
    """
    exposures = _one_by_one(observation)
    greatest = exposures[min(done, len(exposures) - 1)].dither / 3600
    if not (greatest and done):
        return observation.ra, observation.dec
    radius = greatest * math.sqrt((done % _DITHER_PLACES or _DITHER_PLACES) / _DITHER_PLACES)
    angle = done * _GOLDEN_ANGLE
    dec = max(-90.0, min(90.0, observation.dec + radius * math.cos(angle)))
    east = radius * math.sin(angle) / max(math.cos(math.radians(dec)), 1e-3)
    return (observation.ra + east) % 360, dec
