"""The gate reads what a full decoder reads, drops nothing that a rule may want, and survives any bytes."""

from __future__ import annotations

import io
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.alerts import parse
from pyros.alerts.alert import Alert
from pyros.alerts.gate import Gate, Projection
from pyros.alerts.gate.gate import fields
from pyros.alerts.rules import templates
from pyros.alerts.rules.circumstances import EventFacts
from pyros.alerts.rules.rules import Rules
from pyros.errors import AlertError
from tests.alerts.test_templates import DarkSky

fastavro: Any = pytest.importorskip("fastavro", reason="needs: pip install 'pyros-observatory[avro]'")

SOURCE = {
    "type": "record", "name": "lsst.v10.diaSource", "fields": [
        {"name": "diaSourceId", "type": "long"}, {"name": "visit", "type": "long"},
        {"name": "diaObjectId", "type": ["null", "long"], "default": None},
        {"name": "midpointMjdTai", "type": "double"}, {"name": "ra", "type": "double"},
        {"name": "raErr", "type": ["null", "float"]}, {"name": "dec", "type": "double"},
        {"name": "psfFlux", "type": ["null", "float"]}, {"name": "reliability", "type": ["null", "float"]},
        {"name": "band", "type": ["null", "string"]},
    ],
}  # fmt: skip
RUBIN = {
    "type": "record", "name": "lsst.v10.alert", "fields": [
        {"name": "diaSourceId", "type": "long"}, {"name": "observation_reason", "type": ["null", "string"]},
        {"name": "diaSource", "type": SOURCE},
        {"name": "prvDiaSources", "type": ["null", {"type": "array", "items": "lsst.v10.diaSource"}]},
        {"name": "cutoutDifference", "type": ["null", "bytes"]},
    ],
}  # fmt: skip
ZTF = {
    "type": "record", "name": "ztf.alert", "fields": [
        {"name": "schemavsn", "type": "string"}, {"name": "publisher", "type": "string"},
        {"name": "objectId", "type": "string"}, {"name": "candid", "type": "long"},
        {"name": "candidate", "type": {"type": "record", "name": "ztf.candidate", "fields": [
            {"name": "jd", "type": "double"}, {"name": "ra", "type": "double"}, {"name": "dec", "type": "double"},
            {"name": "magpsf", "type": "float"}, {"name": "drb", "type": ["null", "float"]},
        ]}},
        {"name": "cutoutScience", "type": ["null", "bytes"]},
        {"name": "rf_snia_vs_nonia", "type": ["null", "double"]},
    ],
}  # fmt: skip


def source(number: int, flux: float = 5000.0, reliability: float = 0.9) -> dict[str, Any]:
    return {
        "diaSourceId": number, "visit": 7, "diaObjectId": 1000 + number, "midpointMjdTai": 61000.25, "ra": 150.5,
        "raErr": None, "dec": -2.5, "psfFlux": flux, "reliability": reliability, "band": "r",
    }  # fmt: skip


def rubin(number: int, flux: float = 5000.0, reliability: float = 0.9) -> bytes:
    """Frame a packet as a schema registry's clients do."""
    file = io.BytesIO()
    record = {
        "diaSourceId": number, "observation_reason": None, "diaSource": source(number, flux, reliability),
        "prvDiaSources": [source(each) for each in range(20)], "cutoutDifference": b"x" * 9000,
    }  # fmt: skip
    fastavro.schemaless_writer(file, fastavro.parse_schema(RUBIN), record)
    return b"\0\0\0\0\x2a" + file.getvalue()


def ztf(number: int, magnitude: float = 17.5, codec: str = "null", **more: Any) -> bytes:
    file = io.BytesIO()
    candidate = {"jd": 2461000.5, "ra": 10.0, "dec": 20.0, "magpsf": magnitude, "drb": 0.99}
    record = {
        "schemavsn": "4.02", "publisher": "ZTF", "objectId": f"ZTF26aaaaa{number:02}", "candid": number,
        "candidate": candidate, "cutoutScience": b"y" * 9000, "rf_snia_vs_nonia": None, **more,
    }  # fmt: skip
    fastavro.writer(file, ZTF, [record], codec)
    return file.getvalue()


def gate(folder: Path, when: str, more: str = "") -> Gate:
    file = folder / "rules.yaml"
    file.write_text(f"rules:\n{more}  - {{name: it, when: {{{when}}}, observe: [{{filter: r, seconds: 1}}]}}\n")
    return Gate(Rules.load(file), RUBIN)


