"""The plan of a night: every line holds what its request asks for, and every refusal says the truth."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.messages import Cadence, Constraints, Exposures, Observation, Orbit, Plan, Window
from pyros.planning import Site
from pyros.planning.beam import search_beam
from pyros.planning.neighbourhood import Neighbourhood
from pyros.planning.night_sky import NightSky, night_of
from pyros.planning.planner import Running, plan_night
from pyros.planning.problem import DEFAULT_OVERHEADS, Overheads, Problem, make_problem
from pyros.planning.search import Multipliers, by_worth, exchange, first_plan, insert, worth
from pyros.planning.visibility import airmass, altitude_azimuth, moon, moon_separation, place_overhead, sun_altitude

PIC = Site("Pic du Midi", 42.9365, 0.1426, 2877.0)
HILLS = Site("Hills", 42.9365, 0.1426, 2877.0, horizon=((10.0, 10.0), (90.0, 35.0), (180.0, 8.0), (270.0, 30.0)))
NIGHT = datetime(2026, 3, 1, 23, 0, tzinfo=UTC)
BEGIN = datetime(2026, 3, 1, 21, 0, tzinfo=UTC).timestamp()
END = BEGIN + 3 * 3600
SLOW = Overheads(slew_speed=0.5, settle=20.0, readout=10.0, filter_change=30.0, flip=120.0, focus=180.0)


def request(
    name: str, altitude: float = 60.0, azimuth: float = 120.0, minutes: float = 10.0, **fields: Any
) -> Observation:
    fields.setdefault("exposures", (Exposures("r", minutes * 60.0),))
    if "ra" not in fields:
        fields["ra"], fields["dec"] = place_overhead(PIC, NIGHT, altitude, azimuth)
    return Observation(id=name, target=name.upper(), **fields)


spans = st.tuples(st.floats(-1800, 12000), st.floats(60, 9000)).map(
    lambda span: Window(BEGIN + span[0], BEGIN + sum(span))
)
constraints = st.builds(
    Constraints,
    max_airmass=st.none() | st.floats(1.0, 3.0),
    moon_distance=st.sampled_from([0.0, 20.0, 60.0]),
    moon_illumination=st.sampled_from([1.0, 0.5]),
    sun_altitude=st.sampled_from([None, -18.0]),
)
exposures = st.lists(
    st.builds(Exposures, st.sampled_from("gri"), st.sampled_from([1.0, 30.0, 300.0]), st.integers(1, 4)),
    min_size=1, max_size=3,
).map(tuple)  # fmt: skip
bodies = st.builds(
    Orbit, perihelion_distance=st.floats(0.5, 3), eccentricity=st.floats(0, 1.2), inclination=st.floats(0, 180),
    node=st.floats(0, 360), argument=st.floats(0, 360), perihelion=st.floats(60900, 61300),
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn, most: int = 12) -> list[Observation]:
    result = []
    for number in range(draw(st.integers(0, most))):
        wanted = draw(st.builds(
            request, st.just(f"r{number}"), st.floats(-20, 89), st.floats(0, 359),
            exposures=exposures, priority=st.integers(-5, 30), min_altitude=st.floats(0, 60),
            constraints=constraints, windows=st.lists(spans, max_size=3).map(tuple),
            not_before=st.none() | st.floats(BEGIN - 100, END), expires=st.none() | st.floats(BEGIN - 100, END),
            decay=st.none() | st.floats(60, 10000), requested=st.floats(BEGIN - 1000, BEGIN),
            taken=st.integers(0, 3), orbit=st.none() | bodies,
            cadence=st.none() | st.builds(
                Cadence, period=st.floats(600, 90000), tolerance=st.floats(0, 900), start=st.floats(BEGIN - 90000, END),
                count=st.none() | st.integers(1, 5),
            ),
        ))  # fmt: skip
        result.append(wanted)
    return result


def assert_holds(plan: Plan, site: Site, wanted: list[Observation]) -> None:
    """Check every line against the sky as single times give it, and that all lines and refusals are there once."""
    known = {each.id: each for each in wanted}
    before = -math.inf
    for line in plan.observations:
        asked = line.observation
        assert line.start is not None
        assert line.end is not None
        assert before <= line.start < line.end
        before = line.end
        assert plan.begin is not None
        assert plan.end is not None
        assert plan.begin <= line.start
        assert line.end <= plan.end + 60, "a slot"
        exposed = sum(each.seconds * each.count for each in asked.remaining())
        assert line.end - line.start >= exposed
        assert asked.not_before is None or line.start >= asked.not_before - 1e-3
        assert asked.expires is None or line.start <= asked.expires + 1e-3
        assert not asked.windows or any(each.begin <= line.start and line.end <= each.end for each in asked.windows)
        for moment in np.linspace(line.start, line.end, 7):
            when = datetime.fromtimestamp(float(moment), UTC)
            ra, dec = asked.ra, asked.dec
            slack = 0.5 if asked.orbit else 0.02
            altitude, azimuth = altitude_azimuth(site, ra, dec, when)
            assert altitude >= max(asked.min_altitude, site.horizon_at(azimuth)) - slack
            if asked.constraints.max_airmass is not None:
                assert airmass(altitude + slack) <= asked.constraints.max_airmass
            sun = asked.constraints.sun_altitude
            assert sun_altitude(site, when) < min(site.twilight, 0.0 if sun is None else sun) + 0.02
            if altitude_azimuth(site, *moon(site, when), when)[0] > 0.05:
                assert moon_separation(site, ra, dec, when) >= asked.constraints.moon_distance - slack
                assert asked.constraints.moon_illumination == 1.0, "the Moon is nearly full"
    ids = [each.observation.id for each in plan.observations] + [each.observation for each in plan.refused]
    assert len(ids) == len(set(ids))
    assert {each.partition("-due")[0] for each in ids} == set(known)
    assert all(each.reason for each in plan.observations)
    assert all(each.reason for each in plan.refused)
    assert plan.value == pytest.approx(sum(each.value for each in plan.observations))
    if plan.bound is not None:
        assert plan.value <= plan.bound * (1 + 1e-9) + 1e-6


@settings(max_examples=60, deadline=None)
@given(requests(), st.sampled_from([PIC, HILLS]), st.sampled_from([DEFAULT_OVERHEADS, SLOW]), st.sampled_from([0, 20]))
def test_every_line_holds_what_its_request_asks_for(
    wanted: list[Observation], site: Site, overheads: Overheads, rounds: int
) -> None:
    plan = plan_night(wanted, site, BEGIN, end=END, overheads=overheads, rounds=rounds)
    assert_holds(plan, site, wanted)
    assert plan == plan_night(wanted[::-1], site, BEGIN, end=END, overheads=overheads, rounds=rounds)


def problem_of(wanted: list[Observation], step: float = 60.0) -> Problem:
    plain = [msgspec.structs.replace(each, cadence=None) for each in wanted if each.remaining()]
    return make_problem(plain, NightSky(PIC, BEGIN, END, step), DEFAULT_OVERHEADS, 20.0)


@settings(max_examples=40, deadline=None)
@given(requests(), st.randoms(use_true_random=False))
def test_no_plan_is_worth_more_than_the_bound(wanted: list[Observation], random: Any) -> None:
    problem = problem_of(wanted)
    multipliers = Multipliers(problem, [])
    for number in range(30):
        if not multipliers.round(number % 2 == 0):
            break
    order = by_worth(problem)
    neighbourhood = Neighbourhood(problem, multipliers.lines, multipliers.prices, seed=random.randrange(1000))
    for _ in range(10):
        neighbourhood.round()
    assert worth(problem, neighbourhood.lines) >= multipliers.worth - 1e-6
    plans = [first_plan(problem), insert(problem, order), multipliers.lines, neighbourhood.lines]
    plans.append(search_beam(multipliers))
    assert worth(problem, plans[-1]) >= multipliers.worth
    for _ in range(10):
        random.shuffle(order)
        plans += [insert(problem, order), exchange(problem, insert(problem, order))]
    for plan in plans:
        assert len({row for row, _ in plan}) == len(plan)
        ends = [0, *(slot + problem.length[row, slot] for row, slot in plan)]
        assert all(end <= slot for end, (_, slot) in zip(ends, plan, strict=False))
        assert ends[-1] <= problem.slots
        assert all(problem.value[line] > 0 for line in plan)
        assert worth(problem, plan) <= multipliers.bound * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(requests(8), requests(1))
def test_one_more_request_never_costs_the_plan_more_than_a_little(
    wanted: list[Observation], more: list[Observation]
) -> None:
    without = plan_night(wanted, PIC, BEGIN, end=END, rounds=100)
    more = [msgspec.structs.replace(each, id=f"more{each.id}") for each in more]
    plan = plan_night([*wanted, *more], PIC, BEGIN, end=END, rounds=100)
    assert plan.value >= 0.97 * without.value


def best_of_all_orders(problem: Problem) -> float:
    """Return the worth of the best plan: every order is tried, each with its best times, and with leaving out."""
    best = 0.0
    for order in permutations(range(len(problem.requests))):
        reached = np.zeros(problem.slots + 1)  # by the slot until which it lasts
        for row in order:
            value, after = problem.value[row], reached.copy()
            starts = np.flatnonzero(value > 0)
            np.maximum.at(after, starts + problem.length[row, starts], reached[starts] + value[starts])
            reached = np.maximum.accumulate(after)
        best = max(best, float(reached[-1]))
    return best


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.floats(15, 80), st.floats(60, 300), st.floats(10, 90), st.integers(0, 20)), min_size=1,
             max_size=5),
)  # fmt: skip
def test_a_small_night_is_planned_as_well_as_can_be(targets: list[tuple[float, float, float, int]]) -> None:
    wanted = [
        request(f"r{number}", altitude, azimuth, minutes, priority=priority)
        for number, (altitude, azimuth, minutes, priority) in enumerate(targets)
    ]
    problem = problem_of(wanted)
    multipliers = Multipliers(problem, first_plan(problem))
    for number in range(100):
        if not multipliers.round(number % 3 == 0):
            break
    neighbourhood = Neighbourhood(problem, search_beam(multipliers), multipliers.prices, seed=0)
    for _ in range(100):
        neighbourhood.round()
    best = best_of_all_orders(problem)
    assert 0.99 * best <= worth(problem, neighbourhood.lines) <= best * (1 + 1e-9) <= multipliers.bound * (1 + 1e-6)


def test_nothing_to_plan() -> None:
    plan = plan_night([], PIC, BEGIN)
    assert (plan.observations, plan.refused, plan.value, plan.start_now) == ((), (), 0.0, None)
    assert plan_night([], PIC, BEGIN, rounds=5).bound == 0.0


def test_by_day_the_coming_night_is_planned() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    night = night_of(PIC, noon)
    assert night is not None
    plan = plan_night([request("up")], PIC, noon.timestamp(), rounds=5)
    assert (plan.begin, plan.end) == tuple(each.timestamp() for each in night)
    assert [each.observation.id for each in plan.observations] == ["up"]
    assert plan.start_now is None


def test_where_no_night_comes_nothing_is_planned() -> None:
    summer = datetime(2026, 6, 21, 22, tzinfo=UTC).timestamp()
    plan = plan_night([request("up")], Site("Tromsø", 69.65, 18.96, 100.0), summer, rounds=5)
    assert plan.observations == ()
    assert plan.refused[0].reason == "no night comes within a day: the Sun doesn't sink below -12°"


def test_the_plan_is_in_continuous_time() -> None:
    sinking = [request(name, 60.0, azimuth, minutes=7.3) for name, azimuth in (("a", 250.0), ("b", 251.0))]
    plan = plan_night(sinking, PIC, BEGIN, end=END)
    first, second = plan.observations
    assert first.start == BEGIN
    assert first.end == pytest.approx(BEGIN + 8 + 7.3 * 60 + 2, abs=1)
    assert second.start == first.end
    assert plan.start_now == first.observation.id


def test_what_gets_better_until_its_window_ends_has_slack() -> None:
    """At its last moment any delay would lose it; what must begin now isn't the worse for that."""
    rising = request("a", 30.0, 90.0, windows=(Window(BEGIN, END),))
    (line,) = plan_night([rising], PIC, BEGIN, end=END + 3600).observations
    assert line.end is not None
    assert 600 <= END - line.end <= 1200
    now = make_problem([request("b", expires=BEGIN)], NightSky(PIC, BEGIN, END, 60.0), SLOW, 30.0)
    later = make_problem([request("b")], NightSky(PIC, BEGIN, END, 60.0), SLOW, 30.0)
    assert now.value[0, 0] == later.value[0, 0] > 0


