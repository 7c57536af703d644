"""The camera's agent brings the detector to a temperature, in rehearsed nights."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import pytest

from pyros import messages
from pyros.messages import Cool, CoolingReport, Failure
from tests.observatory.conftest import Automation, Night

ENDS = (messages.COOLING_SET, messages.COOLING_FINISHED, messages.COOLING_FAILED)
WARM = {"camera": {"temperature": 12, "width": 64, "height": 64, "speed": 1}}


def set_points(night: Night) -> list[str]:
    return [line.removeprefix("SET cooler ") for _, line in night.requests("camera", "SET cooler")]


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Night:
    return rehearsal(devices=WARM)


@pytest.fixture
def automation(night: Night) -> Automation:
    return Automation(night)


def test_the_detector_is_cold_when_its_temperature_is_steady(night: Night, automation: Automation) -> None:
    automation.tell("camera", messages.COOL, Cool(-18.0), ENDS)
    assert automation.end() == (messages.COOLING_SET, Cool(-18.0))
    begin = night.now
    name, report = automation.end(300)
    assert (name, report.celsius, report.temperature) == (messages.COOLING_FINISHED, -18.0, -18.0)
    assert 75 <= night.now - begin <= 100  # half a kelvin a second, and three looks
    assert set_points(night) == ["-18"]


def test_a_ramp_is_followed_there_and_back(night: Night, automation: Automation) -> None:
    automation.tell("camera", messages.COOL, Cool(-18.0, 5.0), ENDS)
    automation.end()
    begin = night.now
    assert automation.end(900)[0] == messages.COOLING_FINISHED
    assert night.now - begin == pytest.approx(360, abs=45)
    points = [float(each) for each in set_points(night)]
    assert points[-1] == -18
    assert all(0 < a - b <= 5 / 6 + 0.01 for a, b in pairwise(points))
    automation.tell("camera", messages.COOL, Cool(None, 5.0), ENDS)
    automation.end()
    name, report = automation.end(900)
    assert (name, report) == (messages.COOLING_FINISHED, CoolingReport(celsius=None, temperature=11.17, power=1.0))
    assert set_points(night)[-1] == "off"


def test_a_newer_order_supersedes_the_older_one(night: Night, automation: Automation) -> None:
    automation.tell("camera", messages.COOL, Cool(-18.0), ENDS)
    automation.end()
    automation.tell("camera", messages.COOL, Cool(0.0), ENDS)
    assert automation.end() == (
        messages.COOLING_FAILED, Failure(reason="superseded by another order to cool"),
    )  # fmt: skip
    assert automation.end() == (messages.COOLING_SET, Cool(0.0))
    assert automation.end(300)[1].celsius == 0.0


def test_a_detector_that_does_not_get_cold_is_told(night: Night, automation: Automation) -> None:
    automation.tell("camera", messages.COOL, Cool(-40.0, within=60.0), ENDS)
    automation.end()
    name, failure = automation.end(90)
    assert name == messages.COOLING_FAILED
    found = re.fullmatch(r"the detector's temperature is (\S+) °C: it is not at -40 °C after 1 min", failure.reason)
    assert found, failure.reason
    assert -20 < float(found[1]) < -10, "half a kelvin a second, less what was between two looks"


def test_a_temperature_that_is_refused_is_told(night: Night, automation: Automation) -> None:
    automation.tell("camera", messages.COOL, Cool(-100.0), ENDS)
    name, failure = automation.end()
    assert name == messages.COOLING_FAILED
    assert "from -48 to 12" in failure.reason
    assert not failure.lost


@pytest.mark.parametrize("seconds", [0.0, 15.0])
def test_a_restart_of_the_agent_goes_on_cooling(night: Night, automation: Automation, seconds: float) -> None:
    automation.tell("camera", messages.COOL, Cool(-18.0, 5.0), ENDS)
    night.run(seconds)
    night.kill("camera")
    night.run(60)
    night.start("camera")
    ends = [automation.end(900)[0] for _ in range(2)]
    assert ends == [messages.COOLING_SET, messages.COOLING_FINISHED]
    assert len(night.requests("camera", "GET cooling")) < 200


def test_a_camera_that_is_away_is_cooled_when_it_is_back(night: Night, automation: Automation) -> None:
    night.stop_simulator("camera")
    automation.tell("camera", messages.COOL, Cool(-18.0), ENDS)
    night.run(100)
    assert automation.answers == []
    night.start_simulator("camera")
    assert automation.end(300)[0] == messages.COOLING_FINISHED
