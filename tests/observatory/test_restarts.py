"""Every agent ends in the middle of an observation and begins again on its journal: the night goes on."""

from __future__ import annotations

import pytest

from tests.conftest import DEMO_AGENTS
from tests.observatory.conftest import Night


def finished(night: Night) -> None:
    night.until(lambda: night.said("Observation finished", "majordome"))
    night.until(lambda: night.state("dome") == "closed" and night.state("telescope") == "parked")
    assert len(night.images()) >= 3
    for name in DEMO_AGENTS:
        assert [row for row in night.received(name) if row.error is not None] == [], f"no handler of {name} failed"


@pytest.mark.parametrize("name", DEMO_AGENTS)
def test_an_agent_that_was_killed_in_mid_exposure(exposing: Night, name: str) -> None:
    exposing.kill(name)
    exposing.run(25.0)
    exposing.start(name)
    finished(exposing)


@pytest.mark.parametrize("name", DEMO_AGENTS)
def test_an_agent_that_was_stopped_in_mid_slew(ready: Night, name: str) -> None:
    ready.publish(ready.packet())
    ready.until(lambda: ready.state("telescope") == "slewing")
    ready.stop(name)
    ready.run(0.1)
    ready.start(name)
    finished(ready)


def test_the_exposure_is_repeated_when_the_cameras_agent_was_restarted(exposing: Night) -> None:
    began = exposing.now
    exposing.restart("camera")
    finished(exposing)
    exposures = exposing.requests("camera", "DO expose")
    assert len(exposures) == 4
    assert exposing.requests("camera", "DO abort")
    assert exposures[1][0] - began < 10


def test_the_slew_is_finished_when_the_telescopes_agent_was_restarted(ready: Night) -> None:
    ready.publish(ready.packet())
    ready.until(lambda: ready.state("telescope") == "slewing")
    ready.restart("telescope")
    assert ready.state("telescope") == "slewing", "the mount itself goes on"
    finished(ready)
    (_, first), (_, second) = ready.slews()
    assert first == second, "the same place again"


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_dome_whose_agent_was_restarted_closes_first(exposing: Night, how: str) -> None:
    """Nothing that was said to the one before counts for the next."""
    began = exposing.now
    getattr(exposing, how)("dome")
    assert exposing.state("dome") == ("closed" if how == "stop" else "open")
    exposing.start("dome")
    exposing.until(lambda: exposing.state("dome") == "closed", 3)
    exposing.run(10)
    assert exposing.requests("dome", "DO open", since=began) == [], "the majordome's leases open nothing"
    finished(exposing)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_all_agents_at_once(exposing: Night, how: str) -> None:
    for name in DEMO_AGENTS:
        getattr(exposing, how)(name)
    exposing.run(3)
    for name in DEMO_AGENTS:
        exposing.start(name)
    finished(exposing)


def test_all_agents_away_for_an_hour_in_which_it_began_to_rain(exposing: Night) -> None:
    for name in DEMO_AGENTS:
        exposing.kill(name)
    exposing.run(1800)
    exposing.weather(rain=1)
    exposing.run(1800)
    assert exposing.state("dome") == "open", "nobody is there to close it"
    began = exposing.now
    for name in DEMO_AGENTS:
        exposing.start(name)
    closed = exposing.until(lambda: exposing.state("dome") == "closed")
    assert closed - began < 5
    exposing.run(900)
    assert exposing.state("dome") == "closed"
    exposing.weather()
    finished(exposing)
