"""The codec of INDI: what servers really send, however it is cut, and what none should send."""

from __future__ import annotations

import base64
import itertools
import math
import zlib
from contextlib import suppress
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.errors import WireError
from pyros.instruments.indi import codec
from pyros.instruments.indi.codec import (
    Blob,
    Deleted,
    IndiDamage,
    IndiDecoder,
    IndiEvent,
    IndiNote,
    IndiPing,
    Vector,
    VectorMember,
)

PIXELS = bytes(range(256)) * 3
STREAM = f"""
<defNumberVector device="Telescope Simulator" name="EQUATORIAL_EOD_COORD" label="Eq. Coordinates"
  group="Main Control" state="Idle" perm="rw" timeout="60" timestamp="2026-11-24T22:04:18">
    <defNumber name="RA" label="RA (hh:mm:ss)" format="%010.6m" min="0" max="24" step="0">
12:30:00
    </defNumber>
    <defNumber name="DEC" label="DEC &lt;dd:mm:ss&gt;" format="%010.6m" min="-90" max="90" step="0">-0:30:36</defNumber>
</defNumberVector>
<!-- a comment --><unknownThing device="x"><inner>text</inner></unknownThing>
<setSwitchVector device="Dome" name="CONNECTION" state="Ok" timeout="60">
    <oneSwitch name="CONNECT">On</oneSwitch><oneSwitch name="DISCONNECT">Off</oneSwitch>
</setSwitchVector>
<defLightVector device="W" name="WEATHER_STATUS" state="Alert"><defLight name="WIND">Alert</defLight></defLightVector>
<message device="Dome" timestamp="2026-11-24T22:04:18" message="[ERROR] caf\u00e9 &amp; more"/>
<setBLOBVector device="CCD" name="CCD1" state="Ok"><oneBLOB name="CCD1" size="768" format=".fits" len="768">
{base64.encodebytes(PIXELS).decode()}</oneBLOB></setBLOBVector>
<delProperty device="CCD" name="CCD_GAIN"/><delProperty device="CCD"/>
<pingRequest uid="7"/>
<defTextVector device="F" name="FILTER_NAME" perm="ro"><defText name="FILTER_SLOT_NAME_1"> r </defText></defTextVector>
""".encode()
EVENTS: list[IndiEvent] = [
    Vector(
        True, "Number", "Telescope Simulator", "EQUATORIAL_EOD_COORD", "Idle",
        (VectorMember("RA", 12.5, "RA (hh:mm:ss)", 0, 24), VectorMember("DEC", -0.51, "DEC <dd:mm:ss>", -90, 90)),
        label="Eq. Coordinates", timeout=60, stamp=1795557858.0,
    ),
    Vector(False, "Switch", "Dome", "CONNECTION", "Ok",
           (VectorMember("CONNECT", True), VectorMember("DISCONNECT", False)), timeout=60),
    Vector(True, "Light", "W", "WEATHER_STATUS", "Alert", (VectorMember("WIND", "Alert"),), writable=False),
    IndiNote("Dome", "[ERROR] caf\u00e9 & more"),
    Vector(False, "BLOB", "CCD", "CCD1", "Ok", (VectorMember("CCD1", Blob(PIXELS, ".fits")),)),
    Deleted("CCD", "CCD_GAIN"),
    Deleted("CCD", ""),
    IndiPing("7"),
    Vector(True, "Text", "F", "FILTER_NAME", None, (VectorMember("FILTER_SLOT_NAME_1", "r"),), writable=False),
]  # fmt: skip


def events(*pieces: bytes, decoder: IndiDecoder | None = None) -> list[IndiEvent]:
    decoder = decoder or IndiDecoder()
    found = []
    for piece in pieces:
        decoder.feed(piece)
        while (event := decoder.next()) is not None:
            found.append(event)
    return found


def test_what_a_server_sends_becomes_events() -> None:
    assert events(STREAM) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_pieces_of_one_size(size: int) -> None:
    assert events(*(STREAM[begin : begin + size] for begin in range(0, len(STREAM), size))) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_however_the_bytes_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert events(*(STREAM[begin:end] for begin, end in itertools.pairwise(edges))) == EVENTS


def test_every_cut_in_two() -> None:
    short = STREAM[: STREAM.index(b"<setBLOBVector")]
    for cut in range(len(short)):
        assert events(short[:cut], short[cut:]) == EVENTS[:4]


