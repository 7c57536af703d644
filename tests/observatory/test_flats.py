"""Flats in both twilights, and of the cover's lamp, in rehearsed nights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from astropy.io import fits

from pyros import messages
from pyros.messages import CalibrationOrder, CalibrationReport
from pyros.messages.cover import OPEN_COVER
from tests.observatory.conftest import Automation, Night

ANALYSED = True

REPORTS = (messages.CALIBRATION_STARTED, messages.CALIBRATION_FINISHED, messages.CALIBRATION_FAILED)
EVENING, MORNING = -5.6, 4.9  # hours after midnight
LEVEL = 20_000


def order(night: Night, *, is_open: bool = True, **changed: Any) -> Automation:
    """Have the majordome order flats; what opens the dome in twilight is its own affair, and not under test."""
    automation = Automation(night)
    night.until(lambda: night.said("the dome is closed", "majordome"), 60)
    night.run(5)
    if is_open:
        night.person("observation_manager", messages.DOME_OPENED)
        night.run(1)
    wanted = CalibrationOrder(id="flats-1", kind="flat", filters=("g", "r", "i"), count=3)
    wanted = msgspec.structs.replace(wanted, **changed)
    automation.tell("observation_manager", messages.CALIBRATE, wanted, REPORTS)
    return automation


def finished(automation: Automation) -> CalibrationReport:
    assert automation.end()[0] == messages.CALIBRATION_STARTED
    name, report = automation.end(5400)
    assert name == messages.CALIBRATION_FINISHED, report
    assert isinstance(report, CalibrationReport)
    return report


@pytest.mark.parametrize(
    ("hours", "filters"), [(EVENING, ["g", "i", "r"]), (MORNING, ["r", "i", "g"])], ids=["evening", "morning"]
)
def test_flats_reach_their_level_in_both_twilights(
    rehearsal: Callable[..., Night], hours: float, filters: list[str]
) -> None:
    night = rehearsal(
        hours_after_midnight=hours,
        options={"observation_manager": {"option_flat_filters": "g i r"}},
        devices={"camera": {"width": 96, "height": 96, "speed": 1, "cosmic_rays": 0}},
    )
    report = finished(order(night))
    assert report.reason == ""
    assert [(each.filter, len(each.images)) for each in report.sets] == [(name, 3) for name in filters]
    medians = [float(fits.getheader(path)["EXPTIME"]) for each in report.sets for path in each.images]
    assert all(1 <= seconds <= 60 for seconds in medians)
    for each in report.sets:
        assert each.level == pytest.approx(LEVEL, rel=0.1)
        for path in each.images:
            assert abs(float(_median(path)) - 1000 - LEVEL) <= 0.1 * LEVEL
    assert len(night.images()) == 9, "what misses its level is not kept"
    positions = {position for _, position in night.slews()}
    assert len(positions) >= 9, "each has its stars elsewhere"


def _median(path: str) -> float:
    pixels = sorted(fits.getdata(path).ravel().tolist())
    return float(pixels[len(pixels) // 2])


def test_at_night_it_is_too_dark_for_flats(rehearsal: Callable[..., Night]) -> None:
    automation = order(rehearsal(hours_after_midnight=-3))
    assert automation.end()[0] == messages.CALIBRATION_STARTED
    name, report = automation.end(600)
    assert (name, report.again) == (messages.CALIBRATION_FAILED, False)
    assert report.reason.startswith("g: 0 of 3, it is too dark; ")


def test_flats_of_a_lamp_are_taken_behind_a_closed_cover(rehearsal: Callable[..., Night]) -> None:
    camera = {"width": 64, "height": 64, "speed": 1, "cover": "tcp:127.0.0.1:6021"}
    night = rehearsal(optional=("cover",), devices={"camera": camera, "cover": {"speed": 1}})
    report = finished(order(night, is_open=False, source="lamp", filters=("g", "r")))
    assert [(each.filter, len(each.images)) for each in report.sets] == [("g", 3), ("r", 3)]
    assert all(each.level == pytest.approx(LEVEL, rel=0.03) for each in report.sets)
    assert not night.slews()
    assert night.state("cover") == "closed"
    assert not night.requests("dome", "DO open")


@pytest.mark.parametrize("command", ["DO close", "DO light"])
def test_lamp_flats_that_are_stopped_leave_it_dark_and_closed(rehearsal: Callable[..., Night], command: str) -> None:
    camera = {"width": 64, "height": 64, "speed": 1, "cover": "tcp:127.0.0.1:6021"}
    night = rehearsal(optional=("cover",), devices={"camera": camera, "cover": {"speed": 1}})
    night.until(lambda: night.state("cover") == "closed", 60)
    night.person("cover", OPEN_COVER)
    night.until(lambda: night.state("cover") == "open", 60)
    automation = order(night, is_open=False, source="lamp")
    night.until(lambda: night.requests("cover", command), 60)
    night.run(5)
    automation.tell("observation_manager", messages.ABORT_CALIBRATION, messages.CalibrationAbort(), REPORTS)
    night.until(lambda: night.said("aborted", "observation_manager"), 10)
    night.until(lambda: night.state("cover") == "closed", 60)
    night.run(5)
    assert len(night.requests("cover", "DO dark")) == (command == "DO light")
    assert not night.said("takes no message"), "the observation manager hears how that has ended"


def test_without_a_cover_there_are_no_lamp_flats(rehearsal: Callable[..., Night]) -> None:
    automation = order(rehearsal(), is_open=False, source="lamp")
    name, report = automation.end(5)
    assert (name, report.again) == (messages.CALIBRATION_FAILED, False)
    assert report.reason == "there is no cover with a lamp in the configuration"


def test_flats_that_rain_stopped_are_taken_up_in_the_same_twilight(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(
        hours_after_midnight=EVENING - 0.1,
        options={"majordome": {"option_flats": "g r"}},
        devices={"camera": {"width": 64, "height": 64, "speed": 1, "cosmic_rays": 0}},
    )
    night.until(night.images, 3600)
    night.weather(rain=1)
    night.until(lambda: night.state("dome") == "closed" and night.state("telescope") == "parked", 300)
    night.weather(rain=0)
    night.until(lambda: len(night.said("flats -> ", "majordome")) == 2, 5400)
    assert {str(fits.getheader(path)["FILTER"]) for path in night.images()} == {"g", "r"}
    night.run(600)
    assert len(night.said("-> flats", "majordome")) == 2, "none is missing"
