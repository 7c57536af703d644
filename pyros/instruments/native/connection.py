"""One persistent connection to a device that speaks the native grammar: requests and events.

Everything here runs in the reactor's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from contextlib import AbstractContextManager

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from pyros.clock import Clock, Timer
from pyros.errors import ConnectionLost, DeviceRefused, NoAnswer, WireError
from pyros.instruments.drivers.commands import CommandsUnderWay, DeviceCommand
from pyros.instruments.drivers.reconnecting import SLOWEST_BYTES, DeviceLink, Reconnecting
from pyros.instruments.interfaces import Kind
from pyros.instruments.native.grammar import Busy, Err, NativeAnswer, NativeDecoder, NativeEvent, Ok, Value, request
from pyros.reactor import Reactor

ANSWER_SECONDS = 5.0
"""How long a device may take to answer a request (not: to carry out a command)."""


class Watch(DeviceCommand):
    """A `DeviceCommand` whose end the device tells by an event: its events that were not taken yet."""

    def __init__(self, what: str, clock: Clock, names: Collection[str], tag: str | None) -> None:
        super().__init__(what, clock)
        self.names = frozenset(names)
        self._tag = tag
        self._events: deque[NativeEvent] = deque()

    def offer(self, event: NativeEvent) -> bool:
        """Keep the event if it is one of this command's, and tell whether it is."""
        if event.name not in self.names or (self._tag is not None and event.named.get("tag") != self._tag):
            return False
        self._events.append(event)
        self.wake()
        return True

    def forget(self) -> None:
        """Drop what the device said before it began this command: it was the end of an older one."""
        self._events.clear()

    async def next_event(self, seconds: float, device: str) -> NativeEvent:
        """Return the next event. Raises the error with which it was ended, or NoAnswer for none in so many seconds."""
        if not self._events and self.error is None and not await self.sleep(seconds):
            raise NoAnswer(f"{device}: {self.what}: no end within {seconds:.0f} s")
        if self._events:
            return self._events.popleft()
        assert self.error is not None
        raise self.error


class _NativeLink(DeviceLink):
    def __init__(self, owner: NativeConnection) -> None:
        super().__init__()
        self._owner: NativeConnection = owner
        self._decoder = NativeDecoder()
        self._pending: dict[int, tuple[Deferred[NativeAnswer], Timer]] = {}
        self._number = 0
        self._received = 0

    def ask(self, verb: str, name: str, *values: Value, **named: Value) -> Deferred[NativeAnswer]:
        """Send a request; fires with its answer, or fails with NoAnswer or ConnectionLost."""
        number = self._number % 999_999_999 + 1
        data = request(number, verb, name, *values, **named)
        self._number = number
        answered: Deferred[NativeAnswer] = Deferred()
        self._pending[number] = answered, self._answer_timer(number, f"{verb} {name}")
        self.transport.write(data)
        return answered

    def _answer_timer(self, number: int, what: str) -> Timer:
        return self._look_later(number, what, self._received, 0)

    def _look_later(self, number: int, what: str, received: int, looks: int) -> Timer:
        return self._owner.clock.call_later(ANSWER_SECONDS, self._silent, number, what, received, looks)

    def _silent(self, number: int, what: str, received: int, looks: int) -> None:
        answered, _ = self._pending[number]
        enough = received + SLOWEST_BYTES * ANSWER_SECONDS * looks
        if self._decoder.in_block and self._received > enough:  # a large image is on its way
            self._pending[number] = answered, self._look_later(number, what, received, looks + 1)
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
                if isinstance(message, NativeEvent):
                    self._owner.event(message)
                else:
                    self._answer(message)
        except WireError as error:
            self.abort(f"it sent {error}")

    def _answer(self, answer: NativeAnswer) -> None:
        if answer.number is None:
            text = f": {answer.code} {answer.text}" if isinstance(answer, Err) else ""
            raise WireError(f"an answer that belongs to no request{text}")
        answered, timer = self._pending.pop(answer.number, (None, None))
        if answered is not None and timer is not None:
            timer.cancel()
            answered.callback(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        pending, self._pending = self._pending, {}
        super().connectionLost(reason)
        for answered, timer in pending.values():
            timer.cancel()
            answered.errback(ConnectionLost(self._owner.describe(self._reason)))


class NativeConnection(Reconnecting[_NativeLink]):
    """Requests and events of one device.

    A connection counts only once the device has said that it is of the right kind (``GET id``), so that a telescope's
    agent never commands a dome.
    """

    def __init__(self, kind: Kind, address: str, reactor: Reactor, clock: Clock) -> None:
        super().__init__(kind, address, reactor, clock)
        self._watches = CommandsUnderWay[Watch]()

    # What drivers use.

    async def ask(self, verb: str, name: str, *values: Value, **named: Value) -> Ok | Busy:
        """Send a request, waiting for a connection if there is none, and return the answer.

        Raises DeviceRefused, NoAnswer or ConnectionLost.
        """
        link = self._link or await self._connection()
        answer = await link.ask(verb, name, *values, **named)
        if isinstance(answer, Err):
            raise DeviceRefused(answer.code, answer.text)
        return answer

    def watch(self, what: str, *names: str, tag: str | None = None) -> AbstractContextManager[Watch]:
        """Collect a command's events of these names (and of this tag) while the block runs."""
        return self._watches.during(Watch(what, self.clock, names, tag))

    def watches(self, *names: str) -> list[Watch]:
        """Those who wait now for events of one of these names: for the ends of what was asked until now."""
        return [watch for watch in self._watches if not watch.names.isdisjoint(names)]

    # What becomes of the connection.

    def make_link(self) -> _NativeLink:
        return _NativeLink(self)

    async def identify(self, link: _NativeLink) -> str:
        answer = await link.ask("GET", "id")
        if not (isinstance(answer, Ok) and len(answer.values) == 2):
            problem = "it does not tell its name and kind (GET id)"
        elif answer.values[1] != self.kind:
            problem = f"{answer.values[0]!r} is a {answer.values[1]}, not a {self.kind}"
        else:
            return answer.values[0]
        link.abort(problem)
        raise ConnectionLost(self.describe(problem))

    def broken(self, error: ConnectionLost) -> None:
        self._watches.end_all(error)

    def event(self, event: NativeEvent) -> None:
        """Give an event to the commands that wait for it, else to the agent."""
        taken = [watch.offer(event) for watch in list(self._watches)]
        if not any(taken) and self.on_event is not None:
            self.on_event(event.name)
