"""A command to an INDI device: what is sent, and how its answer and its end are told from everything else.

INDI answers a ``new`` vector with a ``set`` of the same vector, whose state says what became of it: Busy (begun), Ok
(done), Alert (refused, or failed), Idle (no verdict). Some refusals are only a message to people, and some mistakes get
no answer at all.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar

from pyros.clock import Clock
from pyros.errors import DeviceFailed, DeviceRefused, InstrumentError, NoAnswer
from pyros.instruments.drivers.commands import CommandsUnderWay, DeviceCommand
from pyros.instruments.drivers.reconnecting import SLOWEST_BYTES
from pyros.instruments.indi import codec
from pyros.instruments.indi.properties import Properties, Property

T = TypeVar("T")

ANSWER_SECONDS = 10.0
"""How long a device may take to answer (not: to carry out a command). Many drivers answer nothing meanwhile."""
RETRY_SECONDS = 1.0
"""How long a device that refuses because it moves, and cannot be stopped, is left before it is told again."""
_MAX_STOPS = 3
"""How often a device that refuses because it moves is stopped and told again."""
GRACE_SECONDS = 2.0
"""A device that complains and says nothing else for so long has refused."""

_CODES = (
    ("UNSUPPORTED", r"not support|unsupported|not implement"),
    ("STATE", r"park|not connected|locked"),
    ("LIMIT", r"horizon|altitude|limit|elevation|out of bound"),
    ("VALUE", r"range|bounds|invalid|illegal"),
    ("BUSY", r"busy|in progress|already|still|while (?:moving|slewing)|is (?:moving|slewing)"),
)


def code_of(text: str) -> str:
    """Our word for a refusal that the device gives only in people's words; ALERT for none of them."""
    for code, words in _CODES:
        if re.search(words, text, re.IGNORECASE):
            return code
    return "ALERT"


class CommandedDevice(Protocol):
    """The part of `IndiConnection` that a command needs."""

    clock: Clock
    properties: Properties
    commands: CommandsUnderWay[IndiCommand]
    given_up: bool
    """Whether nobody waits any longer for the answer to a command that was sent."""

    @property
    def device(self) -> str: ...
    @property
    def progress(self) -> int: ...
    def write(self, data: bytes) -> None: ...
    def drop(self, reason: str, command: IndiCommand) -> None: ...
    async def until_ready(self) -> None: ...


