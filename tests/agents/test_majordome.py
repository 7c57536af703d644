"""The majordome's nights, one turn at a time: when it opens and closes, and what it begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from pyros import messages
from pyros.agents.majordome import ATTEMPTS, PAUSES
from pyros.agents.night_reporting import NightReporting
from pyros.agents.night_state import RETRY_SECONDS
from pyros.agents.night_table import State
from pyros.journal import JournalReader
from pyros.messages import (
    DeviceState,
    DomeFailure,
    DomeReport,
    ObservationReport,
    Plan,
    Reason,
)
from pyros.nights import diary
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.agents.majordome_rig import EVENING, NOON, OPEN_NOW, SHUT_NOW, MajordomeRig, hours, majordome
from tests.builders import polar_site


@pytest.fixture
def rig() -> Iterator[MajordomeRig]:
    with majordome() as made:
        yield made


def test_by_day_it_stays_closed_until_the_evening() -> None:
    with majordome(NOON) as rig:
        assert rig.state == State.CLOSED
        rig.safe()
        assert rig.plan() == []
        hours(rig, 4)
        assert rig.state == State.CLOSED
        hours(rig, 2)
        assert rig.state == State.READY
        assert rig.agent.state.night == "2026-03-20"


def test_night_follows_night_and_each_ends_closed() -> None:
    with majordome(NOON) as rig:
        for night in range(20, 30):
            hours(rig, 6.5)
            assert (rig.state, rig.agent.state.night) == (State.READY, f"2026-03-{night}")
            hours(rig, 6)
            assert (rig.state, rig.agent.state.over) == (State.READY, False)
            hours(rig, 6)
            assert (rig.state, rig.agent.state.over) == (State.CLOSED, True)
            hours(rig, 5.45)


def test_a_night_that_was_begun_is_not_begun_again() -> None:
    with majordome(EVENING) as rig:
        rig.restart()
        hours(rig, 0.5)
        assert rig.agent.state.change < 8, "each change of state counts"


def test_in_a_polar_night_a_new_night_begins_at_noon(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("{name: Pole, latitude: 89.9, longitude: 0, elevation: 0}")
    with majordome(datetime(2026, 12, 20, 11, 0, tzinfo=UTC), site=site) as rig:
        assert (rig.state, rig.agent.state.night) == (State.READY, "2026-12-19")
        hours(rig, 1.5)
        assert (rig.state, rig.agent.state.night) == (State.READY, "2026-12-20")


@pytest.mark.parametrize(("latitude", "opens"), [(78.2, False), (69.6, True)])
def test_a_polar_noon_without_light_enough_has_no_flats(tmp_path: Path, latitude: float, opens: bool) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(f"{{name: North, latitude: {latitude}, longitude: 0, elevation: 0}}")
    with majordome(datetime(2026, 12, 21, 3, 0, tzinfo=UTC), site=site, flats="r") as rig:
        rig.safe()
        rig.clock.step(8.5 * 3600)
        assert (("dome", messages.OPEN) in rig.pass_(60)) == opens


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the nights whose reports were asked for."""
    nights: list[str] = []
    monkeypatch.setattr(NightReporting, "write", lambda _, night: nights.append(night))
    return nights


