"""An agent whose device is only read, at a steady pace: a weather station, a safety monitor."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents.instrument import CommandEnded, InstrumentAgent, InstrumentState, in_words
from pyros.agents.options import AgentOption, OptionTable
from pyros.clock import cancel_call
from pyros.errors import InstrumentError
from pyros.messages import Message
from pyros.quantities import positive
from pyros.reactor import Reactor

HAS_READ = messages.register("Device read", CommandEnded, guarded=True, fleeting=True)
NOT_READ = messages.register("Device not read", CommandEnded, guarded=True, fleeting=True)
_INTERVAL = AgentOption("interval", positive, 10.0)  # seconds


class PollingAgent(InstrumentAgent):
    """Reads its device. ``option_interval`` in its section: seconds between readings, which are its telemetry too.

    A reading changes nothing that a restart needs: it is passed on without a turn, unless it says what must arrive.
    """

    OPTIONS: ClassVar[OptionTable] = (*InstrumentAgent.OPTIONS, _INTERVAL)
    state: InstrumentState

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message |= {HAS_READ: self._has_read, NOT_READ: self._not_read}
        self._number = 0
        """That of the last reading that has ended: an older one means nothing any more."""
        self._said: bool | None = None
        """The `news` of the last word that a turn has passed on."""

    def work(self) -> None:
        self.state.command = None
        super().work()

    def look(self) -> None:
        """Refuse nothing and begin nothing: the device is only read."""

    says: ClassVar[str]
    """The message by which monitoring is told of a reading."""

    def word(self, reading: Any) -> Any:
        """Return its payload, whose ``age`` is in seconds as of when the device was asked."""
        raise NotImplementedError

    def news(self, word: Any) -> bool | None:
        """Return what of a word must arrive when it differs from the last one."""

    def ask(self) -> Deferred[Any]:
        """Read the device, in the reactor's thread."""
        asked: Deferred[Any] = self.device.read()
        return asked

    # In the reactor's thread -------------------------------------------------------------------------------------

    def attach(self, reactor: Reactor) -> None:
        super().attach(reactor)
        self._pace = self.option(*_INTERVAL)
        cancel_call(self._timer)
        self._timer = self.clock.call_later(0, self._measure)

    def _measure(self) -> None:
        """Read once, unless the reading before is under way, which ends by the driver's patience.

        The next comes at a multiple of the pace, as that of other agents: monitoring takes both in one turn.
        """
        ahead = self._pace - self.clock.monotonic() % self._pace
        self._timer = self.clock.call_later(ahead if ahead > self._pace / 2 else ahead + self._pace, self._measure)
        if self._measuring is None:
            reading = self._measuring = self._read()
            reading.addBoth(self._measured_once)

    def _read(self) -> Deferred[None]:
        asked = self.clock.monotonic()

        def done(reading: Any) -> None:
            self._number += 1
            word = self.word(reading)
            news = self.news(word)
            aged = msgspec.structs.replace(word, age=word.age + self.clock.monotonic() - asked)
            if news != self._said or not self.pass_on(self.MONITORING, self.says, aged):
                result = {"word": msgspec.to_builtins(word), "news": news, "asked": asked}
                self.post_to_self(HAS_READ, CommandEnded(number=self._number, result=result))

        def failed(failure: Failure) -> None:
            if failure.check(CancelledError) is not None:
                return
            self._number += 1
            self.post_to_self(NOT_READ, CommandEnded(number=self._number, reason=in_words(failure)))
            if not isinstance(failure.value, (InstrumentError, OSError)):
                self.log.failure("a reading failed in an unexpected way", failure)

        return maybeDeferred(self.ask).addCallback(done).addErrback(failed)

    # Messages from the device ------------------------------------------------------------------------------------

    def _has_read(self, message: Message) -> None:
        end: CommandEnded = message.payload
        if end.number == self._number:
            word, news = end.result["word"], end.result["news"]
            waited = self.clock.monotonic() - end.result["asked"]  # for this agent, too
            new, self._said = news != self._said, news
            self.send_if_there(self.MONITORING, self.says, word | {"age": word.get("age", 0.0) + waited}, durable=new)

    def _not_read(self, message: Message) -> None:
        end: CommandEnded = message.payload
        if end.number == self._number:
            self.log.error("the device could not be read: {reason}", reason=end.reason)
            self.state.failed_commands += 1
            self.state.last_failure = f"reading: {end.reason}"[:300]
