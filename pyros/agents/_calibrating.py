"""The calibration that runs, for the observation manager: one command after the other, until all is reached.

What is to be taken next is computed from the order and from what was reached (`pyros.calibration`), never remembered:
after a restart, and after a device was away, it goes on with the next image.

    nothing --Calibrate--> exposing --Exposure finished--> exposing ... --the last--> nothing (Calibration finished)
    exposing --Exposure failed--> pausing --its time, and the device is there--> exposing
    exposing, pausing --Observe, a hold, the dome, an abort, too many failures--> nothing (Calibration failed)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from pyros import messages
from pyros.agents.agent import Agent
from pyros.calibration import frames
from pyros.calibration.frames import Frame
from pyros.messages import (
    Abort,
    CalibrationOrder,
    CalibrationReport,
    Expose,
    ExposureFinished,
    Failure,
    Message,
    Payload,
)

CALIBRATION_STEP_OVERDUE = "Calibration step overdue"
CALIBRATION_STEP_AGAIN = "Calibration step again"

_EXPOSURE_MARGIN_SECONDS = 300.0
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
    phase: Literal["exposing", "pausing"] = "exposing"
    """Whether a command's end is waited for, or the time and the device for giving it again."""
    device: str = ""
    """The agent that has the last command."""
    failures: int = 0
    """Commands that have failed since the last image."""
    lost: int = 0
    """Times that the device was lost in the middle of its command since the last image."""
    away: bool = False
    """Whether the pause is over, and the device is waited for."""
    frames: list[Frame] = []
    """The images that are on disk, in the order of their exposures."""
    overdue: int | None = None
    """The timer that gives up the command under way."""


