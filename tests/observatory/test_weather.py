"""Bad weather, and the silence of those who would tell of it: the dome closes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyros.errors import JournalError, NoAnswer
from tests.observatory.conftest import Night

SAFE_AFTER = 300.0
LEASE = 60.0
READING = 10.0
TRAVEL = 2.0  # the dome's 20 seconds at a speed of 10


def test_rain_in_the_middle_of_an_exposure_stops_everything_and_afterwards_it_is_observed_again(
    exposing: Night,
) -> None:
    night, began = exposing, exposing.now
    night.weather(rain=1)
    closed = night.until(lambda: night.state("dome") == "closed")
    assert closed - began <= READING + TRAVEL + 0.5
    assert [line for when, line in night.requests("camera", since=began)] == ["DO abort"]
    night.until(lambda: night.state("telescope") == "parked", 60)
    assert night.state("camera") != "exposing"

    night.run(1000)
    assert night.state("dome") == "closed", "it rains"
    assert night.images() == []
    night.weather(rain=0)
    safe = night.until(lambda: night.said("the weather is safe", since=began))
    opened = night.until(lambda: night.state("dome") == "open")
    assert safe - began >= 1000 + SAFE_AFTER - READING
    assert opened - safe <= 60 + TRAVEL, "at the next plan at the latest"
    night.until(lambda: night.said("Observation finished", "majordome"))
    assert len(night.images()) == 3
    night.until(lambda: night.state("dome") == "closed" and night.state("telescope") == "parked")


def test_every_limit_closes_the_dome(exposing: Night) -> None:
    night = exposing
    for readings in ({"wind": 20}, {"humidity": 99}, {"cloud": 1}):
        night.weather(**readings)
        night.until(lambda: night.state("dome") == "closed", READING + TRAVEL + 1)
        night.weather()
        night.until(lambda: night.state("camera") == "exposing")


def test_before_anybody_has_said_that_it_is_safe_nothing_opens(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    night.stop("weather")
    night.publish(night.packet())
    night.run(1200)
    assert night.requests("dome", "DO open") == []
    assert night.requests("telescope", "DO slew") == []
    night.start("weather")
    night.until(night.images)


def test_the_dome_closes_by_itself_when_monitoring_is_gone(exposing: Night) -> None:
    night, began = exposing, exposing.now
    night.stop("monitoring")
    closed = night.until(lambda: night.state("dome") == "closed")
    assert closed - began <= LEASE + TRAVEL + 0.5
    night.run(600)
    assert night.state("dome") == "closed"
    assert night.state("telescope") == "parked"
    assert len(night.requests("dome", "DO open", since=began)) <= 3, "the majordome does not insist"

    night.start("monitoring")
    night.until(lambda: night.said("Observation finished", "majordome"))


def test_the_dome_closes_by_itself_when_the_majordome_is_gone(exposing: Night) -> None:
    night, began = exposing, exposing.now
    night.stop("majordome")
    closed = night.until(lambda: night.state("dome") == "closed")
    assert closed - began <= LEASE + TRAVEL + 0.5
    night.run(600)
    assert night.state("dome") == "closed"
    night.start("majordome")
    night.until(lambda: night.said("Observation finished", "majordome"))
    night.until(lambda: night.state("dome") == "closed" and night.state("telescope") == "parked")


@pytest.mark.parametrize("silent", ["the station", "its agent"])
def test_silent_weather_is_unsafe(exposing: Night, silent: str) -> None:
    night, began = exposing, exposing.now
    if silent == "the station":
        night.stop_simulator("weather")
    else:
        night.stop("weather")
    closed = night.until(lambda: night.state("dome") == "closed")
    assert closed - began <= LEASE + TRAVEL + 0.5
    night.until(lambda: night.said("no reading"), 15)
    night.until(lambda: night.state("telescope") == "parked", 60)


def test_what_was_said_before_the_dome_agent_was_there_opens_nothing_afterwards(exposing: Night) -> None:
    """Orders and good news wait in outboxes; when they arrive they are as old as they are."""
    night = exposing
    for name in ("dome", "monitoring", "majordome"):
        night.kill(name)
        night.run(30)
    night.run(3600)
    began = night.now
    night.start("dome")
    night.until(lambda: night.state("dome") == "closed", TRAVEL + 1)
    night.run(600)
    assert night.requests("dome", "DO open", since=began) == []


def test_nobody_insists_on_a_dome_that_does_not_move(exposing: Night) -> None:
    night, began = exposing, exposing.now
    night.stop_simulator("dome")
    night.weather(rain=1)
    night.run(300)
    failures = night.said("THE DOME DOES NOT CLOSE", since=began)
    assert 10 <= len(failures) <= 40, "it is told about every 15 seconds, five of which it waits for the connection"
    night.start_simulator("dome")
    night.until(lambda: night.state("dome") == "closed", 20)


def test_a_roof_closes_only_over_a_parked_mount(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(options={"dome": {"roof": "yes"}}, devices={"telescope": {"speed": 1}})
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    began, seen = night.now, set[str]()
    night.weather(rain=1)
    night.watchers.append(lambda: seen.add(night.state("telescope")) if night.state("dome") == "closing" else None)
    closed = night.until(lambda: night.state("dome") == "closed")
    assert seen == {"parked"}
    assert closed - began < READING + TRAVEL + 30


@pytest.mark.parametrize("trouble", ["the telescope's agent is dead", "the dome's disk is full"])
def test_a_roof_has_the_mount_parked_whose_agent_does_not_answer(
    rehearsal: Callable[..., Night], trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = rehearsal(options={"dome": {"roof": "yes"}}, devices={"telescope": {"speed": 1}})
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    if trouble == "the telescope's agent is dead":
        night.kill("telescope")
    else:
        monkeypatch.setattr(night.observatory.hosts["dome"].journal, "commit", _full)
        night.kill("majordome")  # which would have it parked
    seen = set[str]()
    night.watchers.append(lambda: seen.add(night.state("telescope")) if night.state("dome") == "closing" else None)
    night.weather(rain=1)
    night.until(lambda: night.state("dome") == "closed")
    assert seen == {"parked"}
    monkeypatch.undo()


def test_a_roof_meets_no_mount_that_a_hung_agent_keeps_for_itself(
    rehearsal: Callable[..., Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mount takes one client: the dome's agent, and the guardian, cannot park it by a link of their own."""
    night = rehearsal(options={"dome": {"roof": "yes"}}, devices={"telescope": {"speed": 1}})
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    monkeypatch.setattr("pyros.agents.dome.park", _no_second_client)
    night.observatory.hosts["telescope"].ready.clear()  # it takes messages, and no turn handles them
    seen = set[str]()
    night.watchers.append(lambda: seen.add(night.state("telescope")) if night.state("dome") == "closing" else None)
    night.weather(rain=1)
    night.until(lambda: night.state("dome") == "closed")
    assert seen == {"parked"}


def test_a_roof_leaves_the_mount_to_an_agent_that_answers(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(options={"dome": {"roof": "yes"}}, devices={"telescope": {"speed": 0.5}})
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    night.weather(rain=1)
    night.until(lambda: night.state("dome") == "closed")
    assert not night.said("does not answer", "dome")


async def _no_second_client(*_: object) -> None:
    raise NoAnswer("the mount takes one client")


def _full(effects: object) -> None:
    raise JournalError("cannot store: database or disk is full")
