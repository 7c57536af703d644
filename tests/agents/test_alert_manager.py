"""The alert manager's decisions: one event is one observation, whatever comes, how often and in which order."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros import messages
from pyros.agents.alert_manager import AlertManagerAgent
from pyros.alerts import events
from pyros.alerts.rules import decisions
from pyros.journal import Effects, Journal, JournalReader
from pyros.messages import AlertReceived, encode_payload
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.builders import voevent
from tests.rig import SITE, AlertManagerRig

RULES = """
rules:
  - {name: known, when: {stream: known}, observe: nothing}
  - {name: all, when: {max_error_radius: 1}, observe: [{filter: r, seconds: 10, count: 1}], expires_after: 6 h}
"""
REQUESTED = messages.OBSERVATION_REQUESTED
CHANGED = messages.OBSERVATION_REQUEST_CHANGED
WITHDRAWN = messages.OBSERVATION_REQUEST_WITHDRAWN


def packet(name: str, minute: int = 1, *, ra: float = 10, dec: float = 20, error: float = 0.1,
           role: str = "observation", params: str = "", cites: tuple[tuple[str, str], ...] = ()) -> bytes:  # fmt: skip
    citations = [(cite, f"ivo://a/b#{to}") for to, cite in cites]
    date, time = f"2026-03-20T23:{minute:02}:00", "2026-03-20T23:00:00"
    return voevent(f"ivo://a/b#{name}", role=role, date=date, time=time, ra=ra, dec=dec, error=error, params=params,
                   citations=citations)  # fmt: skip


def manager(inline: Callable[..., Any], rules: str = RULES) -> AlertManagerRig:
    rig: AlertManagerRig = inline(AlertManagerAgent(), "scheduler", rig=AlertManagerRig, rules=rules)
    return rig


@pytest.fixture
def rig(inline: Callable[..., Any]) -> AlertManagerRig:
    return manager(inline)


INITIAL = packet("initial", 1)
REFINED = packet("refined", 5, ra=10.05, error=0.01, cites=(("initial", "followup"),))
RETRACTION = packet("retraction", 9, cites=(("initial", "retraction"),))


def test_a_better_position_changes_the_observation(rig: AlertManagerRig) -> None:
    ((name, request),) = rig.take(INITIAL)
    assert (name, request.ra, request.id, request.event) == (
        REQUESTED,
        10.0,
        "obs-ivo-a-b-initial",
        "ivo://a/b#initial",
    )
    ((name, request),) = rig.take(REFINED)
    assert (name, request.ra, request.id, request.alert) == (CHANGED, 10.05, "obs-ivo-a-b-initial", "ivo://a/b#refined")


def test_an_initial_position_that_comes_late_changes_nothing(rig: AlertManagerRig) -> None:
    ((name, request),) = rig.take(REFINED)
    assert (name, request.ra) == (REQUESTED, 10.05)
    assert rig.take(INITIAL) == []
    assert "the position of ivo://a/b#refined is better" in rig.decisions()[-1].reason


def test_each_target_of_a_notice_is_an_event_of_its_own(rig: AlertManagerRig) -> None:
    """BOOM's notices have a list of them."""
    targets = [{"event_name": name, "ra": ra, "dec": 20.0, "ra_dec_error": 0.1} for name, ra in (("a", 10), ("b", 30))]
    notice = {"$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/boom/alert.schema.json",
              "alert_datetime": "2026-03-20T23:01:00Z", "data": {"targets": targets}}  # fmt: skip
    asked = rig.take(json.dumps(notice).encode())
    assert [(name, each.target, each.ra) for name, each in asked] == [
        (REQUESTED, "boom:a", 10.0), (REQUESTED, "boom:b", 30.0)
    ]  # fmt: skip
    assert rig.take(json.dumps(notice).encode()) == []


def test_a_packet_twice_is_handled_once(rig: AlertManagerRig) -> None:
    assert len(rig.take(INITIAL, INITIAL)) == 1
    assert rig.take(INITIAL) == []
    assert [record.reason for record in rig.decisions()[1:]] == 2 * ["this packet was handled before"]


