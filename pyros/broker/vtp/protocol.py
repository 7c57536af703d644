"""The transport messages of VTP and what the broker's connections share.

Source: IVOA Note "VOEvent Transport Protocol" 2.0 (2017-03-20): a 4-byte big-endian length, then one XML document,
which is a VOEvent or a Transport message (authenticate, iamalive, ack, nak). Comet writes the same messages, but with
the computer's time; here it comes from the observatory's clock, so that a rehearsal gives the same bytes each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Generic, Protocol, TypeVar
from xml.sax.saxutils import escape, quoteattr

from lxml import etree
from twisted.internet.defer import Deferred

from pyros.broker.packet import one_line
from pyros.clock import cancel_call
from pyros.config import Network
from pyros.reactor import Reactor

MAX_LENGTH = 99_999
"""The longest packet, in bytes. VTP names none; Comet takes this much, so that every author and subscriber can."""

MAX_CHATTER = 200
"""Transport messages of one connection in a minute, acknowledgements aside; a peer that lives has one to say."""

_GRACE = 1.0
_MINUTE = 60.0
_TRANSPORT = "http://www.telescope-networks.org/xml/Transport/v1.1"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_LOCATION = (
    "http://telescope-networks.org/schema/Transport/v1.1 http://www.telescope-networks.org/schema/Transport-v1.1.xsd"
)

_ACK = re.compile(
    rb"""\A(?:<\?xml[^<>]{0,99}\?>\s{0,9})?<\w{1,32}:Transport\s[^<>]{0,999}?\brole=["']ack["'][^<>]{0,999}>"""
    rb"""\s{0,99}<Origin>([^<>&]{1,512})</Origin>"""
)
"""An acknowledgement as everybody writes it. There is one for every event and subscriber: parsing them as XML took more
time than sending the events."""


class VtpConnection(Protocol):
    """What is asked of a protocol that `Connections` keeps."""

    @property
    def transport(self) -> Any: ...


_C = TypeVar("_C", bound=VtpConnection)


class Connections(Generic[_C]):
    """The open connections of a port, oldest first."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._open: dict[_C, str] = {}
        self._by_host: dict[str, dict[_C, None]] = {}
        self._emptied: Deferred[None] | None = None

    def __iter__(self) -> Iterator[_C]:
        """Over a copy, because what is done to a connection may close another one."""
        return iter(list(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, connection: object) -> bool:
        return connection in self._open

    def add(self, connection: _C, host: str) -> None:
        """``host`` is the peer's IP address."""
        self._open[connection] = host
        self._by_host.setdefault(host, {})[connection] = None

    def discard(self, connection: _C) -> None:
        host = self._open.pop(connection, None)
        if host is not None:
            neighbours = self._by_host[host]
            del neighbours[connection]
            if not neighbours:
                del self._by_host[host]
        if not self._open and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def crowd(self, connection: _C) -> list[_C]:
        """Return the connections from the same computer as this one, oldest first; none if that is our own."""
        ip = _ip(self._open[connection])
        return [] if ip is None or ip.is_loopback else list(self._by_host[self._open[connection]])

    async def close(self) -> None:
        """Close them all after what was written to them; cut off those that don't take it within a second."""
        if not self._open:
            return
        emptied = self._emptied = Deferred()
        for connection in self:
            connection.transport.loseConnection()
        timer = self._reactor.callLater(_GRACE, self._abort)
        await emptied
        cancel_call(timer)

    def _abort(self) -> None:
        for connection in self:
            connection.transport.abortConnection()


class Chatter:
    """Counts what a peer says besides events and acknowledgements: for ever, it would keep a broker busy."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._since, self._count = reactor.seconds(), 0

    def too_much(self) -> bool:
        """One more message: whether there are more than `MAX_CHATTER` within a minute."""
        now = self._reactor.seconds()
        if now - self._since > _MINUTE:
            self._since, self._count = now, 0
        self._count += 1
        return self._count > MAX_CHATTER


def transport(
    role: str,
    origin: str,
    now: datetime,
    *,
    response: str = "",
    result: str = "",
    filters: Sequence[str] = (),
    asks: Sequence[str] = (),
) -> bytes:
    """Return a Transport message, by which VTP's peers talk about themselves and events.

    Args:
        role: authenticate, iamalive, ack or nak.
        origin: who or what it is about: the sender's identifier, or the ivorn that is answered.
        now: its time stamp, UTC.
        response: the identifier of who answers.
        result: why, in a nak.
        filters: XPath expressions, in a subscriber's authenticate.
        asks: names of further Params there, for what VTP itself doesn't know.
    """
    # Written as text, in the order of the schema: it is the answer to every event, and lxml takes ten times as long.
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<trn:Transport xmlns:trn="{_TRANSPORT}" xmlns:xsi="{_XSI}" role={quoteattr(role)} version="1.0"'
        f' xsi:schemaLocation="{_LOCATION}"><Origin>{_text(origin)}</Origin>'
    ]
    if response:
        parts.append(f"<Response>{_text(response)}</Response>")
    parts.append(f"<TimeStamp>{now.isoformat()[:19]}Z</TimeStamp>")
    if result or filters or asks:
        params = "".join(f'<Param name="xpath-filter" value={quoteattr(text)}/>' for text in filters)
        params += "".join(f'<Param name={quoteattr(name)} value="1"/>' for name in asks)
        told = f"<Result>{_text(one_line(result))}</Result>" if result else ""
        parts.append(f"<Meta>{params}{told}</Meta>")
    parts.append("</trn:Transport>")
    return "".join(parts).encode()


def _text(text: str) -> str:
    """Text of an element. What came in as XML can go out as XML; anything else XML cannot carry is left out."""
    return escape(text if text.isprintable() else one_line(text))


def frame(packet: bytes) -> bytes:
    """Return a packet with its length before it."""
    return len(packet).to_bytes(4, "big") + packet


def acknowledged(data: bytes) -> str | None:
    """Return the ivorn of an acknowledgement; None for anything else, and for one that is written in another way."""
    match = _ACK.match(data)
    return match[1].decode("utf-8", "replace") if match is not None else None


def role_of(root: etree._Element) -> str:
    """Return the role of a Transport message; '' for any other document."""
    return root.get("role", "") if etree.QName(root).localname == "Transport" else ""


def host_of(address: Any) -> str:
    """Return the peer's IP address as text."""
    return str(getattr(address, "host", address))


def allowed(address: Any, networks: Sequence[Network]) -> bool:
    """Whether a peer's address is in one of the networks; an IPv4 address that came in by IPv6 counts as IPv4."""
    ip = _ip(host_of(address))
    return ip is not None and any(ip in network for network in networks)


@lru_cache(1024)
def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
