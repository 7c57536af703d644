"""JSON notices written for these tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lxml import etree

from pyros.alerts import Alert, parse
from pyros.alerts.formats.gcn import read_json
from pyros.errors import AlertError

SAMPLES = Path(__file__).parent / "samples"


def changed(name: str, **fields: Any) -> bytes:
    """Change some fields of a sample; a field set to ... is left out."""
    notice = json.loads((SAMPLES / name).read_text(encoding="utf-8")) | fields
    return json.dumps({key: value for key, value in notice.items() if value is not ...}).encode()


def test_a_neutrino_is_understood() -> None:
    assert parse(changed("neutrino.json")) == Alert(
        stream="icecube",
        id="gcn.notices.icecube.single_neutrino_alerts:150001_7654321:update:2:2030-05-06T08:00:00.0Z:Gold Track Alert",
        kind="update",
        event="icecube:150001_7654321",
        notice_type="icecube.single_neutrino_alerts/Gold Track Alert",
        time=datetime(2030, 5, 6, 7, 30, 0, 250_000, UTC),
        sent=datetime(2030, 5, 6, 8, tzinfo=UTC),
        ra=45.5,
        dec=9.25,
        error_radius=0.75,
        containment=0.9,
        skymap="https://sky.example/150001.fits.gz",
        importance=0.61,
        instruments=("IC86",),
        pipeline="Gold Track Alert",
        measured={"signalness": 0.61},
        names=("icecube:IceCube-300506A",),
        far=3.2e-8,
    )


@pytest.mark.parametrize(
    ("error", "radius"),
    [
        (0.5, 0.5),
        ([0.5], 0.5),
        ([0.5, 0.8], 0.8),
        ([0.5, 0.8, 120], 0.8),
        (0, None),
        (-1, None),
        (360, None),
        ("x", None),
    ],
)
def test_error_as_circle_or_ellipse(error: Any, radius: float | None) -> None:
    assert parse(changed("neutrino.json", ra_dec_error=error)).error_radius == radius


def test_error_as_the_corners_of_a_box() -> None:
    box = [[45.0, 9.25], [46.0, 9.25], [45.5, 9.75], [45.5, 8.25]]
    assert parse(
        changed("neutrino.json", ra_dec_error=..., rectangular_error_corners=box)
    ).error_radius == pytest.approx(1)


@pytest.mark.parametrize(
    ("tense", "role"),
    [
        ("current", "observation"),
        ("archival", "observation"),
        ("planned", "utility"),
        ("commanded", "utility"),
        ("injection", "test"),
        ("injections", "test"),
        ("test", "test"),
        ("Simulated", "test"),
        ("mdc", "test"),
        (..., "observation"),
    ],
)
def test_roles(tense: Any, role: str) -> None:
    assert parse(changed("neutrino.json", alert_tense=tense)).role == role


def test_a_retraction_without_anything_else() -> None:
    alert = parse(
        changed("neutrino.json", alert_type="retraction", ra=..., dec=..., ra_dec_error=..., trigger_time=...)
    )
    assert (alert.kind, alert.event, alert.target) == ("retraction", "icecube:150001_7654321", None)
    assert not alert.actionable


def test_a_sky_map_within() -> None:
    assert parse(changed("neutrino.json", healpix_url=..., healpix_file="U0lN")).skymap == "embedded"


def test_without_schema_the_topic_tells_the_stream() -> None:
    packet = changed("neutrino.json", **{"$schema": ...})
    alert = parse(packet, topic="gcn.notices.icecube.gold_bronze_track_alerts")
    assert alert.notice_type == "icecube.gold_bronze_track_alerts/Gold Track Alert"
    assert alert.event == parse(packet).event == "icecube:150001_7654321"


def test_without_any_identifier_the_event_is_its_time() -> None:
    packet = changed("neutrino.json", id=..., event_name=...)
    assert parse(packet).event == "icecube:2030-05-06T07:30:00.250000Z"


def test_gravitational_waves() -> None:
    alert = parse(changed("gravitational_wave.json"))
    assert alert == Alert(
        stream="lvc",
        id="igwn.gwalert:S300506b:PRELIMINARY:2030-05-06T07:10:00Z",
        event="lvc:S300506b",
        notice_type="LVC_PRELIMINARY",
        time=datetime(2030, 5, 6, 7, 5, 0, 500_000, UTC),
        sent=datetime(2030, 5, 6, 7, 10, tzinfo=UTC),
        skymap="embedded",
        far=1.5e-9,
        significant=True,
        classification={"BNS": 0.9, "Terrestrial": 0.1, "HasNS": 1.0},
        instruments=("H1", "L1"),
        group="CBC",
        pipeline="pycbc",
        search="AllSky",
    )


def test_a_gravitational_wave_retracted_with_event_null() -> None:
    alert = parse(changed("gravitational_wave.json", alert_type="RETRACTION", event=None))
    assert (alert.kind, alert.event, alert.time, alert.skymap) == ("retraction", "lvc:S300506b", None, None)


@pytest.mark.parametrize("word", ["EARLYWARNING", "EARLY_WARNING", "EarlyWarning", "Early Warning"])
def test_an_early_warning_in_the_words_of_all_versions(word: str) -> None:
    alert = parse(changed("gravitational_wave.json", alert_type=word))
    assert (alert.kind, alert.notice_type) == ("initial", "LVC_EARLYWARNING")


def test_mock_gravitational_waves_are_tests() -> None:
    assert parse(changed("gravitational_wave.json", superevent_id="MS300506b")).role == "test"
    mdc = {"time": "2030-05-06T07:05:00Z", "search": "MDC", "significant": True}
    assert parse(changed("gravitational_wave.json", event=mdc)).role == "test"


@pytest.mark.parametrize(
    "fields", [{"superevent_id": "M123456"}, {"test": True}, {"alert_tense": "test"}, {"event": {"group": "Test"}}]
)
def test_gravitational_waves_marked_as_tests_are_tests(fields: dict[str, Any]) -> None:
    assert parse(changed("gravitational_wave.json", **fields)).role == "test"


@pytest.mark.parametrize("word", ["RETRACTED", "retract", "LVC_RETRACTION"])
def test_a_gravitational_wave_is_retracted_in_any_word(word: str) -> None:
    made = parse(changed("gravitational_wave.json", alert_type=word, event=None))
    assert (made.kind, made.notice_type) == ("retraction", "LVC_RETRACTION")


def test_a_followup_search_belongs_to_the_gravitational_wave() -> None:
    search = {
        "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/icecube/lvk_nu_track_search.schema.json",
        "ref_ID": "S300506b",
        "trigger_time": "2030-05-06T07:05:00Z",
        "most_probable_direction": {"ra": 1, "dec": 2},
    }
    alert = parse(json.dumps(search).encode())
    assert (alert.stream, alert.event, alert.target) == ("icecube", "lvc:S300506b", None)


@pytest.mark.parametrize("name", ["S300506b-2-Preliminary", "S300506b-preliminary-20300506T071000Z"])
def test_a_search_may_name_the_notice_that_it_follows_up(name: str) -> None:
    schema = "https://gcn.nasa.gov/schema/main/gcn/notices/icecube/lvk_nu_search.schema.json"
    assert parse(json.dumps({"$schema": schema, "ref_ID": name}).encode()).event == "lvc:S300506b"


def test_a_nested_position_counts_only_if_it_is_the_only_one() -> None:
    target = {"event_name": "ZTF30abc", "ra": 150.0, "dec": 15.0, "classification_scores": {"Type II": 0.9}}
    notice: dict[str, Any] = {
        "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/boom/alert.schema.json",
        "data": {"targets": [target]},
    }
    alert = parse(json.dumps(notice).encode())
    assert (alert.event, alert.target, alert.classification) == ("boom:ZTF30abc", (150.0, 15.0), {"Type II": 0.9})
    notice["data"]["targets"] = [target, target | {"ra": 20.0}]
    assert parse(json.dumps(notice).encode()).target is None


@pytest.mark.parametrize(
    ("schema", "fields", "event"),
    [
        ("classic/gecam/alert", {"id": [401]}, "gecam:401"),
        ("classic/integral/alert", {"id": [73750]}, "integral:8214"),
        ("classic/NewMission/alert", {"id": "x1"}, "newmission:x1"),
        ("ep/wxt/alert", {"id": "0170"}, "einstein_probe:0170"),
        ("icecube/gold_bronze_track_alerts", {"id": ["150001", "7654321"]}, "icecube:150001_7654321"),
        ("icecube/gold_bronze_track_alerts", {"id": ["150001_7654321", "x"]}, "icecube:150001_7654321"),
        ("fermi/gbm/trigger", {"id": ["745121685", "240812094"]}, "fermi:745121685"),
        ("heasarc/archive_alert", {"obs_id": "01001099"}, "heasarc:01001099"),
        ("newmission/alert", {"event": {"id": "E1"}}, "newmission:E1"),
    ],
)
def test_the_event_is_where_its_schema_keeps_it(schema: str, fields: dict[str, Any], event: str) -> None:
    notice = {"$schema": f"https://gcn.nasa.gov/schema/main/gcn/notices/{schema}.schema.json", **fields}
    alert = parse(json.dumps(notice).encode())
    assert (alert.event, alert.stream) == (event, event.partition(":")[0])


@pytest.mark.parametrize(
    "fields",
    [
        {"alert_type": "Retraction"},
        {"alert_type": "retracted"},
        {"alert_type": "withdrawn"},
        {"alert_type": ..., "alert": {"alert_type": "retraction"}},
        {"alert_type": ..., "notice_type": "Gold Retraction"},
        {"alert_type": ..., "subtype": "RETRACTION_NOTICE"},
        {"alert_type": "initial", "status": "retracted"},
        {"$schema": "https://gcn.nasa.gov/schema/v6.2.0/gcn/notices/km3net/retraction.schema.json"},
        {"retraction": True},
        {"retracted": True},
        {"IsRetracted": "yes"},
    ],
)
def test_retractions_in_other_words(fields: dict[str, Any]) -> None:
    assert parse(changed("neutrino.json", **fields)).kind == "retraction"


@pytest.mark.parametrize(
    "fields",
    [
        {"alert_type": "mock"},
        {"alert_tense": ..., "alert": {"alert_tense": "test"}},
        {"event": {"is_test": True}},
        {"notice_type": "Gold TestAlert"},
        {"subtype": "injection"},
        {"event_name": "TEST-300506A"},
        {"$schema": "https://gcn.nasa.gov/schema/v6.2.0/gcn/notices/swift/bat/simulation.schema.json"},
        {"mock": True},
        {"is_simulation": 1},
        {"isTestEvent": "True"},
        {"TEST": "T"},
    ],
)
def test_tests_in_other_words(fields: dict[str, Any]) -> None:
    assert parse(changed("neutrino.json", **fields)).role == "test"


def test_words_that_only_look_like_a_test_or_a_retraction_are_none() -> None:
    made = parse(changed("neutrino.json", notice_type="Latest Contest", subtype="Detractions", injection=False))
    assert (made.role, made.kind) == ("observation", "update")


def test_a_lost_star_tracker_takes_back_in_json_too() -> None:
    schema = {"$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/swift/bat/position.schema.json"}
    assert parse(changed("neutrino.json", **schema, star_tracker_locked=False)).kind == "retraction"
    assert parse(changed("neutrino.json", **schema, star_tracker_locked=True)).kind == "update"
    assert parse(changed("neutrino.json", star_tracker_locked=False)).kind == "update", "of another mission"


def test_what_is_certainly_not_unknown_is_a_known_source() -> None:
    assert parse(changed("neutrino.json", classification={"EXO 0748-676": 1.0, "unknown": 0.0})).known_source
    assert not parse(changed("neutrino.json", classification={"known": 0.0, "unknown": 1.0})).known_source


def test_gbm_classes_have_one_name_in_json_text_and_voevent() -> None:
    classes = {"SOLAR_FLARE": 0.6, "GENERIC_SGR": 0.2, "BELOW_HORIZON": 0.1, "GRB": 0.05, "NEW": 0.05}
    alert = notice("fermi/gbm/trigger", id=["745121685"], classification=classes)
    assert alert.classification == {"SFL": 0.6, "SGR": 0.2, "BELOWHZ": 0.1, "GRB": 0.05, "NEW": 0.05}


def test_topics_for_tests_carry_tests() -> None:
    schema = "https://gcn.nasa.gov/schema/main/gcn/notices/icecube/test/gold_bronze_track_alerts.schema.json"
    assert parse(changed("neutrino.json", **{"$schema": schema})).role == "test"


@pytest.mark.parametrize(
    ("schema", "fields", "names", "related"),
    [
        ("fermi/gbm/trigger", {"id": ["745121685", "bn240812094"]}, ("fermi:bn240812094", "fermi:240812094"), ()),
        ("fermi/gbm/Trigger", {"id": ["bn 221009553"], "event_name": ["GRB 221009A", "Swift J1913.1+1946"]},
         ("fermi:221009553", "fermi:GRB 221009A"), ("grb:221009A",)),
        ("glowbug/Alert", {"id": ["BUG230423.789", "432"]}, (), ()),
        ("superk/sn_alert", {"id": "SN.095001.000001", "trigger_number": 10070}, ("sk_sn:10070",), ()),
        ("maxi/gsc.unknown", {"id": "9995289617", "event_name": "GRB 230220A"}, ("maxi:GRB 230220A",),
         ("grb:230220A",)),
        ("maxi/gsc.known", {"id": "0858800020", "event_name": "Swift J1858.6-0814"}, (), ()),
        ("maxi/gsc.known", {"id": "0858800020", "event_name": "Swift J174540.7-290015"}, (), ()),
        ("km3net/alert", {"id": "1", "event_name": "KM3-240901A"}, (), ()),
        ("newmission/alert", {"id": "xyz123", "event_name": ["FRB 20220912A", "FRB 20220912B"]}, (), ()),
        ("swift/bat/Guano", {"id": ["694215995"], "follow_up_event": "Fermi 694215970"}, (), ("fermi:694215970",)),
        ("swift/bat/Guano", {"id": ["694215995"], "follow_up_event": "S230914ak"}, (), ()),
        ("swift/bat/Guano", {"id": ["694215995"], "follow_up_event": "2022-12-31T21:46:05"}, (), ()),
        ("swift/bat/Guano", {"id": ["694215995"], "follow_up_event": "Fermi bn300506001"}, (), ("fermi:300506001",)),
        ("swift/bat/Guano", {"id": ["694215995"], "follow_up_event": "GRB 300506A"}, (), ("grb:300506A",)),
        ("swift/bat/Guano", {"id": ["694215995"], "follow_up_event": "IceCube-300506A"}, (),
         ("icecube:IceCube-300506A",)),
        ("newmission/alert", {"id": "xyz123", "ref_ID": "GRB 300506A"}, (), ("grb:300506A",)),
        ("newmission/alert", {"id": "xyz123", "ref_instrument": "Fermi-GBM", "ref_ID": "bn240812094"}, (),
         ("fermi:240812094",)),
        ("newmission/alert", {"id": "xyz123", "ref_instrument": "LVK", "ref_ID": "S230914ak"}, (), ()),
        ("newmission/alert", {"id": "xyz123", "ref_instrument": "Unheard-of", "ref_ID": "1234567"}, (), ()),
    ],
)  # fmt: skip
def test_all_names_of_the_event_but_no_counters_and_no_names_of_sources(
    schema: str, fields: dict[str, Any], names: tuple[str, ...], related: tuple[str, ...]
) -> None:
    notice = {"$schema": f"https://gcn.nasa.gov/schema/main/gcn/notices/{schema}.schema.json", **fields}
    alert = parse(json.dumps(notice).encode())
    assert (alert.names, alert.related) == (names, related)


def test_a_gravitational_wave_found_together_with_a_burst() -> None:
    found = {"gcn_notice_id": 754189311, "observatory": "Fermi", "ivorn": "ivo://lvk.internal/fermi#grb"}
    assert parse(changed("gravitational_wave.json", external_coinc=found)).related == ("fermi:754189311",)
    assert parse(changed("gravitational_wave.json", external_coinc=None)).related == ()


def test_a_containment_in_percent() -> None:
    assert parse(changed("neutrino.json", containment_probability=68.0)).containment == pytest.approx(0.68)
    assert parse(changed("neutrino.json", containment_probability="50%")).containment == pytest.approx(0.5)
    assert parse(changed("neutrino.json", containment_probability=680)).containment is None
    assert parse(changed("neutrino.json", containment_probability=None)).containment == 0.9


def test_the_radius_of_early_schemas() -> None:
    alert = parse(changed("neutrino.json", ra_dec_error=..., error={"radius": 0.4}))
    assert (alert.error_radius, alert.containment) == (0.4, 0.9)


def test_the_radius_of_schemas_that_gave_one_for_each_coordinate() -> None:
    alert = parse(changed("neutrino.json", ra_dec_error=..., ra_uncertainty=[0.3], dec_uncertainty=0.4))
    assert alert.error_radius == 0.4
    assert parse(changed("neutrino.json", ra_uncertainty=[7.0])).error_radius == 0.75, "ra_dec_error counts"
    sides = {"ra_uncertainty": [-1.5, 1.4], "dec_uncertainty": [-1.2, 1.3]}
    assert parse(changed("neutrino.json", ra_dec_error=..., **sides)).error_radius == 1.5
    ellipse = {"circle_error_radius": 0.1, "elliptical_error_radii": [0.22, 0.19]}
    assert parse(changed("neutrino.json", ra_dec_error=..., **ellipse)).error_radius == 0.22
    assert parse(changed("neutrino.json", ra_dec_error=[-1])).error_radius is None


def test_position_and_time_one_level_below() -> None:
    moment, place = "2030-05-06T07:05:00Z", {"ra": 10, "dec": 20, "ra_dec_error": 0.1, "containment_probability": 0.5}
    nested = {"ra": ..., "dec": ..., "trigger_time": ..., "event": {"trigger_time": moment}, "localization": place}
    alert = parse(changed("neutrino.json", **nested))
    assert (alert.target, alert.error_radius, alert.containment) == ((10.0, 20.0), 0.1, 0.5)
    assert alert.time == datetime(2030, 5, 6, 7, 5, tzinfo=UTC)
    two = parse(changed("neutrino.json", **nested, source={"ra": 1, "dec": 2}))
    assert two.target is None, "nobody says which of two"


def test_a_time_is_in_the_scale_that_the_notice_names() -> None:
    moment = {"trigger_time": "2030-05-06T07:06:09.184", "time_system": "tt"}
    assert parse(changed("neutrino.json", **moment)).time == datetime(2030, 5, 6, 7, 5, tzinfo=UTC)


def test_classes_in_a_list() -> None:
    classes = [{"classification": "Type II", "probability": 0.9}, {"probability": 1}, "x"]
    target = {"name": "ZTF30abc", "ra": 150.0, "dec": 15.0, "classifications": classes}
    schema = "https://gcn.nasa.gov/schema/main/gcn/notices/boom/alert.schema.json"
    alert = parse(json.dumps({"$schema": schema, "data": {"targets": [target]}}).encode())
    assert (alert.event, alert.classification) == ("boom:ZTF30abc", {"Type II": 0.9})


def test_encodings_that_json_should_not_have() -> None:
    packet = changed("neutrino.json")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"):
        assert parse(packet.decode().encode(encoding)) == parse(packet)
    assert parse(b"\r\n" + packet + b"\r\n\0") == parse(packet)
    assert parse(packet[:-1] + b', "submitter": "M\xe9sz\xe1ros"}') == parse(packet), "Latin-1"
    with pytest.raises(AlertError, match="not JSON"):
        parse(packet.decode().encode("utf-16") + b"x")


@pytest.mark.parametrize("colon", [":", ": ", " : ", "\t\n:"])
def test_a_name_with_two_values_is_refused(colon: str) -> None:
    packet = changed("neutrino.json")
    twice = packet[:-1] + f', "alert_type"{colon}"retraction", "alert_type"{colon}"initial"}}'.encode()
    with pytest.raises(AlertError, match=r"'alert_type' twice: (update|retraction) and"):
        parse(twice)
    with pytest.raises(AlertError, match="'a' twice: 1 and 2"):
        parse(packet[:-1] + f', "note": "\\u0022:", "more": [{{"a"{colon}1, "a"{colon}2}}]}}'.encode())


def test_a_quotation_mark_by_its_number_hides_no_name() -> None:
    packet = changed("neutrino.json")
    hidden = b', "alert_type": "initial", "note": "\\u0022\\u0022\\u0022\\u0022"}'
    with pytest.raises(AlertError, match="'alert_type' twice"):
        parse(packet[:-1] + hidden)


def test_a_list_of_numbers_costs_little_more_than_decoding() -> None:
    """It was looked through one by one: 50 MB of zeros held the broker up for a minute."""
    packet = b"[" + b"0," * 1_000_000 + b"0]"

    def seconds(work: Callable[[bytes], object]) -> float:
        begun = time.process_time()
        work(packet)
        return time.process_time() - begun

    assert min(seconds(read_json) for _ in range(3)) < 10 * max(seconds(msgspec.json.decode) for _ in range(3))


def test_a_name_that_stands_twice_with_one_value_is_taken() -> None:
    packet = changed("neutrino.json")
    more = b', "note": "a\\": b\\" : c : d", "no_number": NaN, "x": {"y": 1}'
    once, twice = packet[:-1] + more + b"}", packet[:-1] + more + b', "no_number": NaN, "x": {"y": 1}}'
    assert parse(twice) == parse(once)


def test_numbers_that_are_none_are_not_the_whole_packets_fault() -> None:
    packet = changed("neutrino.json", ra_dec_error=float("nan"), far=float("inf"), energy=[1.5, float("-inf")])
    assert b"NaN" in packet
    alert = parse(packet)
    assert (alert.target, alert.error_radius, alert.far) == ((45.5, 9.25), None, None)
    assert parse(packet[:-1] + b', "false_alarm": 1e400}') == alert
    more = (b'"b": }', b'"b": "\\ud800"}', b'"b": ' + b"9" * 9000 + b"}", b"[" * 10**5)
    for bad in (packet[:-1], packet + b"}", *(b'{"a": NaN, ' + each for each in more)):
        with pytest.raises(AlertError, match="not JSON"):
            parse(bad)


def test_numbers_as_texts_lists_of_one_and_floats_are_those_numbers() -> None:
    fields = {"ra": 45.5, "dec": 9.25, "far": 1e-8, "record_number": 2, "alert_type": None, "p_astro": 0.5}
    plain = parse(changed("neutrino.json", **fields))
    assert (plain.kind, plain.target) == ("update", (45.5, 9.25))
    for written in (str, lambda value: [value], float):
        other = {name: value if value is None else written(value) for name, value in fields.items()}
        assert parse(changed("neutrino.json", **other)) == plain


def test_an_identifier_that_was_made_a_float_is_the_same() -> None:
    assert notice("superk/sn_alert", id=10_070.0).event == notice("superk/sn_alert", id=10_070).event == "sk_sn:10070"


@pytest.mark.parametrize(
    ("schema", "fields", "seconds"),
    [
        ("dsa110/frb", {"event_duration": 1.5}, {"duration": 0.0015}),
        ("maxi/gsc.unknown", {"detection_timescale": 10}, {"timescale": 10}),
        *(
            ("maxi/gsc.unknown", {"detection_timescale": 2, "detection_timescale_units": unit}, expected)
            for unit, expected in [
                ("s", {"timescale": 2}), ("d", {"timescale": 172_800}), ("orbit", {"timescale": 11_120}), ("scan", {}),
            ]
        ),
    ],
)  # fmt: skip
def test_durations_are_in_seconds_whatever_their_unit(
    schema: str, fields: dict[str, Any], seconds: dict[str, float]
) -> None:
    """The units of GCN's schema 7.2: DSA-110 gives milliseconds, MAXI one of four."""
    assert notice(schema, id="123456", **fields).measured == seconds


