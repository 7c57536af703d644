"""What a file of rules may not mean, told without refusing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyros.alerts import Rules
from pyros.alerts.rules.backtest import backtest_rules
from pyros.alerts.rules.lint import never_fitting, unknown_notice_types, unknown_streams, unmatched_names
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
        ("{stream: nobody}", "nobody'"),
        ("{stream: [ztf, lsst, tns, dsa110, konus]}", ""),
        ("{stream: Swift}", ""),
        ("{stream: a.new/mission}", ""),
        ("{stream: 'swif*'}", ""),
        ("{max_age: 1 d}", ""),
    ],
)  # fmt: skip
def test_streams_that_no_table_has(tmp_path: Path, when: str, meant: str) -> None:
    found = list(unknown_streams(rules(tmp_path, when)))
    assert len(found) == bool(meant)
    assert all(each.startswith("rule 'a' when.stream: PYROS knows no stream '") and meant in each for each in found)


def test_the_rules_that_are_shipped_are_beyond_doubt() -> None:
    shipped = Rules.load(SHIPPED)
    assert [each for lint in (unknown_streams, never_fitting, unknown_notice_types) for each in lint(shipped)] == []


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ("{min_declination: 30, max_declination: 10}", "min_declination 30 is above max_declination 10"),
        ('{probability: ["BNS > 0.5", "BNS < 0.2"]}', "BNS cannot be above 0.5 and below 0.2"),
        ("{event: {min_duration: 3, max_duration: 2}}", "in event: min_duration 3 is above max_duration 2"),
        ("{max_age: 1 h, not: {max_age: 2 h}}", "what must hold is also under not"),
        ("{max_age: 2 h, not: {max_age: 1 h}}", ""),
        ("{any: [{min_magnitude: 3, max_magnitude: 2}, {stream: gaia}]}", ""),
        ("{min_declination: 10, max_declination: 30}", ""),
    ],
)
def test_rules_that_exclude_themselves(tmp_path: Path, when: str, why: str) -> None:
    assert list(never_fitting(rules(tmp_path, when))) == ([f"rule 'a' can never fit: {why}"] if why else [])


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ("{stream: swift, min_signalness: 0.5}", "no packet of swift tells what min_signalness asks for"),
        ("{stream: [Fermi, lvc], min_signalness: 0.5}", "no packet of Fermi or lvc tells what min_signalness asks for"),
        ("{stream: [swift, icecube], min_signalness: 0.5}", ""),
        ("{stream: 'sw*', min_signalness: 0.5}", ""),
        ("{stream: a.new/mission, min_signalness: 0.5}", ""),
        ("{stream: icecube, max_duration: 2}", "no packet of icecube tells what max_duration asks for"),
        ("{stream: swift, min_real_bogus: 0.5}", "no packet of swift tells what min_real_bogus asks for"),
        ("{stream: ztf, min_real_bogus: 0.5}", ""),
        ("{stream: fermi, significant: true}", "no packet of fermi tells what significant asks for"),
        ("{stream: swift, any: [{min_signalness: 0.5}, {group: CBC}]}",
         "in any: no packet of swift tells what min_signalness asks for"),
        ("{stream: swift, any: [{min_signalness: 0.5}, {max_age: 1 h}]}", ""),
        ("{stream: swift, event: {min_signalness: 0.5}}", ""),
        ("{stream: swift, notice_type: FERMI_GBM_*}", "FERMI_GBM_* is no notice of swift"),
        ("{stream: [swift, svom], notice_type: [LVC_UPDATE, ICECUBE_*]}",
         "LVC_UPDATE or ICECUBE_* is no notice of swift or svom"),
        ("{stream: swift, notice_type: [FERMI_GBM_*, swift.bat.guano]}", ""),
        ("{stream: '*', notice_type: FERMI_GBM_*}", ""),
        ("{stream: icecube, notice_type: AMON_ICECUBE_*}", ""),
    ],
)  # fmt: skip
def test_rules_that_ask_a_stream_for_what_it_never_tells(tmp_path: Path, when: str, why: str) -> None:
    assert list(never_fitting(rules(tmp_path, when))) == ([f"rule 'a' can never fit: {why}"] if why else [])


@pytest.mark.parametrize(
    ("above", "below", "covered"),
    [
        ("{stream: [swift, fermi]}", "{stream: swift, max_age: 1 h}", True),
        ("{stream: 's*'}", "{stream: swift}", True),
        ("{max_error_radius: 1}", "{max_error_radius: 0.5}", True),
        ("{max_error_radius: 1}", "{max_error_radius: 2}", False),
        ("{max_error_radius: 1, stream: swift}", "{max_error_radius: 0.5}", False),
        ("{min_time_up: 1 h}", "{min_time_up: 2 h}", False),
        ("{any: [{stream: swift}]}", "{any: [{stream: swift}], max_age: 1 d}", True),
    ],
)
def test_rules_below_one_that_decides_all_of_theirs(tmp_path: Path, above: str, below: str, covered: bool) -> None:
    observe = "observe: [{filter: r, seconds: 1}]"
    file = tmp_path / "rules.yaml"
    file.write_text(f"rules:\n- {{name: a, when: {above}, {observe}}}\n- {{name: b, when: {below}, {observe}}}\n")
    found = list(never_fitting(Rules.load(file)))
    assert found == (["rule 'b' can never fit: whatever fits it is decided by 'a' above it"] if covered else [])


def test_notices_that_nobody_sends(tmp_path: Path) -> None:
    (told,) = unknown_notice_types(rules(tmp_path, "{notice_type: [SWIFT_XRT_POSITON, SWIFT_X*, a.topic, LVC_*]}"))
    assert told.endswith("knows no notice 'SWIFT_XRT_POSITON' (did you mean SWIFT_XRT_POSITION?)")


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
