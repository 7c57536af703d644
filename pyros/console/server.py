"""The port: every request's Host and size are looked at before anything else, and every answer has the same headers."""

from __future__ import annotations

import math
import resource
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import BAD_REQUEST, HTTPChannel
from twisted.web.resource import IResource, Resource

from pyros.console.actions import ORDERS
from pyros.console.console import Console
from pyros.console.sending import SendingRequest
from pyros.sender.tcp import bound_silence, bound_unanswered

log = Logger("console")
MAX_BODY = 1 << 20
"""Bytes of a POST; twisted.web keeps all of them before anybody looks."""
_IDLE_SECONDS = 60
"""How long a connection may be silent, a request take until it is there, and an answer wait for being read."""
_MAX_CONNECTIONS = 2000
_TELL_SECONDS = 60.0
_SLOWEST_BYTES = 1000
"""Bytes of a body a second, at least, after that: a byte now and then keeps no connection."""
_TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
    b"too large\n"
)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self';"
    " connect-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " manifest-src 'self'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
"""Of every answer."""


class BoundedRequest(SendingRequest):
    """A request whose body is cut off where it is larger than `MAX_BODY`."""

    asked = False
    """Whether all of it has come."""
    _got = 0
    _counted = 0

    def process(self) -> None:
        """Begin to answer."""
        self.asked = True
        super().process()

    def goes_on(self) -> bool:
        """Tell whether enough of the body has come since this was true last for so much further time."""
        going = self._got - self._counted >= _SLOWEST_BYTES * _IDLE_SECONDS
        self._counted = self._got if going else self._counted
        return going

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length if length is not None and length <= MAX_BODY else 0)
        if length is not None and length > MAX_BODY:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        before, self._got = self._got, self._got + len(data)
        if self._got <= MAX_BODY:
            super().handleContentChunk(data)
        elif before <= MAX_BODY:
            self._refuse()

    def _refuse(self) -> None:
        self._got = MAX_BODY + 1
        channel: Any = self.channel
        channel.transport.write(_TOO_LARGE)
        channel.loseConnection()


class BoundedChannel(HTTPChannel):
    """A connection whose time a request's first bytes extend, and then only so much of its body as is worth it."""

    site: _BoundedSite
    _begun = False

    @property
    def answers(self) -> bool:
        """Whether somebody has asked and waits for the answer, or reads it."""
        return any(request.asked for request in self.requests)

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.open[self] = None
        bound_silence(self.transport)
        bound_unanswered(self.transport, _IDLE_SECONDS)

    def resetTimeout(self) -> None:
        """Note that bytes have come; twisted.web counts the time anew with each."""
        if self.requests:
            if self.requests[-1].goes_on():
                super().resetTimeout()
        elif not self._begun:
            self._begun = True
            super().resetTimeout()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.open.pop(self, None)
        super().connectionLost(reason)

    def requestDone(self, request: Any) -> None:  # noqa: N802  twisted.web's name
        """Wait for the next request."""
        self._begun = False
        super().requestDone(request)


class _OtherName(Resource):
    """Answers who calls the console by a name that isn't its own."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        request.setResponseCode(BAD_REQUEST)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"this console has another name; add this one to hosts in [console]\n"


class Root(Resource):
    """Everything under ``/``."""

    def __init__(self, console: Console, pages: IResource, orders: IResource, **others: IResource) -> None:
        """``pages`` answers everything but ``orders``, which have threads of their own, and the ``others`` by name."""
        super().__init__()
        self._hosts, self._secure = console.hosts, console.secure
        self._pages, self._orders = pages, orders
        self._others = {name.encode(): resource for name, resource in others.items()}

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        """Find what answers a request."""
        for header, value in HEADERS.items():
            request.setHeader(header, value)
        if self._secure:
            request.setHeader("Strict-Transport-Security", "max-age=31536000")
        request.responseHeaders.removeHeader("Server")
        if not self._is_ours(request.getHeader("host") or ""):
            return _OtherName()
        if (other := self._others.get(name)) is not None:
            return other
        request.postpath.insert(0, request.prepath.pop())
        return self._orders if request.path.decode("latin-1") in ORDERS else self._pages

    def _is_ours(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdigit():
            name = host
        return name.lower().rstrip(".") in self._hosts


class _BoundedSite(server.Site):
    """The connections, oldest first: together they leave half of the files that the process may open to others.

    Keeps no log of requests: URLs hold invitations, and what people do is in the audit.
    """

    noisy = False
    protocol: Any = BoundedChannel

    def __init__(self, root: Resource, reactor: IReactorTime, limit: int) -> None:
        super().__init__(root, requestFactory=BoundedRequest, timeout=_IDLE_SECONDS, reactor=reactor)
        self.open: dict[BoundedChannel, None] = {}
        self._limit, self._time, self._told = limit, reactor, -math.inf

    def buildProtocol(self, addr: Any) -> Any:
        """Make a connection. Beyond the limit the oldest goes that has asked nothing; where all have, the new one."""
        if len(self.open) >= self._limit:
            now = self._time.seconds()
            if now - self._told > _TELL_SECONDS:
                self._told = now
                log.warn("more than {limit} connections: those that ask nothing are closed", limit=self._limit)
            idle = next((channel for channel in self.open if not channel.answers), None)
            if idle is None:
                return None
            del self.open[idle]
            transport: Any = idle.transport
            transport.abortConnection()
        return super().buildProtocol(addr)

    def log(self, request: Any) -> None: ...


def make_site(root: Resource, reactor: IReactorTime, limit: int | None = None) -> server.Site:
    """Return the factory of the port's connections, whose time ``reactor`` counts; at most ``limit`` at a time."""
    most = min(_MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    return _BoundedSite(root, reactor, most if limit is None else limit)