@pytest.mark.parametrize("name", ["content", "data", "payload", "message", "notice", "value"])
def test_what_services_wrap_is_what_it_holds(name: str) -> None:
    packet = changed("neutrino.json")
    inner = json.loads(packet)
    assert parse(json.dumps({name: inner, "format": "json"}).encode()) == parse(packet)
    assert parse(json.dumps({"payload": {name: inner}}).encode()) == parse(packet)
    assert parse(json.dumps({name: [inner]}).encode()) == parse(packet)
    assert parse(json.dumps({name: packet.decode()}).encode()) == parse(packet)
    says = {"alert_type": "retraction", "id": "123456", "trigger_time": "2030-05-06T07:08:09Z"}
    assert notice("chime/frb", **says, **{name: inner}).event == "chime:123456", "what says something is no envelope"
    deep: Any = inner
    for _ in range(5):
        deep = {name: deep}
    with pytest.raises(AlertError, match="no alert"):
        parse(json.dumps(deep).encode())


def test_a_circular_is_kept_and_never_observed() -> None:
    alert = parse(b'{"eventId": "GRB 300506A", "circularId": 99999, "subject": "s", "body": "b"}')
    assert (alert.role, alert.event, alert.actionable) == ("utility", "gcn.circulars:GRB 300506A", False)
    corrected = parse(b'{"eventId": "GRB 300506A", "circularId": 99999, "subject": "s", "body": "b", "version": 2}')
    assert (corrected.event, corrected.id) == (alert.event, alert.id + ":2")


