"""Streams of bytes whose pieces are messages of RabbitMQ: one end of a connection, as Twisted's protocols use it.

What is written is cut into numbered pieces. A piece that comes out of turn ends the connection, as a broken line does:
the link makes another one, and goes on by its own numbers. So whatever RabbitMQ loses, repeats or keeps too long, no
agent sees anything of it. No socket and no client of RabbitMQ here; for the reactor's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.clock import cancel_call
from pyros.reactor import Reactor

PIECE_BYTES = 16 * 1024
"""Bytes of a piece at most: on a narrow line each of them is a sign of life."""


class Piece(NamedTuple):
    """One message of a queue of RabbitMQ."""

    stream: str
    """Which connection it belongs to."""
    number: int
    """Its number among those of its direction, from 0."""
    data: bytes = b""
    ends: bool = False
    """Whether its sender has ended the connection, after ``data``."""


class RabbitAddress(NamedTuple):
    """Where the other end is: somewhere behind RabbitMQ, and so never certainly on this computer."""

    host: str = "RabbitMQ"


@implementer(ITransport, IConsumer)
class AmqpTransport:
    """One end of one connection."""

    def __init__(
        self, reactor: Reactor, stream: str, publish: Callable[[Piece], None], forget: Callable[[AmqpTransport], None]
    ) -> None:
        """``publish`` hands a piece to RabbitMQ; ``forget`` is called once, when the connection has ended."""
        self.stream = stream
        self.protocol: Any = None
        """What lives on the connection, once `begin` was called."""
        self._reactor = reactor
        self._publish = publish
        self._forget = forget
        self._said = self._heard = 0
        self._unsaid = bytearray()
        self._unread: deque[tuple[Piece, Callable[[], None]]] = deque()
        self._paused = False
        self._open = True
        self._flush_call: Any = None

    def begin(self, protocol: Any) -> None:
        """Let a protocol live on it."""
        self.protocol = protocol
        protocol.makeConnection(self)

    def take(self, piece: Piece, taken: Callable[[], None]) -> None:
        """Give the protocol what has come, in its turn; ``taken()`` is called when that was read, or never will be."""
        if not self._open:
            taken()
        elif piece.number != self._heard:
            taken()
            self.abortConnection()
        else:
            self._heard += 1
            self._unread.append((piece, taken))
            if len(self._unread) == 1:
                self._read()

    def line_lost(self) -> None:
        """Note that the connection to RabbitMQ has ended, and this one with it."""
        self._end(ConnectionLost("the connection to RabbitMQ was lost"))

    def unheard(self) -> None:
        """Note that the other end is not there any more."""
        self._end(ConnectionLost("the other end has gone"))

    # As Twisted's transports ---------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not self._open:
            return
        self._unsaid += data
        while len(self._unsaid) >= PIECE_BYTES:
            self._say(PIECE_BYTES)
        if self._unsaid and self._flush_call is None:  # what is written at the same time is one piece
            self._flush_call = self._reactor.callLater(0, self._flush)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if self._open:
            self._flush()
            self._publish(Piece(self.stream, self._said, ends=True))
            self._end(ConnectionDone())

    def abortConnection(self) -> None:
        if self._open:
            self._publish(Piece(self.stream, self._said, ends=True))
            self._end(ConnectionAborted())

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        if self._paused:
            self._paused = False
            self._reactor.callLater(0, self._read)

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take no notice: what waits to be said is bounded by the link's window, and answers are short."""

    def unregisterProducer(self) -> None:
        pass

    def getPeer(self) -> Any:
        return RabbitAddress()

    def getHost(self) -> Any:
        return RabbitAddress("")

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def startTLS(self, side: Any) -> None:
        """Encrypt it from here on, as the side that was called."""
        from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol  # noqa: PLC0415  the extra [tls]

        inner, nothing, clock = self.protocol, Factory(), self._reactor
        factory = TLSMemoryBIOFactory(side, False, nothing, clock)
        self.protocol = TLSMemoryBIOProtocol(factory, inner, False)
        self.protocol.makeConnection(self)
        inner.transport = self.protocol

    # ---------------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        while self._unread and self._open and not self._paused:
            piece, taken = self._unread[0]
            if piece.data:
                self.protocol.dataReceived(piece.data)
            if self._unread:  # else reading it has ended the connection
                self._unread.popleft()
                taken()
            if piece.ends:
                self._end(ConnectionDone())

    def _flush(self) -> None:
        cancel_call(self._flush_call)
        self._flush_call = None
        if self._unsaid and self._open:
            self._say(len(self._unsaid))

    def _say(self, count: int) -> None:
        piece = Piece(self.stream, self._said, bytes(self._unsaid[:count]))
        del self._unsaid[:count]
        self._said += 1
        self._publish(piece)

    def _end(self, reason: Exception) -> None:
        if not self._open:
            return
        self._open = False
        self._unsaid.clear()
        self._flush()
        self._reactor.callLater(0, self.protocol.connectionLost, Failure(reason))
        unread, self._unread = self._unread, deque()
        for _, taken in unread:
            taken()
        self._forget(self)
