"""What the drivers of all Alpaca devices share: commands that are polled to their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeVar

from twisted.internet.defer import DeferredLock

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused, InstrumentError, NoAnswer
from pyros.instruments.alpaca.address import Address, parse_address
from pyros.instruments.alpaca.link import Link
from pyros.instruments.drivers.commands import Running, Stillness
from pyros.instruments.drivers.device import Device
from pyros.instruments.interfaces import Started

T = TypeVar("T")

POLL_SECONDS = (0.1, 0.5)
"""The shortest and the longest pause between two looks at a command under way."""
FAILED_LOOKS = 3
"""How many looks in a row may fail before the command has."""
BEGIN_SECONDS = 5.0
"""How long a device may stand still elsewhere than where it was sent: it hasn't begun, or hasn't noticed its end."""


class AlpacaDevice(Device):
    """What the Alpaca drivers share.

    Requests have connections of their own, so that a newer one may overtake an older. Therefore commands take turns;
    what cannot wait for its turn is sent at once, and again when it is its turn.
    """

    _connection: Link

    def _connection_to(self, address: str) -> Link:
        """Its ``on_event`` is never called: Alpaca devices say nothing unasked."""
        self._running: list[Running] = []
        self._turns = DeferredLock()
        self._stops: list[DeferredLock] = []
        """Each is locked until that stop is over."""
        self._address: Address = parse_address(self.kind, address)
        self._options = self._address.options
        self._link = Link(self.kind, address, self._address, self._reactor, self._clock)
        self._link.on_lost = self._lost
        return self._link

    # For the drivers below.

    @contextmanager
    def _command(self, what: str) -> Iterator[Running]:
        """A command of this name (slew, exposure ...) is under way while the block runs."""
        running = Running(what)
        self._running.append(running)
        try:
            yield running
        finally:
            self._running.remove(running)

    def _before(self, newer: Running | None, *what: str) -> list[Running]:
        """The commands of these names that are under way, in their order, up to that one."""
        older = self._running if newer is None else self._running[: self._running.index(newer)]
        return [running for running in older if running.what in what]

    def _is_running(self, *what: str, before: Running | None = None) -> bool:
        return bool(self._before(before, *what))

    async def _ending(self, command: Awaitable[None], why: str, *what: str, before: Running | None = None) -> None:
        """Give the device a command that ends those of these names, with CommandAborted; refused, it ends none.

        ``before`` is the command that takes their place; it ends none that was given after it.
        """
        ended = self._before(before, *what)
        for running in ended:
            running.hold()
        try:
            await command
        except BaseException:
            for running in ended:
                running.release()
            raise
        for running in ended:
            running.end(CommandAborted(f"{self.name}: {running.what}: {why}"))

    @asynccontextmanager
    async def _turn(self, running: Running) -> AsyncIterator[None]:
        """While the block runs, no other command is given to the device. Raises what has ended this one."""
        for stop in list(self._stops):
            await stop.acquire()
            stop.release()
        await self._turns.acquire()
        try:
            await running.check()
            yield
            await running.check()
        finally:
            self._turns.release()

    async def _at_once(self, running: Running, command: Callable[[], Awaitable[None]]) -> None:
        """Give a command that cannot wait until the device has taken older ones; and again then."""
        if self._turns.locked or self._stops:
            with suppress(DeviceRefused):
                await command()
        async with self._turn(running):
            await command()

    async def _stop(self, command: Callable[[], Awaitable[None]], why: str, *what: str) -> None:
        """Give a command that ends those of these names, at once; again, if one of them was about to begin."""
        stop = DeferredLock()
        await stop.acquire()
        self._stops.append(stop)
        try:
            await self._ending(command(), why, *what)
            if self._turns.locked:
                await self._turns.acquire()
                try:
                    await command()
                finally:
                    self._turns.release()
        finally:
            self._stops.remove(stop)
            stop.release()

    @asynccontextmanager
    async def _stopping_if_given_up(
        self, running: Running, stop: Callable[[], Awaitable[None]], *what: str
    ) -> AsyncIterator[None]:
        """Stop the device if the block fails: it may go on moving, and nobody waits for its end any more.

        What a newer command of these names has ended is stopped by that one.
        """
        try:
            yield
        except (DeviceFailed, DeviceRefused, NoAnswer):
            newer = self._running[self._running.index(running) + 1 :]
            if not any(other.what in what for other in newer):
                with suppress(InstrumentError):
                    await stop()
            raise

    def _stillness(self) -> Stillness:
        return Stillness(self._clock, self._option("begin_seconds", BEGIN_SECONDS))

    def _lost(self, error: InstrumentError) -> None:
        for running in list(self._running):
            running.end(error)

    async def _until(
        self,
        running: Running,
        look: Callable[[], Awaitable[T | None]],
        estimate: float,
        most: float,
        started: Started | None = None,
    ) -> T:
        """Look again and again until there is a result, more often when the end is near by estimate.

        ``started`` is called with the estimate, unless the first look shows the end. Raises DeviceFailed when there is
        none after ``most`` seconds, what ends the command, and what three looks in a row have raised: a question that
        the device fails to answer once says nothing about the movement.
        """
        begin = self._clock.monotonic()
        shortest, longest = POLL_SECONDS
        failures = 0
        while True:
            result = None
            try:
                result = await look()
                failures = 0
            except (DeviceFailed, DeviceRefused):
                failures += 1
                if failures == FAILED_LOOKS:
                    raise
            await running.check()
            if result is not None:
                return result
            if started is not None:
                started(estimate)
                started = None
            passed = self._clock.monotonic() - begin
            if passed > most:
                raise DeviceFailed(f"{self.name}: {running.what}: no end after {passed:.0f} s")
            late = 0.1 * max(0.0, passed - estimate)  # less and less often when the estimate was wrong
            pause = max(shortest, min(longest, (estimate - passed) / 4 if passed < estimate else late))
            await running.pause(self._clock, pause)