@pytest.mark.parametrize(
    ("name", "word", "more", "role", "kind"),
    [
        ("SNEWS_Coincidence_ALERT 2030-05-06T07:31:00", "COINC_MSG", {}, "observation", "initial"),
        ("SNEWS_Coincidence_ALERT-UPDATE 2030-05-06T07:31:00", None, {}, "observation", "update"),
        ("SNEWS_Coincidence_ALERT-RETRACTION 2030", "RETRACTION", {}, "observation", "retraction"),
        ("SNEWS_Coincidence_ALERT 2030-05-06T07:31:00", "TEST COINC_MSG", {}, "test", "initial"),
        ("SNEWS_Coincidence_ALERT 2030-05-06T07:31:00", "COINC_MSG", {"is_test": True}, "test", "initial"),
    ],
)
def test_a_coincidence_of_neutrino_detectors(name: str, word: str, more: Any, role: str, kind: str) -> None:
    notice = {
        "_id": name, "alert_type": word, "detector_names": ["KamLAND", "XENONnT"], "sent_time": "2030-05-06T07:31:00",
        "neutrino_times": ["2030-05-06T07:30:08.891011000", "2030-05-06T07:30:07.465011000"], "p_values": [0.9, 0.9],
        "False Alarm Prob": "N/A", "server_tag": "x", "sub list number": 0, **more,
    }  # fmt: skip
    alert = parse(json.dumps(notice).encode())
    assert (alert.stream, alert.event, alert.role, alert.kind) == ("snews", "snews:2030-05-06", role, kind)
    assert alert.time == datetime(2030, 5, 6, 7, 30, 7, 465_011, UTC)
    assert alert.id == f"snews.alert:{name}"
    assert alert.target is None
    empty = parse(json.dumps({"neutrino_times": None, "detector_names": 5, "_id": "x"}).encode())
    assert (empty.event, empty.time) == ("snews:x", None)


