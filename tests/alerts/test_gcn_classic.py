"""GCN's older notices in JSON, and what early schemas said in other words than today's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyros.alerts import Alert, parse
from pyros.alerts.identity import Event, add, is_same_event, packet_record
from tests import builders


def notice(schema: str = "newmission/alert", **fields: Any) -> Alert:
    whole = {"$schema": f"https://gcn.nasa.gov/schema/main/gcn/notices/{schema}.schema.json", "id": "654321", **fields}
    return parse(json.dumps({name: value for name, value in whole.items() if value is not ...}).encode())


def voevent(ivorn: str, **params: object) -> Alert:
    what = "".join(f'<Param name="{name}" value="{value}"/>' for name, value in params.items())
    return parse(builders.voevent(f"ivo://nasa.gsfc.gcn/{ivorn}", ra=None, params=what, text=""))


@pytest.mark.parametrize(
    ("field", "word", "role"),
    [
        ("alert_tense", "mock", "test"),
        ("alert_tense", "Injected", "test"),
        ("alert_type", "test", "test"),
        ("alert_type", "injected", "test"),
        ("alert_type", "commanded", "utility"),
        ("role", "test", "test"),
        ("is_test", True, "test"),
        ("is_test", False, "observation"),
        ("alert_type", "initial", "observation"),
        ("notice_type", "Test Position", "test"),
        ("notice_type", "Latest", "observation"),
    ],
)
def test_what_marks_a_test(field: str, word: Any, role: str) -> None:
    assert notice(**{"alert_tense": "current", field: word}).role == role


def test_an_alert_that_is_a_test_is_not_the_alert() -> None:
    both = [notice("superk/sn_alert", alert_datetime="2030-01-01T00:00:21Z", alert_tense=tense, record_number=1)
            for tense in ("test", "current")]  # fmt: skip
    assert both[0].id != both[1].id
    assert not is_same_event(add(Event(), packet_record(both[0])), packet_record(both[1]))


def test_a_retraction_that_only_its_own_type_tells() -> None:
    schema = "classic/lvc/alert"
    first = notice(schema, id=["S300506b"], notice_type="Preliminary", record_number=1)
    gone = notice(schema, id=["S300506b"], notice_type="Retraction", record_number=3)
    assert (first.kind, gone.kind, gone.event) == ("initial", "retraction", "lvc:S300506b")
    assert first.notice_type == "lvc.alert/Preliminary"


def test_a_gravitational_wave_in_the_unified_schema() -> None:
    found = {"gcn_notice_id": 754189311, "observatory": "Fermi"}
    alert = notice("lvk/alert", id=["S300506b"], alert_type=None, significant=False, external_coincidence=found)
    assert (alert.significant, alert.related) == (False, ("fermi:754189311",))
    assert notice("lvk/alert", significant="perhaps").significant is None


def test_classes_one_by_one() -> None:
    alert = notice(classification=[{"BNS": 0.9}, {"TERRESTRIAL": 0.1}, {"A": 1, "B": 0}, 5])
    assert alert.classification == {"BNS": 0.9, "TERRESTRIAL": 0.1}


def test_a_known_source_of_which_only_the_notices_type_tells() -> None:
    assert notice("classic/maxi/alert", notice_type="Known").known_source
    assert not notice("classic/maxi/alert", notice_type="Unknown").known_source


def test_several_notices_that_neither_count_nor_date_themselves_are_several() -> None:
    fields = {"id": "300506aaaa", "alert_type": "update", "trigger_time": "2030-05-06T07:00:00Z"}
    one, other = (notice("dsa110/frb", **fields, description=text) for text in ("DM 221", "DM 222"))
    assert one.event == other.event
    assert one.id != other.id
    same = json.dumps({"description": "DM 221", **fields, "$schema": "gcn/notices/dsa110/frb.schema.json"}, indent=4)
    again = notice("dsa110/frb", **{"$schema": "gcn/notices/dsa110/frb.schema.json"}, **fields, description="DM 221")
    assert parse(same.encode()).id == again.id, "however it is written"


@pytest.mark.parametrize(
    ("schema", "fields", "ivorn", "params"),
    [
        ("classic/amon/alert", {"id": ["150001_7654321"], "notice_type": "Astrotrack Gold"},
         "AMON#ICECUBE_GOLD_Event1", {"run_id": 150001, "event_id": 7654321}),
        ("classic/amon/alert", {"id": ["150001_7654321"], "notice_type": "Cascade", "event_name": ["Cascade-300506a"]},
         "AMON#ICECUBE_Cascade_Event1", {"run_id": 150001, "event_id": "007654321"}),
        ("classic/amon/alert", {"id": ["150001_7654321"], "notice_type": "HESE"},
         "AMON#ICECUBE_HESE_Event1", {"run_id": 150001, "event_id": 7654321}),
        ("classic/amon/alert", {"id": ["1010460_557"], "notice_type": "Burst"},
         "AMON#HAWC_BURST_MONITOR_Event1", {"run_id": 1010460, "event_id": 557}),
        ("classic/amon/alert", {"id": ["0_105322"], "notice_type": "Neutrino-EM Coincidence"},
         "AMON#NU_EM_Event1", {"Event_ID": 105322, "Run_ID": 0}),
        ("icecube/single_neutrino_alerts", {"id": ["150001_7654321_0"], "event_name": ["IceCube-300506A"]},
         "AMON#ICECUBE_GOLD_Event1", {"run_id": 150001, "event_id": 7654321}),
        ("icecube/gold_bronze_track_alerts", {"id": ["150001", "7654321"]},
         "AMON#ICECUBE_BRONZE_Event1", {"run_id": 150001, "event_id": 7654321}),
        ("classic/calet_gbm/alert", {"id": [1369725886]}, "CALET#GBM_1", {"TrigID": 1369725886}),
        ("classic/konus/alert", {"id": [483712]}, "KONUS#Lightcurve_1", {"TrigID": 483712}),
        ("classic/integral/alert", {"id": [8214], "notice_type": "Wakeup"}, "INTEGRAL#Wakeup_1", {"TrigID": 73750}),
        ("classic/maxi/alert", {"id": [7293073513]}, "MAXI#Known_1", {"TrigID": 7293073513}),
        ("classic/counterpart/alert", {"id": [21462]}, "COUNTERPART#Position_1", {"TrigID": 21462}),
        ("classic/sk_sn/alert", {"id": [10058]}, "SK_SN#Event_1", {"Trigger_Number": 10058}),
        ("superk/sn_alert", {"id": "SN.095001.000001", "trigger_number": 10070}, "SK_SN#Event_1",
         {"Trigger_Number": 10070}),
        ("gecam/alert", {"id": [401]}, "GECAM#FLT_Event_1", {"Trigger_Number": 401}),
        ("swift/bat/position", {"id": 1253910}, "SWIFT#BAT_GRB_Pos_1253910-1", {"TrigID": 1253910}),
        ("fermi/gbm/trigger", {"id": ["745121685", "bn240812094"]}, "Fermi#GBM_Alert_1", {"TrigID": 745121685}),
    ],
)  # fmt: skip
def test_a_notice_in_json_and_its_voevent_are_one_event(
    schema: str, fields: dict[str, Any], ivorn: str, params: dict[str, object]
) -> None:
    new, old = packet_record(notice(schema, **fields)), packet_record(voevent(ivorn, **params))
    assert is_same_event(add(Event(), old), new)
    assert is_same_event(add(Event(), new), old)


@pytest.mark.parametrize(
    ("mission", "stream"),
    [
        ("Super-Kamiokande", "sk_sn"),
        ("Einstein Probe", "einstein_probe"),
        ("LVK", "lvc"),
        ("New Mission", "new_mission"),
    ],
)
def test_a_mission_is_known_by_its_name_where_there_is_no_schema(mission: str, stream: str) -> None:
    fields: dict[str, Any] = {"$schema": ..., "mission": mission, "ra": 10.5, "dec": -3}
    assert notice(**fields).stream == stream


def test_a_mission_is_known_in_references_however_it_is_written() -> None:
    for mission, key in (("Einstein Probe", "einstein_probe"), ("Fermi-GBM", "fermi"), ("Swift/BAT", "swift")):
        assert notice(ref_instrument=mission, ref_ID="7654321").related == (f"{key}:7654321",)


def test_a_list_of_one_notice_is_that_notice() -> None:
    fields = {"mission": "New", "ra": 10.5, "dec": -3, "id": "654321", "trigger_time": "2030-05-06T07:00:00Z"}
    assert parse(json.dumps([fields]).encode()) == parse(json.dumps(fields).encode())
