"""What the broker checks of a packet before it keeps it: that it is harmless XML, a VOEvent, and says which one.

Sources: VOEvent 2.0 (IVOA Recommendation 2011-07-11), its schema as Comet ships it; IVOA Identifiers 2.0.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

from comet.utility.voevent import parse_ivoid
from lxml import etree

import comet
from pyros.alerts import form_of
from pyros.alerts.formats.xml import read_xml
from pyros.errors import AlertError

NAMESPACE = "http://www.ivoa.net/xml/VOEvent/v2.0"
_VOEVENT = f"{{{NAMESPACE}}}VOEvent"
MAX_IVORN = 512  # Comet's expression for ivorns takes seconds on 20 kB; real ones have less than 150 characters
_MAX_REASON = 300


def one_line(text: object) -> str:
    """Somebody else's text made fit for a log line and for an XML element: printable, one line, 300 characters."""
    line = " ".join(str(text).split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= _MAX_REASON else f"{line[: _MAX_REASON - 3]}..."


def parse(packet: bytes) -> etree._Element:
    """Return the root element of a packet (a VOEvent or a transport message); raises AlertError as `read_xml` does."""
    root: etree._Element = read_xml(packet, whole=True)
    return root


def identify_by_content(packet: bytes) -> str:
    """Return what stands for the ivorn of a packet that has none: a name made of its content.

    The same bytes are the same packet, whatever they came by and however often; a Kafka service delivers a packet
    again when it doesn't know that we have it.
    """
    return f"json:{sha256(packet).hexdigest()}"


def known_by(packet: bytes) -> str:
    """Return the ivorn of a packet, or the name made of its content; raises AlertError for other things."""
    return identify(parse(packet)) if form_of(packet) == "voevent" else identify_by_content(packet)


def is_voevent(root: etree._Element) -> bool:
    """Whether this is a VOEvent of any version (and not a transport message, or anything else)."""
    return root.tag == _VOEVENT or etree.QName(root).localname == "VOEvent"


def identify(root: etree._Element) -> str:
    """Return the event's ivorn; raises AlertError when this is no VOEvent, or its ivorn is missing or malformed."""
    if not is_voevent(root):
        raise AlertError(f"not a VOEvent: its root element is {one_line(root.tag)}")
    ivorn = root.get("ivorn")
    if not ivorn:
        raise AlertError("the VOEvent has no ivorn")
    if len(ivorn) > MAX_IVORN:
        raise AlertError(f"an ivorn of {len(ivorn)} characters; the limit is {MAX_IVORN}")
    try:
        local_id = parse_ivoid(ivorn)[2]
    except Exception:  # Comet raises nothing narrower
        raise AlertError(f"Invalid IVOID: {one_line(ivorn)}") from None
    if not local_id:
        raise AlertError("No per-event local ID")
    return ivorn


def check_schema(root: etree._Element) -> None:
    """Check a packet against the schema of VOEvent 2.0; raises AlertError naming line and element."""
    if not root.tag.startswith(f"{{{NAMESPACE}}}"):
        raise AlertError(f"not a VOEvent 2.0: its root element is {one_line(root.tag)}")
    try:
        _schema().assertValid(root)
    except etree.DocumentInvalid as error:
        raise AlertError(f"does not fit the schema of VOEvent 2.0: {one_line(error)}") from None


@cache
def _schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(Path(comet.__path__[0], "schema", "VOEvent-v2.0.xsd")))
