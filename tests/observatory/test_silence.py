"""The majordome believes nobody who is silent: nothing opens, what runs is stopped, and a person is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from pyros.messages import DomeReport
from pyros.planning.visibility import sun_altitude
from tests.observatory.conftest import Night

LEASE, TRAVEL = 60.0, 20.0


def alarms(night: Night) -> list[str]:
    """Return the keys of the majordome's alarms that aren't over."""
    return list(night.observatory.hosts["majordome"].alarms.raised)


def silence(night: Night, name: str) -> None:
    """Have an agent answer nothing from now on: it is there, takes messages, and no turn handles them."""
    night.observatory.hosts[name].ready.clear()


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_a_silent_dome_agent_ends_the_observation(exposing: Night, how: str) -> None:
    began = exposing.now
    exposing.kill("dome") if how == "killed" else silence(exposing, "dome")
    stopped = exposing.until(lambda: exposing.agent("observation_manager").state.current is None, LEASE + 2)
    assert alarms(exposing) == ["the dome's agent is silent"]
    exposing.until(lambda: exposing.state("camera") != "exposing", 2)
    exposing.until(lambda: exposing.state("telescope") == "parked", 60)
    exposing.run(600)
    assert exposing.slews(stopped) == []
    assert exposing.requests("camera", "DO expose", stopped) == []
    assert stopped - began <= LEASE
    if how == "killed":
        exposing.start("dome")
        exposing.until(lambda: exposing.said("Observation finished", "majordome"), 300)
        assert alarms(exposing) == []


def test_an_observatory_without_monitoring_opens_nothing_and_says_so(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    night.kill("monitoring")
    night.publish(night.packet())
    night.until(lambda: night.said("has to wait: monitoring has said nothing yet", "majordome"), 5)
    night.until(lambda: alarms(night) == ["monitoring is silent"], 100)
    night.run(600)
    assert night.requests("dome", "DO open") == []
    assert night.slews() == []
    night.start("monitoring")
    night.until(lambda: night.state("camera") == "exposing", 120)
    assert alarms(night) == []


def test_a_majordome_that_begins_anew_believes_no_old_weather(exposing: Night) -> None:
    exposing.kill("majordome")
    exposing.kill("monitoring")
    exposing.run(120)
    began = exposing.now
    exposing.start("majordome")
    exposing.run(600)
    assert exposing.state("dome") == "closed"
    assert exposing.requests("dome", "DO open", began) == []
    assert exposing.slews(began) == []


def test_a_majordome_that_begins_anew_keeps_a_safe_dome_open(exposing: Night) -> None:
    exposing.kill("majordome")
    exposing.run(1)
    exposing.start("majordome")
    exposing.until(lambda: exposing.said("Observation finished", "majordome"), 200)
    assert [line for _, line in exposing.requests("dome", "DO close")][1:] == []


def test_a_dome_that_may_not_be_open_is_not_slewed_for(ready: Night) -> None:
    """Its agent says so; the telescope isn't sent out every half minute all the same."""
    reason = ["the guardian is silent"]
    dome = ready.agent("dome")
    dome.actions_by_message["Keep open"] = lambda message: dome.send_to(
        "majordome", "Kept open", DomeReport(state="closed", may_open=reason[0])
    )
    ready.publish(ready.packet())
    ready.until(lambda: ready.said("the dome may not be open: the guardian is silent", "majordome"), 60)
    ready.run(60)
    since = ready.now
    ready.run(600)
    assert ready.slews(since) == []
    assert ready.requests("dome", "DO open", since) == []
    reason[0] = ""
    ready.until(lambda: ready.state("camera") == "exposing", 60)


def test_who_keeps_no_scheduler_alive_closes_at_dawn(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(devices={"dome": {"speed": 1}})
    dawn = night.clock.now()
    while sun_altitude(night.site, dawn) < night.site.twilight - 1:
        dawn += timedelta(minutes=1)
    early = (dawn - night.clock.now()).total_seconds()
    night.clock.step(early)
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet("pyros.test/long#1"))
    night.until(lambda: night.state("camera") == "exposing")
    night.kill("scheduler")
    night.kill("observation_manager")
    night.until(lambda: night.said("it is twilight", "majordome"), 1800)
    assert sun_altitude(night.site, night.clock.now()) < night.site.twilight + 1
    night.until(lambda: night.state("dome") == "closed" and night.state("telescope") == "parked", 120)
