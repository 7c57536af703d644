"""What a file of rules may not mean, told without refusing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyros.alerts import Rules
from pyros.alerts.rules.backtest import backtest_rules
from pyros.alerts.rules.lint import misspelt_streams, unmatched_names
from tests.alerts.test_backtest import alert, entries

SHIPPED = Path(__file__).parents[2] / "observatory" / "alert_rules.yaml"


def rules(tmp_path: Path, when: str) -> Rules:
    (tmp_path / "rules.yaml").write_text(f"rules:\n- {{name: a, when: {when}, observe: [{{filter: r, seconds: 1}}]}}\n")
    return Rules.load(tmp_path / "rules.yaml")


def doubts(tmp_path: Path, when: str, *past: Any) -> list[str]:
    asked = rules(tmp_path, when)
    return list(unmatched_names(asked, backtest_rules(asked, entries(*past))))


@pytest.mark.parametrize(
    ("when", "meant"),
    [
        ("{stream: swfit}", "swfit' (did you mean swift?)"), ("{any: [{stream: [fermi, icecub]}]}", "icecub' (did you"),
        ("{stream: Swift}", ""), ("{stream: a.new/mission}", ""), ("{stream: 'swif*'}", ""), ("{max_age: 1 d}", ""),
    ],
)  # fmt: skip
def test_streams_of_nearly_a_known_name(tmp_path: Path, when: str, meant: str) -> None:
    found = list(misspelt_streams(rules(tmp_path, when)))
    assert len(found) == bool(meant)
    assert all(each.startswith("rule 'a' when.stream: PYROS knows no stream '") and meant in each for each in found)


def test_the_rules_that_are_shipped_are_beyond_doubt() -> None:
    assert list(misspelt_streams(Rules.load(SHIPPED))) == []


def test_names_that_no_packet_had(tmp_path: Path) -> None:
    past = alert(0, notice_type="SWIFT_XRT_POSITION"), alert(1, event="lvc:1", classification={"BNS": 0.5})
    begin = "rule 'a' fits nothing here: no packet has the "
    assert doubts(tmp_path, "{stream: swfit}", *past) == [f"{begin}stream 'swfit' (did you mean swift?)"]
    assert doubts(tmp_path, "{notice_type: [SWIFT_XRT_POSITON, X*]}", *past) == [
        f"{begin}notice type 'SWIFT_XRT_POSITON' or 'X*' (did you mean SWIFT_XRT_POSITION?)"
    ]
    assert doubts(tmp_path, "{any: {min_probability: {BMS: 0.1}}}", *past) == [f"{begin}class 'BMS'"]
    assert doubts(tmp_path, "{stream: [nobody, swift], max_error_radius: 1 arcsec}", *past) == []
    assert doubts(tmp_path, "{not: {stream: nobody}, max_error_radius: 1 arcsec}", *past) == []
    assert doubts(tmp_path, "{any: [{stream: nobody}, {stream: swift}]}", *past) == [], "it fits"
    assert doubts(tmp_path, "{stream: nobody}") == [], "nothing was tried"


def test_packets_that_fit_and_tell_no_position(tmp_path: Path) -> None:
    mapped = alert(0, stream="lvc", ra=None, dec=None, skymap="https://x.y/z.fits", significant=True)
    unreal = alert(1, stream="lvc", ra=None, dec=None, significant=True, role="test", event="lvc:2")
    (told,) = doubts(tmp_path, "{stream: lvc, significant: true}", mapped, unreal)
    assert told == "rule 'a': 1 packets fit that tell no position of a source, and such are never observed"
    assert doubts(tmp_path, "{stream: lvc, significant: false}", mapped) == []