def test_what_a_person_wrote_on_hermes_moves_nothing() -> None:
    message = {
        "topic": "hermes.discovery", "title": "Classification of AT 2030abc", "submitter": "somebody", "uuid": "0a-1",
        "authors": "A. Uthor", "message_text": "We observed ...", "data": {"targets": [{"ra": 10.0, "dec": 20.0}]},
    }  # fmt: skip
    alert = parse(json.dumps(message).encode())
    assert (alert.stream, alert.id, alert.role, alert.target) == ("hermes", "hermes:0a-1", "utility", None)
    assert parse(json.dumps(message | {"data": {"event_id": "S300506b"}}).encode()).event == "hermes:S300506b"


def test_a_coincidence_of_detectors_on_gcn_is_the_same_event() -> None:
    notice = {
        "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/snews2/coincidence.schema.json", "mission": "SNEWS",
        "id": "SNEWS_Coincidence_ALERT 2030-05-06T07:31:00Z", "alert_type": "initial", "alert_tense": "current",
        "trigger_time": "2030-05-06T07:30:07.465Z", "record_number": 1, "alert_datetime": "2030-05-06T07:31:00Z",
    }  # fmt: skip
    first = parse(json.dumps(notice).encode())
    more = {"id": "SNEWS_Coincidence_ALERT-UPDATE 2030-05-06T07:32:00Z", "alert_type": "retraction"}
    gone = parse(json.dumps(notice | more).encode())
    assert {(alert.stream, alert.event) for alert in (first, gone)} == {("snews", "snews:2030-05-06")}
    assert (first.kind, gone.kind) == ("initial", "retraction")


