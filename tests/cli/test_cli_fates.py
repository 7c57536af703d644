"""What has become of an observation that was asked for, as `pyros alerts explain` tells it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest

from pyros import messages, views
from pyros.alerts import events as alert_events
from pyros.alerts.events import EventTable, Followed, StoredEvent
from pyros.alerts.identity import Event, PacketRecord
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.alerts.tiling import MapTarget, ObservedField, Tiling
from pyros.config import Config
from pyros.journal import Effects, Journal
from pyros.messages import Exposures, Observation, ObservationReport
from pyros.observatory import clock_for
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.views.fates import fates
from tests.cli.conftest import run

Write = Any


def told(config: Config, observations: list[str]) -> list[str]:
    return [f"{each.observation} {each.words}" for each in fates(views.observed(config), observations)]


def wanted(name: str, dec: float, **more: Any) -> Observation:
    """Seen from the Haute-Provence, what is at a pole is always up, or never."""
    return Observation(name, name, (Exposures("r", 1.0),), ra=10.0, dec=dec, **more)


@pytest.fixture
def scheduler(config: Config) -> Iterator[Journal]:
    journal = Journal(config.journal("scheduler"))
    yield journal
    journal.close()


def keep(journal: Journal, *observations: Observation, running: str | None = None) -> None:
    effects = Effects()
    effects.state = msgspec.json.encode({"requests": {each.id: each for each in observations}, "running": running})
    journal.commit(effects)


def test_what_waits_and_why(config: Config, scheduler: Journal) -> None:
    now = clock_for(config, None).time()
    soon = {"requested": now - 100, "expires": now + 3_600}
    keep(
        scheduler, wanted("high", 89.0, **soon), wanted("low", -89.0, **soon), wanted("ever", -89.0),
        wanted("high-again1", 89.0, repeats="high", not_before=now + 1_000, expires=now + 4_600),
        wanted("runs", 89.0), wanted("over", 89.0, expires=now - 5), running="runs",
    )  # fmt: skip
    high, again, low, ever, runs, over = told(config, ["high", "low", "ever", "runs", "over"])
    assert high.startswith("high waits (up all night: altitude 4")
    assert high.endswith("), and can be observed now")
    assert again.startswith("high-again1 waits until 20")
    assert ", and can be observed from 20" in again
    assert low.startswith("low waits (not up: altitude -4")
    assert low.endswith(", when it expires")
    assert ", and cannot be observed before 20" in low
    assert ever.endswith("), and cannot be observed within a day")
    assert runs == "runs is being observed"
    assert over.startswith("over has expired, at 20")


def test_what_has_ended(config: Config, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (name, report) in enumerate((
        (messages.OBSERVATION_FAILED, ObservationReport("obs-1", reason="clouds")),
        (messages.OBSERVATION_FINISHED, ObservationReport("obs-1")),
        (messages.OBSERVATION_FINISHED, ObservationReport("obs-10", reason='"obs-2" came first')),
        (messages.OBSERVATION_FAILED, ObservationReport("obs-3", reason="the shutter is stuck")),
    )):  # fmt: skip
        write("scheduler", name, report, sent=1_774_000_000.0 + number)
    one, two, three = told(config, ["obs-1", "obs-2", "obs-3"])
    assert one == "obs-1 was observed, until 2026-03-20 09:46:41"
    assert two == "obs-2 does not wait any more: it has expired, or its end is too long ago"
    assert three == "obs-3 failed, last at 2026-03-20 09:46:43: the shutter is stuck"


def test_without_a_scheduler_here_nothing_is_told(config: Config) -> None:
    assert told(config, ["obs-1"]) == []


def test_explain_tells_it_of_what_was_not_withdrawn(config: Config, scheduler: Journal) -> None:
    asked = DecisionRecord(
        alert="ivo://a/b#1", event="e", decided=1.0, accepted=True, rule="all", reason="it fits", outcome="requested",
        observation="obs-e", looked_at={},
    )  # fmt: skip
    withdrawn = msgspec.structs.replace(
        asked, alert="ivo://a/b#2", decided=2.0, accepted=False, outcome="withdrawn", reason="retracted"
    )
    keep(scheduler, wanted("obs-e", 89.0), running="obs-e")
    with closing(Journal(config.journal("alert_manager"))) as journal:
        for record, told in ((asked, ["now: obs-e is being observed"]), (withdrawn, [])):
            effects = Effects()
            effects.also += [decisions.prepare, lambda db, record=record: decisions.write(db, record)]  # type: ignore[misc]
            journal.commit(effects)
            said = run("alerts", "explain", "e", "--config", config.path).stdout.splitlines()
            assert [line for line in said if line.startswith("now: ")] == told


def test_an_event_in_fields_is_told_by_how_many_stand_how(config: Config, scheduler: Journal) -> None:
    packet = PacketRecord("ivo://gcn/lvc#1", "lvc:S1")
    tiling = Tiling(
        targets=tuple(MapTarget(f"f{number}", f"field {number}", 10.0, 89.0, 0.1) for number in range(1, 6)),
        observed=(ObservedField("f1", 10.0, 89.0, 1.0, 1.0, 1_774_000_000.0),),
    )
    asked = DecisionRecord(
        alert=packet.id, event="lvc:S1", decided=1.0, accepted=True, rule="all", reason="5 fields", outcome="requested",
        observation="obs-lvc-S1", looked_at={},
    )  # fmt: skip
    with closing(Journal(config.journal("alert_manager"), schema=alert_events.SCHEMA)) as journal:
        event = EventTable(journal.rows, list)
        stored = StoredEvent(0, "lvc:S1", Followed(event=Event((packet,)), tiling=tiling))
        effects = Effects()
        effects.also += [decisions.prepare, lambda db: decisions.write(db, asked), event.change(stored, (packet,))]
        journal.commit(effects)

    def now() -> list[str]:
        said = run("alerts", "explain", "lvc:S1", "--config", config.path).stdout.splitlines()

        return [line for line in said if line.startswith("now: ")]

    assert now() == ["now: obs-lvc-S1 does not wait any more: it has expired, or its end is too long ago"]

    def log(db: sqlite3.Connection) -> None:
        night_log.prepare(db)
        lines = [
            NightLine(night="2026-03-19", observation="obs-lvc-S1-f1", fate="observed", ended=1_774_000_000.0),
            NightLine(night="2026-03-19", observation="obs-lvc-S1-f5", fate="failed", ended=1_774_000_100.0),
        ]
        night_log.write(db, lines)
        night_log.write_fate(db, lines)

    effects = Effects()
    effects.also.append(log)
    scheduler.commit(effects)
    begin = "now: obs-lvc-S1 is observed in 5 fields or galaxies: 1 was observed, the last until 2026-03-20 09:46:40"
    begin += "; 1 failed"
    assert now() == [begin]
    fields = [wanted(f"obs-lvc-S1-f{number}", 89.0, probability=number / 10) for number in (2, 3, 4)]
    keep(scheduler, *fields, wanted("obs-other", 89.0), running="obs-lvc-S1-f2")
    (line,) = now()
    assert line.startswith(f"{begin}; obs-lvc-S1-f2 is being observed; 2 wait, obs-lvc-S1-f4 waits")
    assert ", and can be observed " in line
