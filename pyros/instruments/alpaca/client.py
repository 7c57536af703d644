"""HTTP for Alpaca: one request, with a limit to its time and to its answer. In the reactor's thread.

Alpaca has no connection of its own: a device is there as long as it answers. Connections are kept alive between
requests, so that polling costs little; a few seconds only, for some servers close theirs after five, and a command sent
into a closing connection may or may not have been taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import ParseError
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone, _HTTP11ClientFactory
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from pyros.clock import Clock, cancel_call
from pyros.errors import ConnectionLost, DeviceFailed, NoAnswer
from pyros.instruments.alpaca.replies import http_error_of
from pyros.reactor import Reactor

CONNECT_SECONDS = 5.0
"""How long making a connection may take."""
ANSWER_SECONDS = 5.0
"""How long a device may take to answer a question, or to take a command."""
LONG_SECONDS = 60.0
"""The same for what devices are known to do before they answer: connecting, parking, moving a wheel."""
ANSWER_BYTES = 1 << 20
"""The longest answer that is no image."""
_IDLE_SECONDS = 3
"""How long a connection is kept without a request."""


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Endpoints that ask no name server for an address."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802  twisted.web's name
        host = uri.host.decode("ascii").strip("[]")
        kind: Any = HostnameEndpoint
        if ":" in host:
            kind = TCP6ClientEndpoint
        elif host.replace(".", "").isdigit():
            kind = TCP4ClientEndpoint
        endpoint: IStreamClientEndpoint = kind(self._reactor, host, uri.port, timeout=CONNECT_SECONDS)
        if uri.scheme == b"https":
            from twisted.internet.ssl import optionsForClientTLS  # noqa: PLC0415  needs the extra tls

            endpoint = wrapClientTLS(optionsForClientTLS(host), endpoint)
        return endpoint


class _Body(Protocol):
    """Collects an answer's body, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self.stop())
        self._limit = limit
        self._pieces: list[bytes] = []
        self._length = 0

    def stop(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.stopProducing()  # closes the connection

    def dataReceived(self, data: bytes) -> None:
        self._length += len(data)
        if self._length > self._limit:
            self._pieces.clear()
            self.stop()
            self._end(Failure(DeviceFailed(f"an answer of more than {self._limit} bytes")))
        else:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # An answer of unknown length ends with the connection (PotentialDataLoss); what it holds tells if it is whole.
        self._end(b"".join(self._pieces) if reason.check(ResponseDone, PotentialDataLoss) else reason)

    def _end(self, result: bytes | Failure) -> None:
        if not self.done.called:
            self.done.callback(result)


class _Factory(_HTTP11ClientFactory):
    """Of protocols whose beginning and end are no news."""

    noisy = False


class _Pool(HTTPConnectionPool):
    _factory = _Factory
    cachedConnectionTimeout = _IDLE_SECONDS  # noqa: N815  twisted.web's name


class AlpacaClient:
    """Requests to one server. ``close`` when it is no longer wanted."""

    def __init__(self, server: str, reactor: Reactor, clock: Clock) -> None:
        self.server = server
        self._clock = clock
        self._pool = _Pool(reactor, persistent=True)
        self._agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor), self._pool)
        # Alpaca wants a number for each client and each request, for people who read a server's log.
        self._id = int(clock.time() * 1000) % 65535 + 1
        self._transaction = 0
        self._running: set[Deferred[Any]] = set()
        self._closed = False

    def close(self) -> Deferred[Any]:
        """End every request with ConnectionLost and close the connections; fires when they are."""
        self._closed = True
        for running in list(self._running):
            running.cancel()
        return DeferredList([self._pool.closeCachedConnections()])

    async def request(
        self,
        method: str,
        path: str,
        what: str,
        *,
        seconds: float = ANSWER_SECONDS,
        accept: str = "application/json",
        limit: int = ANSWER_BYTES,
        **parameters: Any,
    ) -> tuple[str, bytes]:
        """Send a request, GET or PUT, and return the content type and the body of its answer.

        ``what`` names device and request in the errors. Raises DeviceRefused and DeviceFailed for HTTP's errors,
        DeviceFailed for what is no HTTP and for more than ``limit`` bytes, NoAnswer after so many seconds,
        ConnectionLost.
        """
        self._transaction = self._transaction % 0x7FFFFFFF + 1
        numbers = {"ClientID": self._id, "ClientTransactionID": self._transaction}
        form = urlencode(_as_text(parameters | numbers)).encode()
        # No compression: an image's size is what bounds it.
        headers = Headers({"User-Agent": ["PYROS"], "Accept": [accept], "Accept-Encoding": ["identity"]})
        uri = f"{self.server}{path}".encode("ascii")
        body: _Form | None = None
        if method == "GET":
            uri += b"?" + form
        else:
            headers.addRawHeader("Content-Type", "application/x-www-form-urlencoded")
            body = _Form(form)
        running: Deferred[tuple[int, str, bytes]] = Deferred.fromCoroutine(
            self._run(self._agent.request(method.encode(), uri, headers, body), limit)
        )
        self._running.add(running)
        timer = self._clock.call_later(seconds, running.cancel)
        try:
            status, content, answer = await running
        except DeviceFailed as problem:
            raise DeviceFailed(f"{what}: {problem}") from None
        except Exception as problem:
            if self._closed:
                raise ConnectionLost(f"{what}: disconnected") from None
            if not timer.active():
                raise NoAnswer(f"{what}: no answer within {seconds:.0f} s") from None
            raise _in_our_words(problem, what) from None
        finally:
            self._running.discard(running)
            cancel_call(timer)
        if status != 200:
            raise http_error_of(status, answer, what)
        return content, answer

    @staticmethod
    async def _run(requested: Deferred[IResponse], limit: int) -> tuple[int, str, bytes]:
        response = await requested
        body = _Body(limit)
        response.deliverBody(body)
        answer = await body.done
        content = (response.headers.getRawHeaders("Content-Type") or [""])[0]
        return response.code, content.split(";")[0].strip().lower(), answer


