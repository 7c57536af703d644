"""Avro containers: the same alerts as in JSON, and what a stranger could hide in one."""

from __future__ import annotations

import io
import json
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.alerts import Alert, parse
from pyros.alerts.formats import avro
from pyros.errors import AlertError

WAVE = json.loads((Path(__file__).parent / "samples" / "gravitational_wave.json").read_text(encoding="utf-8"))
EVENT: dict[str, Any] = {
    "type": "record",
    "name": "igwn.Event",
    "fields": [
        {"name": "time", "type": {"type": "string"}},
        {"name": "far", "type": "double"},
        {"name": "significant", "type": "boolean"},
        {"name": "classification", "type": {"type": "map", "values": "double"}},
        {"name": "properties", "type": {"type": "map", "values": "double"}},
        {"name": "instruments", "type": {"type": "array", "items": "string"}},
        *({"name": name, "type": "string"} for name in ("group", "pipeline", "search")),
        {"name": "skymap", "type": ["null", "bytes"]},
    ],
}
SCHEMA = {
    "type": "record",
    "name": "igwn.Alert",
    "fields": [
        {"name": "alert_type", "type": {"type": "enum", "name": "igwn.Type", "symbols": ["PRELIMINARY", "RETRACTION"]}},
        {"name": "time_created", "type": "string"},
        {"name": "superevent_id", "type": "string"},
        {"name": "event", "type": ["null", EVENT]},
        {"name": "again", "type": ["null", "igwn.Event"]},
    ],
}


def wave(**fields: Any) -> dict[str, Any]:
    """Return the sample's gravitational wave as a record of `SCHEMA`."""
    event = {field["name"]: WAVE["event"].get(field["name"]) for field in EVENT["fields"]}
    event |= {"skymap": b"SIMPLE  =                    T"}
    return {**WAVE, "event": event, "again": None, **fields}


def container(schema: Any, *records: Any, codec: str = "null") -> bytes:
    """Write records as one Avro container."""
    file = io.BytesIO()
    fastavro.writer(file, schema, records, codec)
    return file.getvalue()


PACKET = container(SCHEMA, wave())


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_a_wave_in_avro_is_that_in_json(codec: str) -> None:
    in_json = json.dumps({**WAVE, "event": {**WAVE["event"], "skymap": "U0lN"}}).encode()
    assert parse(container(SCHEMA, wave(), codec=codec)) == parse(in_json)


def snapped(data: bytes, packed: bytes) -> bytes:
    """Return the packet with its block compressed by snappy, given as literals and repeats."""
    length = (len(data) & 0x7F | 0x80).to_bytes() + (len(data) >> 7).to_bytes()
    block = length + packed + zlib.crc32(data).to_bytes(4)
    schema = msgspec.json.encode(SCHEMA)
    meta = {"avro.schema": schema, "avro.codec": b"snappy"}
    file = io.BytesIO()
    header = {"type": "map", "values": "bytes"}
    fastavro.schemaless_writer(file, header, meta)
    file.write(b"m" * 16)
    for type_, value in (("long", 1), ("bytes", block)):
        fastavro.schemaless_writer(file, type_, value)
    return avro.MAGIC + file.getvalue() + b"m" * 16


def test_a_wave_packed_by_snappy_is_that_unpacked() -> None:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, SCHEMA, wave(superevent_id="S300506" + "ab" * 40))
    data = file.getvalue()
    at = data.index(b"ab" * 40)
    before, after = data[: at + 2], data[at + 80 :]
    literal = [bytes([61 << 2]) + (len(part) - 1).to_bytes(2, "little") + part for part in (before, after)]
    repeats = bytes([1, 2, 63 << 2 | 2, 2, 0, 9 << 2 | 3, 2, 0, 0, 0])  # 4, 64 and 10 bytes, from two bytes before
    assert len(data) < 1 << 14
    packed = literal[0] + repeats + literal[1]
    assert parse(snapped(data, packed)).event == "lvc:S300506" + "ab" * 40
    for bad in (packed[:-1], packed + b"\0x", literal[0] + b"\xfe\xff\xff", b"", literal[0]):
        with pytest.raises(AlertError, match="the Avro block is damaged"):
            parse(snapped(data, bad))


def test_a_retraction_in_avro_has_no_event() -> None:
    alert = parse(container(SCHEMA, wave(alert_type="RETRACTION", event=None)))
    assert (alert.kind, alert.event) == ("retraction", f"lvc:{WAVE['superevent_id']}")


def test_a_detection_of_a_survey_in_avro() -> None:
    place = {
        "name": "candidate",
        "type": "record",
        "fields": [{"name": key, "type": "double"} for key in ("jd", "ra", "dec")],
    }
    schema = {
        "type": "record", "name": "alert",
        "fields": [
            {"name": "objectId", "type": "string"},
            {"name": "candid", "type": "long"},
            {"name": "candidate", "type": place},
            {"name": "cutout", "type": "bytes"},
        ],
    }  # fmt: skip
    record = {
        "objectId": "ZTF30aaaaaaa",
        "candid": 29,
        "candidate": {"jd": 2462627.5, "ra": 10.5, "dec": -43.5},
        "cutout": b"\0",
    }
    alert = parse(container(schema, record))
    assert (alert.stream, alert.event, alert.target) == ("ztf", "ztf:ZTF30aaaaaaa", (10.5, -43.5))


