"""Strangers' XML, read with everything dangerous off; the one parser of the alerts and of the broker."""

from __future__ import annotations

import codecs
import re
from typing import Any

from lxml import etree

from pyros.errors import AlertError
from pyros.printable import printable

MAX_BYTES = 4 * 1024 * 1024
"""The largest VOEvents seen are 100 kB; VTP's own limit in Comet is 99,999 bytes."""

MAX_DEPTH = 32
"""A VOEvent needs 9 levels; code that reads it further on may recurse."""
_DOCTYPE = "a DOCTYPE is not allowed in a VOEvent, which needs no entities"

_BOMS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_BARE_UTF16 = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_ENCODING = re.compile(rb"""<\?xml[^>]{0,100}?encoding\s{0,9}=\s{0,9}["']([A-Za-z0-9._-]{1,40})["']""")
_ENCODINGS = re.compile(r"utf-?8|utf-?16(le|be)?|us-ascii|ascii|iso-8859-\d\d?|latin-?1|windows-125\d")
"""In others (UTF-7, UTF-32, EBCDIC) a DOCTYPE could hide from `_has_doctype`; no stream uses them."""


def _parser(*, elements_only: bool) -> etree.XMLParser:
    """Return a parser that fetches and expands nothing; libxml2's limits (depth 256, texts of 10 MB) stay on."""
    return etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        no_network=True,
        huge_tree=False,
        recover=False,
        collect_ids=False,
        remove_comments=elements_only,
        remove_pis=elements_only,
    )


_WHOLE, _ELEMENTS = _parser(elements_only=False), _parser(elements_only=True)
_too_deep = etree.XPath(f"boolean({'/*' * (MAX_DEPTH + 1)})")


def read_xml(packet: bytes, *, whole: bool = False) -> Any:
    """Return the root element (lxml) of a packet; ``whole`` keeps comments and processing instructions in the tree.

    Whatever reads a stranger's XML reads it here, so that no two rooms disagree about what is harmless. For any
    thread: lxml lets one at a time use a parser.

    Raises:
        AlertError: the packet is too large, in an unusual encoding, has a DOCTYPE (so entities, bombs, external files),
            is not well-formed, or is nested too deeply.
    """
    if len(packet) > MAX_BYTES:
        raise AlertError(f"the XML has {len(packet)} bytes; at most {MAX_BYTES} are taken")
    if b"\0" not in packet[:4]:  # no UTF-16: some end as a C string
        packet = packet.rstrip(b"\0 \t\r\n")
    head = packet[:256]
    in_bytes = b"\0" not in head
    declared = _ENCODING.search(head if in_bytes else head.replace(b"\0", b""))
    encoding = declared[1].decode("ascii").lower() if declared else "utf-8"
    if encoding != "utf-8" and not _ENCODINGS.fullmatch(encoding):
        raise AlertError(f"the XML is in encoding {encoding}; UTF-8, UTF-16 and ISO 8859 are taken")
    if b"\0\0" in packet[:4]:
        raise AlertError(f"the XML is in encoding {encoding}; UTF-8, UTF-16 and ISO 8859 are taken")
    may_have_doctype = not in_bytes or b"!" in packet
    if may_have_doctype and _has_doctype(packet):
        raise AlertError(_DOCTYPE)
    try:
        root = etree.fromstring(packet, _WHOLE if whole else _ELEMENTS)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        # LookupError: an unknown encoding; ValueError: an empty packet, or NUL characters.
        reason = " ".join(printable(str(getattr(error, "msg", None) or error)).split())[:200]
        raise AlertError(f"not XML: {reason or type(error).__name__}") from None
    if root is None:
        raise AlertError("not XML: it has no element")
    if may_have_doctype and root.getroottree().docinfo.internalDTD is not None:
        raise AlertError(_DOCTYPE)
    may_be_deep = not in_bytes or packet.count(b"</") >= MAX_DEPTH  # what has others in it ends by a tag of its own
    if may_be_deep and _too_deep(root):
        raise AlertError(f"elements are nested more than {MAX_DEPTH} deep")
    return root


def local_name(element: Any) -> str:
    """Return an element's name without its namespace; '' for a comment or a processing instruction."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def child(element: Any, name: str) -> Any | None:
    """Return the first child of that name in any namespace."""
    if element is None:
        return None
    return next(element.iterchildren("{*}" + name), None)


def descendant(element: Any, name: str) -> Any | None:
    """Return the first descendant of that name in any namespace."""
    if element is None:
        return None
    return next(element.iter("{*}" + name), None)


def text(element: Any | None) -> str:
    """Return an element's text, stripped; '' for None."""
    return (element.text or "").strip() if element is not None else ""


def element_from_json(name: str, content: object, depth: int = 0) -> Any:
    """Make an lxml element of JSON, as brokers turn VOEvents into it.

    Names that begin with a capital are elements (VOEvent's all do where it matters), others attributes, as are those
    with ``@`` (xmltodict); ``#text`` is an element's text. Namespaces are left out.

    Raises:
        AlertError: the JSON holds what XML cannot, or is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise AlertError(f"the VOEvent in JSON is nested more than {MAX_DEPTH} deep")
    try:
        element = etree.Element(name)
        if not isinstance(content, dict):
            element.text = "" if content is None else str(content)
            return element
        for key, value in content.items():
            local = key.rpartition(":")[2]
            if key == "#text":
                element.text = str(value)
            elif key[:1] != "@" and local[:1].isupper():
                for item in value if isinstance(value, list) else [value]:
                    element.append(element_from_json(local, item, depth + 1))
            elif value is not None and not isinstance(value, dict | list) and ":" not in key:
                element.set(key.removeprefix("@"), str(value))
    except ValueError as error:
        raise AlertError(f"the VOEvent in JSON cannot be XML: {' '.join(str(error).split())[:100]}") from None
    return element


def _has_doctype(packet: bytes) -> bool:
    """Tell whether a DOCTYPE stands before the root element, without parsing, so that no entity is ever expanded."""
    for mark, encoding in (*_BOMS, *_BARE_UTF16):
        if packet.startswith(mark):
            packet = packet[:200_000].decode(encoding, "ignore").encode("utf-8", "ignore")
            break
    at = 0
    while (at := packet.find(b"<", at)) >= 0:
        if packet.startswith(b"<?", at):
            end = packet.find(b"?>", at)
        elif packet.startswith(b"<!--", at):
            end = packet.find(b"-->", at + 4)
        else:
            return packet.startswith(b"<!", at)
        if end < 0:
            return False
        at = end
    return False
