"""Rules tried on the past: what the alert manager would have done, packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from pyros.alerts import Alert
from pyros.alerts.archive.query import ArchivedPacket
from pyros.alerts.followup import STREAM
from pyros.alerts.rules.backtest import backtest_rules
from pyros.alerts.rules.rules import Rules

BEGIN = datetime(2026, 3, 20, tzinfo=UTC)
IVO = "ivo://my.observatory/telescope"


def alert(number: int, **fields: Any) -> Alert:
    moment = BEGIN + timedelta(minutes=number)
    known = Alert(
        stream="swift", id=f"ivo://x#{number}", event="swift:1", time=BEGIN, sent=moment, ra=10.0, dec=20.0,
        error_radius=1 / (number + 1),
    )  # fmt: skip
    return msgspec.structs.replace(known, **fields)


def entries(*alerts: Alert) -> Iterator[ArchivedPacket]:
    for number, each in enumerate(alerts, 1):
        assert each.sent is not None
        yield ArchivedPacket(number, each.id, each.event, "x", each.sent.timestamp(), 1, each, None)


def rules(tmp_path: Path, text: str = "{name: any, observe: [{filter: r, seconds: 1}]}") -> Rules:
    (tmp_path / "rules.yaml").write_text(f"rules:\n  - {text}\n")
    return Rules.load(tmp_path / "rules.yaml")


def test_an_event_triggers_once_is_updated_and_taken_back(tmp_path: Path) -> None:
    retraction = alert(30, kind="retraction", ra=None, dec=None)
    trial = backtest_rules(rules(tmp_path), entries(alert(0), alert(1), alert(2), retraction))
    tried = trial.rules["any"]
    assert (tried.events, tried.updated, tried.retracted) == (1, 1, [1800.0])
    assert tried.months == {"2026-03": 1}
    assert (trial.packets, trial.alerts) == (4, 4)


def test_tests_retracted_events_and_our_own_follow_ups_trigger_nothing(tmp_path: Path) -> None:
    own = alert(5, id=f"{IVO}{STREAM}obs-1/detection-1", event="swift:2")
    gone = (alert(1, event="swift:3", kind="retraction"), alert(2, event="swift:3"))
    past = [alert(0, role="test", event="swift:4"), *gone, own]
    assert backtest_rules(rules(tmp_path), entries(*past), ivo=IVO).rules["any"].events == 0
    assert backtest_rules(rules(tmp_path), entries(*past)).rules["any"].events == 1, "another's follow-up is an alert"


def test_every_packet_is_judged_by_the_clock_at_which_it_came(tmp_path: Path) -> None:
    young = rules(tmp_path, "{name: any, when: {max_age: 90 s}, observe: [{filter: r, seconds: 1}]}")
    assert backtest_rules(young, entries(alert(1))).rules["any"].events == 1
    assert backtest_rules(young, entries(alert(2))).rules["any"].events == 0


def test_what_coincides_is_known_to_the_rules_that_ask(tmp_path: Path) -> None:
    asking = rules(tmp_path, "{name: any, when: {coincident_with: fermi}, observe: [{filter: r, seconds: 1}]}")
    burst = alert(1, event="fermi:1", error_radius=3.0, time=BEGIN + timedelta(seconds=5), id="ivo://f#1")
    later = alert(2, event="fermi:2", error_radius=3.0, time=BEGIN + timedelta(hours=5), id="ivo://f#2")
    assert backtest_rules(asking, entries(alert(0), burst, alert(3))).rules["any"].events == 1
    assert backtest_rules(asking, entries(alert(0), later, alert(3))).rules["any"].events == 0
