"""The same target again, some time after its alert: whatever is restarted meanwhile, and not when it is taken back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.observatory.conftest import Night

RULES = """
rules:
  - {name: again, when: {stream: "*first*"}, priority: 10, min_altitude: 15, repeat: [10 min, 40 min],
     expires_after: 2 h, observe: [{filter: r, seconds: 20}]}
  - {name: urgent, when: {stream: "*urgent*"}, priority: 90, observe: [{filter: g, seconds: 20, count: 30}]}
"""
IDS = ["obs-ivo-pyros.test-first-1", "obs-ivo-pyros.test-first-1-again1", "obs-ivo-pyros.test-first-1-again2"]


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Night:
    night = rehearsal(rules=RULES)
    night.until(lambda: night.said("the weather is safe"))
    return night


def begun(night: Night) -> list[float]:
    """When the telescope was sent, in seconds after the first one of the night was."""
    times = [when for when, _ in night.slews()]
    return [when - times[0] for when in times]


def closed(night: Night) -> bool:
    return night.state("dome") == "closed" and night.state("telescope") == "parked"


def test_at_the_times_that_the_rule_names(night: Night) -> None:
    place = night.place()
    night.publish(night.packet(place=place))
    night.until(lambda: len(night.images()) == 1)
    night.until(lambda: closed(night))
    assert night.now < 300, "nobody waits for the next one with an open dome"
    night.until(lambda: len(night.images()) == 3, 3600)
    assert begun(night) == pytest.approx([0, 600, 2400], abs=0.5)
    assert all(where == pytest.approx(place, abs=1e-3) for _, where in night.slews())
    assert {path.name.partition("_")[0] for path in night.images()} == set(IDS)
    night.until(lambda: night.agent("scheduler").state.requests == {}, 60)
    night.run(1800)
    assert len(night.images()) == 3


@pytest.mark.parametrize(
    "who", ["scheduler", *(pytest.param(who, marks=pytest.mark.long) for who in ("alert_manager", "majordome"))]
)
def test_though_agents_are_restarted(night: Night, who: str) -> None:
    night.publish(night.packet())
    night.until(lambda: len(night.images()) == 1)
    night.restart(who)
    night.run(300)
    night.stop(who)
    night.run(200)
    night.start(who)
    night.until(lambda: len(night.images()) == 3, 3600)
    assert begun(night) == pytest.approx([0, 600, 2400], abs=0.5)


def test_one_whose_time_came_while_the_scheduler_was_away_begins_when_it_is_back(night: Night) -> None:
    night.publish(night.packet())
    night.until(lambda: len(night.images()) == 1)
    night.stop("scheduler")
    night.run(1200)
    night.start("scheduler")
    began = night.now
    night.until(lambda: len(night.images()) == 2, 120)
    assert night.slews()[1][0] == pytest.approx(began, abs=1)


def test_a_retraction_takes_all_of_them_back(night: Night) -> None:
    night.publish(night.packet())
    night.until(lambda: len(night.images()) == 1)
    night.publish(night.packet("pyros.test/first#2", cites=("retraction", "pyros.test/first#1")))
    night.until(lambda: night.agent("scheduler").state.requests == {}, 10)
    night.run(3600)
    assert len(night.images()) == 1


def test_a_retraction_stops_the_one_that_runs(night: Night) -> None:
    night.publish(night.packet())
    night.until(lambda: len(night.images()) == 1)
    night.until(lambda: len(night.slews()) == 2 and night.state("camera") == "exposing", 900)
    began = night.now
    night.publish(night.packet("pyros.test/first#2", cites=("retraction", "pyros.test/first#1")))
    night.until(lambda: night.requests("camera", since=began), 1)
    night.run(3600)
    assert len(night.images()) == 1


def test_a_better_position_is_for_those_that_are_still_to_come(night: Night) -> None:
    night.publish(night.packet())
    night.until(lambda: closed(night) and len(night.images()) == 1)
    night.run(600)
    assert len(night.images()) == 2
    better = night.place(60, 100)
    night.publish(night.packet("pyros.test/first#2", better, cites=("followup", "pyros.test/first#1")))
    night.until(lambda: len(night.images()) == 4, 3600)
    night.run(1200)  # past 2400 s after the second alert
    assert len(night.images()) == 4, "the first one anew, the second was done, the third to come"
    assert [where == pytest.approx(better, abs=1e-3) for _, where in night.slews()] == [False, False, True, True]
    assert begun(night)[3] == pytest.approx(2400, abs=0.5), "its time counts from the first alert"


def test_one_that_has_to_give_way_is_done_afterwards(night: Night) -> None:
    night.publish(night.packet())
    night.until(lambda: len(night.images()) == 1)
    night.run(540)
    night.publish(night.packet("pyros.test/urgent#1", night.place(55, 140)))
    night.until(lambda: len(night.images()) == 32, 2000)
    assert night.objects()[0] == night.objects()[-1] == "ivo://pyros.test/first#1"