def test_a_retraction_withdraws(rig: AlertManagerRig) -> None:
    rig.take(INITIAL, REFINED)
    ((name, withdrawal),) = rig.take(packet("r", 9, cites=(("initial", "retraction"), ("refined", "retraction"))))
    assert (name, withdrawal.observation) == (WITHDRAWN, "obs-ivo-a-b-initial")
    assert rig.take(packet("again", 10, error=0.001, cites=(("other", "followup"),)))[0][0] == REQUESTED, (
        "another event"
    )


def test_a_retraction_that_comes_first(rig: AlertManagerRig) -> None:
    assert rig.take(RETRACTION) == []
    assert rig.take(INITIAL) == []
    assert rig.decisions()[-1].reason == "its event was retracted before"


def test_what_supersedes_the_retraction_is_observed_anew(rig: AlertManagerRig) -> None:
    rig.take(INITIAL)
    assert rig.take(RETRACTION)[0][0] == WITHDRAWN
    ((name, request),) = rig.take(packet("again", 12, ra=11, cites=(("retraction", "supersedes"),)))
    assert (name, request.id, request.ra) == (REQUESTED, "obs-ivo-a-b-initial-2", 11.0)


def test_a_retraction_counts_after_many_other_events(rig: AlertManagerRig) -> None:
    rig.take(INITIAL)
    rig.take(*(packet(f"other {number}", ra=number / 10, error=5) for number in range(600)))
    ((name, withdrawal),) = rig.take(RETRACTION)
    assert (name, withdrawal.observation) == (WITHDRAWN, "obs-ivo-a-b-initial")


def test_events_of_an_earlier_version_are_moved_from_its_state(inline: Callable[..., Any], tmp_path: Path) -> None:
    rig = manager(inline)
    ((_, request),) = rig.take(INITIAL)
    known = rig.events()[0]
    older = Effects()
    state = {"events": {known.name: known.followed}, "published": 7}
    older.state = msgspec.json.encode(state)
    older.also = [execute(f"DROP TABLE {table}") for table in ("alert_events", "alert_links")]
    rig.stop()
    journal = Journal(rig.host.journal.path)
    journal.commit(older)
    journal.close()
    again = manager(inline)
    assert again.events() == [known]
    assert (again.agent.state.events, again.agent.state.published) == ({}, 7)
    ((name, withdrawal),) = again.take(RETRACTION)
    assert (name, withdrawal.observation) == (WITHDRAWN, request.id)


EARLIER_TABLES = """
    ALTER TABLE alert_events RENAME TO newer;
    CREATE TABLE alert_events (
        number INTEGER PRIMARY KEY, name TEXT UNIQUE, zone INTEGER, ra REAL, joined INTEGER, content BLOB NOT NULL);
    INSERT INTO alert_events SELECT number, name, 20, 10.0, joined, content FROM newer;
    DROP TABLE newer;
    CREATE INDEX alert_events_place ON alert_events (zone, ra) WHERE zone IS NOT NULL;
    CREATE TABLE alert_event_links (
        link TEXT NOT NULL, test INTEGER NOT NULL, event INTEGER NOT NULL, PRIMARY KEY (link, test, event))
        WITHOUT ROWID;
    INSERT INTO alert_event_links VALUES ('ivo://a/b#initial', 0, 1), ('ivo://a/b#initial', 1, 2), ('plain', 0, 1);
    DROP TABLE alert_links;
    DROP TABLE alert_event_days;
    DROP INDEX decisions_about;
    DROP INDEX decisions_alert_alone;
    DROP INDEX decisions_event_alone;
    ALTER TABLE decisions DROP COLUMN about;
    CREATE INDEX decisions_alert ON decisions (alert);
    CREATE INDEX decisions_event ON decisions (event);
"""
"""Turn the tables into those of before decision 0113."""


