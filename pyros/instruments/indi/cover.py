"""A cover and flat panel behind INDI: a dust cap, a light box, or a device that is both."""

from __future__ import annotations

from typing import Literal

from twisted.internet.defer import Deferred

from pyros.errors import DeviceRefused
from pyros.instruments.cover import CoverState
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi._device import MOTION_SECONDS, IndiDevice, begun
from pyros.instruments.indi.command import IndiCommand
from pyros.instruments.indi.properties import Properties, Property
from pyros.instruments.interfaces import Kind, Started

_CAP, _ABORT = "CAP_PARK", "CAP_ABORT"
_ENDS: dict[str, tuple[str, CoverState]] = {"open": ("UNPARK", "open"), "close": ("PARK", "closed")}
"""The member that each action switches on, and what the cover is then."""
_LAMP, _ON, _OFF = "FLAT_LIGHT_CONTROL", "FLAT_LIGHT_ON", "FLAT_LIGHT_OFF"
_INTENSITY, _LEVEL = "FLAT_LIGHT_INTENSITY", "FLAT_LIGHT_INTENSITY_VALUE"
_LAMP_SECONDS = 60.0
"""How long a lamp may take to be on or off, where the address doesn't say."""


class IndiCover(IndiDevice):
    """A `Cover` behind INDI."""

    kind: Kind = "cover"
    interface = 512 | 1024  # dust cap, light box

    def _missing(self, properties: Properties) -> str:
        return "" if _CAP in properties or _LAMP in properties else f"{_CAP} or {_LAMP}"

    def open(self, started: Started | None = None) -> Deferred[None]:
        return self._move("open", started)

    def close(self, started: Started | None = None) -> Deferred[None]:
        return self._move("close", started)

    @deferred
    async def _move(self, action: Literal["open", "close"], started: Started | None) -> None:
        member, there = _ENDS[action]
        with self._connection.command(action, "cover") as command:
            await self._connection.until_ready()
            if _CAP not in self._properties:
                raise DeviceRefused("UNSUPPORTED", command.describe("it has no cover"))
            self._end("cover", f"{action} took its place", command)
            await command.settled(_CAP)
            seconds = self._option("cover_seconds", MOTION_SECONDS)
            vector, since = await command.insist(
                _CAP,
                {member: True},
                lambda now: now.is_on(member),
                seconds,
                stop=lambda: self._abort_vector(command, _CAP, _ABORT, "cover"),
                seconds=seconds,
            )
            begun(started, vector)
            vector = await command.arrived(_CAP, lambda now: _state_of(now) == there, seconds, self._begin_seconds)
            if (state := _state_of(vector)) != there:
                raise command.failed(since, f"it is {state}", vector)

    @deferred
    async def stop(self) -> None:
        """Stop the cover; do nothing to one that cannot be stopped and stands still."""
        with self._connection.command("stop") as command, self._stopping("cover"):
            await self._connection.until_ready()
            if _CAP not in self._properties:
                raise DeviceRefused("UNSUPPORTED", command.describe("it has no cover"))
            if _ABORT not in self._properties and (await command.ask(_CAP)).state != "Busy":
                return
            await self._abort_vector(command, _CAP, _ABORT, "cover")

    @deferred
    async def state(self) -> CoverState:
        await self._connection.until_ready()
        return _state_of(await self._ask(_CAP)) if _CAP in self._properties else "absent"

    @deferred
    async def lamp_on(self, brightness: int, started: Started | None = None) -> int:
        with self._connection.command(f"lamp at {brightness}", "lamp") as command:
            most = await self.max_brightness()
            if not most:
                raise DeviceRefused("UNSUPPORTED", command.describe("it has no lamp"))
            if not 1 <= brightness <= most:
                raise DeviceRefused("VALUE", command.describe(f"a brightness is 1 to {most}"))
            self._end("lamp", "a newer command took its place", command)
            await self._light(command, _ON, started)
            if _INTENSITY not in self._properties:
                return 1
            # After it is on: some drivers refuse to dim a lamp that is off.
            vector, since = await command.change(
                _INTENSITY, {_LEVEL: float(brightness)}, lambda now: now.number(_LEVEL) == brightness
            )
            level = vector.number(_LEVEL)
            if not level:
                raise command.failed(since, f"its brightness is {level}", vector)
            return round(level)

    @deferred
    async def lamp_off(self) -> None:
        with self._connection.command("lamp off", "lamp") as command:
            await self._connection.until_ready()
            if _LAMP not in self._properties:
                raise DeviceRefused("UNSUPPORTED", command.describe("it has no lamp"))
            self._end("lamp", "a newer command took its place", command)
            await self._light(command, _OFF, None)

    async def _light(self, command: IndiCommand, member: str, started: Started | None) -> None:
        await command.settled(_LAMP)
        seconds = self._option("lamp_seconds", _LAMP_SECONDS)
        vector, since = await command.change(_LAMP, {member: True}, lambda now: now.is_on(member))
        begun(started, vector)
        vector = await command.arrived(_LAMP, lambda now: now.is_on(member), seconds, self._begin_seconds)
        if vector.state == "Alert" or not vector.is_on(member):
            raise command.failed(since, f"its lamp is {'off' if member == _ON else 'on'}", vector)

    @deferred
    async def brightness(self) -> int:
        await self._connection.until_ready()
        if _LAMP not in self._properties or not (await self._ask(_LAMP)).is_on(_ON):
            return 0
        if _INTENSITY not in self._properties:
            return 1
        return round((await self._ask(_INTENSITY)).number(_LEVEL) or 0.0)

    @deferred
    async def max_brightness(self) -> int:
        await self._connection.until_ready()
        if _LAMP not in self._properties:
            return 0
        vector = self._properties.get(_INTENSITY)
        return max(1, round(vector.members[_LEVEL].most)) if vector is not None and _LEVEL in vector.members else 1


def _state_of(vector: Property) -> CoverState:
    closed, opened = vector.is_on("PARK"), vector.is_on("UNPARK")
    if vector.state == "Busy":
        return "moving"
    if vector.state == "Alert" or closed == opened:
        return "stopped"
    return "open" if opened else "closed"
