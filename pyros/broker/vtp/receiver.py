"""The port for authors: one connection, one event, one answer; the answer comes after the commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from comet.protocol.receiver import VOEventReceiver, VOEventReceiverFactory
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.broker.intake import Intake, Receipt
from pyros.broker.vtp.one_answer import OneAnswerConnection
from pyros.broker.vtp.protocol import MAX_LENGTH, Connections, allowed, frame, host_of, transport
from pyros.clock import Clock
from pyros.config import Network
from pyros.line_limit import LineLimit
from pyros.reactor import Reactor
from pyros.tls_words import of_failure

MAX_AUTHORS = 256
MAX_PER_PEER = 64  # of one computer, ours excepted
TIMEOUT = 20.0  # seconds for the whole event, and again for taking the answer away
LINGER = 2.0  # seconds that what an author still sends is read and thrown away, so that our answer survives
_STRANGE = 2**24  # bytes; so long a packet is none: somebody doesn't speak VTP

log = Logger(namespace="pyros.broker")


@implementer(IHalfCloseableProtocol)
class AlertReceiver(VOEventReceiver):  # type: ignore[misc]  # Comet has no types
    """An author's connection.

    Comet's own `stringReceived` runs several validators side by side, stumbles over what isn't a VOEvent, and counts
    an author's time anew with every byte; of its class remain the framing and the time-out.
    """

    factory: AlertReceiverFactory
    transport: Any

    def connectionMade(self) -> None:
        self.taken = self.answered = False
        host = host_of(self.transport.getPeer())
        self.source = f"author {host}"
        self.MAX_LENGTH = self.factory.max_length
        self.setTimeout(TIMEOUT)
        self.factory.arrived(self, host)

    def connectionLost(self, reason: Failure) -> None:
        self.setTimeout(None)
        self.factory.authors.discard(self)
        if why := of_failure(reason):
            self.factory.lines.tell(log.warn, "{source} is not let in: {why}", source=self.source, why=why)
        Int32StringReceiver.connectionLost(self, reason)

    def readConnectionLost(self) -> None:
        """Go on when the author closes its sending side: it may still read our answer."""
        if not self.taken:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """We never close only ours."""

    def callLater(self, period: float, call: Callable[[], None]) -> Any:
        """For Twisted's TimeoutMixin: timers of our reactor, not of the process's."""
        return self.factory.reactor.callLater(period, call)

    def timeoutConnection(self) -> None:
        if self.taken and not self.answered:  # it waits for us
            self.setTimeout(TIMEOUT)
            return
        if not self.taken:
            text = "{source}: no event within {seconds:.0f} seconds; closed"
            self.factory.lines.tell(log.warn, text, source=self.source, seconds=TIMEOUT)
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if not self.taken:  # one event a connection: whatever follows is not even buffered
            super().dataReceived(data)

    def stringReceived(self, packet: bytes) -> None:
        if self.taken:
            return
        self.taken = True
        self.factory.intake.receive(packet, self.source, strict=True).addCallback(self._answer)

    def lengthLimitExceeded(self, length: int) -> None:
        if self.taken:
            return  # what follows an event is no packet of ours
        self.taken = True
        self.factory.intake.counts["refused"] += 1
        reason = f"a packet of {length} bytes; the limit is {self.MAX_LENGTH}"
        if length >= _STRANGE:
            reason += " (its length comes first, in four bytes, big-endian)"
        self.factory.lines.tell(log.warn, "{source}: {reason}", source=self.source, reason=reason)
        self._answer(Receipt("refused", reason=reason), linger=True)

    def _answer(self, receipt: Receipt, *, linger: bool = False) -> None:
        if self not in self.factory.authors:
            return  # it went away meanwhile; the event is safe, and sent again it is a duplicate
        self.answered = True
        local, now = self.factory.local_ivo, self.factory.clock.now()
        if receipt.outcome == "new":
            answer = transport("ack", receipt.ivorn, now, response=local)
        else:
            result = f"Event rejected: {receipt.reason}"
            answer = transport("nak", receipt.ivorn or local, now, response=local, result=result)
        if linger:
            self.setTimeout(LINGER)
            self.sendString(answer)
        elif isinstance(self.transport, OneAnswerConnection):
            self.transport.finish(frame(answer))
        else:
            self.setTimeout(TIMEOUT)
            self.sendString(answer)
            self.transport.loseConnection()


class AlertReceiverFactory(VOEventReceiverFactory):  # type: ignore[misc]
    """Makes authors' connections, from allowed networks only, and a bounded number at once."""

    protocol = AlertReceiver
    noisy = False

    def __init__(
        self,
        reactor: Reactor,
        clock: Clock,
        local_ivo: str,
        intake: Intake,
        allow: Sequence[Network],
        *,
        max_length: int = MAX_LENGTH,
    ) -> None:
        super().__init__(local_ivo)
        self.reactor, self.clock, self.intake, self.allow, self.max_length = reactor, clock, intake, allow, max_length
        self.authors: Connections[AlertReceiver] = Connections(reactor)
        self.lines, self._strangers = LineLimit(reactor.seconds), LineLimit(reactor.seconds)

    def buildProtocol(self, addr: Any) -> Protocol | None:
        return self.build(addr, self.allow)

    def build(self, addr: Any, allow: Sequence[Network]) -> Protocol | None:
        """Return a connection from one of the allowed networks; None for any other."""
        if not allowed(addr, allow):
            self._strangers.tell(log.warn, "author {host} is in no allowed network; closed", host=host_of(addr))
            return None
        protocol: Protocol | None = super().buildProtocol(addr)
        return protocol

    def arrived(self, author: AlertReceiver, host: str) -> None:
        """Make room: the author that has been silent longest goes; one whose event is being stored stays.

        One computer's authors make room for each other before those of others do.
        """
        self.authors.add(author, host)
        neighbours = self.authors.crowd(author)
        if len(neighbours) > MAX_PER_PEER:
            self._drop_one_of(neighbours, MAX_PER_PEER)
        elif len(self.authors) > MAX_AUTHORS:
            self._drop_one_of(list(self.authors), MAX_AUTHORS)

    def _drop_one_of(self, authors: list[AlertReceiver], limit: int) -> None:
        silent = next((author for author in authors if not author.taken), authors[-1])
        text = "more than {limit} authors: {source} is dropped"
        self.lines.tell(log.warn, text, limit=limit, source=silent.source)
        self.authors.discard(silent)
        silent.transport.abortConnection()