def test_tables_of_an_earlier_version_go_on(inline: Callable[..., Any], tmp_path: Path) -> None:
    rig = manager(inline)
    rig.take(INITIAL)
    rig.take(packet("initial", role="test"))
    rig.stop()
    with closing(sqlite3.connect(rig.host.journal.path)) as db:
        db.executescript(EARLIER_TABLES)
    again = manager(inline)
    ((name, _),) = again.take(REFINED)
    assert name == CHANGED
    with closing(JournalReader(again.host.journal.path)) as reader:
        for_tests = events.with_packet(reader, "ivo://a/b#initial (test)")
        stored = events.with_packet(reader, "ivo://a/b#refined")
        assert for_tests is not None
        assert stored is not None
        assert (for_tests.name, stored.name) == ("ivo://a/b#initial (test)", "ivo://a/b#initial")
        about = decisions.read(reader, events=[stored.name])
        assert [each.alert for each in about] == ["ivo://a/b#initial", "ivo://a/b#refined"]
        for each in about:
            assert each in decisions.read(reader, alerts=[each.alert])
        assert events.with_packet(reader, "plain") == stored
        assert [each.event for each in decisions.read(reader, events=[for_tests.name])] == [for_tests.name]
        found = decisions.first_and_last(reader, stored)
        assert found is not None
        assert (found[0], found[1].alert) == (about[0].decided, "ivo://a/b#refined")


def test_decisions_are_found_by_packet_and_by_event(rig: AlertManagerRig) -> None:
    """Two events that turn out to be one: each decision is found by the packet it is about, and under its name then."""
    rig.take(INITIAL)
    rig.take(packet("other", 2))
    rig.take(packet("both", 3, cites=(("initial", "supersedes"), ("other", "supersedes"))))
    rig.take(packet("other", 2))
    with closing(JournalReader(rig.host.journal.path)) as reader:
        whole = decisions.read(reader)
        assert [each.alert.partition("#")[2] for each in whole] == ["initial", "other", "both", "other"]
        assert decisions.read(reader, alerts=["ivo://a/b#other"]) == [whole[1], whole[3]]
        assert decisions.read(reader, events=["ivo://a/b#initial"]) == [whole[0], whole[2], whole[3]]
        assert decisions.read(reader, events=["ivo://a/b#other"]) == [whole[1]]
        assert decisions.read(reader, alerts=["ivo://a/b#none"]) == []


def test_rules_are_read_again_and_a_broken_file_leaves_the_old_ones(rig: AlertManagerRig, tmp_path: Path) -> None:
    assert rig.take(packet("one", error=5)) == []
    (tmp_path / "rules.yaml").write_text("rules:\n  - {name: x, when: {max_eror_radius: 9}, observe: nothing}\n")
    ((_, answer),) = rig.turn(messages.RELOAD_RULES).answers
    (refusal,) = answer.refused
    assert "the rules are as before" in refusal.reason
    assert "max_eror_radius" in refusal.reason
    assert [name for name, _ in rig.take(packet("two"))] == [REQUESTED]
    (tmp_path / "rules.yaml").write_text(RULES.replace("max_error_radius: 1", "max_error_radius: 9"))
    ((_, answer),) = rig.turn(messages.RELOAD_RULES).answers
    assert answer.refused == []
    assert [name for name, _ in rig.take(packet("three", error=5))] == [REQUESTED]


def test_a_condition_on_the_event_sees_what_earlier_packets_said(inline: Callable[..., Any], tmp_path: Path) -> None:
    when = "{event: {max_error_radius: 0.2, min_importance: 0.5}, min_packets: 2}"
    rig = manager(inline, f"rules:\n  - {{name: it, when: {when}, observe: [{{filter: r, seconds: 1}}]}}\n")
    assert rig.take(INITIAL.replace(b"</voe:VOEvent>", b'<Why importance="0.9"/></voe:VOEvent>')) == []
    assert [name for name, _ in rig.take(REFINED)] == [REQUESTED]


def execute(query: str) -> Callable[[sqlite3.Connection], None]:
    def write(db: sqlite3.Connection) -> None:
        db.execute(query)

    return write


def test_a_test_that_retracts_withdraws_nothing(rig: AlertManagerRig) -> None:
    rig.take(INITIAL)
    assert rig.take(packet("t", 3, role="test", cites=(("initial", "retraction"),))) == []
    assert rig.decisions()[-1].event == "ivo://a/b#initial (test)", "tests are never one event with what is real"


