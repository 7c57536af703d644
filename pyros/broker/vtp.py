"""The transport messages of VTP and what the broker's connections share.

Source: IVOA Note "VOEvent Transport Protocol" 2.0 (2017-03-20): a 4-byte big-endian length, then one XML document,
which is a VOEvent or a Transport message (authenticate, iamalive, ack, nak). Comet writes the same messages, but with
the computer's time; here it comes from the observatory's clock, so that a rehearsal gives the same bytes each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from typing import Any, Generic, Protocol, TypeVar

from lxml import etree
from twisted.internet.defer import Deferred

from pyros.broker.packet import one_line
from pyros.config import Network

MAX_LENGTH = 99_999
"""The longest packet, in bytes. VTP names none; Comet takes this much, so that every author and subscriber can."""

_GRACE = 1.0
_TRANSPORT = "http://www.telescope-networks.org/xml/Transport/v1.1"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_LOCATION = (
    "http://telescope-networks.org/schema/Transport/v1.1 http://www.telescope-networks.org/schema/Transport-v1.1.xsd"
)


class Connection(Protocol):
    """What is asked of a protocol that `Connections` keeps."""

    @property
    def transport(self) -> Any: ...


_C = TypeVar("_C", bound=Connection)


class Connections(Generic[_C]):
    """The open connections of a port, oldest first."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._open: dict[_C, None] = {}
        self._emptied: Deferred[None] | None = None

    def __iter__(self) -> Iterator[_C]:
        """Over a copy, because what is done to a connection may close another one."""
        return iter(list(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, connection: object) -> bool:
        return connection in self._open

    def add(self, connection: _C) -> None:
        self._open[connection] = None

    def discard(self, connection: _C) -> None:
        self._open.pop(connection, None)
        if not self._open and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    async def close(self) -> None:
        """Close them all after what was written to them; cut off those that don't take it within a second."""
        if not self._open:
            return
        emptied = self._emptied = Deferred()
        for connection in self:
            connection.transport.loseConnection()
        timer = self._reactor.callLater(_GRACE, self._abort)
        await emptied
        if timer.active():
            timer.cancel()

    def _abort(self) -> None:
        for connection in self:
            connection.transport.abortConnection()


def transport(
    role: str, origin: str, now: datetime, *, response: str = "", result: str = "", filters: Sequence[str] = ()
) -> bytes:
    """A Transport message.

    Args:
        role: authenticate, iamalive, ack or nak.
        origin: who or what it is about: the sender's identifier, or the ivorn that is answered.
        now: its time stamp, UTC.
        response: the identifier of who answers.
        result: why, in a nak.
        filters: XPath expressions, in a subscriber's authenticate.
    """
    root = etree.Element(
        f"{{{_TRANSPORT}}}Transport", {"role": role, "version": "1.0"}, {"trn": _TRANSPORT, "xsi": _XSI}
    )
    root.set(f"{{{_XSI}}}schemaLocation", _LOCATION)
    etree.SubElement(root, "Origin").text = origin  # the order is the schema's
    if response:
        etree.SubElement(root, "Response").text = response
    etree.SubElement(root, "TimeStamp").text = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    if result or filters:
        meta = etree.SubElement(root, "Meta")
        for text in filters:
            etree.SubElement(meta, "Param", {"name": "xpath-filter", "value": text})
        if result:
            etree.SubElement(meta, "Result").text = one_line(result)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def frame(packet: bytes) -> bytes:
    """A packet with its length before it."""
    return len(packet).to_bytes(4, "big") + packet


def role_of(root: etree._Element) -> str:
    """The role of a Transport message; '' for any other document."""
    return root.get("role", "") if etree.QName(root).localname == "Transport" else ""


def host_of(address: Any) -> str:
    """The peer's IP address in words."""
    return str(getattr(address, "host", address))


def allowed(address: Any, networks: Sequence[Network]) -> bool:
    """Whether a peer's address is in one of the networks; an IPv4 address that came in by IPv6 counts as IPv4."""
    try:
        ip = ip_address(host_of(address))
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)
