"""The second port of a simulated device, on which it speaks another language than the native grammar.

For the reactor's thread.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from zope.interface import implementer

from pyros.clock import Clock, Timer, cancel_call
from pyros.simulators.faults import Faults
from pyros.simulators.grammar import DeviceRequest
from pyros.simulators.line import ClientLine

_STALLED = 120.0
"""Seconds after which a client that doesn't read its answers is cut off."""
FAREWELL_SECONDS = 2.0
_MOST_CLIENTS = 32
_COMMANDS_KEPT = 10_000
_MOST_WAITING = 10_000
"""Commands that may wait behind an answer that a fault holds back."""


_MAX_UNREAD = 1 << 20
"""Bytes of what the device says by itself that may wait for a client that doesn't read."""


class SecondParser(Protocol):
    """Cuts a stream of bytes into requests, however the network cut it."""

    def feed(self, data: bytes) -> list[str]: ...


class SecondLanguage(Protocol):
    """What a device understands and says at its second port. Texts are Latin-1."""

    end: bytes
    """What ends a line."""

    @property
    def faults(self) -> Faults:
        """Those of the device."""
        ...

    def parser(self) -> SecondParser:
        """Make the parser of a new client."""
        ...

    def greeting(self) -> str:
        """Return what a new client is told."""
        ...

    def meaning(self, command: str) -> DeviceRequest:
        """Return the request of the native grammar that means the same, which faults name."""
        ...

    def answer(self, command: str) -> str:
        """Do what is asked, and return the answer."""
        ...


class SecondPort(Factory):
    """Where clients of the other language connect.

    ``commands`` keeps the last that they sent, as their parser gave them.
    """

    noisy = False

    def __init__(self, language: SecondLanguage, clock: Clock) -> None:
        self.language = language
        self.clock = clock
        self.commands: deque[str] = deque(maxlen=_COMMANDS_KEPT)
        self.clients: dict[_Client, None] = {}
        self._port: IListeningPort | None = None

    @property
    def port(self) -> int:
        """The TCP port it listens on; 0 when it does not listen."""
        return getattr(self._port.getHost(), "port", 0) if self._port else 0

    def opened(self, port: IListeningPort) -> None:
        """Note the port at which it listens."""
        self._port = port

    def stop(self) -> Deferred[None]:
        """Close the port and all connections; fires when nothing is left."""
        port, self._port = self._port, None
        waiting: list[Deferred[Any]] = [client.closed for client in self.clients]
        for client in list(self.clients):
            client.finish()
        if port:
            waiting.append(maybeDeferred(port.stopListening))
        return DeferredList(waiting, fireOnOneErrback=True, consumeErrors=True).addCallback(lambda _: None)

    def broadcast(self, text: str) -> None:
        """Say something to every client."""
        for client in list(self.clients):
            client.say(text)

    def buildProtocol(self, addr: object) -> _Client | None:
        return _Client(self) if len(self.clients) < _MOST_CLIENTS else None


@implementer(IHalfCloseableProtocol, IPushProducer)
class _Client(TwistedProtocol):
    """One client. One that doesn't read its answers is not read from."""

    transport: Any

    def __init__(self, port: SecondPort) -> None:
        self.closed: Deferred[None] = Deferred()
        self._port = port
        self._parser = port.language.parser()
        self._waiting: deque[str] = deque()
        self._ended = self.leaving = False
        self._unread: int | None = None
        """Bytes that were said to a client since it stopped reading; None while it reads."""
        self._line = ClientLine(
            port.language.faults, port.clock, self._write, self._cut_off, self._go_on, end=port.language.end
        )
        self._guard: Timer | None = None

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        self._port.clients[self] = None
        if greeting := self._port.language.greeting():
            self._write(greeting.encode("latin-1"))

    def say(self, text: str) -> None:
        """Say what nobody has asked for; a client that lets too much of it pile up is cut off."""
        data = text.encode("latin-1")
        if self._unread is not None:
            self._unread += len(data)
        if (self._unread or 0) > _MAX_UNREAD:
            self._cut_off()
        else:
            self._write(data)

    def dataReceived(self, data: bytes) -> None:
        self._waiting.extend(self._parser.feed(data))
        self._go_on()
        if len(self._waiting) > _MOST_WAITING:
            self._cut_off()

    def readConnectionLost(self) -> None:
        self._ended = True
        self._go_on()

    def _go_on(self) -> None:
        """Answer what waits, as far as a fault lets it."""
        port = self._port
        while self._waiting and not (self._line.held or self.leaving):
            command = self._waiting.popleft()
            port.commands.append(command)
            fault = port.language.faults.on_the_line(port.language.meaning(command))
            if fault is None or fault.kind != "no_answer":
                self._line.reply(port.language.answer(command).encode("latin-1"), fault)
        if self._ended and not (self._line.held or self.leaving):
            self.finish()

    def _write(self, data: bytes) -> None:
        if not self.leaving:
            self.transport.write(data)

    def _cut_off(self) -> None:
        self.leaving = True
        self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        self._cut_off()

    def connectionLost(self, reason: Any = None) -> None:
        self.leaving = True
        self._line.close()
        self._watch(None)
        self._port.clients.pop(self, None)
        if not self.closed.called:
            self.closed.callback(None)

    def finish(self) -> None:
        """Close when the answers are out, or soon without that."""
        self.leaving = True
        self._watch(FAREWELL_SECONDS)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # The transport calls these when its buffer fills and when it is empty again.

    def pauseProducing(self) -> None:
        self._unread = 0
        self.transport.pauseProducing()
        self._watch(_STALLED)

    def resumeProducing(self) -> None:
        self._unread = None
        self._watch(None)
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        self._watch(None)

    def _watch(self, seconds: float | None) -> None:
        """Cut the client off after so many seconds; None: no more."""
        cancel_call(self._guard)
        self._guard = None
        if seconds is not None:
            self._guard = self._port.clock.call_later(seconds, self._cut_off)