def test_what_is_taken_already_is_not_taken_again() -> None:
    ten = (Exposures("r", 60.0, 10),)
    whole, half = (
        plan_night([request("a", exposures=ten, taken=taken)], PIC, BEGIN, end=END).observations[0] for taken in (0, 5)
    )
    assert whole.start is not None
    assert whole.end is not None
    assert half.start is not None
    assert half.end is not None
    assert (whole.end - whole.start) - (half.end - half.start) == pytest.approx(5 * 62)
    done = plan_night([request("a", exposures=ten, taken=10)], PIC, BEGIN, end=END)
    assert done.refused[0].reason == "all its images are taken"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (request("x", -15.0, 0.0), "it is never up: at most"),
        (request("x", min_altitude=85.0), "it is too low: at most"),
        (request("x", constraints=Constraints(max_airmass=1.01)), "its airmass is 1."),
        (request("x", constraints=Constraints(moon_illumination=0.5)), "the Moon is up, 9"),
        (request("x", constraints=Constraints(moon_distance=175.0)), "away, its limit is 175°"),
        (request("x", constraints=Constraints(sun_altitude=-60.0)), "it isn't dark enough: the Sun is at -5"),
        (request("x", minutes=1000.0), "it takes 1000 min, and can be observed for 180 min together at most"),
        (request("x", expires=BEGIN - 60.0), "it had to begin by 2026-03-01 20:59 UTC"),
        (request("x", not_before=END + 60.0), "it waits until 2026-03-02 00:01 UTC"),
        (request("x", windows=(Window(BEGIN - 99, BEGIN - 9),)), "all its windows are over"),
        (request("x", windows=(Window(END + 60, END + 3600),)), "its next window begins at 2026-03-02 00:01 UTC"),
        (request("x", windows=(Window(BEGIN, BEGIN + 300),)), "it takes 10 min, and can be observed for 5 min"),
        (
            request("x", cadence=Cadence(period=86400.0, tolerance=60.0, start=END + 3600)),
            "it is due next at 2026-03-02 01:00 UTC",
        ),
        (
            request("x", cadence=Cadence(period=3600.0, tolerance=60.0, start=BEGIN - 86400, count=3)),
            "it has been due for the last time",
        ),
    ],
)
def test_a_refusal_says_why(wanted: Observation, reason: str) -> None:
    for rounds in (0, 5):
        plan = plan_night([wanted], PIC, BEGIN, end=END, rounds=rounds)
        assert plan.observations == ()
        assert reason in plan.refused[0].reason


