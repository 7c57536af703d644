"""The rule file: what it accepts, what it says, and how it names its mistakes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros.alerts import Alert, Rules
from pyros.errors import ConfigError
from pyros.messages import Exposures

SHIPPED = Path(__file__).parents[2] / "observatory" / "alert_rules.yaml"
NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)

ONE_RULE = """\
rules:
  - name: nearby burst
    when:
      stream: swift
      notice_type: [SWIFT_BAT_*]
      max_error_radius: 6 arcmin
      max_age: 10 min
    priority: 7
    observe:
      - {filter: R, seconds: 30, count: 2}
      - {filter: I, seconds: 60}
    min_altitude: 20
    expires_after: 2 h
"""


def alert(**fields: Any) -> Alert:
    """Make a burst of a minute ago, with some fields changed."""
    burst = Alert(
        stream="swift",
        id="ivo://x#1",
        event="swift:1",
        notice_type="SWIFT_BAT_GRB_POS_ACK",
        time=NOW - timedelta(minutes=1),
        ra=10.0,
        dec=50.0,
        error_radius=0.05,
        importance=0.9,
    )
    return msgspec.structs.replace(burst, **fields)


def rules(tmp_path: Path, text: str = ONE_RULE) -> Rules:
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return Rules.load(path)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("expires_after: 0", "line 13: rule 1 (nearby burst) expires_after: must be a number of s, or one with a unit"),
        ("when: {min_galactic_latitude: 100}", "(deg, arcmin, arcsec), from 0 to 90; not 100"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_meant(tmp_path: Path, line: str, told: str) -> None:
    text = ONE_RULE.replace("expires_after: 2 h", line)
    if line.startswith("when"):
        text = f"rules: [{{name: a, {line}, observe: nothing}}]"
    with pytest.raises(ConfigError) as caught:
        rules(tmp_path, text)
    assert told in str(caught.value)


def test_what_fits_is_observed_and_the_reason_has_the_values(tmp_path: Path) -> None:
    decision = rules(tmp_path).decide(alert(), NOW)
    assert decision.accepted
    assert decision.rule == "nearby burst"
    assert decision.priority == 7
    assert decision.exposures == (Exposures("R", 30, 2), Exposures("I", 60, 1))
    assert decision.min_altitude == 20
    assert decision.expires_after == 7200
    assert decision.reason == (
        "rule 'nearby burst': stream swift, notice SWIFT_BAT_GRB_POS_ACK, error radius 0.05 <= 0.1 deg,"
        " age 60 s <= 10 min"
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"error_radius": 0.2}, "error radius 0.2 > 0.1 deg"),
        ({"error_radius": None}, "error radius unknown"),
        ({"time": NOW - timedelta(hours=1)}, "age 60 min > 10 min"),
        ({"time": NOW + timedelta(days=1)}, "86400 s in the future"),
        ({"time": None, "sent": None}, "age unknown"),
        ({"notice_type": "SWIFT_XRT_LC"}, "no rule fits swift SWIFT_XRT_LC"),
        ({"stream": "fermi"}, "no rule fits fermi SWIFT_BAT_GRB_POS_ACK"),
    ],
)
def test_what_misses_a_condition_is_not_observed(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    decision = rules(tmp_path).decide(alert(**fields), NOW)
    assert not decision.accepted
    assert words in decision.reason
    assert decision.exposures == ()


def test_without_the_events_time_the_packets_own_counts(tmp_path: Path) -> None:
    assert rules(tmp_path).decide(alert(time=None, sent=NOW), NOW).accepted


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"role": "test"}, "role test"),
        ({"role": "utility"}, "role utility"),
        ({"kind": "retraction"}, "retraction of swift:1"),
        ({"kind": "retraction", "role": "utility"}, "retraction of swift:1"),
        ({"ra": None, "dec": None}, "no position"),
        ({"ra": None, "dec": None, "skymap": "embedded"}, "only a sky map"),
        ({"pointing": True}, "where a spacecraft pointed"),
    ],
)
def test_no_rule_can_accept_what_must_never_be_observed(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    anything = "rules:\n  - name: anything\n    observe: [{filter: R, seconds: 1}]\n"
    rule_file = rules(tmp_path, anything)
    assert rule_file.decide(alert(), NOW).accepted
    decision = rule_file.decide(alert(**fields), NOW)
    assert not decision.accepted
    assert words in decision.reason
    assert decision.rule == ""


def test_the_first_rule_that_fits_decides(tmp_path: Path) -> None:
    text = """
