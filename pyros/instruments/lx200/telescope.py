"""A telescope that speaks LX200.

The language has no events, and most of its mounts don't tell what they are doing. So the end of a movement is seen in
the mount's distance bars (``:D#``) where it has them, and in its position, which stands still; tracking in its status
(``:GW#``), or in its right ascension, which grows by a second each second when nothing follows the sky. Its
coordinates are those of date.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from twisted.internet.defer import DeferredLock

from pyros.angles import separation_arcsec, turn_between
from pyros.errors import CommandAborted, ConnectionLost, DeviceFailed, DeviceRefused, InstrumentError, NoAnswer
from pyros.instruments.drivers.commands import CommandsUnderWay, DeviceCommand
from pyros.instruments.drivers.coordinates import apparent_of_icrs, icrs_of_apparent
from pyros.instruments.drivers.device import InstrumentDriver, deferred
from pyros.instruments.drivers.horizon import refuse_below
from pyros.instruments.drivers.options import read_options, split_address
from pyros.instruments.drivers.pointing import TOLERANCE_ARCSEC, checked_slew
from pyros.instruments.interfaces import (
    Kind,
    PierSide,
    Place,
    Pointing,
    Position,
    Started,
    TelescopeState,
)
from pyros.instruments.lx200.codec import AnswerKind, dec_command, ra_command
from pyros.instruments.lx200.connection import Lx200Connection

POLL_SECONDS = 0.5
"""How often a mount that moves is asked."""
MAX_MOTION_SECONDS = 300.0
"""How long a movement may take: the language has no estimates."""
OPTIONS_WITHOUT_MEANING = ("stop_seconds",)
"""Options that mean nothing to such mounts."""
_BEGIN_SECONDS = 5.0
"""A mount that stands still somewhere else so long after the command is not going to move."""
_STUCK_SECONDS = 10.0
"""How long its distance bars may show a way to go on its target, where it stands."""
_TRACK_SECONDS = 3.0
"""How long a mount may take to begin to track."""
_DEGREES_PER_SECOND, _SETTLE_SECONDS = 3.0, 2.0
_STILL_ARCSEC_PER_SECOND = 20.0
"""Arcseconds a second: the sky's 15, and something."""
_REFUSALS = {
    "1": ("LIMIT", "the target is below its horizon"),
    "2": ("LIMIT", "the target is beyond its limits"),
    # Beyond Meade's two, as OnStep and others answer.
    "3": ("STATE", "it is asleep"),
    "4": ("STATE", "it is parked"),
    "5": ("BUSY", "it is moving"),
    "6": ("LIMIT", "the target is beyond its limits"),
    "8": ("BUSY", "it is moving"),
}