def test_a_real_event_keeps_its_name_where_a_test_had_taken_it(rig: AlertManagerRig) -> None:
    assert rig.take(packet("t", 1, role="test", cites=(("initial", "followup"),))) == []
    ((name, request),) = rig.take(INITIAL)
    assert (name, request.id) == (REQUESTED, "obs-ivo-a-b-initial")
    assert rig.take(packet("t2", 2, role="test", cites=(("initial", "retraction"),))) == []
    assert {each.name for each in rig.events()} == {"ivo://a/b#initial", "ivo://a/b#initial (test)"}


def test_two_events_that_prove_to_be_one_keep_one_observation(rig: AlertManagerRig) -> None:
    assert [name for name, _ in rig.take(packet("one"), packet("two", 2, ra=10.1))] == [REQUESTED, REQUESTED]
    both = packet("both", 3, error=0.01, cites=(("one", "followup"), ("two", "followup")))
    withdrawn, changed = rig.take(both)
    assert (withdrawn[0], withdrawn[1].observation) == (WITHDRAWN, "obs-ivo-a-b-two")
    assert (changed[0], changed[1].id) == (CHANGED, "obs-ivo-a-b-one")


def _burst_of_two_missions() -> dict[str, bytes]:
    """Build a trigger, a finer position that was searched for because of it, and its retraction."""
    trigger = packet("x", 1, ra=12, error=0.9, params='<Param name="TrigID" value="694215970"/>')
    trigger = trigger.replace(b"ivo://a/b#x", b"ivo://nasa.gsfc.gcn/Fermi#GBM_x")
    search = {
        "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/swift/bat/guano.schema.json", "id": ["694215995"],
        "follow_up_event": "Fermi 694215970", "alert_datetime": "2026-03-20T23:02:00Z", "alert_type": "initial",
        "trigger_time": "2026-03-20T23:00:00Z", "ra": 10.0, "dec": 20.0, "ra_dec_error": 0.05,
    }  # fmt: skip
    gone = {**search, "alert_type": "retraction", "alert_datetime": "2026-03-20T23:09:00Z"}
    return {"trigger": trigger, "search": json.dumps(search).encode(), "retraction": json.dumps(gone).encode()}


@pytest.mark.parametrize("order", list(itertools.permutations(("trigger", "search", "retraction"))))
def test_what_another_mission_saw_is_observed_when_the_finer_position_is_taken_back(
    rig: AlertManagerRig, order: tuple[str, ...]
) -> None:
    packets = _burst_of_two_missions()
    for name in (*order, *order[::-1]):  # each comes twice
        rig.take(packets[name])
    followed = rig.events()[0].followed
    assert followed.observation is not None
    observed = followed.observation
    assert (observed.ra, observed.dec, observed.alert) == (12.0, 20.0, "ivo://nasa.gsfc.gcn/Fermi#GBM_x")


def test_going_on_at_the_place_before_is_asked_for_anew(rig: AlertManagerRig) -> None:
    """What was asked for with the same id at the finer position may have been done meanwhile."""
    packets = _burst_of_two_missions()
    rig.take(packets["trigger"])
    ((_, finer),) = rig.take(packets["search"])
    rig.reactor.advance(60)
    ((_, back),) = rig.take(packets["retraction"])
    assert (finer.ra, back.ra, back.id) == (10.0, 12.0, finer.id)
    assert back.requested == finer.requested + 60


def test_what_the_rules_had_not_wanted_is_not_observed_instead(rig: AlertManagerRig) -> None:
    packets = _burst_of_two_missions()
    coarse = packets["trigger"].replace(b">0.9<", b">9<")
    said = [name for each in (coarse, packets["search"], packets["retraction"]) for name, _ in rig.take(each)]
    assert said == [REQUESTED, WITHDRAWN]


