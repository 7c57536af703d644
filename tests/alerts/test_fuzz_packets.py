"""Whatever the bytes: an `Alert` or an `AlertError`, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.alerts import Alert, parse
from pyros.errors import AlertError

SAMPLES = sorted((Path(__file__).parent / "samples").iterdir())
PACKETS = [path.read_bytes() for path in SAMPLES]
TOKENS = [
    *(b"-1", b"0", b"NaN", b"inf", b"1e999", b"9" * 20, b"9" * 5000, b"2016-01--3T00:-24:-54.-77", b"null", b"true"),
    *(b"<", b"&", b"\0", b'"', b"{", b"[", b"#", b"]]>", b"<!DOCTYPE x>", b"</What>", b"<What>", b"\xff\xfe"),
]


def understood(packet: bytes, topic: str = "") -> None:
    """Assert that a packet gives an Alert whose fields hold what they promise, or one line of AlertError."""
    refusal = ""
    try:
        alert = parse(packet, topic=topic)
    except AlertError as error:
        refusal = str(error)
    if refusal:
        assert "\n" not in refusal
        return
    assert isinstance(alert, Alert)
    assert alert.id
    assert alert.event
    assert (alert.ra is None) is (alert.dec is None)
    assert alert.ra is None or 0 <= alert.ra < 360
    assert alert.dec is None or -90 <= alert.dec <= 90
    assert alert.error_radius is None or 0 < alert.error_radius < 180
    assert alert.containment is None or 0 <= alert.containment <= 1
    assert alert.far is None or alert.far >= 0
    assert alert.time is None or alert.time.tzinfo is not None


@given(st.binary(max_size=300))
def test_random_bytes(packet: bytes) -> None:
    understood(packet)
    understood(b"<" + packet)
    understood(b"{" + packet)


@settings(max_examples=300)
@given(st.data())
def test_mutated_packets(data: st.DataObject) -> None:
    packet = data.draw(st.sampled_from(PACKETS))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(packet)))
        end = data.draw(st.integers(start, min(len(packet), start + 40)))
        new = data.draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)))
        packet = packet[:start] + new + packet[end:]
    understood(packet)


@pytest.mark.parametrize("packet", PACKETS, ids=[path.name for path in SAMPLES])
def test_every_value_replaced(packet: bytes) -> None:
    """Each quoted value and each text in turn becomes each of the tokens."""
    marks = [index for index, byte in enumerate(packet) if byte in b'">']
    for start, end in zip(marks[::2], marks[1::2], strict=False):
        for token in TOKENS:
            understood(packet[: start + 1] + token + packet[end:])


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)
FIELDS = [
    "id",
    "event_name",
    "ref_ID",
    "record_number",
    "alert_type",
    "alert_tense",
    "trigger_time",
    "alert_datetime",
    "ra",
    "dec",
    "ra_dec_error",
    "containment_probability",
    "healpix_url",
    "healpix_file",
    "far",
    "p_astro",
    "importance",
    "data",
    "classification",
    "properties",
    "known_source",
    "subtype",
    "pipeline",
    "mission",
    "rectangular_error_corners",
    "event",
    "superevent_id",
    "time_created",
    "ivorn",
    "role",
    "Who",
    "What",
    "WhereWhen",
    "Why",
    "Citations",
    "eventId",
    "circularId",
]


@given(
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=8),
    st.sampled_from(["icecube/x", "boom/a", "new/b", ""]),
)
def test_any_json_in_any_field(fields: dict[str, Any], schema: str) -> None:
    notice = dict(fields)
    if schema:
        notice["$schema"] = f"https://gcn.nasa.gov/schema/main/gcn/notices/{schema}.schema.json"
    understood(json.dumps(notice).encode("utf-8", "surrogatepass"), topic="gcn.notices.svom.x")
