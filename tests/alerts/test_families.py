"""What each family of streams sends about one event, over every way that it takes, in any order and more than once."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.alerts import parse
from pyros.alerts.history import history
from pyros.alerts.identity import Event, PacketRecord, add, believe, is_same_event, join, packet_record
from tests import builders

GCN = "ivo://nasa.gsfc.gcn/"


def voevent(
    ivorn: str, minute: int, at: tuple[float, float, float] | None = None, cites: str = "", role: str = "observation",
    group: str = "", **params: object,
) -> bytes:  # fmt: skip
    """Make a VOEvent that was written so many minutes after midnight; ``cites`` is ``kind ivorn``."""
    what = "".join(f'<Param name="{name}" value="{value}"/>' for name, value in params.items())
    if group:
        what = f'<Group name="{group}">{what}</Group>'
    ra, dec, error = at or (None, 0.0, 0.0)
    kind, _, cited = cites.partition(" ")
    return builders.voevent(
        ivorn, role=role, date=f"2030-01-01T00:{minute:02}:00", ra=ra, dec=dec, error=error, params=what, text="",
        citations=[(kind, cited)] if cites else (),
    )  # fmt: skip


def notice(schema: str, minute: int | None, at: tuple[float, float, float] | None = None, **fields: Any) -> bytes:
    place = dict(zip(("ra", "dec", "ra_dec_error"), at, strict=True)) if at else {}
    sent = {} if minute is None else {"alert_datetime": f"2030-01-01T00:{minute:02}:00Z"}
    schema = f"https://gcn.nasa.gov/schema/main/gcn/notices/{schema}.schema.json"
    return json.dumps({"$schema": schema, **sent, **place, **fields}).encode()


def wave(word: str, minute: int) -> bytes:
    event = None if word == "RETRACTION" else {"significant": True, "far": 1e-9}
    sent = f"2030-01-01T00:{minute:02}:00Z"
    return json.dumps({"superevent_id": "S300101b", "alert_type": word, "time_created": sent, "event": event}).encode()


class Family(NamedTuple):
    packets: tuple[bytes, ...]
    best: int | None
    """Which of them has the position that is believed at the end."""
    retracted: bool = False


FAMILIES = {
    "swift": Family(
        (
            voevent(GCN + "SWIFT#BAT_GRB_Alert_1234567-1", 0, Packet_Type=60, TrigID=1234567),
            voevent(GCN + "SWIFT#BAT_GRB_Pos_1234567-2", 1, (10, 20, 0.05), Packet_Type=61, TrigID=1234567),
            voevent(GCN + "SWIFT#XRT_Pos_1234567-3", 2, (10.01, 20.01, 0.001), Packet_Type=67, TrigID=1234567),
            voevent(GCN + "SWIFT#UVOT_Pos_1234567-4", 9, (10.012, 20.012, 0.0002), Packet_Type=81, TrigID=1234567),
            notice("swift/bat/position", 3, (10, 20, 0.05), id="1234567", alert_type="initial"),
            notice("swift/bat/guano", 5, (12, 21, 3), id=["1234567"], alert_type="update", record_number=2),
        ),
        best=3,
    ),
    "swift, lost lock": Family(
        (
            voevent(GCN + "SWIFT#BAT_GRB_Pos_1234567-1", 1, (10, 20, 0.05), Packet_Type=61, TrigID=1234567),
            voevent(GCN + "SWIFT#BAT_GRB_Pos_1234567-2", 2, (10, 20, 0.05), Packet_Type=61, TrigID=1234567,
                    StarTrack_Lost_Lock="true"),
            voevent(GCN + "SWIFT#XRT_Pos_1234567-3", 3, (10.01, 20.01, 0.001), Packet_Type=67, TrigID=1234567),
        ),
        best=None, retracted=True,
    ),
    "fermi": Family(
        (
            voevent(GCN + "Fermi#GBM_Alert_1", 0, Packet_Type=110, TrigID=745121685),
            voevent(GCN + "Fermi#GBM_Flt_Pos_2", 1, (30, -20, 9), Packet_Type=111, TrigID=745121685),
            voevent(GCN + "Fermi#GBM_Gnd_Pos_3", 2, (31, -21, 4), Packet_Type=112, TrigID=745121685),
            voevent(GCN + "Fermi#GBM_Fin_Pos_4", 9, (32, -21, 2), Packet_Type=115, TrigID=745121685),
            notice("fermi/gbm/trigger", 1, (30, -20, 9), id=["745121685", "bn300101001"], record_number=2),
            notice("swift/bat/guano", 8, (32.5, -21.25, 0.05), id=["745121700"], follow_up_event="Fermi 745121685"),
        ),
        best=5,
    ),
    "integral": Family(
        (
            voevent(GCN + "INTEGRAL#Wakeup_Pos_008214-0-1", 0, (30, -20, 0.05), Packet_Type=53, TrigID=8214),
            voevent(GCN + "INTEGRAL#Refined_Pos_008214-1-2", 1, (30, -20, 0.04), Packet_Type=54, TrigID=73750),
            voevent(GCN + "INTEGRAL#Offline_Pos_008214-2-3", 5, (30, -20, 0.03), Packet_Type=55, TrigID=139286,
                    Def_NOT_a_GRB="true"),
        ),
        best=None, retracted=True,
    ),
    "gravitational wave": Family(
        (
            voevent("ivo://gwnet/LVC#S300101b-1-Preliminary", 0, Packet_Type=150, GraceID="S300101b"),
            voevent("ivo://gwnet/LVC#S300101b-2-Retraction", 9, Packet_Type=164, GraceID="S300101b",
                    cites="retraction ivo://gwnet/LVC#S300101b-1-Preliminary"),
            wave("PRELIMINARY", 0), wave("INITIAL", 5), wave("RETRACTION", 9),
            notice("icecube/lvk_nu_track_search", 6, ref_ID="S300101b-1-Preliminary",
                   trigger_time="2030-01-01T00:00:00Z"),
        ),
        best=None, retracted=True,
    ),
    "gravitational wave, revived": Family(
        (wave("PRELIMINARY", 0), wave("RETRACTION", 5), wave("UPDATE", 9)), best=None
    ),
    "svom": Family(
        (
            voevent("ivo://org.svom/fsc#sb30010101_grm-trigger", 0, Packet_Type=201, Burst_Id="sb30010101"),
            voevent("ivo://org.svom/fsc#sb30010101_eclairs-wakeup", 1, (50, 5, 0.15), Packet_Type=202,
                    Burst_Id="sb30010101", cites="followup ivo://org.svom/fsc#sb30010101_grm-trigger"),
            voevent("ivo://org.svom/fsc#sb30010101_mxt-initial", 7, (50.02, 5.01, 0.02), Packet_Type=209,
                    Burst_Id="sb30010101", cites="followup ivo://org.svom/fsc#sb30010101_eclairs-wakeup"),
            notice("svom/eclairs/trigger", 1, (50, 5, 0.15), id=["sb30010101"]),
        ),
        best=2,
    ),
    "svom, retracted": Family(
        (
            voevent("ivo://org.svom/fsc#sb30010101_eclairs-wakeup", 1, (50, 5, 0.15), Packet_Type=202,
                    Burst_Id="sb30010101"),
            voevent("ivo://org.svom/fsc#sb30010101_retraction", 4, (50, 5, 0.15), Packet_Type=219,
                    Burst_Id="sb30010101", cites="retraction ivo://org.svom/fsc#sb30010101_eclairs-wakeup"),
        ),
        best=None, retracted=True,
    ),
    "icecube": Family(
        (
            voevent(GCN + "AMON#ICECUBE_BRONZE_Event2030_25_150001_007654321_0", 0, (200, 10, 0.8), Packet_Type=174,
                    run_id=150001, event_id=7654321, Rev=0),
            voevent(GCN + "AMON#ICECUBE_BRONZE_Event2030_25_150001_007654321_2", 50, (200.2, 10.1, 0.9),
                    Packet_Type=174, run_id=150001, event_id=7654321, Rev=2),
            notice("icecube/gold_bronze_track_alerts", 1, (200, 10, 0.8), id=["150001", "7654321"]),
            notice("icecube/single_neutrino_alerts", 51, (200.2, 10.1, 0.7), id=["150001_7654321_0"],
                   alert_type="update", record_number=2, event_name=["IceCube-300101A"]),
            notice("classic/amon/alert", 0, (200, 10, 0.8), id=["150001_7654321"], notice_type="Astrotrack Bronze"),
        ),
        best=3,
    ),
    "einstein probe": Family(
        (
            notice("einstein_probe/wxt/alert", None, (80, 8, 0.05), id="01708973486",
                   trigger_time="2030-01-01T00:00:00Z"),
            notice("einstein_probe/wxt/alert", None, (80.01, 8.01, 0.03), id="01708973486",
                   trigger_time="2030-01-01T00:00:00Z"),
        ),
        best=1,
    ),
    "chime": Family(
        (
            voevent("ivo://ca.chimenet.frb/FRB-DETECTION-#2030-01-01", 0, (140, 40, 0.2),
                    group="event parameters", event_no=427325191),
            voevent("ivo://ca.chimenet.frb/FRB-RETRACTION-#2030-01-01", 30, role="utility",
                    cites="retraction ivo://ca.chimenet.frb/FRB-DETECTION-#2030-01-01"),
            notice("chime/frb", None, (140, 40, 0.2), id="427325191", alert_type="initial"),
            notice("chime/frb", None, id="427325191", alert_type="update", description="DM 221"),
            notice("chime/frb", None, id="427325191", alert_type="update", description="DM 222"),
            notice("chime/frb", None, id="427325191", alert_type="retraction"),
        ),
        best=None, retracted=True,
    ),
    "gecam": Family(
        (
            voevent(GCN + "GECAM#FLT_Event_1", 0, (300, 30, 5), Packet_Type=188, Trigger_Number=401),
            voevent(GCN + "GECAM#GND_Event_2", 9, (301, 31, 2), Packet_Type=189, Trigger_Number=401),
            notice("gecam/alert", 1, (300, 30, 5), id=[401], containment_probability=0.68, record_number=1),
        ),
        best=1,
    ),
    "maxi": Family(
        (
            notice("maxi/gsc.unknown", 1, (346, 18, 1.5), id="9995289617", event_name="GRB 300101A", record_number=1),
            notice("maxi/gsc.unknown", 2, (346.5, 18.5, 0.25), id="9995289617", alert_type="update",
                   event_name="GRB 300101A", record_number=2),
            voevent(GCN + "MAXI#Unknown_1", 0, (346, 18, 1), Packet_Type=134, TrigID=9995289617),
        ),
        best=1,
    ),
}  # fmt: skip


@cache
def seen(name: str) -> tuple[PacketRecord, ...]:
    return tuple(packet_record(parse(packet)) for packet in FAMILIES[name].packets)


def grouped(packets: list[PacketRecord]) -> list[Event]:
    events: list[Event] = []
    for new in packets:
        mine = [event for event in events if is_same_event(event, new)]
        events = [event for event in events if event not in mine] + [add(join(*mine), new)]
    return events


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_one_event_whatever_the_order(name: str, shuffler: random.Random) -> None:
    family, packets = FAMILIES[name], seen(name)
    assert len({packet.id for packet in packets}) == len(packets), "each packet has a name to itself"
    coming = [*packets, *shuffler.choices(packets, k=3)]
    shuffler.shuffle(coming)
    (event,) = grouped(coming)
    assert len(event.packets) == len(packets)
    belief = believe(event)
    assert belief.retracted is family.retracted
    assert (belief.best and belief.best.id) == (None if family.best is None else packets[family.best].id)
    assert len(history(event)) == len(packets)


@given(st.randoms(use_true_random=False))
def test_families_that_come_all_at_once_stay_apart(shuffler: random.Random) -> None:
    names = [name for name in FAMILIES if "," not in name and name != "swift"]  # those have the numbers of another one
    coming = [packet for name in names for packet in seen(name)]
    shuffler.shuffle(coming)
    assert len(grouped(coming)) == len(names)
