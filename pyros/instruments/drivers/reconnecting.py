"""A TCP connection to a device that is made again whenever it breaks: what the drivers that keep one share.

Everything here runs in the reactor's thread.

Twisted's ClientService is not used: it keeps the reason of a failed attempt to itself, has no transition for a
connection that breaks in its ``prepareConnection`` (as of 26.10), where the device would be identified, and ends with a
``loseConnection`` that waits for ever for a peer that does not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from pyros.backoff import Backoff
from pyros.clock import Clock, Timer, cancel_call
from pyros.errors import ConfigError, ConnectionLost, InstrumentError
from pyros.instruments.interfaces import Kind, OnConnection, OnEvent
from pyros.printable import printable
from pyros.reactor import Reactor

CONNECT_SECONDS = 5.0
"""How long one attempt to connect, and a command without a connection, may wait."""
SLOWEST_BYTES = 1000.0
"""Bytes a second, at least, at which an image must come: one that comes so is waited for."""
RETRY_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
"""The pauses between attempts to reach a device."""


class DeviceLink(Protocol):
    """One TCP connection, from its beginning to its end; its owner is a `Reconnecting`."""

    transport: ITCPTransport
    _owner: Any

    def __init__(self) -> None:
        self._reason = ""
        """Why it is of no use any more; '' while it is."""

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self._owner.made(self)

    def abort(self, reason: str) -> None:
        """Drop the connection at once."""
        self._reason = self._reason or reason
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._reason = self._reason or reason.getErrorMessage()
        self._owner.lost(self, self._reason)


L = TypeVar("L", bound=DeviceLink)


def host_and_port(address: str) -> tuple[str, int]:
    """Host and port of ``tcp:HOST:PORT`` (an IPv6 address in brackets). Raises ConfigError."""
    match = re.fullmatch(r"tcp:(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]]+)):([0-9]{1,5})", address)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ConfigError([f"address = {address}: must be tcp:HOST:PORT, such as tcp:127.0.0.1:6010"])
    return match[1] or match[2], int(match[3])


def endpoint_of(address: str, reactor: Reactor) -> IStreamClientEndpoint:
    """Make the endpoint for ``tcp:HOST:PORT``. Raises ConfigError."""
    host, port = host_and_port(address)
    if ":" in host:
        return TCP6ClientEndpoint(reactor, host, port, CONNECT_SECONDS)
    if re.fullmatch(r"[0-9.]+", host):
        return TCP4ClientEndpoint(reactor, host, port, CONNECT_SECONDS)
    return HostnameEndpoint(reactor, host, port, CONNECT_SECONDS)


class _DeviceLinkFactory(Factory):
    noisy = False

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._make()


class Reconnecting(Generic[L]):
    """Keeps a connection to the device of this kind at this address, for as long as it is not disconnected.

    A connection counts only once ``identify`` has returned: until then nobody may use it. Subclasses say how.
    """

    def __init__(self, kind: Kind, address: str, reactor: Reactor, clock: Clock) -> None:
        self.kind = kind
        self.address = address
        self.clock = clock
        self.name = ""
        self.on_connection: OnConnection | None = None
        self.on_event: OnEvent | None = None
        self._endpoint = endpoint_of(address, reactor)
        self._link: L | None = None  # identified, ready for requests
        self._opening: L | None = None  # open, being identified
        self._attempt: Deferred[Any] | None = None
        self._retry: Timer | None = None
        self._backoff = Backoff(*RETRY_SECONDS)
        self._identified = 0.0  # when the present connection was, monotonic seconds
        self._problem = "not connected yet"
        self._told: tuple[bool, str] | None = None
        self._closed = False
        self._closing: list[Deferred[None]] = []
        self._waiting: list[Deferred[L]] = []

    # For subclasses to say.

    def make_link(self) -> Any:
        """Make the protocol for a new connection."""
        raise NotImplementedError

    async def identify(self, link: L) -> str:
        """Find out what is there, and return its name.

        Raises InstrumentError where that did not work; it must have dropped the connection then.
        """
        raise NotImplementedError

    def broken(self, error: ConnectionLost) -> None:
        """End every command under way with this error: the connection is gone."""
        raise NotImplementedError

    # What drivers use.

    @property
    def connected(self) -> bool:
        return self._link is not None

    def describe(self, problem: str) -> str:
        """Return the problem with the device's kind and address in front."""
        return f"{self.kind} at {self.address}: {problem}"

    async def link(self) -> L:
        """Return the connection, waiting for one if there is none. Raises ConnectionLost after `CONNECT_SECONDS`."""
        return self._link or await self._connection()

    def start(self) -> None:
        """Begin to connect."""
        self._retry = None
        self._attempt = self._endpoint.connect(_DeviceLinkFactory(self.make_link))
        self._attempt.addCallbacks(self._connect_succeeded, self._connect_failed)

    def disconnect(self) -> Deferred[None]:
        """Drop the connection for good; fires when nothing is left behind."""
        self._closed = True
        self._problem = "disconnected"
        self._refuse_waiting()
        cancel_call(self._retry)
        self._retry = None
        link = self._link or self._opening
        if link is None and self._attempt is None:
            return succeed(None)
        closing: Deferred[None] = Deferred()
        self._closing.append(closing)
        if link is not None:
            link.abort("disconnected")
        elif self._attempt is not None:
            self._attempt.cancel()
        return closing

    # What links call.

    def made(self, link: L) -> None:
        """Identify the device: its connection is open."""
        self._opening = link
        Deferred.fromCoroutine(self._identify(link))

    def lost(self, link: L, reason: str) -> None:
        """Forget a connection that is closed, and make another, unless disconnected."""
        if link not in (self._link, self._opening):
            return
        if link is self._link:
            self._backoff.ended(self.clock.monotonic() - self._identified)
        self._link = self._opening = None
        self._problem = reason
        self.broken(ConnectionLost(self.describe(reason)))
        self._down()

    # Its life.

    def _connection(self) -> Deferred[L]:
        waiting: Deferred[L] = Deferred()
        self._waiting.append(waiting)
        if self._closed:
            self._refuse_waiting()
            return waiting
        timer = self.clock.call_later(CONNECT_SECONDS, self._waited, waiting)

        def done(result: Any) -> Any:
            cancel_call(timer)
            if waiting in self._waiting:  # cancelled
                self._waiting.remove(waiting)
            return result

        return waiting.addBoth(done)

    def _waited(self, waiting: Deferred[L]) -> None:
        self._waiting.remove(waiting)
        waiting.errback(ConnectionLost(self.describe(self._problem)))

    def _refuse_waiting(self) -> None:
        refused, self._waiting = self._waiting, []
        for waiting in refused:
            waiting.errback(ConnectionLost(self.describe(self._problem)))

    def _connect_succeeded(self, _link: object) -> None:
        self._attempt = None

    def _connect_failed(self, failure: Failure) -> None:
        self._attempt = None
        if not self._closed:
            self._problem = failure.getErrorMessage()
        self._down()

    async def _identify(self, link: L) -> None:
        try:
            name = printable(await self.identify(link))
        except InstrumentError:
            return  # the link is ending, and `lost` does what is to be done
        if link is not self._opening:  # it broke in the last moment
            return
        self._opening, self._link, self.name = None, link, name
        self._identified = self.clock.monotonic()
        self._tell(True, f"{name} at {self.address}")
        ready, self._waiting = self._waiting, []
        for waiting in ready:
            waiting.callback(link)

    def _down(self) -> None:
        self._tell(False, self.describe(self._problem))
        if self._closed:
            closing, self._closing = self._closing, []
            for done in closing:
                done.callback(None)
            return
        self._retry = self.clock.call_later(self._backoff.next_pause(), self.start)

    def _tell(self, up: bool, text: str) -> None:
        text = printable(text)  # of the device, perhaps
        if self.on_connection is not None and self._told != (up, text):
            self._told = up, text
            self.on_connection(up, text)
