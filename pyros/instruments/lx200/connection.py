"""One persistent connection to a mount that speaks LX200: one command at a time. In the reactor's thread."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from pyros.clock import Clock, Timer, cancel_call
from pyros.errors import ConnectionLost, DeviceFailed, InstrumentError, NoAnswer, WireError
from pyros.instruments.drivers.reconnecting import DeviceLink, Reconnecting
from pyros.instruments.interfaces import Kind
from pyros.instruments.lx200.codec import AnswerKind, AnswerReader, angle
from pyros.reactor import Reactor

ANSWER_SECONDS = 5.0
"""How long a mount may take to answer (not: to carry out a command)."""
PROBE_SECONDS = 1.0
"""How long it may take to answer what not all mounts know."""
REFUSAL_SECONDS = 0.5
"""How long the text of a refusal may take after its digit."""
_MAX_WAITING_COMMANDS = 200
_STATUS = re.compile(r"[APLG][TN].?")


@dataclass
class _Exchange:
    text: str
    answer: AnswerKind
    seconds: float
    needed: bool
    """Whether silence ends the connection: the next answer could be this one's."""
    answered: Deferred[str]

    def end(self, result: str | InstrumentError) -> None:
        """Tell whoever waits, if somebody still does."""
        if self.answered.called:
            return
        if isinstance(result, str):
            self.answered.callback(result)
        else:
            self.answered.errback(result)


