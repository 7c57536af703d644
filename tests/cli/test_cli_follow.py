from __future__ import annotations

from contextlib import closing
from typing import Any

import msgspec
import pytest
from twisted.internet.task import Clock

from pyros import messages as m
from pyros import views
from pyros.broker.packet import known_by
from pyros.broker.store import EventStore
from pyros.clock import RealClock
from pyros.config import Config
from pyros.journal import Effects, Journal, insert
from pyros.views.timeline import Follower
from pyros.views.timeline_steps import (
    Arrived,
    Decided,
    DomeOpened,
    Ended,
    ImageOnDisk,
    OnTarget,
    Planned,
    Published,
    ShutterOpened,
    SlewCommanded,
    SourceDetected,
    TimelineStep,
    Trouble,
)
from tests.builders import InlineReactor, voevent

IVORN = "ivo://author.test/stream#one"
OBS = m.Observation(id="obs-1", target="burst", ra=10.0, dec=20.0, exposures=(m.Exposures("r", 5.0, 2),), alert=IVORN)


def received(ivorn: str = IVORN, at: float = 100.0) -> m.AlertReceived:
    return m.AlertReceived(voevent(ivorn), "author 127.0.0.1", at)


def decided(**changes: Any) -> m.AlertDecided:
    values = {"alert": IVORN, "event": "e", "accepted": True, "reason": "rule 'x'", "observation": "obs-1", "ra": 10.0,
              "dec": 20.0}  # fmt: skip
    return m.AlertDecided(**{**values, **changes})


def plan(*observations: m.Observation, start: str | None = None, altitude: float = 60.0) -> m.Plan:
    return m.Plan(tuple(m.PlannedObservation(each, altitude, "up until 05:00 UTC") for each in observations), start)


@pytest.fixture
def follower(config: Config) -> Any:
    follower = Follower(views.observed(config), IVORN, known_by)
    yield follower
    follower.observed.close()


def kinds(steps: list[TimelineStep]) -> list[type[TimelineStep]]:
    return [type(step) for step in steps]


def accept(write: Any) -> None:
    write("alert_manager", m.ALERT_RECEIVED, received(), sent=100.01)
    write("monitoring", m.ALERT_DECIDED, decided(), sent=100.1)
    write("majordome", m.PLAN_UPDATED, plan(OBS, start="obs-1"), sent=100.2)


def test_a_follow_up_from_arrival_to_end(follower: Follower, write: Any) -> None:
    accept(write)
    assert follower.look() == [
        Arrived(100.0, "author 127.0.0.1"),
        Decided(100.1, True, "rule 'x'", "obs-1", 10.0, 20.0),
        Planned(100.2, True, "up until 05:00 UTC", 60.0, OBS),
    ]
    assert follower.look() == []
    write("observation_manager", m.SLEW_STARTED, m.SlewStarted("obs-1", 2.5), sent=100.3)
    write("observation_manager", m.SLEW_FINISHED, m.SlewFinished("obs-1", 10.001, 20.0, 3.4), sent=102.0)
    write("majordome", m.DOME_OPENED, m.Reason(), sent=101.0)
    write("observation_manager", m.EXPOSURE_STARTED, m.ExposureStarted("obs-1", 1, 2, "r", 5.0), sent=102.1)
    write("observation_manager", m.EXPOSURE_FINISHED, m.ExposureFinished("obs-1", 1, "r", "/d/1.fits"), sent=107.5)
    write("scheduler", m.OBSERVATION_FINISHED, m.ObservationReport("obs-1", ("/d/1.fits",)), sent=107.6)
    write("majordome", m.OBSERVATION_FINISHED, m.ObservationReport("obs-1", ("/d/1.fits",)), sent=107.6)
    write("majordome", m.PLAN_UPDATED, plan(), sent=107.7)
    assert follower.look() == [
        SlewCommanded(100.3, 2.5),
        DomeOpened(101.0),
        OnTarget(102.0, 10.001, 20.0, 3.4),
        ShutterOpened(102.1, 1, 2, "r", 5.0),
        ImageOnDisk(107.5, 1, "r", "/d/1.fits"),
        Ended(107.6, "finished", "", ("/d/1.fits",)),
    ]
    assert follower.ended
    assert follower.look() == []


def test_what_is_found_in_the_images_is_told_also_after_the_end(follower: Follower, write: Any) -> None:
    accept(write)
    follower.look()
    found = m.SourceFound(observation="obs-1", alert="x", event="x", ra=10.0, dec=20.0, magnitude=14.5,
                          magnitude_error=0.02, filter="r", time=100.0, path="/d/1.fits")  # fmt: skip
    other = msgspec.structs.replace(found, observation="obs-2")
    write("alert_manager", m.SOURCE_FOUND, other, sent=105.0)
    write("alert_manager", m.SOURCE_FOUND, found, sent=106.0)
    assert follower.look() == [SourceDetected(106.0, 10.0, 20.0, "r", 14.5, 0.02, "/d/1.fits")]
    write("scheduler", m.OBSERVATION_FINISHED, m.ObservationReport("obs-1"), sent=107.6)
    assert kinds(follower.look()) == [Ended]
    write("alert_manager", m.SOURCE_FOUND, found, sent=108.0)
    write("observation_manager", m.SLEW_STARTED, m.SlewStarted("obs-1", 2.5), sent=108.5)
    assert kinds(follower.look()) == [SourceDetected]