def test_a_night_that_never_ends_is_reported_at_each_noon_while_it_observes(
    tmp_path: Path, reported: list[str]
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("{name: Pole, latitude: 89.9, longitude: 0, elevation: 0}")
    with majordome(datetime(2026, 12, 19, 11, 0, tzinfo=UTC), site=site) as rig:
        rig.open()
        for night in (19, 20, 21):
            hours(rig, 24)
            assert (rig.state, rig.agent.state.night) == (State.OBSERVING, f"2026-12-{night}")
        assert reported == ["2026-12-18", "2026-12-19", "2026-12-20"]


def test_after_a_day_of_minutes_the_second_dark_time_has_its_evening_and_its_report(
    tmp_path: Path, reported: list[str]
) -> None:
    day = datetime(2026, 11, 29, 11, 35, tzinfo=UTC)
    keys = polar_site(day, day + timedelta(minutes=5))
    site = tmp_path / "site.yaml"
    site.write_text(yaml.safe_dump(keys))

    def dark(rig: MajordomeRig) -> None:
        ra, dec = place_overhead(Site(**keys), rig.clock.now(), 80.0, 0.0)
        rig.plan("survey", ra=ra, dec=dec)
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.OBSERVING

    with majordome(day - timedelta(hours=2), site=site, cool="-10") as rig:
        rig.safe()
        dark(rig)
        night = rig.agent.state.night
        hours(rig, 2)
        rig.say("scheduler", messages.PLAN_UPDATED, Plan(()))
        rig.say("observation_manager", messages.OBSERVATION_FAILED, ObservationReport(observation="survey"))
        rig.pass_(70)
        assert rig.state == State.CLOSING, "day"
        rig.shut()
        assert (rig.state, rig.agent.state.over) == (State.CLOSED, True)
        hours(rig, 1 / 12)
        dark(rig)
        assert rig.agent.state.night == night, "the same date, until the noon of the mean Sun"
        hours(rig, 0.5)
        second = rig.agent.state.night
        assert second > night
        assert reported == [night], "once more: the report has what was observed since"
        rig.say("scheduler", messages.PLAN_UPDATED, Plan(()))
        rig.say("observation_manager", messages.OBSERVATION_FAILED, ObservationReport(observation="survey"))
        rig.pass_(70)
        rig.shut()
        rig.pass_(20)
        assert (rig.state, rig.agent.state.prepared) == (State.PREPARING, True), "it cools when it is closed again"
        hours(rig, 24)
        assert reported == [night, second]


@pytest.mark.parametrize("fault", [False, True])
def test_a_night_spent_held_or_in_fault_is_begun_and_reported_all_the_same(reported: list[str], fault: bool) -> None:
    with majordome(NOON) as rig:
        rig.agent.state.state = State.FAULT if fault else State.HELD
        rig.agent.holds.set("anna@dome", "a visitor")
        for night in (20, 21):
            hours(rig, 7)
            assert (rig.agent.state.night, rig.agent.state.over) == (f"2026-03-{night}", False)
            hours(rig, 16.95)
            assert rig.agent.state.over
        assert reported == ["2026-03-20", "2026-03-21"]


def test_what_is_released_in_the_dark_is_prepared_then(reported: list[str]) -> None:
    with majordome(NOON, cool="-10") as rig:
        rig.agent.holds.set("anna@dome", "a visitor")
        rig.say("program:person", messages.HOLD, messages.HoldOrder(why="a visitor", who="anna@dome"))
        hours(rig, 8)
        assert (rig.state, rig.agent.state.night) == (State.HELD, "2026-03-20")
        rig.agent.holds.release()
        orders = rig.say("program:person", messages.RELEASE, messages.ReleaseOrder(who="anna@dome"))
        assert ("camera", messages.COOL) in orders
        assert rig.state == State.PREPARING
        rig.say("camera", messages.COOLING_FINISHED, messages.CoolingReport(celsius=-10.0))
        assert rig.pass_(60).count(("camera", messages.COOL)) == 0, "once"
        hours(rig, 9)
        assert reported == ["2026-03-20"]


def test_an_alert_is_observed_in_the_turn_of_its_plan(rig: MajordomeRig) -> None:
    rig.safe()
    assert rig.plan(alert="ivo://x") == OPEN_NOW
    assert rig.state == State.OPENING


def test_a_plan_that_goes_on_with_what_has_given_way_is_overtaken(rig: MajordomeRig) -> None:
    """The scheduler hears with some delay what has begun; a plan of its own choice counts whatever it has heard."""
    rig.open()
    observe = [("observation_manager", messages.OBSERVE)]
    assert rig.plan("two", alert="ivo://two") == observe
    old = msgspec.structs.replace(rig.planned("one"), running="one")
    assert rig.say("scheduler", messages.PLAN_UPDATED, old) == []
    assert rig.pass_(60).count(observe[0]) == 0, "nor later"
    chosen = msgspec.structs.replace(rig.planned("three", alert="ivo://three"), running="one")
    assert rig.say("scheduler", messages.PLAN_UPDATED, chosen) == observe
    known = msgspec.structs.replace(rig.planned("one"), running="three")
    assert rig.say("scheduler", messages.PLAN_UPDATED, known) == observe


@pytest.mark.parametrize("step", [10, -3600])
def test_the_end_of_what_was_asked_for_before_ends_nothing_newer(rig: MajordomeRig, step: float) -> None:
    """A better position came before the end was heard, of an observation that was given up here meanwhile."""
    rig.open()
    first = rig.agent.state.running
    assert first is not None
    rig.unsafe()
    assert rig.agent.state.running is None
    rig.clock.step(step)  # by which what is asked for now may look older
    newer = rig.planned("one")
    rig.clock.step(10)
    ended = ObservationReport("one", requested=first.requested)
    rig.say("observation_manager", messages.OBSERVATION_FINISHED, ended)
    rig.shut()
    rig.safe()
    rig.say("scheduler", messages.PLAN_UPDATED, newer)
    assert rig.agent.state.running == newer.observations[0].observation
    rig.say("dome", messages.DOME_OPENED, Reason())
    rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport("one"))
    rig.say("scheduler", messages.PLAN_UPDATED, newer)
    assert rig.agent.state.running is None, "it is done"


