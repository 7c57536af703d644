"""The majordome's nights, one turn at a time and on virtual time, without any other agent."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyros import messages
from pyros.agents.majordome import ATTEMPTS, LEASE, PAUSES, MajordomeAgent
from pyros.agents.night_reporting import NightReporting
from pyros.agents.night_table import OPEN_STATES, State
from pyros.hold import Holds
from pyros.journal import JournalReader
from pyros.messages import (
    CalibrationReport,
    DeviceState,
    DomeFailure,
    DomeReport,
    Exposures,
    FocusReached,
    FrameSet,
    ImageAnalysed,
    Observation,
    ObservationReport,
    Plan,
    PlannedObservation,
    Reason,
    WeatherState,
)
from pyros.nights import diary
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.builders import polar_site
from tests.rig import AgentRig, make_config

SITE_FILE = Path(__file__).resolve().parents[2] / "observatory" / "site.yaml"
SITE = Site.load(SITE_FILE)
OTHERS = ("dome", "telescope", "camera", "focuser", "scheduler", "observation_manager", "monitoring")
EVENING = datetime(2026, 3, 20, 18, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 20, 23, 30, tzinfo=UTC)
NOON = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)


class Watched(MajordomeAgent):
    """A majordome whose orders can be seen, and what it logs as an error."""

    def __init__(self, calibrations: list[messages.CalibrationOrder]) -> None:
        super().__init__()
        self.orders: list[tuple[str, str]] = []
        self.calibrations = calibrations

    def send_to(self, agent: str, name: str, payload: Any = None, *, durable: bool = False) -> None:
        self.orders.append((agent, name))
        if name == messages.CALIBRATE:
            self.calibrations.append(payload)
        super().send_to(agent, name, payload, durable=durable)


class MajordomeRig(AgentRig):
    """A majordome, and what the others say to it."""

    agent: Watched

    def __init__(
        self, folder: Path, start: datetime = MIDNIGHT, *, roof: bool = False, site: Path = SITE_FILE, **options: Any
    ) -> None:  # fmt: skip
        self.calibrations: list[messages.CalibrationOrder] = []
        """What was ordered of the observation manager, over all restarts."""
        agents = dict(make_config(folder, "majordome", *OTHERS).agents)
        agents["dome"] = msgspec.structs.replace(agents["dome"], roof=roof)
        agents["majordome"] = msgspec.structs.replace(agents["majordome"], options=options)
        super().__init__(Watched(self.calibrations), folder, begin=start, agents=agents, site=site)
        self.holds = Holds(folder, self.clock)

    def restart(self) -> None:
        self.stop()
        self.start(Watched(self.calibrations))

    @property
    def state(self) -> str:
        return str(self.agent.state.state)

    def say(self, sender: str, name: str, payload: Any = None, *, age: float = 0.0) -> list[tuple[str, str]]:
        """Have another agent say something; returns the orders that it leads to."""
        return self.orders(lambda: self.hear(name, payload, peer=sender, waited=age))

    def orders(self, do: Callable[[], object]) -> list[tuple[str, str]]:
        before = len(self.agent.orders)
        do()
        return self.agent.orders[before:]

    def pass_(self, seconds: float, *, safe: bool = True, kept: bool = True) -> list[tuple[str, str]]:
        """Let time pass, in which monitoring and the dome's agent say each ten seconds that all is well."""
        before = len(self.agent.orders)
        while seconds > 0:
            step = min(seconds, 10.0)
            self.reactor.advance(step)
            seconds -= step
            if safe:
                self.say("monitoring", messages.WEATHER_SAFE, WeatherState("fine"))
            if kept and self.state in OPEN_STATES:
                self.say("dome", messages.KEPT_OPEN, DomeReport(state="open"))
        return self.agent.orders[before:]

    def safe(self) -> list[tuple[str, str]]:
        return self.say("monitoring", messages.WEATHER_SAFE, WeatherState("fine"))

    def unsafe(self) -> list[tuple[str, str]]:
        return self.say("monitoring", messages.WEATHER_UNSAFE, WeatherState("rain", wet=True))

    def plan(self, name: str = "one", *, alert: str = "", **changes: Any) -> list[tuple[str, str]]:
        """Have the scheduler plan one observation for now, well up in the sky."""
        return self.say("scheduler", messages.PLAN_UPDATED, self.planned(name, alert=alert, **changes))

    def planned(self, name: str, *, alert: str = "", **changes: Any) -> Plan:
        ra, dec = place_overhead(SITE, self.clock.now())
        observation = Observation(
            id=name, target=name, ra=ra, dec=dec, exposures=(Exposures("r", 20.0),), alert=alert,
            requested=self.clock.time(),
        )  # fmt: skip
        observation = msgspec.structs.replace(observation, **changes)
        return Plan((PlannedObservation(observation, 65.0, "up"),), start_now=name)

    def open(self) -> None:
        """Have it opened and observing."""
        self.safe()
        self.plan()
        self.say("dome", messages.DOME_OPENED, Reason())
        assert self.state == State.OBSERVING

    def shut(self) -> list[tuple[str, str]]:
        """Dome and mount say that they are closed and parked."""
        return self.say("dome", messages.DOME_CLOSED, Reason()) + self.say("telescope", messages.PARK_FINISHED)


