"""The scheduler by itself: what it plans, what it keeps, and what it answers for a night."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from pyros import messages
from pyros.agents.night_plan import NightPlanner
from pyros.agents.scheduler import PLAN_AROUND, PLAN_IMPROVED, PLAN_IN_TIME, PlanImproved, SchedulerAgent
from pyros.journal import JournalReader
from pyros.messages import Cadence, Exposures, Observation, ObservationReport, Plan, Window, Withdrawal
from pyros.planning import Site, night_log
from pyros.planning.night_log import NightLine
from pyros.planning.planner import Running, observing_span
from pyros.planning.visibility import place_overhead
from tests.rig import SITE, AgentRig, sent

NOW = datetime(2026, 3, 20, 23, 30, tzinfo=UTC)
HOUR = 3600.0


def place(altitude: float, azimuth: float, hours: float = 0.0) -> dict[str, float]:
    """Return where a target stands so in so many hours."""
    ra, dec = place_overhead(Site.load(SITE), NOW + timedelta(hours=hours), altitude, azimuth)
    return {"ra": ra, "dec": dec}


def request(name: str, minutes: float = 5.0, where: dict[str, float] | None = None, **fields: Any) -> Observation:
    exposures = fields.pop("exposures", (Exposures("r", minutes * 60),))
    keys = {"requested": NOW.timestamp(), **(where or place(60, 250)), **fields}
    return Observation(id=name, target=name.upper(), exposures=exposures, **keys)


class SchedulerRig(AgentRig):
    """A scheduler, and what it tells the majordome."""

    def say(self, name: str, payload: Any = None, peer: str = "other") -> Plan:
        """Give it one message; return the plan that it tells last."""
        told = [each for sent_name, each in sent(self.hear(name, payload, peer=peer), "majordome")
                if sent_name == messages.PLAN_UPDATED]  # fmt: skip
        return told[-1] if told else Plan(observations=())

    @property
    def state(self) -> Any:
        return self.agent.state

    def ask(self, *requests: Observation) -> Plan:
        return [self.say(messages.OBSERVATION_REQUESTED, each) for each in requests][-1]

    def begin(self, id_: str) -> None:
        self.say(messages.OBSERVATION_STARTED, ObservationReport(observation=id_))

    def finish(self, id_: str, images: int = 1) -> Plan:
        return self.say(messages.OBSERVATION_FINISHED, ObservationReport(observation=id_, images=("x.fits",) * images))

    def wait(self, seconds: float) -> Plan:
        self.reactor.advance(seconds)
        return self.say(messages.PLAN_AGAIN)

    def log(self) -> dict[str, NightLine]:
        with closing(JournalReader(self.journal.path)) as reader:
            return {line.observation: line for line in night_log.read(reader, "2026-03-20")}


@pytest.fixture
def rig(inline: Callable[..., Any], request: pytest.FixtureRequest) -> Iterator[SchedulerRig]:
    rig = inline(SchedulerAgent(), "majordome", rig=SchedulerRig, site=SITE)
    yield rig
    assert rig.host.turns.failed == ("refused" in request.node.name)


def ids(plan: Plan) -> list[str]:
    return [line.observation.id for line in plan.observations]


def test_peoples_requests_follow_each_other_through_the_night(rig: SchedulerRig) -> None:
    plan = rig.ask(request("a", priority=3), request("b"), request("c", where=place(60, 90, 3)))
    assert plan.start_now == "a"
    times = [(line.start, line.end) for line in plan.observations]
    assert len(times) == 3
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(times) if one[1] and other[0])


def test_what_is_next_begins_when_the_one_before_has_ended(rig: SchedulerRig) -> None:
    first = rig.ask(request("a", priority=3), request("b")).start_now
    assert first == "a"
    rig.begin("a")
    assert rig.wait(200).start_now == "a"
    assert rig.finish("a").start_now == "b"
    assert "a" not in rig.state.requests


def test_an_alert_supersedes_what_runs_with_a_lower_priority(rig: SchedulerRig) -> None:
    rig.ask(request("person", minutes=60, priority=20))
    rig.begin("person")
    assert rig.ask(request("low", alert="ivo://low", priority=20)).start_now == "person"
    plan = rig.ask(request("burst", alert="ivo://burst", priority=21))
    assert plan.start_now == "burst"
    assert ids(plan)[0] == "burst"
    assert plan.observations[0].reason.startswith("up ")


def test_the_night_is_planned_also_when_the_wish_for_it_is_lost(rig: SchedulerRig) -> None:
    """What is in memory goes with a turn that is undone; the timer of the state stays."""
    plan = rig.ask(request("burst", alert="ivo://burst", priority=21))
    assert (plan.start_now, plan.end) == ("burst", None), "the night is not planned yet"
    assert rig.state.timer is not None
    rig.begin("burst")
    rig.reactor.advance(70)
    assert rig.say(PLAN_IN_TIME, peer="scheduler").end is not None


def test_an_alert_that_cannot_begin_yet_stays_what_is_to_start(rig: SchedulerRig) -> None:
    rig.ask(request("person", minutes=60), request("burst", alert="ivo://burst", priority=10))
    assert {rig.wait(60).start_now for _ in range(30)} == {"burst"}, "clouds, perhaps"


def test_an_alert_does_not_supersede_what_must_not_be_interrupted(rig: SchedulerRig) -> None:
    rig.ask(request("person", minutes=60, interruptible=False))
    rig.begin("person")
    assert rig.ask(request("burst", alert="ivo://burst", priority=90)).start_now == "person"


def test_what_an_alert_waits_for_is_told(rig: SchedulerRig) -> None:
    plan = rig.ask(request("burst", alert="ivo://burst", where=place(20, 90, 3), min_altitude=15))
    (line,) = plan.observations
    assert plan.start_now is None
    assert line.reason.startswith("not up: altitude -")
    assert "; planned from " in line.reason


def test_a_running_observation_that_has_set_is_told_with_its_reason(rig: SchedulerRig) -> None:
    rig.ask(request("a", minutes=5, where=place(12, 270)))
    rig.begin("a")
    plan = rig.wait(2 * HOUR)
    assert plan.start_now is None
    assert [(line.observation.id, line.start) for line in plan.observations] == [("a", None)]
    assert plan.observations[0].reason.startswith("not up: altitude -")


def test_each_time_of_a_cadence_is_an_observation_of_its_own(rig: SchedulerRig) -> None:
    cadence = Cadence(period=HOUR, tolerance=600, start=NOW.timestamp(), count=2)
    assert rig.ask(request("v", cadence=cadence)).start_now == "v-due0"
    rig.begin("v-due0")
    assert rig.finish("v-due0").start_now is None
    assert list(rig.state.requests) == ["v"]
    plan = rig.wait(HOUR - 601)
    assert plan.start_now is None
    (line,) = plan.observations
    assert line.observation.id == "v-due1"
    assert line.start == pytest.approx(NOW.timestamp() + HOUR - 600, abs=600)
    assert rig.wait((line.start or 0) - rig.clock.time() + 1).start_now == "v-due1"
    rig.begin("v-due1")
    rig.finish("v-due1")
    rig.wait(60)
    assert rig.state.requests == {}


def test_withdrawing_a_cadence_stops_the_one_that_runs(rig: SchedulerRig) -> None:
    rig.ask(request("v", cadence=Cadence(period=HOUR, tolerance=600, start=NOW.timestamp())))
    rig.begin("v-due0")
    plan = rig.say(messages.OBSERVATION_REQUEST_WITHDRAWN, Withdrawal(observation="v", reason="done"))
    assert plan.withdrawn == ("v", "v-due0")
    assert rig.log()["v-due0"].fate == "withdrawn"


def test_one_of_the_times_of_a_cadence_that_has_begun_is_observed_to_its_end(rig: SchedulerRig) -> None:
    """Its tolerance is for the beginning."""
    rig.ask(request("v", minutes=20, cadence=Cadence(period=2 * HOUR, tolerance=600, start=NOW.timestamp())))
    assert rig.wait(500).start_now == "v-due0"
    rig.begin("v-due0")
    rig.ask(request("other"))
    assert rig.wait(300).start_now == "v-due0"
    assert rig.finish("v-due0").start_now == "other"


def test_an_interrupted_observation_takes_only_what_is_left(rig: SchedulerRig) -> None:
    whole = request("a", exposures=(Exposures("r", 600.0, 4),))
    long = rig.ask(whole).observations[0]
    rig.begin("a")
    plan = rig.say(
        messages.OBSERVATION_FAILED,
        ObservationReport(observation="a", images=("1", "2", "3"), reason="rain", again=True),
    )
    short = plan.observations[0]
    assert plan.start_now == "a"
    assert short.observation.exposures == whole.exposures, "the observation manager knows what there is already"
    assert (short.end or 0) - (short.start or 0) == pytest.approx((long.end or 0) - (long.start or 0) - 1800, abs=30)
    line = rig.log()["a"]
    assert (line.fate, line.fate_reason, line.images) == ("interrupted", "rain", 3)


def test_what_the_instruments_refuse_is_tried_ever_more_rarely_for_an_hour(rig: SchedulerRig) -> None:
    """A mount that is out of order for some minutes costs no alert its observation."""
    rig.ask(request("burst", alert="ivo://burst"))
    failed = ObservationReport(observation="burst", reason="slew failed: a fault makes it refuse")
    for minutes in (1, 2, 5, 15, 30):
        rig.begin("burst")
        assert rig.say(messages.OBSERVATION_FAILED, failed).start_now is None
        assert rig.wait(60 * minutes - 5).start_now is None
        assert rig.wait(10).start_now == "burst"
    rig.begin("burst")
    rig.say(messages.OBSERVATION_FAILED, failed)
    assert rig.state.requests == {}
    assert rig.log()["burst"].fate == "failed"


def test_what_is_too_long_for_the_night_is_begun_all_the_same(rig: SchedulerRig) -> None:
    plan = rig.ask(request("long", exposures=(Exposures("r", 300.0, 400),), where=place(70, 90)))
    assert plan.start_now == "long"
    assert plan.observations[0].observation.exposures == (Exposures("r", 300.0, 400),)
    assert 2 * HOUR < (plan.observations[0].end or 0) - NOW.timestamp() < 8 * HOUR


def test_a_better_plan_is_followed_unless_it_is_outdated(rig: SchedulerRig) -> None:
    plan = rig.ask(request("a", priority=3), request("b"))
    assert plan.start_now == "a"
    lines = plan.observations
    swapped = zip(reversed(lines), lines, strict=True)
    moved = tuple(msgspec.structs.replace(line, start=old.start, end=old.end) for line, old in swapped)
    other = msgspec.structs.replace(plan, start_now="b", observations=moved)
    old = PlanImproved(number=rig.agent.state.number - 1, plan=other)
    assert rig.say(PLAN_IMPROVED, old, "scheduler") == Plan(observations=())
    new = PlanImproved(number=rig.agent.state.number, plan=other)
    assert rig.say(PLAN_IMPROVED, new, "other") == Plan(observations=()), "nobody else makes plans"
    assert rig.say(PLAN_IMPROVED, new, "scheduler").start_now == "b"
    assert rig.wait(60).start_now == "b"


def test_what_can_never_be_made_any_more_is_forgotten(rig: SchedulerRig) -> None:
    now = NOW.timestamp()
    rig.ask(
        request("expired", expires=now + 100, where=place(-40, 90)),
        request("window", windows=(Window(now - 10, now + 100),), minutes=30),
        request("stays", where=place(-40, 90)),
    )
    rig.wait(200)
    assert list(rig.state.requests) == ["stays"]
    log = rig.log()
    assert [log[name].fate for name in ("expired", "window", "stays")] == ["expired", "expired", ""]
    assert log["stays"].reason
    assert log["stays"].start is None


def test_the_log_of_the_night_answers_why(rig: SchedulerRig) -> None:
    rig.ask(request("a", owner="anna"), request("south", where={"ra": 0.0, "dec": -80.0}))
    rig.begin("a")
    rig.reactor.advance(300)
    rig.finish("a", 3)
    log = rig.log()
    assert (log["a"].fate, log["a"].owner, log["a"].images) == ("observed", "anna", 3)
    assert (log["a"].began, log["a"].ended) == (NOW.timestamp(), NOW.timestamp() + 300)
    assert "it is never up" in log["south"].reason


def test_more_requests_than_it_keeps_are_refused(rig: SchedulerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyros.agents.scheduler.MAX_REQUESTS", 1)
    rig.ask(request("a"))
    rig.ask(request("b"))
    assert list(rig.agent.state.requests) == ["a"]


def test_a_sequence_longer_than_the_night_goes_on_after_an_alert(rig: SchedulerRig) -> None:
    """What is left of the night when the alert's observation ends counts, not what is left when that begins."""
    survey = request("survey", where=place(75, 90), min_altitude=0.0, exposures=(Exposures("r", 300.0, 100),))
    assert rig.ask(survey).start_now == "survey"
    rig.begin("survey")
    burst = request("burst", alert="ivo://x/burst#1", priority=90, exposures=(Exposures("g", 300.0, 4),))
    assert rig.ask(burst).start_now == "burst"
    interrupted = ObservationReport(observation="survey", images=("1.fits",), reason="gave way to burst", again=True)
    rig.say(messages.OBSERVATION_FAILED, interrupted)
    rig.begin("burst")
    rig.reactor.advance(7)
    rig.say(PLAN_AROUND)
    rig.say(messages.OBSERVATION_FINISHED, ObservationReport(observation="burst", images=("1.fits", "2.fits")))
    plan = rig.say(messages.PLAN_AGAIN)
    assert plan.start_now == "survey"
    assert plan.observations[0].observation.remaining()[0].count == 99


