"""The alerts of a rehearsed night: drawn at a rate, or the packets of a folder; with the author that sends them.

Drawn alerts are VOEvents of bursts that can be seen from the site when they come, and what real streams send beside
them: updates with a better position, retractions, the same packet twice, tests and utility packets.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from pyros.clock import cancel_call
from pyros.config import PYROS_IVO
from pyros.errors import ConfigError
from pyros.planning.visibility import place_overhead
from pyros.reactor import Reactor
from pyros.site import Site

Role = Literal["observation", "test", "utility"]
_AGAIN_SECONDS = 10.0
_PATIENCE_SECONDS = 30.0
_MOST_PACKETS = 10_000
WELL_PLACED = 0.02
"""Degrees: a burst of which the place is known so well is observed before others, and in the place of one."""
_PACKET = """<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0 http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd"
 version="2.0" role="{role}" ivorn="{ivorn}">
<Who><AuthorIVORN>ivo://pyros.observatory/rehearsal</AuthorIVORN><Date>{date}</Date></Who>
<What><Description>a rehearsed burst</Description></What>
<WhereWhen><ObsDataLocation><ObservatoryLocation id="GEOLUN"/><ObservationLocation>
<AstroCoordSystem id="UTC-ICRS-GEO"/><AstroCoords coord_system_id="UTC-ICRS-GEO">
<Time unit="s"><TimeInstant><ISOTime>{time}</ISOTime></TimeInstant></Time>
<Position2D unit="deg"><Name1>RA</Name1><Name2>Dec</Name2><Value2><C1>{ra:.6f}</C1><C2>{dec:.6f}</C2></Value2>
<Error2Radius>{error}</Error2Radius></Position2D></AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>
{citations}</voe:VOEvent>
"""


class TrafficPacket(NamedTuple):
    """One packet, and when it is sent."""

    time: float
    """Seconds since the night's beginning."""
    ivorn: str
    """'' for a packet of a folder, whose name isn't known."""
    data: bytes
    what: Literal["new", "update", "retraction", "duplicate", "test", "utility", "file"]
    ra: float = 0.0
    """ICRS, degrees."""
    dec: float = 0.0
    """ICRS, degrees."""
    event: str = ""
    """The first packet's name of the event that it is about."""


def draw_alerts(seed: str, rate: float, seconds: float, begin: datetime, site: Site) -> list[TrafficPacket]:
    """Draw a night's alerts: ``rate`` new events in ten hours, and what follows them."""
    draw = random.Random(f"{seed} alerts")
    count = round(rate * seconds / 36_000)
    packets: list[TrafficPacket] = []
    for number, time in enumerate(sorted(draw.uniform(0, seconds) for _ in range(count)), 1):
        packets += _event(draw, number, time, begin, site)
    return sorted(packets, key=lambda packet: packet.time)


def _event(draw: random.Random, number: int, time: float, begin: datetime, site: Site) -> list[TrafficPacket]:
    """One event's packets."""
    name = f"{PYROS_IVO}rehearsal#burst-{number}"
    place = place_overhead(site, _at(begin, time), draw.uniform(30, 85), draw.uniform(0, 360))

    def packet(
        after: float, ivorn: str, what: Any, where: tuple[float, float] = place, error: float = 0.05,
        cites: str = "", role: Role = "observation",
    ) -> TrafficPacket:  # fmt: skip
        when = round(time + after, 3)
        cited = f'<Citations><EventIVORN cite="{cites}">{name}</EventIVORN></Citations>' if cites else ""
        said, happened = (f"{_at(begin, moment):%Y-%m-%dT%H:%M:%S}" for moment in (when, time))
        data = _PACKET.format(
            role=role, ivorn=ivorn, date=said, time=happened, ra=where[0], dec=where[1], error=error, citations=cited
        )
        return TrafficPacket(when, ivorn, data.encode(), what, *where, event=name)

    kind = draw.random()
    if kind < 0.08:
        return [packet(0, name, "test", role="test")]
    if kind < 0.12:
        return [packet(0, name, "utility", role="utility")]
    packets = [packet(0, name, "new", error=draw.choice((0.01, 0.05)))]
    if kind < 0.30:
        better = place[0], max(-89.0, min(89.0, place[1] + draw.uniform(-0.5, 0.5)))
        packets.append(packet(draw.uniform(5, 1200), f"{name}-2", "update", better, 0.01, "followup"))
    elif kind < 0.48:
        after = draw.choice((draw.uniform(0.2, 8), draw.uniform(15, 600), draw.uniform(600, 7200)))
        packets.append(packet(after, f"{name}-2", "retraction", cites="retraction"))
    elif kind < 0.58:
        packets.append(packets[0]._replace(time=round(time + draw.uniform(0.1, 600), 3), what="duplicate"))
    return packets


