"""Focusing by V-curves, in rehearsed nights: the simulator knows the true focus."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from pyros import messages
from pyros.messages import CalibrationOrder, CalibrationReport
from tests.observatory.conftest import Automation, Night

ANALYSED = True

REPORTS = (messages.CALIBRATION_STARTED, messages.CALIBRATION_FINISHED, messages.CALIBRATION_FAILED)
SEEING, BLUR = 4.0, 0.01  # arcseconds, and arcseconds for each step
ZONE = 2 * SEEING * math.sqrt(1.1**2 - 1) / BLUR
"""The critical focus zone: steps within which stars are larger by at most a tenth."""
CAMERA = {
    "width": 512, "height": 512, "speed": 1, "seeing": SEEING, "focuser": "tcp:127.0.0.1:6015",
    "weather": "tcp:127.0.0.1:6013", "cosmic_rays": 0,
}  # fmt: skip
FOCUSER = {"position": 25500, "temperature_noise": 0, "temperature_drift": 0, "defocus_per_step": BLUR}


class Focus(Automation):
    """A majordome that orders focusings, and an open dome."""

    def __init__(self, night: Night) -> None:
        super().__init__(night)
        night.until(lambda: night.said("the weather is safe"))
        night.publish(night.packet("pyros.test/urgent#1"))
        night.until(lambda: night.said("test-urgent-1: Observation finished", "majordome"), 1500)

    def order(self, **changed: Any) -> None:
        order = CalibrationOrder(**{"id": "focus-1", "kind": "focus", "filters": ("r",), "seconds": (5.0,)} | changed)
        self.tell("observation_manager", messages.CALIBRATE, order, REPORTS)
        assert self.end()[0] == messages.CALIBRATION_STARTED

    def report(self, seconds: float = 3600) -> tuple[str, CalibrationReport]:
        name, report = self.end(seconds)
        return name, report

    def blur(self) -> float:
        """How far the tube is from the true focus, steps."""
        return self._tells("defocus") / BLUR

    def position(self) -> int:
        return round(self._tells("position"))

    def _tells(self, name: str) -> float:
        return float(self.night.simulators["focuser"].device.properties[name]().line.removeprefix("OK "))


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Callable[..., Night]:
    def make(camera: dict[str, Any] | None = None, focuser: dict[str, Any] | None = None, **more: Any) -> Night:
        devices = {"camera": CAMERA | (camera or {}), "focuser": FOCUSER | (focuser or {})} | more
        options = {"majordome": {"option_close_after": 36000}}
        return rehearsal(optional=("focuser",), devices=devices, options=options)

    return make


@pytest.mark.parametrize(("start", "seed"), [(500, 2), (-500, 3), (0, 4)])
def test_the_focus_is_found_from_500_steps_away(night: Callable[..., Night], start: int, seed: int) -> None:
    focus = Focus(night({"seeing_change": 0.05, "seed": seed}, {"position": 25000 + start}))
    focus.order()
    name, report = focus.report()
    assert name == messages.CALIBRATION_FINISHED, report
    (reached,) = report.focus
    assert reached.found
    assert reached.position == focus.position()
    assert focus.blur() <= 0.05 * ZONE
    assert 7 <= len(reached.points) <= 25
    assert focus.night.agent("focuser").state.base == reached.position


@pytest.mark.parametrize("cloud", [0.3, 0.7])
def test_through_clouds_that_stars_shine_through_it_is_found(night: Callable[..., Night], cloud: float) -> None:
    focus = Focus(night(weather={"cloud": cloud, "noise": "{cloud: 0}"}))
    focus.order()
    name, report = focus.report()
    assert (name, report.focus[0].found) == (messages.CALIBRATION_FINISHED, True), report
    assert focus.blur() <= 0.05 * ZONE


def test_behind_thick_clouds_the_old_focus_stays(night: Callable[..., Night]) -> None:
    focus = Focus(night({"cloud_extinction": 20}, weather={"cloud": 0.75, "noise": "{cloud: 0}"}))
    focus.order()
    name, report = focus.report()
    assert (name, report.again) == (messages.CALIBRATION_FAILED, True)
    assert report.focus[0].reason == "only 0 of 14 images show 5 stars or more"
    assert focus.position() == focus.night.agent("focuser").state.base == 25500
    assert focus.night.said("the old one at 25500 steps stays")


def test_a_focus_beyond_the_focusers_way_is_not_found(night: Callable[..., Night]) -> None:
    focus = Focus(night(focuser={"limits": [25000, 27000], "best_focus": 25050, "position": 26000}))
    focus.order()
    _, report = focus.report()
    assert not report.focus[0].found
    assert focus.position() == 26000


def test_an_alert_during_a_focusing_is_observed_in_the_old_focus(night: Callable[..., Night]) -> None:
    focus = Focus(night())
    focus.order()
    focus.night.until(lambda: focus.night.state("camera") == "exposing")
    assert focus.position() != 25500
    focus.night.publish(focus.night.packet("pyros.test/first#1", focus.night.place(60, 200)))
    name, report = focus.report(60)
    assert (name, report.reason) == (messages.CALIBRATION_FAILED, "superseded by obs-ivo-pyros.test-first-1")
    focus.night.until(lambda: focus.night.said("exposure 1 of 3 for obs-ivo-pyros.test-first"))
    assert focus.position() == 25500


@pytest.mark.parametrize("name", ["observation_manager", "focuser"])
def test_a_focusing_goes_on_after_a_restart(night: Callable[..., Night], name: str) -> None:
    focus = Focus(night())
    focus.order()
    focus.night.until(lambda: focus.night.state("camera") == "exposing")
    focus.night.run(12)
    focus.night.kill(name)
    focus.night.run(5)
    focus.night.start(name)
    assert focus.report()[0] == messages.CALIBRATION_FINISHED
    assert focus.blur() <= 0.05 * ZONE


def test_rain_ends_a_focusing(night: Callable[..., Night]) -> None:
    focus = Focus(night())
    focus.order()
    focus.night.run(20)
    focus.night.weather(rain=1)
    name, report = focus.report(60)
    assert (name, report.again) == (messages.CALIBRATION_FAILED, True)
    assert report.reason.startswith("the dome has closed")
    focus.night.run(60)
    assert focus.position() == 25500
    focus.tell("observation_manager", messages.CALIBRATE, CalibrationOrder(id="f", kind="focus"), REPORTS)
    name, report = focus.report(5)
    assert (report.reason, report.again) == ("the dome is closed", True)


def test_each_filters_offset_is_learnt(night: Callable[..., Night]) -> None:
    focus = Focus(night())
    focus.order(filters=("r", "i"))
    name, report = focus.report()
    assert (name, len(report.focus)) == (messages.CALIBRATION_FINISHED, 2)
    state = focus.night.agent("focuser").state
    assert state.base == report.focus[0].position
    assert state.offsets == {"i": report.focus[1].position - state.base}


def test_without_a_focuser_a_focusing_is_refused(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    automation = Automation(night)
    automation.tell("observation_manager", messages.CALIBRATE, CalibrationOrder(id="f", kind="focus"), REPORTS)
    name, report = automation.end(5)
    assert (name, report.again) == (messages.CALIBRATION_FAILED, False)
    assert report.reason == "there is no focuser in the configuration"


def test_the_majordome_hears_how_warm_the_focuser_is(rehearsal: Callable[..., Night]) -> None:
    focuser = FOCUSER | {"temperature": 7.5}
    night = rehearsal(optional=("focuser",), devices={"focuser": focuser})
    told: list[float] = []
    majordome: Any = night.agent("majordome")
    majordome.actions_by_message[messages.FOCUSER_TEMPERATURE] = lambda message: told.append(message.payload.celsius)
    night.until(lambda: told, 60)
    night.run(60)
    assert told == [7.5], "as long as it stays the same it isn't said again"