@pytest.mark.parametrize(
    "topic",
    [
        *("gcn.notices.icecube.test.gold_bronze_track_alerts", "superk-sn_alert.TEST", "igwn.gwalert-playground"),
        *("snews.alert-firedrill", "alerts-simulated"),
    ],
)
@pytest.mark.parametrize("name", ["neutrino.json", "gravitational_wave.json", "burst.xml"])
def test_what_comes_by_a_topic_for_tests_is_a_test(topic: str, name: str) -> None:
    packet = (SAMPLES / name).read_bytes()
    test, real = parse(packet, topic=topic), parse(packet, topic="gcn.notices.icecube.latest_contests")
    assert (test.role, test.actionable) == ("test", False)
    assert real == parse(packet)
    assert real.actionable
    assert test.id != real.id or test.ivorn


@pytest.mark.parametrize(
    ("notice", "stream", "event", "second"),
    [
        ({"candid": 16929843, "objectId": "16929843", "jd": 2460924.75, "ra": 10.5, "dec": -43.5, "survey": "LSST",
          "classifications": []}, "lsst", "lsst:16929843", 0),
        ({"publisher": "ZTF", "objectId": "ZTF25acffkdr", "candid": 29, "candidate":
          {"jd": 2460924.75, "ra": 10.5, "dec": -43.5}}, "ztf", "ztf:ZTF25acffkdr", 0),
        ({"diaSourceId": 29, "diaSource": {"midpointMjdTai": 60924.25, "ra": 10.5, "dec": -43.5},
          "diaObject": {"diaObjectId": 7}}, "lsst", "lsst:7", -37),
        ({"diaSourceId": 29, "diaSource": {"midpointMjdTai": 60924.25, "ra": 10.5, "dec": -43.5, "diaObjectId": 0,
          "ssObjectId": 8}, "diaObject": None}, "lsst", "lsst:8", -37),
        ({"diaObjectId": 9, "ra": 10.5, "decl": -43.5, "lastDiaSourceMjdTai": 60924.25, "diaSourceId": 29},
         "lsst", "lsst:9", -37),
        ({"objectId": "ZTF25acffkdr", "ramean": 10.5, "decmean": -43.5, "jdmax": 2460924.75, "candid": 29},
         "ztf", "ztf:ZTF25acffkdr", 0),
    ],
)  # fmt: skip
def test_a_detection_of_an_optical_survey(notice: dict[str, Any], stream: str, event: str, second: int) -> None:
    alert = parse(json.dumps(notice).encode())
    assert (alert.stream, alert.event, alert.kind, alert.role) == (stream, event, "initial", "observation")
    assert (alert.target, alert.error_radius) == ((10.5, -43.5), None)
    assert alert.time == datetime(2025, 9, 6, 6, 0, tzinfo=UTC) + timedelta(seconds=second)
    later = parse(json.dumps({**notice, "candid": 30, "diaSourceId": 30}).encode())
    assert (later.event, later.id != alert.id) == (event, True)
    bare = parse(json.dumps(dict.fromkeys(notice)).encode())
    assert (bare.target, bare.time) == (None, None)


