"""What the agents of the instruments share.

A command goes to the device after the turn's commit, and its end comes back as a message to the agent itself.

A command is numbered, and its number is in the state: an end with another number is that of an older command, and
means nothing any more. Most commands take the place of the one before; those given ``aside`` stand beside it (the
cooler of a camera that exposes).

What a device does is not rolled back with a turn, and goes on while its agent is away: so after a start, and whenever
the device is connected again, the agent first asks it what it is doing, and `reconcile` makes that and the state agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.options import AgentOption, OptionTable
from pyros.clock import Timer, cancel_call
from pyros.errors import CommandAborted, ConnectionLost, DeviceRefused, InstrumentError, NoAnswer
from pyros.instruments import Place, connect
from pyros.messages import DeviceState, InstrumentConnection, Message, Payload, Telemetry
from pyros.quantities import positive
from pyros.reactor import Reactor

STARTED = "Command started"
DONE = "Command done"
FAILED = "Command failed"
CONNECTED = "Device connected"
DISCONNECTED = "Device disconnected"
LOOKED = "Device looked at"
MEASURED = "Device measured"
TOLD = "Device told"
_STALE = 120.0  # seconds
STALE_ORDER_SECONDS = 5.0
"""Age from which an order begins nothing under the sky: the dome, or the roof above the mount, may be closed since."""
_TELEMETRY = AgentOption("telemetry", positive, 10.0)  # seconds
_REST_SECONDS = 30.0
_TOLD_AGAIN = 25.0
"""What is measured as it was before is told again after so long, seconds: each third time by default."""
_MOST_ASIDE = 100
_KEPT_ENDS = 20

T = TypeVar("T")

Run = Callable[[Callable[[float], None]], Deferred[dict[str, Any]]]
"""Gives the device a command: called with ``started``, in the reactor's thread; returns what will be measured."""


class Started(Payload, frozen=True):
    """The device took the command; ``seconds`` is its own estimate."""

    number: int
    seconds: float


class CommandEnded(Payload, frozen=True):
    """The device is done: what it measured, or why it failed, and whether it was lost meanwhile, or can never do it."""

    number: int
    result: dict[str, Any] = {}  # noqa: RUF012  msgspec copies it
    reason: str = ""
    lost: bool = False
    for_good: bool = False


class LinkChange(Payload, frozen=True):
    """The device is there, or not: its name and address, or the reason."""

    text: str


class Looked(Payload, frozen=True):
    """What the device is doing; None when it could not be asked. ``number`` is that of the last command before."""

    number: int
    state: str | None = None


class Told(Payload, frozen=True):
    """What the device does, for the agent that has asked."""

    agent: str
    state: str


for _name, _type in (
    (STARTED, Started), (DONE, CommandEnded), (FAILED, CommandEnded),
    (CONNECTED, LinkChange), (DISCONNECTED, LinkChange), (LOOKED, Looked), (TOLD, Told),
):  # fmt: skip
    messages.register(_name, _type, guarded=True)
messages.register(MEASURED, Telemetry, guarded=True, fleeting=True)


class Command(msgspec.Struct):
    """A command that is under way: what was asked, and who wants to hear of its end."""

    number: int
    name: str
    payload: dict[str, Any]
    sender: str
    id: str = ""
    """The message's."""


class InstrumentState(msgspec.Struct):
    """What every instrument's agent remembers."""

    number: int = 0
    """That of the last command."""
    given: int = 0
    """That of the last command that was not given aside."""
    command: Command | None = None
    """The one that is under way."""
    aside: list[Command] = []
    """Those under way beside it."""
    interrupted: Command | None = None
    """What was under way when the agent stopped; the device was not asked yet what became of it."""
    connected: bool | None = None
    """Whether the device is; None before it was tried."""
    failed_commands: int = 0
    """How many commands have failed after they were taken, in all."""
    last_failure: str = ""
    """The last one's name, and why."""
    ended: dict[str, str] = {}
    """The last commands that have ended, by their messages' ids, and why each failed; '' for one that didn't."""