def test_what_came_before_the_decision_was_read_is_told_after_it(follower: Follower, write: Any) -> None:
    write("majordome", m.PLAN_UPDATED, plan(OBS, start="obs-1"), sent=100.2)
    write("observation_manager", m.SLEW_STARTED, m.SlewStarted("obs-1", 2.5), sent=100.3)
    assert follower.look() == []
    write("monitoring", m.ALERT_DECIDED, decided(), sent=100.1)
    assert kinds(follower.look()) == [Decided, Planned, SlewCommanded]


def test_another_alert_is_not_told(follower: Follower, write: Any) -> None:
    write("alert_manager", m.ALERT_RECEIVED, received("ivo://author.test/stream#two"), sent=100.0)
    write("monitoring", m.ALERT_DECIDED, decided(alert="ivo://author.test/stream#two", observation="o-2"), sent=100.1)
    assert follower.look() == []
    accept(write)
    follower.look()
    write("observation_manager", m.SLEW_STARTED, m.SlewStarted("o-2", 2.5), sent=100.3)
    write("scheduler", m.OBSERVATION_FAILED, m.ObservationReport("o-2", reason="x"), sent=100.4)
    write("majordome", m.PLAN_UPDATED, plan(OBS, start="obs-1", altitude=61), sent=100.5)
    assert follower.look() == []


def test_what_was_there_before_is_not_told(config: Config, write: Any) -> None:
    accept(write)
    follower = Follower(views.observed(config), IVORN, known_by)
    assert follower.look() == []
    write("monitoring", m.ALERT_DECIDED, decided(accepted=False, observation=""), sent=200.0)
    assert kinds(follower.look()) == [Decided, Ended]
    follower.observed.close()


def test_a_refusal_ends_it(follower: Follower, write: Any) -> None:
    write("alert_manager", m.ALERT_RECEIVED, received(), sent=100.0)
    write("monitoring", m.ALERT_DECIDED, decided(accepted=False, reason="role test", observation=""), sent=100.1)
    assert follower.look()[1:] == [
        Decided(100.1, False, "role test", "", 10.0, 20.0),
        Ended(100.1, "refused", "role test"),
    ]


def test_a_packet_that_was_not_understood_is_refused(follower: Follower, write: Any) -> None:
    """Such a decision names no alert: it is the one that follows our packet."""
    unknown = m.AlertDecided(alert="", event="", accepted=False, reason="not understood: x")
    write("monitoring", m.ALERT_DECIDED, unknown, sent=99.0)
    write("alert_manager", m.ALERT_RECEIVED, received(), sent=100.0)
    assert kinds(follower.look()) == [Arrived]
    write("monitoring", m.ALERT_DECIDED, unknown, sent=100.1)
    assert kinds(follower.look()) == [Decided, Ended]


def test_an_alert_manager_that_fails_ends_it(follower: Follower, write: Any) -> None:
    write("alert_manager", m.ALERT_RECEIVED, received(), sent=100.0, error="Traceback ...\nKeyError: 'x'\n")
    steps = follower.look()
    assert kinds(steps) == [Arrived, Ended]
    assert steps[1] == Ended(
        100.001, "failed",
        "alert_manager failed at 'Alert received': KeyError: 'x' (pyros messages failed alert_manager)",
    )  # fmt: skip


def test_a_handler_that_fails_is_told(follower: Follower, write: Any) -> None:
    accept(write)
    follower.look()
    write("telescope", m.SLEW, m.Slew("obs-1", 10.0, 20.0), sent=100.3, error="Traceback\nOSError: no")
    write("camera", m.ABORT, m.Abort("another"), sent=100.4, error="Traceback\nOSError: no")
    steps = follower.look()
    assert kinds(steps) == [Trouble]
    assert "telescope failed at 'Slew': OSError: no" in str(steps[0])


def test_a_target_that_is_not_up_waits_and_then_starts(follower: Follower, write: Any) -> None:
    write("monitoring", m.ALERT_DECIDED, decided(), sent=100.1)
    write("majordome", m.PLAN_UPDATED, plan(OBS, altitude=-3.0), sent=100.2)
    planned = follower.look()[1]
    assert isinstance(planned, Planned)
    assert not planned.starts
    write("majordome", m.PLAN_UPDATED, plan(OBS, altitude=-2.0), sent=160.2)
    assert follower.look() == []
    write("majordome", m.PLAN_UPDATED, plan(OBS, start="obs-1", altitude=12.0), sent=900.2)
    assert [step.starts for step in follower.look() if isinstance(step, Planned)] == [True]


