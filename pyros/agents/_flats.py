"""Flats, as the observation manager runs them: a bias, test frames, and flats through one filter after the other."""

from __future__ import annotations

from typing import Any

from pyros import messages
from pyros.agents._calibrating import CalibrationState, Recipe
from pyros.agents._covering import COVER_SECONDS
from pyros.agents.options import AgentOption
from pyros.calibration import flats
from pyros.calibration.flats import FlatExposure, Flats, Wait
from pyros.calibration.frames import CalibrationFrame, Shot
from pyros.messages import CalibrationOrder, ExposureFinished
from pyros.messages.cover import CALIBRATOR_OFF, CALIBRATOR_ON, CLOSE_COVER, CalibratorOn, CoverOrder
from pyros.planning.visibility import sun_altitude
from pyros.quantities import names, number, positive

_LEVEL = AgentOption("flat_level", positive, 20_000.0)  # ADU above the bias
_LEAST_SECONDS = AgentOption("flat_least_seconds", number(0.0), 1.0)
_MOST_SECONDS = AgentOption("flat_most_seconds", positive, 60.0)
_FILTERS: AgentOption[tuple[str, ...]] = AgentOption("flat_filters", names, ())
OPTIONS = (_LEVEL, _LEAST_SECONDS, _MOST_SECONDS, _FILTERS)
"""Those of the observation manager's section."""


class FlatRecipe(Recipe):
    """Flats of the twilight, or of the cover's lamp."""

    def needs_sky(self, order: CalibrationOrder) -> bool:
        return order.source == "sky"

    def problem(self, order: CalibrationOrder) -> str:
        manager = self.core.manager
        if order.source == "lamp" and manager.COVER not in manager.config.agents:
            return "there is no cover with a lamp in the configuration"
        return "flats of the sky need a site in [observatory]" if self.core.site is None else ""

    def begin(self, running: CalibrationState) -> None:
        manager, order = self.core.manager, running.order
        rising = None
        if order.source == "sky":
            assert self.core.site is not None
            now = manager.clock.now()
            rising = sun_altitude(self.core.site, now + flats.LATER) > sun_altitude(self.core.site, now)
        running.flats = Flats(
            flats.in_order(order.filters or ("",), manager.option(*_FILTERS), rising=rising),
            order.level or manager.option(*_LEVEL),
            manager.option(*_LEAST_SECONDS),
            manager.option(*_MOST_SECONDS),
            rising,
        )

    def proceed(self, running: CalibrationState) -> None:
        now, manager = running.flats, self.core.manager
        assert now is not None
        if now.bias is None:
            self.core.expose(running, Shot("BIAS", 0.0), running.exposures + 1, running.exposures + 1, keep=False)
        elif running.order.source == "lamp" and now.filters and not running.lamp:
            if running.cover != "closed":
                self.core.move_cover(CLOSE_COVER)
            else:
                light = CalibratorOn(observation=running.order.id)
                self.core.give(manager.COVER, CALIBRATOR_ON, light, COVER_SECONDS)
        elif not now.filters:
            self._finish(running, now)
        elif running.order.until is not None and manager.clock.time() >= running.order.until:
            self._leave_out(running, now, "its time is over")
        elif now.taken >= running.order.count:
            flats.next_filter(now)
            self.core.proceed()
        elif not self.core.selects(running, now.filters[0]):
            self._next(running, now)

    def ended(self, running: CalibrationState, name: str, end: Any) -> None:
        if name == messages.EXPOSE:
            self._exposed(running, end)
        elif name in (CALIBRATOR_ON, CALIBRATOR_OFF):
            running.lamp = name == CALIBRATOR_ON

    def stopped(self, running: CalibrationState) -> None:
        """Put the lamp out, even one that is only being lit; the cover stays closed until something needs the sky."""
        if running.lamp or running.command == CALIBRATOR_ON:
            manager = self.core.manager
            manager.send_to(manager.COVER, CALIBRATOR_OFF, CoverOrder("the flats were stopped"))

    def _next(self, running: CalibrationState, now: Flats) -> None:
        following = flats.following(now, self.core.manager.clock.time())
        if isinstance(following, FlatExposure):
            number = running.exposures + 1
            shot = Shot("FLAT", following.seconds, now.filters[0])
            levels, now.test = flats.window(now) if following.keep else None, not following.keep
            self.core.expose(running, shot, number, number, keep=following.keep, keep_levels=levels)
        elif isinstance(following, Wait):
            self.core.pause(following.seconds)
        else:
            self._leave_out(running, now, following.reason)

    def _leave_out(self, running: CalibrationState, now: Flats, reason: str) -> None:
        name = now.filters[0] or "no filter"
        text = f"{name}: {now.taken} of {running.order.count}, {reason}"
        self.core.manager.log.warn("flats are missing: {text}", text=text)
        now.missing.append(text)
        flats.next_filter(now)
        self.core.proceed()

    def _exposed(self, running: CalibrationState, end: ExposureFinished) -> None:
        now = running.flats
        assert now is not None
        if end.number != running.exposures + 1:
            return
        running.exposures += 1
        if end.level is None:
            now.tries += 1
            return
        if now.bias is None:
            now.bias = end.level.median
            return
        seconds, started = end.seconds or 0.0, end.started or self.core.manager.clock.time()
        level, test = end.level, now.test
        flats.add(now, seconds, started, level.median, level.saturated, kept=bool(end.path), test=test)
        if end.path:
            counts = level.median - now.bias
            running.frames.append(CalibrationFrame("FLAT", now.filters[0], seconds, end.path, counts, end.temperature))
            if running.order.source == "sky":
                running.pointing = None  # the next one with its stars elsewhere

    def _finish(self, running: CalibrationState, now: Flats) -> None:
        if running.lamp:
            order = CoverOrder("the flats are taken", running.order.id)
            self.core.give(self.core.manager.COVER, CALIBRATOR_OFF, order, COVER_SECONDS)
        elif running.frames or not running.order.filters:
            self.core.end(messages.CALIBRATION_FINISHED, "; ".join(now.missing))
        else:
            self.core.end(messages.CALIBRATION_FAILED, "; ".join(now.missing))  # the light only gets worse