@pytest.mark.parametrize("of", ["older", "newer"])
def test_the_end_of_what_was_asked_for_before_leaves_the_better_position(rig: SchedulerRig, of: str) -> None:
    """The majordome has begun with the plan before; that the plan of the better position was sent says nothing."""
    older = request("burst", alert="ivo://x/burst#1")
    newer = request("burst", alert="ivo://x/burst#2", where=place(60, 120), requested=NOW.timestamp() + 1)
    rig.ask(older)
    rig.ask(newer)
    rig.begin("burst")
    ended = ObservationReport("burst", requested={"older": older, "newer": newer}[of].requested)
    assert ended.is_of(newer) == (of == "newer")
    assert rig.say(messages.OBSERVATION_FINISHED, ended).start_now == ("burst" if of == "older" else None)


def test_what_begins_in_place_of_another_is_not_superseded_by_a_third(rig: SchedulerRig) -> None:
    """A better position of a burst stops its own observation first: no burst of the same priority takes its place."""
    for name, seconds in (("older", 60.0), ("burst", 0.0)):
        rig.ask(request(name, alert=f"ivo://x/{name}#1", priority=90, requested=NOW.timestamp() - seconds))
    rig.begin("burst")
    stopped = ObservationReport(observation="burst", reason="gave way to burst", again=True, superseded_by="burst")
    assert rig.say(messages.OBSERVATION_FAILED, stopped).start_now == "burst"


