"""Packets that VTP has no words for, between two brokers that both know how.

VTP carries VOEvents, and Comet no longer ones than 99,999 bytes. A subscriber whose ``authenticate`` has the Param
``pyros-packets`` gets all others too: JSON, Avro and text as they were broadcast, and longer VOEvents. Such a packet
begins with `_MARK`, as no XML does; then comes the Kafka topic that it came by, a line end, and its bytes. It is
acknowledged as every event, by the name that is made of its content. Who doesn't ask, gets VOEvents alone.
"""

from __future__ import annotations

from lxml import etree

from pyros.errors import AlertError

PARAM = "pyros-packets"
MAX_CARRIED = 8 << 20
"""Bytes of a packet that is carried; gravitational waves with their maps have 1 to 3 million."""
MAX_FRAME = MAX_CARRIED + 1024
_MARK = b"\0pyros 1\n"
_MAX_TOPIC = 249
"""Characters of a topic's name, Kafka's own limit."""


def is_asked_for(authenticate: etree._Element) -> bool:
    """Tell whether a subscriber takes such packets, by its ``authenticate``."""
    return authenticate.find(f"Meta/Param[@name='{PARAM}']") is not None


def wrap(packet: bytes, topic: str) -> bytes:
    """Return a packet as it goes to another broker."""
    return b"".join((_MARK, topic.encode(), b"\n", packet))


def is_wrapped(data: bytes) -> bool:
    """Tell whether these are the bytes of such a packet, and not XML."""
    return data.startswith(_MARK)


def unwrap(data: bytes) -> tuple[bytes, str]:
    """Return the packet and its topic, '' for none; raises AlertError where that is no topic's name."""
    topic, _, packet = data.removeprefix(_MARK).partition(b"\n")
    if len(topic) > _MAX_TOPIC or not (topic.isascii() and topic.decode("latin-1").isprintable()):
        raise AlertError("a packet without the name of its topic, or with one that is none")
    return packet, topic.decode()