@implementer(IBodyProducer)
class _Form:
    """A short body, written in one go."""

    def __init__(self, form: bytes) -> None:
        self._form = form
        self.length = len(form)

    def startProducing(self, consumer: Any) -> Deferred[None]:  # noqa: N802  twisted.web's name
        consumer.write(self._form)
        return succeed(None)

    def stopProducing(self) -> None: ...

    pauseProducing = resumeProducing = stopProducing


def _as_text(parameters: Mapping[str, str | float | bool]) -> dict[str, str]:
    """As ASCOM writes them: True and False, and numbers with a point whatever the country."""
    return {name: repr(value) if isinstance(value, float) else str(value) for name, value in parameters.items()}


def _in_our_words(problem: Exception, what: str) -> Exception:
    """Turn what twisted.web raises, also for what is not HTTP, into an error of PYROS."""
    reasons = [reason.value for reason in getattr(problem, "reasons", ())] or [problem]
    if any(isinstance(reason, CancelledError | error.ConnectingCancelledError) for reason in reasons):
        return CancelledError()  # by whoever waits for this
    if any(isinstance(reason, error.TimeoutError) for reason in reasons):
        return NoAnswer(f"{what}: no connection within {CONNECT_SECONDS:.0f} s")
    text = "; ".join(dict.fromkeys(str(reason).strip() or type(reason).__name__ for reason in reasons))
    if any(isinstance(reason, _BROKEN) for reason in reasons) and not any(
        isinstance(reason, ParseError) for reason in reasons
    ):
        return ConnectionLost(f"{what}: {text}")
    return DeviceFailed(f"{what}: an answer that is no HTTP: {text}")


_BROKEN = (error.ConnectError, error.ConnectionClosed, error.DNSLookupError, OSError)
