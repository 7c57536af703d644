"""Every packet of the corpus of real alerts: parsed or refused, and understood, as its manifest says.

The corpus stands beside the checkout (``../shared/corpus``) and is no part of the project; without it these tests are
skipped. The manifest tells what a packet says. Where that isn't what it means, the exception is listed here.
"""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from pyros.alerts import Alert, Rules, parse
from pyros.errors import AlertError

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"
Row = dict[str, str]

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus of real packets at {CORPUS}")

READ = {"bad/dc3-brokertest/no_namespace_packet.xml"}
"""What the schema refuses, and PYROS reads."""
REFUSED = {
    "bad/*": "not parseable, not a VOEvent, a placeholder, or a message of the transport",
    "derived/billion-laughs/*": "DOCTYPE: refused before anything is expanded",
    "derived/doctype-entity/*": "DOCTYPE",
    "derived/xxe/*": "DOCTYPE with an external entity",
    "derived/html-entity/*": "an undefined entity: not well-formed",
    "derived/leading-newline/*": "a declaration that is not at the start: not well-formed",
    "derived/truncated/*": "cut: not well-formed",
    "schema/*": "JSON schemas, no notices",
}

NONE = (None, None)

INSIDE = "the manifest doesn't look into VOEvents that are JSON"

# (file, what is meant, why). The first that fits counts.
ROLES: list[tuple[str, Any, str]] = [
    ("voevent/icecube/TEST_Event2015*", "test", "GCN's daily test (type 159, TrigID 99999) sent as an observation"),
    ("voevent/integral/integral_grb_gcn.xml", "test", "Test_Notice is true"),
]
KINDS: list[tuple[str, Any, str]] = [
    ("voevent/swift-bat/BAT_Trans_Pos_*", "retraction", "the star tracker had lost lock: a false trigger"),
    ("gcn-json/voevent-as-json/745*", "update", INSIDE),
    ("gcn-json/voevent-as-json/S24*", "update", INSIDE),
]
EVENTS: list[tuple[str, Any, str]] = [
    ("voevent/4pisky-asassn/*2016fvf*", "asassn:2016fvf_PTSS-16nqb_PS16ejf", "all its names, as the ivorn has them"),
    ("voevent/4pisky-asassn/2018*", "asassn:ASASSN-18xe", "ASAS-SN's own name, in the ivorn; the Param has the TNS's"),
    ("voevent/4pisky-asassn/2020*", "asassn:AT2020buw__ZTF18aanejam", "both its names, as the ivorn has them"),
    ("voevent/km3net/*", "km3net:KM3-240901A", "TrigID counts 1; the name is the event's, as in the JSON"),
]
POSITIONS: list[tuple[str, Any, str]] = [
    ("voevent/snews/*", NONE, "a circle of 360 degrees is the whole sky"),
    ("*/dc3-brokertest/*", NONE, "exactly 0/0 with radius 0 in a test"),
    ("voevent/chime/*", NONE, "exactly 0/0: blanked by its author"),
    ("voevent/gcn-odd/BAT_Known_Pos_2110602006*", NONE, "RA -360, Dec 91 are nowhere"),
    ("voevent/gcn-odd/Point_Dir_2014-12-11*", (0.0, -50.0), "RA 360 is 0"),
    ("gcn-json/boom/*", (150.175649, 15.2832185), "nested in the only target"),
    ("gcn-json/voevent-as-json/745*", (142.34, 49.5), INSIDE),
    ("gcn-json/voevent-as-json/118*", (261.9416, -16.2138), INSIDE),
]
RADII: list[tuple[str, Any, str]] = [
    ("voevent/sk_sn/*", 0.9, "Error2Radius is 0; Src_Error90 has it"),
    ("voevent/snews/*", None, "360 degrees: the whole sky"),
    ("voevent/chime/*", None, "no position, no radius"),
    ("voevent/gcn-odd/BAT_Known_Pos_2110602006*", None, "no position, no radius"),
    ("gcn-json/voevent-as-json/745*", 29.48, INSIDE),
    ("gcn-json/voevent-as-json/118*", 0.05, INSIDE),
]
ROLLED = "the year rolled over in ISOTime; the truncated Julian day has the date"
TDB = "ISOTime is TDB, 69.184 seconds ahead of UTC in these years"
TIMES: list[tuple[str, Any, str]] = [
    ("voevent/fermi-gbm/GBM_Fin_Pos_Int_2016-01--19*", "2015-12-12T01:32:04.970", ROLLED),
    ("voevent/fermi-gbm/GBM_Fin_Pos_Int_2016-01--20*", "2015-12-11T16:07:34.520", ROLLED),
    ("voevent/gcn-odd/GBM_Fin_Pos_Int_2016-01--12*", "2015-12-19T13:36:22.840", ROLLED),
    ("voevent/gcn-odd/GBM_Fin_Pos_Int_2016-01--3*", "2015-12-28T03:05:12.460", ROLLED),
    ("voevent/gcn-odd/GBM_Fin_Pos_Int_2016-01--9*", "2015-12-22T08:10:13.620", ROLLED),
    ("voevent/gcn-odd/BAT_Known_Pos_1756312441*", "2015-12-31T13:46:40", ROLLED),
    ("voevent/gcn-odd/BAT_SubSubThresh_Pos_*", "2015-12-31T13:46:40", ROLLED),
    ("voevent/gcn-odd/Point_Dir_2015-00*", "2016-01-01T23:49:00", ROLLED),
    ("voevent/sk_sn/Event_2022-01-00*", "2021-12-31T23:16:14.460", ROLLED),
    ("voevent/gcn-odd/Actual_Point_Dir_*", None, "neither ISOTime nor the Julian day is near Who/Date"),
    ("voevent/gcn-odd/BAT_Scaledmap_*", None, "neither ISOTime nor the Julian day is a date"),
    ("voevent/swift-bat/BAT_QuickLook_Pos_16453627*", None, "day 0 of month 0; the Julian day is in 2052"),
    ("voevent/gaia/Gaia16aac*", "2016-01-16T07:51:18.816", "ISOTime is TDB: 32.184 + 36 seconds ahead of UTC"),
    ("voevent/gaia/Gaia16bsf*", "2016-10-31T22:26:24.816", "ISOTime is TDB: 32.184 + 36 seconds ahead of UTC"),
    ("voevent/gaia/Gaia17dbj*", "2017-11-25T21:49:44.816", TDB),
    ("voevent/gaia/Gaia21ejf*", "2021-09-19T09:50:55.816", TDB),
    ("gcn-json/voevent-as-json/745*", "2024-08-20T01:54:40.070", INSIDE),
    ("gcn-json/voevent-as-json/118*", "2023-08-25T09:03:36.110", INSIDE),
    ("gcn-json/voevent-as-json/S24*", "2024-04-21T05:29:35.734400", INSIDE),
]


