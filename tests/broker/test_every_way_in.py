"""A packet of each stream's newest schema, and what cannot be read: the same by file, Kafka and VTP.

The packets are written for these tests; GCN's schema is that of version 7.2.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import pytest
from twisted.internet.testing import MemoryReactorClock

from pyros.alerts import Alert, parse
from pyros.alerts.formats.avro import container
from pyros.broker.folder import Folder
from pyros.broker.intake import Intake
from pyros.broker.store import EventStore
from pyros.clock import VirtualClock
from pyros.errors import AlertError
from tests.broker.conftest import make_event, outcome
from tests.builders import voevent

SAMPLES = Path(__file__).parents[1] / "alerts" / "samples"
PLACE = {"ra": 120.5, "dec": -30.25, "ra_dec_error": 0.5}
WHEN = {"trigger_time": "2030-05-06T07:08:09.5Z", "alert_datetime": "2030-05-06T07:09:00Z"}


class Read(NamedTuple):
    """What is to be read of a packet."""

    event: str
    kind: str = "initial"
    role: str = "observation"
    target: tuple[float, float] | None = (120.5, -30.25)
    error_radius: Any = 0.5
    more: Any = None


def gcn(schema: str, **fields: Any) -> bytes:
    return json.dumps(
        {"$schema": f"https://gcn.nasa.gov/schema/main/gcn/notices/{schema}.schema.json", **fields}
    ).encode()


def wave(word: str, event: dict[str, Any] | None) -> bytes:
    fields = {"alert_type": word, "superevent_id": "S300506b", "time_created": "2030-05-06T07:09:00Z", "event": event}
    return json.dumps({**fields, "external_coinc": None, "urls": {}}).encode()


def record(fields: dict[str, Any], types: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the schema of a record, and the bare record."""
    schema = {"type": "record", "name": "alert", "fields": [{"name": name, "type": types[name]} for name in fields]}
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, json.loads(json.dumps(schema)), fields)
    return schema, stream.getvalue()


def avro(**fields: Any) -> bytes:
    numbers = {"type": "map", "values": "double"}
    types = {int: "long", float: "double", str: "string", bytes: "bytes", dict: numbers}
    schema, bare = record(fields, {name: types[type(value)] for name, value in fields.items()})
    return container(json.dumps(schema).encode(), bare)


GBM = {**PLACE, **WHEN, "mission": "Fermi", "id": ["925970700", "bn300506297"], "containment_probability": 0.68,
       "classification": {"GRB": 0.85, "GENERIC_SGR": 0.14}, "rate_duration": 0.064, "rate_snr": 14.8,
       "hardness_ratio": 1.84, "alert_type": "update", "record_number": 4, "subtype": "FLIGHT_POSITION"}  # fmt: skip
