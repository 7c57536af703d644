"""Conditions on the site's sky, groups of conditions, what is unknown, repeats; and that a decision tells it all."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros.alerts.rules.conditions import CONDITIONS
from pyros.alerts.rules.rules import Considered, Rules
from pyros.errors import ConfigError
from tests.alerts.test_rules import NOW, SHIPPED, alert, rules

OBSERVE = "observe: [{filter: r, seconds: 1}]"


class FixedSky:
    """A sky where everything stands still."""

    def altitude(self, ra: float, dec: float, when: datetime) -> float:
        assert (ra, dec, when) == (10.0, 50.0, NOW)
        return 35.0

    def time_up(self, ra: float, dec: float, when: datetime, min_altitude: float) -> float:
        return 7200.0 if min_altitude == 20 else 1e9

    def moon_distance(self, ra: float, dec: float, when: datetime) -> float:
        return 40.0

    def moon_light(self, when: datetime) -> float:
        return 0.4

    def sun_altitude(self, when: datetime) -> float:
        return -15.0


def one(tmp_path: Path, when: str, more: str = "") -> Rules:
    return rules(tmp_path, f"rules:\n  - {{name: one, when: {{{when}}}, {OBSERVE}{more}}}\n")


@pytest.mark.parametrize(
    ("when", "holds", "words"),
    [
        ("min_altitude_now: 30", True, "altitude 35 >= 30 deg"),
        ("min_altitude_now: 40", False, "altitude 35 < 40 deg"),
        ("min_time_up: 2 h", True, "time up 2 h >= 2 h"),
        ("min_time_up: 121 min", False, "time up 2 h < 2.017 h"),
        ("min_moon_distance: 40", True, "Moon at 40 >= 40 deg"),
        ("min_moon_distance: 41", False, "Moon at 40 < 41 deg"),
        ("max_sun_altitude: -12", True, "Sun's altitude -15 <= -12 deg"),
        ("max_sun_altitude: -18", False, "Sun's altitude -15 > -18 deg"),
        ("role: observation", True, "role observation"),
        ("role: [prediction]", False, "role observation is not prediction"),
    ],
)
def test_conditions_of_the_sky(tmp_path: Path, when: str, holds: bool, words: str) -> None:
    tried = one(tmp_path, when, ", min_altitude: 20")
    decision = tried.decide(alert(), NOW, FixedSky())
    assert decision.accepted is holds
    assert words in decision.reason
    if "role" not in when:
        assert tried.asks_of_sky == (when.partition(":")[0],)
        blind = tried.decide(alert(), NOW)
        assert not blind.accepted, "without a site nothing is known"
        assert blind.considered[0].conditions[0].holds is None


def test_what_never_sets_is_up_for_a_day(tmp_path: Path) -> None:
    (judged,) = one(tmp_path, "min_time_up: 10 h").decide(alert(), NOW, FixedSky()).considered[0].conditions
    assert judged.value == 86_400.0


@pytest.mark.parametrize(
    ("when", "fields", "holds"),
    [
        ("any: [{stream: fermi}, {stream: swift, min_importance: 0.5}]", {}, True),
        ("any: [{stream: fermi}, {stream: swift, min_importance: 0.95}]", {}, False),
        ("any: {stream: fermi}", {}, False),
        ("not: {stream: fermi}", {}, True),
        ("not: {stream: swift, kind: update}", {}, True),
        ("not: {stream: swift, kind: initial}", {}, False),
        ("not: [{stream: fermi}, {kind: initial}]", {}, False),
        ("not: [{stream: fermi}, {kind: update}]", {}, True),
        ("not: {max_error_radius: 0.01}", {}, True),
        ("not: {max_error_radius: 0.01}", {"error_radius": None}, False),
        ("not: {not: {stream: swift}}", {}, True),
        ("any: [{max_far: 1 per year}, {not: {max_far: 1 per year}}]", {}, False),
        ("any: [{max_far: 1 per year}, {stream: swift}]", {}, True),
        ("stream: swift, any: [{not: {stream: swift}}, {any: [{kind: update}, {kind: initial}]}]", {}, True),
        ("not: {min_probability: {BNS: 0.5}}", {"classification": {"BNS": 0.1}}, True),
        ("not: {min_probability: {BNS: 0.5}}", {}, False),
        ("not: {significant: true}", {"significant": None}, False),
        ("not: {significant: true}", {"significant": False}, True),
    ],
)
def test_any_and_not(tmp_path: Path, when: str, fields: dict[str, Any], holds: bool) -> None:
    """What is unknown holds neither way."""
    assert one(tmp_path, when).decide(alert(**fields), NOW).accepted is holds


def test_the_reason_of_a_group_is_told(tmp_path: Path) -> None:
    tried = one(tmp_path, "any: [{max_error_radius: 0.01}, {max_age: 1 s}], not: {kind: initial}")
    assert tried.decide(alert(), NOW).reason == (
        "no rule fits swift SWIFT_BAT_GRB_POS_ACK (one: none of: error radius 0.05 > 0.01 deg; age 60 s > 1 s)"
    )
    assert "one: but kind initial" in one(tmp_path, "not: {kind: initial}").decide(alert(), NOW).reason


def test_a_decision_tells_rule_by_rule_what_was_wanted_and_found(tmp_path: Path) -> None:
    text = f"""
