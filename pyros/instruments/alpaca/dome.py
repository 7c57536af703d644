"""A dome or roof that speaks Alpaca."""

from __future__ import annotations

from typing import Literal

from twisted.internet.defer import Deferred

from pyros.angles import turn_between
from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.alpaca.client import LONG_SECONDS
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import DomeState, Kind, Started

_SHUTTER_STATES: tuple[DomeState, ...] = ("open", "closed", "opening", "closing", "stopped")
"""ASCOM's ShutterState; the last, its error, is a shutter that stands somewhere."""
_SHUTTER_SECONDS = 30.0
_MAX_MOTION_SECONDS = 300.0
_DEGREES_PER_SECOND = 5.0
_TOLERANCE_DEGREES = 5.0
"""Degrees; a dome that ends farther from where it was sent has failed."""


class AlpacaDome(AlpacaDevice):
    """A `Dome` that speaks Alpaca."""

    kind: Kind = "dome"
    _shutter_seconds = _SHUTTER_SECONDS

    def open(self, started: Started | None = None) -> Deferred[None]:
        return self._move("open", started)

    def close(self, started: Started | None = None) -> Deferred[None]:
        return self._move("close", started)

    @deferred
    async def _move(self, action: Literal["open", "close"], started: Started | None) -> None:
        there = "open" if action == "open" else "closed"
        with self._command(action) as command:
            # Whatever becomes of this command, what has not begun yet never does.
            self._end(f"{action} took its place", "open", "close", before=command)
            if action == "open":  # no question comes before a closing: whatever it says of itself, it is told
                if not await self._link.fact("cansetshutter", bool, True):
                    raise DeviceRefused("UNSUPPORTED", f"{self.name}: its shutter is not moved by its driver")
                await self.state()  # one that doesn't tell is not opened
            await command.check()
            # Also when it says that it is there.
            await self._at_once(command, lambda: self._link.put(f"{action}shutter", LONG_SECONDS))
            begin, moved, stillness = self._clock.monotonic(), False, self._stillness()

            async def look() -> DomeState | None:
                nonlocal moved
                state = await self.state()
                moved = moved or state != there
                failed = stillness.too_long and state not in ("opening", "closing")
                return state if state == there or failed else None

            most = self._option("shutter_seconds", _MAX_MOTION_SECONDS)
            state = await self._until(command, look, self._shutter_seconds, most, started)
            if state != there:
                raise DeviceFailed(f"{self.name}: {action}: its shutter is {state}")
            if moved:
                self._shutter_seconds = self._clock.monotonic() - begin  # the next time takes as long

    @deferred
    async def stop(self) -> None:
        await self._stop(lambda: self._link.put("abortslew"), "stopped", "open", "close", "rotation")

    @deferred
    async def state(self) -> DomeState:
        status = await self._link.get("shutterstatus", int)
        if not 0 <= status < len(_SHUTTER_STATES):
            raise DeviceFailed(f"{self.name}: answered {status} to GET shutterstatus, not 0 to 4")
        return _SHUTTER_STATES[status]

    @deferred
    async def azimuth(self) -> float | None:
        azimuth: float | None = await self._link.get_or("azimuth", float)
        return None if azimuth is None else azimuth % 360.0

    @deferred
    async def rotate(self, azimuth: float, started: Started | None = None) -> float:
        with self._command("rotation") as command:
            if not await self._link.fact("cansetazimuth", bool, False):
                raise DeviceRefused("UNSUPPORTED", f"{self.name}: its slit does not turn")
            before = await self.azimuth() or 0.0
            async with self._turn(command):
                turn = self._link.put("slewtoazimuth", Azimuth=azimuth % 360.0)
                await self._ending(turn, "a newer command took its place", "rotation", before=command)
            estimate = turn_between(before, azimuth) / _DEGREES_PER_SECOND
            stillness, tolerance = self._stillness(), self._option("tolerance_degrees", _TOLERANCE_DEGREES)

            async def look() -> float | None:
                slewing, here = await self._link.get("slewing", bool), await self.azimuth()
                if slewing:
                    stillness.moves()
                    return None
                if here is None:
                    raise DeviceFailed(f"{self.name}: it doesn't tell its azimuth")
                return here if turn_between(here, azimuth) <= tolerance or stillness.too_long else None

            most = self._option("turn_seconds", _MAX_MOTION_SECONDS)
            measured = await self._until(command, look, estimate, most, started)
        if turn_between(measured, azimuth) > tolerance:
            raise DeviceFailed(f"{self.name}: azimuth {measured} instead of {azimuth:g}")
        return measured