SOURCE = {"ra": 120.5, "dec": -30.25, "midpointMjdTai": 62_627.5, "psfFlux": 3630.78, "snr": 40.0, "reliability": 0.875}
STREAMS: dict[str, tuple[bytes, Read]] = {
    "boom": (
        gcn("boom/alert", mission="Boom", alert_datetime=WHEN["alert_datetime"], data={
            "targets": [{"event_name": "ZTF30abc", **PLACE, "classification_scores": {"Type II": 0.875}}],
            "photometry": [{"event_name": "ZTF30abc", "mag": 18.25, "observation_start": "2030-05-06T06:00:00Z"}]}),
        Read("boom:ZTF30abc", more={"measured": {"magnitude": 18.25}, "classification": {"Type II": 0.875}}),
    ),
    "boom, two targets": (
        gcn("boom/alert", mission="Boom", alert_datetime=WHEN["alert_datetime"], data={
            "targets": [{"event_name": "ZTF30abc", **PLACE}, {"event_name": "ZTF30abd", "ra": 10.5, "dec": 3.0}]}),
        Read("boom:b35463b8e4d48ec8", target=None, error_radius=None),
    ),
    "burstcube": (
        gcn("burstcube/alert", **PLACE, **WHEN, id=["300506297"], alert_type="initial", t90=2.25, rate_snr=7.5),
        Read("burstcube:300506297", more={"measured": {"duration": 2.25, "rate_snr": 7.5}}),
    ),
    "chime": (
        gcn("chime/frb", **PLACE, **WHEN, id="427325191", alert_type="initial", snr=12.5, dm=279.5, importance=0.9375),
        Read("chime:427325191", more={"importance": 0.9375, "measured": {"snr": 12.5, "dispersion": 279.5}}),
    ),
    "chime, retracted": (
        gcn("chime/frb", id="427325191", alert_type="retraction", trigger_time=WHEN["trigger_time"]),
        Read("chime:427325191", "retraction", target=None, error_radius=None),
    ),
    "dsa110": (
        gcn("dsa110/frb", **{**PLACE, "ra_dec_error": [0.25, 0.5]}, id="300506aaaa", alert_type="initial",
            trigger_time=WHEN["trigger_time"], event_duration=1.5, known_source="FRB 20301013B"),
        Read("dsa110:300506aaaa", more={"measured": {"duration": 0.0015}, "known_source": True}),
    ),
    "einstein probe": (
        gcn("einstein_probe/wxt/alert", **PLACE, trigger_time=WHEN["trigger_time"], id=["01708973486"], image_snr=9.5,
            instrument="WXT"),
        Read("einstein_probe:01708973486", more={"instruments": ("WXT",), "measured": {"image_snr": 9.5}}),
    ),
    "fermi gbm": (
        gcn("fermi/gbm/trigger", **GBM),
        Read("fermi:925970700", "update", more={
            "classification": {"GRB": 0.85, "SGR": 0.14}, "containment": 0.68,
            "measured": {"rate_snr": 14.8, "timescale": 0.064, "hardness": 1.84}}),
    ),
    "fermi lat": (
        gcn("fermi/lat/flare", ra=120.5, dec=-30.25, mission="Fermi", event_name="OQ 334",
            observation_start="2030-05-05T00:00:00.0", alert_datetime=WHEN["alert_datetime"]),
        Read("fermi:OQ 334@2030-05-05", error_radius=None, more={"known_source": True}),
    ),
    "glowbug": (
        gcn("glowbug/Alert", **WHEN, id=["BUG300506.297", "432"], alert_type="initial", far=0.25, p_astro=0.875),
        Read("glowbug:BUG300506.297", target=None, error_radius=None, more={"far": 0.25, "importance": 0.875}),
    ),
    "icecube": (
        gcn("icecube/single_neutrino_alerts", **PLACE, **WHEN, id=["137840_57034692"], event_name=["IceCube-300506A"],
            alert_type="initial", record_number=1, p_astro=0.34375, far=8e-08, pipeline="Bronze Track Alert"),
        Read("icecube:137840_57034692", more={"measured": {"signalness": 0.34375}, "importance": 0.34375, "far": 8e-8}),
    ),
    "icecube, search for a wave": (
        gcn("icecube/lvk_nu_track_search", **WHEN, ref_ID="S300506b", pval_generic=0.0625, n_events_coincident=1),
        Read("lvc:S300506b", target=None, error_radius=None),
    ),
    "km3net": (
        gcn("km3net/alert", **PLACE, **WHEN, id="1", event_name="KM3-300506A", alert_type="initial", record_number=1,
            far=8e-08, pipeline="orca_HE"),
        Read("km3net:KM3-300506A", more={"far": 8e-8, "pipeline": "orca_HE"}),
    ),
    "maxi": (
        gcn("maxi/gsc.unknown", ra=120.5, dec=-30.25, **WHEN, mission="MAXI", id="9995289617", alert_type="initial",
            detection_timescale=1, detection_timescale_units="orbit", record_number=1,
            rectangular_error_corners=[[120.5, -29.75], [120.5, -30.75], [120.4, -30.0], [120.6, -30.5]]),
        Read("maxi:9995289617", error_radius=pytest.approx(0.5), more={"measured": {"timescale": 5560.0}}),
    ),
    "super-kamiokande, test": (
        gcn("superk/sn_alert", **PLACE, **WHEN, mission="Super-Kamiokande", id="SN.095001.000001", alert_type="initial",
            trigger_number=10_070, alert_tense="test", containment_probability=0.68),
        Read("sk_sn:SN.095001.000001", role="test", more={"names": ("sk_sn:10070",), "containment": 0.68}),
    ),
    "snews": (
        gcn("snews2/coincidence", **WHEN, id="SNEWS_300506", alert_type="initial"),
        Read("snews:2030-05-06", target=None, error_radius=None),
    ),
    "svom": (
        gcn("svom/trigger", **PLACE, **WHEN, instrument="ECLAIRs", id=["sb30050603"], alert_type="initial",
            alert_tense="current", image_snr=25.5, image_duration=0, slew_status="accepted"),
        Read("svom:sb30050603", more={"measured": {"image_snr": 25.5}}),
    ),
    "swift guano": (
        gcn("swift/bat/Guano", **PLACE, **WHEN, id=["694215995"], alert_type="update", far=1e-05, rate_duration=0.25,
            follow_up_event="Fermi 694215970", record_number=3),
        Read("swift:694215995", "update", more={"related": ("fermi:694215970",), "far": 1e-5}),
    ),
    "a wave": (
        wave("PRELIMINARY", {"significant": True, "far": 1e-9, "time": WHEN["trigger_time"], "group": "CBC",
                             "classification": {"BNS": 0.875}, "skymap": "U0lN", "instruments": ["H1", "L1"]}),
        Read("lvc:S300506b", target=None, error_radius=None, more={
            "skymap": "embedded", "group": "CBC", "instruments": ("H1", "L1"), "classification": {"BNS": 0.875}}),
    ),
    "a wave, retracted": (
        wave("RETRACTION", None), Read("lvc:S300506b", "retraction", target=None, error_radius=None),
    ),
    "rubin": (
        avro(diaSourceId=29, diaSource=SOURCE, diaObjectId=77, cutoutScience=b"\0" * 99),
        Read("lsst:29", error_radius=None, more={
            "measured": {"magnitude": 22.5, "snr": 40.0, "real_bogus": 0.875}}),
    ),
    "ztf by fink": (
        avro(objectId="ZTF30aaaaaaa", candid=29,
             candidate={"ra": 120.5, "dec": -30.25, "jd": 2462627.5, "magpsf": 18.5},
             snn_sn_vs_all=0.75, rf_snia_vs_nonia=0.5, mulens=0.0),
        Read("ztf:ZTF30aaaaaaa", error_radius=None, more={
            "measured": {"magnitude": 18.5}, "classification": {"SN": 0.75, "early SN Ia": 0.5, "microlensing": 0.0}}),
    ),
    "alerce": (
        avro(objectId="ZTF30aaaaaaa", candid=29, probabilities={"SN": 0.75, "AGN": 0.25}),
        Read("ztf:ZTF30aaaaaaa", target=None, error_radius=None, more={"classification": {"SN": 0.75, "AGN": 0.25}}),
    ),
    "lasair": (
        json.dumps({"objectId": "ZTF30aaaaaaa", "ramean": 120.5, "decmean": -30.25, "jdmax": 2462627.5, "UTC": "x",
                    "classification": "SN", "gmag": 18.5}).encode(),
        Read("ztf:ZTF30aaaaaaa", error_radius=None, more={"classification": {"SN": 1.0}}),
    ),
    "tns": (
        json.dumps({"id_code": 200, "id_message": "OK", "data": {"received_data": {}, "reply": {
            "objname": "2030abc", "name_prefix": "SN", "objid": 152341, "ra": "08:02:00.00", "dec": "-30:15:00.0",
            "radeg": 120.5, "decdeg": -30.25, "discoverydate": "2030-05-06 07:08:09.500", "discoverymag": 18.25,
            "object_type": {"id": 3, "name": "SN Ia"}, "internal_names": "ZTF30abcdefg, ATLAS30xyz"}}}).encode(),
        Read("tns:2030abc", error_radius=None, more={
            "measured": {"magnitude": 18.25}, "classification": {"SN Ia": 1.0}, "related": ("ztf:ZTF30abcdefg",)}),
    ),
    "tns, sexagesimal": (
        json.dumps({"objname": "AT 2030abc", "ra": "08:02:00.00", "dec": "-30:15:00.0", "discoverymag": "18.25",
                    "discoverydate": "2030-05-06 07:08:09.500", "object_type": {"id": None, "name": None}}).encode(),
        Read("tns:2030abc", error_radius=None, more={"measured": {"magnitude": 18.25}, "classification": {}}),
    ),
    "antares": (
        json.dumps({"locus_id": "ANT2030abc", "ra": 120.5, "dec": -30.25, "tags": ["extragalactic"], "catalogs": [],
                    "properties": {"ztf_object_id": "ZTF30abcdefg", "newest_alert_id": "ztf_candidate:29",
                                   "newest_alert_magnitude": 18.5, "newest_alert_observation_time": 62627.5}}).encode(),
        Read("ztf:ZTF30abcdefg", error_radius=None, more={
            "measured": {"magnitude": 18.5}, "id": "ztf.alert:ZTF30abcdefg:ztf_candidate:29", "known_source": False}),
    ),
    "antares, its api": (
        json.dumps({"data": {"type": "locus", "id": "ANT2030abc", "attributes": {
            "ra": 120.5, "dec": -30.25, "tags": [], "properties": {
                "survey": {"lsst": {"dia_object_id": ["77"], "ss_object_id": ["8"]}}}}}}).encode(),
        Read("lsst:77", error_radius=None, more={"known_source": True}),
    ),
    "scimma": (
        b'{"format": "json", "content": ' + gcn("chime/frb", **PLACE, **WHEN, id="427325191") + b"}",
        Read("chime:427325191"),
    ),
    "hermes": (
        b'{"title": "t", "submitter": "s", "message_text": "m", "uuid": "1", "data": {"event_id": "S300506b"}}',
        Read("hermes:S300506b", role="utility", target=None, error_radius=None),
    ),
    "gbm in text": (
        (SAMPLES / "final_position.txt").read_bytes(),
        Read("fermi:925970700", target=(120.25, -12.5), error_radius=2.4, more={"containment": 0.68}),
    ),
    "a circular": (
        b'{"eventId": "GRB 300506A", "circularId": 99999, "subject": "s", "body": "b"}',
        Read("gcn.circulars:GRB 300506A", role="utility", target=None, error_radius=None),
    ),
    "swift in voevent": (
        voevent("ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1234567-1", ra=120.5, dec=-30.25, error=0.05,
                params='<Param name="Packet_Type" value="61"/><Param name="TrigID" value="1234567"/>'),
        Read("swift:1234567", error_radius=0.05, more={"notice_type": "SWIFT_BAT_GRB_POS_ACK"}),
    ),
}  # fmt: skip

