"""A recorded night replays as it was; with another rule exactly what that decides otherwise is named."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest

from pyros.agents import Message
from pyros.agents.scheduler import SchedulerAgent
from pyros.alerts import events, past_events
from pyros.alerts.events import EventTable
from pyros.config import Config
from pyros.journal import SQLITE, Effects, JournalReader, MemoryJournals, past
from pyros.rehearsal.rehearsal import Rehearsal
from pyros.rehearsal.replay import ReplayResult, nights, replay_night
from pyros.rehearsal.replayed import ReplayedAgent
from tests.observatory.conftest import RULES, SMALL, Night

NIGHT = date(2026, 3, 20)
NEVER = RULES.replace("name: urgent, when: {", "name: urgent, when: {max_error_radius: 0.01, ")
LONGER = RULES.replace("filter: g, seconds: 20.0", "filter: g, seconds: 40.0")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Record a night on files from before to after the UTC midnight: updates, a retraction, a test, two restarts."""
    folder = tmp_path_factory.mktemp("recorded") / "night"
    night = Night(folder, devices=SMALL, hours_after_midnight=-0.3, journals=SQLITE)
    night.until(lambda: night.said("the weather is safe"))
    place = night.place()
    night.publish(night.packet("pyros.test/first#1", place))
    night.until(lambda: night.state("camera") == "exposing")
    night.publish(night.packet("pyros.test/urgent#1", night.place(50.0)))
    night.publish(night.packet("pyros.test/urgent#2", role="test"))
    night.until(lambda: night.said("urgent-1: Observation finished", "majordome"))
    night.restart("scheduler")
    night.until(lambda: night.clock.now().hour == 0, 3600)
    night.publish(night.packet("pyros.test/low#1", night.place(5.0)))
    night.restart("alert_manager")
    night.publish(
        night.packet("pyros.test/first#2", (place[0] + 0.01, place[1]), cites=("supersedes", "pyros.test/first#1"))
    )
    night.publish(night.packet("pyros.test/first#3", cites=("retraction", "pyros.test/first#1")))
    night.run(900)
    assert night.close() == []
    return night


def replayed(night: Rehearsal, rules: str | None = None) -> dict[str, ReplayResult]:
    config: Config = night.config
    if rules is not None:
        file = Path(night.folder) / "other_rules.yaml"
        file.write_text(rules)
        config = msgspec.structs.replace(config, alert_rules=file)
    return {each.agent: each for each in replay_night(config, night.site, NIGHT)}


def test_a_recorded_night_replays_without_a_difference(recorded: Night) -> None:
    found = replayed(recorded)
    for each in found.values():
        assert (each.differences, each.notes) == ((), ())
    assert found["alert_manager"].decisions == 6
    assert found["scheduler"].decisions >= 2
    assert nights(recorded.config, recorded.site) == [str(NIGHT)]


def test_another_rule_changes_the_decisions_it_makes_and_no_others(recorded: Night) -> None:
    found = replayed(recorded, NEVER)
    (difference,) = found["alert_manager"].differences
    assert difference.about == "ivo://pyros.test/urgent#1"
    assert difference.then.startswith("observe (rule urgent): ")
    assert difference.now.startswith("do not observe: no rule fits")
    assert found["scheduler"].differences == ()


def test_the_same_decision_with_another_request_is_named(recorded: Night) -> None:
    (difference,) = replayed(recorded, LONGER)["alert_manager"].differences
    assert difference.about == "obs-ivo-pyros.test-urgent-1"
    assert '"seconds":20.0' in difference.then
    assert '"seconds":40.0' in difference.now


def test_a_plan_of_other_code_is_named_with_both_reasons(recorded: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    take = SchedulerAgent.observation_requested

    def forget_urgent(agent: SchedulerAgent, message: Message) -> None:
        if "urgent" not in message.payload.id:
            take(agent, message)

    monkeypatch.setattr(SchedulerAgent, "observation_requested", forget_urgent)
    found = replayed(recorded)
    assert found["alert_manager"].differences == ()
    first = found["scheduler"].differences[0]
    assert first.about == "obs-ivo-pyros.test-urgent-1"
    assert first.then.startswith("obs-ivo-pyros.test-urgent-1: up until")
    assert first.now.startswith("obs-ivo-pyros.test-first-1: ")


def test_a_handler_that_fails_now_is_named(recorded: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(SchedulerAgent, "observation_withdrawn", fail)
    differences = replayed(recorded)["scheduler"].differences
    assert [(each.about, each.then, each.now) for each in differences if "RuntimeError" in each.now] == [
        ("Observation request withdrawn from alert_manager", "handled", "RuntimeError: no luck")
    ]


def test_a_later_night_begins_with_what_was_known_by_then(recorded: Night, tmp_path: Path) -> None:
    """The second day's beginning: the event and the requests of the first are there, its later changes are not."""
    config = recorded.config
    with closing(JournalReader(config.journal("alert_manager"))) as journal:
        first, second = past.days(journal)
        table = MemoryJournals().open(tmp_path / "then", schema=events.SCHEMA)
        effects = Effects()
        effects.also = [past_events.as_of(journal, second.day)]
        table.commit(effects)
        then = {each.name: each.followed for each in events.read(table.reader())}
        now = {each.name: each.followed for each in events.read(journal)}
    assert first.number == 0 < second.number
    assert then.keys() < now.keys()
    changed = [name for name in then if then[name] != now[name]]
    assert [len(then[name].event.packets) for name in changed] == [1]
    assert [len(now[name].event.packets) for name in changed] == [3]
    found = EventTable(table.rows, tuple).having("ivo://pyros.test/first#1")
    assert [each.name for each in found] == changed


def test_a_replay_begins_with_the_state_of_the_second_day(recorded: Night) -> None:
    config, second = recorded.config, datetime(2026, 3, 21, tzinfo=UTC).timestamp()
    for name in ("alert_manager", "scheduler"):
        with closing(JournalReader(config.journal(name))) as journal, TemporaryDirectory() as scratch:
            agent = ReplayedAgent(config, name, journal, Path(scratch))
            turns = list(agent.run(second, second + 3600))
            assert turns[0].taken >= second
            assert [turn for turn in turns if turn.now] == []
            assert _wanted(agent.reader().state()) == _wanted(journal.state())


def _wanted(state: bytes | None) -> dict[str, Any]:
    """Return an agent's state without its timers, whose numbers and times are others in another journal."""
    return {key: value for key, value in msgspec.json.decode(state or b"").items() if not key.startswith("timer")}
