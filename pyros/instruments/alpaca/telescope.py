"""A telescope that speaks Alpaca."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

from pyros.angles import separation_arcsec, turn_between
from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import BEGIN_SECONDS, AlpacaDevice
from pyros.instruments.alpaca.client import LONG_SECONDS
from pyros.instruments.drivers.commands import DeviceCommand
from pyros.instruments.drivers.coordinates import apparent_of_icrs, icrs_of_apparent
from pyros.instruments.drivers.device import deferred
from pyros.instruments.drivers.horizon import refuse_below
from pyros.instruments.drivers.pointing import TOLERANCE_ARCSEC, checked_slew
from pyros.instruments.interfaces import Kind, PierSide, Place, Pointing, Position, Started, TelescopeState

_DEGREES_PER_SECOND = 3.0
"""The speed of a mount that was not seen slewing yet."""
_BRAKING_SECONDS = 1.0
_MAX_MOTION_SECONDS = 300.0
_STOP_SECONDS = 15.0
_SETTLE_SECONDS = 10.0
"""How long a mount may say on its target that it slews, besides the time that it asks for itself to settle."""
_TRACK_SECONDS = 3.0
"""How long a mount may take to begin to track."""
_NEAR_DEGREES = 1.0
"""Degrees; a mount that was so near may have been there when it was first asked."""
_DRIFT_ARCSEC_PER_SECOND = 30.0
"""Arcseconds a second: a mount that is faster is moved by its motors, not left behind by the sky (15)."""
_PIER_EAST, _PIER_WEST = 0, 1
_COORDINATE_SYSTEMS = {0: "icrs", 1: "apparent", 2: "icrs"}
"""ASCOM's EquatorialCoordinateType: other, topocentric of date, J2000. Those that answer other mean J2000, which is
ICRS to 0.02 arcseconds."""


class AlpacaTelescope(AlpacaDevice):
    """A `Telescope` that speaks Alpaca."""

    kind: Kind = "telescope"
    wants_site = True

    def __init__(
        self, *args: Any, tolerance_arcsec: float = TOLERANCE_ARCSEC, site: Place | None = None, **named: Any
    ) -> None:
        self._site = site
        self._speed = _DEGREES_PER_SECOND
        self._slewing_is_stuck = False  # it said that it slews though it stood on its target and was stopped there
        super().__init__(*args, **named)
        self.tolerance_arcsec: float = self._option("tolerance_arcsec", tolerance_arcsec)

    @deferred
    async def slew(
        self, ra: float, dec: float, tag: str = "", started: Started | None = None, *, side: PierSide = ""
    ) -> Pointing:
        with self._command("slew") as command:
            await self._link.ready()
            if self._site is not None:
                refuse_below(ra, dec, self._site.latitude, self._site.longitude, self._clock.time(), self.name)
            if not await self._link.fact("canslewasync", bool, False):
                raise DeviceRefused("UNSUPPORTED", f"{self.name} cannot slew while others may ask it (CanSlewAsync)")

            async def slew_once(attempt: int) -> None:
                await self._slew_once(command, ra, dec, started if attempt == 1 else None, side)

            async with self._stopping_if_given_up(command, self._abort_slew, "slew", "park"):
                return await checked_slew(slew_once, self.position, ra, dec, self.name, self.tolerance_arcsec)

    async def _slew_once(
        self, command: DeviceCommand, ra: float, dec: float, started: Started | None, side: PierSide
    ) -> None:
        async with self._turn(command):
            await self._take_over(command, "a slew took its place")
            await self._make_ready(command)
            if side:
                await self._change_side(command, side)
            before = await self.position()
            hours, degrees = await self._coordinates(ra, dec)
            await command.check()
            try:
                await self._begin_slew(hours, degrees)
            except DeviceRefused as refusal:
                if refusal.code != "STATE":
                    raise
                # It moves, and hadn't said so.
                with suppress(DeviceRefused):
                    await self._abort_slew()
                await self._until_still(command)
                await self._make_ready(command)
                await command.check()
                await self._begin_slew(hours, degrees)
        degrees, begin = _apart(before, ra, dec), self._clock.monotonic()
        await self._until_there(command, ra, dec, degrees, started)
        if degrees > 10:  # the next one is as fast
            self._speed = degrees / max(1.0, self._clock.monotonic() - begin - _BRAKING_SECONDS)
        await self._until_it_tracks(command)

    async def _change_side(self, command: DeviceCommand, side: PierSide) -> None:
        """Bring the tube to the other side of the pier, where the mount can be told; else the slew chooses it."""
        if await self.side() in ("", side) or not await self._link.fact("cansetpierside", bool, False):
            return
        await command.check()
        await self._link.put("sideofpier", SideOfPier=_PIER_EAST if side == "east" else _PIER_WEST)
        await self._until_still(command)

    async def _make_ready(self, command: DeviceCommand) -> None:
        """Unpark it and let it track: else a slew is refused."""
        if await self._link.get("atpark", bool):
            await command.check()
            await self.unpark()
        if not await self._link.get("tracking", bool) and await self._link.fact("cansettracking", bool, False):
            await self._link.put("tracking", Tracking=True)

    async def _begin_slew(self, hours: float, degrees: float) -> None:
        try:
            await self._link.put("slewtocoordinatesasync", RightAscension=hours, Declination=degrees)
        except DeviceRefused as refusal:
            if refusal.code == "VALUE":  # the numbers are right, so it is the place
                raise DeviceRefused("LIMIT", str(refusal).removeprefix("VALUE: ")) from None
            raise

    async def _until_there(
        self, command: DeviceCommand, ra: float, dec: float, way: float, started: Started | None
    ) -> None:
        """Wait until it stands on the target, or somewhere else for good; ``way`` are the degrees to go.

        Neither the device's word alone ends a slew: Slewing may be false while the slew hasn't begun, and true for ever
        on the target, where the mount is stopped then.
        """
        stillness, estimate = self._stillness(), _BRAKING_SECONDS + way / self._speed
        before, when = await self.position(), self._clock.monotonic()
        on_target: float | None = None
        # One that is far away and at its target at once only echoes it.
        travels = left = way < _NEAR_DEGREES
        soonest = when + min(estimate, self._option("begin_seconds", BEGIN_SECONDS))
        settle = self._option("settle_seconds", _SETTLE_SECONDS)
        settle += max(0.0, await self._link.get_if_told("slewsettletime", float) or 0.0)

        async def look() -> bool | None:
            """Return True for the end, False for a mount that doesn't know its end."""
            nonlocal before, when, on_target, travels, left
            slewing = await self._link.get("slewing", bool)
            here, now = await self.position(), self._clock.monotonic()
            moved = separation_arcsec(before.ra, before.dec, here.ra, here.dec)
            travels = travels or slewing
            if slewing or moved > _DRIFT_ARCSEC_PER_SECOND * (now - when) + 1.0:
                stillness.moves()
            before, when = here, now
            if separation_arcsec(ra, dec, here.ra, here.dec) > self.tolerance_arcsec:
                on_target, travels, left = None, True, True
                return True if stillness.too_long else None
            if not slewing:
                self._slewing_is_stuck = False
                return True if travels or now >= soonest else None
            on_target = now if on_target is None else on_target
            return False if left and now - on_target >= settle else None

        if not await self._until(command, look, estimate, self._most_seconds, started):
            await self._abort_slew()
            try:
                await self._until_still(command)
            except DeviceFailed:
                self._slewing_is_stuck = True

    async def _until_it_tracks(self, command: DeviceCommand) -> None:
        """Let the mount track again if it doesn't, or fail: a target that isn't followed is lost."""
        end = self._clock.monotonic() + _TRACK_SECONDS
        while not await self._link.get("tracking", bool):
            await command.check()
            if self._clock.monotonic() > end or not await self._link.fact("cansettracking", bool, False):
                raise DeviceFailed(f"{self.name}: slew: it is on its target and doesn't track")
            await self._link.put("tracking", Tracking=True)
            await command.pause(0.2)

    @property
    def _most_seconds(self) -> float:
        return self._option("slew_seconds", _MAX_MOTION_SECONDS)

    async def _take_over(self, command: DeviceCommand, why: str) -> None:
        """End what is under way, whoever began it: a mount that moves takes no other command."""
        if self._commands.of("slew", "park", before=command) or await self._slews():
            await self._ending(self._abort_slew(), why, "slew", "park", before=command)
            await self._until_still(command)

    async def _until_still(self, command: DeviceCommand) -> None:
        await self._until(command, self._still, 0.5, self._option("stop_seconds", _STOP_SECONDS))

    async def _still(self) -> bool | None:
        return None if await self._slews() else True

    async def _slews(self) -> bool:
        """Whether it says so and can be believed."""
        slewing = await self._link.get("slewing", bool)
        self._slewing_is_stuck = self._slewing_is_stuck and slewing
        return slewing and not self._slewing_is_stuck

    @deferred
    async def stop(self) -> None:
        await self._stop(self._abort_slew, "stopped", "slew", "park")

    async def _abort_slew(self) -> None:
        try:
            await self._link.put("abortslew")
        except DeviceRefused:
            if await self._link.get("slewing", bool):  # a parked one has nothing to stop, and says so
                raise

    @deferred
    async def park(self, started: Started | None = None) -> None:
        with self._command("park") as command:
            if not await self._link.fact("canpark", bool, False):
                raise DeviceRefused("UNSUPPORTED", f"{self.name} has no park position")
            async with self._turn(command):
                await self._take_over(command, "a park took its place")
                if await self._link.get("atpark", bool):
                    return
                await command.check()
                await self._link.put("park", LONG_SECONDS)
            stillness = self._stillness()

            async def look() -> bool | None:
                if await self._link.get("atpark", bool):
                    return True
                if await self._slews():
                    stillness.moves()
                return False if stillness.too_long else None

            estimate = _BRAKING_SECONDS + 90 / self._speed
            async with self._stopping_if_given_up(command, self._abort_slew, "slew", "park"):
                parked = await self._until(command, look, estimate, self._most_seconds, started)
        if not parked:
            raise DeviceFailed(f"{self.name}: park: it stands still and is not parked")

    @deferred
    async def unpark(self) -> None:
        await self._link.put("unpark", LONG_SECONDS)

    @deferred
    async def side(self) -> PierSide:
        await self._link.ready()
        number = await self._link.get_if_told("sideofpier", int)
        return "east" if number == _PIER_EAST else "west" if number == _PIER_WEST else ""

    @deferred
    async def track(self, on: bool) -> None:
        await self._link.put("tracking", Tracking=on)
        if await self._link.get("tracking", bool) is not on:
            raise DeviceFailed(f"{self.name}: told to {'track' if on else 'stand still'}, and doesn't")

    @deferred
    async def sync(self, ra: float, dec: float) -> None:
        if not await self._link.fact("cansync", bool, False):
            raise DeviceRefused("UNSUPPORTED", f"{self.name} cannot be told where it is")
        hours, degrees = await self._coordinates(ra, dec)
        await self._link.put("synctocoordinates", RightAscension=hours, Declination=degrees)
        here = await self.position()
        error = separation_arcsec(ra, dec, here.ra, here.dec)
        if error > self.tolerance_arcsec:
            raise DeviceFailed(f"{self.name}: {error:.0f} arcsec from where it was told that it is")

    @deferred
    async def position(self) -> Position:
        hours = await self._link.get("rightascension", float)
        dec = await self._link.get("declination", float)
        if not (0 <= hours <= 24 and -90 <= dec <= 90):
            raise DeviceFailed(f"{self.name}: it says it is at {hours:g} h, {dec:g} degrees")
        if await self._system() == "icrs":
            return Position(hours * 15 % 360, dec)
        return Position(*icrs_of_apparent(hours * 15, dec, self._clock.time()))

    async def _coordinates(self, ra: float, dec: float) -> tuple[float, float]:
        """Convert an ICRS position to the mount's own coordinates: hours and degrees."""
        if await self._system() == "apparent":
            ra, dec = apparent_of_icrs(ra, dec, self._clock.time())
        return (ra / 15) % 24.0, float(dec)

    async def _system(self) -> str:
        number = await self._link.fact("equatorialsystem", int, 1)  # what ASCOM's first mounts had
        if number not in _COORDINATE_SYSTEMS:
            raise DeviceRefused("UNSUPPORTED", f"{self.name} has coordinates of J2050 or B1950; set it to J2000")
        return _COORDINATE_SYSTEMS[number]

    @deferred
    async def state(self) -> TelescopeState:
        if await self._link.get("atpark", bool):
            return "parked"
        if await self._slews():
            return "parking" if self._commands.of("park") else "slewing"
        return "tracking" if await self._link.get("tracking", bool) else "idle"


def _apart(here: Position, ra: float, dec: float) -> float:
    """Degrees by the axis that has farther to go."""
    return max(turn_between(here.ra, ra), abs(here.dec - dec), math.ulp(1.0))
