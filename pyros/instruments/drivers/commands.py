"""A command under way, from its beginning to its end, whatever ends it.

A newer command may supersede it, somebody may stop the device, the connection may break: each ends it with an error,
which its coroutine raises at its next step. In the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from twisted.internet.defer import Deferred

from pyros.clock import Clock, cancel_call
from pyros.errors import InstrumentError


class Stillness:
    """How long a device has stood still elsewhere than where it was sent.

    For the first seconds it may not have begun, and at the end not know yet that it has arrived; a device that stands
    still for longer has failed.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._since = clock.monotonic()

    def moves(self) -> None:
        """Note that the device was seen moving now."""
        self._since = self._clock.monotonic()

    @property
    def too_long(self) -> bool:
        """Whether it has stood still for so long that nothing more is to be expected of it."""
        return self._clock.monotonic() - self._since > self._seconds


class DeviceCommand:
    """A command under way, which others may end before its own end.

    Its coroutine waits by the methods here, which raise the error with which it was ended.
    """

    def __init__(self, what: str, clock: Clock, group: str = "") -> None:
        self.what = what
        """Its name in errors, such as ``slew grb-1``."""
        self.group = group
        """Commands of a group, such as ``shutter``, move the same part of the device: the newest counts."""
        self.error: InstrumentError | None = None
        """The error with which it was ended; the first one counts."""
        self._clock = clock
        self._held = False
        self._waiting: Deferred[None] | None = None

    def end(self, error: InstrumentError) -> None:
        """Have its coroutine raise this error, at once where it waits."""
        self.error = self.error or error
        self.release()

    def hold(self) -> None:
        """Let whatever the device shows now not count, since the device is being told something else."""
        self._held = True

    def release(self) -> None:
        """Let it go on."""
        self._held = False
        self.wake()

    def wake(self) -> None:
        """Let its coroutine look again, if it waits."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def sleep(self, seconds: float) -> bool:
        """Wait until `wake`, or for so many seconds; whether it was woken. Raises nothing of its own."""
        over = False

        def end() -> None:
            nonlocal over
            over = True
            self.wake()

        timer = self._clock.call_later(seconds, end)
        try:
            await self._until_woken()
        finally:
            cancel_call(timer)
        return not over

    async def _until_woken(self) -> None:
        self._waiting = waiting = Deferred[None]()
        try:
            await waiting
        finally:
            self._waiting = None

    async def check(self) -> None:
        """Raise the error with which it was ended, if it was, once nobody holds it."""
        while self._held:
            await self._until_woken()
        if self.error is not None:
            raise self.error

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until it is ended, which raises."""
        await self.check()
        await self.sleep(seconds)
        await self.check()


C = TypeVar("C", bound=DeviceCommand)


class CommandsUnderWay(list[C]):
    """The commands under way at one device, in the order in which they were given."""

    @contextmanager
    def during(self, command: C) -> Iterator[C]:
        """Count a command as under way while the block runs."""
        self.append(command)
        try:
            yield command
        finally:
            self.remove(command)

    def of(self, *groups: str, before: C | None = None) -> list[C]:
        """Return the commands of these groups; only those given before that one, if there is one."""
        return [each for each in self.older(before) if each.group in groups]

    def older(self, command: C | None) -> list[C]:
        """Return the commands given before that one; all, for None."""
        return self if command is None else self[: self.index(command)]

    def is_newest(self, command: C, *groups: str) -> bool:
        """Whether no command of these groups was given after this one."""
        return not any(each.group in groups for each in self[len(self.older(command)) + 1 :])

    def end(self, error: Callable[[C], InstrumentError], *groups: str, before: C | None = None) -> None:
        """End the commands of these groups with an error; only those given before that one, if there is one."""
        for command in self.of(*groups, before=before):
            command.end(error(command))

    def end_all(self, error: InstrumentError) -> None:
        """End every command with this error, as when the connection is lost."""
        for command in list(self):
            command.end(error)

    def wake_all(self) -> None:
        """Let every command look again, since the device has said something."""
        for command in list(self):
            command.wake()