FINK: dict[str, Any] = {
    "type": "record", "name": "topLevelRecord",
    "fields": [
        {"name": "diaSourceId", "type": "long"},
        {"name": "diaSource", "type": {"type": "record", "name": "diaSource", "fields": [
            *({"name": name, "type": "double"} for name in ("ra", "dec", "midpointMjdTai", "psfFlux")),
            {"name": "diaObjectId", "type": ["long", "null"]},
        ]}},
        {"name": "cutoutScience", "type": ["bytes", "null"]},
        {"name": "clf", "type": {"type": "record", "name": "clf", "fields": [
            {"name": "snnSnVsOthers_score", "type": ["float", "null"]},
            {"name": "earlySNIa_score", "type": ["float", "null"]},
        ]}},
        {"name": "pred", "type": {"type": "record", "name": "pred", "fields": [{"name": "is_sso", "type": "boolean"}]}},
    ],
}  # fmt: skip
"""As fink-client 11 dumps the schema of a livestream of Rubin's alerts, shortened."""


def fink(solar_system: bool = False) -> bytes:
    """Return the bare record of one alert, as Fink's livestream has it in a message's value."""
    source = {"ra": 10.5, "dec": -43.5, "midpointMjdTai": 60924.25, "psfFlux": 3630.78, "diaObjectId": 77}
    scores = {"snnSnVsOthers_score": 0.875, "earlySNIa_score": None}
    stream = io.BytesIO()
    record = {"diaSourceId": 29, "diaSource": source, "cutoutScience": b"\0" * 300, "clf": scores}
    fastavro.schemaless_writer(stream, FINK, {**record, "pred": {"is_sso": solar_system}})
    return stream.getvalue()


@pytest.mark.parametrize("solar_system", [False, True])
def test_a_bare_record_is_read_with_the_schema_that_came_beside_it(solar_system: bool) -> None:
    key = json.dumps(fastavro.parse_schema(json.loads(json.dumps(FINK)))).encode()
    packet = avro.container(key, fink(solar_system))
    assert packet == avro.container(key, fink(solar_system)), "what comes again is the same packet"
    assert len(list(fastavro.reader(io.BytesIO(packet)))) == 1
    alert = parse(packet)
    assert (alert.stream, alert.event, alert.target) == ("lsst", "lsst:77", (10.5, -43.5))
    assert (alert.classification, alert.measured) == ({"SN": 0.875}, {"magnitude": 22.5})
    assert alert.known_source is solar_system
    with pytest.raises(AlertError, match="neither XML nor JSON"):
        parse(fink())


@pytest.mark.parametrize("key", [None, b"", b"ZTF30aaaaaaa", b'{"type": "record"}', b'{"id": 7}', b"{", b"[]", b"{}"])
def test_a_key_that_is_no_schema_changes_nothing(key: bytes | None) -> None:
    assert avro.container(key, b"{}") == b"{}"


def test_a_container_needs_no_key() -> None:
    assert avro.container(json.dumps(SCHEMA).encode(), PACKET) == PACKET


def test_what_fastavro_writes_into_a_schema_is_not_trusted() -> None:
    """It would take types from there without looking at them."""
    schema = {**FINK, "__fastavro_parsed": True, "__named_schemas": {"x": "y"}}
    assert avro.checked_schema(schema).keys() == {"type", "name", "fields"}


ITEMS = [
    "null",
    {"type": "null"},
    {"type": "fixed", "name": "f", "size": 0},
    {"type": "record", "name": "r", "fields": []},
]


@pytest.mark.parametrize("items", ITEMS)
def test_an_array_of_nothing_is_refused(items: Any) -> None:
    """A packet of 100 bytes says that it has a billion of them."""
    schema = {"type": "record", "name": "a", "fields": [{"name": "x", "type": {"type": "array", "items": items}}]}
    with pytest.raises(AlertError, match="items take no bytes"):
        avro.checked_schema(schema)


def test_a_schema_that_doubles_at_each_level_is_refused() -> None:
    schema: Any = {"type": "record", "name": "r0", "fields": [{"name": "x", "type": "null"}]}
    for level in range(1, 25):
        inner = [{"name": "a", "type": schema}, {"name": "b", "type": f"r{level - 1}"}]
        schema = {"type": "record", "name": f"r{level}", "fields": inner}
    with pytest.raises(AlertError, match="more than"):
        avro.checked_schema(schema)


def test_a_recursive_schema_is_refused() -> None:
    """Its records nest as deep as their author likes."""
    schema = {"type": "record", "name": "n.Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    with pytest.raises(AlertError, match="recursive"):
        parse(container(schema, {"next": {"next": None}}))


def test_what_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(AlertError, match="unpacks to more than 1000 bytes"):
        parse(container(SCHEMA, wave(superevent_id="S" * 1_000_000), codec="deflate"))


@pytest.mark.parametrize("records", [[], [wave(), wave()]])
def test_a_packet_is_one_record(records: list[Any]) -> None:
    with pytest.raises(AlertError, match=r"not Avro|none or several"):
        parse(container(SCHEMA, *records))


@given(st.integers(0, len(PACKET)), st.binary(max_size=8), st.integers(0, 40))
def test_a_damaged_container_is_an_alert_or_refused(at: int, put: bytes, less: int) -> None:
    packet = avro.MAGIC + (PACKET[:at] + put + PACKET[at + less :])[4:]
    with suppress(AlertError):
        assert isinstance(parse(packet), Alert)