def test_a_horizon_that_hides_it_is_named() -> None:
    hidden = request("x", 20.0, 90.0)
    assert "behind the site's horizon" in plan_night([hidden], HILLS, BEGIN, end=END).refused[0].reason
    assert plan_night([hidden], PIC, BEGIN, end=END).observations


@pytest.mark.parametrize("rounds", [0, 30])
def test_what_is_outranked_knows_by_what(rounds: int) -> None:
    first, second = request("first", priority=20, minutes=170), request("second", minutes=100)
    plan = plan_night([first, second], PIC, BEGIN, end=END, rounds=rounds)
    assert [each.observation.id for each in plan.observations] == ["first"]
    assert plan.refused[0].target == "SECOND"
    assert plan.refused[0].reason.startswith("outranked by FIRST (priority 20): where it would cost least, from 2")


def test_each_occurrence_of_a_cadence_has_its_time() -> None:
    cadence = Cadence(period=3000.0, tolerance=300.0, start=BEGIN + 600)
    plan = plan_night([request("x", cadence=cadence)], PIC, BEGIN, end=END, rounds=20)
    assert [each.observation.id for each in plan.observations] == ["x-due0", "x-due1", "x-due2", "x-due3"]
    for number, line in enumerate(plan.observations):
        assert line.observation.repeats == "x"
        assert line.start is not None
        assert abs(line.start - (BEGIN + 600 + 3000 * number)) <= 300


