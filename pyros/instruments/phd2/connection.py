"""One persistent connection to PHD2: JSON-RPC 2.0 requests by number, and events. In the reactor's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from pyros.clock import Clock, Timer, cancel_call
from pyros.errors import ConnectionLost, DeviceFailed, DeviceRefused, InstrumentError, NoAnswer
from pyros.instruments.drivers.reconnecting import DeviceLink, Reconnecting
from pyros.instruments.interfaces import Kind
from pyros.reactor import Reactor

ANSWER_SECONDS = 10.0
"""How long PHD2 may take to answer: its requests wait for its window's other work."""
MAX_LINE = 1 << 16
"""Bytes of a line from PHD2; a step of guiding has about 400."""
_MAX_PENDING = 50
_PROTOCOL = 1
"""The version of PHD2's messages that this driver knows."""

Phd2Event: TypeAlias = dict[str, Any]
_CODES = {1: "STATE", -32601: "UNSUPPORTED", -32602: "VALUE"}
"""PHD2's codes of errors that are refusals, and the words that `pyros.instruments.interfaces` has for them."""


class Phd2Link(DeviceLink):
    """One connection; answers are known by their numbers, and may overtake each other."""

    def __init__(self, owner: Phd2Connection) -> None:
        super().__init__()
        self._owner: Phd2Connection = owner
        self._pending: dict[int, tuple[Deferred[Any], Timer]] = {}
        self._number = 0
        self._rest = b""
        self.greeted: Deferred[str] = Deferred()
        """Fires with PHD2's version, which it tells first; fails with NoAnswer or ConnectionLost."""
        self._greeting: Timer | None = None

    def connectionMade(self) -> None:
        self._greeting = self._owner.clock.call_later(ANSWER_SECONDS, self._not_greeted)
        super().connectionMade()

    def call(self, method: str, params: object = None, seconds: float = ANSWER_SECONDS) -> Deferred[Any]:
        """Send a request; fires with its result, or fails as the methods of instruments do."""
        answered: Deferred[Any] = Deferred(lambda _: None)
        if self._reason or len(self._pending) >= _MAX_PENDING:
            problem = self._reason or f"{_MAX_PENDING} requests wait for its answers already"
            answered.errback(ConnectionLost(self._owner.describe(problem)))
            return answered
        self._number += 1
        request = {"method": method, "id": self._number} | ({} if params is None else {"params": params})
        timer = self._owner.clock.call_later(seconds, self._silent, self._number, method, seconds)
        self._pending[self._number] = answered, timer
        self.transport.write(msgspec.json.encode(request) + b"\r\n")
        return answered

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(len(line) for line in [*lines, self._rest]) > MAX_LINE:
            self.abort(f"a line of more than {MAX_LINE} bytes")
            return
        for line in lines:
            if self._reason:
                return
            if line.strip():
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            said = None
        if isinstance(said, dict) and isinstance(said.get("Event"), str):
            if said["Event"] == "Version":
                self._greet(said)
            self._owner.event(said)
        elif isinstance(said, dict) and "jsonrpc" in said:
            self._answer(said)
        else:
            self.abort(f"it sent {line[:60]!r}: neither an event nor an answer of PHD2's")

    def _greet(self, version: Phd2Event) -> None:
        if version.get("MsgVersion") != _PROTOCOL:
            self.abort(f"its messages have the version {version.get('MsgVersion')!r}; only {_PROTOCOL} is known here")
        elif not self.greeted.called:
            self._greeted(f"PHD2 {version.get('PHDVersion', '')}{version.get('PHDSubver', '')}"[:100])

    def _not_greeted(self) -> None:
        problem = f"it has not told PHD2's version within {ANSWER_SECONDS:g} s"
        self._greeted(NoAnswer(self._owner.describe(problem)))
        self.abort(problem)

    def _greeted(self, result: str | InstrumentError) -> None:
        cancel_call(self._greeting)
        _end(self.greeted, result)

    def _answer(self, said: dict[str, Any]) -> None:
        number = said.get("id")
        answered, timer = self._pending.pop(number, (None, None)) if isinstance(number, int) else (None, None)
        if answered is None or timer is None:
            return  # to something that nobody waits for any more
        timer.cancel()
        error = said.get("error")
        if error is None:
            _end(answered, said.get("result"))
            return
        error = error if isinstance(error, dict) else {}
        text, code = str(error.get("message", "no reason given"))[:200], error.get("code")
        if code in _CODES:
            _end(answered, DeviceRefused(_CODES[code], f"{self._owner.name}: {text}"))
        else:
            _end(answered, DeviceFailed(f"{self._owner.name}: {text} ({code})"))

    def _silent(self, number: int, method: str, seconds: float) -> None:
        answered, _ = self._pending.pop(number)
        problem = f"no answer to {method} within {seconds:g} s"
        self.abort(problem)
        _end(answered, NoAnswer(self._owner.describe(problem)))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        pending, self._pending = self._pending, {}
        super().connectionLost(reason)
        error = ConnectionLost(self._owner.describe(self._reason))
        self._greeted(error)
        for answered, timer in pending.values():
            timer.cancel()
            _end(answered, error)


class Phd2Connection(Reconnecting[Phd2Link]):
    """A connection counts once PHD2 has told its version.

    ``heard`` is called with each event, ``on_broken`` with the error when the connection is gone.
    """

    def __init__(self, kind: Kind, address: str, reactor: Reactor, clock: Clock) -> None:
        super().__init__(kind, address, reactor, clock)
        self.heard: Callable[[Phd2Event], None] = lambda _: None
        self.on_broken: Callable[[ConnectionLost], None] = lambda _: None

    async def call(self, method: str, params: object = None, seconds: float = ANSWER_SECONDS) -> Any:
        """Send a request, waiting for a connection if there is none, and return the result.

        Raises DeviceRefused, DeviceFailed, NoAnswer or ConnectionLost.
        """
        return await (await self.link()).call(method, params, seconds)

    def event(self, event: Phd2Event) -> None:
        self.heard(event)

    def make_link(self) -> Phd2Link:
        return Phd2Link(self)

    async def identify(self, link: Phd2Link) -> str:
        return await link.greeted

    def broken(self, error: ConnectionLost) -> None:
        self.on_broken(error)


def _end(answered: Deferred[Any], result: object) -> None:
    """Fire a Deferred that nobody has cancelled."""
    if answered.called:
        return
    if isinstance(result, InstrumentError):
        answered.errback(result)
    else:
        answered.callback(result)