UNREADABLE: dict[str, bytes] = {
    "nothing": b"",
    "white": b" \r\n\0",
    "words": b"Error: the topic is gone",
    "a page": b"<html><body>502 Bad Gateway</body></html>",
    "half of it": make_event()[:300],
    "a bomb": b'<!DOCTYPE a [<!ENTITY a "aa">]><a>&a;</a>',
    "gzip": b"\x1f\x8b\x08\0rest",
    "a number of a schema": b"\0\0\0\x02\xbfrest",
    "bson of antares": zlib.compress(b"\x05\0\0\0\0"),
    "another text": b"TITLE: my thesis\n",
    "a list": b'[{"id": 1}, {"id": 2}]',
    "half of an object": b'{"id": ',
    "another object": b'{"temperature": 12}',
    "a record of gracedb": b'{"superevent_id": "S300506b", "alert_type": "label_added"}',
    "a schema": b'{"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Alert"}',
    "damaged avro": avro(objectId="ZTF30aaaaaaa", candid=29)[:-40],
    "no event": b'<VOEvent version="2.0" role="observation"/>',
}


def said_by_parse(packet: bytes) -> Alert | str:
    try:
        return parse(packet)
    except AlertError as error:
        return str(error)


Take = Callable[[bytes], Alert | str]