@pytest.mark.parametrize(("arcsec", "known"), [(0.0, True), (4.5, True), (20.0, False), (-999.0, False), (None, False)])
def test_what_ztf_sees_at_a_known_asteroid_is_known(arcsec: float | None, known: bool) -> None:
    candidate = {"ra": 10.5, "dec": -43.5, "jd": 2460924.75, "ssdistnr": arcsec, "ssnamenr": "1234"}
    alert = parse(json.dumps({"objectId": "ZTF25acffkdr", "candid": 29, "candidate": candidate}).encode())
    assert alert.known_source is known


def test_classes_of_a_light_curve_are_of_its_object_each_time_anew() -> None:
    first, later = (
        parse(json.dumps({"oid": "ZTF25acffkdr", "lc_classification": {"probabilities": {"SNIa": share}}}).encode())
        for share in (0.75, 0.5)
    )
    assert (first.event, first.target, first.classification) == ("ztf:ZTF25acffkdr", None, {"SNIa": 0.75})
    assert first.id != later.id


def test_a_voevent_as_json_is_the_voevent() -> None:
    document = {
        "ivorn": "ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_9000001-100",
        "role": "observation",
        "Who": {"Date": "2030-05-06T07:08:20"},
        "What": {
            "Param": [{"name": "Packet_Type", "value": "61"}, {"name": "TrigID", "value": "9000001"}],
            "Group": {"name": "Solution_Status", "Param": {"name": "StarTrack_Lost_Lock", "value": "false"}},
        },
        "WhereWhen": {
            "ObsDataLocation": {
                "ObservationLocation": {
                    "AstroCoords": {
                        "coord_system_id": "UTC-FK5-GEO",
                        "Time": {"TimeInstant": {"ISOTime": "2030-05-06T07:08:09.50"}},
                        "Position2D": {"unit": "deg", "Value2": {"C1": 123.45, "C2": -45.67}, "Error2Radius": 0.05},
                    }
                }
            }
        },
        "Why": {"importance": 0.9},
    }
    assert parse(json.dumps(document).encode()) == parse((SAMPLES / "burst.xml").read_bytes())


