"""The port where people ask the broker how it is: the wire's ``{"query": "status"}``, as agents answer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros import wire
from pyros.broker.vtp import Connections, allowed, host_of
from pyros.config import Network
from pyros.errors import WireError

MAX_ASKING = 64
TIMEOUT = 10.0  # seconds for question and answer

log = Logger(namespace="pyros.broker")


class Answering(Protocol):
    """One connection: questions in frames, answers in frames."""

    transport: Any

    def __init__(self, factory: AnsweringFactory) -> None:
        self._factory = factory
        self._decoder = wire.Decoder()

    def connectionMade(self) -> None:
        self._timeout = self._factory.reactor.callLater(TIMEOUT, self.transport.abortConnection)
        self._factory.asking.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timeout.active():
            self._timeout.cancel()
        self._factory.asking.discard(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            for question in self._decoder.feed(data):
                if not isinstance(question, wire.Frame) or question.query != "status":
                    raise WireError("this is the broker; it answers one query: status")
                self.transport.write(wire.encode_frame(wire.Frame(status=self._factory.status())))
        except WireError as error:
            text = self._decoder.frames is False
            answer = f"ERR {error}\n".encode() if text else wire.encode_frame(wire.Frame(error=str(error)))
            self.transport.write(answer)
            self.transport.loseConnection()


class AnsweringFactory(Factory):
    """Makes the connections, from allowed networks only, and a bounded number at once."""

    noisy = False

    def __init__(self, reactor: Any, allow: Sequence[Network], status: Callable[[], dict[str, Any]]) -> None:
        self.reactor, self.allow, self.status = reactor, allow, status
        self.asking: Connections[Answering] = Connections(reactor)

    def buildProtocol(self, addr: Any) -> Protocol | None:
        if not allowed(addr, self.allow) or len(self.asking) >= MAX_ASKING:
            log.warn("{host} may not ask for the status; closed", host=host_of(addr))
            return None
        return Answering(self)