@pytest.fixture(params=["kafka", "vtp", "file"])
def take(
    request: pytest.FixtureRequest, store: EventStore, reactor: MemoryReactorClock, clock: VirtualClock, tmp_path: Path
) -> Iterator[Take]:
    """Give a packet to a broker; returns what the alert manager reads of it then, or the words of the refusal."""
    kept: list[bytes] = []
    store.start(lambda _: None)
    intake = Intake(store, lambda packet, *_: kept.append(packet), lambda packet, *_: kept.append(packet))
    incoming = tmp_path / "incoming"
    folder = Folder(clock, intake, incoming)
    folder.start()

    def taken(packet: bytes) -> Alert | str:
        if request.param == "file":
            (incoming / "packet").write_bytes(packet)
            reactor.pump([1.0, 0.0] * 3)
            found = list(incoming.rglob("*.reason"))
            reason = "".join(path.read_text().strip() for path in found)
            for path in found:
                path.unlink()
        else:
            receipt = intake.receive(packet, request.param, strict=request.param == "vtp")
            reactor.advance(0)
            reason = outcome(receipt).reason
        assert bool(reason) != bool(kept)
        return said_by_parse(kept.pop()) if kept else reason

    yield taken
    folder.stop()


@pytest.mark.parametrize("name", STREAMS)
def test_every_streams_newest_schema_is_read(name: str) -> None:
    packet, expected = STREAMS[name]
    alert = parse(packet)
    assert Read(alert.event, alert.kind, alert.role, alert.target, alert.error_radius) == expected._replace(more=None)
    more = expected.more or {}
    assert {field: getattr(alert, field) for field in more} == more


def test_a_packet_is_the_same_by_every_way(take: Take) -> None:
    for name, (packet, _) in STREAMS.items():
        assert take(packet) == parse(packet), name


def test_what_cannot_be_read_is_refused_with_the_same_words(take: Take) -> None:
    for name, packet in UNREADABLE.items():
        said = said_by_parse(packet)
        assert isinstance(said, str), name
        assert take(packet) == said, name
