"""What the drivers of all native instruments share."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import numpy as np

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused, InstrumentError, NoAnswer
from pyros.instruments.drivers.commands import DeviceCommand
from pyros.instruments.drivers.device import InstrumentDriver, deferred
from pyros.instruments.drivers.options import read_options, split_address
from pyros.instruments.interfaces import Started
from pyros.instruments.native.connection import NativeConnection, Watch
from pyros.instruments.native.grammar import Busy, NativeEvent, Ok, Value, quote

T = TypeVar("T")


BEGIN_SECONDS = 5.0
"""How long a device that says that it is done may take until it is where it was sent."""
POLL_SECONDS = 0.5
OPTIONS_WITHOUT_MEANING = ("stop_seconds", "settle_seconds", "download_seconds")
"""Options that a device which tells its ends itself doesn't need."""


def allowed(estimate: float) -> float:
    """How long to wait for the end of what a device thinks takes ``estimate`` seconds."""
    return estimate + max(10.0, 0.5 * estimate)


def reason(event: NativeEvent) -> str:
    return event.named.get("reason") or "it gave no reason"


class NativeDevice(InstrumentDriver):
    """What the native drivers share."""

    _connection: NativeConnection

    def _connection_to(self, address: str) -> NativeConnection:
        # A tag is never used twice, also not by the next process: an event left over from a command of this one
        # must not end a command of that one.
        self._session = np.base_repr(int(self._clock.time() * 1000), 36).lower()
        self._commands = 0
        self._newest = DeviceCommand("", self._clock)
        """The newest movement or stop: an older one asks the device for nothing more."""
        where, query = split_address(address)
        self._options = read_options(self.kind, address, query, lacks=OPTIONS_WITHOUT_MEANING)
        return NativeConnection(self.kind, where, self._reactor, self._clock)

    @deferred
    async def raw(self, line: str) -> str:
        """Send a request as it stands, without its number (``GET state``); fires with the answer as the grammar has it.

        A block that comes with it is left out. Raises what commands raise; DeviceRefused for what is no request.
        """
        verb, _, rest = line.strip().partition(" ")
        try:
            name, *words = shlex.split(rest)
        except ValueError:
            raise DeviceRefused("SYNTAX", f"{line[:100]!r} is not a request of the native grammar") from None
        positional = [word for word in words if "=" not in word or verb == "SET"]
        named: dict[str, Any] = dict(word.split("=", 1) for word in words if word not in positional)
        answer = await self._connection.ask(verb, name, *positional, **named)
        if isinstance(answer, Busy):
            return f"BUSY {answer.seconds:g}"
        words = [quote(value) for value in answer.values]
        words += [f"{key}={quote(value)}" for key, value in answer.named.items()]
        return " ".join(["OK", *words])

    # For the drivers below.

    def _order(self, what: str) -> DeviceCommand:
        """Begin a movement or a stop, which supersedes the one before it at its next `DeviceCommand.check`."""
        self._newest.end(self._superseded(self._newest.what))
        self._newest = DeviceCommand(what, self._clock)
        return self._newest

    def _superseded(self, what: str) -> CommandAborted:
        return CommandAborted(f"{self.name}: {what}: stopped, or a newer command took its place")

    async def _until_there(
        self, order: DeviceCommand, measure: Callable[[], Awaitable[T]], there: Callable[[T], bool]
    ) -> T:
        """Measure until the device is where it says it is, for some seconds; return the last measurement.

        Raises CommandAborted for what a newer order has ended.
        """
        end = self._clock.monotonic() + self._option("begin_seconds", BEGIN_SECONDS)
        while True:
            measured = await measure()
            if there(measured):
                return measured
            await order.check()
            if self._clock.monotonic() >= end:
                return measured
            await self._pause(POLL_SECONDS)
            await order.check()

    @asynccontextmanager
    async def _stopping_if_given_up(self, order: DeviceCommand) -> AsyncIterator[None]:
        """Stop the device if the block fails: it may go on moving, and nobody waits for its end any more."""
        try:
            yield
        except (DeviceFailed, NoAnswer):
            if order.error is None:
                with suppress(InstrumentError):
                    await self._do("stop")
            raise

    def _tag(self, tag: str) -> str:
        self._commands += 1
        return f"{re.sub(r'[^A-Za-z0-9_.:/-]', '_', tag)[:64] or self.kind}~{self._session}~{self._commands}"

    async def _get(self, name: str) -> Ok:
        answer = await self._connection.ask("GET", name)
        if not isinstance(answer, Ok):
            raise DeviceFailed(f"{self.name}: answered BUSY to GET {name}")
        return answer

    async def _numbers(self, name: str, count: int) -> list[float]:
        values = (await self._get(name)).values
        try:
            numbers = [float(value) for value in values]
        except ValueError:
            numbers = []
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise DeviceFailed(f"{self.name}: answered {values} to GET {name}, not {count} numbers")
        return numbers

    async def _number_or_none(self, name: str) -> float | None:
        """Read a number; None where the device has no such property."""
        try:
            (number,) = await self._numbers(name, 1)
        except DeviceRefused as refusal:
            if refusal.code == "UNKNOWN":
                return None
            raise
        return number

    async def _known(self, command: Awaitable[T], lacking: str = "") -> T:
        """Await a command; one that the device doesn't know is for a part that it doesn't have, as ``lacking`` says."""
        try:
            return await command
        except DeviceRefused as refusal:
            if refusal.code != "UNKNOWN":
                raise
            text = f"{self.name} {lacking}" if lacking else f"{self.name}: {refusal}"
            raise DeviceRefused("UNSUPPORTED", text) from None

    @deferred
    async def _read_state(self, states: Any) -> Any:
        """Return the device's state, one of the words of ``states``, a Literal."""
        values = (await self._get("state")).values
        words: tuple[str, ...] = states.__args__
        if len(values) != 1 or values[0] not in words:
            allowed = ", ".join(words)
            raise DeviceFailed(f"{self.name}: answered {values} to GET state, not one of {allowed}")
        return values[0]

    async def _do(self, action: str, started: Started | None = None, **named: Value) -> Busy | None:
        """Begin an action; None means that it is done already."""
        answer = await self._connection.ask("DO", action, **named)
        if isinstance(answer, Ok):
            return None
        if started is not None:
            started(answer.seconds)
        return answer

    async def _end(self, watch: Watch, busy: Busy, limit: str) -> NativeEvent:
        """Wait for the event that ends a command; ``limit`` is the option that may say how long it may take."""
        return await watch.next_event(self._option(limit, allowed(busy.seconds)), self.name)

    async def _to_its_end(
        self,
        action: str,
        events: tuple[str, str, str],
        what: str,
        limit: str,
        started: Started | None,
        **named: Value,
    ) -> None:
        """Carry out an action that ends with one of these events: done, ``..._aborted``, ``..._failed``."""
        tag = self._tag(action)
        with self._connection.watch(what, *events, tag=tag) as watch:
            busy = await self._do(action, started, **named, tag=tag)
            if busy is None:
                return
            event = await self._end(watch, busy, limit)
        self._raise_unless_finished(event, what)

    def _raise_unless_finished(self, event: NativeEvent, what: str) -> None:
        if event.name.endswith("_aborted"):
            raise self._superseded(what)
        if event.name.endswith("_failed"):
            raise DeviceFailed(f"{self.name}: {what} failed: {reason(event)}")

    def _end_watches(self, watches: list[Watch], why: str) -> None:
        """End the commands that wait for the end of what was aborted."""
        for watch in watches:
            watch.end(CommandAborted(f"{self.name}: {watch.what}: {why}"))
