"""The calibration that runs, for the observation manager: one command after the other, until all is reached.

What is to be done next is computed by the kind's `Recipe` from the order and from what was reached, never remembered:
after a restart, and after a device was away, it goes on with the command that has no end yet.

    nothing --Calibrate--> waiting --the command's end--> waiting ... --the last--> nothing (Calibration finished)
    waiting --the command has failed--> pausing --its time, and the device is there--> waiting
    waiting, pausing --Observe, a hold, the dome, an abort, too many failures--> nothing (Calibration failed)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from pyros import messages
from pyros.agents._covering import COVER_SECONDS, Covering
from pyros.agents.agent import Agent
from pyros.calibration import fields, frames
from pyros.calibration.flats import Flats
from pyros.calibration.focusing import Focusing
from pyros.calibration.frames import CalibrationFrame
from pyros.messages import (
    Abort,
    CalibrationOrder,
    CalibrationReport,
    Expose,
    ExposureFinished,
    Failure,
    Follow,
    Message,
    MoveFocus,
    Payload,
    SelectFilter,
    Slew,
    cover,
)
from pyros.site import Site

CALIBRATION_STEP_OVERDUE = "Calibration step overdue"
CALIBRATION_STEP_AGAIN = "Calibration step again"

_EXPOSURE_MARGIN_SECONDS = 300.0
_SLEW_SECONDS = 600.0
_SLIT_SECONDS = 600.0
_MOTOR_SECONDS = 300.0
_MAX_FAILURES = 3
_PAUSE_SECONDS = 5.0
_LOST_PAUSES_SECONDS = (1.0, 5.0, 10.0, 20.0)
_RETURN_SECONDS = 600.0
"""How long a device that is away is waited for."""


class CalibrationStep(Payload, frozen=True):
    """Which command of a calibration has no end yet, or is to be given again."""

    number: int
    """That of the command."""


messages.register(CALIBRATION_STEP_OVERDUE, CalibrationStep, guarded=True)
messages.register(CALIBRATION_STEP_AGAIN, CalibrationStep, guarded=True)


class CalibrationState(msgspec.Struct):
    """The calibration that runs, and how far it is."""

    order: CalibrationOrder
    sender: str = ""
    """Who gave it, and hears of it where it is an agent."""
    phase: Literal["waiting", "pausing"] = "waiting"
    """Whether a command's end is waited for, or the time and the device for giving it again."""
    device: str = ""
    """The agent that has the last command."""
    command: str = ""
    """Name of the last command's message."""
    given: float = 0.0
    """When it was given, monotonic seconds: what was said before answers another one."""
    failures: int = 0
    """Commands that have failed since the last that has not."""
    lost: int = 0
    """Times in a row that the device was lost in the middle of its command."""
    away: bool = False
    """Whether the pause is over, and the device is waited for."""
    exposures: int = 0
    """Exposures that were begun, of whatever kind."""
    frames: list[CalibrationFrame] = []
    """The images that are on disk, in the order of their exposures."""
    overdue: int | None = None
    """The timer that gives up the command under way."""
    pointing: tuple[float, float] | None = None
    """Where the telescope has arrived, ICRS degrees; None while it has not."""
    slit: bool = False
    """Whether the dome's slit looks there."""
    filter: str = ""
    """The filter that the wheel has turned into the beam."""
    focusing: Focusing | None = None
    """How far a focusing is."""
    flats: Flats | None = None
    """How far flats are."""
    cover: Literal["", "open", "closed"] = ""
    """What the cover has said that it is, told for this; '' before that."""
    lamp: bool = False
    """Whether the cover's lamp is lit."""


