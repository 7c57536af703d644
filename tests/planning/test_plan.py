from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyros.messages import Exposures, Observation
from pyros.planning import Site, make_plan
from pyros.planning.visibility import place_overhead

PIC = Site("Pic du Midi", 42.9365, 0.1426, 2877.0)
NIGHT = datetime(2026, 3, 1, 23, 0, tzinfo=UTC)
DAY = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EXPOSURES = (Exposures(filter="r", seconds=10.0),)


def observation(name: str, altitude: float = 65.0, when: datetime = NIGHT, **fields: Any) -> Observation:
    ra, dec = place_overhead(PIC, when, altitude)
    return Observation(id=name, target=name.upper(), ra=ra, dec=dec, exposures=EXPOSURES, **fields)


def order(
    *observations: Observation, when: datetime = NIGHT, running: str | None = None
) -> tuple[list[str], str | None]:
    plan = make_plan(observations, PIC, when, running)
    return [line.observation.id for line in plan.observations], plan.start_now


def test_nothing_to_do() -> None:
    assert order() == ([], None)


def test_highest_priority_first_then_first_come() -> None:
    late, early = observation("late", requested=20.0), observation("early", requested=10.0)
    burst = observation("burst", priority=5, requested=30.0)
    assert order(late, early, burst) == (["burst", "early", "late"], "burst")


def test_what_is_not_up_keeps_its_place_but_is_not_started() -> None:
    low = observation("low", altitude=5.0, priority=9)
    plan = make_plan([low, observation("up")], PIC, NIGHT)
    assert plan.start_now == "up"
    assert [line.observation.id for line in plan.observations] == ["low", "up"]
    assert plan.observations[0].reason == "not up: altitude 5.0°, its limit is 10°"
    assert "altitude 65.0°, its limit is 10°, airmass 1.10" in plan.observations[1].reason
    assert plan.observations[1].reason.startswith("up until 0")
    assert order(observation("low", altitude=5.0, min_altitude=4.0)) == (["low"], "low")


def test_nothing_starts_by_day() -> None:
    plan = make_plan([observation("up", when=DAY)], PIC, DAY)
    assert plan.start_now is None
    assert plan.observations[0].reason.startswith("waits for the night: the Sun is at 39.")


def test_what_has_expired_is_dropped_unless_it_runs() -> None:
    now = NIGHT.timestamp()
    old, new = observation("old", expires=now), observation("new", expires=now + 1)
    assert order(old, new) == (["new"], "new")
    assert order(old, new, running="old") == (["new", "old"], "old")


def test_a_running_observation_gives_way_only_to_a_higher_priority() -> None:
    running, equal = observation("running", requested=20.0), observation("equal", requested=10.0)
    burst = observation("burst", priority=1, requested=30.0)
    assert order(running, equal, running="running")[1] == "running"
    assert order(running, equal, burst, running="running")[1] == "burst"
    assert order(equal, running="gone")[1] == "equal"


def test_a_running_observation_that_has_set_is_over() -> None:
    ra, dec = place_overhead(PIC, NIGHT, altitude=12.0, azimuth=270.0)
    setting = Observation(id="setting", target="X", ra=ra, dec=dec, exposures=EXPOSURES)
    assert order(setting, running="setting") == (["setting"], "setting")
    assert order(setting, when=NIGHT + timedelta(hours=1), running="setting") == (["setting"], None)


@given(st.permutations(range(6)))
def test_the_plan_does_not_depend_on_the_order_of_asking(numbers: list[int]) -> None:
    asked = [observation(f"o{number}", priority=number % 3, requested=float(number // 3)) for number in numbers]
    assert order(*asked) == (["o2", "o5", "o1", "o4", "o0", "o3"], "o2")


def test_what_is_repeated_later_waits_for_its_time() -> None:
    now = NIGHT.timestamp()
    later, other = observation("later", priority=9, not_before=now + 60), observation("other")
    plan = make_plan([later, other], PIC, NIGHT)
    assert plan.start_now == "other"
    assert plan.observations[0].reason.startswith("waits until 2026-03-01 23:01:00 UTC: up: altitude 65.0°")
    assert order(observation("due", priority=9, not_before=now), other)[1] == "due"
    assert order(later)[1] is None