class Lx200Link(DeviceLink):
    def __init__(self, owner: Lx200Connection) -> None:
        super().__init__()
        self._owner: Lx200Connection = owner
        self._waiting: deque[_Exchange] = deque()
        self._current: tuple[_Exchange, AnswerReader] | None = None
        self._timer: Timer | None = None

    def ask(self, text: str, answer: AnswerKind, seconds: float = ANSWER_SECONDS, needed: bool = True) -> Deferred[str]:
        """Send a command when it is its turn; fires with the answer, or fails with NoAnswer or ConnectionLost."""
        command = _Exchange(text, answer, seconds, needed, Deferred(lambda _: self._forget(command)))
        if self._reason or len(self._waiting) >= _MAX_WAITING_COMMANDS:
            problem = self._reason or f"{_MAX_WAITING_COMMANDS} commands are waiting for it already"
            command.end(ConnectionLost(self._owner.describe(problem)))
            return command.answered
        self._waiting.append(command)
        self._next()
        return command.answered

    def _forget(self, command: _Exchange) -> None:
        """Nobody wants its answer any more: a command that waits is not sent."""
        if command in self._waiting:
            self._waiting.remove(command)

    def _next(self) -> None:
        while self._current is None and self._waiting:
            command = self._waiting.popleft()
            self.transport.write(f":{command.text}#".encode("ascii"))
            if command.answer is AnswerKind.NOTHING:
                command.end("")
                continue
            self._current = command, AnswerReader(command.answer)
            self._timer = self._owner.clock.call_later(command.seconds, self._silent)

    def _silent(self) -> None:
        assert self._current is not None
        command, reader = self._current
        if reader.refused:  # the text of the refusal may stay out
            self._done(reader.partial)
            return
        problem = f"no answer to :{command.text}# within {command.seconds:g} s"
        if command.needed:
            self._current = None
            self.abort(problem)
        else:
            self._current = None
            self._owner.clock.call_later(0, self._next)
        command.end(NoAnswer(self._owner.describe(problem)))

    def dataReceived(self, data: bytes) -> None:
        while data and self._current is not None and not self._reason:
            command, reader = self._current
            refused = reader.refused
            try:
                result = reader.feed(data)
            except WireError as error:
                self.abort(f"it answered :{command.text}# with {error}")
                return
            if result is None:
                if reader.refused and not refused:
                    self._stop_timer()
                    self._timer = self._owner.clock.call_later(REFUSAL_SECONDS, self._silent)
                return
            answer, data = result
            self._done(answer)
        # What nobody waits for is the late answer to something that was given up.

    def _done(self, answer: str) -> None:
        assert self._current is not None
        command, _ = self._current
        self._stop_timer()
        self._current = None
        command.end(answer)
        self._next()

    def _stop_timer(self) -> None:
        cancel_call(self._timer)
        self._timer = None

    def abort(self, reason: str) -> None:
        self._stop_timer()
        super().abort(reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_timer()
        pending = ([self._current[0]] if self._current else []) + list(self._waiting)
        self._current = None
        self._waiting.clear()
        super().connectionLost(reason)
        for command in pending:
            command.end(ConnectionLost(self._owner.describe(self._reason)))


class Lx200Connection(Reconnecting[Lx200Link]):
    """A connection counts once the mount has told where it points; what else it knows is found out with it."""

    def __init__(self, kind: Kind, address: str, reactor: Reactor, clock: Clock) -> None:
        super().__init__(kind, address, reactor, clock)
        self.precise = True
        self.tells_distance = True
        """Whether it answers ``:D#``."""
        self.tells_status = True
        """Whether it answers ``:GW#``."""
        self.parks = True
        """Whether it may know ``:hP#``, which nothing but its behaviour tells."""
        self._known: dict[str, bool] = {}  # what it has answered, so that nobody waits for it after each reconnection
        self.on_broken: Any = None

    async def ask(self, text: str, answer: AnswerKind) -> str:
        """Send a command, waiting for a connection if there is none. Raises NoAnswer or ConnectionLost."""
        return await (await self.link()).ask(text, answer)

    async def angle(self, text: str) -> tuple[float, float]:
        """Ask for an angle; return it and its step. Raises what `ask` does, and DeviceFailed."""
        answer = await self.ask(text, AnswerKind.TEXT)
        value = angle(answer)
        if value is None:
            raise DeviceFailed(f"{self.name}: answered {answer[:40]!r} to :{text}#, not an angle")
        if text == "GR":  # somebody at the hand box, or another client, may have switched it
            self.precise = value[1] <= 1 / 3600
        return value

    async def status(self) -> str:
        """Mount, tracking, alignment as ``:GW#`` tells it; '' where it doesn't."""
        if not self.tells_status:
            return ""
        answer = (await self.ask("GW", AnswerKind.TEXT)).strip()
        return answer if _STATUS.fullmatch(answer) else ""

    def make_link(self) -> Lx200Link:
        return Lx200Link(self)

    async def identify(self, link: Lx200Link) -> str:
        answer = await link.ask("GR", AnswerKind.TEXT)
        if angle(answer) is None:
            problem = f"it answered {answer[:40]!r} to :GR#: that is no mount that speaks LX200"
            link.abort(problem)
            raise ConnectionLost(self.describe(problem))
        self.parks = True
        self.precise = _seconds_are_told(answer)
        if not self.precise:  # as many are when they are switched on
            await link.ask("U", AnswerKind.NOTHING)
            self.precise = _seconds_are_told(await link.ask("GR", AnswerKind.TEXT))
        name = await self._probe(link, "GVP") or "LX200 mount"
        self.tells_distance = await self._probe(link, "D") is not None
        status = await self._probe(link, "GW")
        self.tells_status = status is not None and _STATUS.fullmatch(status.strip()) is not None
        return name

    async def _probe(self, link: Lx200Link, text: str) -> str | None:
        """Ask what not all mounts know; None for a mount that doesn't."""
        if not self._known.get(text, True):
            return None
        try:
            answer = await link.ask(text, AnswerKind.TEXT, PROBE_SECONDS, needed=False)
        except NoAnswer:
            self._known[text] = False
            return None
        return answer

    def broken(self, error: ConnectionLost) -> None:
        if self.on_broken is not None:
            self.on_broken(error)


def _seconds_are_told(answer: str) -> bool:
    value = angle(answer)
    return value is not None and value[1] <= 1 / 3600