rules:
  - {name: known, when: {known_source: true}, observe: nothing}
  - {name: first, when: {kind: initial}, priority: 2, observe: [{filter: R, seconds: 1}]}
  - {name: second, priority: 9, observe: [{filter: R, seconds: 1}]}
"""
    rule_file = rules(tmp_path, text)
    assert rule_file.decide(alert(), NOW).rule == "first"
    assert rule_file.decide(alert(kind="update"), NOW).rule == "second"
    refusal = rule_file.decide(alert(known_source=True), NOW)
    assert (refusal.accepted, refusal.rule) == (False, "known")
    assert "not to observe" in refusal.reason


@pytest.mark.parametrize(
    ("condition", "fields", "holds"),
    [
        ("min_importance: 0.5", {}, True),
        ("min_importance: 0.95", {}, False),
        ("min_importance: 0.5", {"importance": None}, False),
        ("max_far: 1 per year", {"far": 1e-9}, True),
        ("max_far: 1 per year", {"far": 1e-7}, False),
        ("max_far: 1e-8", {"far": None}, False),
        ("significant: true", {"significant": True}, True),
        ("significant: true", {"significant": None}, False),
        ("min_galactic_latitude: 12", {"ra": 10.0, "dec": 50.0}, True),  # b = -12.8
        ("min_galactic_latitude: 13", {"ra": 10.0, "dec": 50.0}, False),
        ("min_galactic_latitude: 80", {"ra": 192.86, "dec": 27.13}, True),
        ("min_probability: {BNS: 0.5, NSBH: 0.5}", {"classification": {"BNS": 0.1, "NSBH": 0.7}}, True),
        ("min_probability: {BNS: 0.5, NSBH: 0.5}", {"classification": {"BNS": 0.1}}, False),
        ('stream: ["*wif?"]', {}, True),
        ("stream: SWIFT", {}, True),
    ],
)
def test_conditions(tmp_path: Path, condition: str, fields: dict[str, Any], holds: bool) -> None:
    text = f"rules:\n  - name: one\n    when: {{{condition}}}\n    observe: [{{filter: R, seconds: 1}}]\n"
    assert rules(tmp_path, text).decide(alert(**fields), NOW).accepted is holds


@pytest.mark.parametrize(
    ("condition", "fields", "words"),
    [
        ("max_far: 1 per year", {"far": 1e-9}, "false-alarm rate 1e-09 (once in 31.7 years) <= 3.169e-08 Hz"),
        ("max_far: 1 per year", {"far": 1e-7}, "false-alarm rate 1e-07 (3.16 a year) > 3.169e-08 Hz"),
        ("max_far: 1 per year", {"far": 0.0}, "false-alarm rate 0 (once in inf years) <= 3.169e-08 Hz"),
        ("max_age: 3 d", {"time": NOW - timedelta(hours=47)}, "age 47 h <= 3 d"),
        ("max_age: 3 d", {"time": NOW + timedelta(seconds=5)}, "age -5 s <= 3 d"),
    ],
)
def test_values_are_told_in_units_for_people(
    tmp_path: Path, condition: str, fields: dict[str, Any], words: str
) -> None:
    text = f"rules:\n  - name: one\n    when: {{{condition}}}\n    observe: [{{filter: R, seconds: 1}}]\n"
    assert words in rules(tmp_path, text).decide(alert(**fields), NOW).reason


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    text = """
rule: 1
rules:
  - name: a
    when: {strem: swift, max_error_radius: 3 parsec, max_age: -5, kind: retraction, known_source: maybe, stream: 4}
    priority: high
    observe:
      - {filter: R, seconds: 0}
      - {filter: R, secnds: 5}
      - 7
    min_altitude: 100
    expires_after: soon
  - {name: a, observe: nothing}
  - {observe: []}
  - text