class IndiCommand(DeviceCommand):
    """A `DeviceCommand` to an INDI device, which `IndiConnection` wakes whenever the device says something.

    INDI devices tell their ends by themselves, before they answer to what stops them. So what is being stopped isn't
    held, as in other drivers; it ends at once with its ``excuse``.
    """

    def __init__(self, connection: CommandedDevice, what: str, group: str) -> None:
        super().__init__(what, connection.clock, group)
        self._connection = connection
        self.excuse: InstrumentError | None = None
        """While the device is being stopped: what every end of this command counts as."""
        self.unanswered = False
        """Whether the device was told something, and has not answered yet."""

    @property
    def in_doubt(self) -> bool:
        """Whether the device has not answered yet to what it was told before this command."""
        return self._connection.given_up or any(each.unanswered for each in self._connection.commands.older(self))

    def describe(self, problem: str) -> str:
        """Return the problem with the device's name and the command in front."""
        return f"{self._connection.device}: {self.what}: {problem}"

    async def until(self, condition: Callable[[], T | None], seconds: float, problem: str) -> T:
        """Wait until the condition gives something: it is tried whenever something is heard of the device.

        Raises the error with which the command was ended, and NoAnswer with that problem when nothing comes in so many
        seconds; while a large image is on its way, and not too slowly, it waits longer.
        """
        connection, clock = self._connection, self._connection.clock
        end, progress = clock.monotonic() + seconds, connection.progress
        value: T | None = None
        while self.error is None and (value := condition()) is None:
            if await self.sleep(max(0.0, end - clock.monotonic())):
                continue
            enough = progress + SLOWEST_BYTES * seconds if progress else 0
            if connection.progress <= enough:
                raise NoAnswer(self.describe(problem))
            end, progress = clock.monotonic() + seconds, connection.progress
        if (error := self.error or self.excuse) is not None:
            raise error
        assert value is not None
        return value

    async def arrived(
        self, name: str, there: Callable[[Property], bool], seconds: float, begin_seconds: float
    ) -> Property:
        """Wait for the end of a movement; returns the vector as it is then, which may be Alert, or not there.

        Drivers say Ok a moment before their position follows, and some before the movement has begun: one that is not
        there has ``begin_seconds`` to get there or to say that it moves. Raises NoAnswer after ``seconds``.
        """
        properties, clock = self._connection.properties, self._connection.clock
        end = clock.monotonic() + seconds

        def other() -> Property | None:
            vector = properties.get(name)
            return vector if vector is not None and (vector.state in ("Busy", "Alert") or there(vector)) else None

        while True:
            left = max(0.0, end - clock.monotonic())
            vector = await self.until(lambda: properties.at_rest(name), left, f"no end within {seconds:.0f} s")
            if vector.state == "Alert" or there(vector):
                return vector
            try:
                await self.until(other, begin_seconds, "it is not there")
            except NoAnswer:
                vector = await self.ask(name)  # some tell their position only when they are asked
                if vector.state != "Busy":
                    return vector

    def property(self, name: str) -> Property:
        """Return the device's vector of that name. Raises DeviceRefused (UNSUPPORTED) where it has none."""
        found = self._connection.properties.get(name)
        if found is None:
            raise DeviceRefused("UNSUPPORTED", self.describe(f"the device has no {name}"), may_pass=True)
        return found

    def refused(self, since: int, otherwise: str) -> DeviceRefused:
        """Return the refusal, in the words that the device has found since then."""
        words = self._connection.properties.complaint(since, any_level=True) or otherwise
        return DeviceRefused(code_of(words), self.describe(words), may_pass=True)

    def failed(self, since: int, otherwise: str, end: Property | None = None) -> DeviceFailed:
        """Return the failure, in the words with which the device has complained since then.

        ``end`` is the vector that said Alert: then what the device told people at that moment is the reason too.
        """
        properties = self._connection.properties
        words = properties.complaint(since)
        if not words and end is not None and end.state == "Alert":
            words = properties.said_with(end)
        return DeviceFailed(self.describe(words or otherwise))

    async def ask(self, name: str) -> Property:
        """Ask the device for a vector. Raises DeviceRefused (UNSUPPORTED), NoAnswer or ConnectionLost."""
        await self._connection.until_ready()
        self.property(name)
        since = self._connection.properties.serial
        self._connection.write(codec.get_properties(self._connection.device, name))

        def told() -> Property | None:
            found = self._connection.properties.get(name)
            return found if found is not None and found.serial > since else None

        return await self._answer(told, since, ANSWER_SECONDS)

    async def settled(self, name: str) -> Property:
        """Return the vector once the device has dealt with whatever it was told before.

        The answers to older commands are not answers to this one, and a command that was given up in the middle may
        have been carried out.
        Costs a question only where there is such a command. Raises what `ask` does.
        """
        await self._connection.until_ready()
        known = self.property(name)
        if not self.in_doubt:
            return known
        since = self._connection.properties.serial
        self._connection.write(codec.get_properties(self._connection.device, name))

        def defined() -> Property | None:
            found = self._connection.properties.get(name)
            return found if found is not None and found.serial > max(since, found.changed) else None

        found = await self._answer(defined, since, ANSWER_SECONDS)
        self._connection.given_up = False
        return found

    async def change(
        self,
        name: str,
        values: Mapping[str, float | bool | str],
        accept: Callable[[Property], bool] | None = None,
        patience: float = ANSWER_SECONDS,
    ) -> tuple[Property, int]:
        """Ask the device to change a vector; returns the vector as the device answers, and when it was sent.

        ``accept`` tells the answer from what the device says by itself all the time; without it the first that is heard
        of the vector is the answer. ``patience`` is for drivers that answer only when a movement is over. Raises
        DeviceRefused, NoAnswer or ConnectionLost.
        """
        await self._connection.until_ready()
        if (error := self.error or self.excuse) is not None:
            raise error
        known = self.property(name)
        for member in values:
            if member not in known.members:
                raise DeviceRefused("UNSUPPORTED", self.describe(f"the device has no {name}.{member}"))
        since = self._connection.properties.serial
        try:
            request = codec.new_vector(known.type, self._connection.device, name, values)
        except ValueError as error:
            raise DeviceRefused("VALUE", self.describe(str(error))) from None
        self._connection.write(request)

        def answered() -> Property | None:
            found = self._connection.properties.get(name)
            if found is None or found.changed <= since:
                return None
            accepted = accept is None or found.state == "Alert" or accept(found)
            silent = found.state == "Idle" and self._connection.properties.complaint(since)
            return found if accepted or silent else None

        self.unanswered = True
        try:
            answer = await self._answer(answered, since, patience, complaints=True)
        except DeviceRefused:
            raise
        except BaseException:
            self._connection.given_up = True
            raise
        finally:
            self.unanswered = False
        if answer.state == "Alert" or (answer.state == "Idle" and self._connection.properties.complaint(since)):
            raise self.refused(since, f"{name} is Alert")
        return answer, since

    async def insist(
        self,
        name: str,
        values: Mapping[str, float | bool | str],
        accept: Callable[[Property], bool] | None = None,
        patience: float = ANSWER_SECONDS,
        *,
        stop: Callable[[], Awaitable[None]],
        seconds: float,
    ) -> tuple[Property, int]:
        """`change` a vector; a device that refuses because it moves is stopped first, and told again.

        ``stop`` stops it, or raises DeviceRefused: then the end of its movement is waited for, ``seconds`` at most.
        """
        clock, properties = self._connection.clock, self._connection.properties
        moves, stops, end = self.property(name).state == "Busy", 0, self._connection.clock.monotonic() + seconds

        while True:
            try:
                return await self.change(name, values, accept, patience)
            except DeviceRefused:
                if not moves or stops >= _MAX_STOPS or clock.monotonic() >= end:
                    raise
            try:
                await stop()
                stops += 1
            except DeviceRefused:
                with suppress(NoAnswer):  # after a refusal it may not say any more that it moves
                    await self.until(lambda: None, RETRY_SECONDS, "")
                left = max(0.0, end - clock.monotonic())
                await self.until(lambda: properties.at_rest(name), left, "the movement before it does not end")

    async def _answer(
        self, told: Callable[[], Property | None], since: int, patience: float, *, complaints: bool = False
    ) -> Property:
        """Wait for an answer. A complaint may come before it, or be all that comes."""

        def first() -> Property | str | None:
            return told() or (self._connection.properties.complaint(since) or None if complaints else None)

        try:
            answer: Property | str = await self.until(first, patience, f"no answer within {patience:.0f} s")
            if isinstance(answer, Property):
                return answer
        except NoAnswer:
            self._connection.drop(f"no answer to {self.what} within {patience:.0f} s", self)
            raise
        try:
            return await self.until(told, GRACE_SECONDS, answer)
        except NoAnswer:
            raise self.refused(since, answer) from None
