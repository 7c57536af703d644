"""The one way in: bytes of any packet to an `Alert`."""

from __future__ import annotations

import codecs
from typing import Literal

import msgspec

from pyros.alerts.alert import Alert
from pyros.alerts.formats import avro, marks, text
from pyros.alerts.formats.gcn import parse_notice, read_json, targets_of
from pyros.alerts.formats.voevent import parse_voevent
from pyros.errors import AlertError

Form = Literal["voevent", "json", "avro", "text"]
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_SPACE = b" \t\r\n\0"


def parse(packet: bytes, *, topic: str = "") -> Alert:
    """Understand one packet. The format is told from the bytes; may be called in any thread.

    Args:
        packet: the bytes as they were broadcast: VOEvent 1.1, 2.0 or 2.1; GCN's unified schema, igwn.gwalert,
            a survey's alert or a coincidence of SNEWS 2.0 in JSON or Avro; GCN's circulars and notices in text.
        topic: the Kafka topic it came on, where there was one. It tells the stream where the packet doesn't name its
            schema, and makes the packet a test where it is a topic for tests.

    Raises:
        AlertError: it is no alert, or one that cannot be understood; one line. No other exception, whatever the bytes.
    """
    return _of_topic(_parse(packet, topic, form_of(packet)), topic)


def parse_all(packet: bytes, *, topic: str = "") -> list[Alert]:
    """Understand one packet that may tell of several events, as a notice of BOOM's may: an alert of each of them.

    For everything else it is the one alert of `parse`, which makes of several targets an alert without a position.
    """
    form = form_of(packet)
    if form != "json":
        return [_of_topic(_parse(packet, topic, form), topic)]
    notices = targets_of(read_json(packet))
    return [_of_topic(parse_notice(each, topic), topic) for each in notices]


def _of_topic(alert: Alert, topic: str) -> Alert:
    """Return the alert of a packet that came on a topic: a test, where that is for tests."""
    if topic and alert.actionable and marks.says_test(topic):
        # Authors send to a test topic what they would send to the real one, with its schema, and without a mark.
        return msgspec.structs.replace(alert, role="test", id=alert.ivorn or f"{alert.id}:test")
    return alert


def _parse(packet: bytes, topic: str, form: Form) -> Alert:
    match form:
        case "voevent":
            return parse_voevent(packet)
        case "json":
            return parse_notice(read_json(packet), topic)
        case "avro":
            return parse_notice(avro.read_avro(packet), topic)
        case "text":
            return text.parse_text(packet, topic)


def form_of(packet: bytes) -> Form:
    """Tell the form of a packet by how it begins; only a VOEvent has a name of its own, its ivorn.

    Raises:
        AlertError: it is of no form that is read; every way in refuses it with the same words.
    """
    start = _start(packet)
    begin = start.lstrip(_SPACE)
    if begin[:1] == b"<":
        return "voevent"
    if begin[:1] in {b"{", b"["}:
        return "json"
    if packet.startswith(avro.MAGIC):
        return "avro"
    if begin.replace(b"\0", b"").upper().startswith(text.BEGIN):
        return "text"
    if start.startswith(b"\x1f\x8b"):
        raise AlertError("compressed by gzip: packets are taken as they were broadcast")
    if start.startswith(_ZLIB):
        raise AlertError("compressed by zlib: packets are taken as they were broadcast")
    if (number := avro.number_of_schema(packet)) is not None:
        raise AlertError(
            f"an Avro record of schema {number}, without the schema: Kafka's section needs schema or schema_registry"
        )
    if not packet.strip(_SPACE):
        raise AlertError("the packet is empty")
    shown = start[:24].decode("utf-8", "replace")
    raise AlertError(f"neither XML nor JSON, Avro or a notice in text: it begins with {shown!r}")


def _start(packet: bytes) -> bytes:
    """Return how a packet begins, without a byte order mark."""
    start = packet[:256].removeprefix(codecs.BOM_UTF8)
    return start.removeprefix(codecs.BOM_UTF16_LE).removeprefix(codecs.BOM_UTF16_BE)