class Calibrating:
    """Runs the order in the observation manager's state; all methods are for its turns."""

    def __init__(self, manager: Agent) -> None:
        self._manager = manager
        self._handlers: dict[str, Callable[[Message], None]] = {
            messages.EXPOSURE_STARTED: self._exposure_started,
            messages.EXPOSURE_FINISHED: self._exposure_finished,
            messages.EXPOSURE_FAILED: self._exposure_failed,
        }

    @property
    def running(self) -> CalibrationState | None:
        """The calibration that runs."""
        calibration: CalibrationState | None = self._manager.state.calibration
        return calibration

    def begin(self, order: CalibrationOrder, sender: str, not_now: str = "") -> None:
        """Begin an order in place of the one that runs; ``not_now`` is why it may not begin now."""
        if self.running is not None and self.running.order == order:
            return  # it is ordered once more
        reason, again = self._problem(order), False
        if not reason:
            reason, again = not_now or self._reason_not_now(order), True
        if reason:
            self._manager.log.warn("{id} is not begun: {reason}", id=order.id, reason=reason)
            report = CalibrationReport(calibration=order.id, kind=order.kind, reason=reason, again=again)
            self._manager.send_if_there(sender, messages.CALIBRATION_FAILED, report)
            return
        self.stop(f"superseded by {order.id}", again=True)
        self._manager.state.calibration = CalibrationState(order, sender)
        self._manager.log.info("{id} begins: {reason}", id=order.id, reason=order.reason or order.kind)
        report = CalibrationReport(calibration=order.id, kind=order.kind)
        self._manager.send_if_there(sender, messages.CALIBRATION_STARTED, report)
        self._next()

    def takes(self, message: Message) -> bool:
        """Handle the answer to a command of the calibration that runs; whether it was one."""
        running, handler = self.running, self._handlers.get(message.name)
        if running is None or handler is None or message.payload.observation != running.order.id:
            return False
        handler(message)
        return True

    def stop(self, reason: str, *, again: bool) -> None:
        """End the calibration that runs as failed; its images so far are in the report."""
        running = self.running
        if running is None:
            return
        if running.phase == "exposing":
            self._manager.send_to(self._manager.CAMERA, messages.ABORT, Abort(running.order.id, reason))
        self._end(messages.CALIBRATION_FAILED, reason, again=again)

    def dome_opened(self) -> None:
        """End biases and darks, which light could reach from now on."""
        if self.running is not None and self.running.order.kind in ("bias", "dark"):
            self.stop("the dome opens", again=True)

    def connected(self, device: str) -> None:
        """Go on with what waited for a device."""
        if self.running is not None and self.running.away and self.running.device == device:
            self._next()

    def step_overdue(self, message: Message) -> None:
        """Give up a command that has no end, or a device that doesn't come back."""
        running = self.running
        if running is None or message.payload.number != self._manager.state.step:
            return
        if running.away:
            self.stop(f"the {running.device} does not come back", again=True)
        else:
            self.stop(f"no end of the {running.device}'s command was heard in time", again=True)

    def step_again(self, message: Message) -> None:
        """Give the command again after a pause; a device that is still away is waited for."""
        running = self.running
        if running is None or message.payload.number != self._manager.state.step or running.phase != "pausing":
            return
        if running.device in self._manager.state.away:
            running.away = True
            self._expect_within(_RETURN_SECONDS)
        else:
            self._next()

    # The steps ---------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Take the next image, or report after the last."""
        running = self.running
        assert running is not None
        wanted = frames.shots(running.order)
        taken = len(running.frames)
        if taken >= len(wanted):
            self._end(messages.CALIBRATION_FINISHED)
            return
        shot, until = wanted[taken], running.order.until
        if until is not None and self._manager.clock.time() + shot.seconds > until:
            self._end(messages.CALIBRATION_FINISHED, f"its time is over after {taken} of {len(wanted)} images")
            return
        running.phase, running.device, running.away = "exposing", self._manager.CAMERA, False
        expose = Expose(
            observation=running.order.id, number=taken + 1, of=len(wanted), filter=shot.filter, seconds=shot.seconds,
            image_type=shot.image_type, measure="level", ra=0.0, dec=0.0, pointing_ra=0.0, pointing_dec=0.0,
        )  # fmt: skip
        self._manager.send_to(self._manager.CAMERA, messages.EXPOSE, expose)
        self._expect_within(shot.seconds + _EXPOSURE_MARGIN_SECONDS)

    def _exposure_started(self, message: Message) -> None:
        self._manager.log.info(
            "exposure {number} of {of} for {id}", number=message.payload.number, of=message.payload.of,
            id=message.payload.observation,
        )  # fmt: skip

    def _exposure_finished(self, message: Message) -> None:
        running, end = self.running, message.payload
        assert running is not None
        if running.phase != "exposing" or end.number != len(running.frames) + 1:
            return
        running.frames.append(_frame(running.order, end))
        running.failures = running.lost = 0
        self._next()

    def _exposure_failed(self, message: Message) -> None:
        """Take the same image again after a pause, if it has not failed too often."""
        running, failure = self.running, message.payload
        assert running is not None
        if running.phase == "exposing":
            self._try_again(running, failure, f"exposure failed: {failure.reason}")

    def _try_again(self, running: CalibrationState, failure: Failure, reason: str) -> None:
        """Give the last command again after a pause; end where it has failed too often."""
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
            if running.failures >= _MAX_FAILURES:
                self.stop(reason, again=False)
                return
        self._manager.log.warn("{reason}; it is tried again", reason=reason)
        self._expect_within(None)
        self._manager.call_later(pause, CALIBRATION_STEP_AGAIN, CalibrationStep(self._manager.state.step))

    def _reason_not_now(self, order: CalibrationOrder) -> str:
        """Why an order must not begin now; '' when it may."""
        if order.kind in ("bias", "dark") and self._manager.state.dome_open:
            return "the dome is open, and biases and darks want it closed"
        return ""

    def _problem(self, order: CalibrationOrder) -> str:
        """Why an order can never be carried out; '' when it can."""
        if order.kind in ("flat", "focus"):
            return f"this version takes no calibrations of the kind {order.kind}"
        return frames.problem(order)

    def _end(self, name: str, reason: str = "", *, again: bool = False) -> None:
        running = self.running
        assert running is not None
        self._expect_within(None)
        report = CalibrationReport(
            calibration=running.order.id, kind=running.order.kind, sets=frames.sets(running.frames), reason=reason,
            again=again,
        )  # fmt: skip
        self._manager.state.calibration = None
        self._manager.log.info("{id}: {name} {reason}", id=running.order.id, name=name, reason=reason)
        self._manager.send_if_there(running.sender, name, report)

    def _expect_within(self, seconds: float | None) -> None:
        """Expect the end of the command just given, or the device, within so many seconds."""
        running = self.running
        assert running is not None
        if running.overdue is not None:
            self._manager.cancel_timer(running.overdue)
        self._manager.state.step += 1
        step = CalibrationStep(self._manager.state.step)
        running.overdue = None if seconds is None else self._manager.call_later(seconds, CALIBRATION_STEP_OVERDUE, step)


def _frame(order: CalibrationOrder, end: ExposureFinished) -> Frame:
    image_type: frames.ImageType = "BIAS" if order.kind == "bias" else "DARK"
    level = None if end.level is None else end.level.median
    shot = frames.shots(order)[end.number - 1]
    return Frame(image_type, end.filter, shot.seconds, end.path, level, end.temperature)
