"""Live updates: server-sent events (HTML standard, 9.2), a Twisted resource that no thread waits for.

It is beside Django, so it asks itself who listens: when a stream begins, and every minute again, so that who is signed
out, or whose token is revoked, hears nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import FORBIDDEN, SERVICE_UNAVAILABLE, UNAUTHORIZED, Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from pyros.clock import Clock, Timer, cancel_call
from pyros.console.feed import Feed
from pyros.errors import PyrosError
from pyros.reactor import Reactor

log = Logger("console")
CHECK_SECONDS = 60.0
MAX_STREAMS = 1000
_RETRY = b"retry: 2000\n\n"
"""A browser connects again after so many milliseconds."""

May = Callable[[dict[str, str]], bool]
"""Whether who sends these headers (lower case) may see the observatory. Asked in a thread of Django's."""


class Live(Resource):
    """The resource ``/live``."""

    isLeaf = True

    def __init__(self, reactor: Reactor, pool: Any, clock: Clock, feed: Feed, may: May) -> None:
        super().__init__()
        self._reactor, self._pool, self._clock, self._feed, self._may = reactor, pool, clock, feed, may
        self.streams: set[_BrowserStream] = set()

    def render_GET(self, request: Request) -> Any:
        """Begin a stream for who may see the observatory."""
        if _is_foreign(request):
            return _refuse(request, FORBIDDEN, "another site's page may not listen")
        if len(self.streams) >= MAX_STREAMS:
            return _refuse(request, SERVICE_UNAVAILABLE, "too many listen")
        stream = _BrowserStream(request, self)
        self.streams.add(stream)
        request.notifyFinish().addBoth(lambda _: stream.end())
        self.ask(stream).addCallbacks(stream.begin, stream.failed)
        return NOT_DONE_YET

    def ask(self, stream: _BrowserStream) -> Deferred[bool]:
        """Ask whether who listens may."""
        return deferToThreadPool(self._reactor, self._pool, self._may, stream.headers)

    def stop(self) -> None:
        """End every stream."""
        for stream in tuple(self.streams):
            stream.finish()

    @property
    def feed(self) -> Feed:
        """Where the news comes from."""
        return self._feed

    @property
    def clock(self) -> Clock:
        """The console's clock."""
        return self._clock


@implementer(IPushProducer)
class _BrowserStream:
    """One browser. What it doesn't read in time is skipped, but for the newest frame."""

    def __init__(self, request: Request, live: Live) -> None:
        self.request, self._live = request, live
        self.headers = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self._ended = self._paused = False
        self._skipped: bytes | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._timer: Timer | None = None

    def begin(self, may: bool) -> None:
        """Begin, with the frame of now."""
        if self._ended:
            return
        if not may:
            self.request.setResponseCode(UNAUTHORIZED)
            self.finish()
            return
        self.request.setHeader(b"content-type", b"text/event-stream; charset=utf-8")
        self.request.setHeader(b"cache-control", b"no-store")
        self.request.setHeader(b"x-accel-buffering", b"no")
        self.request.write(_RETRY)
        self.request.registerProducer(self, True)
        self._unsubscribe = self._live.feed.subscribe(self.take)
        with suppress(PyrosError):  # there is none yet; the pulse tells
            self.take("frame", self._live.feed.news())
        self.take("pulse", self._live.feed.pulse())
        self._timer = self._live.clock.call_later(CHECK_SECONDS, self._check)

    def take(self, event: str, data: bytes) -> None:
        """Pass an event on, or keep it until the browser reads again."""
        text = b"event: %s\ndata: %s\n\n" % (event.encode(), data)
        if not self._paused:
            self.request.write(text)
        elif event == "frame":
            self._skipped = text

    def _check(self) -> None:
        self._live.ask(self).addCallbacks(self._checked, self.failed)

    def _checked(self, may: bool) -> None:
        if self._ended:
            return
        if may:
            self._timer = self._live.clock.call_later(CHECK_SECONDS, self._check)
        else:
            self.finish()

    def failed(self, failure: Failure) -> None:
        """End it: nobody can tell who listens."""
        log.failure("whether a browser may still listen could not be checked", failure)
        self.finish()

    def finish(self) -> None:
        """End it from here."""
        if not self._ended:
            self.end()
            self.request.unregisterProducer() if self.request.producer is not None else None
            self.request.finish()

    def end(self) -> None:
        """Forget it: it has ended."""
        self._ended = True
        self._unsubscribe()
        cancel_call(self._timer)
        self._live.streams.discard(self)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._skipped is not None and not self._ended:
            text, self._skipped = self._skipped, None
            self.request.write(text)

    def stopProducing(self) -> None:
        self._paused = True


def _is_foreign(request: Request) -> bool:
    """Whether a browser says that another site's page asks (Fetch Metadata, W3C)."""
    site = request.getHeader("sec-fetch-site")
    return site is not None and site not in ("same-origin", "none")


def _refuse(request: Request, code: int, text: str) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    return f"{text}\n".encode()