def load_alerts(folder: Path, seed: str, seconds: float) -> list[TrafficPacket]:
    """Read every file of a folder as a packet, each sent at a time drawn from ``seed``; raises ConfigError."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        data = [path.read_bytes() for path in files[: _MOST_PACKETS + 1]]
    except OSError as error:
        raise ConfigError([f"{folder}: cannot be read: {error.strerror}"]) from None
    if not data or len(data) > _MOST_PACKETS:
        raise ConfigError([f"{folder}: must have 1 to {_MOST_PACKETS} files, each an alert; it has {len(files)}"])
    draw = random.Random(f"{seed} alerts")
    return sorted(TrafficPacket(round(draw.uniform(0, seconds), 3), "", packet, "file") for packet in data)


def _at(begin: datetime, seconds: float) -> datetime:
    return datetime.fromtimestamp(begin.timestamp() + seconds, UTC)


class RehearsedAuthor:
    """Sends packets to the broker over VTP, each again until it is answered."""

    def __init__(self, reactor: Reactor, port: int, on_answer: Callable[[TrafficPacket, bool], None]) -> None:
        """``on_answer(packet, accepted)`` hears what the broker has said of a packet."""
        self.reactor, self._on_answer = reactor, on_answer
        self._endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=10)
        self.waiting = 0
        """Packets that weren't answered yet."""

    def send(self, packet: TrafficPacket) -> None:
        """Send a packet until it is answered."""
        self.waiting += 1
        self._try(packet)

    def _try(self, packet: TrafficPacket) -> None:
        connecting = self._endpoint.connect(_SendingFactory(self, packet))
        connecting.addErrback(lambda _: self.ended(packet, b""))

    def again(self, packet: TrafficPacket, seconds: float = _AGAIN_SECONDS) -> None:
        self.reactor.callLater(seconds, self._try, packet)

    def ended(self, packet: TrafficPacket, answer: bytes) -> None:
        """Take the answer of one attempt; without one the packet is sent again."""
        if b'role="ack"' in answer or b'role="nak"' in answer:
            self.waiting -= 1
            self._on_answer(packet, b'role="ack"' in answer)
        else:
            self.again(packet)


class _Sending(Protocol):
    """One attempt."""

    transport: Any

    def __init__(self, author: RehearsedAuthor, packet: TrafficPacket) -> None:
        self._author, self._packet = author, packet
        self._answer = b""
        self._timer: Any = None

    def connectionMade(self) -> None:
        self._timer = self._author.reactor.callLater(_PATIENCE_SECONDS, self.transport.abortConnection)
        self.transport.write(len(self._packet.data).to_bytes(4, "big") + self._packet.data)

    def dataReceived(self, data: bytes) -> None:
        self._answer += data
        if b"Transport>" in self._answer:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        cancel_call(self._timer)
        self._author.ended(self._packet, self._answer)


class _SendingFactory(Factory):
    noisy = False

    def __init__(self, author: RehearsedAuthor, packet: TrafficPacket) -> None:
        self._author, self._packet = author, packet

    def buildProtocol(self, addr: Any) -> Protocol:
        return _Sending(self._author, self._packet)