def test_a_rubin_packet_passes_with_the_fields_that_make_its_alert(tmp_path: Path) -> None:
    made = gate(tmp_path, "stream: lsst, max_magnitude: 22.5, min_real_bogus: 0.5, max_age: 1 h")
    found = made.candidate(rubin(7))
    assert found is not None
    alert = parse(found)
    assert (alert.event, alert.target) == ("lsst:1007", (150.5, -2.5))
    assert alert.measured["magnitude"] == pytest.approx(22.153, abs=0.001)
    assert b"cutout" not in found
    assert b"prv" not in found
    assert made.candidate(rubin(8, flux=100.0)) is None, "too faint"
    assert made.candidate(rubin(9, reliability=0.1)) is None
    assert (made.taken, made.passed, made.refused) == (3, 1, 0)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_container_passes_with_the_alert_that_the_whole_packet_makes(tmp_path: Path, codec: str) -> None:
    made = gate(tmp_path, 'stream: ztf, probability: "early SN Ia > 0.5"')
    packet = ztf(1, codec=codec, rf_snia_vs_nonia=0.75)
    found = made.candidate(packet)
    assert found is not None
    assert parse(found) == parse(packet)
    assert made.candidate(ztf(2, codec=codec, rf_snia_vs_nonia=0.25)) is None
    assert made.candidate(ztf(3, codec=codec)) is None


def test_what_a_rule_above_surely_refuses_is_dropped_and_what_it_may_refuse_is_not(tmp_path: Path) -> None:
    refused = "  - {name: bright, when: {max_magnitude: 18}, observe: nothing}\n"
    assert gate(tmp_path, "stream: ztf", refused).candidate(ztf(1)) is None
    perhaps = "  - {name: bright, when: {max_magnitude: 18, min_altitude_now: 30}, observe: nothing}\n"
    assert gate(tmp_path, "stream: ztf", perhaps).candidate(ztf(1)) is not None


ALERTS = st.builds(
    lambda magnitude, score, dec, known, classes: Alert(
        stream="ztf", id="a", event="ztf:a", time=datetime(2026, 5, 6, 8, tzinfo=UTC), ra=10.0, dec=dec,
        measured={"magnitude": magnitude, "real_bogus": score}, known_source=known, classification=classes,
    ),
    st.floats(12, 22), st.floats(0, 1), st.floats(-80, 80), st.booleans(),
    st.dictionaries(st.sampled_from(["SN", "SN Ia", "AGN", "VS"]), st.floats(0, 1), max_size=3),
)  # fmt: skip
CONDITIONS = st.lists(
    st.sampled_from([
        "max_magnitude: 18", "min_real_bogus: 0.5", "min_altitude_now: 30", "not: {max_magnitude: 15}", "max_age: 1 h",
        "not: {min_altitude_now: 70, max_magnitude: 16}", "any: [{most_likely: SN}, {min_altitude_now: 10}]",
        "any: [{known_source: true}, {max_declination: 0}]", "event: {max_magnitude: 17}", "coincident_with: lvc",
        'probability: "SN + SN Ia > 0.5"', "not: [{coincident_with: lvc}, {most_likely: AGN}]",
    ]),
    max_size=3, unique_by=lambda text: text.partition(":")[0],
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(ALERTS, st.lists(st.tuples(CONDITIONS, st.booleans()), min_size=1, max_size=3), st.booleans())
def test_nothing_is_dropped_that_the_rules_would_have_observed(
    tmp_path_factory: pytest.TempPathFactory, alert: Alert, asked: list[tuple[list[str], bool]], coincident: bool
) -> None:
    file = tmp_path_factory.getbasetemp() / "gate.yaml"
    lines = [
        f"  - {{name: r{number}, when: {{{', '.join(when)}}}, observe: "
        + ("[{filter: r, seconds: 1}]}" if observes else "nothing}")
        for number, (when, observes) in enumerate(asked)
    ]
    file.write_text("rules:\n" + "\n".join(lines) + "\n")
    rules = Rules.load(file)
    assert alert.time is not None
    event = EventFacts(alert, coincident=("lvc",) if coincident else ())
    decision = rules.decide(alert, alert.time + timedelta(minutes=1), DarkSky(), event)
    assert Gate(rules, RUBIN).may_want(alert) or not decision.accepted


def test_the_template_for_surveys_goes_through_the_gate(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(templates.template("survey-transients"))
    made = Gate(Rules.load(tmp_path / "rules.yaml"))
    assert made.candidate(ztf(1)) is not None
    assert made.candidate(ztf(2, magnitude=19.5)) is None


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_packets_are_refused_and_nothing_else_happens(data: st.DataObject) -> None:
    packet = bytearray(data.draw(st.sampled_from([rubin(1), ztf(1), ztf(2, codec="deflate")])))
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, min(900, len(packet) - 1)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packet)))
    for bad in (bytes(packet), bytes(packet[:cut])):
        with suppress(AlertError):
            Projection(fields(classes=True), RUBIN).read(bad)


def test_a_packet_of_a_registry_needs_its_schema(tmp_path: Path) -> None:
    with pytest.raises(AlertError, match="a registry whose schema is given"):
        Projection(["diaSourceId"]).read(rubin(1))
    with pytest.raises(AlertError, match="none of the fields"):
        Projection(["nothing"], RUBIN)
    with pytest.raises(AlertError, match="no packet of a survey"):
        gate(tmp_path, "stream: lsst").candidate(container_of_nothing())


def container_of_nothing() -> bytes:
    file = io.BytesIO()
    schema = {"type": "record", "name": "x", "fields": [{"name": "candid", "type": "long"}]}
    fastavro.writer(file, schema, [{"candid": 1}])
    return file.getvalue()