@given(st.binary(max_size=300))
def test_any_bytes_give_events_or_an_error(data: bytes) -> None:
    decoder = IndiDecoder()
    try:
        found = events(STREAM[:700] + data, decoder=decoder)
    except WireError:
        with pytest.raises(WireError):  # it stays one
            decoder.feed(b"<x/>")
    else:
        assert found[:1] == EVENTS[:1]


@given(st.integers(0, len(STREAM) - 1), st.integers(0, 255))
def test_one_wrong_byte_gives_events_or_an_error(place: int, byte: int) -> None:
    with suppress(WireError):
        events(STREAM[:place] + bytes([byte]) + STREAM[place + 1 :])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<message " + b"x" * 300_000, "markup of more than 262144 characters"),
        (b"<!--" + b"x" * 400_000, "markup of more than 262144 characters"),
        (b'<message message="' + b"x" * 5000 + b'"/>', "an attribute of more than 4096 characters"),
        (b"<setTextVector><oneText>" + b"x " * 40_000, "a value of more than 65536 characters"),
        (b"<defNumberVector>" + b"<defNumber name='a'>1</defNumber>" * 1025, "more than 1024 members"),
        (b"<setBLOBVector><oneBLOB name='a'>A</oneBLOB>", "a BLOB that is not base64"),
        (b"<message message='a<b'/>" * 17, "16 elements before it were damaged, too"),
        (b"</nonsense><" + b"x" * 400_000, "markup of more than 262144 characters"),
        (b"</nonsense>" * 40_000, "markup of more than 262144 characters"),
    ],
)  # fmt: skip
def test_what_is_not_indi(data: bytes, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        events(data)


FINE = b'<message device="D" message="fine"/>'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<a><b></a>", "mismatched tag in a of ''"),
        (b"</indi>", "an end tag without its beginning"),
        (b"<?xml version='1.0'?>", "XML or text declaration not at start of entity"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]>', "not well-formed (invalid token)"),
        (b"<a><b><c><d/></c></b></a>", "elements deeper than INDI has them in a of ''"),
        (b'<message device="D" message="a < b"/>', "not well-formed (invalid token)"),
        (b'<message device="D message="without"/>', "not well-formed (invalid token)"),
        (b'<setTextVector device="D" name="N"><oneText name="a">1 < 2</oneText></setTextVector>',
         "not well-formed (invalid token) in setTextVector of 'D'"),
        (b'<setTextVector device="D" name="N"><oneText name="a">x</oneText>', "no end in setTextVector of 'D'"),
        (b'<setTextVector device="D" name="N"><oneText name="a">x</setTextVector>',
         "mismatched tag in setTextVector of 'D'"),
        ('<message message="\uffff"/>'.encode(), "not well-formed (invalid token)"),
    ],
)  # fmt: skip
def test_an_element_that_is_not_xml_is_left_out(data: bytes, problem: str, size: int) -> None:
    stream = FINE + data + FINE
    first, damage, last = events(*(stream[begin : begin + size] for begin in range(0, len(stream), size)))
    assert first == last == IndiNote("D", "fine")
    assert damage == IndiDamage(f"bad XML: {problem}")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("written", "text"),
    [
        (b"R&D, a & b &lt; c &amp; d&", "R&D, a & b < c & d&"),
        (b"&nbsp;&a;&;&#;&#x;", "&nbsp;&a;&;&#;&#x;"),
        (b"&#65;&#x42;&#27;&#x0;&#xFFFF;&#9999999;.", "AB."),
    ],
)
def test_an_ampersand_that_begins_nothing_is_itself(written: bytes, text: str, size: int) -> None:
    stream = b'<message message="%s"/>' % written
    stream += b'<setTextVector device="D" name="N"><oneText name="t">%s</oneText></setTextVector>' % written
    note, vector = events(*(stream[begin : begin + size] for begin in range(0, len(stream), size)))
    assert note == IndiNote("", text)
    assert isinstance(vector, Vector)
    assert vector.members[0].value == text


def test_damage_is_forgotten_when_whole_elements_come_between() -> None:
    told = events((b"<message message='a<b'/>" + FINE) * 100)
    assert [type(event) for event in told] == [IndiDamage, IndiNote] * 100


