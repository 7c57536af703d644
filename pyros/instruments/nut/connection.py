"""One persistent connection to ``upsd``: lines, one question at a time. In the reactor's thread."""

from __future__ import annotations

import re
import shlex
from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from pyros.clock import Clock, Timer, cancel_call
from pyros.errors import ConfigError, ConnectionLost, DeviceFailed, InstrumentError, NoAnswer
from pyros.instruments.drivers.options import read_options, split_address
from pyros.instruments.drivers.reconnecting import DeviceLink, Reconnecting, host_and_port
from pyros.instruments.interfaces import Kind
from pyros.reactor import Reactor

ANSWER_SECONDS = 5.0
"""How long the server may take to answer."""
MAX_LINE = 1024
_MAX_WAITING = 50
_ADDRESS = re.compile(r"(tcp:[^/?]+)/([A-Za-z0-9_.-]{1,64})")


def split(kind: Kind, address: str) -> tuple[str, str]:
    """Split an address into ``tcp:HOST:PORT`` and the UPS's name. Raises ConfigError that says what would be right."""
    where, query = split_address(address)
    match = _ADDRESS.fullmatch(where)
    if match is None:
        raise ConfigError([f"address = {address}: must be tcp:HOST:PORT/UPS, such as tcp:127.0.0.1:3493/eaton"])
    host_and_port(match[1])
    read_options(kind, address, query)
    return match[1], match[2]


class NutLink(DeviceLink):
    """One connection: questions wait for the answers of those before them."""

    def __init__(self, owner: NutConnection) -> None:
        super().__init__()
        self._owner: NutConnection = owner
        self._waiting: deque[tuple[str, Deferred[str]]] = deque()
        self._asked: tuple[str, Deferred[str]] | None = None
        self._timer: Timer | None = None
        self._rest = b""

    def ask(self, question: str) -> Deferred[str]:
        """Send a line when it is its turn; fires with the answer, or fails with NoAnswer or ConnectionLost."""
        answered: Deferred[str] = Deferred(lambda _: None)
        if self._reason or len(self._waiting) >= _MAX_WAITING:
            problem = self._reason or f"{_MAX_WAITING} questions wait for it already"
            answered.errback(ConnectionLost(self._owner.describe(problem)))
            return answered
        self._waiting.append((question, answered))
        self._next()
        return answered

    def _next(self) -> None:
        if self._asked is None and self._waiting:
            self._asked = self._waiting.popleft()
            self.transport.write(f"{self._asked[0]}\n".encode("ascii"))
            self._timer = self._owner.clock.call_later(ANSWER_SECONDS, self._silent)

    def _silent(self) -> None:
        assert self._asked is not None
        question, _ = self._asked
        problem = f"no answer to {question} within {ANSWER_SECONDS:g} s"
        self._end(NoAnswer(self._owner.describe(problem)))
        self.abort(problem)

    def _end(self, result: str | InstrumentError) -> None:
        cancel_call(self._timer)
        asked, self._asked = self._asked, None
        if asked is None or asked[1].called:
            return
        if isinstance(result, str):
            asked[1].callback(result)
        else:
            asked[1].errback(result)

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(len(line) for line in [*lines, self._rest]) > MAX_LINE:
            self.abort(f"a line of more than {MAX_LINE} bytes")
            return
        for line in lines:
            self._end(line.decode("utf-8", "replace").strip())
            self._next()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        error = ConnectionLost(self._owner.describe(self._reason))
        self._end(error)
        while self._waiting:
            _, answered = self._waiting.popleft()
            if not answered.called:
                answered.errback(error)


class NutConnection(Reconnecting[NutLink]):
    """A connection counts once the server has told that it has the UPS."""

    def __init__(self, kind: Kind, address: str, reactor: Reactor, clock: Clock) -> None:
        where, self.ups = split(kind, address)
        super().__init__(kind, where, reactor, clock)

    async def variable(self, name: str) -> str | None:
        """Return a variable of the UPS; None where it has none of that name.

        Raises NoAnswer, ConnectionLost, or DeviceFailed for what the server says is wrong: stale data, no driver.
        """
        answer = await (await self.link()).ask(f"GET VAR {self.ups} {name}")
        if answer == "ERR VAR-NOT-SUPPORTED":
            return None
        return self._value(answer, ["VAR", self.ups, name])

    def make_link(self) -> NutLink:
        return NutLink(self)

    async def identify(self, link: NutLink) -> str:
        try:
            described = self._value(await link.ask(f"GET UPSDESC {self.ups}"), ["UPSDESC", self.ups])
        except DeviceFailed as error:
            link.abort(str(error))
            raise
        return described if described not in ("", "Unavailable", "Description unavailable") else self.ups

    def broken(self, error: ConnectionLost) -> None:
        """Do nothing: the link has ended what waited."""

    def _value(self, answer: str, begin: list[str]) -> str:
        try:
            *words, value = shlex.split(answer)
        except ValueError:
            words, value = [], ""
        if words != begin:
            raise DeviceFailed(self.describe(f"the server answers {answer[:100]!r} for the UPS {self.ups}"))
        return value