rules:
  - {{name: fermi, when: {{stream: fermi}}, {OBSERVE}}}
  - {{name: small, when: {{stream: swift, max_error_radius: 0.01, max_age: 1 h}}, {OBSERVE}}}
  - {{name: high, when: {{any: [{{min_altitude_now: 60}}, {{min_moon_distance: 30}}]}}, {OBSERVE}}}
  - {{name: never asked, {OBSERVE}}}
"""
    decision = rules(tmp_path, text).decide(alert(), NOW, FixedSky())
    told = [
        (each.rule, each.applies, [(judged.condition, judged.holds, judged.value, judged.wanted) for judged in
                                   each.conditions]) for each in decision.considered
    ]  # fmt: skip
    assert told == [
        ("fermi", False, [("stream", False, None, None)]),  # about another alert: the words are enough
        ("small", False, [("stream", True, "swift", ("swift",)), ("max_error_radius", False, 0.05, 0.01)]),
        ("high", True, [("any", True, None, None)]),
    ]
    parts = decision.considered[2].conditions[0].parts
    assert [(part.condition, part.holds, part.value) for part in parts] == [
        ("min_altitude_now", False, 35.0), ("min_moon_distance", True, 40.0)
    ]  # fmt: skip
    stored = msgspec.json.encode(decision.considered)
    assert msgspec.json.decode(stored, type=tuple[Considered, ...])[2].conditions[0].parts[0].wanted == 60.0


def test_repeats_are_read_as_seconds(tmp_path: Path) -> None:
    assert one(tmp_path, "", ", repeat: [30 min, 2 h, 1 d]").decide(alert(), NOW).repeat == (1800.0, 7200.0, 86_400.0)
    assert one(tmp_path, "", ", repeat: 2 h").decide(alert(), NOW).repeat == (7200.0,)
    assert one(tmp_path, "").decide(alert(), NOW).repeat == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("when: {any: []}", "one) when.any: must be a mapping of conditions, or a list of such mappings"),
        ("when: {any: [{}]}", "one) when.any: has an empty group, which would hold for every alert"),
        ("when: {any: [{stream: a}, {strem: b}]}", "one) when.any[2] strem: is not known here; known are stream, "),
        ("when: {strem: b}", "(did you mean stream?)"),
        ("when: {not: {max_age: soon}}", "one) when.not[1].max_age: must be a number of s"),
        ("when: {not: 5}", "one) when.not[1]: must be a mapping of conditions, such as {stream: swift}, not 5"),
        ("when: {role: test}", "one) when.role: must be of observation, prediction (tests"),
        ("when: {max_sun_altitude: -100}", "one) when.max_sun_altitude: must be a number of deg, from -90 to 90"),
        ("when: {min_time_up: [1]}", "one) when.min_time_up: must be a number of s"),
        ("repeat: [2 h, 1 h]", "one) repeat: must be 20 times at most, each later than the one before"),
        ("repeat: [0]", "one) repeat: must be 20 times at most, each later than the one before"),
        (f"repeat: {list(range(1, 30))}", "one) repeat: must be 20 times at most"),
        ("repeat: [1 h, often]", "one) repeat: must be a number of s"),
        ("repat: 1 h", "one) repat: is not known here; known are name"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(tmp_path, f"rules:\n  - {{name: one, {text}, {OBSERVE}}}\n")
    assert any(problem in each for each in caught.value.problems), caught.value.problems
    assert all(each.startswith(f"{tmp_path / 'rules.yaml'}: line 2: rule 1 (") for each in caught.value.problems)


def test_groups_that_contain_themselves_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="any, not and event are nested more than 8 deep"):
        rules(tmp_path, f"rules:\n  - {{name: one, when: &a {{not: *a}}, {OBSERVE}}}\n")


def test_what_is_not_observed_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="repeat: means nothing where nothing is observed"):
        rules(tmp_path, "rules:\n  - {name: one, observe: nothing, repeat: 1 h}\n")


def test_the_file_explains_every_condition() -> None:
    text = SHIPPED.read_text()
    for word in (*CONDITIONS, "any", "not", "event", "repeat", "expires_after", "min_altitude", "priority"):
        assert f"#     {word} " in text or f"#   {word} " in text, word
