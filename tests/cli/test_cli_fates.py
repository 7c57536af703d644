"""What has become of an observation that was asked for, as `pyros alerts explain` tells it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pyros import messages, views
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.config import Config
from pyros.journal import Effects, Journal
from pyros.messages import Exposures, Observation, ObservationReport
from pyros.observatory import clock_for
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
    journal = Journal(config.journal("alert_manager"))
    try:
        for record, told in ((asked, ["now: obs-e is being observed"]), (withdrawn, [])):
            effects = Effects()
            effects.also += [decisions.prepare, lambda db, record=record: decisions.write(db, record)]  # type: ignore[misc]
            journal.commit(effects)
            said = run("alerts", "explain", "e", "--config", config.path).stdout.splitlines()
            assert [line for line in said if line.startswith("now: ")] == told
    finally:
        journal.close()