def rows() -> Iterator[Row]:
    with (CORPUS / "MANIFEST.tsv").open(encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def refused(row: Row) -> bool:
    return row["file"] not in READ and any(fnmatchcase(row["file"], pattern) for pattern in REFUSED)


@pytest.fixture(scope="module")
def alerts() -> list[tuple[Row, Alert]]:
    return [(row, parse((CORPUS / row["file"]).read_bytes())) for row in rows() if not refused(row)]


def compare(
    alerts: list[tuple[Row, Alert]],
    exceptions: list[tuple[str, Any, str]],
    said: Callable[[Row], Any],
    got: Callable[[Alert], Any],
    same: Callable[[Any, Any], bool],
) -> None:
    """Every packet agrees with its manifest, or with its listed exception; and no listed exception is idle."""
    disagree, used = [], set()
    for row, alert in alerts:
        listed = next((item for item in exceptions if fnmatchcase(row["file"], item[0])), None)
        if same(said(row), got(alert)):
            continue
        if listed and same(listed[1], got(alert)):
            used.add(listed[0])
        else:
            disagree.append(f"{row['file']}: says {said(row)!r}, listed {listed and listed[1]!r}, got {got(alert)!r}")
    assert not disagree, "\n".join(disagree)
    assert not [item for item in exceptions if item[0] not in used], "exceptions that nothing needs"


def test_each_packet_is_parsed_or_refused() -> None:
    wrong = []
    for row in rows():
        try:
            parse((CORPUS / row["file"]).read_bytes())
        except AlertError as error:
            message = str(error)
            if not refused(row) or "\n" in message or len(message) > 400:
                wrong.append(f"{row['file']}: {message}")
        else:
            if refused(row):
                wrong.append(f"{row['file']}: should be refused")
    assert not wrong, "\n".join(wrong)


def test_roles(alerts: list[tuple[Row, Alert]]) -> None:
    tests = {"test", "injection"}

    def said(row: Row) -> str:
        tense = row["test_flags"].partition("alert_tense=")[2]
        mock = tense in tests or "mock" in row["test_flags"] or row["file"].endswith("/test.example.json")
        default = "utility" if "circulars" in row["file"] else "observation"
        return row["role"] or ("test" if mock else default)

    compare(alerts, ROLES, said, lambda alert: alert.role, str.__eq__)


def test_kinds(alerts: list[tuple[Row, Alert]]) -> None:
    def said(row: Row) -> str:
        tricky = set(row["tricky"].split(","))
        if tricky & {"retraction", "retraction-by-flag", "retraction-no-citation"} or "Lost_Lock=true" in row["what"]:
            return "retraction"
        revised = re.search(r"\b[Rr]ev=[1-9]", row["serial"]) or "AlertType=Update" in row["notice_type"]
        if "empty-citation" in tricky:  # what cites nothing is no update
            return "initial"
        return "update" if revised or tricky & {"update", "followup-cite"} else "initial"

    compare(alerts, KINDS, said, lambda alert: alert.kind, str.__eq__)


def test_events(alerts: list[tuple[Row, Alert]]) -> None:
    def said(row: Row) -> set[str] | None:
        """Return the names of its event; none where the manifest's are 0, -1 or None, which say that it has none."""
        pairs = dict(item.split("=", 1) for item in row["event_id"].split("; ") if "=" in item)
        if not pairs:
            return None
        if {"run_id", "event_id"} <= pairs.keys():
            return {f"{pairs['run_id']}_{pairs['event_id']}"}
        names = [ast.literal_eval(text) if text.startswith("[") else [text] for text in pairs.values()]
        every = {name for group in names for name in group}
        if "/integral/" in row["file"]:  # above 16 bits TrigID counts the notices
            every = {str(int(name) & 0xFFFF) for name in every}
        return every - {"0", "-1", "None"} or None

    def same(wanted: Any, event: str) -> bool:
        if isinstance(wanted, str):
            return fnmatchcase(event, wanted)
        if wanted is None:
            return bool(re.match("ivo:|[a-z_0-9.]+:.", event))
        return not event.startswith("ivo:") and event.partition(":")[2] in wanted

    compare(alerts, EVENTS, said, lambda alert: alert.event, same)
    assert {alert.event for row, alert in alerts if "km3net" in row["file"]} == {"km3net:KM3-240901A"}
    assert all(alert.event and alert.id for _, alert in alerts)


def test_positions(alerts: list[tuple[Row, Alert]]) -> None:
    def said(row: Row) -> tuple[float | None, float | None]:
        if row["coords_type_or_containment"].startswith("unavailable"):
            return NONE
        return (float(row["c1_or_ra"]), float(row["c2_or_dec"])) if row["c1_or_ra"] else NONE

    def same(wanted: Any, got: Any) -> bool:
        if None in wanted or None in got:
            return bool(wanted == got)
        return all(abs(a - b) < 1e-6 for a, b in zip(wanted, got, strict=True))

    compare(alerts, POSITIONS, said, lambda alert: (alert.ra, alert.dec), same)


def test_what_only_points_is_no_target(alerts: list[tuple[Row, Alert]]) -> None:
    for row, alert in alerts:
        pointing = row["coords_type_or_containment"].startswith("pointing_direction") and alert.stream != "sk_sn"
        assert alert.pointing is pointing, row["file"]
        assert (alert.target is None) is (alert.ra is None or pointing), row["file"]


def test_error_radii(alerts: list[tuple[Row, Alert]]) -> None:
    def said(row: Row) -> float | None:
        text = row["error_radius"]
        size = max(ast.literal_eval(text)[:2]) if text.startswith("[") else float(text or 0)
        return size if size > 0 else None  # 0, -1 and INTEGRAL's negative ones: unknown

    compare(alerts, RADII, said, lambda alert: alert.error_radius, lambda a, b: a == pytest.approx(b, abs=1e-9))


def test_times(alerts: list[tuple[Row, Alert]]) -> None:
    def moment(text: str) -> datetime | str:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            return text
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def same(wanted: Any, got: datetime | None) -> bool:
        wanted = moment(wanted) if isinstance(wanted, str) else wanted
        return bool(wanted == got)

    compare(alerts, TIMES, lambda row: moment(row["isotime"]) if row["isotime"] else None, lambda a: a.time, same)
    assert all(alert.time is None or alert.time.utcoffset() == timedelta(0) for _, alert in alerts)


def test_identifiers_and_citations(alerts: list[tuple[Row, Alert]]) -> None:
    for row, alert in alerts:
        if row["ivorn"] and row["kind"] != "gcn-json":
            assert alert.ivorn == alert.id == row["ivorn"]
        cited = [item.partition(":") for item in row["citations"].split(" | ") if ":" in item]
        if row["kind"] == "voevent":
            assert alert.citations == tuple((ivorn, cite) for cite, _, ivorn in cited if ivorn), row["file"]


def test_false_alarm_rates_are_hertz(alerts: list[tuple[Row, Alert]]) -> None:
    for row, alert in alerts:
        if row["far"]:
            size, unit = row["far"].split(" ", 1)
            hertz = (
                unit == "Hz" or "km3net" in row["file"]
            )  # KM3NeT's label is wrong: its JSON has the same number in Hz
            assert alert.far == pytest.approx(float(size) / (1.0 if hertz else 365.25 * 86_400)), row["file"]


def test_retractions_name_the_event_of_what_they_retract(alerts: list[tuple[Row, Alert]]) -> None:
    by_ivorn = {alert.ivorn: alert for _, alert in alerts if alert.ivorn}
    checked = 0
    for row, alert in alerts:
        for ivorn, _ in alert.citations if alert.kind == "retraction" else ():
            if ivorn in by_ivorn:
                assert by_ivorn[ivorn].event == alert.event, row["file"]
                checked += 1
    assert checked >= 20


def test_tests_utilities_and_retractions_are_never_observed(alerts: list[tuple[Row, Alert]]) -> None:
    rules = Rules.load(ROOT / "observatory" / "alert_rules.yaml")
    accepted = 0
    for row, alert in alerts:
        moment = alert.time or alert.sent or datetime(2026, 1, 1, tzinfo=UTC)
        decision = rules.decide(alert, moment + timedelta(seconds=30))
        if row["role"] in {"test", "utility"} or not alert.actionable or alert.target is None:
            assert not decision.accepted, row["file"]
        accepted += decision.accepted
    assert accepted > 50