class InstrumentAgent(Agent):
    """An agent with a device behind a driver. ``option_telemetry`` in its section: seconds between two measurements.

    What is measured is told to monitoring when it has changed, and each half minute. A device at rest is measured each
    half minute.
    """

    heeds_telemetry: ClassVar[bool] = False
    """`measured` does something: each telemetry is a turn."""

    OPTIONS: ClassVar[OptionTable] = (_TELEMETRY,)
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
            LOOKED: self._looked,
            MEASURED: self._measured,
            TOLD: self._told,
            messages.TELL_STATE: self.tell_state,
        }
        self._timer: Timer | None = None
        self._measuring: Deferred[None] | None = None
        self._trouble = ""
        self._resting = False
        self._told_last: tuple[str, dict[str, float | str | None]] | None = None
        self._told_when = 0.0

    def attach(self, reactor: Reactor) -> None:
        self.reactor = reactor
        kind: Any = self.section.kind
        self._pace = self.option(*_TELEMETRY)
        self.device = connect(
            kind,
            self.section.driver,
            self.section.address,
            reactor,
            self.clock,
            on_connection=self._on_connection,
            site=self.place(),
        )
        self._timer = self.clock.call_later(self._pace, self._measure)

    def detach(self) -> Deferred[None] | None:
        cancel_call(self._timer)
        if self._measuring is not None:
            self._measuring.cancel()
        gone: Deferred[None] = self.device.disconnect()
        return gone

    def work(self) -> None:
        """After a restart: ask the device what became of the command that was under way."""
        interrupted, self.state.command = self.state.command, None
        if interrupted is not None:
            self.log.warn("{name} was under way when this agent stopped", name=interrupted.name)
            self.state.interrupted = interrupted
        if self.state.interrupted is not None:
            self.after_commit(self._look, self.state.given)
        self.state.connected = None
        aside, self.state.aside = self.state.aside, []
        for command in aside:
            self.again(command)

    def place(self) -> Place | None:
        """Where the observatory stands, for a device that must be told; called in the reactor's thread."""
        return None

    # For the instruments -----------------------------------------------------------------------------------------

    def look(self) -> Deferred[str] | None:
        """Ask the device what it is doing (in the reactor's thread); None for a kind that has no such state."""
        asked: Deferred[str] = self.device.state()
        return asked

    def reconcile(self, state: str | None, interrupted: Command | None) -> None:
        """Judge what the device does, though no command was given since the agent started or it was connected again.

        ``interrupted`` is the command that was under way when the agent stopped. ``state`` is None when the device did
        not answer: then only what was interrupted needs an end.
        """

    async def measure(self) -> tuple[str, dict[str, float | str | None]] | None:
        """State and telemetry, in the reactor's thread; None for a kind whose readings are its telemetry."""
        return None

    def at_rest(self) -> bool:
        """Whether the device does nothing, and nothing is wanted of it; in the reactor's thread."""
        return False

    @property
    def last_state(self) -> str:
        """What the device did when it was measured last; '' before."""
        return "" if self._told_last is None else self._told_last[0]

    def measure_soon(self) -> None:
        """Measure at the usual pace again: the device is no longer at rest; in the reactor's thread."""
        if self._resting and self._timer is not None and self._timer.active():
            self._resting = False
            self._timer.cancel()
            self._timer = self.clock.call_later(self._pace, self._measure)

    def measure_now(self) -> None:
        """Measure now, and at the usual pace from then on; in the reactor's thread."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
            self._measure()

    def measured(self, telemetry: Telemetry) -> None:
        """Take what was measured, where that is a turn (`heeds_telemetry`)."""

    def on_connection(self, connected: bool) -> None:
        """Hear that the device is connected, or is no longer; in the reactor's thread, before a turn hears of it."""

    def stopped(self, number: int) -> Command | None:
        """Return the command of that number that was stopped, if it still counts should it be done all the same."""
        return None

    def started(self, command: Command, seconds: float) -> None:
        """Tell the sender that the device took the command, which will take so many seconds."""

    def done(self, command: Command, result: dict[str, Any]) -> None:
        """Tell the sender that the device did what it was told."""

    def failed(self, command: Command, failure: messages.Failure) -> None:
        """Tell the sender why the device failed to carry out the command; the failure names its observation, if any."""

    def command(
        self, name: str, payload: Payload, run: Run, *, order: Message | None = None, aside: bool = False
    ) -> None:
        """Give the device a command after the commit.

        A command that is under way is forgotten: its end will not be told. ``order`` is the message that asks for the
        command, whose sender hears of its end; None when the agent itself does. ``aside`` is for a command that stands
        beside the one under way; after a restart such a command is given again.
        """
        self.state.number += 1
        sender, id_ = (self.name, "") if order is None else (order.sender, order.id)
        command = Command(self.state.number, name, msgspec.to_builtins(payload), sender, id_)
        if aside:
            if len(self.state.aside) >= _MOST_ASIDE:
                raise ValueError(f"{_MOST_ASIDE} commands are under way already")
            self.state.aside.append(command)
        else:
            self.state.command, self.state.interrupted, self.state.given = command, None, command.number
        self.after_commit(self._run, self.state.number, run)

    def figures(self) -> dict[str, Any]:
        return {
            "failed_commands": self.state.failed_commands,
            "last_failure": self.state.last_failure,
            "under_way": [each.id for each in self._under_way()],
            "ended": dict(self.state.ended),
        }

    def again(self, command: Command) -> None:
        """Handle the message of a command once more."""
        payload = msgspec.json.encode(command.payload)
        self.analyze_message(Message(command.id or "again", command.name, command.sender, self.clock.time(), payload))

    def answer(self, command: Command, name: str, payload: Any = None) -> None:
        """Tell whoever gave the command, if it is an agent."""
        if command.sender != self.name:
            self.send_if_there(command.sender, name, payload)

    def refuse(self, message: Message, name: str, reason: str, *, lost: bool = False) -> None:
        """Tell the sender of a command why it is not carried out, by the message ``name`` of its failure.

        ``lost``: it never came to the device in time, and may be given again.
        """
        observation = getattr(message.payload, "observation", "")
        self.send_if_there(message.sender, name, messages.Failure(observation=observation, reason=reason, lost=lost))

    def too_old(self, message: Message, seconds: float = _STALE) -> str:
        """Why a command must not be carried out any more, for it waited for this agent or in its sender; '' if it may.

        Its age is the least that it may have; by the wall clocks where nothing better is known.
        """
        known = message.said > -math.inf
        age = self.clock.monotonic() - message.said - message.doubt if known else self.clock.time() - message.sent
        return f"the command is {age:.0f} s old" if age > seconds else ""

    def reason_held(self, message: Message) -> str:
        """Why this command of the automation must not be carried out now; '' when it may, or a person gives it."""
        hold = self.holds.hold if message.sender in self.config.agents else None
        return "" if hold is None else str(hold)

    def for_automation(self, *names: str) -> Command | None:
        """Return the command under way for another agent, if it is one of these; in any thread."""
        command = self.state.command
        mine = command is not None and command.name in names and command.sender in self.config.agents
        return command if mine else None

    def stop_at_once(self, stop: Callable[[], Deferred[None]]) -> Deferred[None]:
        """Stop the device now, and return when that has ended; in the reactor's thread. A failure is logged."""
        return stop().addErrback(
            lambda failure: self.log.error(
                "{name} could not be stopped, look whether it still moves: {reason}",
                name=self.name,
                reason=failure.getErrorMessage(),
            )
        )

    def tell_state(self, message: Message) -> None:
        """Ask the device what it is doing, and tell the agent that wants to know."""
        self.after_commit(self._ask_state, message.sender)

    def reason_not_allowed(self) -> str:
        """Why the device must not stay as it is, such as open; '' when it may. In the agent's thread."""
        return ""

    def refuse_after_safe(self) -> None:
        """Raise CommandAborted when the agent is about to end: what begins a motion or an exposure asks before it."""
        if self.made_safe:
            raise CommandAborted(f"the {self.name}'s agent is about to end")

    def aborting(self, stop: Callable[[], Deferred[None]]) -> None:
        """Stop the device after the commit."""
        self.after_commit(self.stop_at_once, stop)

    # In the reactor's thread -------------------------------------------------------------------------------------

    def _run(self, number: int, run: Run) -> None:
        self.measure_soon()

        def started(seconds: float) -> None:
            self.post_to_self(STARTED, Started(number=number, seconds=seconds))

        def done(result: dict[str, Any]) -> None:
            self.post_to_self(DONE, CommandEnded(number=number, result=result))

        def failed(failure: Failure) -> None:
            lost = failure.check(ConnectionLost, NoAnswer) is not None
            for_good = isinstance(failure.value, DeviceRefused) and failure.value.for_good
            end = CommandEnded(number=number, reason=in_words(failure), lost=lost, for_good=for_good)
            self.post_to_self(FAILED, end)
            if not isinstance(failure.value, (InstrumentError, OSError)):
                self.log.failure("a command failed in an unexpected way", failure)

        maybeDeferred(run, started).addCallback(done).addErrback(failed)

    def _look(self, number: int) -> None:
        looking = self.look()
        if looking is None:
            self.post_to_self(LOOKED, Looked(number=number))
            return

        def failed(failure: Failure) -> None:
            self.log.warn("{name} does not say what it is doing: {reason}", name=self.name, reason=in_words(failure))
            self.post_to_self(LOOKED, Looked(number=number))

        looking.addCallback(lambda state: self.post_to_self(LOOKED, Looked(number=number, state=state)))
        looking.addErrback(failed)

    def _ask_state(self, agent: str) -> None:
        asked = self.look() if self.device.connected else None
        if asked is None:
            self.post_to_self(TOLD, Told(agent=agent, state="unknown"))
            return

        def told(state: object) -> None:
            self.post_to_self(TOLD, Told(agent=agent, state="unknown" if isinstance(state, Failure) else str(state)))

        asked.addBoth(told)

    def _measure(self) -> None:
        self._resting = self.at_rest()
        pause = max(self._pace, _REST_SECONDS) if self._resting else self._pace
        self._timer = self.clock.call_later(pause, self._measure)
        if self._measuring is None and self.device.connected:
            measuring = self._measuring = Deferred.fromCoroutine(self._measure_once())
            measuring.addErrback(self._not_measured)
            measuring.addBoth(self._measured_once)

    async def _measure_once(self) -> None:
        measured = await self.measure()
        now = self.clock.monotonic()
        if measured is not None and (measured != self._told_last or now - self._told_when >= _TOLD_AGAIN):
            self._told_last, self._told_when = measured, now
            state, values = measured
            telemetry = Telemetry(self.name, state, self.clock.time(), values)
            if self.heeds_telemetry or not self.pass_on(self.MONITORING, messages.TELEMETRY, telemetry):
                self.post_to_self(MEASURED, telemetry)
        self._trouble = ""

    def _not_measured(self, failure: Failure) -> None:
        """Told once, not every ten seconds."""
        if failure.check(CancelledError) is None and self._trouble != (reason := in_words(failure)):
            self._trouble = reason
            self.log.warn("{name} sends no telemetry: {reason}", name=self.name, reason=reason)

    def _measured_once(self, _: object) -> None:
        self._measuring = None

    def _on_connection(self, connected: bool, text: str) -> None:
        self.on_connection(connected)
        self.post_to_self(CONNECTED if connected else DISCONNECTED, LinkChange(text=text))

    # Messages from the device ------------------------------------------------------------------------------------

    def _started(self, message: Message) -> None:
        if (command := self._current(message.payload.number)) is not None:
            self.started(command, message.payload.seconds)

    def _done(self, message: Message) -> None:
        number = message.payload.number
        if (command := self._ended(number) or self.stopped(number)) is not None:
            self.keep_end(command.id, command.sender, "")
            self.done(command, message.payload.result)

    def _failed(self, message: Message) -> None:
        if (command := self._ended(message.payload.number)) is not None:
            end: CommandEnded = message.payload
            self.log.error("{name} failed: {reason}", name=command.name, reason=end.reason)
            observation = command.payload.get("observation", "")
            self.keep_end(command.id, command.sender, end.reason or "no reason given")
            self.state.failed_commands += 1
            self.state.last_failure = f"{command.name}: {end.reason}"[:300]
            self.failed(
                command,
                messages.Failure(observation=observation, reason=end.reason, lost=end.lost, for_good=end.for_good),
            )

    def keep_end(self, id_: str, sender: str, reason: str) -> None:
        """Keep how a person's command has ended: no message reaches a person, who asks the agent's status."""
        if sender not in self.config.agents:
            self.state.ended[id_] = reason[:300]
            while len(self.state.ended) > _KEPT_ENDS:
                del self.state.ended[next(iter(self.state.ended))]

    def _under_way(self) -> list[Command]:
        command = self.state.command
        return [*self.state.aside, *([] if command is None else [command])]

    def _current(self, number: int) -> Command | None:
        return next((command for command in self._under_way() if command.number == number), None)

    def _ended(self, number: int) -> Command | None:
        """Return the command that has ended, which is no longer under way."""
        command = self._current(number)
        if command is not None and command is self.state.command:
            self.state.command = None
        elif command is not None:
            self.state.aside.remove(command)
        return command

    def _connected(self, message: Message) -> None:
        self.log.info("connected to {text}", text=message.payload.text)
        if self.state.connected is not True:
            self.state.connected = True
            self._tell_connection(messages.INSTRUMENT_CONNECTED, message.payload.text)
        self.after_commit(self._look, self.state.given)

    def _disconnected(self, message: Message) -> None:
        self.log.warn("{text}", text=message.payload.text)
        if self.state.connected is not False:
            self.state.connected = False
            self._tell_connection(messages.INSTRUMENT_DISCONNECTED, message.payload.text)

    def _tell_connection(self, name: str, text: str) -> None:
        """Those who keep an eye on it, and who may be waiting for it."""
        for agent in (self.MONITORING, self.OBSERVATION_MANAGER, self.NOTIFIER):
            self.send_if_there(agent, name, InstrumentConnection(self.name, text[:1000]))

    def _looked(self, message: Message) -> None:
        if self.state.command is None and message.payload.number == self.state.given:
            interrupted, self.state.interrupted = self.state.interrupted, None
            if interrupted is not None or message.payload.state is not None:
                self.reconcile(message.payload.state, interrupted)

    def _told(self, message: Message) -> None:
        told: Told = message.payload
        state = DeviceState(instrument=self.name, state=told.state, reason=self.reason_not_allowed())
        self.send_if_there(told.agent, messages.DEVICE_STATE, state)

    def _measured(self, message: Message) -> None:
        self.send_if_there(self.MONITORING, messages.TELEMETRY, message.payload)
        self.measured(message.payload)


@contextmanager
def asked_ahead(asked: Deferred[T]) -> Iterator[Deferred[T]]:
    """Give what a device was asked, to be awaited in the block after something else: both go out together.

    It is taken back where the block fails before.
    """
    try:
        yield asked
    except BaseException:
        asked.addErrback(lambda _: None)
        asked.cancel()
        raise


def in_words(failure: Failure) -> str:
    """Return why a command failed, with the error's class where it isn't the device's own word."""
    text = failure.getErrorMessage().strip() or "no reason given"
    return text if isinstance(failure.value, InstrumentError) else f"{type(failure.value).__name__}: {text}"
