"""A reactor that isn't there: virtual time and in-memory connections in one thread.

Agents, broker and simulators are given a reactor; given this one they are the same classes and exchange the same bytes,
while hours pass in seconds and the same run gives the same log. Time passes only in `MemoryReactor.run_until`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as ConnectionRefused
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorCore, IReactorTCP, IReactorTime, ITCPTransport
from twisted.internet.task import Clock as TwistedClock
from twisted.python.failure import Failure
from zope.interface import implementer

_BUFFER = 64 * 1024
_FIRST_FREE_PORT = 40_000


@implementer(IReactorTime, IReactorTCP, IReactorCore)
class MemoryReactor(TwistedClock):
    """The parts of a Twisted reactor that PYROS, Comet and the drivers use."""

    running = True

    def __init__(self) -> None:
        super().__init__()
        self.listening: dict[int, MemoryPort] = {}
        self._next_port = _FIRST_FREE_PORT

    def run_until(self, seconds: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Let virtual time pass up to ``seconds`` (as `seconds` tells it), or until ``done()``; returns ``done()``."""
        while not done():
            calls = self.getDelayedCalls()
            due = min((call.getTime() for call in calls), default=seconds)
            if due > seconds or not calls:
                self.rightNow = max(self.rightNow, seconds)
                return done()
            self.rightNow = max(self.rightNow, due)
            self._run_first()
        return True

    def _run_first(self) -> None:
        call = self.calls.pop(0)
        call.called = 1
        call.func(*call.args, **call.kw)

    # IReactorTCP -------------------------------------------------------------------------------------------------

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if port == 0:
            self._next_port += 1
            port = self._next_port
        if port in self.listening:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        self.listening[port] = MemoryPort(self, port, factory)
        factory.doStart()
        return self.listening[port]

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,  # noqa: N803  IReactorTCP's name
    ) -> Any:
        connector = MemoryConnector(self, host, port, factory)
        connector.connect()
        return connector

    # IReactorCore and threads: everything happens in this thread -------------------------------------------------

    def callFromThread(self, function: Any, *args: Any, **kw: Any) -> None:
        self.callLater(0, function, *args, **kw)

    def callInThread(self, function: Any, *args: Any, **kw: Any) -> None:
        function(*args, **kw)

    def callWhenRunning(self, callable: Any, *args: Any, **kw: Any) -> None:  # noqa: A002  Twisted's name
        self.callLater(0, callable, *args, **kw)

    def addSystemEventTrigger(self, *_: Any, **__: Any) -> None:
        """Nothing ends this reactor."""

    def removeSystemEventTrigger(self, _: Any) -> None:
        """Nothing was added."""

    def fireSystemEvent(self, _: str) -> None:
        """Nothing listens."""

    def resolve(self, name: str, _: Any = ()) -> Deferred[str]:
        return succeed(name)

    def run(self) -> None:
        raise RuntimeError("a rehearsal's time passes in run_until")

    def stop(self) -> None:
        raise RuntimeError("a rehearsal's time passes in run_until")

    def crash(self) -> None:
        raise RuntimeError("a rehearsal's time passes in run_until")

    def iterate(self, delay: float = 0) -> None:
        self.run_until(self.seconds() + delay)

    def getThreadPool(self) -> MemoryReactor:
        return self

    def callInThreadWithCallback(self, on_result: Any, function: Any, *args: Any, **kw: Any) -> None:
        try:
            result: Any = function(*args, **kw)
        except Exception:
            on_result(False, Failure())
        else:
            on_result(True, result)


class MemoryPort:
    """What listenTCP returns."""

    def __init__(self, reactor: MemoryReactor, port: int, factory: Any) -> None:
        self.factory = factory
        self._reactor = reactor
        self._address = _address(port)

    def getHost(self) -> IPv4Address:
        return self._address

    def startListening(self) -> None:
        self._reactor.listening[self._address.port] = self

    def stopListening(self) -> Deferred[None]:
        if self._reactor.listening.get(self._address.port) is self:
            del self._reactor.listening[self._address.port]
            self.factory.doStop()
        return succeed(None)


class MemoryConnector:
    """What connectTCP returns: one attempt, then one connection."""

    def __init__(self, reactor: MemoryReactor, host: str, port: int, factory: Any) -> None:
        self.factory = factory
        self.state = "disconnected"
        self._reactor = reactor
        self._destination = _address(port, host)
        self._transport: MemoryTransport | None = None
        self._call: Any = None

    def getDestination(self) -> IPv4Address:
        return self._destination

    def connect(self) -> None:
        self.state = "connecting"
        self.factory.doStart()
        self.factory.startedConnecting(self)
        self._call = self._reactor.callLater(0, self._connect)

    def stopConnecting(self) -> None:
        self._call.cancel()
        self._failed(ConnectionLost("stopped"))

    def disconnect(self) -> None:
        if self.state == "connecting":
            self.stopConnecting()
        elif self._transport is not None:
            self._transport.loseConnection()

    def _connect(self) -> None:
        port = self._reactor.listening.get(self._destination.port)
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
        there = MemoryTransport(self._reactor, server, _address(50_000), None)
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
    """One end of a connection: what is written here is delivered there, in a later turn of the reactor."""

    connected = True
    disconnecting = False

    def __init__(
        self,
        reactor: MemoryReactor,
        protocol: Any,
        peer_address: IPv4Address,
        on_lost: Callable[[Failure], None] | None,
    ) -> None:
        self.peer: MemoryTransport
        self.protocol = protocol
        self._reactor = reactor
        self._peer_address = peer_address
        self._on_lost = on_lost
        self._outgoing = bytearray()
        self._scheduled = False
        self._reading = True
        self._end: str | None = None  # what follows the last byte: "write" (half-closed) or "connection"
        self._producer: Any = None
        self._producer_paused = False

    def write(self, data: bytes) -> None:
        if self.connected and self._end is None and data:
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
            self.connected = False
            self._outgoing.clear()
            self._reactor.callLater(0, self._close, Failure(ConnectionLost("aborted")))
            self._reactor.callLater(0, self.peer.lose, Failure(ConnectionLost("aborted")))

    def _schedule(self) -> None:
        if not self._scheduled and self.connected:
            self._scheduled = True
            self._reactor.callLater(0, self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if not self.connected or not self.peer.connected:
            return
        if not self.peer.reading:
            return  # its resumeProducing schedules this again
        if self._outgoing:
            data = bytes(self._outgoing)
            self._outgoing.clear()
            self.peer.protocol.dataReceived(data)
        if self._outgoing:
            self._schedule()
            return
        if self._end == "connection":
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

    @property
    def reading(self) -> bool:
        return self._reading

    def lose(self, reason: Failure) -> None:
        """End the connection, and tell the protocol why."""
        if self.connected:
            self.connected = False
            self._close(reason)

    def _close(self, reason: Failure) -> None:
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
        self._reading = False

    def resumeProducing(self) -> None:
        if not self._reading:
            self._reading = True
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
        """Nothing is lost here."""


def _address(port: int, host: str = "127.0.0.1") -> IPv4Address:
    return IPv4Address("TCP", host, port)
