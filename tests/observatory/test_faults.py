"""Each fault of a device in the middle of a night: what the agents say, how they recover, that the night goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.observatory.conftest import Night


class FaultCase(NamedTuple):
    """A fault, the message that tells of it to the agent that must act, and why in that message."""

    device: str
    fault: str
    to: str
    message: str
    reason: str


CASES = (
    FaultCase("telescope", 'no_answer request="DO slew" for=60', "observation_manager", "Slew failed",
         "telescope at tcp:127.0.0.1:6010: no answer to DO slew within 5 s"),
    FaultCase("camera", 'late_answer seconds=8 request="DO expose" for=12', "observation_manager", "Exposure failed",
         "camera at tcp:127.0.0.1:6011: no answer to DO expose within 5 s"),
    FaultCase("telescope", 'garbage request="DO slew" for=30', "observation_manager", "Slew failed",
         "telescope at tcp:127.0.0.1:6010: it sent a line that is not UTF-8"),
    FaultCase("dome", 'half_line request="DO open" for=60', "majordome", "Dome failed",
         "dome at tcp:127.0.0.1:6012: it sent not a line of the native grammar: "),
    FaultCase("camera", 'drop request="GET image" for=40', "observation_manager", "Exposure failed",
         "camera at tcp:127.0.0.1:6011: Connection to the other side was lost"),
    FaultCase("camera", 'refuse request="DO expose" code=HARDWARE for=12', "observation_manager", "Exposure failed",
         "HARDWARE: a fault makes it refuse"),
    FaultCase("dome", "stuck for=60", "majordome", "Dome failed", "Demo dome: open: no end within 12 s; it is opening"),
    FaultCase("telescope", "stuck for=60", "observation_manager", "Slew failed", "Demo telescope: slew: no end within"),
    FaultCase("telescope", 'wrong_position by=0.1 for=60', "observation_manager", "Slew failed",
         " arcsec from the target after two slews (at most 30)"),
    FaultCase("camera", "no_image for=120", "observation_manager", "Exposure failed",
         "Demo camera: exposure: no end within 38 s"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.device}: {case.fault.split()[0]}")
def test_a_fault_is_told_and_when_it_has_gone_the_observation_is_done(ready: Night, case: FaultCase) -> None:
    night = ready
    night.fault(case.device, case.fault)
    night.publish(night.packet())
    night.until(lambda: night.received(case.to, case.message), 200)
    told = night.received(case.to, case.message)[0]
    assert case.reason in told.payload.decode()
    assert night.said("", case.device), "and it is in the log"

    night.until(lambda: night.said("Observation finished", "majordome"), 900)
    assert len(night.images()) == 3
    night.until(lambda: night.state("dome") == "closed" and night.state("telescope") == "parked", 300)
    assert night.agent(case.device).device.connected
    for name in night.observatory.hosts:
        assert [row for row in night.received(name) if row.error is not None] == [], f"no handler of {name} failed"


@pytest.mark.parametrize("fault", ['drop request="DO slew"', 'no_answer request="DO slew"', "garbage", "half_line"])
def test_a_mount_that_comes_back_is_sent_there_again_and_the_same_observation_goes_on(ready: Night, fault: str) -> None:
    night = ready
    night.fault("telescope", f"{fault} for=12")
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing", 60)
    assert night.received("observation_manager", "Slew failed")
    night.until(lambda: night.said("Observation finished", "majordome"))
    assert len(night.received("scheduler", "Observation started")) == 1
    assert not night.received("scheduler", "Observation failed")
    assert len(night.images()) == 3


def test_a_mount_whose_power_is_cut_in_mid_slew_goes_on_when_it_is_back(ready: Night) -> None:
    night = ready
    night.publish(night.packet())
    night.until(lambda: night.state("telescope") == "slewing", 60)
    night.stop_simulator("telescope")
    night.run(10)
    night.start_simulator("telescope")
    night.until(lambda: night.said("Observation finished", "majordome"))
    assert len(night.received("scheduler", "Observation started")) == 1
    assert len(night.images()) == 3


def test_a_mount_that_stays_away_is_not_waited_for_without_end(ready: Night) -> None:
    night = ready
    night.fault("telescope", 'no_answer request="DO slew"')
    night.publish(night.packet())
    night.until(lambda: night.received("scheduler", "Observation failed"), 120)
    assert len(night.received("observation_manager", "Slew failed")) == 5
    assert b"slew failed: " in night.received("scheduler", "Observation failed")[0].payload
    night.fault("telescope", "clear")
    night.until(lambda: night.said("Observation finished", "majordome"))
    assert len(night.images()) == 3


def test_a_mount_that_refuses_is_not_asked_again_at_once(ready: Night) -> None:
    night = ready
    night.fault("telescope", 'refuse request="DO slew" code=LIMIT')
    night.publish(night.packet())
    night.until(lambda: night.received("scheduler", "Observation failed"), 60)
    assert len(night.received("observation_manager", "Slew failed")) == 1


@pytest.mark.parametrize("fault", ["no_answer", "garbage", "drop", "half_line"])
def test_a_weather_station_that_makes_no_sense_is_bad_weather_until_it_does_again(exposing: Night, fault: str) -> None:
    night, began = exposing, exposing.now
    night.fault("weather", f"{fault} for=150")
    night.until(lambda: night.received("majordome", "Weather unsafe"), 100)
    assert b"no reading for 60 s" in night.received("majordome", "Weather unsafe")[0].payload
    night.until(lambda: night.state("dome") == "closed", 30)
    assert night.now < began + 60 + 10 + 5
    night.until(lambda: night.said("Observation finished", "majordome"), 900)
    assert night.now > began + 150 + 300, "it was good for five minutes before"
    assert len(night.images()) >= 3


def test_a_frozen_weather_station_is_found_out(rehearsal: Callable[..., Night]) -> None:
    """It rains, and the station goes on to say that all is well."""
    night = rehearsal(options={"monitoring": {"option_frozen_after": 120, "option_safe_after": 60}})
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    began = night.now
    night.fault("weather", "frozen for=300")
    night.weather(rain=1)
    night.until(lambda: night.state("dome") == "closed", 200)
    told = night.received("majordome", "Weather unsafe")[0]
    assert b"has said 7.9 for 120 s" in told.payload
    night.run(300)
    assert b"rain" in night.received("majordome", "Weather unsafe")[-1].payload, "it sees the rain now"
    night.weather()
    night.until(lambda: night.said("Observation finished", "majordome"), 900)
    assert night.now > began + 360
    assert len(night.images()) >= 3


def test_an_exposure_that_never_ends_is_thrown_away_before_the_next_is_tried(exposing: Night) -> None:
    night, began = exposing, exposing.now
    night.fault("camera", "no_image")
    night.until(lambda: night.received("observation_manager", "Exposure failed"), 100)
    night.fault("camera", "clear")
    night.until(lambda: night.requests("camera", "DO expose", began), 10)
    assert [line.split()[1] for _, line in night.requests("camera", "DO ", began)] == ["abort", "expose"]
    night.until(lambda: night.said("Observation finished", "majordome"), 900)
    assert len(night.received("observation_manager", "Exposure failed")) == 1
    assert len(night.images()) == 3


def test_a_dome_that_sticks_while_it_closes_is_closed_as_soon_as_it_moves(exposing: Night) -> None:
    night, began = exposing, exposing.now
    night.fault("dome", "stuck for=200")
    night.weather(rain=1)
    night.until(lambda: night.received("majordome", "Dome failed"), 60)
    assert night.said("THE DOME DOES NOT CLOSE", "dome")
    assert b"no end within" in night.received("majordome", "Dome failed")[0].payload
    night.run(began + 200 - night.now)
    assert night.state("dome") == "closing"
    night.until(lambda: night.state("dome") == "closed", 15)
    night.weather()
    night.until(lambda: night.said("Observation finished", "majordome"), 900)


def test_a_night_of_random_faults_is_the_same_for_the_same_seed(rehearsal: Callable[..., Night]) -> None:
    faults = {
        "telescope": "[{kind: refuse, probability: 0.3, request: DO slew, code: HARDWARE}]",
        "camera": "[{kind: drop, probability: 0.2, request: DO expose}, {kind: no_image, at: 100, for: 60}]",
        "dome": "[{kind: late_answer, probability: 0.1, seconds: 3}]",
        "weather": "[{kind: garbage, probability: 0.1}]",
    }
    logs = []
    for _ in range(2):
        devices: dict[str, dict[str, Any]] = {name: {"faults": text} for name, text in faults.items()}
        devices["camera"] |= {"width": 64, "height": 64, "speed": 1}
        night = rehearsal(devices=devices)
        night.until(lambda night=night: night.said("the weather is safe"))  # type: ignore[misc]
        night.publish(night.packet())
        night.run(1800)
        assert night.said("Observation finished", "majordome") or night.said("given up", "scheduler")
        assert (night.state("dome"), night.state("telescope")) == ("closed", "parked")
        logs.append([(line.time, line.agent, line.text) for line in night.log])
        assert any("failed" in text for _, _, text in logs[-1])
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    "case",
    [
        FaultCase("filter_wheel", "stuck for=60", "observation_manager", "Filter failed",
             "Demo filter wheel: turn failed: the motor does not move"),
        FaultCase("filter_wheel", "wrong_position for=30", "observation_manager", "Filter failed",
             "Demo filter wheel: i is in the beam after it was told r"),
        FaultCase("filter_wheel", 'drop request="DO select" for=30', "observation_manager", "Filter failed",
             "filter_wheel at tcp:127.0.0.1:6014: Connection to the other side was lost"),
        FaultCase("focuser", "stuck for=60", "observation_manager", "Focus failed",
             "Demo focuser: move failed: the motor does not move"),
        FaultCase("focuser", "wrong_position by=300 for=30", "observation_manager", "Focus failed",
             "Demo focuser: it is at 25900 after it was told to move to 25600"),
        FaultCase("focuser", "late_answer seconds=8 for=30", "observation_manager", "Focus failed",
             "focuser at tcp:127.0.0.1:6015: no answer to "),
    ],
    ids=lambda case: f"{case.device}: {case.fault.split()[0]}",
)  # fmt: skip
def test_a_filter_or_a_focus_that_fails_is_told_and_tried_again(
    rehearsal: Callable[..., Night], case: FaultCase
) -> None:
    night = rehearsal(optional=("filter_wheel", "focuser"), options={"focuser": {"option_offsets": "r:300"}})
    night.until(lambda: night.said("the weather is safe"))
    night.fault(case.device, case.fault)
    night.publish(night.packet())
    night.until(lambda: night.received(case.to, case.message), 200)
    assert case.reason in night.received(case.to, case.message)[0].payload.decode()
    night.until(lambda: night.said("Observation finished", "majordome"), 900)
    assert len(night.images()) == 3
    assert night.agent(case.device).device.connected


def test_a_safety_monitor_that_says_nothing_closes_the_dome(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(optional=("safety",))
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    began = night.now
    night.fault("safety", "no_answer for=200")
    night.until(lambda: night.state("dome") == "closed", 100)
    night.until(lambda: night.received("majordome", "Weather unsafe"), 15)
    assert b"safety" in night.received("majordome", "Weather unsafe")[0].payload
    night.until(lambda: night.said("Observation finished", "majordome"), 1200)
    assert night.now > began + 200 + 300
    assert len(night.images()) >= 3


def test_status_counts_the_commands_that_failed(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet("pyros.test/blue#1"))
    night.until(lambda: night.said("is given up", "scheduler"), 120)
    figures = night.observatory.hosts["filter_wheel"].status()
    assert figures["failed_commands"] == 1
    assert figures["last_failure"].startswith("Select filter: ")
    assert night.observatory.hosts["telescope"].status()["failed_commands"] == 0
