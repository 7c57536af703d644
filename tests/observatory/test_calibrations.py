"""Calibrations that the majordome orders from the observation manager, in rehearsed nights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from astropy.io import fits

from pyros import messages
from pyros.messages import CalibrationAbort, CalibrationOrder, CalibrationReport
from tests.observatory.conftest import Automation, Night

ANALYSED = True

REPORTS = (messages.CALIBRATION_STARTED, messages.CALIBRATION_FINISHED, messages.CALIBRATION_FAILED)
DARKS = CalibrationOrder(id="dark-1", kind="dark", seconds=(20.0, 5.0), count=2)


class Calibrations(Automation):
    """The majordome's agent, which orders calibrations and keeps their reports."""

    def order(self, order: CalibrationOrder) -> None:
        self.tell("observation_manager", messages.CALIBRATE, order, REPORTS)

    def report(self, name: str, seconds: float = 600.0) -> CalibrationReport:
        """Wait for the next report, which must have that name."""
        told, report = self.end(seconds)
        assert told == name, report
        assert isinstance(report, CalibrationReport)
        return report


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Night:
    return rehearsal()


@pytest.fixture
def calibrations(night: Night) -> Calibrations:
    return Calibrations(night)


def test_biases_and_darks_are_taken_behind_a_closed_dome(night: Night, calibrations: Calibrations) -> None:
    calibrations.order(CalibrationOrder(id="bias-1", kind="bias", count=3, reason="the evening's"))
    assert calibrations.report(messages.CALIBRATION_STARTED) == CalibrationReport(calibration="bias-1", kind="bias")
    report = calibrations.report(messages.CALIBRATION_FINISHED)
    (bias,) = report.sets
    assert (bias.image_type, len(bias.images), bias.temperature) == ("BIAS", 3, -20.0)
    assert bias.level == pytest.approx(1000, abs=3)
    calibrations.order(DARKS)
    calibrations.report(messages.CALIBRATION_STARTED)
    report = calibrations.report(messages.CALIBRATION_FINISHED)
    assert [(each.seconds, len(each.images)) for each in report.sets] == [(5.0, 2), (20.0, 2)]
    header = fits.getheader(report.sets[1].images[0])
    assert (header["IMAGETYP"], header["EXPTIME"], header["OBSID"]) == ("DARK", 20.0, "dark-1")
    calibrations.order(CalibrationOrder(id="bias-2", kind="bias", count=1, binning=2))
    calibrations.report(messages.CALIBRATION_STARTED)
    header = fits.getheader(calibrations.report(messages.CALIBRATION_FINISHED).sets[0].images[0])
    assert (header["IMAGETYP"], header["NAXIS1"], header["XBINNING"]) == ("BIAS", 32, 2)
    assert not night.requests("dome", "DO open")
    assert not night.slews()


def test_rain_does_not_stop_darks(night: Night, calibrations: Calibrations) -> None:
    calibrations.order(DARKS)
    calibrations.report(messages.CALIBRATION_STARTED)
    night.weather(rain=1)
    assert len(calibrations.report(messages.CALIBRATION_FINISHED).sets) == 2


def test_an_alert_supersedes_a_calibration(night: Night, calibrations: Calibrations) -> None:
    night.until(lambda: night.said("the weather is safe"))
    calibrations.order(DARKS)
    calibrations.report(messages.CALIBRATION_STARTED)
    night.until(lambda: night.state("camera") == "exposing")
    night.publish(night.packet())
    report = calibrations.report(messages.CALIBRATION_FAILED)
    assert (report.reason, report.again) == ("superseded by obs-ivo-pyros.test-first-1", True)
    night.until(lambda: night.said("test-first-1: Observation finished", "majordome"), 1500)
    calibrations.order(DARKS)
    assert calibrations.report(messages.CALIBRATION_FAILED, 5).reason.startswith("the dome is open")


def test_a_calibration_is_refused_while_an_observation_runs(exposing: Night) -> None:
    calibrations = Calibrations(exposing)
    calibrations.order(DARKS)
    report = calibrations.report(messages.CALIBRATION_FAILED, 5)
    assert (report.reason, report.again) == ("obs-ivo-pyros.test-first-1 is being observed", True)


def test_what_cannot_be_calibrated_is_refused_with_the_reason(calibrations: Calibrations) -> None:
    calibrations.order(CalibrationOrder(id="d", kind="dark"))
    report = calibrations.report(messages.CALIBRATION_FAILED, 5)
    assert (report.reason, report.again) == ("darks need exposure times: seconds is empty", False)


def test_an_abort_reports_what_was_reached(night: Night, calibrations: Calibrations) -> None:
    calibrations.order(DARKS)
    calibrations.report(messages.CALIBRATION_STARTED)
    night.until(lambda: len(night.images()) == 1)
    night.run(2)
    abort = CalibrationAbort(calibration="dark-1", reason="the evening is over")
    calibrations.tell("observation_manager", messages.ABORT_CALIBRATION, abort, REPORTS)
    report = calibrations.report(messages.CALIBRATION_FAILED, 5)
    assert (report.reason, [len(each.images) for each in report.sets]) == ("the evening is over", [1])
    night.until(lambda: night.state("camera") in ("idle", "ready"), 5)


def test_it_ends_in_time_with_what_it_has(night: Night, calibrations: Calibrations) -> None:
    until = night.clock.time() + 40
    calibrations.order(CalibrationOrder(id="d", kind="dark", seconds=(5.0, 20.0), count=3, until=until))
    calibrations.report(messages.CALIBRATION_STARTED)
    report = calibrations.report(messages.CALIBRATION_FINISHED)
    assert [(each.seconds, len(each.images)) for each in report.sets] == [(5.0, 3)]
    assert report.reason == "its time is over after 3 of 6 images"


@pytest.mark.parametrize("name", ["camera", "observation_manager"])
def test_a_calibration_goes_on_after_a_restart(night: Night, calibrations: Calibrations, name: str) -> None:
    calibrations.order(DARKS)
    calibrations.report(messages.CALIBRATION_STARTED)
    night.until(lambda: len(night.images()) == 2)
    night.run(2)
    night.kill(name)
    night.run(3)
    night.start(name)
    report = calibrations.report(messages.CALIBRATION_FINISHED)
    assert [(each.seconds, len(each.images)) for each in report.sets] == [(5.0, 2), (20.0, 2)]


def test_a_camera_that_comes_back_goes_on_with_the_calibration(night: Night, calibrations: Calibrations) -> None:
    calibrations.order(DARKS)
    calibrations.report(messages.CALIBRATION_STARTED)
    night.until(lambda: len(night.images()) == 1)
    night.stop_simulator("camera")
    night.run(120)
    night.start_simulator("camera")
    assert len(calibrations.report(messages.CALIBRATION_FINISHED).sets) == 2


def test_a_hold_stops_a_calibration(night: Night, calibrations: Calibrations) -> None:
    calibrations.order(DARKS)
    calibrations.report(messages.CALIBRATION_STARTED)
    night.everybody("Hold", who="anna@dome", why="lightning")
    assert "lightning" in calibrations.report(messages.CALIBRATION_FAILED, 5).reason
    calibrations.order(DARKS)
    told: Any = calibrations.report(messages.CALIBRATION_FAILED, 5)
    assert "lightning" in told.reason
    assert told.again