def test_a_voevent_as_xmltodict_writes_it_is_the_voevent() -> None:
    def written(element: Any) -> Any:
        here: dict[str, Any] = {f"@{name}": value for name, value in element.attrib.items() if "}" not in name}
        for child in element:
            here.setdefault(etree.QName(child).localname, []).append(written(child))
        text = (element.text or "").strip()
        return ({**here, "#text": text} if text else here) if here else text or None

    root = etree.parse(SAMPLES / "burst.xml", etree.XMLParser(remove_comments=True)).getroot()
    document = {"voe:VOEvent": {"@xmlns:voe": "http://www.ivoa.net/xml/VOEvent/v2.0", **written(root)}}
    assert parse(json.dumps(document).encode()) == parse((SAMPLES / "burst.xml").read_bytes())
    with pytest.raises(AlertError, match="no ivorn"):
        parse(b'{"VOEvent": {}}')


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (b"{", "not JSON"),
        (b"{}", "no alert"),
        (b'[{"mission": "x"}, {"mission": "x"}]', "list of 2: a packet is one notice"),
        (b"[]", "list of 0"),
        (b"[[{}]]", "list of 1"),
        (b"[5]", "not an object"),
        (b'{"foo": "bar", "baz": 5}', "no alert"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'{"ra": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b'{"a": "\xff"}', "no alert"),
        (b'{"alert_type": "new", "uid": "S1", "object": {}}', "no alert"),
        (b'{"superevent_id": "S1", "far": 1e-9}', "record of GraceDB"),
        (b'{"superevent_id": "", "alert_type": "UPDATE"}', "names no event"),
        (b'{"$schema": "https://json-schema.org/draft/2020-12/schema", "ra": 1, "mission": "x"}', "not a notice"),
        (b'{"ivorn": "ivo://a/b#c", "role": "observation", "What": {"Param": {"name": "\\u0000"}}}', "cannot be XML"),
        (b'{"ivorn": "ivo://a/b#c", "role": "x"}', "role 'x'"),
        (b'{"ivorn": "ivo://a/b#c", "role": "test", "W": ' + b'{"A":' * 80 + b"1" + b"}" * 81, "nested"),
    ],
)
def test_what_is_refused_says_why_in_one_line(packet: bytes, says: str) -> None:
    with pytest.raises(AlertError, match=says) as caught:
        parse(packet)
    assert "\n" not in str(caught.value)


def test_a_sky_map_of_60_megabytes_is_read() -> None:
    packet = changed("gravitational_wave.json", event={"skymap": "A" * 60_000_000, "significant": True})
    assert parse(packet).skymap == "embedded"
    with pytest.raises(AlertError, match="bytes"):
        parse(packet + b" " * 10_000_000)


@pytest.mark.parametrize(
    ("schema", "topic"),
    [
        ("https://gcn.nasa.gov/schema/v9.0.0/gcn/notices/newmission/burst.schema.json", "newmission.burst"),
        ("https://raw.githubusercontent.com/nasa-gcn/gcn-schema/main/gcn/notices/newmission/burst.schema.json",
         "newmission.burst"),
        ("gcn/notices/newmission/burst.schema.json#", "newmission.burst"),
        ("https://example.org/another.schema.json", "new_mission"),
    ],
)  # fmt: skip
def test_a_notice_is_known_by_its_schema_wherever_that_is_fetched_from(schema: str, topic: str) -> None:
    notice = {"$schema": schema, "mission": "New Mission", "ra": 10.5, "dec": -3, "ra_dec_error": 0.1, "id": ["7"]}
    alert = parse(json.dumps(notice).encode())
    assert (alert.notice_type, alert.stream) == (topic, topic.partition(".")[0])
    assert alert.target == (10.5, -3.0)


@pytest.mark.parametrize(
    ("topic", "notice", "expected"),
    [
        ("km3net.alert", {"event_name": "KM3-260101A", "id": "1"}, ("km3net", "km3net:KM3-260101A", False)),
        ("fermi.gbm.trigger", {"id": ["745000000"], "record_number": 2}, ("fermi", "fermi:745000000", False)),
        ("fermi.lat.flare", {"event_name": "4FGL J0509.4+0541"}, ("fermi", "fermi:4FGL J0509.4+0541", True)),
        ("dsa110.frb", {"event_name": "260101aaaa"}, ("dsa110", "dsa110:260101aaaa", False)),
        ("dsa110.frb", {"event_name": "260101aaaa", "known_source": "FRB 20220912A"},
         ("dsa110", "dsa110:260101aaaa", True)),
        ("superk.sn_alert", {"trigger_number": 10123, "id": "SN.1"}, ("sk_sn", "sk_sn:SN.1", False)),
        ("chime.frb", {"id": "427325191"}, ("chime", "chime:427325191", False)),
        ("burstcube.alert", {"id": 12}, ("burstcube", "burstcube:12", False)),
    ],
)  # fmt: skip
def test_topics_that_are_announced(topic: str, notice: dict[str, Any], expected: tuple[str, str, bool]) -> None:
    whole = {"mission": "x", "alert_type": "initial", "ra": 10.5, "dec": -3, "ra_dec_error": [0.2, 0.1, 30], **notice}
    alert = parse(json.dumps(whole).encode(), topic=f"gcn.notices.{topic}")
    assert (alert.stream, alert.event, alert.known_source) == expected
    assert (alert.target, alert.error_radius, alert.notice_type) == ((10.5, -3.0), 0.2, topic)
    gone = {**{key: whole[key] for key in ("mission", *notice)}, "alert_type": "retraction"}
    retraction = parse(json.dumps(gone).encode(), topic=f"gcn.notices.{topic}")
    assert (retraction.kind, retraction.event) == ("retraction", alert.event)


