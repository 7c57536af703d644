"""The one way in: bytes of any packet to an `Alert`."""

from __future__ import annotations

import codecs

from pyros.alerts.alert import Alert
from pyros.alerts.formats.gcn import parse_json
from pyros.alerts.formats.voevent import parse_voevent
from pyros.errors import AlertError

_SPACE = b" \t\r\n\0"


def parse(packet: bytes, *, topic: str = "") -> Alert:
    """Understand one packet. The format is told from the bytes; may be called in any thread.

    Args:
        packet: the bytes as they were broadcast: VOEvent 1.1, 2.0 or 2.1, GCN JSON of the unified schema,
            igwn.gwalert JSON, an optical survey's alert in JSON, a coincidence of SNEWS 2.0, or a GCN circular as JSON.
        topic: the Kafka topic it came on, where there was one; used only where the packet doesn't name its schema.

    Raises:
        AlertError: it is no alert, or one that cannot be understood; one line. No other exception, whatever the bytes.
    """
    if is_json(packet):
        return parse_json(packet, topic)
    start = _start(packet)
    if start.lstrip(_SPACE)[:1] == b"<":
        return parse_voevent(packet)
    if start.startswith(b"\x1f\x8b"):
        raise AlertError("compressed by gzip: packets are taken as they were broadcast")
    if not packet.strip(_SPACE):
        raise AlertError("the packet is empty")
    shown = start[:24].decode("utf-8", "replace")
    raise AlertError(f"neither XML nor a JSON object: it begins with {shown!r}")


def is_json(packet: bytes) -> bool:
    """Tell whether a packet can only be JSON: it begins with a brace or bracket, after a byte order mark perhaps."""
    return _start(packet).lstrip(_SPACE)[:1] in {b"{", b"["}


def _start(packet: bytes) -> bytes:
    """Return how a packet begins, without a byte order mark."""
    start = packet[:256].removeprefix(codecs.BOM_UTF8)
    return start.removeprefix(codecs.BOM_UTF16_LE).removeprefix(codecs.BOM_UTF16_BE)