@pytest.mark.parametrize(("late", "first"), [(0, "idle"), (20, "idle"), (40, "urgent")])
@pytest.mark.parametrize("by", ["expires", "windows"])
def test_what_was_planned_for_its_last_moment_comes_first_when_the_plan_is_late(by: str, late: int, first: str) -> None:
    now, fields = NOW.timestamp(), dict[str, Any]()
    fields[by] = now + 390 if by == "expires" else (Window(now, now + 990),)
    wanted = {"idle": request("idle"), "urgent": request("urgent", minutes=10, priority=60, **fields)}
    planner = NightPlanner(Site.load(SITE))
    plan = planner.plan(wanted, None, NOW)
    lines = {each.observation.id: each for each in plan.observations}
    idle = msgspec.structs.replace(lines["idle"], start=now, end=now + 300)
    urgent = msgspec.structs.replace(lines["urgent"], start=now + 300, end=now + 900)
    planner.take(msgspec.structs.replace(plan, observations=(idle, urgent), start_now="idle"))
    assert planner.plan(wanted, None, NOW + timedelta(seconds=late)).start_now == first


@pytest.mark.parametrize(("before", "first"), [(300, "burst"), (40, "person")])
def test_nothing_is_interrupted_for_an_alert_without_time_for_an_image(before: int, first: str) -> None:
    site = Site.load(SITE)
    dawn = observing_span(site, NOW.timestamp())[1]
    now = datetime.fromtimestamp(dawn - before, UTC)
    where = dict(zip(("ra", "dec"), place_overhead(site, now, 60, 180), strict=True))
    wanted = {
        "person": request("person", where=where, taken=0, exposures=(Exposures("r", 10.0, 60),)),
        "burst": request("burst", 1.0, where=where, alert="ivo://x", priority=50),
    }
    running = Running(wanted["person"], dawn)
    assert NightPlanner(site).plan(wanted, running, now).start_now == first


def test_a_night_without_a_plan_is_planned_again() -> None:
    """What had no place while something ran for long may have one later: nothing due starves."""
    planner = NightPlanner(Site.load(SITE))
    wanted = {"long": request("long", minutes=20, where=place(60, 180))}
    plan = planner.plan(wanted, None, NOW)
    assert plan.start_now == "long"
    planner.take(msgspec.structs.replace(plan, observations=(), start_now=None))
    assert planner.plan(wanted, None, NOW + timedelta(minutes=10)).start_now is None
    assert planner.plan(wanted, None, NOW + timedelta(minutes=16)).start_now == "long"