def test_a_blob_has_a_limit_and_stays_as_it_was_sent() -> None:
    begin = b"<setBLOBVector device='c' name='d'><oneBLOB name='a' format='.fits%s'>"
    end = b"</oneBLOB></setBLOBVector>"
    packed = zlib.compress(bytes(1000))
    (vector,) = events(begin % b".z" + base64.encodebytes(packed) + end, decoder=IndiDecoder(1000))
    assert isinstance(vector, Vector)
    assert vector.members[0].value == Blob(packed, ".fits.z")
    with pytest.raises(WireError, match="a BLOB of more than 999 bytes"):
        events(begin % b"" + base64.b64encode(bytes(1000)) + end, decoder=IndiDecoder(999))
    with pytest.raises(WireError, match="more than 13"):
        events(begin % b"" + b"A" * 1400, decoder=IndiDecoder(999))


def test_a_blob_on_its_way_is_known() -> None:
    decoder = IndiDecoder()
    decoder.feed(b"<setBLOBVector device='c' name='d'><oneBLOB name='a'>AAAA")
    assert decoder.in_blob
    decoder.feed(b"</oneBLOB>")
    assert not decoder.in_blob


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5", 1.5),
        (" -2e3\n", -2000.0),
        ("np.float64(12.25)", 12.25),
        ("numpy.float32(-3)", -3.0),
        ("12:30", 12.5),
        ("-0:30:36", -0.51),
        ("+12 30 36.0", 12.51),
        ("12;30", 12.5),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert codec.number(text) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("text", ["", "north", "1:2:3:4", "nan", "np.float64()"])
def test_what_is_no_number(text: str) -> None:
    assert math.isnan(codec.number(text))


def test_control_characters_in_a_message_are_no_reason_to_give_up() -> None:
    decoder = IndiDecoder()
    decoder.feed(b'<message device="Mount" message="answered [\x06\x00\x1b#]"/>')
    assert decoder.next() == IndiNote("Mount", "answered [#]")


def test_letters_in_another_encoding_are_no_reason_to_give_up() -> None:
    assert events('<message message="caf\u00e9"/>'.encode("latin-1")) == [IndiNote("", "caf\ufffd")]


@given(
    st.text(min_size=1, max_size=20).map(lambda text: "".join(c for c in text if c.isprintable()) or "x"),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_what_a_client_says_is_xml(text: str, value: float) -> None:
    text = text.strip() or "x"
    sent = codec.new_vector("Number", text, "A", {"B": value})
    element = ElementTree.fromstring(sent.decode())
    assert element.attrib == {"device": text, "name": "A"}
    assert float(element[0].text or "") == value
    (member,) = ElementTree.fromstring(codec.new_vector("Text", "d", "n", {"t": text}).decode())
    assert member.text == text


def test_a_numpy_number_is_written_as_a_number() -> None:
    sent = codec.new_vector("Number", "d", "n", {"RA": np.float64(1.5)})  # type: ignore[dict-item,unused-ignore]
    assert b">1.5<" in sent
    with pytest.raises(ValueError, match="not a number that a device could take"):
        codec.new_vector("Number", "d", "n", {"RA": math.nan})


def test_the_other_things_a_client_says() -> None:
    assert codec.get_properties() == b'<getProperties version="1.7"/>\n'
    assert codec.get_properties("A & B", "X") == b'<getProperties version="1.7" device="A &amp; B" name="X"/>\n'
    assert codec.enable_blob("d", "CCD1") == b'<enableBLOB device="d" name="CCD1">Also</enableBLOB>\n'
    assert codec.ping_reply("7") == b'<pingReply uid="7"/>\n'
    switched = codec.new_vector("Switch", "d", "n", {"ON": True, "OFF": False})
    assert b'<oneSwitch name="ON">On</oneSwitch><oneSwitch name="OFF">Off</oneSwitch>' in switched
    assert b">a?b &amp;<" in codec.new_vector("Text", "d", "n", {"t": "a\x00b &"})


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("2026-03-20T20:00:00", 1774036800.0),
        ("2026-03-20T20:00:00.5", 1774036800.5),
        ("2026-03-20T20:00:00Z", 1774036800.0),
        ("2026-03-20T21:00:00+01:00", 1774036800.0),
        ("", None),
        ("yesterday", None),
        ("2026-13-20T20:00:00", None),
    ],
)
def test_a_timestamp_is_utc_where_it_names_no_zone(text: str, stamp: float | None) -> None:
    (vector,) = events(b"<setTextVector device='c' name='d' timestamp='%s'></setTextVector>" % text.encode())
    assert isinstance(vector, Vector)
    assert vector.stamp == stamp
