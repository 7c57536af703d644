from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.alerts.formats.voevent import parse_voevent as read_voevent
from pyros.alerts.formats.xml import MAX_BYTES
from pyros.broker.packet import check_schema, identify, is_voevent, one_line, parse
from pyros.errors import AlertError
from tests.broker.conftest import make_event

BOMB = (
    b'<!DOCTYPE a [<!ENTITY a "xxxxxxxxxx">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10 if n > 1 else b"&a;" * 10) for n in range(1, 10))
    + b"]><a>&a9;</a>"
)


def test_an_event_is_parsed_identified_and_fits_the_schema() -> None:
    root = parse(make_event("ivo://a.b.c/stream#1"))
    check_schema(root)
    assert is_voevent(root)
    assert identify(root) == "ivo://a.b.c/stream#1"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "not XML"),
        (b"hello", "not XML"),
        (b"\x00\xff" * 100, "not XML"),
        (b"<a>\xff</a>", "not XML"),
        (b"<a", "not XML"),
        (b"<a>" + b"x" * MAX_BYTES + b"</a>", "bytes; at most"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "in encoding nonsense"),
        (b'<?xml version="1.0" encoding="UTF-7"?><a/>', "in encoding utf-7"),
        ("<a/>".encode("utf-32"), "encoding"),
        (b"<a>" * 33 + b"</a>" * 33, "nested more than 32 deep"),
        (b"<a>" * 20_000, "not XML"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "DOCTYPE"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "DOCTYPE"),
        (b'<!-- c --><?x y?><!DOCTYPE a [<!ENTITY x "y">]><a b="&x;"/>', "DOCTYPE"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a b="&x;"/>'.encode("utf-16"), "DOCTYPE"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a b="&x;"/>'.encode("utf-16-be"), "DOCTYPE"),
        (b"<a>&eacute;</a>", "not XML"),
        (BOMB, "DOCTYPE"),
        (BOMB.replace(b"<a>&a9;</a>", b'<a b="&a9;"/>'), "DOCTYPE"),
    ],
)
def test_broker_and_alerts_refuse_the_same_hostile_xml(packet: bytes, reason: str) -> None:
    with pytest.raises(AlertError, match=reason) as by_broker:
        parse(packet)
    with pytest.raises(AlertError) as by_alerts:
        read_voevent(packet)
    assert str(by_alerts.value) == str(by_broker.value)
    assert "\n" not in str(by_broker.value)
    assert "root:" not in str(by_broker.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "us-ascii"])
def test_32_levels_in_usual_encodings_are_taken(encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>{"<a>" * 32}{"</a>" * 32}'
    assert parse(declared.encode(encoding)).tag == "a"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"<a/>", "not a VOEvent: its root element is a"),
        (b"<VOEvent/>", "has no ivorn"),
        (b'<VOEvent ivorn="ivo://a.b.c/' + b"x" * 20_000 + b'!"/>', "20013 characters; the limit is 512"),
        (b'<VOEvent ivorn="not an ivorn"/>', "Invalid IVOID: not an ivorn"),
        (b'<VOEvent ivorn="ivo://a.b.c/stream"/>', "No per-event local ID"),
    ],
)
def test_an_event_must_say_which_it_is(packet: bytes, reason: str) -> None:
    with pytest.raises(AlertError, match=reason):
        identify(parse(packet))


def test_the_schema_names_what_is_wrong() -> None:
    with pytest.raises(AlertError, match=r"Parameter.*line 6"):
        check_schema(parse(make_event().replace(b"<Param ", b"<Parameter ")))
    with pytest.raises(AlertError, match=r"not a VOEvent 2.0.*v1.1"):
        check_schema(parse(make_event().replace(b"VOEvent/v2.0", b"VOEvent/v1.1")))


@given(st.binary(max_size=500) | st.binary(max_size=100).map(lambda inside: b"<a>" + inside + b"</a>"))
def test_bytes_give_an_element_or_an_alert_error(packet: bytes) -> None:
    with suppress(AlertError):  # and no other exception
        identify(parse(packet))


@given(st.text())
def test_one_line_is_one_short_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 300