def test_an_observation_that_failed_is_tried_again_and_then_given_up(follower: Follower, write: Any) -> None:
    accept(write)
    follower.look()
    for at in (110.0, 120.0):
        write("scheduler", m.OBSERVATION_FAILED, m.ObservationReport("obs-1", reason="slew failed"), sent=at)
        write("majordome", m.PLAN_UPDATED, plan(OBS, start="obs-1"), sent=at + 1)
        steps = follower.look()
        assert kinds(steps) == [Trouble, Planned]
        assert "slew failed" in str(steps[0])
    write("scheduler", m.OBSERVATION_FAILED, m.ObservationReport("obs-1", reason="slew failed"), sent=130.0)
    write("majordome", m.PLAN_UPDATED, plan(), sent=131.0)
    assert follower.look()[1:] == [Ended(131.0, "failed", "slew failed")]


def test_a_withdrawal_and_an_expiry_end_it(config: Config, write: Any) -> None:
    for last, how in ((m.Plan((), withdrawn=("obs-1",)), "withdrawn"), (plan(), "failed")):
        follower = Follower(views.observed(config), IVORN, known_by)
        accept(write)
        follower.look()
        write("majordome", m.PLAN_UPDATED, last, sent=131.0)
        assert [step.how for step in follower.look() if isinstance(step, Ended)] == [how]
        follower.observed.close()


def test_plans_without_it_before_it_was_planned_mean_nothing(follower: Follower, write: Any) -> None:
    write("monitoring", m.ALERT_DECIDED, decided(), sent=100.1)
    write("majordome", m.PLAN_UPDATED, plan(), sent=100.05)
    assert kinds(follower.look()) == [Decided]


def test_failures_of_the_instruments_and_the_weather_are_told(follower: Follower, write: Any) -> None:
    accept(write)
    follower.look()
    write("observation_manager", m.SLEW_FAILED, m.Failure(observation="obs-1", reason="stuck"), sent=101.0)
    write("observation_manager", m.EXPOSURE_FAILED, m.Failure(observation="obs-1", reason="cold"), sent=102.0)
    write("majordome", m.WEATHER_UNSAFE, m.WeatherState("rain"), sent=103.0)
    write("majordome", m.DOME_FAILED, m.Failure(reason="jammed"), sent=104.0)
    assert follower.look() == [
        Trouble(101.0, "slew failed: stuck"),
        Trouble(102.0, "exposure failed: cold"),
        Trouble(103.0, "weather unsafe: rain"),
        Trouble(104.0, "dome failed: jammed"),
    ]


def test_the_broker_tells_of_an_arrival_while_no_alert_manager_runs(follower: Follower, config: Config) -> None:
    assert follower.look() == []  # nothing has ever run here
    table = "CREATE TABLE IF NOT EXISTS events (ivorn TEXT, received REAL, source TEXT);"
    journal = Journal(
        config.journal("broker"), durable=False, schema=f"{table} INSERT INTO events VALUES ('{IVORN}', 5.5, 'me');"
    )
    assert follower.look() == [Arrived(5.5, "me")]
    assert follower.look() == []
    journal.close()


def test_what_we_publish_about_it_is_told_also_after_its_end(follower: Follower, write: Any, config: Config) -> None:
    accept(write)
    follower.look()
    with closing(
        EventStore(InlineReactor(), RealClock(Clock()), config.journal("broker"), threaded=False, durable=False)
    ) as store:
        columns = "INSERT INTO events (number, ivorn, sha256, packet, source, received)"

        def keep(number: int, ivorn: str) -> None:
            row = (number, ivorn, bytes([number]), b"<a/>", "agent alert_manager", 100.0 + number)
            effects = Effects()
            effects.also.append(lambda db: insert(db, columns, [row]))
            store.journal.commit(effects)

        own = "ivo://pyros.observatory/demo/followup#"
        keep(1, f"{own}obs-1/started-20260320T233000-1")
        keep(2, f"{own}obs-2/started-20260320T233000-2")
        keep(3, "ivo://other/stream#1")
        assert follower.look() == [Published(101.0, "started", f"{own}obs-1/started-20260320T233000-1")]
        write("scheduler", m.OBSERVATION_FINISHED, m.ObservationReport("obs-1"), sent=107.6)
        assert kinds(follower.look()) == [Ended]
        keep(4, f"{own}obs-1/finished-20260320T233100-3")
        assert follower.look() == [Published(104.0, "finished", f"{own}obs-1/finished-20260320T233100-3")]
        assert follower.look() == []