SCHEMAS = "https://gcn.nasa.gov/schema/main/gcn/notices"


def notice(schema: str, **fields: Any) -> Alert:
    return parse(json.dumps({"$schema": f"{SCHEMAS}/{schema}.schema.json", **fields}).encode())


@pytest.mark.parametrize("value", [True, 1, "true", "True", "yes"])
def test_a_mark_counts_however_it_is_written(value: Any) -> None:
    for mark, field, expected in (("is_test", "role", "test"), ("retracted", "kind", "retraction")):
        made = notice("svom/trigger", id=["sb26110101"], trigger_time="2026-11-01T02:03:04Z", **{mark: value})
        assert getattr(made, field) == expected


@pytest.mark.parametrize("value", [False, 0, "false", "none", "", None])
def test_what_is_not_marked_is_not_known_and_no_test(value: Any) -> None:
    made = notice("einstein_probe/wxt/alert", id=["0170"], ra=1.0, dec=2.0, known_source=value, is_test=value)
    assert (made.role, made.kind, made.known_source) == ("observation", "initial", False)


def test_a_sources_flares_of_two_days_are_two_events() -> None:
    """Write LAT's flares, which have no trigger time: the first and the next day of data of one source."""
    days = [
        notice("fermi/lat/flare", event_name="OQ 334", ra=215.6, dec=32.4, alert_datetime=f"2026-11-{day + 1}T00:00:00",
               observation_start=f"2026-11-{day}T00:00:00.0")
        for day in (20, 23)
    ]  # fmt: skip
    assert [each.event for each in days] == ["fermi:OQ 334@2026-11-20", "fermi:OQ 334@2026-11-23"]


@pytest.mark.parametrize("name", ["N/A", "unknown", "-999", "nan", "", None])
def test_a_name_that_means_none_names_no_source_no_event_and_no_instrument(name: str | None) -> None:
    fields = {"event_name": name, "known_source": name, "instrument": name, "ra": 215.6, "dec": 32.4}
    flares = [notice("fermi/lat/flare", **fields, observation_start=f"2026-11-{day}T00:00:00.0") for day in (20, 23)]
    assert len({each.event for each in flares}) == 2
    assert all(each.event.startswith("fermi:") and each.instruments == () for each in flares)
    found = notice("svom/trigger", id=["sb26110101"], **fields)
    assert (found.known_source, found.event, found.instruments) == (False, "svom:sb26110101", ())


def test_what_only_counts_is_no_event_where_another_field_names_it() -> None:
    """KM3NeT's id is 1, 2, 3."""
    made = [notice("km3net/alert", id="1", trigger_time=f"2026-11-0{day}T00:00:00Z") for day in (1, 2)]
    assert [each.event for each in made] == [f"km3net:2026-11-0{day}T00:00:00.000000Z" for day in (1, 2)]
    named = notice("km3net/alert", id="1", event_name="KM3-261101A", trigger_time="2026-11-01T00:00:00Z")
    assert named.event == "km3net:KM3-261101A"


@pytest.mark.parametrize("share", [0, 0.0, -1, 200, "nan"])
def test_a_containment_that_is_none_is_unknown(share: object) -> None:
    assert parse(changed("neutrino.json", containment_probability=share)).containment is None


@pytest.mark.parametrize(
    ("name", "known"),
    [("M1", True), ("Sco X-1", True), ("GRB 261101A", False), ("sb26110101", False), ("N/A", False)],
)
def test_svom_names_the_catalogues_source_as_the_event(name: str, known: bool) -> None:
    made = notice("svom/trigger", id=["sb26110101"], event_name=[name], ra=83.6, dec=22.0, instrument="ECLAIRs")
    assert (made.known_source, made.event) == (known, "svom:sb26110101")


def test_the_newest_magnitude_that_boom_sends_along() -> None:
    def row(day: int, **fields: Any) -> dict[str, Any]:
        return {"event_name": "ZTF26abc", "observation_start": f"2026-11-{day}T03:00:00Z", **fields}

    rows = [row(12, mag=18.1), row(14, mag=17.9), row(13, mag=18.4), row(15, limiting_mag=20.0)]
    other = {"event_name": "ZTF26xyz", "observation_start": "2026-11-16T03:00:00Z", "mag": 14.0}
    target = {"event_name": "ZTF26abc", "ra": 150.2, "dec": 15.3}
    made = notice("boom/alert", mission="Boom", alert_datetime="2026-11-16T04:00:00Z",
                  data={"targets": [target], "photometry": [*rows, other]})  # fmt: skip
    assert made.measured == {"magnitude": 17.9}


@pytest.mark.parametrize(("injected", "role"), [(True, "test"), (False, "observation"), (None, "observation")])
def test_what_rubin_put_into_its_image_is_a_test(injected: bool | None, role: str) -> None:
    source = {"diaObjectId": 5, "ra": 1.0, "dec": 2.0, "pixelFlags_injected": injected}
    assert parse(json.dumps({"diaSourceId": 7, "diaSource": source}).encode()).role == role


@pytest.mark.parametrize(("number", "known"), [(0, False), (None, False), (24_680, True)])
def test_rubins_known_objects_of_the_solar_system_are_known(number: Any, known: bool) -> None:
    source = {"diaSourceId": 7, "diaObjectId": 0 if known else 5, "ssObjectId": number, "ra": 1.0, "dec": 2.0,
              "midpointMjdTai": 61_000.0}  # fmt: skip
    made = parse(json.dumps({"diaSourceId": 7, "diaSource": source}).encode())
    assert (made.known_source, made.event) == (known, f"lsst:{24_680 if known else 5}")
