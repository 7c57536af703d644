"""One persistent connection to a device that speaks the native grammar: requests, events, reconnecting.

Everything here runs in the reactor's thread.

Twisted's ClientService is not used: it keeps the reason of a failed attempt to itself, has no transition for a
connection that breaks in its ``prepareConnection`` (as of 26.10), where the device would be identified, and ends with a
``loseConnection`` that waits for ever for a peer that does not read.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from pyros.clock import Clock, Timer
from pyros.errors import ConfigError, ConnectionLost, DeviceRefused, InstrumentError, NoAnswer, WireError
from pyros.instruments.interfaces import Kind, OnConnection, OnEvent
from pyros.instruments.native.grammar import Answer, Busy, Decoder, Err, Event, Ok, Value, request

ANSWER_SECONDS = 5.0
"""How long a device may take to answer a request (not: to carry out a command)."""
CONNECT_SECONDS = 5.0
"""How long one attempt to connect, and a command without a connection, may wait."""
RETRY_SECONDS = (0.1, 2.0)
"""The first and the longest pause between two attempts; each is twice the one before."""


def endpoint_of(address: str, reactor: Any) -> IStreamClientEndpoint:
    """The endpoint for ``tcp:HOST:PORT`` (an IPv6 address in brackets). Raises ConfigError."""
    match = re.fullmatch(r"tcp:(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]]+)):([0-9]{1,5})", address)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ConfigError([f"address = {address}: must be tcp:HOST:PORT, such as tcp:127.0.0.1:6010"])
    if match[1]:
        return TCP6ClientEndpoint(reactor, match[1], int(match[3]), CONNECT_SECONDS)
    if re.fullmatch(r"[0-9.]+", match[2]):
        return TCP4ClientEndpoint(reactor, match[2], int(match[3]), CONNECT_SECONDS)
    return HostnameEndpoint(reactor, match[2], int(match[3]), CONNECT_SECONDS)


class Watch:
    """The events of one command that were not taken yet."""

    def __init__(self, names: Collection[str], tag: str | None) -> None:
        self.names = frozenset(names)
        self._tag = tag
        self._events: deque[Event] = deque()
        self._error: InstrumentError | None = None
        self._waiting: Deferred[None] | None = None

    def offer(self, event: Event) -> bool:
        """Keep the event if it is one of this command's, and tell whether it is."""
        if event.name not in self.names or (self._tag is not None and event.named.get("tag") != self._tag):
            return False
        self._events.append(event)
        self._wake()
        return True

    def fail(self, error: InstrumentError) -> None:
        """No more events will come."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def next(self, clock: Clock, seconds: float, what: str) -> Event:
        """The next event. Raises what `fail` was given, or NoAnswer when none comes within so many seconds."""
        if not self._events and self._error is None:
            waiting: Deferred[None] = Deferred()
            self._waiting = waiting
            timer = clock.call_later(seconds, self.fail, NoAnswer(f"{what}: no end within {seconds:.0f} s"))
            try:
                await waiting
            finally:
                self._waiting = None
                if timer.active():
                    timer.cancel()
        if self._events:
            return self._events.popleft()
        assert self._error is not None
        raise self._error


class _Link(Protocol):
    """One TCP connection, from its beginning to its end."""

    transport: ITCPTransport

    def __init__(self, owner: Connection) -> None:
        self._owner = owner
        self._decoder = Decoder()
        self._pending: dict[int, tuple[Deferred[Answer], Timer]] = {}
        self._number = 0
        self._received = 0
        self._reason = ""

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self._owner._made(self)

    def ask(self, verb: str, name: str, *values: Value, **named: Value) -> Deferred[Answer]:
        """Send a request; fires with its answer, or fails with NoAnswer or ConnectionLost."""
        number = self._number % 999_999_999 + 1
        data = request(number, verb, name, *values, **named)
        self._number = number
        answered: Deferred[Answer] = Deferred()
        self._pending[number] = answered, self._answer_timer(number, f"{verb} {name}")
        self.transport.write(data)
        return answered

    def _answer_timer(self, number: int, what: str) -> Timer:
        return self._owner.clock.call_later(ANSWER_SECONDS, self._silent, number, what, self._received)

    def _silent(self, number: int, what: str, received: int) -> None:
        answered, _ = self._pending[number]
        if self._decoder.in_block and self._received > received:  # a large image is on its way
            self._pending[number] = answered, self._answer_timer(number, what)
            return
        del self._pending[number]
        problem = f"no answer to {what} within {ANSWER_SECONDS:.0f} s"
        self.abort(problem)
        answered.errback(NoAnswer(self._owner.describe(problem)))

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        self._decoder.feed(data)
        try:
            while not self._reason and (message := self._decoder.next()) is not None:
                if isinstance(message, Event):
                    self._owner._event(message)
                else:
                    self._answer(message)
        except WireError as error:
            self.abort(f"it sent {error}")

    def _answer(self, answer: Answer) -> None:
        if answer.number is None:
            text = f": {answer.code} {answer.text}" if isinstance(answer, Err) else ""
            raise WireError(f"an answer that belongs to no request{text}")
        answered, timer = self._pending.pop(answer.number, (None, None))
        if answered is not None and timer is not None:
            timer.cancel()
            answered.callback(answer)

    def abort(self, reason: str) -> None:
        """Drop the connection at once."""
        self._reason = self._reason or reason
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._reason = self._reason or reason.getErrorMessage()
        pending, self._pending = self._pending, {}
        self._owner._lost(self, self._reason)
        for answered, timer in pending.values():
            timer.cancel()
            answered.errback(ConnectionLost(self._owner.describe(self._reason)))


class _LinkFactory(Factory):
    noisy = False

    def __init__(self, owner: Connection) -> None:
        self._owner = owner

    def buildProtocol(self, addr: IAddress | None) -> _Link:
        return _Link(self._owner)


class Connection:
    """Keeps a connection to the device of this kind at this address, for as long as it is not disconnected.

    A connection counts only once the device has said that it is of the right kind (``GET id``), so that a telescope's
    agent never commands a dome.
    """

    def __init__(self, kind: Kind, address: str, reactor: Any, clock: Clock) -> None:
        self.kind = kind
        self.address = address
        self.clock = clock
        self.name = ""
        self.on_connection: OnConnection | None = None
        self.on_event: OnEvent | None = None
        self._endpoint = endpoint_of(address, reactor)
        self._link: _Link | None = None  # identified, ready for requests
        self._opening: _Link | None = None  # open, being identified
        self._attempt: Deferred[Any] | None = None
        self._retry: Timer | None = None
        self._failures = 0
        self._problem = "not connected yet"
        self._told: tuple[bool, str] | None = None
        self._closed = False
        self._closing: list[Deferred[None]] = []
        self._waiting: list[Deferred[_Link]] = []
        self._watches: list[Watch] = []

    # What drivers use.

    @property
    def connected(self) -> bool:
        return self._link is not None

    def describe(self, problem: str) -> str:
        """The problem with the device's kind and address in front."""
        return f"{self.kind} at {self.address}: {problem}"

    async def ask(self, verb: str, name: str, *values: Value, **named: Value) -> Ok | Busy:
        """Send a request, waiting for a connection if there is none, and return the answer.

        Raises DeviceRefused, NoAnswer or ConnectionLost.
        """
        link = self._link or await self._connection()
        answer = await link.ask(verb, name, *values, **named)
        if isinstance(answer, Err):
            raise DeviceRefused(answer.code, answer.text)
        return answer

    @contextmanager
    def watch(self, *names: str, tag: str | None = None) -> Iterator[Watch]:
        """Collect the events of these names (and of this tag) while the block runs."""
        watch = Watch(names, tag)
        self._watches.append(watch)
        try:
            yield watch
        finally:
            self._watches.remove(watch)

    def end_watches(self, name: str, error: Callable[[], InstrumentError]) -> None:
        """Fail everyone who waits for events of this name."""
        for watch in [watch for watch in self._watches if name in watch.names]:
            watch.fail(error())

    # Its life.

    def start(self) -> None:
        """Begin to connect."""
        self._retry = None
        self._attempt = self._endpoint.connect(_LinkFactory(self))
        self._attempt.addCallbacks(self._connect_succeeded, self._connect_failed)

    def disconnect(self) -> Deferred[None]:
        """Drop the connection for good; fires when nothing is left behind."""
        self._closed = True
        self._problem = "disconnected"
        self._refuse_waiting()
        if self._retry is not None:
            self._retry.cancel()
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

    def _connection(self) -> Deferred[_Link]:
        waiting: Deferred[_Link] = Deferred()
        self._waiting.append(waiting)
        if self._closed:
            self._refuse_waiting()
            return waiting
        timer = self.clock.call_later(CONNECT_SECONDS, self._waited, waiting)

        def done(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            if waiting in self._waiting:  # cancelled
                self._waiting.remove(waiting)
            return result

        return waiting.addBoth(done)

    def _waited(self, waiting: Deferred[_Link]) -> None:
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

    def _made(self, link: _Link) -> None:
        self._opening = link
        Deferred.fromCoroutine(self._identify(link))

    async def _identify(self, link: _Link) -> None:
        try:
            answer = await link.ask("GET", "id")
        except InstrumentError:
            return  # the link is ending, and _lost does what is to be done
        if not (isinstance(answer, Ok) and len(answer.values) == 2):
            link.abort("it does not tell its name and kind (GET id)")
            return
        name, kind = answer.values
        if kind != self.kind:
            link.abort(f"{name!r} is a {kind}, not a {self.kind}")
            return
        self._opening, self._link, self.name, self._failures = None, link, name, 0
        self._tell(True, f"{name} at {self.address}")
        ready, self._waiting = self._waiting, []
        for waiting in ready:
            waiting.callback(link)

    def _lost(self, link: _Link, reason: str) -> None:
        if link not in (self._link, self._opening):
            return
        self._link = self._opening = None
        self._problem = reason
        for watch in list(self._watches):
            watch.fail(ConnectionLost(self.describe(reason)))
        self._down()

    def _down(self) -> None:
        self._tell(False, self.describe(self._problem))
        if self._closed:
            closing, self._closing = self._closing, []
            for done in closing:
                done.callback(None)
            return
        first, longest = RETRY_SECONDS
        self._retry = self.clock.call_later(min(longest, first * 2 ** min(self._failures, 10)), self.start)
        self._failures += 1

    def _tell(self, up: bool, text: str) -> None:
        if self.on_connection is not None and self._told != (up, text):
            self._told = up, text
            self.on_connection(up, text)

    def _event(self, event: Event) -> None:
        taken = [watch.offer(event) for watch in list(self._watches)]
        if not any(taken) and self.on_event is not None:
            self.on_event(event.name)