class Recipe:
    """What the kinds of calibrations do differently."""

    def __init__(self, core: Calibrating) -> None:
        self.core = core

    def needs_sky(self, order: CalibrationOrder) -> bool:
        """Whether an order needs the open dome, and the telescope on a field."""
        return False

    def problem(self, order: CalibrationOrder) -> str:
        """Why an order can never be carried out; '' when it can."""
        return ""

    def begin(self, running: CalibrationState) -> None:
        """Make the kind's own state."""

    def proceed(self, running: CalibrationState) -> None:
        """Give the next command, or end; the telescope is on its field by then."""
        raise NotImplementedError

    def ended(self, running: CalibrationState, name: str, end: Any) -> None:
        """Take the end of the command of that name, such as `ExposureFinished` of *Expose*."""

    def report(self, running: CalibrationState) -> CalibrationReport:
        """Return what was reached so far."""
        return CalibrationReport(
            calibration=running.order.id, kind=running.order.kind, sets=frames.sets(running.frames)
        )

    def stopped(self, running: CalibrationState) -> None:
        """Leave the devices in order: the calibration ends before its end."""


class Calibrating:
    """Runs the order in the observation manager's state; all methods are for its turns."""

    def __init__(
        self, manager: Agent, recipes: Mapping[str, Callable[[Calibrating], Recipe]], covering: Covering,
        catching_up: Callable[[], float],
    ) -> None:  # fmt: skip
        """``catching_up`` returns for how many seconds the others are heard before anything is begun under the sky."""
        self.manager, self._covering, self._catching_up = manager, covering, catching_up
        self._recipes = {kind: recipe(self) for kind, recipe in recipes.items()}
        self._ends = {
            messages.EXPOSURE_FINISHED: messages.EXPOSE,
            messages.SLEW_FINISHED: messages.SLEW,
            messages.SLIT_IN_PLACE: messages.FOLLOW,
            messages.FILTER_SELECTED: messages.SELECT_FILTER,
            messages.FOCUS_MOVED: messages.MOVE_FOCUS,
            **{end: name for name, end in cover.FINISHED.items()},
        }
        self._failures = {
            messages.EXPOSURE_FAILED: messages.EXPOSE,
            messages.SLEW_FAILED: messages.SLEW,
            messages.SLIT_FAILED: messages.FOLLOW,
            messages.FILTER_FAILED: messages.SELECT_FILTER,
            messages.FOCUS_FAILED: messages.MOVE_FOCUS,
            **{end: name for name, end in cover.FAILED.items()},
        }
        self._others: dict[str, Callable[[Message], None]] = {
            messages.SLEW_STARTED: lambda message: None,
            messages.EXPOSURE_STARTED: self._exposure_started,
            messages.TRACKING_LOST: self._tracking_lost,
        }
        self.site: Site | None = None
        """Where the observatory stands; None where the configuration doesn't say."""

    @property
    def running(self) -> CalibrationState | None:
        """The calibration that runs."""
        calibration: CalibrationState | None = self.manager.state.calibration
        return calibration

    def work(self) -> None:
        """Go on with what the journal says; the computer may have begun anew since, and its clock with it."""
        if self.running is not None:
            self.running.given = min(self.running.given, self.manager.clock.monotonic())

    def begin(self, order: CalibrationOrder, sender: str, not_now: str = "") -> None:
        """Begin an order in place of the one that runs; ``not_now`` is why it may not begin now."""
        if self.running is not None and self.running.order == order:
            return  # it is ordered once more
        reason, again = self._problem(order), False
        if not reason:
            reason, again = not_now or self._reason_not_now(order), True
        if reason:
            self.manager.log.warn("{id} is not begun: {reason}", id=order.id, reason=reason)
            report = CalibrationReport(calibration=order.id, kind=order.kind, reason=reason, again=again)
            self.manager.send_if_there(sender, messages.CALIBRATION_FAILED, report)
            return
        self.stop(f"superseded by {order.id}", again=True)
        self.manager.state.calibration = running = CalibrationState(order, sender)
        self.manager.log.info("{id} begins: {reason}", id=order.id, reason=order.reason or order.kind)
        report = CalibrationReport(calibration=order.id, kind=order.kind)
        self.manager.send_if_there(sender, messages.CALIBRATION_STARTED, report)
        self._recipes[order.kind].begin(running)
        self.proceed()

    def takes(self, message: Message) -> bool:
        """Handle the answer to a command of the calibration that runs; whether it was one."""
        running, name = self.running, message.name
        if running is None or name not in self._ends | self._failures | self._others:
            return False
        if getattr(message.payload, "observation", running.order.id) != running.order.id:
            return False
        if name in self._others:
            self._others[name](message)
        elif message.was_said_before(running.given):
            self.manager.log.info("{name} answers an earlier command", name=name)
        elif running.phase == "waiting" and running.command == self._ends.get(name, self._failures.get(name)):
            if name in self._ends:
                self._ended(running, message.payload)
            else:
                self._failed(running, message.payload)
        return True

    def stop(self, reason: str, *, again: bool) -> None:
        """End the calibration that runs as failed; its images so far are in the report."""
        running = self.running
        if running is None:
            return
        abort = Abort(running.order.id, reason)
        if running.phase == "waiting" and running.device in (self.manager.CAMERA, self.manager.TELESCOPE):
            self.manager.send_to(running.device, messages.ABORT, abort)
        self._recipes[running.order.kind].stopped(running)
        self.end(messages.CALIBRATION_FAILED, reason, again=again)

    def end(self, name: str, reason: str = "", *, again: bool = False) -> None:
        """End the calibration that runs, and report what it has reached."""
        running = self.running
        assert running is not None
        self._expect_within(None)
        report = self._recipes[running.order.kind].report(running)
        report = msgspec.structs.replace(report, reason=reason, again=again)
        self.manager.state.calibration = None
        self.manager.log.info("{id}: {name} {reason}", id=running.order.id, name=name, reason=reason)
        self.manager.send_if_there(running.sender, name, report)

    def dome_opened(self) -> None:
        """End biases and darks, which light could reach from now on."""
        running = self.running
        if running is not None and not self._needs_sky(running.order):
            self.stop("the dome opens", again=True)

    def stop_for_sky(self, reason: str) -> None:
        """End what needs the sky, of which nothing is seen any more."""
        running = self.running
        if running is not None and self._needs_sky(running.order):
            self.stop(reason, again=True)

    def connected(self, device: str) -> None:
        """Go on with what waited for a device. A telescope or a cover that was away may have been moved."""
        running = self.running
        if running is None:
            return
        if device == self.manager.TELESCOPE:
            running.pointing = None
        elif device == self.manager.COVER:
            running.cover = ""
        if running.away and running.device == device:
            self.proceed()

    def step_overdue(self, message: Message) -> None:
        """Give up a command that has no end, or a device that doesn't come back."""
        running = self.running
        if running is None or message.payload.number != self.manager.state.step:
            return
        if running.away:
            self.stop(f"the {running.device} does not come back", again=True)
        else:
            self.stop(f"no end of {running.command} was heard in time", again=True)

    def step_again(self, message: Message) -> None:
        """Give the command again after a pause; a device that is still away is waited for."""
        running = self.running
        if running is None or message.payload.number != self.manager.state.step or running.phase != "pausing":
            return
        if running.device in self.manager.state.away:
            running.away = True
            self._expect_within(_RETURN_SECONDS)
        else:
            self.proceed()

    # For the recipes ---------------------------------------------------------------------------------------------

    def proceed(self) -> None:
        """Give the next command: bring the telescope to the field first, where the kind needs one."""
        running = self.running
        assert running is not None
        recipe, sky = self._recipes[running.order.kind], self._needs_sky(running.order)
        if sky and (wait := self._catching_up()):
            self.manager.log.info("the others are heard first, for {seconds:.1f} s", seconds=wait)
            self.pause(wait)
            return
        if sky and running.pointing is None:
            ra, dec = self._field(running)
            slew = Slew(observation=running.order.id, ra=ra, dec=dec)
            self.give(self.manager.TELESCOPE, messages.SLEW, slew, _SLEW_SECONDS)
        elif sky and not running.slit and self.manager.DOME in self.manager.config.agents:
            assert running.pointing is not None
            follow = Follow(observation=running.order.id, ra=running.pointing[0], dec=running.pointing[1])
            self.give(self.manager.DOME, messages.FOLLOW, follow, _SLIT_SECONDS)
        elif sky and running.cover != "open" and self._covering.present:
            self.move_cover(cover.OPEN_COVER)
        else:
            recipe.proceed(running)

    def give(self, device: str, name: str, payload: Payload, seconds: float) -> None:
        """Give a device's agent a command whose end must come within so many seconds."""
        running = self.running
        assert running is not None
        running.phase, running.device, running.command, running.away = "waiting", device, name, False
        running.given = self.manager.clock.monotonic()
        self.manager.send_to(device, name, payload)
        self._expect_within(seconds)

    def expose(
        self, running: CalibrationState, shot: frames.Shot, number: int, of: int, *,
        measure: Literal["", "level", "sizes"] = "level", keep: bool = True,
        keep_levels: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        """Give the camera an exposure.

        Without ``keep`` its image is measured and thrown away, and so is one whose median is not between
        ``keep_levels``.
        """
        ra, dec = running.pointing or (0.0, 0.0)
        expose = Expose(
            observation=running.order.id, number=number, of=of, filter=shot.filter, seconds=shot.seconds,
            image_type=shot.image_type, measure=measure, keep=keep, keep_levels=keep_levels, ra=ra, dec=dec,
            pointing_ra=ra, pointing_dec=dec, binning=running.order.binning,
        )  # fmt: skip
        self.give(self.manager.CAMERA, messages.EXPOSE, expose, shot.seconds + _EXPOSURE_MARGIN_SECONDS)

    def pause(self, seconds: float) -> None:
        """Go on after so many seconds."""
        running = self.running
        assert running is not None
        running.phase, running.away = "pausing", False
        self._expect_within(None)
        self.manager.call_later(seconds, CALIBRATION_STEP_AGAIN, CalibrationStep(self.manager.state.step))

    def selects(self, running: CalibrationState, filter: str) -> bool:
        """Have a filter turned into the beam, if it isn't there; whether the wheel has that to do."""
        if not filter or filter == running.filter or self.manager.FILTER_WHEEL not in self.manager.config.agents:
            return False
        select = SelectFilter(observation=running.order.id, filter=filter)
        self.give(self.manager.FILTER_WHEEL, messages.SELECT_FILTER, select, _MOTOR_SECONDS)
        return True

    def move_cover(self, name: str) -> None:
        """Have the cover opened or closed."""
        running = self.running
        assert running is not None
        order = cover.CoverOrder(f"for {running.order.id}", running.order.id)
        self.give(self.manager.COVER, name, order, COVER_SECONDS)
        self._covering.told(name, running.order.id)

    def move_focus(self, move: MoveFocus) -> None:
        """Give the focuser a move."""
        self.give(self.manager.FOCUSER, messages.MOVE_FOCUS, move, _MOTOR_SECONDS)

    # Ends --------------------------------------------------------------------------------------------------------

    def _ended(self, running: CalibrationState, end: Any) -> None:
        running.failures = running.lost = 0
        name = running.command
        if name == messages.SLEW:
            running.pointing = (end.ra % 360, end.dec)
        elif name == messages.FOLLOW:
            running.slit = True
        elif name == messages.SELECT_FILTER:
            running.filter = end.filter
        elif name in (cover.OPEN_COVER, cover.CLOSE_COVER):
            running.cover = "open" if name == cover.OPEN_COVER else "closed"
        self._recipes[running.order.kind].ended(running, name, end)
        if self.running is running:
            self.proceed()

    def _exposure_started(self, message: Message) -> None:
        self.manager.log.info(
            "exposure {number} of {of} for {id}", number=message.payload.number, of=message.payload.of,
            id=message.payload.observation,
        )  # fmt: skip

    def _tracking_lost(self, message: Message) -> None:
        """Send the telescope there again, before whatever comes next."""
        running = self.running
        assert running is not None
        running.pointing = None
        if running.command == messages.EXPOSE and running.phase == "waiting":
            reason = f"the telescope has lost the field: {message.payload.reason}"
            self.manager.send_to(self.manager.CAMERA, messages.ABORT, Abort(running.order.id, reason))
            self._failed(running, Failure(observation=running.order.id, reason=reason))

    def _failed(self, running: CalibrationState, failure: Failure) -> None:
        """Give the last command again after a pause; end where it has failed too often."""
        reason = f"{running.command} failed: {failure.reason}"
        pause = _PAUSE_SECONDS
        running.phase = "pausing"
        if failure.lost:
            if running.lost >= len(_LOST_PAUSES_SECONDS):
                self.stop(reason, again=True)
                return
            pause = _LOST_PAUSES_SECONDS[running.lost]
            running.lost += 1
        else:
            running.failures += 1
            if failure.for_good or running.failures >= _MAX_FAILURES:
                self.stop(reason, again=False)
                return
        self.manager.log.warn("{reason}; it is tried again", reason=reason)
        self._expect_within(None)
        self.manager.call_later(pause, CALIBRATION_STEP_AGAIN, CalibrationStep(self.manager.state.step))

    def _field(self, running: CalibrationState) -> tuple[float, float]:
        """Where the telescope is to point, ICRS degrees."""
        order = running.order
        if order.ra is not None and order.dec is not None:
            return order.ra, order.dec
        assert self.site is not None
        now = self.manager.clock.now()
        if order.kind == "flat":
            return fields.flat_field(self.site, now, len(running.frames))
        return fields.focus_field(self.site, now)

    def _reason_not_now(self, order: CalibrationOrder) -> str:
        """Why an order must not begin now; '' when it may."""
        sky, is_open = self._needs_sky(order), self.manager.state.dome_open
        if not sky and is_open:
            return "the dome is open, and what needs the dark wants it closed"
        if sky and not is_open and self.manager.DOME in self.manager.config.agents:
            return "the dome is closed"
        return ""

    def _needs_sky(self, order: CalibrationOrder) -> bool:
        return self._recipes[order.kind].needs_sky(order)

    def _problem(self, order: CalibrationOrder) -> str:
        """Why an order can never be carried out; '' when it can."""
        recipe = self._recipes.get(order.kind)
        if recipe is None:
            return f"this version takes no calibrations of the kind {order.kind}"
        if recipe.needs_sky(order) and self.site is None and order.ra is None:
            return "no field is known: name ra and dec, or a site in [observatory]"
        return recipe.problem(order)

    def _expect_within(self, seconds: float | None) -> None:
        """Expect the end of the command just given, or the device, within so many seconds."""
        running = self.running
        assert running is not None
        self.manager.cancel_timer(running.overdue)
        self.manager.state.step += 1
        step = CalibrationStep(self.manager.state.step)
        running.overdue = None if seconds is None else self.manager.call_later(seconds, CALIBRATION_STEP_OVERDUE, step)


class FramesRecipe(Recipe):
    """Biases and darks."""

    def problem(self, order: CalibrationOrder) -> str:
        return frames.problem(order)

    def proceed(self, running: CalibrationState) -> None:
        wanted, taken = frames.shots(running.order), len(running.frames)
        if taken >= len(wanted):
            self.core.end(messages.CALIBRATION_FINISHED)
            return
        shot, until = wanted[taken], running.order.until
        if until is not None and self.core.manager.clock.time() + shot.seconds > until:
            reason = f"its time is over after {taken} of {len(wanted)} images"
            self.core.end(messages.CALIBRATION_FINISHED, reason)
            return
        self.core.expose(running, shot, taken + 1, len(wanted))

    def ended(self, running: CalibrationState, name: str, end: ExposureFinished) -> None:
        taken = len(running.frames)
        if end.number == taken + 1:
            image_type: frames.ImageType = "BIAS" if running.order.kind == "bias" else "DARK"
            seconds = frames.shots(running.order)[taken].seconds
            level = None if end.level is None else end.level.median
            running.frames.append(CalibrationFrame(image_type, "", seconds, end.path, level, end.temperature))