@pytest.mark.parametrize("retracted", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_every_order_ends_at_the_same_position_or_at_none(
    rig: AlertManagerRig, order: tuple[int, ...], retracted: bool
) -> None:
    packets = [
        INITIAL,
        REFINED,
        RETRACTION if retracted else packet("coarse", 12, error=0.9, cites=(("initial", "followup"),)),
    ]
    wanted: Any = None
    for number in order:
        for name, payload in rig.take(packets[number]):
            wanted = None if name == WITHDRAWN else payload
    if retracted:
        assert wanted is None
    else:
        assert (wanted.ra, wanted.error_radius) == (10, 0.9), "its author's last word, though it is less precise"


def test_every_decision_is_kept_with_rule_values_and_reason(rig: AlertManagerRig) -> None:
    rig.take(INITIAL, packet("vague", error=5), RETRACTION)
    first, vague, withdrawn = rig.decisions()
    assert (first.alert, first.accepted, first.rule, first.outcome) == ("ivo://a/b#initial", True, "all", "requested")
    assert first.observation == "obs-ivo-a-b-initial"
    assert first.looked_at["error_radius"] == 0.1
    assert first.looked_at["age"] == 1800.0
    assert first.looked_at["galactic_latitude"] == pytest.approx(-42.79, abs=0.01)
    assert "far" not in first.looked_at, "it doesn't say"
    assert (vague.accepted, vague.outcome, vague.rule) == (False, "nothing", "")
    assert "error radius 5 > 1 deg" in vague.reason
    assert (withdrawn.outcome, withdrawn.observation) == ("withdrawn", "obs-ivo-a-b-initial")


def test_a_turn_that_is_not_committed_keeps_no_decision(rig: AlertManagerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.take(INITIAL)

    def breaks(*_: Any) -> None:
        raise RuntimeError("the rules are broken")

    monkeypatch.setattr(rig.agent.rules, "decide", breaks)
    received = encode_payload(messages.ALERT_RECEIVED, AlertReceived(REFINED, "test", 1.0))
    rig.turn((messages.ALERT_RECEIVED, received))
    assert rig.host.turns.failed == 1
    assert len(rig.decisions()) == 1
    followed = rig.events()[0].followed
    assert not followed.event.has("ivo://a/b#refined"), "it can be handled again"


def test_a_decision_tells_what_every_rule_found_and_where_the_source_stood(rig: AlertManagerRig) -> None:
    rig.take(INITIAL)
    (record,) = rig.decisions()
    assert [(each.rule, each.applies) for each in record.considered] == [("known", False), ("all", True)]
    (judged,) = record.considered[1].conditions
    assert (judged.condition, judged.value, judged.wanted) == ("max_error_radius", 0.1, 1.0)
    assert {"altitude", "moon_distance", "sun_altitude"} <= record.looked_at.keys()
    assert -90 < record.looked_at["sun_altitude"] < -12, "it is night there"


ASKING = """
rules:
  - {name: up, when: {min_altitude_now: 30, min_time_up: 1 h}, observe: [{filter: r, seconds: 1}], min_altitude: 20,
     repeat: [1 h, 1 d]}
"""


def test_the_site_is_asked_whether_it_is_up(inline: Callable[..., Any], tmp_path: Path) -> None:
    rig = manager(inline, ASKING)
    when, site = rig.clock.now(), Site.load(SITE)
    up, down = (place_overhead(site, when, altitude) for altitude in (65, 5))
    assert rig.take(packet("down", ra=down[0], dec=down[1])) == []
    assert "altitude 5 < 30 deg" in rig.decisions()[-1].reason
    ((name, request),) = rig.take(packet("up", ra=up[0], dec=up[1]))
    assert name == REQUESTED
    assert request.repeat == (when.timestamp() + 3600, when.timestamp() + 86_400)
    rig.reactor.advance(1800)
    ((name, changed),) = rig.take(packet("better", 5, ra=up[0], dec=up[1], error=0.01, cites=(("up", "followup"),)))
    assert name == CHANGED
    assert changed.repeat == request.repeat, "they count from the first request"


def test_decisions_of_an_older_journal_are_read_and_more_are_written(
    inline: Callable[..., Any], tmp_path: Path
) -> None:
    def drop_column(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE decisions DROP COLUMN considered")

    rig = manager(inline)
    rig.take(INITIAL)
    older = Effects()
    older.also.append(drop_column)
    rig.host.journal.commit(older)
    assert [each.considered for each in rig.decisions()] == [()]
    again = manager(inline)
    again.take(REFINED)
    assert [len(each.considered) for each in again.decisions()] == [0, 2]
