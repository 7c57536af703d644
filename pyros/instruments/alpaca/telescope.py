"""A telescope that speaks Alpaca."""

from __future__ import annotations

import math
from typing import Any

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import GRACE_SECONDS, AlpacaDevice
from pyros.instruments.alpaca.client import LONG_SECONDS
from pyros.instruments.apparent import apparent_of_icrs, icrs_of_apparent
from pyros.instruments.device import deferred
from pyros.instruments.horizon import refuse_below
from pyros.instruments.interfaces import Kind, Place, Pointing, Position, Started, TelescopeState
from pyros.instruments.pointing import TOLERANCE_ARCSEC, checked_slew, separation_arcsec
from pyros.instruments.running import Running

_DEGREES_A_SECOND = 3.0
"""The speed of a mount that was not seen slewing yet."""
_SETTLE_SECONDS = 1.0
_MOST_SECONDS = 300.0
_STOP_SECONDS = 15.0
_SYSTEMS = {0: "icrs", 1: "apparent", 2: "icrs"}
"""ASCOM's EquatorialCoordinateType: other, topocentric of date, J2000. Those that answer other mean J2000, which is
ICRS to 0.02 arcseconds."""


class AlpacaTelescope(AlpacaDevice):
    """A `Telescope` that speaks Alpaca."""

    kind: Kind = "telescope"

    def __init__(
        self, *args: Any, tolerance_arcsec: float = TOLERANCE_ARCSEC, site: Place | None = None, **named: Any
    ) -> None:
        self.tolerance_arcsec = tolerance_arcsec
        self._site = site
        self._speed = _DEGREES_A_SECOND
        super().__init__(*args, **named)

    @deferred
    async def slew(self, ra: float, dec: float, tag: str = "", started: Started | None = None) -> Pointing:
        with self._command("slew") as running:
            await self._link.ready()
            if self._site is not None:
                refuse_below(ra, dec, self._site.latitude, self._site.longitude, self._clock.time(), self.name)
            if not await self._link.fact("canslewasync", bool, False):
                raise DeviceRefused("UNSUPPORTED", f"{self.name} cannot slew while others may ask it (CanSlewAsync)")

            async def slew_once(attempt: int) -> None:
                await self._slew_once(running, ra, dec, started if attempt == 1 else None)

            return await checked_slew(slew_once, self.position, ra, dec, self.name, self.tolerance_arcsec)

    async def _slew_once(self, running: Running, ra: float, dec: float, started: Started | None) -> None:
        async with self._turn(running):
            await self._take_over(running, "a slew took its place")
            if await self._link.get("atpark", bool):
                await running.check()
                await self.unpark()
            if not await self._link.get("tracking", bool) and await self._link.fact("cansettracking", bool, False):
                await self._link.put("tracking", Tracking=True)  # without it a slew is refused
            before = await self.position()
            hours, degrees = await self._coordinates(ra, dec)
            await running.check()
            try:
                await self._link.put("slewtocoordinatesasync", RightAscension=hours, Declination=degrees)
            except DeviceRefused as refusal:
                if refusal.code == "VALUE":  # the numbers are right, so it is the place
                    raise DeviceRefused("LIMIT", str(refusal).removeprefix("VALUE: ")) from None
                raise
        degrees, begin = _apart(before, ra, dec), self._clock.monotonic()
        await self._until(running, self._still, _SETTLE_SECONDS + degrees / self._speed, _MOST_SECONDS, started)
        if degrees > 10:  # the next one is as fast
            self._speed = degrees / max(1.0, self._clock.monotonic() - begin - _SETTLE_SECONDS)

    async def _take_over(self, running: Running, why: str) -> None:
        """End what is under way, whoever began it: a mount that moves takes no other command."""
        await running.check()
        if self._is_running("slew", "park", before=running) or await self._link.get("slewing", bool):
            await self._ending(self._abort_slew(), why, "slew", "park", before=running)
            await self._until(running, self._still, 0.5, _STOP_SECONDS)

    async def _still(self) -> bool | None:
        return None if await self._link.get("slewing", bool) else True

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
        with self._command("park") as running:
            if not await self._link.fact("canpark", bool, False):
                raise DeviceRefused("UNSUPPORTED", f"{self.name} has no park position")
            async with self._turn(running):
                await self._take_over(running, "a park took its place")
                if await self._link.get("atpark", bool):
                    return
                await running.check()
                await self._link.put("park", LONG_SECONDS)
            begin = self._clock.monotonic()

            async def look() -> bool | None:
                if await self._link.get("atpark", bool):
                    return True
                late = self._clock.monotonic() - begin > GRACE_SECONDS
                return False if late and not await self._link.get("slewing", bool) else None

            parked = await self._until(running, look, _SETTLE_SECONDS + 90 / self._speed, _MOST_SECONDS, started)
        if not parked:
            raise DeviceFailed(f"{self.name}: park: it stands still and is not parked")

    @deferred
    async def unpark(self) -> None:
        await self._link.put("unpark", LONG_SECONDS)

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
        """The mount's own of an ICRS position: hours and degrees."""
        if await self._system() == "apparent":
            ra, dec = apparent_of_icrs(ra, dec, self._clock.time())
        return (ra / 15) % 24.0, float(dec)

    async def _system(self) -> str:
        number = await self._link.fact("equatorialsystem", int, 1)  # what ASCOM's first mounts had
        if number not in _SYSTEMS:
            raise DeviceRefused("UNSUPPORTED", f"{self.name} has coordinates of J2050 or B1950; set it to J2000")
        return _SYSTEMS[number]

    @deferred
    async def state(self) -> TelescopeState:
        if await self._link.get("atpark", bool):
            return "parked"
        if await self._link.get("slewing", bool):
            return "parking" if self._is_running("park") else "slewing"
        return "tracking" if await self._link.get("tracking", bool) else "idle"


def _apart(here: Position, ra: float, dec: float) -> float:
    """Degrees by the axis that has farther to go."""
    return max(abs((here.ra - ra + 180) % 360 - 180), abs(here.dec - dec), math.ulp(1.0))
