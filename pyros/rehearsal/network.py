"""The network of a rehearsal: connections in memory, with latency, and with all that goes wrong with real ones.

A connection joins two nodes, which are the names of processes and devices. What is written at one end is delivered at
the other in a later call of the timeline, in order. A link between two nodes can be

* slow: each delivery takes a random time
* stalled: nothing passes for a while, then everything, as after packets were lost; nor can a connection be made
* cut: every connection between the two ends at once, and both ends hear of it
* mute (half-open): what is written is lost and nobody hears of it, until the connection is reset
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as ConnectionRefused
from twisted.internet.error import TimeoutError as ConnectionTimedOut
from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.rehearsal.timeline import Call, Owner, Timeline

_BUFFER = 64 * 1024
_FIRST_FREE_PORT = 40_000
_LATENCY = (0.001, 0.020)  # seconds
_SLOW_SHARE, _SLOWEST = 0.01, 2.0  # of the deliveries, and seconds

Delivered = Callable[[str, str, bytes], None]


class NetworkReactor(Owner, Protocol):
    """What the network asks of a reactor that stands in it."""

    node: str
    """Its name in the network."""
    network: Network

    def callLater(self, delay: float, function: Callable[..., Any], /, *args: Any, **kw: Any) -> Call:
        """See `IReactorTime.callLater`."""
        ...


class Network:
    """The open ports, the connections, and the state of the links between nodes."""

    def __init__(self, timeline: Timeline, *, on_delivery: Delivered | None = None) -> None:
        """``on_delivery(sender, receiver, data)`` hears of all that is delivered, before it is."""
        self.timeline = timeline
        self.listening: dict[int, MemoryPort] = {}
        self.transports: dict[MemoryTransport, None] = {}
        self.on_delivery = on_delivery
        self._next_port = _FIRST_FREE_PORT
        self._seed: str | None = None
        self._random: dict[tuple[str, str], Callable[[], float]] = {}
        self._stalled: dict[frozenset[str], float] = {}
        self._muted: dict[MemoryTransport, None] = {}

    # What goes wrong ---------------------------------------------------------------------------------------------

    def slow(self, seed: str | None) -> None:
        """Have each delivery take a while, drawn for each direction of a link from ``seed``; None: at once again."""
        self._seed, self._random = seed, {}

    def stall(self, one: str, other: str, seconds: float) -> None:
        """Let nothing pass between two nodes for so long."""
        link = frozenset((one, other))
        self._stalled[link] = max(self._stalled.get(link, 0.0), self.timeline.now + seconds)

    @property
    def undisturbed(self) -> bool:
        """Whether everything that is written arrives, between whomever."""
        return not (self._stalled or self._muted)

    def stalled(self, one: str, other: str) -> bool:
        """Whether nothing passes between two nodes now."""
        return self._stalled.get(frozenset((one, other)), 0.0) > self.timeline.now

    def between(self, one: str, other: str) -> Iterator[MemoryTransport]:
        """Yield one end of every connection between two nodes, the end that is at ``one``."""
        for transport in list(self.transports):
            if transport.node == one and transport.peer.node == other and transport.connected:
                yield transport

    def cut(self, one: str, other: str) -> None:
        """End every connection between two nodes; what is on its way is lost."""
        for transport in self.between(one, other):
            transport.reset()

    def mute(self, one: str, other: str) -> list[MemoryTransport]:
        """Lose what is written to the connections of now between two nodes; returns an end of each, for a `reset`."""
        ends = list(self.between(one, other))
        for transport in ends:
            transport.mute = transport.peer.mute = True
            self._muted[transport if transport.made_it else transport.peer] = None
        return ends

    def muted(self, one: str, other: str) -> bool:
        """Whether what the first of two nodes says to the second, on a connection that it has made, is lost.

        Where it has given that up and made another one, the end that the second keeps means nothing.
        """
        kept = (end for end in self._muted if end.connected and not end.disconnecting)
        return any((end.node, end.peer.node) == (one, other) for end in kept)

    def forget(self, transport: MemoryTransport) -> None:
        """Note that a connection has ended at one end."""
        self.transports.pop(transport, None)
        self._muted.pop(transport, None)

    def calm(self) -> None:
        """Let everything pass again, at once."""
        self.slow(None)
        self._stalled.clear()
        self._muted.clear()
        for transport in list(self.transports):
            if transport.mute:
                transport.reset()

    def vanish(self, node: str) -> None:
        """End a node's connections and ports as the kernel does for a process that was killed.

        What it has written is delivered still, and then the end of the connection.
        """
        for number in [number for number, port in self.listening.items() if port.reactor.node == node]:
            del self.listening[number]
        for transport in list(self.transports):
            if transport.node == node:
                transport.orphan()

    def delay(self, one: str, other: str) -> float:
        """Return how long (seconds) what is sent now from one node to another is on its way."""
        if self._seed is None and not self._stalled:
            return 0.0
        delay = 0.0
        if self._seed is not None:
            way = (one, other)
            draw = self._random.get(way)
            if draw is None:
                draw = self._random[way] = random.Random(f"{self._seed} {one} {other}").random
            delay = _LATENCY[0] + (_LATENCY[1] - _LATENCY[0]) * draw()
            if draw() < _SLOW_SHARE:
                delay += (_SLOWEST - delay) * draw()
        if self._stalled:
            link = frozenset((one, other))
            left = self._stalled.get(link, 0.0) - self.timeline.now
            if left > 0.0:
                return left + delay
            self._stalled.pop(link, None)
        return delay

    # Ports and connections ---------------------------------------------------------------------------------------

    def listen(self, reactor: NetworkReactor, port: int, factory: Any, interface: str) -> MemoryPort:
        """Open a port; 0 for any. Raises CannotListenError."""
        if port == 0:
            self._next_port += 1
            port = self._next_port
        if port in self.listening:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        self.listening[port] = MemoryPort(reactor, port, factory)
        factory.doStart()
        return self.listening[port]

    def connect(self, reactor: NetworkReactor, host: str, port: int, factory: Any, timeout: float) -> MemoryConnector:
        """Begin to connect to a port."""
        connector = MemoryConnector(reactor, host, port, factory, timeout)
        connector.connect()
        return connector


class MemoryPort:
    """What listenTCP returns."""

    def __init__(self, reactor: NetworkReactor, port: int, factory: Any) -> None:
        self.factory = factory
        self.reactor = reactor
        self._address = _address(port)

    def getHost(self) -> IPv4Address:
        return self._address

    def startListening(self) -> None:
        self.reactor.network.listening[self._address.port] = self

    def stopListening(self) -> Deferred[None]:
        if self.reactor.network.listening.get(self._address.port) is self:
            del self.reactor.network.listening[self._address.port]
            self.factory.doStop()
        return succeed(None)


class MemoryConnector:
    """What connectTCP returns: one attempt, then one connection."""

    def __init__(self, reactor: NetworkReactor, host: str, port: int, factory: Any, timeout: float) -> None:
        self.factory = factory
        self.state = "disconnected"
        self._reactor = reactor
        self._network: Network = reactor.network
        self._destination = _address(port, host)
        self._timeout = timeout
        self._transport: MemoryTransport | None = None
        self._call: Any = None

    def getDestination(self) -> IPv4Address:
        return self._destination

    def connect(self) -> None:
        self.state = "connecting"
        self.factory.doStart()
        self.factory.startedConnecting(self)
        port = self._network.listening.get(self._destination.port)
        delay = self._network.delay(self._reactor.node, port.reactor.node) if port is not None else 0.0
        if delay > self._timeout:
            self._call = self._reactor.callLater(self._timeout, self._failed, ConnectionTimedOut())
        else:
            self._call = self._reactor.callLater(delay, self._connect)

    def stopConnecting(self) -> None:
        self._call.cancel()
        self._failed(ConnectionLost("stopped"))

    def disconnect(self) -> None:
        if self.state == "connecting":
            self.stopConnecting()
        elif self._transport is not None:
            self._transport.loseConnection()

    def _connect(self) -> None:
        port = self._network.listening.get(self._destination.port)
        server = port.factory.buildProtocol(_address(50_000)) if port is not None else None
        if port is None or server is None:
            self._failed(ConnectionRefused())
            return
        client = self.factory.buildProtocol(self._destination)
        if client is None:
            self._failed(ConnectionLost("the client's factory declined"))
            return
        self.state = "connected"
        here = self._transport = MemoryTransport(self._reactor, client, self._destination, self._lost)
        there = MemoryTransport(port.reactor, server, _address(50_000), None)
        here.peer, there.peer = there, here
        server.makeConnection(there)
        client.makeConnection(here)

    def _failed(self, error: Exception) -> None:
        self.state = "disconnected"
        self.factory.clientConnectionFailed(self, Failure(error))
        self.factory.doStop()

    def _lost(self, reason: Failure) -> None:
        self.state = "disconnected"
        self.factory.clientConnectionLost(self, reason)
        self.factory.doStop()


@implementer(ITCPTransport)
class MemoryTransport:
    """One end of a connection: what is written here is delivered there, in a later call of the timeline."""

    def __init__(
        self,
        reactor: NetworkReactor,
        protocol: Any,
        peer_address: IPv4Address,
        on_lost: Callable[[Failure], None] | None,
    ) -> None:
        self.peer: MemoryTransport
        self.protocol = protocol
        self.node: str = reactor.node
        self.connected = True
        self.disconnecting = False
        self.mute = False
        """Whether what is written is lost, and nobody hears of it."""
        self.orphaned = False
        """Whether the process at this end is dead: it hears of nothing."""
        self.reactor = reactor
        self._network: Network = reactor.network
        self._peer_address = peer_address
        self._on_lost = on_lost
        self.made_it = on_lost is not None
        """Whether the node at this end has made the connection."""
        self._outgoing = bytearray()
        self._delivery: Call | None = None
        self._arrived = 0.0  # when the last delivery was, or will be
        self.reading = True
        """Whether the protocol at this end takes what arrives."""
        self._end: str | None = None  # what follows the last byte: "write" (half-closed) or "connection"
        self._producer: Any = None
        self._producer_paused = False
        self._network.transports[self] = None

    def write(self, data: bytes) -> None:
        if self.connected and self._end is None and data and not self.mute:
            self._outgoing += data
            self._schedule()
            if len(self._outgoing) > _BUFFER and self._producer is not None and not self._producer_paused:
                self._producer_paused = True
                self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if self.connected and self._end != "connection":
            self._end = "connection"
            self.disconnecting = True
            self._schedule()

    def loseWriteConnection(self) -> None:
        if self.connected and self._end is None:
            self._end = "write"
            self._schedule()

    def abortConnection(self) -> None:
        if self.connected:
            lost = Failure(ConnectionLost("aborted"))
            self.break_off(lost)
            if not self.mute:
                self.peer.reactor.callLater(self._network.delay(self.node, self.peer.node), self.peer.lose, lost)

    def reset(self) -> None:
        """End the connection from outside: both ends hear of it, nothing more is delivered."""
        lost = Failure(ConnectionLost("the connection was reset"))
        for end in (self, self.peer):
            end.break_off(lost)

    def break_off(self, reason: Failure) -> None:
        """End this end of the connection without a word to the other."""
        if self.connected:
            self._disconnect()
            self._outgoing.clear()
            self.reactor.callLater(0, self._close, reason)

    def orphan(self) -> None:
        """Go on without the process at this end, which is dead: deliver what it has written, and end."""
        self.orphaned = self.disconnecting = True
        self._end = "connection"
        self._producer = None
        self._schedule()

    def _disconnect(self) -> None:
        self.connected = False
        self._network.forget(self)

    def _schedule(self) -> None:
        if self._delivery is None and self.connected:
            timeline = self._network.timeline
            self._arrived = max(self._arrived, timeline.now + self._network.delay(self.node, self.peer.node))
            # The receiver's call: what a dead process has written is delivered still.
            self._delivery = timeline.call_at(self._arrived, self.peer.reactor, self._deliver)

    def _deliver(self) -> None:
        self._delivery = None
        peer = self.peer
        if not self.connected or not peer.connected:
            return
        if not peer.reading:
            return  # its resumeProducing schedules this again
        if self._outgoing:
            data = bytes(self._outgoing)
            self._outgoing.clear()
            if self.mute:
                return
            if (on_delivery := self._network.on_delivery) is not None:
                on_delivery(self.node, peer.node, data)
            peer.protocol.dataReceived(data)
        if self._outgoing:
            self._schedule()
            return
        if self._end == "connection" and not self.mute:
            done = Failure(ConnectionDone())
            self.lose(done)
            self.peer.lose(done)
        elif self._end == "write" and self.peer.connected:
            if IHalfCloseableProtocol.providedBy(self.peer.protocol):
                self.peer.protocol.readConnectionLost()
            else:
                self.peer.loseConnection()
        if self._producer is not None and self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()

    def lose(self, reason: Failure) -> None:
        """End the connection, and tell the protocol why."""
        if self.connected:
            self._disconnect()
            self._close(reason)

    def _close(self, reason: Failure) -> None:
        if self.orphaned:
            return
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.stopProducing()
        self.protocol.connectionLost(reason)
        if self._on_lost is not None:
            self._on_lost(reason)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer
        if not streaming:
            raise RuntimeError("a rehearsal's connections take streaming producers only")

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        if not self.reading:
            self.reading = True
            self.peer.schedule_if_needed()

    def schedule_if_needed(self) -> None:
        if self._outgoing or self._end is not None:
            self._schedule()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        return self._peer_address

    def getHost(self) -> IPv4Address:
        return _address(0)

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed here."""

    def getTcpKeepAlive(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nothing is lost here but by a fault."""


def _address(port: int, host: str = "127.0.0.1") -> IPv4Address:
    return IPv4Address("TCP", host, port)
