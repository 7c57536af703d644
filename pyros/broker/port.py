"""The broker's own port: people ask it how it is, and the observatory's agents hand it what they publish.

Both speak the frames of the agents' wire: ``{"query": "status"}``, or a hello and messages, of which it takes one,
*Publish*, from who has proved the observatory's key. A message stays in its agent's outbox until it is acknowledged
here, which is after the event's commit. The broker keeps no numbers: an event that comes again has the same ivorn and
the same bytes, and is kept once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros import messages, wire
from pyros.broker.vtp.protocol import Connections, allowed, host_of
from pyros.clock import cancel_call
from pyros.config import BROKER, Network
from pyros.errors import PyrosError, WireError
from pyros.line_limit import LineLimit
from pyros.reactor import Reactor
from pyros.sender.inbound import InboundHandshake, InboundPort
from pyros.sender.inbound_tls import InboundTls, PortTls
from pyros.sender.tcp import bound_silence

MAX_ASKING = 64
TIMEOUT = 10.0  # seconds for question and answer

log = Logger(namespace="pyros.broker")

Publisher = Callable[[bytes, str], Awaitable[str | None]]
"""(packet, the agent's name) to why it is refused, or None once it is committed; raises WireError when it cannot be
stored now."""


@implementer(IPushProducer)
class BrokerConnection(Protocol):
    """One connection: one question, or a hello and messages. Whoever doesn't read the answers isn't read either."""

    transport: Any

    def __init__(self, factory: BrokerPort) -> None:
        self._factory = factory
        self._decoder = wire.Decoder()
        self._timeout: Any = None
        self._handshake = InboundHandshake(factory.receiver, self)
        self._tls = InboundTls(factory.tls)
        self._publishing = self._full = self._done = False
        self._waiting: list[wire.Entry] = []
        self._lost = False

    def connectionMade(self) -> None:
        self._timeout = self._factory.reactor.callLater(TIMEOUT, self.transport.abortConnection)
        self._factory.asking.add(self, host_of(self.transport.getPeer()))
        self.transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        self._full = True
        self._handshake.on_hold()
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._full = False
        self._read_on()

    def stopProducing(self) -> None:
        """Do nothing, for Twisted: the connection has ended."""

    def _read_on(self) -> None:
        if not (self._full or self._publishing or self._lost):
            self.transport.resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        if trouble := self._tls.trouble(reason):
            log.warn("{trouble}", trouble=trouble)
        self._bear_silence()
        self._handshake.on_closed()
        self._factory.asking.discard(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            if self._tls.takes(self.transport, data):
                return
            self._handshake.on_bytes(len(data))
            self._handshake.on_life()
            for frame in self._decoder.feed(data):
                if self._done:
                    return
                if not isinstance(frame, wire.Frame):
                    raise WireError("this is the broker; it answers one query: status")
                self._take(frame)
        except PyrosError as error:  # of the wire, or the journal cannot be read
            self._decoder.begin(data)
            self.drop(str(error))

    def _take(self, frame: wire.Frame) -> None:
        peer = self._handshake.peer
        if self._handshake.on_frame(frame):
            return
        if frame.messages is not None and peer is not None:
            self._waiting += frame.messages
            if not self._publishing:
                self._publishing = True
                self._handshake.on_hold()
                self.transport.pauseProducing()  # at most one read's frames wait here
                Deferred.fromCoroutine(self._publish()).addErrback(self._failed)
        elif frame.query == "status" and peer is None:
            self._end(wire.encode_frame(wire.Frame(status=self._factory.status())))
        else:
            raise WireError("this is the broker; it answers one query: status")

    @property
    def proved(self) -> bool:
        """Whether it is an agent's that has proved the key."""
        return self._handshake.proved

    @property
    def certified(self) -> str | None:
        """The name in the certificate that the agent has shown; None without TLS."""
        return self._tls.certified

    @property
    def unread(self) -> bool:
        """Whether what the agent says is not being read at present."""
        return self._full or self._publishing

    def welcomed(self) -> int:
        """Let the agent send messages; returns 0 as the number committed last, as the broker keeps none."""
        if self._handshake.proved:  # who has not may say nothing, and has the time of a question for it
            self._bear_silence()
        bound_silence(self.transport)
        return 0

    async def _publish(self) -> None:
        """One after the other, so that an acknowledged number means all before it."""
        while self._waiting and not self._lost:
            entry = self._waiting.pop(0)
            reason = await self._one(entry)
            if not self._lost:
                refused = [wire.Refusal(entry.seq, reason)] if reason is not None else None
                self.send(wire.Frame(ack=entry.seq, refused=refused))
        self._publishing = False
        self._read_on()

    async def _one(self, entry: wire.Entry) -> str | None:
        if not self._handshake.proved:
            return messages.unproved(entry.name)
        if entry.name != messages.PUBLISH:
            return f"the broker takes no message {entry.name!r} (it takes: {messages.PUBLISH})"
        try:
            published: messages.Publish = messages.decode_payload(entry.name, bytes(entry.payload))
        except ValueError as error:
            return str(error)
        return await self._factory.publish(published.packet, self._sender)

    @property
    def _sender(self) -> str:
        return self._handshake.peer[0] if self._handshake.peer else "?"

    def _failed(self, failure: Failure) -> None:
        """Close after an event that could not be stored: unacknowledged, the agent sends it again."""
        if not failure.check(WireError):
            log.failure("a VOEvent of {agent} could not be published", failure, agent=self._sender)
        if not self._lost:
            self.drop(failure.getErrorMessage())

    def drop(self, reason: str) -> None:
        """Say why, and close."""
        text = self._decoder.frames is False
        self._end(f"ERR {reason}\n".encode() if text else wire.encode_frame(wire.Frame(error=reason)))

    def _end(self, answer: bytes) -> None:
        """Write the last answer and close; what still comes is ignored."""
        self._done = True
        self._handshake.on_closed()
        self.transport.write(answer)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def send(self, frame: wire.Frame) -> None:
        self.transport.write(wire.encode_frame(frame))

    def _bear_silence(self) -> None:
        cancel_call(self._timeout)


class BrokerPort(Factory):
    """Makes the connections, from allowed networks only, and a bounded number at once."""

    noisy = False

    def __init__(
        self,
        reactor: Reactor,
        allow: Sequence[Network],
        status: Callable[[], dict[str, Any]],
        publish: Publisher,
        key: bytes,
        agents: Container[str],
        tls: PortTls,
    ) -> None:
        """``key`` is the observatory's, and ``agents`` are the names that nobody may use without it."""
        self.tls = tls
        self.receiver = InboundPort(BROKER, key, agents, reactor)
        self.reactor, self.allow, self.status, self.publish = reactor, allow, status, publish
        self.asking: Connections[BrokerConnection] = Connections(reactor)
        self._lines = LineLimit(reactor.seconds)

    def buildProtocol(self, addr: Any) -> Protocol | None:
        if not allowed(addr, self.allow) or not self._has_room():
            self._lines.tell(log.warn, "{host} may not ask for the status; closed", host=host_of(addr))
            return None
        return BrokerConnection(self)

    def _has_room(self) -> bool:
        """Whether one more may come; the connection goes for it that is the oldest of those without the key."""
        if len(self.asking) < MAX_ASKING:
            return True
        strange = next((each for each in self.asking if not each.proved), None)
        if strange is not None:
            self.asking.discard(strange)
            strange.transport.abortConnection()
        return strange is not None
