"""Whether a device is there, and what it is asked. In the reactor's thread.

Alpaca has no connection. A device counts as connected as long as it answers: it is asked every two seconds whether it
is connected to its server, and told to connect when it isn't. A server that was started again forgot that it had been
told, and so is noticed even if it was away for less than that; whoever waits for the end of a command then gets
ConnectionLost, as when it is away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from pyros.backoff import Backoff
from pyros.clock import Clock, Timer, cancel_call
from pyros.errors import ConnectionLost, DeviceRefused, InstrumentError, NoAnswer
from pyros.instruments.alpaca.address import AlpacaAddress
from pyros.instruments.alpaca.client import ANSWER_SECONDS, CONNECT_SECONDS, LONG_SECONDS, AlpacaClient
from pyros.instruments.alpaca.replies import in_words, typed, value_of
from pyros.instruments.drivers.reconnecting import RETRY_SECONDS
from pyros.instruments.interfaces import Kind, OnConnection, OnEvent
from pyros.reactor import Reactor

T = TypeVar("T")

CHECK_SECONDS = 2.0
"""How often the device is asked whether it is there."""
_CONNECTING_SECONDS = 30.0


class AlpacaLink:
    """Questions and commands to one device, and whether it is there."""

    def __init__(self, kind: Kind, text: str, address: AlpacaAddress, reactor: Reactor, clock: Clock) -> None:
        self.kind = kind
        self.text = text
        self.address = address
        self.clock = clock
        self.client = AlpacaClient(address.server, reactor, clock)
        self.name = ""
        self.on_connection: OnConnection | None = None
        self.on_event: OnEvent | None = None
        self.on_lost: Callable[[InstrumentError], None] = lambda _: None
        self.facts: dict[str, Any] = {}
        """What doesn't change while it is connected, such as what it can do."""
        self._up = False
        self._problem = "not connected yet"
        self._told: tuple[bool, str] | None = None
        self._backoff = Backoff(*RETRY_SECONDS)
        self._since = 0.0  # when it was found, monotonic seconds
        self._timer: Timer | None = None
        self._closed = False
        self._waiting: list[Deferred[None]] = []

    @property
    def connected(self) -> bool:
        return self._up

    def describe(self, problem: str) -> str:
        """Return the problem with the device's kind and address in front."""
        return f"{self.kind} at {self.text}: {problem}"

    # Questions and commands.

    async def get(self, member: str, type_: type[T], of: str = "", **parameters: Any) -> T:
        """Ask for a property's value. Raises what `AlpacaClient.request` does, and the device's error."""
        await self.ready()
        value = await self._ask("GET", member, ANSWER_SECONDS, of=of, **parameters)
        return typed(value, type_, self.describe(f"GET {member}"))

    async def fact(self, member: str, type_: type[T], default: Any, of: str = "") -> T:
        """Return a property that doesn't change while the device is connected; the default where it has none.

        ``of`` is the path of another device of the server, whose property it is.
        """
        await self.ready()
        key = f"{of}/{member}"
        if key not in self.facts:
            self.facts[key] = await self.get_or(member, type_, default, of=of)
        value: T = self.facts[key]
        return value

    async def get_or(self, member: str, type_: type[T], default: Any = None, **parameters: Any) -> Any:
        """Ask for a property's value; the default where the device has none.

        Raises DeviceRefused (STATE) where it has one that cannot be told now: that says nothing for later.
        """
        try:
            return await self.get(member, type_, **parameters)
        except DeviceRefused as refusal:
            if refusal.code == "STATE":
                raise
            return default

    async def get_if_told(self, member: str, type_: type[T]) -> T | None:
        """Ask for a property that nothing depends on; None where it cannot be had, for whatever reason."""
        try:
            return await self.get(member, type_)
        except InstrumentError:
            return None

    async def put(self, member: str, seconds: float = ANSWER_SECONDS, **parameters: Any) -> None:
        """Give a command; returns when the device has taken it."""
        await self.ready()
        await self._ask("PUT", member, seconds, **parameters)

    async def _ask(self, method: str, member: str, seconds: float, of: str = "", **parameters: Any) -> Any:
        what = self.describe(f"{method} {member}")
        path = f"{of or self.address.path}/{member}"
        _, body = await self.reach(self.client.request(method, path, what, seconds=seconds, **parameters))
        return value_of(body, what)

    async def reach(self, request: Any) -> tuple[str, bytes]:
        """Await the answer to a request; the device counts as gone if there is none."""
        try:
            answer: tuple[str, bytes] = await request
        except (ConnectionLost, NoAnswer) as problem:
            self._down(problem)
            raise
        return answer

    # Its life.

    def start(self) -> None:
        """Begin to look for it."""
        self._timer = None
        Deferred.fromCoroutine(self._check())

    def disconnect(self) -> Deferred[None]:
        """End it for good; fires when nothing is left behind."""
        self._closed = True
        self._down(ConnectionLost(self.describe("disconnected")))
        cancel_call(self._timer)
        self._refuse()
        return self.client.close().addCallback(lambda _: None)

    async def _check(self) -> None:
        """Ask whether it is there and connected, and connect it if not."""
        try:
            if not await self._is_connected() and not self._closed:
                if self._up:
                    self._down(ConnectionLost(self.describe("its server was started again, or disconnected it")))
                await self._connect()
            if not self._up and not self._closed:
                self.name = in_words(await self._direct("name", str)) or self.kind
                self._is_up()
        except InstrumentError as problem:
            self._down(problem)
        except CancelledError:
            return
        if not self._closed and self._timer is None:
            self._timer = self.clock.call_later(CHECK_SECONDS if self._up else self._backoff.next_pause(), self.start)

    async def _direct(self, member: str, type_: type[T]) -> T:
        value = await self._ask("GET", member, ANSWER_SECONDS)
        return typed(value, type_, self.describe(f"GET {member}"))

    async def _is_connected(self) -> bool:
        return await self._direct("connected", bool)

    async def _connect(self) -> None:
        """With Platform 7's Connect, which doesn't block, where there is one; else by setting Connected."""
        try:
            await self._ask("PUT", "connect", LONG_SECONDS)
        except DeviceRefused:
            await self._ask("PUT", "connected", LONG_SECONDS, Connected=True)
            return
        end = self.clock.monotonic() + _CONNECTING_SECONDS
        while await self._direct("connecting", bool):
            if self.clock.monotonic() > end:
                raise NoAnswer(self.describe(f"still connecting after {_CONNECTING_SECONDS:.0f} s"))
            pause: Deferred[None] = Deferred()
            self.clock.call_later(0.25, pause.callback, None)
            await pause
            if self._closed:
                raise ConnectionLost(self.describe("disconnected"))

    def _is_up(self) -> None:
        self._up = True
        self._since = self.clock.monotonic()
        self.facts.clear()
        self._tell(True, f"{self.name} at {self.text}")
        ready, self._waiting = self._waiting, []
        for waiting in ready:
            waiting.callback(None)

    def _down(self, problem: InstrumentError) -> None:
        was, self._up = self._up, False
        self._problem = str(problem)
        if was or self._closed:
            lost = problem if isinstance(problem, ConnectionLost) else ConnectionLost(str(problem))
            self.on_lost(lost)
        if was:
            self._backoff.ended(self.clock.monotonic() - self._since)
        if was and not self._closed:  # don't wait for the next check
            cancel_call(self._timer)
            self._timer = self.clock.call_later(self._backoff.next_pause(), self.start)
        self._tell(False, self._problem)

    def _tell(self, up: bool, text: str) -> None:
        if self.on_connection is not None and self._told != (up, text):
            self._told = up, text
            self.on_connection(up, text)

    async def ready(self) -> None:
        """Wait a little for the device if it is not there. Raises ConnectionLost."""
        if self._up:
            return
        if self._closed:
            raise ConnectionLost(self._problem)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        timer = self.clock.call_later(CONNECT_SECONDS, self._refuse, waiting)
        try:
            await waiting
        finally:
            cancel_call(timer)
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _refuse(self, *only: Deferred[None]) -> None:
        refused = only or tuple(self._waiting)
        self._waiting = [waiting for waiting in self._waiting if waiting not in refused]
        for waiting in refused:
            waiting.errback(ConnectionLost(self._problem))