def test_what_has_just_failed_is_not_begun_again_by_a_plan_that_does_not_know(rig: MajordomeRig) -> None:
    """The reports to the scheduler are late, and the mount refuses: it plans again at once, each time it is asked."""
    rig.open()
    observe = ("observation_manager", messages.OBSERVE)
    plan = rig.planned("burst", alert="ivo://burst")
    request = plan.observations[0].observation
    assert rig.say("scheduler", messages.PLAN_UPDATED, plan) == [observe]
    failed = ObservationReport("burst", reason="slew failed", requested=request.requested)
    rig.say("observation_manager", messages.OBSERVATION_FAILED, failed)
    assert rig.say("scheduler", messages.PLAN_UPDATED, plan) == []
    assert rig.plan("two", alert="ivo://two") == [observe], "others are begun"
    rig.say("observation_manager", messages.OBSERVATION_FAILED, msgspec.structs.replace(failed, observation="two"))
    assert rig.plan("burst", alert="ivo://burst", requested=request.requested + 1) == [observe], (
        "so is a better position"
    )
    rig.say("observation_manager", messages.OBSERVATION_FAILED, msgspec.structs.replace(failed, again=True))
    assert observe not in rig.pass_(RETRY_SECONDS)
    assert observe in rig.say("scheduler", messages.PLAN_UPDATED, plan)


def test_what_fails_while_the_same_place_is_asked_for_anew_has_failed_for_that_too(rig: MajordomeRig) -> None:
    """The observation manager knows of the older request alone: for what it does the newer one changes nothing."""
    rig.open()
    observe = ("observation_manager", messages.OBSERVE)
    older = rig.planned("burst", alert="ivo://burst")
    assert rig.say("scheduler", messages.PLAN_UPDATED, older) == [observe]
    (line,) = older.observations
    requested = line.observation.requested + 10
    anew = msgspec.structs.replace(line.observation, requested=requested)
    newer = msgspec.structs.replace(older, observations=(msgspec.structs.replace(line, observation=anew),))
    assert rig.say("scheduler", messages.PLAN_UPDATED, newer) == []
    failed = ObservationReport("burst", reason="slew failed", requested=line.observation.requested)
    rig.say("observation_manager", messages.OBSERVATION_STARTED, ObservationReport("burst"))
    rig.say("observation_manager", messages.OBSERVATION_FAILED, failed)
    assert rig.say("scheduler", messages.PLAN_UPDATED, newer) == []
    assert observe in rig.pass_(RETRY_SECONDS), "the plan still has it"