@contextmanager
def _rig(start: datetime = MIDNIGHT, **keys: Any) -> Iterator[MajordomeRig]:
    with tempfile.TemporaryDirectory() as folder:
        rig = MajordomeRig(Path(folder), start, **keys)
        yield rig
        assert rig.host.turns.failed == 0
        rig.stop()


@pytest.fixture
def rig() -> Iterator[MajordomeRig]:
    with _rig() as made:
        yield made


OPEN_NOW = [("observation_manager", messages.OBSERVE), ("dome", messages.OPEN), ("dome", messages.KEEP_OPEN)]
SHUT_NOW = [("dome", messages.CLOSE), ("telescope", messages.PARK)]


def hours(rig: MajordomeRig, count: float) -> None:
    """Let hours pass by the wall clock, and a minute by every clock."""
    rig.clock.step(count * 3600)
    rig.pass_(60)


def test_by_day_it_stays_closed_until_the_evening() -> None:
    with _rig(NOON) as rig:
        assert rig.state == State.CLOSED
        rig.safe()
        assert rig.plan() == []
        hours(rig, 4)
        assert rig.state == State.CLOSED
        hours(rig, 2)
        assert rig.state == State.READY
        assert rig.agent.state.night == "2026-03-20"


def test_night_follows_night_and_each_ends_closed() -> None:
    with _rig(NOON) as rig:
        for night in range(20, 30):
            hours(rig, 6.5)
            assert (rig.state, rig.agent.state.night) == (State.READY, f"2026-03-{night}")
            hours(rig, 6)
            assert (rig.state, rig.agent.state.over) == (State.READY, False)
            hours(rig, 6)
            assert (rig.state, rig.agent.state.over) == (State.CLOSED, True)
            hours(rig, 5.45)


def test_a_night_that_was_begun_is_not_begun_again() -> None:
    with _rig(EVENING) as rig:
        rig.restart()
        hours(rig, 0.5)
        assert rig.agent.state.change < 8, "each change of state counts"