def test_an_alert_interrupts_what_is_worth_less() -> None:
    running = Running(request("running", minutes=60, priority=10), BEGIN + 3600)
    alert = request("alert", 50.0, priority=90, alert="ivo://a/b#1", requested=BEGIN)
    for rounds in (0, 20):
        plan = plan_night([running.observation, alert], PIC, BEGIN, end=END, running=running, rounds=rounds)
        assert plan.start_now == "alert"
        assert [each.observation.id for each in plan.observations] == ["alert", "running"], "it goes on afterwards"


@pytest.mark.parametrize(
    ("priority", "fields"),
    [(10, {}), (90, {"not_before": BEGIN + 600.0}), (90, {"min_altitude": 80.0}), (90, {"decay": 1e9})],
    ids=["no higher priority", "later", "not up", "no hurry"],
)
def test_what_runs_is_kept_unless_something_better_is_to_begin_now(priority: int, fields: dict[str, Any]) -> None:
    running = Running(request("running", minutes=60, priority=10), BEGIN + 1234.0)
    other = request("other", 50.0, priority=priority, alert="ivo://a/b#1", requested=BEGIN, **fields)
    plan = plan_night([running.observation, other], PIC, BEGIN, end=END, running=running, rounds=10)
    kept = plan.observations[0]
    assert plan.start_now == kept.observation.id == "running"
    assert (kept.start, kept.end) == (BEGIN, BEGIN + 1234.0)
    assert all(each.start >= BEGIN + 1234.0 for each in plan.observations[1:] if each.start is not None)
    assert plan.bound is not None
    assert plan.value <= plan.bound