"""
    with pytest.raises(ConfigError) as caught:
        rules(tmp_path, text)
    problems = caught.value.problems
    assert all(problem.startswith(str(tmp_path / "rules.yaml")) for problem in problems)
    for words in (
        "line 2: rule: is not known here; known are rules",
        "line 5: rule 1 (a) when strem: is not known here",
        "rule 1 (a) when.max_error_radius: must be a number of deg",
        "line 5: rule 1 (a) when.max_age: must be a number of s",
        "rule 1 (a) when.kind: must be of initial, update",
        "rule 1 (a) when.known_source: must be true or false",
        "rule 1 (a) when.stream: must be a name",
        "line 6: rule 1 (a) priority: must be a whole number",
        "line 8: rule 1 (a) observe[1] seconds: must be a number of seconds above 0, not 0",
        "line 9: rule 1 (a) observe[2] secnds: is not known here",
        "line 9: rule 1 (a) observe[2] seconds: is missing; it must be a number of seconds above 0",
        "rule 1 (a) observe[3]: must be {filter",
        "line 11: rule 1 (a) min_altitude: must be a number of deg, from 0 to 90",
        "line 12: rule 1 (a) expires_after: must be a number of s",
        "line 13: rule 2 name: 'a' is already",
        "line 14: rule 3 name: must be a text",
        "rule 3 (rule 3) observe: must be a list",
        "rule 4: must be a mapping",
    ):
        assert any(words in problem for problem in problems), words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: [", "line 1: is not YAML"),
        ("rules: []", "at least one rule"),
        ("- a", "must have the key 'rules'"),
        ("", "must have the key 'rules'"),
        ("rules:\n  - name: a\n    name: b\n", "line 3: is not YAML: key 'name' twice"),
        ("rules: !!python/object/apply:os.system [ls]", "is not YAML"),
        ("rules: \x01", "is not YAML"),
    ],
)
def test_what_is_no_rule_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(tmp_path, text)
    assert words in str(caught.value)


def test_a_missing_file_and_a_binary_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Rules.load(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        Rules.load(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({}, "Swift BAT burst"),
        ({"notice_type": "SWIFT_XRT_POSITION", "error_radius": 0.0014}, "X-ray or optical position of a burst"),
        ({"stream": "fermi", "notice_type": "FERMI_GBM_FIN_POS", "error_radius": 1.5}, "well-placed Fermi GBM burst"),
        ({"stream": "fermi", "notice_type": "FERMI_GBM_FIN_POS", "error_radius": 15.0}, None),
        ({"stream": "svom", "notice_type": "SVOM_ECLAIRS_WAKEUP", "importance": None}, "SVOM ECLAIRs burst"),
        ({"stream": "svom", "notice_type": "SVOM_ECLAIRS_CATALOG", "known_source": True}, None),
        ({"stream": "einstein_probe", "notice_type": "einstein_probe.wxt.alert"}, "Einstein Probe transient"),
        ({"stream": "icecube", "notice_type": "ICECUBE_ASTROTRACK_GOLD", "error_radius": 0.6}, "high-energy neutrino"),
        (
            {"stream": "icecube", "notice_type": "icecube.single_neutrino_alerts/Bronze Track Alert"},
            "high-energy neutrino",
        ),
        ({"stream": "pyros.demo/burst", "notice_type": ""}, "demo burst"),
        ({"stream": "irap/pyros", "notice_type": ""}, "demo burst"),
        ({"stream": "swift", "notice_type": "SWIFT_BAT_SUBSUB", "importance": 0.01}, None),
        ({"role": "test"}, None),
        ({"ra": None, "dec": None}, None),
    ],
)
def test_the_shipped_rules(fields: dict[str, Any], rule: str | None) -> None:
    decision = Rules.load(SHIPPED).decide(alert(**fields), NOW)
    assert decision.accepted is (rule is not None), decision.reason
    if rule:
        assert decision.rule == rule
        assert decision.exposures
