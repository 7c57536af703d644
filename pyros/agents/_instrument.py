"""What the agents of the instruments share: a command goes to the device after the turn's commit, and its end comes
back as a message to the agent itself.

A command is numbered, and its number is in the state: an end with another number is that of an older command, and
means nothing any more. After a restart the number goes on, and `resumed` decides what to do about a command that was
under way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents.base import Agent
from pyros.errors import InstrumentError
from pyros.instruments import connect
from pyros.messages import Message, Payload

STARTED = "Command started"
DONE = "Command done"
FAILED = "Command failed"
CONNECTED = "Device connected"
DISCONNECTED = "Device disconnected"
_T = TypeVar("_T")


class Started(Payload, frozen=True):
    """The device took the command; ``seconds`` is its own estimate."""

    number: int
    seconds: float


class Ended(Payload, frozen=True):
    """The device is done: what it measured, or why it failed."""

    number: int
    result: dict[str, Any] = {}  # noqa: RUF012  msgspec copies it
    reason: str = ""


class Connection(Payload, frozen=True):
    """The device is there, or not: its name and address, or the reason."""

    text: str


for _name, _type in ((STARTED, Started), (DONE, Ended), (FAILED, Ended), (CONNECTED, Connection)):
    messages.register(_name, _type)
messages.register(DISCONNECTED, Connection)


class Command(msgspec.Struct):
    """The command that is under way: what was asked, and who wants to hear of its end."""

    number: int
    name: str
    payload: dict[str, Any]
    sender: str


class InstrumentState(msgspec.Struct):
    """What every instrument's agent remembers."""

    number: int = 0
    command: Command | None = None


class InstrumentAgent(Agent):
    """An agent with a device behind a driver."""

    state: InstrumentState
    device: Any

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message |= {
            STARTED: self._started,
            DONE: self._done,
            FAILED: self._failed,
            CONNECTED: self._connected,
            DISCONNECTED: self._disconnected,
        }

    def attach(self, reactor: Any) -> None:
        self.reactor = reactor
        kind: Any = self.name
        self.device = connect(
            kind, self.section.driver, self.section.address, reactor, self.clock, on_connection=self._on_connection
        )

    def detach(self) -> Deferred[None] | None:
        gone: Deferred[None] = self.device.disconnect()
        return gone

    def work(self) -> None:
        """After a restart: decide about the command that was under way."""
        command, self.state.command = self.state.command, None
        if command is not None:
            self.log.warn("{name} was under way when this agent stopped", name=command.name)
            self.resumed(command)

    # For the instruments -----------------------------------------------------------------------------------------

    def resumed(self, command: Command) -> None:
        """The agent was restarted while the device was doing this."""

    def started(self, command: Command, seconds: float) -> None:
        """The device took the command."""

    def done(self, command: Command, result: dict[str, Any]) -> None:
        """The device did what it was told."""

    def failed(self, command: Command, reason: str) -> None:
        """It did not, and says why."""

    def command(self, message: Message, run: Callable[[Callable[[float], None]], Deferred[dict[str, Any]]]) -> None:
        """Give the device a command after the commit.

        ``run(started)`` is called in the reactor's thread and returns a Deferred of what was measured. A command that
        is under way is forgotten: its end will not be told.
        """
        self.state.number += 1
        self.state.command = Command(
            self.state.number, message.name, msgspec.to_builtins(message.payload), message.sender
        )
        self.after_commit(self._run, self.state.number, run)

    def answer(self, command: Command, name: str, payload: Any = None) -> None:
        """Tell whoever gave the command, if it is an agent."""
        self.send_if_there(command.sender, name, payload)

    # In the reactor's thread -------------------------------------------------------------------------------------

    def _run(self, number: int, run: Callable[[Callable[[float], None]], Deferred[dict[str, Any]]]) -> None:
        def started(seconds: float) -> None:
            self.tell_self(STARTED, Started(number=number, seconds=seconds))

        def done(result: dict[str, Any]) -> None:
            self.tell_self(DONE, Ended(number=number, result=result))

        def failed(failure: Failure) -> None:
            self.tell_self(FAILED, Ended(number=number, reason=_in_words(failure)))
            if not isinstance(failure.value, (InstrumentError, OSError)):
                self.log.failure("a command failed in an unexpected way", failure)

        maybeDeferred(run, started).addCallback(done).addErrback(failed)

    def _on_connection(self, connected: bool, text: str) -> None:
        self.tell_self(CONNECTED if connected else DISCONNECTED, Connection(text=text))

    # Messages from the device ------------------------------------------------------------------------------------

    def _started(self, message: Message) -> None:
        if (command := self._current(message)) is not None:
            self.started(command, message.payload.seconds)

    def _done(self, message: Message) -> None:
        if (command := self._current(message)) is not None:
            self.state.command = None
            self.done(command, message.payload.result)

    def _failed(self, message: Message) -> None:
        if (command := self._current(message)) is not None:
            self.state.command = None
            self.log.error("{name} failed: {reason}", name=command.name, reason=message.payload.reason)
            self.failed(command, message.payload.reason)

    def _current(self, message: Message) -> Command | None:
        command = self.state.command
        return command if command is not None and command.number == message.payload.number else None

    def _connected(self, message: Message) -> None:
        self.log.info("connected to {text}", text=message.payload.text)

    def _disconnected(self, message: Message) -> None:
        self.log.warn("{text}", text=message.payload.text)


def _in_words(failure: Failure) -> str:
    text = failure.getErrorMessage().strip() or "no reason given"
    return text if isinstance(failure.value, InstrumentError) else f"{type(failure.value).__name__}: {text}"
