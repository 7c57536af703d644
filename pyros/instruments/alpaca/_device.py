"""What the drivers of all Alpaca devices share: commands that are polled to their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import TypeVar

from twisted.internet.defer import DeferredLock

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused, InstrumentError, NoAnswer
from pyros.instruments.alpaca.address import AlpacaAddress, parse_address
from pyros.instruments.alpaca.link import AlpacaLink
from pyros.instruments.drivers.commands import CommandsUnderWay, DeviceCommand, Stillness
from pyros.instruments.drivers.device import InstrumentDriver
from pyros.instruments.interfaces import Started

T = TypeVar("T")

POLL_SECONDS = (0.1, 0.5)
"""The shortest and the longest pause between two looks at a command under way."""
FAILED_LOOKS = 3
"""How many looks in a row may fail before the command has."""
BEGIN_SECONDS = 5.0
"""How long a device may stand still elsewhere than where it was sent: it hasn't begun, or hasn't noticed its end."""


class AlpacaDevice(InstrumentDriver):
    """What the Alpaca drivers share.

    Requests have connections of their own, so that a newer one may overtake an older. Therefore commands take turns;
    what cannot wait for its turn is sent at once, and again when it is its turn.
    """

    _connection: AlpacaLink

    def _connection_to(self, address: str) -> AlpacaLink:
        """Its ``on_event`` is never called: Alpaca devices say nothing unasked."""
        self._commands = CommandsUnderWay[DeviceCommand]()
        self._turns = DeferredLock()
        self._stops: list[DeferredLock] = []
        """Each is locked until that stop is over."""
        self._address: AlpacaAddress = parse_address(self.kind, address)
        self._options = self._address.options
        self._link = AlpacaLink(self.kind, address, self._address, self._reactor, self._clock)
        self._link.on_lost = self._lost
        return self._link

    # For the drivers below.

    def _command(self, what: str) -> AbstractContextManager[DeviceCommand]:
        """Keep a command of this name (slew, exposure ...) under way while the block runs."""
        return self._commands.during(DeviceCommand(what, self._clock, group=what))

    def _end(self, why: str, *groups: str, before: DeviceCommand | None = None) -> None:
        self._commands.end(self._aborted(why), *groups, before=before)

    def _aborted(self, why: str) -> Callable[[DeviceCommand], CommandAborted]:
        return lambda command: CommandAborted(f"{self.name}: {command.what}: {why}")

    async def _ending(
        self, request: Awaitable[None], why: str, *groups: str, before: DeviceCommand | None = None
    ) -> None:
        """Send a request that ends the commands of these groups, with CommandAborted; refused, it ends none.

        ``before`` is the command that takes their place; it ends none that was given after it.
        """
        superseded = self._commands.of(*groups, before=before)
        for command in superseded:
            command.hold()
        try:
            await request
        except BaseException:
            for command in superseded:
                command.release()
            raise
        for command in superseded:
            command.end(self._aborted(why)(command))

    @asynccontextmanager
    async def _turn(self, command: DeviceCommand) -> AsyncIterator[None]:
        """While the block runs, no other command is given to the device. Raises what has ended this one."""
        for stop in list(self._stops):
            await stop.acquire()
            stop.release()
        async with self._turns:
            await command.check()
            yield
            await command.check()

    async def _at_once(self, command: DeviceCommand, request: Callable[[], Awaitable[None]]) -> None:
        """Send a request that cannot wait until the device has taken older ones; and again then."""
        if self._turns.locked or self._stops:
            with suppress(DeviceRefused):
                await request()
        async with self._turn(command):
            await request()

    async def _stop(self, request: Callable[[], Awaitable[None]], why: str, *groups: str) -> None:
        """Send a request that ends the commands of these groups, at once; again, if one of them was about to begin."""
        async with DeferredLock() as stop:
            self._stops.append(stop)
            try:
                await self._ending(request(), why, *groups)
                if self._turns.locked:
                    async with self._turns:
                        await request()
            finally:
                self._stops.remove(stop)

    @asynccontextmanager
    async def _stopping_if_given_up(
        self, command: DeviceCommand, stop: Callable[[], Awaitable[None]], *groups: str
    ) -> AsyncIterator[None]:
        """Stop the device if the block fails: it may go on moving, and nobody waits for its end any more.

        What a newer command of these groups has ended is stopped by that one.
        """
        try:
            yield
        except (DeviceFailed, DeviceRefused, NoAnswer):
            if self._commands.is_newest(command, *groups):
                with suppress(InstrumentError):
                    await stop()
            raise

    def _stillness(self) -> Stillness:
        return Stillness(self._clock, self._option("begin_seconds", BEGIN_SECONDS))

    def _lost(self, error: InstrumentError) -> None:
        self._commands.end_all(error)

    async def _until(
        self,
        command: DeviceCommand,
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
            await command.check()
            if result is not None:
                return result
            if started is not None:
                started(estimate)
                started = None
            passed = self._clock.monotonic() - begin
            if passed > most:
                raise DeviceFailed(f"{self.name}: {command.what}: no end after {passed:.0f} s")
            late = 0.1 * max(0.0, passed - estimate)  # less and less often when the estimate was wrong
            pause = max(shortest, min(longest, (estimate - passed) / 4 if passed < estimate else late))
            await command.pause(pause)
