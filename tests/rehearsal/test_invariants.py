"""The rules by which a night is judged: each can be broken, and none is while its bound is kept."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from pyros import config as configuration
from pyros import messages, simulators
from pyros.config import Config
from pyros.journal import Effects, Outgoing, Received
from pyros.planning.visibility import place_overhead
from pyros.rehearsal.deliveries import Deliveries
from pyros.rehearsal.invariants import Invariants
from pyros.simulators import Description
from pyros.site import Site

MIDNIGHT = datetime(2026, 3, 20, 23, 44, tzinfo=UTC)
NOON = datetime(2026, 3, 20, 11, 44, tzinfo=UTC)
HIGH = 65.0


def _devices() -> dict[str, Description]:
    folder = configuration.demo_file().parent / "observatory" / "simulators"
    return {
        name: simulators.load(folder / f"{name}.yaml") for name in ("dome", "telescope", "camera", "weather", "safety")
    }


class FakeNight:
    """A night of which everything can be set."""

    def __init__(self, *, roof: bool = False, open_air: bool = False, cover: bool = False) -> None:
        config = configuration.load(configuration.demo_file())
        agents = dict(config.agents)
        agents["dome"] = msgspec.structs.replace(agents["dome"], roof=roof)
        agents["telescope"] = msgspec.structs.replace(agents["telescope"], open_air=open_air)
        if open_air:
            del agents["dome"]
        self.config: Config = msgspec.structs.replace(config, agents=agents)
        self.site = Site.load(config.site)
        self.devices = _devices()
        if cover:
            self.devices["cover"] = simulators.load(
                configuration.demo_file().parent / "observatory/simulators/cover.yaml"
            )
        if open_air:
            del self.devices["dome"]
        self.now = 1000.0
        self.begin = MIDNIGHT
        self.dead: set[str] = set()
        self.born: dict[str, float] = {}
        self.broken: set[frozenset[str]] = set()
        self.stalled: set[frozenset[str]] = set()
        self.sick: set[str] = set()
        self.stiff: set[str] = set()
        self.states = {"dome": "closed", "telescope": "parked", "camera": "idle", "cover": "closed"}
        self.readings = {"rain": "0", "wind": "3", "humidity": "50", "cloud": "0.1", "temperature": "11",
                         "dew_point": "1", "target": "", "safe": "1", "brightness": "0"}  # fmt: skip
        self.violations: dict[str, str] = {}
        self.offset = 0.0
        self.full_disk = self.held = False

    def report(self, rule: str, text: str) -> None:
        self.violations.setdefault(rule, text)

    @property
    def quiet(self) -> bool:
        return not (self.dead or self.broken or self.sick)

    def true_time(self) -> float:
        return self.begin.timestamp() + self.now

    def clock_offset(self) -> float:
        return self.offset

    def alive_since(self, process: str) -> float | None:
        return None if process in self.dead else self.born.get(process, 0.0)

    def link(self, one: str, other: str) -> bool:
        return frozenset((one, other)) not in self.broken | self.stalled

    def waits(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self.stalled

    def faulty(self, device: str) -> bool:
        return device in self.sick

    def frozen(self, device: str) -> bool:
        return device in self.stiff

    def state(self, device: str) -> str:
        return self.states.get(device, "")

    def truth(self, device: str, quantity: str) -> str:
        return self.readings[quantity]

    def place(self, altitude: float = HIGH) -> tuple[float, float]:
        when = datetime.fromtimestamp(self.true_time(), UTC)
        return place_overhead(self.site, when, altitude, 120.0)


class Judge:
    """A night and its rules."""

    def __init__(self, **keys: bool) -> None:
        self.night = FakeNight(**keys)
        self.rules = Invariants(self.night)
        self.rules.look()

    def open(self) -> None:
        """Open the dome, with both leases, in the middle of the night."""
        self.rules.delivered("monitoring", "dome", b'"Weather safe"')
        self.rules.delivered("majordome", "dome", b'"Open"')
        self.rules.requested("dome", "#1 DO open")
        self.night.states["dome"] = "open"
        self.rules.look()

    def pass_time(self, seconds: float) -> None:
        step = 1 if seconds < 300 else 10
        for _ in range(round(seconds / step)):
            self.night.now += step
            self.rules.look()

    def must_close(self) -> None:
        """Check that the dome may be open for 30 s from now on, and not for 40."""
        self.pass_time(30)
        assert self.broken() == []
        self.pass_time(10)
        assert self.broken() == ["open when told unsafe"]

    def broken(self) -> list[str]:
        return list(self.night.violations)


@pytest.fixture
def judge() -> Judge:
    judge = Judge()
    judge.pass_time(100)  # whatever was out of order is long ago
    return judge


def test_nothing_open_is_at_rest_but_a_telescope_in_the_open() -> None:
    judge = Judge()
    assert judge.rules.at_rest
    judge.night.states["dome"] = "opening"
    judge.rules.look()
    assert not judge.rules.at_rest
    assert not Judge(open_air=True).rules.at_rest


def test_an_ordinary_night_breaks_nothing(judge: Judge) -> None:
    judge.open()
    judge.night.states["telescope"] = "tracking"
    ra, dec = judge.night.place()
    judge.rules.requested("telescope", f"#2 DO slew ra={ra} dec={dec}")
    judge.night.readings["target"] = f"{ra} {dec}"
    judge.rules.requested("camera", "#3 DO expose seconds=60")
    judge.pass_time(600)
    assert judge.broken() == []


@pytest.mark.parametrize(("device", "quantity", "unsafe"), [("weather", "rain", "1"), ("safety", "safe", "0")])
def test_nobody_closes_for_what_a_frozen_device_hides(judge: Judge, device: str, quantity: str, unsafe: str) -> None:
    judge.open()
    judge.night.stiff.add(device)
    judge.night.readings[quantity] = unsafe
    judge.pass_time(600)
    assert judge.broken() == []
    judge.night.stiff.discard(device)
    judge.must_close()


def test_a_station_that_freezes_in_the_rain_tells_of_it(judge: Judge) -> None:
    judge.open()
    judge.night.readings["rain"] = "1"
    judge.pass_time(5)
    judge.night.stiff.add("weather")
    judge.pass_time(40)
    assert judge.broken() == ["open when told unsafe"]


@pytest.mark.parametrize(
    ("quantity", "value"),
    [("rain", "1"), ("wind", "15.1"), ("humidity", "90.5"), ("cloud", "0.9"), ("dew_point", "9.1")],
)
def test_a_dome_that_stays_open_in_bad_weather(judge: Judge, quantity: str, value: str) -> None:
    judge.open()
    judge.night.readings[quantity] = value
    judge.must_close()


def test_a_telescope_in_the_open_may_be_out_while_it_hears_so_by_another_connection() -> None:
    judge = Judge(open_air=True)
    judge.night.states["telescope"] = "tracking"
    judge.night.broken.add(frozenset(("majordome", "telescope")))
    for _ in range(10):
        judge.pass_time(20)
        judge.rules.delivered("majordome", "telescope", b'"Keep open"')
    assert judge.broken() == []
    judge.pass_time(90)
    assert judge.broken() == ["in the open without majordome"]


@pytest.mark.parametrize("what", ["rain", "majordome", "monitoring", "day"])
def test_a_telescope_in_the_open_is_judged_as_an_open_dome(what: str) -> None:
    judge = Judge(open_air=True)
    judge.night.states["telescope"] = "tracking"
    judge.pass_time(600)
    assert judge.broken() == []
    if what == "rain":
        judge.night.readings["rain"] = "1"
    elif what == "day":
        judge.night.begin = NOON
    else:
        judge.night.broken.add(frozenset((what, "telescope")))
    judge.pass_time(70)
    assert judge.broken() == []
    judge.pass_time(20)
    words = {"rain": "when unsafe", "day": "by day"}
    assert judge.broken() == [f"in the open {words.get(what, f'without {what}')}"]
    judge.night.violations.clear()
    judge.night.states["telescope"] = "parked"
    judge.pass_time(600)
    assert judge.broken() == []


def test_without_monitoring_the_lease_is_the_bound(judge: Judge) -> None:
    judge.open()
    judge.night.dead.add("monitoring")
    judge.night.readings["rain"] = "1"
    judge.pass_time(67)
    assert judge.broken() == []
    judge.pass_time(3)
    assert set(judge.broken()) == {"open when unsafe", "open without monitoring"}


def test_a_majordome_that_is_cut_off_keeps_nothing_open(judge: Judge) -> None:
    judge.open()
    judge.night.broken.add(frozenset(("majordome", "dome")))
    judge.pass_time(67)
    assert judge.broken() == []
    judge.pass_time(3)
    assert judge.broken() == ["open without majordome"]


def test_words_that_have_waited_count_from_when_they_were_said(judge: Judge) -> None:
    way = frozenset(("majordome", "dome"))
    judge.open()
    judge.night.stalled.add(way)
    judge.pass_time(20)
    judge.night.dead.add("majordome")
    judge.pass_time(10)
    judge.night.stalled.clear()  # its last word, of when it died, arrives
    judge.pass_time(57)
    assert judge.broken() == []
    judge.pass_time(3)
    assert judge.broken() == ["open without majordome"]


def test_words_that_wait_on_keep_nothing_open(judge: Judge) -> None:
    judge.open()
    judge.night.stalled.add(frozenset(("majordome", "dome")))
    judge.pass_time(20)
    judge.night.dead.add("majordome")
    judge.pass_time(47)
    assert judge.broken() == []
    judge.pass_time(3)
    assert judge.broken() == ["open without majordome"]


@pytest.mark.parametrize("what", ["dead", "cut off", "sick"])
def test_the_bound_begins_anew_with_whoever_can_close(judge: Judge, what: str) -> None:
    night = judge.night
    judge.open()
    night.readings["rain"] = "1"
    night.dead.add("guardian")
    {"dead": night.dead, "sick": night.sick}.get(what, set()).add("dome")
    if what == "cut off":
        night.broken.add(frozenset(("dome", "dome:device")))
    judge.pass_time(600)
    assert judge.broken() == []
    night.dead.discard("dome")
    night.sick.clear()
    night.broken.clear()
    judge.must_close()


def test_the_guardian_closes_when_the_agent_is_dead(judge: Judge) -> None:
    judge.open()
    judge.night.dead.add("dome")
    judge.pass_time(27)
    assert judge.broken() == []
    judge.pass_time(3)
    assert judge.broken() == ["the guardian does not close"]


def test_a_dome_that_is_open_by_day_or_under_a_hold() -> None:
    by_day, held = Judge(), Judge()
    by_day.night.begin = NOON
    held.night.held = True
    for judge in (by_day, held):
        judge.open()
        judge.pass_time(26)
        assert judge.broken() == []
        judge.pass_time(3)
    assert by_day.broken() == ["open by day"]
    assert held.broken() == ["open under hold"]


def test_opening_needs_leases_heard_in_this_life(judge: Judge) -> None:
    judge.open()
    judge.night.states["dome"] = "closed"
    judge.night.now += 10
    judge.night.born["dome"] = judge.night.now
    judge.rules.requested("dome", "#4 DO open")
    assert judge.broken() == ["opened without leave"]


def test_opening_needs_leases_that_run_still(judge: Judge) -> None:
    judge.open()
    judge.night.states["dome"] = "closed"
    judge.pass_time(100)
    judge.rules.requested("dome", "#4 DO open")
    assert judge.broken() == ["opened without leave"]


@pytest.mark.parametrize(("pause", "broken"), [(2.9, ["restless"]), (3.3, [])])
def test_a_mount_is_not_sent_to_and_fro(judge: Judge, pause: float, broken: list[str]) -> None:
    ra, dec = place_overhead(judge.night.site, MIDNIGHT)
    for _ in range(20):
        judge.rules.requested("telescope", f"DO slew ra={ra} dec={dec}")
        judge.night.now += pause
    assert judge.broken() == broken


def test_slews_below_the_horizon_and_into_the_sun(judge: Judge) -> None:
    ra, dec = judge.night.place(altitude=-5)
    judge.rules.requested("telescope", f"DO slew ra={ra} dec={dec}")
    assert judge.broken() == ["slew below the horizon"]
    judge.night.begin = NOON
    judge.rules.requested("telescope", "DO slew ra=0.5 dec=1")  # at the equinox the Sun is at 0, 0
    assert "slew into the Sun" in judge.broken()


def test_with_a_wrong_clock_nobody_knows_where_the_sky_is(judge: Judge) -> None:
    judge.night.offset = 3600.0
    ra, dec = judge.night.place(altitude=-5)
    judge.rules.requested("telescope", f"DO slew ra={ra} dec={dec}")
    assert judge.broken() == []


def test_roofs_and_mounts() -> None:
    judge = Judge(roof=True)
    judge.pass_time(100)
    ra, dec = judge.night.place()
    judge.rules.requested("telescope", f"DO slew ra={ra} dec={dec}")
    assert judge.broken() == ["slew under the roof"]
    judge.open()
    judge.night.states |= {"dome": "closing", "telescope": "tracking"}
    judge.rules.look()
    assert judge.broken() == ["slew under the roof", "roof onto the mount"]


def test_a_roof_closes_when_the_mount_cannot_be_parked() -> None:
    judge = Judge(roof=True)
    judge.open()
    judge.night.sick.add("telescope")
    judge.pass_time(100)
    judge.night.states |= {"dome": "closing", "telescope": "tracking"}
    judge.rules.look()
    assert judge.broken() == []


@pytest.mark.parametrize("dead", [{"dome"}, {"dome", "guardian"}], ids=["guardian", "nobody"])
def test_the_guardian_of_a_roof_parks_the_mount_first(dead: set[str]) -> None:
    judge = Judge(roof=True)
    judge.open()
    judge.night.dead = dead
    judge.pass_time(20)
    judge.night.states |= {"dome": "closing", "telescope": "slewing"}
    judge.rules.look()
    assert judge.broken() == ([] if "guardian" in dead else ["roof onto the mount"])


@pytest.mark.parametrize("also", ["", "the link", "the mount"])
def test_a_roof_has_a_mount_parked_whose_agent_is_dead(also: str) -> None:
    judge = Judge(roof=True)
    judge.open()
    judge.night.dead = {"telescope"}
    if also == "the link":
        judge.night.broken = {frozenset(("dome", "telescope:device"))}
    elif also:
        judge.night.sick = {"telescope"}
    judge.pass_time(100)
    judge.night.states |= {"dome": "closing", "telescope": "tracking"}
    judge.rules.look()
    assert judge.broken() == ([] if also else ["roof onto the mount"])


def test_exposures_need_a_mount_that_tracks_and_an_open_dome(judge: Judge) -> None:
    judge.open()
    judge.rules.requested("camera", "DO expose seconds=60")
    assert judge.broken() == ["exposing without tracking"]
    judge.night.states |= {"telescope": "tracking", "dome": "closed"}
    judge.night.readings["target"] = "10 20"
    judge.rules.requested("camera", "DO expose seconds=60 dark=1")
    assert len(judge.broken()) == 1, "darks need neither"
    judge.rules.requested("camera", "DO expose seconds=60")
    assert judge.broken()[1:] == ["exposing in a closed dome"]


def test_what_the_dome_could_not_tell_on_a_full_disk_nobody_could_know(judge: Judge) -> None:
    judge.night.states |= {"telescope": "tracking", "dome": "closed"}
    judge.night.readings["target"] = "10 20"
    judge.night.full_disk = True
    judge.pass_time(10)
    judge.night.full_disk = False
    judge.rules.requested("camera", "DO expose seconds=60")
    assert judge.broken() == []
    judge.pass_time(61)
    judge.rules.requested("camera", "DO expose seconds=60")
    assert judge.broken() == ["exposing in a closed dome"]


def test_the_sky_is_not_exposed_behind_a_cover() -> None:
    judge = Judge(cover=True)
    judge.open()
    judge.night.states["telescope"] = "tracking"
    judge.night.readings["target"] = "10 20"
    judge.rules.requested("camera", "DO expose seconds=60 dark=1")
    judge.night.readings["brightness"] = "255"
    judge.rules.requested("camera", "DO expose seconds=60")
    judge.night.readings["brightness"] = "0"
    judge.night.states["cover"] = "open"
    judge.rules.requested("camera", "DO expose seconds=60")
    assert judge.broken() == [], "darks and flats of the lamp need a closed one"
    judge.night.states["cover"] = "moving"
    judge.rules.requested("camera", "DO expose seconds=60")
    assert judge.broken() == ["exposing behind the cover"]


def test_what_the_covers_agent_cannot_know_is_not_judged() -> None:
    judge = Judge(cover=True)
    judge.open()
    judge.night.states["telescope"] = "tracking"
    judge.night.readings["target"] = "10 20"
    judge.night.sick = {"cover"}
    judge.pass_time(2)
    judge.rules.requested("camera", "DO expose seconds=60")
    assert judge.broken() == []


def test_a_cover_that_is_left_open_is_told() -> None:
    judge = Judge(cover=True)
    judge.night.states["cover"] = "open"
    judge.rules.judge_end()
    assert judge.broken() == ["not closed and parked"]


def test_a_camera_that_exposes_is_told_nothing(judge: Judge) -> None:
    judge.night.states["camera"] = "exposing"
    judge.rules.requested("camera", "DO expose seconds=60 dark=1")
    assert judge.broken() == ["two commands at once"]


def test_tests_and_retracted_alerts_are_not_observed(judge: Judge) -> None:
    night, rules = judge.night, judge.rules
    judge.open()
    ra, dec = night.place()
    rules.forbidden("ivo://a#test", ra, dec)
    rules.requested("telescope", f"DO slew ra={ra} dec={dec}")
    assert judge.broken() == ["pointed at a test"]
    ra, dec = night.place(altitude=50)
    rules.wanted("ivo://a#burst", ra, dec)
    rules.retracted("ivo://a#burst")
    night.states["telescope"] = "tracking"
    night.readings["target"] = f"{ra} {dec}"
    rules.requested("camera", "DO expose seconds=6")
    assert len(judge.broken()) == 1, "the retraction may be on its way"
    judge.pass_time(25)
    rules.requested("camera", "DO expose seconds=6")
    assert judge.broken()[1:] == ["observing a retracted alert"]


def test_what_can_be_observed_is_not_left_waiting(judge: Judge) -> None:
    judge.pass_time(1300)
    judge.rules.planned("obs-1")
    judge.pass_time(1700)
    assert judge.broken() == []
    judge.pass_time(1400)
    assert judge.broken() == ["starving"]


def test_nothing_starves_in_bad_weather(judge: Judge) -> None:
    judge.rules.planned("obs-1")
    judge.night.readings["wind"] = "20"
    judge.pass_time(5000)
    assert judge.broken() == []


def become_unsafe(judge: Judge, times: int, every: float, *, reason: str) -> None:
    """Have monitoring say so often that it was safe and is unsafe, with rain in truth or a station out of order."""
    for _ in range(times):
        judge.rules.judged_weather(True)
        judge.night.readings["rain"] = str(int(reason == "rain"))
        judge.night.sick = {"weather"} if reason == "station" else set()
        judge.pass_time(10)
        judge.rules.judged_weather(False)
        judge.night.readings["rain"], judge.night.sick = "0", set()
        judge.pass_time(every)


@pytest.mark.parametrize("reason", ["rain", "station"])
def test_what_was_unsafe_six_times_stays_shut_until_a_release(judge: Judge, reason: str) -> None:
    judge.rules.planned("obs-1")
    become_unsafe(judge, 6, 1500, reason=reason)
    judge.pass_time(6000)
    assert judge.broken() == []
    judge.night.held = True
    judge.pass_time(10)
    judge.night.held = False
    judge.pass_time(3100)
    assert judge.broken() == ["starving"], "a person has released it"


def test_what_was_unsafe_three_times_in_an_hour_stays_shut_for_an_hour(judge: Judge) -> None:
    judge.rules.planned("obs-1")
    become_unsafe(judge, 3, 900, reason="rain")
    judge.pass_time(5400)
    assert judge.broken() == []
    judge.pass_time(600)
    assert judge.broken() == ["starving"]


@pytest.mark.parametrize(("times", "reason"), [(5, "rain"), (6, "none")])
def test_nothing_stays_shut_for_less(judge: Judge, times: int, reason: str) -> None:
    """Neither five changes to unsafe in a night are enough, nor six of which none had a reason."""
    judge.pass_time(600)
    judge.rules.planned("obs-1")
    become_unsafe(judge, times, 1900 if reason == "rain" else 100, reason=reason)
    judge.pass_time(3000)
    assert judge.broken() == ["starving"]


def test_readings_between_both_limits_keep_shut_only_what_was_unsafe(judge: Judge) -> None:
    judge.rules.planned("obs-1")
    judge.rules.judged_weather(True)
    judge.night.readings["wind"] = "13"
    judge.rules.judged_weather(False)
    judge.pass_time(6000)
    assert judge.broken() == []
    judge.rules.judged_weather(True)
    judge.pass_time(4300)
    assert judge.broken() == ["starving"]


def test_an_alarm_in_a_calm_night_is_a_false_one(judge: Judge) -> None:
    judge.pass_time(600)
    judge.rules.alarmed("the dome does not close")
    assert judge.broken() == [], "it may be about what was out of order at the beginning"
    judge.pass_time(1000)
    judge.rules.alarmed("the dome does not close")
    assert judge.broken() == ["false alarm"]


@pytest.mark.parametrize("what", ["rain", "a dead process", "a hold"])
def test_an_alarm_about_trouble_is_no_false_one(judge: Judge, what: str) -> None:
    judge.pass_time(4000)
    judge.night.readings["rain"] = str(int(what == "rain"))
    judge.night.dead = {"majordome"} if what == "a dead process" else set()
    judge.night.held = what == "a hold"
    judge.pass_time(100)
    judge.night.readings["rain"] = "0"
    judge.night.dead = set()
    judge.pass_time(1200)
    judge.rules.alarmed("the dome does not close")
    assert judge.broken() == []


# Messages ------------------------------------------------------------------------------------------------------------


def sent(*numbers: int) -> Effects:
    effects = Effects()
    effects.outgoing = [Outgoing("b", number, f"a-{number}", "Plan again", 0.0, b"{}") for number in numbers]
    return effects


def taken(*numbers: int) -> Effects:
    effects = Effects()
    effects.received = [Received(f"a-{number}", "Plan again", "a", 0.0, 0.0, b"{}") for number in numbers]
    effects.seen = {("a", "epoch"): max(numbers)}
    return effects


@pytest.fixture
def wire() -> tuple[Deliveries, list[str]]:
    told: list[str] = []
    deliveries = Deliveries(lambda rule, text: told.append(text))
    deliveries.committed("a", "epoch", sent(1, 2, 3, 4))
    return deliveries, told


Wire = tuple[Deliveries, list[str]]


def test_messages_that_are_taken_once_and_in_order(wire: Wire) -> None:
    deliveries, told = wire
    deliveries.committed("b", "other", taken(1, 2))
    deliveries.committed("b", "other", taken(4))  # 3 was refused
    assert told == []
    assert deliveries.missing(deliveries.sent()) == []
    assert deliveries.messages == 4


@pytest.mark.parametrize("numbers", [(2, 1), (1, 1), (5,), (2, 3, 2)])
def test_messages_that_come_twice_or_in_another_order(wire: Wire, numbers: tuple[int, ...]) -> None:
    deliveries, told = wire
    deliveries.committed("b", "other", taken(*numbers))
    assert told


def test_a_message_that_came_before_comes_again(wire: Wire) -> None:
    deliveries, told = wire
    deliveries.committed("b", "other", taken(1, 2, 3))
    deliveries.committed("b", "other", taken(2))
    assert told


def test_messages_that_are_lost(wire: Wire) -> None:
    deliveries, told = wire
    deliveries.committed("b", "other", taken(1, 2))
    assert told == []
    assert deliveries.missing(deliveries.sent()) == ["b has not taken 2 of a, the first is Plan again"]


def test_numbers_with_a_hole(wire: Wire) -> None:
    deliveries, told = wire
    deliveries.committed("a", "epoch", sent(6))
    assert told == ["a numbers Plan again to b 6 after 4"]


def test_decisions_alarms_and_failures_are_heard() -> None:
    deliveries = Deliveries(lambda *_: None)
    effects = Effects()
    decided = messages.AlertDecided(alert="ivo://a#1", event="e", accepted=False, reason="test")
    alarm = messages.AlarmRaised(source="dome", key="k", text="help")
    for number, (name, payload) in enumerate(((messages.ALERT_DECIDED, decided), (messages.ALARM, alarm)), 1):
        effects.outgoing.append(Outgoing("monitoring", number, str(number), name, 0.0, msgspec.json.encode(payload)))
    effects.received.append(Received("1", "Plan again", "x", 0.0, 0.0, b"{}", "Traceback\nValueError: no"))
    deliveries.committed("a", "epoch", effects)
    assert deliveries.decided == {"ivo://a#1"}
    assert deliveries.alarms == ["help"]
    assert deliveries.failed == ["a: Plan again: ValueError: no"]