class Lx200Telescope(InstrumentDriver):
    """A `Telescope` that speaks LX200."""

    kind: Kind = "telescope"
    wants_site = True
    _connection: Lx200Connection

    def __init__(
        self, *args: Any, tolerance_arcsec: float = TOLERANCE_ARCSEC, site: Place | None = None, **named: Any
    ) -> None:
        self._site = site
        self._turns = DeferredLock()  # target and command belong together, and no other comes between
        self._motions = CommandsUnderWay[DeviceCommand]()
        self._parked = False  # by this driver; the language has no question for it
        super().__init__(*args, **named)
        self.tolerance_arcsec: float = self._option("tolerance_arcsec", tolerance_arcsec)

    def _connection_to(self, address: str) -> Lx200Connection:
        """Its ``on_event`` is never called: such a mount says nothing unasked."""
        where, query = split_address(address)
        self._options = read_options(self.kind, address, query, lacks=OPTIONS_WITHOUT_MEANING)
        connection = Lx200Connection(self.kind, where, self._reactor, self._clock)
        connection.on_broken = self._broken
        return connection

    # Movements.

    @asynccontextmanager
    async def _moving(self, what: str) -> AsyncIterator[tuple[DeviceCommand, bool]]:
        """Begin a movement, which supersedes the one under way; gives the movement, and whether there was one."""
        before = self._motion
        with self._motions.during(DeviceCommand(what, self._clock)) as motion:
            if before is not None:
                before.end(CommandAborted(f"{self.name}: {before.what}: a {what} took its place"))
            try:
                yield motion, before is not None
            except (DeviceFailed, NoAnswer):  # it may go on moving, and nobody waits for its end any more
                if self._motion is motion:
                    with suppress(InstrumentError):
                        await self._connection.ask("Q", AnswerKind.NOTHING)
                raise

    @property
    def _motion(self) -> DeviceCommand | None:
        """The movement under way: the newest, since each ends the one before; None once it was stopped."""
        newest = self._motions[-1] if self._motions else None
        return None if newest is None or isinstance(newest.error, CommandAborted) else newest

    @deferred
    async def slew(
        self, ra: float, dec: float, tag: str = "", started: Started | None = None, *, side: PierSide = ""
    ) -> Pointing:
        await self._connection.link()
        if self._site is not None:
            refuse_below(ra, dec, self._site.latitude, self._site.longitude, self._clock.time(), self.name)
        async with self._moving("slew") as (motion, interrupting):

            async def slew_once(attempt: int) -> None:
                first = attempt == 1
                await self._slew_once(motion, ra, dec, started if first else None, interrupting and first)

            tolerance = self.tolerance_arcsec + (0 if self._connection.precise else self._rounding)
            return await checked_slew(slew_once, self.position, ra, dec, self.name, tolerance)

    async def _slew_once(
        self, motion: DeviceCommand, ra: float, dec: float, started: Started | None, interrupting: bool
    ) -> None:
        async with self._turns:
            await motion.check()
            if interrupting:
                await self._connection.ask("Q", AnswerKind.NOTHING)
            await motion.check()
            if self._parked:
                await self.unpark()
            here = await self.position()
            try:
                await self._go(motion, ra, dec)
            except DeviceRefused as refusal:
                if refusal.code not in ("STATE", "BUSY"):
                    raise
                await motion.check()
                await self._connection.ask("hW" if refusal.code == "STATE" else "Q", AnswerKind.NOTHING)
                await self._go(motion, ra, dec)
            await motion.check()
        if started is not None:
            started(_estimate(here, ra, dec))
        await self._until_still(motion, Position(ra, dec))
        if self._is_at(ra, dec, await self.position()):
            await self._until_it_tracks(motion)

    async def _until_it_tracks(self, motion: DeviceCommand) -> None:
        """Let the mount track again if it doesn't, or fail: a target that isn't followed is lost.

        A mount that tells right ascension to six seconds only shows it too late; who watches it afterwards sees it.
        """
        if not self._connection.tells_status and not self._connection.precise:
            return
        end = self._clock.monotonic() + _TRACK_SECONDS
        while not await self._tracks(motion):
            status = await self._connection.status()
            if not status or self._clock.monotonic() > end:
                raise DeviceFailed(f"{self.name}: slew: it is on its target and doesn't track")
            await self._connection.ask("AA" if status[0] == "A" else "AP", AnswerKind.NOTHING)
            await motion.pause(POLL_SECONDS)

    async def _go(self, motion: DeviceCommand, ra: float, dec: float) -> None:
        await self._set_target(ra, dec)
        await motion.check()
        answer = await self._connection.ask("MS", AnswerKind.SLEW)
        if answer != "0":
            code, text = _REFUSALS.get(answer[0], ("STATE", f"it answered {answer[0]}"))
            raise DeviceRefused(code, " ".join(answer[1:].split()) or text)

    async def _set_target(self, ra: float, dec: float) -> None:
        of_date = apparent_of_icrs(ra, dec, self._clock.time())
        precise = self._connection.precise
        for command in (ra_command(of_date[0], precise), dec_command(of_date[1], precise)):
            if await self._connection.ask(command, AnswerKind.BYTE) != "1":
                raise DeviceRefused("VALUE", f"it does not take :{command}#")

    async def _until_still(self, motion: DeviceCommand, target: Position | None = None) -> None:
        """Wait for the end of a movement. Raises NoAnswer when there is none, and what ends the motion."""
        began = self._clock.monotonic()
        before, when, quiet = await self.position(), began, 0
        on_target: float | None = None
        most = self._option("slew_seconds", MAX_MOTION_SECONDS)
        while (elapsed := self._clock.monotonic() - began) < most:
            await motion.pause(POLL_SECONDS)
            moving = await self._distance_left()
            here, now = await self.position(), self._clock.monotonic()
            step = separation_arcsec(before.ra, before.dec, here.ra, here.dec)
            stands = step <= _STILL_ARCSEC_PER_SECOND * (now - when) + 2 * self._rounding
            quiet = quiet + 1 if stands and not moving else 0
            before, when = here, now
            arrived = target is not None and self._is_at(target.ra, target.dec, here)
            enough = 1 if self._connection.tells_distance else 2
            if quiet >= enough and (arrived or elapsed > self._option("begin_seconds", _BEGIN_SECONDS)):
                await motion.check()
                return
            on_target = (now if on_target is None else on_target) if arrived and stands else None
            if on_target is not None and now - on_target >= self._option("settle_seconds", _STUCK_SECONDS):
                await motion.check()
                await self._connection.ask("Q", AnswerKind.NOTHING)  # its bars don't know the end
                return
        raise NoAnswer(f"{self.name}: {motion.what}: no end within {most:.0f} s")

    async def _distance_left(self) -> bool:
        """Whether the distance bars say that it moves."""
        return self._connection.tells_distance and bool((await self._connection.ask("D", AnswerKind.TEXT)).strip())

    @deferred
    async def stop(self) -> None:
        await self._connection.link()  # a slew that waits for it too comes first, and is stopped then
        motion = self._motion
        if motion is not None:
            motion.end(CommandAborted(f"{self.name}: {motion.what}: stopped"))
        await self._connection.ask("Q", AnswerKind.NOTHING)
        await self._connection.angle("GR")  # whose answer says that the mount has heard that

    @deferred
    async def park(self, started: Started | None = None) -> None:
        """Refused (UNSUPPORTED) by a mount that passes over the command: it neither moves nor stops tracking."""
        await self._connection.link()
        if not self._connection.parks:
            raise self._no_parking()
        async with self._moving("park") as (motion, interrupting):
            async with self._turns:
                await motion.check()
                if interrupting:
                    await self._connection.ask("Q", AnswerKind.NOTHING)
                if self._parked:
                    return
                before = await self.position()
                await motion.check()
                await self._connection.ask("hP", AnswerKind.NOTHING)
            if started is not None:
                started(_SETTLE_SECONDS + 90 / _DEGREES_PER_SECOND)
            await self._until_still(motion)
            if await self._tracks(motion):
                if self._is_at(before.ra, before.dec, await self.position()):
                    self._connection.parks = False
                    raise self._no_parking()
                raise DeviceFailed(f"{self.name}: park: it has moved, and tracks; a parked mount stands still")
            await motion.check()
            self._parked = True

    def _no_parking(self) -> DeviceRefused:
        text = f"{self.name} passes over the command to park (:hP#): it neither moves nor stops tracking"
        return DeviceRefused("UNSUPPORTED", text)

    @deferred
    async def unpark(self) -> None:
        await self._connection.ask("hW", AnswerKind.NOTHING)
        self._parked = False

    # Tracking and position.

    @deferred
    async def side(self) -> PierSide:
        return ""

    @deferred
    async def track(self, on: bool) -> None:
        status = await self._connection.status()
        if not status:
            raise DeviceRefused("UNSUPPORTED", f"{self.name} doesn't tell whether it tracks (:GW#)")
        if self._motion is not None:
            raise DeviceRefused("BUSY", f"{self.name} is moving")
        if self._parked:
            raise DeviceRefused("STATE", f"{self.name} is parked")
        follow = "AA" if status[0] == "A" else "AP"
        await self._connection.ask(follow if on else "AL", AnswerKind.NOTHING)
        if ((await self._connection.status())[1:2] == "T") is not on:
            raise DeviceFailed(f"{self.name}: told to {'track' if on else 'stand still'}, and doesn't")

    @deferred
    async def sync(self, ra: float, dec: float) -> None:
        async with self._turns:
            await self._set_target(ra, dec)
            answer = await self._connection.ask("CM", AnswerKind.TEXT)
        here = await self.position()
        error = separation_arcsec(ra, dec, here.ra, here.dec)
        if error > self.tolerance_arcsec + self._rounding:
            said = " ".join(answer.split())
            raise DeviceFailed(f"{self.name}: sync: it said {said!r} and is {error:.0f} arcsec from there")

    @deferred
    async def position(self) -> Position:
        hours, _ = await self._connection.angle("GR")
        dec, _ = await self._connection.angle("GD")
        if not (0 <= hours <= 24 and -90 <= dec <= 90):
            raise DeviceFailed(f"{self.name}: it says it is at {hours:g} h, {dec:g} degrees")
        return Position(*icrs_of_apparent(hours * 15, dec, self._clock.time()))

    @deferred
    async def state(self) -> TelescopeState:
        await self._connection.link()
        if self._motion is not None:
            return "parking" if self._motion.what == "park" else "slewing"
        if await self._distance_left():
            return "slewing"
        if await self._tracks(DeviceCommand("state", self._clock)):
            self._parked = False  # somebody else has unparked it
            return "tracking"
        return "parked" if self._parked else "idle"

    async def _tracks(self, motion: DeviceCommand) -> bool:
        """Whether it follows the sky: its status says so, or its right ascension stays."""
        if status := await self._connection.status():
            return status[1] == "T"
        before, _ = await self._connection.angle("GR")
        seconds = 3.0 if self._connection.precise else 15.0
        await motion.pause(seconds)
        after, _ = await self._connection.angle("GR")
        moved = (after - before + 12) % 24 - 12  # hours
        return abs(moved) * 3600 < 0.6 * seconds

    def _is_at(self, ra: float, dec: float, here: Position) -> bool:
        """Whether the mount is there, as far as it can tell."""
        return separation_arcsec(ra, dec, here.ra, here.dec) <= self.tolerance_arcsec + self._rounding

    @property
    def _rounding(self) -> float:
        """Arcseconds between two right ascensions that the mount can tell."""
        return 15.0 if self._connection.precise else 90.0

    def _broken(self, error: ConnectionLost) -> None:
        self._motions.end_all(error)


def _estimate(here: Position, ra: float, dec: float) -> float:
    """Seconds, by the axis that has farther to go."""
    farther = max(turn_between(here.ra, ra), abs(here.dec - dec))
    return _SETTLE_SECONDS + farther / _DEGREES_PER_SECOND
