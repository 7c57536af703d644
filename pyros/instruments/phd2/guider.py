"""A guider that is PHD2.

PHD2 tells that it is steady, or why not, by one event without a number (``SettleDone``), and refuses to begin
something before that: so the next one after a request is the request's. Its distances are pixels of its camera.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from pyros.clock import Clock
from pyros.errors import (
    CommandAborted,
    ConnectionLost,
    DeviceFailed,
    DeviceRefused,
    InstrumentError,
    NoAnswer,
)
from pyros.instruments.drivers.commands import CommandsUnderWay, DeviceCommand
from pyros.instruments.drivers.device import InstrumentDriver, deferred
from pyros.instruments.drivers.options import read_options, split_address
from pyros.instruments.guider import GUIDING_STOPPED, STAR_FOUND, STAR_LOST, GuidingState, Settle
from pyros.instruments.interfaces import Kind, Started
from pyros.instruments.phd2 import OPTIONS
from pyros.instruments.phd2.connection import Phd2Connection, Phd2Event

_STATES: dict[str, GuidingState] = {
    "Stopped": "idle",
    "Selected": "idle",
    "Looping": "idle",
    "Calibrating": "calibrating",
    "Guiding": "guiding",
    "LostLock": "lost",
    "Paused": "paused",
}
_AT_REST = ("Stopped", "Selected")
"""PHD2's states in which it takes no images."""
_EQUIPMENT_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.5
_CALIBRATION_SECONDS = 600.0


class _SettleCommand(DeviceCommand):
    """A request whose end is the next ``SettleDone``."""

    def __init__(self, what: str, clock: Clock) -> None:
        super().__init__(what, clock)
        self.sent = False
        self.done: Phd2Event | None = None

    def settled(self, event: Phd2Event) -> None:
        if self.sent:
            self.done = self.done or event
            self.wake()

    async def settle(self, seconds: float, device: str) -> Phd2Event:
        """Return the event; raises the error with which it was ended, or NoAnswer after so many seconds."""
        if self.done is None and self.error is None and not await self.sleep(seconds):
            raise NoAnswer(f"{device}: {self.what}: no end within {seconds:.0f} s")
        await self.check()
        assert self.done is not None
        return self.done


