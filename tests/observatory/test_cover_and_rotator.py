"""The agents of the cover and of the rotator, in a rehearsed night."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyros.hold import Holds
from pyros.messages import Payload
from pyros.messages.cover import (
    CALIBRATOR_OFF,
    CALIBRATOR_ON,
    CLOSE_COVER,
    OPEN_COVER,
    CalibratorOn,
    CoverOrder,
    CoverReport,
)
from pyros.messages.rotator import ROTATE, SYNC_ROTATOR, Rotate, Rotated
from tests.observatory.conftest import Automation, Night

SLOW = {"cover": {"speed": 1}, "rotator": {"speed": 1}}


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Night:
    return rehearsal(optional=("cover", "rotator"), devices=SLOW)


@pytest.fixture
def automation(night: Night) -> Automation:
    return Automation(night)


def test_every_command_of_the_cover_tells_its_end(night: Night, automation: Automation) -> None:
    for name, payload, state, brightness in (
        (OPEN_COVER, CoverOrder(), "open", 0),
        (CLOSE_COVER, CoverOrder(), "closed", 0),
        (CALIBRATOR_ON, CalibratorOn(), "closed", 255),
        (CALIBRATOR_ON, CalibratorOn(20), "closed", 20),
        (CALIBRATOR_OFF, CoverOrder(), "closed", 0),
    ):
        automation.tell("cover", name, payload)
        assert automation.end() == (f"{name} finished", CoverReport(state=state, brightness=brightness))
    assert night.state("cover") == "closed"


def test_a_command_that_the_cover_refuses_has_failed(automation: Automation) -> None:
    automation.tell("cover", CALIBRATOR_ON, CalibratorOn(300))
    name, failure = automation.end()
    assert name == "Calibrator on failed"
    assert "brightness must be a number from 1 to 255" in failure.reason


def test_the_rotator_turns_and_is_synchronised(night: Night, automation: Automation) -> None:
    automation.tell("rotator", ROTATE, Rotate(observation="o", angle=100.0))
    assert automation.end() == ("Rotate finished", Rotated(observation="o", angle=100.0))
    automation.tell("rotator", SYNC_ROTATOR, Rotate(angle=90.0))
    assert automation.end() == ("Sync rotator finished", Rotated(angle=90.0))
    assert night.requests("rotator")[-1][1] == "DO sync angle=90"


@pytest.mark.parametrize(
    ("device", "name", "payload"), [("cover", OPEN_COVER, CoverOrder()), ("rotator", ROTATE, Rotate(angle=200.0))]
)
def test_a_hold_stops_what_moves_and_lets_nothing_begin(
    night: Night, automation: Automation, device: str, name: str, payload: Payload
) -> None:
    automation.tell(device, name, payload)
    night.until(lambda: night.state(device) == "moving", 5)
    night.person(device, "Hold", why="lightning")
    night.until(lambda: night.state(device) != "moving", 2)
    automation.tell(device, name, payload)
    end, failure = automation.end()
    assert end == f"{name} failed"
    assert "lightning" in failure.reason
    assert night.state(device) != "moving"


def test_a_hold_does_not_forbid_closing_the_cover(night: Night, automation: Automation) -> None:
    automation.tell("cover", OPEN_COVER, CoverOrder())
    night.until(lambda: night.state("cover") == "moving", 5)
    night.person("cover", "Stop", why="smoke")
    night.until(lambda: night.state("cover") == "stopped", 2)
    automation.tell("cover", CLOSE_COVER, CoverOrder())
    night.person("cover", "Stop", why="more smoke")
    assert automation.end() == ("Close cover finished", CoverReport(state="closed", brightness=0))


@pytest.mark.parametrize(
    ("device", "name", "payload", "state"),
    [("cover", OPEN_COVER, CoverOrder(), "stopped"), ("rotator", ROTATE, Rotate(angle=200.0), "idle")],
)
def test_an_abort_stops_it_and_the_command_has_failed(
    night: Night, automation: Automation, device: str, name: str, payload: Payload, state: str
) -> None:
    automation.tell(device, name, payload)
    night.until(lambda: night.state(device) == "moving", 5)
    night.person(device, "Abort", observation="")
    assert automation.end(5)[0] == f"{name} failed"
    assert night.state(device) == state


@pytest.mark.parametrize(
    ("device", "name", "payload", "ended"),
    [("cover", CLOSE_COVER, {}, "closed"), ("rotator", ROTATE, {"angle": 200.0}, "idle")],
)
def test_a_command_that_a_restart_interrupts_is_given_again(
    night: Night, device: str, name: str, payload: dict[str, Any], ended: str
) -> None:
    if device == "cover":
        night.person("cover", OPEN_COVER)
        night.until(lambda: night.state("cover") == "open", 60)
    night.person(device, name, **payload)
    night.until(lambda: night.state(device) == "moving", 5)
    night.kill(device)
    night.run(1)
    night.start(device)
    night.until(lambda: night.state(device) == ended, 60)
    night.until(lambda: night.agent(device).state.command is None, 5)


def test_the_end_of_the_agent_stops_an_opening(night: Night, automation: Automation) -> None:
    automation.tell("cover", OPEN_COVER, CoverOrder())
    night.until(lambda: night.state("cover") == "moving", 5)
    night.person("cover", "Shutdown")
    night.until(lambda: night.state("cover") == "stopped", 5)


def test_telemetry_tells_angle_and_brightness(night: Night) -> None:
    night.run(30)
    values = {name: each.values for name, each in night.agent("monitoring").state.telemetry.items()}
    assert values["cover"] == {"brightness": 0}
    assert values["rotator"] == {"angle": 30.0, "mechanical": 0.0}


@pytest.mark.parametrize(
    ("device", "name", "payload"), [("cover", OPEN_COVER, CoverOrder()), ("rotator", ROTATE, Rotate(angle=200.0))]
)
def test_what_moves_is_stopped_when_a_hold_began_while_the_agent_was_down(
    night: Night, automation: Automation, device: str, name: str, payload: Payload
) -> None:
    automation.tell(device, name, payload)
    night.until(lambda: night.state(device) == "moving", 5)
    night.kill(device)
    Holds(night.config.data, night.clock).set("Ann", "work on the roof")
    night.start(device)
    night.until(lambda: night.state(device) != "moving", 3)
    end, failure = automation.end()
    assert end == f"{name} failed"
    assert "work on the roof" in failure.reason
