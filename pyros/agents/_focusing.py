"""Focusing, as the observation manager runs it: filter, old focus, V-curve, new focus."""

from __future__ import annotations

from typing import Any

from pyros import messages
from pyros.agents._calibrating import CalibrationState, Recipe
from pyros.agents.options import AgentOption
from pyros.calibration import focusing, vcurve
from pyros.calibration.focusing import Focusing
from pyros.calibration.frames import Shot
from pyros.calibration.vcurve import Move, VCurvePoint
from pyros.messages import (
    CalibrationOrder,
    CalibrationReport,
    ExposureFinished,
    FocusMoved,
    MoveFocus,
    StarSizes,
)
from pyros.quantities import whole

_SECONDS = 5.0


STEP = AgentOption("focus_step", whole(0, 1_000_000), 0)
"""Steps between two positions of the first V-curve; 0: as the focuser's way suggests."""


class FocusRecipe(Recipe):
    """A V-curve through each of the order's filters.

    The focuser's agent keeps the old focus until a new one is found: whatever ends the focusing, the next *Move
    focus* for a filter goes back there.
    """

    def needs_sky(self, order: CalibrationOrder) -> bool:
        return True

    def problem(self, order: CalibrationOrder) -> str:
        manager = self.core.manager
        return "" if manager.FOCUSER in manager.config.agents else "there is no focuser in the configuration"

    def begin(self, running: CalibrationState) -> None:
        manager = self.core.manager
        step = manager.option(*STEP) or None
        running.focusing = Focusing(list(running.order.filters) or [""], step, half_width=manager.state.half_width)

    def proceed(self, running: CalibrationState) -> None:
        now = running.focusing
        assert now is not None
        if not now.filters:
            self._finish(running, now)
        elif self.core.selects(running, now.filters[0]):
            return
        elif now.old is None:
            self.core.move_focus(MoveFocus(observation=running.order.id, filter=now.filters[0]))
        elif now.moves:
            self._move(running, now)
        elif now.result is None:
            seconds = running.order.seconds[0] if running.order.seconds else _SECONDS
            shot = Shot("LIGHT", seconds, now.filters[0])
            number = running.exposures + 1
            self.core.expose(running, shot, number, max(number, vcurve.FIRST_POINTS), measure="sizes", keep=False)

    def ended(self, running: CalibrationState, name: str, end: Any) -> None:
        now = running.focusing
        assert now is not None
        if name == messages.MOVE_FOCUS:
            self._moved(running, now, end)
        elif name == messages.EXPOSE:
            self._exposed(running, now, end)

    def report(self, running: CalibrationState) -> CalibrationReport:
        reached = running.focusing.reached if running.focusing is not None else []
        return CalibrationReport(calibration=running.order.id, kind="focus", focus=tuple(reached))

    def stopped(self, running: CalibrationState) -> None:
        """Send the focuser back to its old focus; what comes next may send it elsewhere."""
        now = running.focusing
        if now is not None and now.curve is not None and now.filters:
            self.core.manager.send_to(self.core.manager.FOCUSER, messages.MOVE_FOCUS, MoveFocus(filter=now.filters[0]))

    def _move(self, running: CalibrationState, now: Focusing) -> None:
        """Go to the next of the positions; what was found, or the old focus, is what counts from then on."""
        position, filter = now.moves[0], now.filters[0]
        use: messages.FocusUse = "visit"
        if now.result is not None and len(now.moves) == 1:
            use = "set" if not now.result.found else "focus" if not now.reached else "offset"
        self.core.move_focus(MoveFocus(observation=running.order.id, position=position, filter=filter, use=use))

    def _moved(self, running: CalibrationState, now: Focusing, end: FocusMoved) -> None:
        now.temperature = end.temperature
        if now.old is None:
            now.old = end.position
            least, most = end.limits or (0, 2 * end.position)
            now.step = now.step or focusing.first_step(now.half_width, least, most)
            now.curve = vcurve.begin(end.position, now.step, least, most)
            self._plan(running, now)
            return
        if now.moves:
            now.moves.pop(0)
        if now.result is not None and not now.moves:
            now.reached.append(now.result)
            now.filters.pop(0)
            now.old = now.curve = now.result = None

    def _exposed(self, running: CalibrationState, now: Focusing, end: ExposureFinished) -> None:
        if end.number != running.exposures + 1:
            return
        running.exposures += 1
        assert now.curve is not None
        assert now.curve.here is not None
        sizes = end.sizes or StarSizes(0)
        vcurve.add(now.curve, VCurvePoint(now.curve.here, sizes.count, sizes.radius, sizes.error))
        self._plan(running, now)

    def _plan(self, running: CalibrationState, now: Focusing) -> None:
        """Note where the focuser is to go before the next image, or to rest."""
        assert now.curve is not None
        following = vcurve.following(now.curve)
        if isinstance(following, Move):
            now.moves = list(following.positions)
            return
        now.result = reached = focusing.result(now, following)
        manager = self.core.manager
        if reached.found:
            manager.state.half_width = now.half_width
            manager.log.info(
                "focus for {filter}: {position} steps, good to {error:.0f}; radius {radius:.2f} pixels",
                filter=reached.filter or "no filter", position=reached.position, error=reached.error,
                radius=reached.radius,
            )  # fmt: skip
            now.moves = [reached.position]
        else:
            manager.log.warn(
                "no focus for {filter}: {reason}; the old one at {position} steps stays",
                filter=reached.filter or "no filter", reason=reached.reason, position=reached.position,
            )  # fmt: skip
            now.moves = [max(now.curve.least, reached.position - now.curve.step), reached.position]

    def _finish(self, running: CalibrationState, now: Focusing) -> None:
        missing = "; ".join(f"{each.filter or 'no filter'}: {each.reason}" for each in now.reached if not each.found)
        if now.reached and now.reached[0].found:
            self.core.end(messages.CALIBRATION_FINISHED, missing)
        else:
            self.core.end(messages.CALIBRATION_FAILED, missing, again=True)