class Phd2Guider(InstrumentDriver):
    """A `Guider` that is PHD2."""

    kind: Kind = "guider"
    _connection: Phd2Connection

    def _connection_to(self, address: str) -> Phd2Connection:
        where, query = split_address(address)
        self._options = read_options(self.kind, address, query, OPTIONS)
        self._commands = CommandsUnderWay[_SettleCommand]()
        self._off: float | None = None
        """How far the star was off in the last step of guiding, PHD2's pixels."""
        self._lost = self._guides = self._stopping = False
        connection = Phd2Connection(self.kind, where, self._reactor, self._clock)
        connection.heard, connection.on_broken = self._heard, self._broken
        return connection

    @deferred
    async def guide(self, settle: Settle, started: Started | None = None) -> float:
        with self._commands.during(_SettleCommand("guide", self._clock)) as command:
            newer = bool(self._end_older(command, "a newer command took its place"))
            async with self._stopping_if_given_up(command):
                scale = await self._scale()
                if not await self._connection.call("get_connected"):
                    await self._connection.call("set_connected", [True], _EQUIPMENT_SECONDS)
                await command.check()
                state = await self._app_state()
                if newer or state == "LostLock":
                    await self._to_rest()
                elif state == "Paused":
                    await self._connection.call("set_paused", [False])
                await command.check()
                params = {"settle": _in_pixels(settle, scale), "recalibrate": False}
                return await self._settled(command, "guide", params, settle, scale, started)

    @deferred
    async def dither(self, arcsec: float, settle: Settle, started: Started | None = None) -> float:
        if self._commands:
            raise DeviceRefused("BUSY", f"{self.name}: {self._commands[0].what} is under way")
        with self._commands.during(_SettleCommand("dither", self._clock)) as command:
            scale = await self._scale()
            if (state := await self._app_state()) != "Guiding":
                raise DeviceRefused("STATE", f"{self.name}: it is {state}, and dithers only while it guides")
            await command.check()
            async with self._stopping_if_given_up(command):
                params = {"amount": arcsec / scale, "raOnly": False, "settle": _in_pixels(settle, scale)}
                return await self._settled(command, "dither", params, settle, scale, started)

    @deferred
    async def pause(self) -> None:
        if (state := await self._app_state()) != "Guiding":
            raise DeviceRefused("STATE", f"{self.name}: it is {state}, not Guiding")
        await self._connection.call("set_paused", [True, "full"])

    @deferred
    async def stop(self) -> None:
        self._end_older(None, "stopped")
        await self._to_rest()

    @deferred
    async def error(self) -> float | None:
        if await self._app_state() != "Guiding" or self._off is None:
            return None
        return self._off * await self._scale()

    @deferred
    async def state(self) -> GuidingState:
        return _STATES[await self._app_state()]

    # What PHD2 says of itself.

    async def _app_state(self) -> str:
        state = await self._connection.call("get_app_state")
        if not isinstance(state, str) or state not in _STATES:
            raise DeviceFailed(f"{self.name}: its state is {str(state)[:40]!r}, not one of {', '.join(_STATES)}")
        return state

    async def _scale(self) -> float:
        """Return arcseconds per pixel of the guide camera."""
        scale: Any = self._option("arcsec_per_pixel", None)
        if scale is None:
            scale = await self._connection.call("get_pixel_scale")
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not (math.isfinite(scale) and scale > 0):
            raise DeviceFailed(
                f"{self.name}: does not know the size of its pixels on the sky: enter pixel size and focal length in "
                "PHD2's profile, or ?arcsec_per_pixel= in the address"
            )
        return float(scale)

    def _heard(self, event: Phd2Event) -> None:
        match event["Event"]:
            case "SettleDone":
                for command in list(self._commands):
                    command.settled(event)
            case "GuideStep":
                self._off = _distance(event)
                self._guides = True
                if self._lost:
                    self._lost = False
                    self._say(STAR_FOUND)
            case "StarLost" if not self._lost:
                self._lost = True
                self._say(STAR_LOST)
            case "GuidingStopped":
                stopped, self._guides, self._lost = self._guides, False, False
                if stopped and not (self._stopping or self._commands):
                    self._say(GUIDING_STOPPED)
            case "CalibrationFailed":
                reason = str(event.get("Reason", "no reason given"))[:200]
                for command in list(self._commands):
                    command.end(DeviceFailed(f"{self.name}: the calibration failed: {reason}"))

    def _say(self, event: str) -> None:
        if self.on_event is not None:
            self.on_event(event)

    def _broken(self, error: ConnectionLost) -> None:
        self._guides = self._lost = False
        self._off = None
        self._commands.end_all(error)

    # Commands.

    async def _settled(
        self, command: _SettleCommand, method: str, params: dict[str, Any], settle: Settle, scale: float,
        started: Started | None,
    ) -> float:  # fmt: skip
        command.sent = True
        await self._connection.call(method, params)
        if started is not None:
            started(settle.timeout)
        limit = self._option("guide_seconds", settle.timeout + _CALIBRATION_SECONDS)
        end = await command.settle(limit, self.name)
        if end.get("Status") != 0:
            reason = str(end.get("Error", "no reason given"))[:200]
            raise DeviceFailed(f"{self.name}: {command.what} failed: {reason}")
        return (self._off or 0.0) * scale

    def _end_older(self, command: _SettleCommand | None, why: str) -> list[_SettleCommand]:
        """End the commands that were given before that one, and return them."""
        older = list(self._commands.older(command))
        for each in older:
            each.end(CommandAborted(f"{self.name}: {each.what}: {why}"))
        return older

    async def _to_rest(self) -> None:
        """Have PHD2 stop, and wait until it has: before that it begins nothing new."""
        self._stopping = True
        try:
            await self._connection.call("stop_capture")
            end = self._clock.monotonic() + _STOP_SECONDS
            while (state := await self._app_state()) not in _AT_REST:
                if self._clock.monotonic() >= end:
                    raise DeviceFailed(f"{self.name}: is still {state} {_STOP_SECONDS:g} s after it was told to stop")
                await self._pause(_POLL_SECONDS)
        finally:
            self._stopping = False

    @asynccontextmanager
    async def _stopping_if_given_up(self, command: _SettleCommand) -> AsyncIterator[None]:
        """Stop PHD2 if the block fails and no newer command was given: it is steady, or it does not guide."""
        try:
            yield
        except (DeviceFailed, NoAnswer):
            if self._commands.is_newest(command, ""):
                with suppress(InstrumentError):
                    await self._to_rest()
            raise


def _in_pixels(settle: Settle, scale: float) -> dict[str, float]:
    """Return what PHD2 calls a settle: pixels, and whole seconds."""
    return {"pixels": settle.arcsec / scale, "time": math.ceil(settle.seconds), "timeout": math.ceil(settle.timeout)}


def _distance(event: Phd2Event) -> float | None:
    """Return how far a step's star is off, pixels."""
    dx, dy = event.get("dx"), event.get("dy")
    if not isinstance(dx, int | float) or not isinstance(dy, int | float):
        return None
    distance = math.hypot(dx, dy)
    return distance if math.isfinite(distance) else None