def test_a_roof_opens_over_a_parked_mount_and_before_the_slew() -> None:
    with majordome(roof=True) as rig:
        rig.safe()
        assert rig.plan() == [("telescope", messages.PARK)]
        assert rig.say("telescope", messages.PARK_FINISHED) == [("dome", messages.OPEN), ("dome", messages.KEEP_OPEN)]
        assert rig.say("telescope", messages.PARK_FINISHED) == []
        assert rig.say("dome", messages.DOME_OPENED, Reason()) == [("observation_manager", messages.OBSERVE)]


@pytest.mark.parametrize(
    "changes",
    [{"min_altitude": 80.0}, {"expires": 1.0}, {"not_before": 1e10}, {"windows": (messages.Window(1.0, 2.0),)}],
)
def test_what_the_sky_forbids_by_now_is_not_slewed_to(rig: MajordomeRig, changes: dict[str, Any]) -> None:
    rig.safe()
    assert rig.plan(**changes) == []
    assert rig.state == State.READY


def test_unsafe_closes_from_an_open_state_and_a_closed_one(rig: MajordomeRig) -> None:
    rig.safe()
    assert rig.unsafe() == SHUT_NOW
    assert rig.state == State.READY
    rig.open()
    assert rig.unsafe()[-2:] == SHUT_NOW
    assert rig.state == State.CLOSING
    assert rig.unsafe() == []
    rig.shut()
    assert rig.state == State.READY


def test_it_is_ready_only_when_both_have_said_that_they_are_shut(rig: MajordomeRig) -> None:
    rig.open()
    rig.unsafe()
    rig.say("telescope", messages.PARK_FINISHED)
    assert rig.state == State.CLOSING
    rig.say("dome", messages.DOME_CLOSED, Reason())
    assert rig.state == State.READY


def test_what_does_not_close_is_a_fault_with_an_alarm_each_minute(rig: MajordomeRig) -> None:
    rig.open()
    rig.unsafe()
    rig.pass_(310, safe=False)
    assert rig.state == State.FAULT
    assert "the night has stopped" in rig.host.alarms.raised
    assert rig.pass_(120, safe=False).count(("dome", messages.CLOSE)) == 2
    rig.shut()
    assert rig.state == State.CLOSING
    rig.shut()
    assert rig.state == State.READY


def test_a_dome_that_does_not_open_is_tried_ever_more_rarely(rig: MajordomeRig) -> None:
    tries = []
    rig.safe()
    end = rig.clock.monotonic() + 4500
    while rig.clock.monotonic() < end:
        rig.plan()
        if rig.state == State.OPENING:
            tries.append(rig.clock.monotonic())
            rig.say("dome", messages.DOME_FAILED, DomeFailure(reason="Open: stuck", what="open"))
            assert rig.state == (State.FAULT if len(tries) >= ATTEMPTS else State.CLOSING)
        rig.shut()
        rig.pass_(10)
        rig.say("dome", messages.KEPT_OPEN, DomeReport(state="closed"))
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses[:4] == [pytest.approx(pause, abs=15) for pause in PAUSES]
    assert pauses[4:] == [pytest.approx(PAUSES[-1], abs=15)] * len(pauses[4:])
    assert list(rig.host.alarms.raised) == ["the night has stopped"]
    rig.pass_(1800)
    rig.shut()
    rig.shut()
    rig.plan()
    rig.say("dome", messages.DOME_OPENED, Reason())
    assert rig.state == State.OBSERVING
    rig.pass_(1)
    assert list(rig.host.alarms.raised) == []


def test_a_dome_that_closes_by_itself_again_and_again_is_opened_ever_more_rarely(rig: MajordomeRig) -> None:
    opened = []
    rig.safe()
    end = rig.clock.monotonic() + 2700
    while rig.clock.monotonic() < end:
        rig.plan()
        if rig.state == State.OPENING:
            opened.append(rig.clock.monotonic())
            rig.say("dome", messages.DOME_OPENED, Reason())
            lost = DomeReport(state="open", may_open="the guardian cannot reach the dome")
            rig.say("dome", messages.KEPT_OPEN, lost)
            rig.shut()
        rig.say("dome", messages.KEPT_OPEN, DomeReport(state="closed"))
        rig.pass_(10)
    pauses = [later - earlier for earlier, later in pairwise(opened)]
    assert pauses[:6] == [pytest.approx(pause, abs=15) for pause in (10, 10, 10, *PAUSES[1:])]