def test_in_a_polar_night_a_new_night_begins_at_noon(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("{name: Pole, latitude: 89.9, longitude: 0, elevation: 0}")
    with _rig(datetime(2026, 12, 20, 11, 0, tzinfo=UTC), site=site) as rig:
        assert (rig.state, rig.agent.state.night) == (State.READY, "2026-12-19")
        hours(rig, 1.5)
        assert (rig.state, rig.agent.state.night) == (State.READY, "2026-12-20")


@pytest.mark.parametrize(("latitude", "opens"), [(78.2, False), (69.6, True)])
def test_a_polar_noon_without_light_enough_has_no_flats(tmp_path: Path, latitude: float, opens: bool) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(f"{{name: North, latitude: {latitude}, longitude: 0, elevation: 0}}")
    with _rig(datetime(2026, 12, 21, 3, 0, tzinfo=UTC), site=site, flats="r") as rig:
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
    with _rig(datetime(2026, 12, 19, 11, 0, tzinfo=UTC), site=site) as rig:
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

    with _rig(day - timedelta(hours=2), site=site, cool="-10") as rig:
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
    with _rig(NOON) as rig:
        rig.agent.state.state = State.FAULT if fault else State.HELD
        rig.agent.holds.set("anna@dome", "a visitor")
        for night in (20, 21):
            hours(rig, 7)
            assert (rig.agent.state.night, rig.agent.state.over) == (f"2026-03-{night}", False)
            hours(rig, 16.95)
            assert rig.agent.state.over
        assert reported == ["2026-03-20", "2026-03-21"]


def test_what_is_released_in_the_dark_is_prepared_then(reported: list[str]) -> None:
    with _rig(NOON, cool="-10") as rig:
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


def test_a_roof_opens_over_a_parked_mount_and_before_the_slew() -> None:
    with _rig(roof=True) as rig:
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


def ended(rig: MajordomeRig, kind: Any, name: str = messages.CALIBRATION_FINISHED) -> list[tuple[str, str]]:
    """Have the observation manager end the calibration that was ordered last."""
    return rig.say("observation_manager", name, CalibrationReport(calibration=rig.agent.state.calibration, kind=kind))


CALIBRATE = ("observation_manager", messages.CALIBRATE)
COOL = ("camera", messages.COOL)


def test_an_evening_cools_first_and_then_takes_biases() -> None:
    with _rig(EVENING, cool="-10", biases="9") as rig:
        assert COOL in rig.agent.orders
        assert rig.state == State.PREPARING
        rig.say("camera", messages.COOLING_SET, messages.Cool(celsius=-10.0))
        assert CALIBRATE not in rig.agent.orders
        rig.restart()
        assert rig.say("camera", messages.COOLING_FINISHED, messages.CoolingReport(celsius=-10.0)) == [CALIBRATE]
        assert rig.state == State.PREPARING
        ended(rig, "bias", messages.CALIBRATION_FAILED)
        assert rig.state == State.READY


def test_biases_that_an_alert_has_stopped_are_taken_in_the_morning() -> None:
    with _rig(EVENING, biases="9") as rig:
        assert rig.state == State.PREPARING
        rig.safe()
        rig.clock.step(3 * 3600)
        rig.safe()
        rig.plan(alert="ivo://x")
        rig.unsafe()
        rig.shut()
        rig.clock.step(8.5 * 3600)
        assert CALIBRATE in rig.pass_(25, safe=False)
        assert rig.state == State.FINISHING
        ended(rig, "bias")
        assert rig.state == State.CLOSED


def test_a_detector_that_stays_warm_is_waited_for_half_an_hour() -> None:
    with _rig(EVENING, cool="-10") as rig:
        rig.pass_(1810)
        assert rig.state == State.READY


def test_a_morning_takes_darks_of_the_night_and_warms_up() -> None:
    with _rig(cool="-10", darks="5") as rig:
        rig.say("camera", messages.COOLING_FINISHED, messages.CoolingReport(celsius=-10.0))
        rig.open()
        rig.unsafe()
        rig.shut()
        rig.clock.step(6.5 * 3600)
        assert CALIBRATE in rig.pass_(25, safe=False)
        assert rig.state == State.FINISHING
        assert COOL in ended(rig, "dark")
        assert rig.state == State.CLOSED


def test_binned_exposures_have_biases_and_darks_of_their_own() -> None:
    with _rig(biases="3", darks="2") as rig:
        ended(rig, "bias")
        rig.safe()
        rig.plan(exposures=(Exposures("r", 20.0), Exposures("g", 60.0, binning=2), Exposures("g", 5.0, binning=2)))
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
        rig.unsafe()
        rig.shut()
        hours(rig, 6)
        for kind in ("dark", "bias", "dark"):
            ended(rig, kind)
        assert rig.state == State.CLOSED
    assert [(each.kind, each.binning, each.seconds) for each in rig.calibrations] == [
        ("bias", 1, ()), ("dark", 1, (20.0,)), ("bias", 2, ()), ("dark", 2, (60.0, 5.0)),
    ]  # fmt: skip


def test_flats_open_in_twilight_once_and_close_again() -> None:
    with _rig(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r g") as rig:
        rig.safe()
        orders = rig.pass_(25)
        assert ("dome", messages.OPEN) in orders
        assert ("observation_manager", messages.OBSERVE) not in orders
        assert rig.say("dome", messages.DOME_OPENED, Reason()) == [CALIBRATE]
        assert rig.state == State.FLATS
        ended(rig, "flat")
        assert rig.pass_(90)[-2:] == SHUT_NOW
        with closing(JournalReader(rig.host.journal.path)) as journal:
            reason = diary.read(journal, "2026-03-20")[-1].reason
        assert reason.startswith("it is twilight, and nothing is planned: the Sun is at -"), "it is no day"
        rig.shut()
        assert ("dome", messages.OPEN) not in rig.pass_(120)


def test_flats_of_the_morning_begin_nothing_that_waited_for_the_focus() -> None:
    with _rig(datetime(2026, 3, 21, 4, 0, tzinfo=UTC), flats="r", focus="2") as rig:
        rig.safe()
        rig.plan()
        rig.say("dome", messages.DOME_OPENED, Reason())
        ended(rig, "focus")
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
        rig.agent.state.focused -= 3 * 3600
        rig.plan("two")
        assert rig.state == State.FOCUSING
        rig.unsafe()
        rig.shut()
        rig.say("scheduler", messages.PLAN_UPDATED, Plan(()))
        assert rig.state == State.READY
        before = len(rig.agent.orders)
        for _ in range(120):
            if rig.state != State.OPENING:
                rig.pass_(30)
        assert ("dome", messages.OPEN) in rig.agent.orders[before:]
        assert ("observation_manager", messages.OBSERVE) not in rig.agent.orders[before:]
        assert rig.say("dome", messages.DOME_OPENED, Reason()) == [CALIBRATE]
        assert rig.state == State.FLATS


def test_a_dome_that_closes_in_the_mornings_twilight_is_opened_again_for_flats() -> None:
    with _rig(datetime(2026, 3, 21, 4, 20, tzinfo=UTC), flats="r", focus="2") as rig:
        rig.safe()
        rig.plan()
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.FOCUSING
        rig.clock.step(1200)
        rig.say("scheduler", messages.PLAN_UPDATED, Plan(()))
        rig.pass_(25)
        assert rig.state == State.CLOSING
        rig.shut()
        assert ("dome", messages.OPEN) in rig.pass_(25)


def test_flats_may_last_as_long_as_a_northern_twilight() -> None:
    with _rig(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r") as rig:
        rig.safe()
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.pass_(2.8 * 3600)
        assert rig.state == State.FLATS


def test_flats_are_taken_in_each_binning_of_the_night() -> None:
    with _rig(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r g") as rig:
        rig.safe()
        rig.agent.state.binned_times = {2: [5.0]}
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        ended(rig, "flat")
        assert rig.state == State.FLATS
        ended(rig, "flat")
        assert rig.state == State.OBSERVING
    assert [(each.kind, each.binning, each.filters) for each in rig.calibrations] == [
        ("flat", 1, ("r", "g")), ("flat", 2, ("r", "g")),
    ]  # fmt: skip


def _flats(rig: MajordomeRig, *filters: str, count: int = 7, again: bool = True, failed: bool = True) -> None:
    """Have the flats that were ordered last end, with so many images through these filters."""
    sets = tuple(FrameSet(image_type="FLAT", filter=each, images=("x.fits",) * count) for each in filters)
    number = rig.agent.state.calibrations
    report = CalibrationReport(calibration=f"2026-03-20-flat-{number}", kind="flat", sets=sets, again=again)
    rig.say("observation_manager", messages.CALIBRATION_FAILED if failed else messages.CALIBRATION_FINISHED, report)


def test_flats_that_a_person_stopped_are_taken_up_with_what_is_missing() -> None:
    with _rig(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r g i") as rig:
        rig.safe()
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        _flats(rig, "g")
        assert rig.state == State.OBSERVING
        rig.pass_(25)
        assert rig.state == State.FLATS
        _flats(rig, "r", "i", failed=False)
        rig.pass_(25)
        assert rig.state == State.CLOSING, "none is missing"
    assert [each.filters for each in rig.calibrations] == [("r", "g", "i"), ("r", "i")]


def test_flats_that_fail_by_themselves_are_not_taken_up_for_ever() -> None:
    with _rig(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r") as rig:
        rig.safe()
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        for _ in range(3):
            assert rig.state == State.FLATS
            _flats(rig)
            rig.pass_(25)
        assert rig.state == State.CLOSING


def test_flats_for_which_it_is_too_dark_are_not_taken_up() -> None:
    with _rig(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r g") as rig:
        rig.safe()
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        _flats(rig, again=False)
        rig.pass_(25)
        assert rig.state == State.CLOSING


def test_flats_that_the_weather_stopped_are_taken_up_when_it_is_safe_again() -> None:
    with _rig(datetime(2026, 3, 20, 18, 15, tzinfo=UTC), flats="r g") as rig:
        rig.safe()
        rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.unsafe()
        _flats(rig, "r")
        rig.shut()
        rig.safe()
        assert ("dome", messages.OPEN) in rig.pass_(25)
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.FLATS
        assert rig.agent.state.flats_left[0].filters == ("g",)


def test_the_focus_comes_before_work_and_an_alert_before_the_focus() -> None:
    with _rig(focus="2") as rig:
        rig.safe()
        assert rig.plan() == [("dome", messages.OPEN), ("dome", messages.KEEP_OPEN)]
        assert rig.say("dome", messages.DOME_OPENED, Reason()) == [CALIBRATE]
        assert rig.state == State.FOCUSING
        assert rig.plan("two") == []
        assert rig.plan("three", alert="ivo://x") == [
            ("observation_manager", messages.ABORT_CALIBRATION),
            ("observation_manager", messages.OBSERVE),
        ]
        assert rig.state == State.OBSERVING


@pytest.mark.parametrize("options", [{"focus": "2"}, {"focus_kelvin": "1.5"}], ids=["hours", "kelvin"])
def test_a_focus_that_an_alert_has_stopped_is_looked_for_before_the_next_work(options: dict[str, Any]) -> None:
    with _rig(**options) as rig:
        rig.safe()
        rig.agent.state.focused = rig.clock.time() - 4 * 3600
        rig.agent.state.focus_temperature = 10.0
        rig.say("focuser", messages.FOCUSER_TEMPERATURE, messages.FocuserTemperature(5.0))
        rig.plan()
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.FOCUSING
        rig.plan("two", alert="ivo://x")
        assert rig.state == State.OBSERVING
        assert _focuses(rig, "three")
        assert not _focuses(rig, "four")


def test_a_focus_that_lasts_too_long_is_not_begun_again_at_once() -> None:
    with _rig(focus="2") as rig:
        rig.safe()
        rig.plan(exposures=(Exposures("r", 7200.0),))
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.pass_(1790)
        assert rig.state == State.FOCUSING
        rig.plan("two")
        assert ("observation_manager", messages.OBSERVE) in rig.pass_(20)


def test_a_roof_that_opens_for_an_alert_does_not_focus_first() -> None:
    with _rig(roof=True, focus="2") as rig:
        rig.safe()
        rig.plan(alert="ivo://x")
        rig.say("telescope", messages.PARK_FINISHED)
        assert rig.say("dome", messages.DOME_OPENED, Reason()) == [("observation_manager", messages.OBSERVE)]


def test_a_night_without_work_is_focused_once_for_the_alerts_to_come() -> None:
    with _rig(focus="2") as rig:
        assert ("dome", messages.OPEN) in rig.pass_(40)
        assert CALIBRATE in rig.say("dome", messages.DOME_OPENED, Reason())
        ended(rig, "focus")
        assert [order for order in rig.pass_(70) if order in SHUT_NOW] == SHUT_NOW
        rig.shut()
        rig.agent.state.focused -= 3 * 3600
        assert ("dome", messages.OPEN) not in rig.pass_(120), "it was looked for in this night"


@pytest.mark.parametrize("reason", ["twilight", "unsafe", "end"])
def test_nothing_opens_to_focus_by_twilight_when_unsafe_or_at_the_end(reason: str) -> None:
    times = {"twilight": datetime(2026, 3, 20, 18, 20, tzinfo=UTC), "end": datetime(2026, 3, 21, 4, 10, tzinfo=UTC)}
    with _rig(times.get(reason, MIDNIGHT), focus="2") as rig:
        if reason == "unsafe":
            rig.unsafe()
        assert ("dome", messages.OPEN) not in rig.pass_(120, safe=reason != "unsafe")


def test_what_alerts_have_kept_from_being_focused_is_focused_after_the_last() -> None:
    with _rig(focus="2") as rig:
        rig.safe()
        rig.plan(alert="ivo://x")
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
        assert CALIBRATE in rig.pass_(70)
        assert rig.state == State.FOCUSING
        assert ("observation_manager", messages.OBSERVE) in rig.plan("two", alert="ivo://y")


def test_offsets_that_cannot_be_learnt_are_tried_without_work_once_in_a_night() -> None:
    with _rig(focus_filters="r g") as rig:
        assert ("dome", messages.OPEN) in rig.pass_(40)
        assert CALIBRATE in rig.say("dome", messages.DOME_OPENED, Reason())
        ended(rig, "focus")
        rig.pass_(70)
        rig.shut()
        rig.agent.state.focused -= 1801
        rig.plan(alert="ivo://x")
        rig.say("dome", messages.DOME_OPENED, Reason())
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
        assert CALIBRATE not in rig.pass_(70)
        assert rig.state == State.CLOSING


def test_after_focusing_the_work_goes_on() -> None:
    with _rig(focus="2") as rig:
        rig.safe()
        rig.plan()
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert ("observation_manager", messages.OBSERVE) in ended(rig, "focus")
        assert rig.state == State.OBSERVING


def test_stars_that_have_become_wider_are_a_reason_to_focus_before_the_next_work() -> None:
    with _rig(focus_wider="20") as rig:
        rig.safe()
        rig.plan()
        rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.OBSERVING
        sharp, wide = (ImageAnalysed(observation="one", path="x", fwhm=fwhm) for fwhm in (2.0, 2.5))
        for image in (sharp, sharp, sharp, wide, wide):
            rig.say("analyzer", messages.IMAGE_ANALYSED, image)
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="one"))
        assert CALIBRATE in rig.plan("two"), "the stars are 25 % wider"
        assert rig.state == State.FOCUSING
        assert ("observation_manager", messages.OBSERVE) in ended(rig, "focus")
        for _ in range(3):
            rig.say("analyzer", messages.IMAGE_ANALYSED, wide)
            rig.pass_(700)
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation="two"))
        assert CALIBRATE not in rig.plan("three"), "the seeing was it"


def _focuses(rig: MajordomeRig, name: str) -> bool:
    """Whether the focus is looked for before the next work; if so it is found then."""
    if rig.agent.state.running is not None:
        running = rig.agent.state.running.id
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation=running))
    orders = rig.plan(name)
    if rig.state == State.OPENING:
        orders += rig.say("dome", messages.DOME_OPENED, Reason())
    if CALIBRATE not in orders:
        return False
    ended(rig, "focus")
    return True


def test_a_changed_temperature_is_a_reason_to_focus_before_the_next_work() -> None:
    with _rig(focus_kelvin="1.5") as rig:

        def warm(celsius: float) -> None:
            rig.say("focuser", messages.FOCUSER_TEMPERATURE, messages.FocuserTemperature(celsius))

        warm(10.0)
        rig.safe()
        assert not _focuses(rig, "one"), "it was never found, and nothing else asks for it"
        rig.agent.state.focused = rig.clock.time()
        warm(10.0)
        rig.agent.state.focused -= 1801
        warm(8.6)
        assert not _focuses(rig, "two")
        warm(8.5)
        assert _focuses(rig, "three")
        assert not _focuses(rig, "four")
        warm(4.0)
        assert not _focuses(rig, "five"), "not within half an hour"
        rig.agent.state.focused -= 1801
        assert _focuses(rig, "six")


def test_a_focus_that_is_not_found_is_looked_for_ever_more_rarely() -> None:
    with _rig(focus_filters="r g") as rig:
        rig.safe()
        assert _focuses(rig, "0")
        for number, minutes in enumerate((30, 60, 120), 1):
            rig.agent.state.focused = rig.clock.time() - 60 * minutes + 1
            assert not _focuses(rig, f"{number} too early")
            rig.agent.state.focused -= 2
            assert _focuses(rig, str(number))


def test_offsets_of_filters_are_learnt_once_and_those_that_failed_again() -> None:
    def focus(rig: MajordomeRig, name: str, **found: bool) -> None:
        rig.say("observation_manager", messages.OBSERVATION_FINISHED, ObservationReport(observation=name))
        rig.plan(f"{name}+")
        if rig.state == State.OPENING:
            rig.say("dome", messages.DOME_OPENED, Reason())
        assert rig.state == State.FOCUSING
        report = CalibrationReport(
            calibration=rig.agent.state.calibration, kind="focus",
            focus=tuple(FocusReached(filter=each, position=1, found=good) for each, good in found.items()),
        )  # fmt: skip
        rig.say("observation_manager", messages.CALIBRATION_FINISHED, report)
        assert rig.state == State.OBSERVING

    with _rig(focus="2", focus_filters="r g i") as rig:
        rig.safe()
        focus(rig, "one", r=True, g=True, i=False)
        rig.agent.state.focused -= 1801
        focus(rig, "one+", r=True, i=True)
        rig.agent.state.focused -= 1801
        rig.restart()
        rig.safe()
        rig.say("dome", messages.DEVICE_STATE, DeviceState(instrument="dome", state="open"))
        rig.agent.state.focused -= 7200
        focus(rig, "one++", r=True)
    assert [each.filters for each in rig.calibrations] == [("r", "g", "i"), ("r", "i"), ("r",)]


class Nights(RuleBasedStateMachine):
    """Anybody says anything at any time, and the majordome dies at any time."""

    @initialize(hours=st.sampled_from((-8.0, -5.6, 0.0, 5.0)), roof=st.booleans(), calibrating=st.booleans())
    def begin(self, hours: float, roof: bool, calibrating: bool) -> None:
        self._folder = tempfile.TemporaryDirectory()
        start = datetime.fromtimestamp(MIDNIGHT.timestamp() + 3600 * hours, UTC)
        options: dict[str, Any] = {}
        if calibrating:
            options = {"flats": "r", "focus": "1", "cool": "-10", "biases": "3", "darks": "2"}
        self.rig = MajordomeRig(Path(self._folder.name), start, roof=roof, **options)
        self.safe_until, self.number, self.seen = -1.0, 0, 0
        self.safe_now = False

    @rule()
    def weather_is_safe(self) -> None:
        self.safe_now, self.safe_until = True, self.rig.clock.monotonic() + LEASE
        self.rig.safe()

    @rule()
    def weather_is_unsafe(self) -> None:
        self.safe_now = False
        orders = self.rig.unsafe()
        assert self.rig.state not in OPEN_STATES
        assert ("dome", messages.OPEN) not in orders

    @rule(alert=st.booleans())
    def something_is_planned(self, alert: bool) -> None:
        self.number += 1
        self.rig.plan(f"obs-{self.number}", alert="ivo://x" if alert else "")

    @rule()
    def nothing_is_planned(self) -> None:
        self.rig.say("scheduler", messages.PLAN_UPDATED, Plan(()))

    @rule(name=st.sampled_from((messages.OBSERVATION_FINISHED, messages.OBSERVATION_FAILED)))
    def an_observation_ends(self, name: str) -> None:
        running = self.rig.agent.state.running
        self.rig.say("observation_manager", name, ObservationReport(observation=running.id if running else "none"))

    @rule(name=st.sampled_from((messages.CALIBRATION_FINISHED, messages.CALIBRATION_FAILED)))
    def a_calibration_ends(self, name: str) -> None:
        ended(self.rig, "focus", name)

    @rule()
    def the_detector_is_cold(self) -> None:
        self.rig.say("camera", messages.COOLING_FINISHED, messages.CoolingReport(celsius=-10.0))

    @rule(name=st.sampled_from((messages.DOME_OPENED, messages.DOME_CLOSED)))
    def the_dome_says(self, name: str) -> None:
        self.rig.say("dome", name, Reason(reason="it says so"))

    @rule(what=st.sampled_from(("open", "close", "refused")), lost=st.booleans())
    def the_dome_fails(self, what: Any, lost: bool) -> None:
        self.rig.say("dome", messages.DOME_FAILED, DomeFailure(reason=f"{what} failed", what=what, lost=lost))

    @rule(reason=st.sampled_from(("", "the guardian is silent")), state=st.sampled_from(("open", "closed")))
    def the_dome_answers(self, reason: str, state: str) -> None:
        self.rig.say("dome", messages.KEPT_OPEN, DomeReport(state=state, may_open=reason))

    @rule(name=st.sampled_from((messages.PARK_FINISHED, messages.PARK_FAILED)))
    def the_mount_says(self, name: str) -> None:
        payload = messages.Failure(reason="stuck") if name == messages.PARK_FAILED else None
        self.rig.say("telescope", name, payload)

    @rule(
        device=st.sampled_from(("dome", "telescope", "camera")),
        state=st.sampled_from(("open", "closed", "unknown", "tracking", "parked", "exposing")),
        reason=st.sampled_from(("", "no lease")),
    )
    def a_device_tells(self, device: str, state: str, reason: str) -> None:
        self.rig.say(device, messages.DEVICE_STATE, DeviceState(instrument=device, state=state, reason=reason))

    @precondition(lambda self: self.rig.holds.hold is None)
    @rule()
    def a_person_holds(self) -> None:
        self.rig.agent.holds.set("anna@dome", "a visitor")
        self.rig.say("program:person", messages.HOLD, messages.HoldOrder(why="a visitor", who="anna@dome"))
        assert self.rig.state == State.HELD

    @precondition(lambda self: self.rig.holds.hold is not None)
    @rule()
    def a_person_releases(self) -> None:
        self.rig.agent.holds.release()
        self.rig.say("program:person", messages.RELEASE, messages.ReleaseOrder(who="anna@dome"))
        assert self.rig.state != State.HELD

    @rule(seconds=st.sampled_from((1.0, 19.0, 61.0, 310.0, 4 * 3600.0)))
    def time_passes(self, seconds: float) -> None:
        self.rig.reactor.pump([20.0] * int(seconds // 20) + [seconds % 20])

    @rule()
    def it_dies_and_begins_anew(self) -> None:
        self.rig.restart()
        self.seen = 0
        self.safe_now = False

    @invariant()
    def it_opens_only_when_it_is_safe_and_nobody_holds(self) -> None:
        orders, self.seen = self.rig.agent.orders[self.seen :], len(self.rig.agent.orders)
        if ("dome", messages.OPEN) in orders or ("observation_manager", messages.OBSERVE) in orders:
            assert self.safe_now
            assert self.rig.holds.hold is None

    @invariant()
    def every_cell_that_came_up_is_in_the_table(self) -> None:
        assert self.rig.agent.machine.impossible == 0
        assert self.rig.host.turns.failed == 0

    @invariant()
    def what_runs_under_a_shut_dome_was_stopped(self) -> None:
        if self.rig.state not in OPEN_STATES:
            assert self.rig.agent.state.running is None

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.stop()
            self._folder.cleanup()


Nights.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestNights = Nights.TestCase