def test_what_must_not_be_interrupted_is_not() -> None:
    running = Running(request("running", minutes=60, priority=10, interruptible=False), BEGIN + 3600)
    alert = request("alert", 50.0, priority=90, alert="ivo://a/b#1", requested=BEGIN)
    plan = plan_night([running.observation, alert], PIC, BEGIN, end=END, running=running)
    assert [each.observation.id for each in plan.observations] == ["running", "alert"]
    assert plan.start_now == "running"


def test_a_running_one_keeps_its_end_though_it_has_expired() -> None:
    running = Running(request("running", minutes=60, expires=BEGIN - 60.0), BEGIN + 600)
    plan = plan_night([running.observation], PIC, BEGIN, end=END, running=running)
    assert plan.start_now == "running"
    assert plan.refused == ()


def test_alerts_come_first_and_old_requests_can_wait() -> None:
    alert = request("alert", 40.0, priority=50, alert="ivo://a/b#1", requested=BEGIN)
    others = [request(f"r{number}", 60.0 + number, minutes=20, priority=20) for number in range(10)]
    plan = plan_night([*others, alert], PIC, BEGIN, end=END, rounds=50)
    assert plan.start_now == "alert"


def test_a_moving_body_is_planned_where_it_is() -> None:
    orbit = Orbit(
        perihelion_distance=1.9, eccentricity=0.2, inclination=8.0, node=100.0, argument=60.0, perihelion=61000.0
    )  # fmt: skip
    plan = plan_night([request("body", ra=0.0, dec=-89.0, orbit=orbit, min_altitude=0.0)], PIC, BEGIN)
    (line,) = plan.observations
    assert line.observation.dec > -60, "not where it was when it was asked for"
    assert line.start is not None
    assert line.end is not None
    middle = datetime.fromtimestamp((line.start + line.end) / 2, UTC)
    altitude = altitude_azimuth(PIC, line.observation.ra, line.observation.dec, middle)[0]
    assert altitude == pytest.approx(line.altitude, abs=0.1)


def test_a_limit_of_time_still_gives_a_plan() -> None:
    wanted = [request(f"r{number}", 30.0 + number, minutes=20) for number in range(20)]
    plan = plan_night(wanted, PIC, BEGIN, end=END, rounds=10_000, seconds=0.0)
    assert_holds(plan, PIC, wanted)
    assert plan.bound is not None