@pytest.mark.parametrize(
    ("state", "reason", "after"),
    [("open", "", State.OBSERVING), ("open", "monitoring is silent", State.CLOSING), ("closed", "", State.CLOSING)],
)
def test_after_a_restart_the_dome_says_whether_it_goes_on(
    rig: MajordomeRig, state: str, reason: str, after: State
) -> None:
    rig.open()
    rig.restart()
    asked = [agent for agent, name in rig.agent.orders if name == messages.TELL_STATE]
    assert asked == ["dome", "telescope", "camera"]
    rig.say("dome", messages.DEVICE_STATE, DeviceState(instrument="dome", state=state, reason=reason))
    assert rig.state == after
    assert rig.agent.orders.count(("dome", messages.CLOSE)) == (after is State.CLOSING)


@pytest.mark.parametrize(("device", "doing"), [("dome", "open"), ("telescope", "tracking")])
def test_what_is_found_open_or_moving_when_closed_is_shut(rig: MajordomeRig, device: str, doing: str) -> None:
    rig.restart()
    orders = rig.say(device, messages.DEVICE_STATE, DeviceState(instrument=device, state=doing, reason="no lease"))
    assert orders == SHUT_NOW
    assert rig.state == State.CLOSING


def test_a_close_from_before_the_order_to_open_ends_nothing(rig: MajordomeRig) -> None:
    rig.open()
    rig.unsafe()
    assert ("dome", messages.OPEN) in rig.safe()
    rig.say("dome", messages.DOME_CLOSED, Reason())
    assert rig.state == State.OPENING
    rig.say("dome", messages.DOME_CLOSED, Reason())
    assert rig.state == State.CLOSING, "this one was by itself"


def test_a_hold_closes_and_its_release_goes_on(rig: MajordomeRig) -> None:
    rig.open()
    hold = rig.holds.set("anna@dome", "a visitor")
    rig.agent.holds.set("anna@dome", "a visitor")
    orders = rig.say("program:person", messages.HOLD, messages.HoldOrder(why=hold.why, who=hold.who))
    assert orders[-2:] == SHUT_NOW
    assert rig.state == State.HELD
    rig.restart()
    assert rig.state == State.HELD
    rig.safe()
    assert rig.plan("two") == []
    rig.holds.release()
    rig.say("program:person", messages.RELEASE, messages.ReleaseOrder(who="anna@dome"))
    assert rig.state == State.READY
    assert ("dome", messages.OPEN) in rig.plan("three")


def written(rig: MajordomeRig) -> list[tuple[str, str]]:
    """Return what the diary has of the night."""
    with closing(JournalReader(rig.host.journal.path)) as journal:
        return [(line.what, line.value) for line in diary.read(journal, "2026-03-20")]


@pytest.mark.parametrize("silent", [True, False])
def test_the_diary_has_bad_weather_of_which_it_heard_after_a_restart(rig: MajordomeRig, silent: bool) -> None:
    rig.safe()
    rig.restart()
    if silent:
        rig.pass_(100, safe=False)
    else:
        rig.unsafe()
    assert [value for what, value in written(rig) if what == "weather"] == ["safe", "unsafe"]


def test_the_diary_has_what_a_night_was_made_of(rig: MajordomeRig) -> None:
    rig.open()
    rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
    rig.unsafe()
    assert written(rig)[-7:] == [
        ("weather", "safe"), ("state", "opening"), ("observe", "one"), ("state", "observing"), ("ended", "one"),
        ("weather", "unsafe"), ("state", "closing"),
    ]  # fmt: skip
