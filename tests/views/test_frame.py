"""The frame: right while all is well, and there whatever state the journals are in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros import messages, views
from pyros.agents.alert_manager import AlertManagerState
from pyros.agents.dome import DomeState
from pyros.agents.monitoring import MonitoringState
from pyros.agents.night_state import MajordomeState
from pyros.agents.night_table import State
from pyros.agents.observing import ObservationManagerState
from pyros.agents.safety_rules import Broken
from pyros.agents.scheduler import SchedulerState
from pyros.config import Config, load
from pyros.journal import Journal, JournalReader, running
from pyros.messages import Exposures, Observation, Plan, PlannedObservation, Reason, Telemetry, WeatherReading
from pyros.nights import diary, weather_log
from pyros.nights.diary import DiaryLine
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.views import Observed, states
from pyros.views.night import WORDS
from pyros.views.plan import around_now, night_name_of, tonight
from pyros.views.weather import weather
from tests.views.written import NAMES, commit, configuration, received, write

AGENTS_STATES = (
    (states.Monitoring, MonitoringState), (states.Majordome, MajordomeState), (states.SeenScheduler, SchedulerState),
    (states.ObservationManager, ObservationManagerState), (states.SeenInstrument, DomeState),
    (states.AlertManager, AlertManagerState), (states.BrokenRule, Broken),
)  # fmt: skip
READING = WeatherReading(temperature=8.0, humidity=95.0, wind=2.0, rain=False, cloud=0.1, dew_point=7.5)
M31 = Observation(
    id="m31", target="M 31", ra=10.68, dec=41.27, exposures=(Exposures("r", 60.0, 3), Exposures("i", 30.0, 2)),
)  # fmt: skip


def observing(config: Config) -> None:
    """Write an observatory that takes its fourth image."""
    plan = Plan((PlannedObservation(observation=M31, altitude=60.0, reason="up", start=1.0, end=2.0),), start_now="m31")
    lines = [
        DiaryLine("2026-03-20", 1.0, "weather", "safe"), DiaryLine("2026-03-20", 2.0, "state", "observing", "open"),
    ]  # fmt: skip
    opened = received(messages.DOME_OPENED, Reason("for m31"), taken=50.0)
    commit(config, "majordome", MajordomeState(state=State.OBSERVING, plan=plan, night="2026-03-20"), [opened],
           [diary.prepare, *(partial(_diary, line=line) for line in lines)])  # fmt: skip
    commit(config, "observation_manager", ObservationManagerState(current=M31, phase="exposing", done=3))
    telemetry = {
        "dome": Telemetry("dome", "opening", 40.0, {"azimuth": 90.0}),
        "telescope": Telemetry("telescope", "tracking", 40.0, {"ra": 10.68, "dec": 41.27}),
    }
    commit(config, "monitoring", MonitoringState(safe=True, telemetry=telemetry, last=READING))


def _diary(db: sqlite3.Connection, line: DiaryLine) -> None:
    diary.write(db, line)


@pytest.mark.parametrize(("ours", "agents"), AGENTS_STATES)
def test_views_read_what_the_agents_have(ours: type, agents: type) -> None:
    assert set(get_type_hints(ours)) <= set(get_type_hints(agents)) | {"shutter"}
    msgspec.json.decode(msgspec.json.encode(agents() if agents is not Broken else Broken("x")), type=ours)


def test_every_state_of_the_night_has_its_word() -> None:
    assert set(WORDS) == {*State, ""}


def test_a_frame_tells_what_is_observed(config: Config, observed: Observed) -> None:
    observing(config)
    frame = views.frame(observed, 7)
    night = frame.night
    assert (frame.number, night.state) == (7, "observing")
    target = night.target
    assert target is not None
    assert (target.image, target.of, target.filter, target.seconds) == (4, 5, "i", 30.0)
    assert night.progress == 0.6
    assert night.dome is not None
    assert (night.dome.state, night.dome.azimuth, night.dome.since, night.dome.said) == ("open", 90.0, 50.0, 50.0)
    listed = next(device for device in frame.devices if device.name == "dome")
    assert (listed.state, listed.said) == ("open", 50.0)
    assert night.telescope is not None
    assert night.telescope.ra == 10.68
    assert [quantity.name for quantity in frame.weather.quantities if quantity.bad] == ["humidity", "spread"]
    msgspec.json.encode(frame)


def test_a_dome_is_open_since_it_was_opened(config: Config, observed: Observed) -> None:
    observing(config)
    told = Telemetry("dome", "open", 90.0, {"azimuth": 90.0, "lease": 52.5})
    commit(config, "monitoring", MonitoringState(safe=True, telemetry={"dome": told}))
    dome = views.frame(observed).night.dome
    assert dome is not None
    assert (dome.state, dome.since, dome.said, dome.lease) == ("open", 50.0, 90.0, 142.5)
    commit(
        config,
        "monitoring",
        MonitoringState(safe=True, telemetry={"dome": msgspec.structs.replace(told, state="closed")}),
    )
    dome = views.frame(observed).night.dome
    assert dome is not None
    assert (dome.state, dome.since, dome.said) == ("closed", None, 90.0)


def test_who_does_not_run_is_never_believed(config: Config, observed: Observed) -> None:
    observing(config)
    night = views.frame(observed).night
    assert (night.word, night.safety.safe, night.up) == ("STOPPED", None, 0)
    assert set(night.down) == {*NAMES, "broker"}
    held = [Journal(config.journal(name)) for name in ("majordome", "monitoring")]
    try:
        night = views.frame(observed).night
        assert (night.word, night.safety.safe, night.up) == ("OBSERVING", True, 2)
        assert night.text == "M 31, image 4 of 5, i 30 s"
        assert night.safety.since == 1.0
        commit(config, "observation_manager", ObservationManagerState())
        night = views.frame(observed).night
        assert (night.word, night.state, night.text) == ("WAITING", "observing", "nothing more is planned")
    finally:
        for journal in held:
            journal.close()
    assert views.frame(observed).night.word == "STOPPED"


def test_nobody_hinders_an_agent_by_asking_whether_it_runs(config: Config) -> None:
    path = config.journal("dome")
    for _ in range(50):
        assert running([path])[path] is not True
        Journal(path).close()


def test_what_keeps_it_unsafe_is_told_whole(config: Config, observed: Observed) -> None:
    steady = observed.clock.monotonic()
    bad = {"rain": Broken("it rains", None, 60.0), "wind": Broken("wind 20 m/s, the limit is 15", steady, 900.0)}
    with closing(Journal(config.journal("monitoring"))) as journal:
        write(journal, MonitoringState(safe=False, broken=bad))
        assert views.frame(observed).night.safety.text == "it rains"
        write(journal, MonitoringState(safe=False, broken={"wind": bad["wind"]}))
        safety = views.frame(observed).night.safety
        assert safety.safe is False
        assert safety.good_in is not None
        assert 800 < safety.good_in <= 900
        assert "wind 20 m/s, the limit is 15" in safety.text


def test_an_observatory_that_never_ran_has_a_frame(observed: Observed) -> None:
    night = views.frame(observed).night
    assert (night.word, night.text) == ("NOT RUN YET", "no majordome has run here yet")
    assert not observed.problems


def test_an_agent_that_is_not_configured_is_missed_by_nobody(tmp_path: Path) -> None:
    observed = views.observed(configuration(tmp_path, ("telescope",)))
    assert views.frame(observed).night.dome is None
    assert views.frame(observed).night.word == "NO MAJORDOME"


def two_telescopes(folder: Path) -> Config:
    """Write the configuration of two telescopes, each in a dome, under one weather."""
    device = "driver = native\naddress = tcp:127.0.0.1:1\n"
    text = "[observatory]\nname = two\n[central_scheduler]\nport = 5000\n"
    text += f"[weather]\nport = 5100\n{device}" + "".join(
        f"[{kind} {unit}]\nport = {port}\n{device if kind in ('telescope', 'dome') else ''}"
        for port, (kind, unit) in enumerate(
            product(("telescope", "dome", "majordome", "monitoring"), ("east", "west")), 5001
        )
    )
    (folder / "a.ini").write_text(text)
    return load(folder / "a.ini")


def test_several_telescopes_have_nights_of_their_own(tmp_path: Path) -> None:
    config = two_telescopes(tmp_path)
    commit(config, "majordome east", {"state": "ready"})
    journals = [Journal(config.journal(name)) for name in ("monitoring east", "monitoring west", "majordome east")]
    write(journals[0], {"safe": True, "alarms": [{"source": "dome east", "key": "k", "text": "jams", "since": 2.0}]})
    write(journals[1], {"safe": False, "shut": True})
    seen = views.observed(config)
    frame = views.frame(seen)
    night = frame.night
    assert (night.word, night.text) == ("2 TELESCOPES", "east ready, west not run yet")
    assert night.safety.safe is False
    assert night.safety.text == "west: unsafe too often in this night: shut until a person releases it"
    assert [alarm.source for alarm in night.alarms] == ["dome east"]
    east, west = frame.telescopes
    assert (east.unit, east.night.word, east.night.safety.safe) == ("east", "READY", True)
    assert (west.unit, west.night.word, west.night.alarms) == ("west", "NOT RUN YET", ())
    assert [device.name for device in east.devices] == ["telescope east", "dome east"]
    assert "weather" in {device.name for device in frame.devices}
    before = views.changes(seen)
    write(journals[2], {"state": "opening"})
    assert views.changes(seen) != before
    assert views.frame(seen).telescopes[0].night.word == "OPENING"
    for each in journals:
        each.close()
    seen.close()


def test_a_telescope_is_looked_at_by_its_unit(tmp_path: Path) -> None:
    seen = views.observed(two_telescopes(tmp_path))
    assert seen.telescope("west").config.unit == "west"
    assert seen.telescope() is seen.telescopes[0]
    with pytest.raises(ValueError, match="no telescope 'north'"):
        seen.telescope("north")
    one = views.observed(configuration(tmp_path))
    assert one.telescope() is one


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 1000, None])
def test_a_damaged_journal_takes_only_its_own_part_away(config: Config, observed: Observed, damage: Any) -> None:
    observing(config)
    path = config.journal("majordome")
    if damage is None:  # its first pages are sound, its tables are not
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        damage = bytes(content)
    path.write_bytes(damage)
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
    frame = views.frame(observed)
    assert frame.night.word == "NOT RUN YET"
    assert frame.weather.quantities
    assert "majordome" in observed.problems
    assert next(agent for agent in frame.night.agents if agent.name == "majordome").problem


def test_a_journal_of_an_earlier_version_has_what_it_has(config: Config, observed: Observed) -> None:
    commit(config, "majordome", {"state": "ready", "unknown": 1})
    commit(config, "alert_manager", {})
    frame = views.frame(observed)
    assert (frame.night.state, frame.events, frame.plan.lines) == ("ready", (), ())
    commit(config, "majordome", {"state": 5})
    assert views.frame(observed).night.state == ""
    assert "another version" in observed.problems["majordome"]


def test_changes_tell_every_commit_and_hold(config: Config, observed: Observed) -> None:
    before = views.changes(observed)
    assert views.changes(observed) == before
    with closing(Journal(config.journal("dome"))) as journal:
        seen = {before, views.changes(observed)}
        for number in range(3):
            write(journal, {"number": number})
            seen.add(views.changes(observed))
        observed.holds.set("anna", "service")
        seen.add(views.changes(observed))
        assert len(seen) == 6
        assert views.changes(observed) in seen


def test_a_journal_in_another_ones_place_is_opened_anew(config: Config, observed: Observed) -> None:
    commit(config, "majordome", {"state": "ready"})
    assert views.frame(observed).night.state == "ready"
    before = views.changes(observed)
    for file in config.journal("majordome").parent.glob("majordome.sqlite*"):
        file.rename(file.with_name(f"old-{file.name}"))
    commit(config, "majordome", {"state": "fault"})
    assert views.changes(observed) != before
    assert views.frame(observed).night.state == "fault"


def test_a_frame_is_right_while_journals_are_written(config: Config, observed: Observed) -> None:
    with closing(Journal(config.journal("majordome"))) as journal:
        for state in [State.READY, State.OPENING, State.OBSERVING, State.CLOSING] * 5:
            write(journal, MajordomeState(state=state))
            assert views.frame(observed).night.state == state


def test_the_next_night_is_shown_from_dawn_on(observed: Observed) -> None:
    assert observed.site is not None
    times = tonight(observed, "2026-03-20").times
    assert times is not None
    assert times.dawn is not None
    assert night_name_of(observed.site, times.dawn - 60) == "2026-03-20"
    assert night_name_of(observed.site, times.dawn + 60) == "2026-03-21"
    with pytest.raises(ValueError, match="isoformat"):
        tonight(observed, "yesterday")


def test_the_weathers_curves_are_thinned_and_end_with_the_last_reading(config: Config, observed: Observed) -> None:
    now = observed.time()
    times = [now - 60.0 * number for number in range(1000)]
    commit(config, "monitoring", MonitoringState(), (), [
        weather_log.prepare, *(partial(weather_log.write, time=time, reading=READING) for time in times)
    ])  # fmt: skip
    trend = weather(observed).trend
    assert 200 < len(trend) <= 300
    assert trend[-1].time == times[0]
    assert (trend[-1].humidity, trend[-1].rain, trend[-1].gust) == (95.0, 0.0, None)
    with pytest.raises(ValueError, match="hours"):
        weather(observed, hours=-1)


@given(
    turns=st.lists(st.lists(st.booleans(), min_size=1, max_size=6), max_size=12),
    limit=st.integers(1, 7), failed=st.booleans(),
)  # fmt: skip
def test_pages_of_messages_are_the_whole_list(
    tmp_path_factory: pytest.TempPathFactory, turns: list[list[bool]], limit: int, failed: bool
) -> None:
    path = tmp_path_factory.mktemp("journal") / "dome.sqlite"
    journal = Journal(path, durable=False)
    reader = JournalReader(path)
    try:
        for number, turn in enumerate(turns):
            of_turn = [received(f"m{each}", taken=float(number), error="x" if bad else None)
                       for each, bad in enumerate(turn)]  # fmt: skip
            write(journal, None, of_turn)
        wanted = reader.received(failed=failed, last=1000)
        found, before = [], None
        while page := reader.page(before, limit, failed=failed):
            assert len(page) <= limit
            found += page
            before = page[-1][0]
        assert found == wanted[::-1]
        for when in range(len(turns) + 2):
            after = reader.since(float(when))
            assert {number for number, each in wanted if each.taken >= when} <= set(range(after + 1, 1000))
            assert all(each.taken >= when for number, each in wanted if number > after)
    finally:
        reader.close()
        journal.close()


def test_a_frame_is_small_however_much_a_message_and_the_plan_hold(config: Config, observed: Observed) -> None:
    long = received("Tell", {"text": "x" * 100_000}, error="Traceback\nValueError: " + "y" * 100_000)
    commit(config, "dome", None, [received("Tell", {"text": "x" * 100_000}), long])
    night = night_name_of(observed.site, observed.time()) if observed.site is not None else ""
    lines = [NightLine(night=night, observation=f"o{n}", start=observed.time() + n) for n in range(1000)]
    commit(config, "scheduler", None, also=[night_log.prepare, partial(_lines, lines=lines)])
    frame = views.frame(observed)
    assert [len(line.payload) for line in frame.messages] == [201, 201]
    assert len(frame.messages[0].error or "") == 201
    assert 50 <= len(frame.plan.lines) <= 100
    assert len(tonight(observed).lines) == 1000
    assert len(msgspec.json.encode(frame)) < 100_000


def _lines(db: sqlite3.Connection, lines: list[NightLine]) -> None:
    night_log.write(db, lines)


def test_the_plan_around_now_has_what_comes_and_the_last_that_are_over() -> None:
    fates: list[Any] = ["observed"] * 20 + ["observing"] + [""] * 5
    lines = [NightLine(night="n", observation=str(n), fate=fate) for n, fate in enumerate(fates)]
    assert [line.observation for line in around_now(lines, 12, 4)] == [str(n) for n in range(14, 26)]
    assert [line.observation for line in around_now(lines[16:], 6, 4)] == [str(n) for n in range(16, 22)]
    assert around_now([], 12, 4) == ()
