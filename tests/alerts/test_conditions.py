"""Conditions that teams publish: what they read from real shapes of packets, and when they hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.alerts import Alert, identity, parse
from pyros.alerts.events import Followed, MapFacts
from pyros.alerts.formats import measurements
from pyros.alerts.identity import Event
from pyros.alerts.rules import readers
from pyros.alerts.rules.circumstances import EventFacts
from pyros.alerts.rules.extinction import extinction
from pyros.alerts.rules.rules import Decision, Rules
from pyros.errors import ConfigError
from tests.builders import voevent

NOW = datetime(2026, 5, 6, 8, tzinfo=UTC)
ALERT = Alert(stream="fermi", id="one", event="fermi:1", time=NOW - timedelta(minutes=5), ra=83.6, dec=22.0)


def decide(folder: Path, when: str, alert: Alert, event: EventFacts | None = None) -> Decision:
    file = folder / "rules.yaml"
    file.write_text(f"rules:\n  - {{name: it, when: {{{when}}}, observe: [{{filter: r, seconds: 1}}]}}\n")
    return Rules.load(file).decide(alert, NOW, event=event)


def changed(**fields: Any) -> Alert:
    return msgspec.structs.replace(ALERT, **fields)


WAVE = {"BNS": 0.4, "NSBH": 0.2, "BBH": 0.3, "Terrestrial": 0.1}
CASES = [
    ('probability: "BNS + NSBH > 0.5"', {"classification": WAVE}, True),
    ('probability: "BNS + NSBH >= 0.6"', {"classification": WAVE}, True),
    ('probability: ["BNS+NSBH>0.5", "Terrestrial < 0.05"]', {"classification": WAVE}, False),
    ('probability: "HasNS > 0.5"', {"classification": WAVE}, None),
    ('not: {probability: "HasNS > 0.5"}', {"classification": WAVE}, None),
    ('probability: "BNS + MassGap > 0.3"', {"classification": WAVE}, True),
    ("most_likely: BNS", {"classification": WAVE}, True),
    ("most_likely: GRB", {}, None),
    ("instruments: [L1]", {"instruments": ("H1", "L1")}, True),
    ("min_instruments: 3", {"instruments": ("H1", "L1")}, False),
    ("group: CBC, pipeline: gst*, search: AllSky", {"group": "CBC", "pipeline": "gstlal", "search": "AllSky"}, True),
    ("group: CBC", {"group": "Burst"}, False),
    ("min_signalness: 0.5", {"measured": {"signalness": 0.49}}, False),
    ("min_image_snr: 6.5, min_rate_snr: 5", {"measured": {"image_snr": 7.0, "rate_snr": 9.0}}, True),
    ("min_image_snr: 6.5", {"measured": {"rate_snr": 9.0}}, None),
    ("max_duration: 2", {"measured": {"duration": 1.9, "timescale": 4.0}}, True),
    ("max_duration: 100 ms", {"measured": {"timescale": 0.128}}, False),
    ("max_magnitude: 19, min_magnitude: 15", {"measured": {"magnitude": 18.0}}, True),
    ("max_magnitude: 19", {"measured": {"magnitude": 19.5}}, False),
    ("min_real_bogus: 0.9", {"measured": {"real_bogus": 0.95}}, True),
    ("min_declination: -30, max_declination: 30", {}, True),
    ("max_declination: 20", {}, False),
    ("max_extinction: 0.5", {"ra": 192.86, "dec": 27.1}, True),
    ("max_extinction: 1", {"ra": 266.4, "dec": -28.9}, False),
    ("max_moon_light: 0.5", {}, None),
    ("max_area90: 100", {}, None),
    ("coincident_with: icecube", {}, False),
    ("coincident_with: icecube", {"related": ("icecube:1_2",)}, True),
]


@pytest.mark.parametrize(("when", "fields", "holds"), CASES)
def test_a_condition_holds_doesnt_or_is_unknown(
    tmp_path: Path, when: str, fields: dict[str, Any], holds: bool | None
) -> None:
    decision = decide(tmp_path, when, changed(**fields))
    assert decision.accepted is bool(holds)
    if holds is None:
        assert "unknown" in decision.reason


@pytest.mark.parametrize(
    "wrong",
    [
        'probability: "BNS > 2"', 'probability: "BNS"', "probability: 0.5", "probability: []",
        'probability: "a + > 0.5"', "min_instruments: 0", "max_moon_light: 2", "min_declination: -91",
        "event: 3", "max_distance: 3 ly",
    ],
)  # fmt: skip
def test_a_mistake_names_the_condition(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigError, match=rf"when\.?{wrong.partition(':')[0]}|when\.event"):
        decide(tmp_path, wrong, ALERT)


@given(st.text(max_size=60))
def test_any_text_is_a_sum_or_a_mistake(text: str) -> None:
    try:
        sums = readers.read_sums(text)
    except ValueError:
        return
    assert all(0 <= each.limit <= 1 and each.classes for each in sums)


def test_conditions_on_the_event_look_at_all_its_packets(tmp_path: Path) -> None:
    first = changed(measured={"duration": 0.5}, error_radius=4.0, classification={"GRB": 0.9})
    second = changed(id="two", ra=83.0, error_radius=0.1, kind="update", sent=NOW)
    event = identity.join(*(Event((identity.packet_record(each),)) for each in (first, second)))
    facts = EventFacts.of(first, Followed(event, map=MapFacts(area90=50.0, distance=40.0)), ("icecube",))
    for when in (
        "event: {max_duration: 1, max_error_radius: 0.2, most_likely: GRB}",
        "max_duration: 1, event: {max_error_radius: 0.2}, max_area90: 60, max_distance: 0.1 Gpc",
        "coincident_with: ice*, min_packets: 2",
        "not: {event: {min_error: 1}}".replace("min_error: 1", "min_duration: 1"),
    ):
        assert decide(tmp_path, when, first, facts).accepted, when
    assert not decide(tmp_path, "max_error_radius: 0.2", first, facts).accepted, "the packet itself is as coarse"
    assert not decide(tmp_path, "event: {max_duration: 0.1}", first, facts).accepted
    assert decide(tmp_path, "event: {max_error_radius: 5}", first).accepted, "without one the packet is the event"


def test_what_an_event_says_together_does_not_depend_on_the_order() -> None:
    alerts = [
        changed(id=str(number), sent=NOW + timedelta(seconds=number), far=far, measured=measured)
        for number, (far, measured) in enumerate(
            [(1e-8, {"snr": 5.0}), (None, {"duration": 1.0}), (1e-9, {"snr": 6.0})]
        )
    ]
    records = [identity.packet_record(each) for each in alerts]
    one = identity.join(*(Event((each,)) for each in records))
    other = identity.join(*(Event((each,)) for each in reversed(records)))
    wanted = {"far": 1e-9, "measured": {"snr": 6.0, "duration": 1.0}}
    assert identity.said_together(one) == identity.said_together(other) == wanted
    stored = msgspec.json.decode(msgspec.json.encode(one), type=Event)
    assert identity.said_together(stored) == wanted


def test_what_params_measure_is_read_and_zero_is_nothing() -> None:
    names = {
        "Most_Likely_Index": "4", "Most_Likely_Prob": "94", "Sec_Most_Likely_Index": "8", "Sec_Most_Likely_Prob": "3",
        "Data_Signif": "12.5", "Burst_Signif": "0.00", "Trig_Timescale": "0.512", "Hardness_Ratio": "0.7",
        "Image_Signif": "0.00", "Burst_Mag": "1831", "Signalness": "2.8e-01", "Instruments": "H1, L1",
    }  # fmt: skip
    params = "".join(f'<Param name="{name}" value="{value}"/>' for name, value in names.items())
    alert = parse(voevent("ivo://nasa.gsfc.gcn/Fermi#GBM_x", params=params))
    assert alert.classification == {"GRB": 0.94, "SFL": 0.03}
    assert alert.instruments == ("H1", "L1")
    assert alert.measured == {
        "signalness": 0.28, "snr": 12.5, "timescale": 0.512, "hardness": 0.7, "magnitude": 18.31,
    }  # fmt: skip


@pytest.mark.parametrize(("unit", "seconds"), [("sec", 64.0), ("[ms]", 0.064), ("minutes", 3840.0), ("keV", None)])
def test_a_duration_is_in_seconds_whatever_its_unit(unit: str, seconds: float | None) -> None:
    param = f'<Param name="Trig_Dur" value="64" unit="{unit}"/>'
    assert parse(voevent("ivo://nasa.gsfc.gcn/Fermi#GBM_x", params=param)).measured.get("timescale") == seconds


def test_a_survey_says_magnitude_score_and_classes() -> None:
    packet = (
        b'{"objectId": "ZTF26aaaaaab", "candid": 7, "candidate": {"ra": 10, "dec": 20, "jd": 2461000.5,'
        b' "magpsf": 17.25, "drb": 0.99}, "classification": "SN", "rf_snia_vs_nonia": 0.75}'
    )
    alert = parse(packet)
    assert alert.measured == {"magnitude": 17.25, "real_bogus": 0.99}
    assert alert.classification == {"SN": 1.0, "early SN Ia": 0.75}
    rubin = {
        "diaSourceId": 5,
        "diaSource": {"ra": 1.0, "dec": 2.0, "psfFlux": 3630.78, "reliability": 0.9, "snr": 30.0},
    }
    assert parse(msgspec.json.encode(rubin)).measured == {"magnitude": 22.5, "real_bogus": 0.9, "snr": 30.0}


def test_every_measurement_has_a_unit() -> None:
    told = {what for what, *_ in (*measurements.PARAMS, *measurements.FIELDS, *measurements.CANDIDATE)}
    assert told == set(measurements.UNITS)


def test_the_mean_extinction_falls_with_latitude() -> None:
    pole, mid, plane = extinction(192.86, 27.13), extinction(192.86, 60.0), extinction(266.4, -28.9)
    assert pole == mid == 0.0, "above 50 degrees"
    assert plane > 10
    assert extinction(83.63, -80.0) == pytest.approx(0.165 * (1.192 - 0.6) / 0.5, rel=0.35)
