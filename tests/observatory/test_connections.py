"""Devices whose connection breaks in the middle of a night: a message, not a crash, and the night goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.observatory.conftest import Night

OPTIONAL = ("focuser", "switch")


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Night:
    """With every kind of device; slews, turns and the dome take as long as they say."""
    slow = {name: {"speed": 1} for name in ("telescope", "dome", "filter_wheel", "focuser")}
    night = rehearsal(optional=OPTIONAL, devices=slow, options={"focuser": {"option_offsets": "r:3000"}})
    night.until(lambda: night.said("the weather is safe"))
    return night


@pytest.fixture
def exposing(night: Night) -> Night:
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    night.run(5)
    return night


def away(night: Night, seconds: float, *devices: str) -> None:
    """Their power is cut, and comes back after so many seconds."""
    for name in devices:
        night.stop_simulator(name)
    night.run(seconds)
    for name in devices:
        night.start_simulator(name)


def nothing_crashed(night: Night) -> None:
    for name in night.observatory.hosts:
        assert [row for row in night.received(name) if row.error is not None] == [], f"no handler of {name} failed"
    assert not night.said("Traceback")


@pytest.mark.parametrize(
    "device", ["telescope", "camera", "dome", "filter_wheel", "focuser", "weather", "safety", "switch"]
)
def test_each_device_may_be_away_for_a_while(exposing: Night, device: str) -> None:
    night = exposing
    away(night, 20, device)
    for agent in ("monitoring", "observation_manager"):
        told = night.received(agent, "Instrument disconnected")
        assert [row.sender for row in told] == [device]
    night.until(lambda: night.agent("monitoring").state.links[device].connected, 5)
    night.until(lambda: night.said("Observation finished", "majordome"), 300)
    assert len(night.images()) >= 3
    nothing_crashed(night)


@pytest.mark.parametrize("device", ["telescope", "camera", "filter_wheel", "focuser", "dome"])
def test_one_that_is_away_when_it_is_needed_is_waited_for(night: Night, device: str) -> None:
    night.stop_simulator(device)
    night.publish(night.packet())
    night.run(200)
    assert night.images() == []
    night.start_simulator(device)
    back = night.now
    night.until(lambda: night.state("camera") == "exposing", 60)
    assert night.now < back + 35, "it does its part, the slowest of which takes 20 s, and nothing waits for a timer"
    night.until(lambda: night.said("Observation finished", "majordome"), 300)
    assert len(night.received("scheduler", "Observation started")) == 1
    nothing_crashed(night)


def test_one_that_stays_away_is_not_held_against_the_target(night: Night) -> None:
    night.stop_simulator("camera")
    night.publish(night.packet())
    night.run(2 * 3600)
    assert not night.said("given up")
    assert len(night.received("observation_manager", "Observe")) >= 5
    night.start_simulator("camera")
    night.until(lambda: night.said("Observation finished", "majordome"), 300)


def test_all_of_them_in_mid_slew(night: Night) -> None:
    """As when the server dies that all of them hang on."""
    night.publish(night.packet())
    night.until(lambda: night.state("telescope") == "slewing")
    night.run(3)
    assert night.state("dome") == "opening"
    away(night, 3, *night.instruments)
    back = night.now
    night.until(lambda: night.state("camera") == "exposing", 120)
    assert night.now < back + 2 + 1 + 20 + 5, "at most 2 s until it is connected, a pause, and the dome's 20 s"
    night.until(lambda: night.said("Observation finished", "majordome"), 300)
    assert len(night.received("scheduler", "Observation started")) == 1
    nothing_crashed(night)


def test_all_of_them_in_mid_exposure(exposing: Night) -> None:
    night = exposing
    away(night, 3, *night.instruments)
    back = night.now
    night.until(lambda: night.state("camera") == "exposing", 120)
    assert night.state("dome") == "open"
    assert night.now < back + 2 + 1 + 20 + 5
    night.until(lambda: night.said("Observation finished", "majordome"), 300)
    assert len(night.images()) == 3
    nothing_crashed(night)


def test_a_telescope_that_was_away_is_sent_there_again_before_the_next_exposure(exposing: Night) -> None:
    night, began = exposing, exposing.now
    away(night, 3, "telescope")
    night.until(lambda: night.said("Observation finished", "majordome"), 300)
    assert len(night.slews(began)) == 1
    (first, _), *_ = night.requests("camera", "DO expose", began)
    assert night.slews(began)[0][0] < first
    assert len(night.received("scheduler", "Observation started")) == 1


# The dome ---------------------------------------------------------------------------------------------------------


def test_a_dome_that_stayed_open_while_it_was_lost_disturbs_nothing(exposing: Night) -> None:
    night = exposing
    night.fault("dome", "drop for=25")
    night.until(lambda: night.received("monitoring", "Instrument disconnected"), 15)
    night.until(lambda: night.said("Observation finished", "majordome"), 300)
    assert len(night.received("scheduler", "Observation started")) == 1
    assert len(night.requests("dome", "DO open")) == 1


@pytest.mark.parametrize("why", ["rain", "the majordome is gone"])
def test_a_dome_that_may_not_be_open_any_more_closes_as_soon_as_it_is_reached(exposing: Night, why: str) -> None:
    night, began = exposing, exposing.now
    night.fault("dome", "drop for=150")
    if why == "rain":
        night.weather(rain=1)
    else:
        night.stop("majordome")
    night.until(lambda: night.said("THE DOME DOES NOT CLOSE"), 100)
    assert night.state("dome") == "open", "nobody reaches it"
    night.run(began + 150 - night.now)
    assert night.state("dome") == "open"
    night.until(lambda: night.state("dome") == "closed", 20 + 13)
    assert len(night.requests("dome", "DO open")) == 1
    if why != "rain":
        night.start("majordome")


def test_a_dome_that_comes_back_in_the_rain_stays_closed(exposing: Night) -> None:
    night = exposing
    night.stop_simulator("dome")
    night.weather(rain=1)
    night.run(30)
    night.start_simulator("dome")
    began, seen = night.now, set[str]()
    night.watchers.append(lambda: seen.add(night.state("dome")))
    night.run(200)
    assert seen == {"closed"}
    assert night.requests("dome", "DO open", began) == []


def test_a_dome_that_is_lost_whenever_it_is_told_to_open_is_asked_less_and_less_often(night: Night) -> None:
    night.fault("dome", 'drop request="DO open" for=300')
    night.publish(night.packet())
    night.run(300)
    assert 5 <= len(night.requests("dome", "DO open")) <= 30
    night.until(lambda: night.said("Observation finished", "majordome"), 900)


@pytest.mark.parametrize("device", ["weather", "safety"])
def test_without_weather_or_safety_the_dome_closes(exposing: Night, device: str) -> None:
    night, began = exposing, exposing.now
    night.stop_simulator(device)
    night.until(lambda: night.state("dome") == "closed", 60 + 10 + 20 + 5)
    assert night.now > began + 30, "a moment without a word is no danger"
    assert night.received("majordome", "Weather unsafe")
    night.start_simulator(device)
    night.until(lambda: night.said("Observation finished", "majordome"), 900)
    assert len(night.images()) >= 3
    nothing_crashed(night)
