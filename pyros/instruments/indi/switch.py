"""Power boxes, lamps and the like behind INDI: the switches and numbers of the vectors that the address names.

libindi has no standard for them as of version 1.9, each driver has vectors of its own; and so the address tells which
ones are the channels, in their order, after a question mark:

    tcp:127.0.0.1:7624/Pegasus UPB?POWER_CONTROL_1,POWER_CONTROL_2,DEW_PWM

A vector of two switches of which one is always on is one channel, on when the first of them is; of any other vector
each member is a channel.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import DeferredLock

from pyros.errors import ConfigError, DeviceFailed, DeviceRefused
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi._device import ANY_INTERFACE, IndiDevice
from pyros.instruments.indi.command import IndiCommand
from pyros.instruments.indi.connection import IndiConnection, parse_address
from pyros.instruments.indi.properties import Properties, Property
from pyros.instruments.interfaces import Channel, Kind

SETTLE_SECONDS = 10.0
"""How long a channel may take to be where it is set to."""
_VECTORS = re.compile(r"[A-Za-z0-9_.:-]{1,64}(?:,[A-Za-z0-9_.:-]{1,64}){0,63}")


def parse_switch_address(address: str) -> tuple[str, tuple[str, ...]]:
    """Split an address into the device's and the names of its vectors. Raises ConfigError."""
    device, _, names = address.rpartition("?")
    if not _VECTORS.fullmatch(names) or not parse_address(device)[1]:
        such = "tcp:127.0.0.1:7624/My Power Box?POWER_CONTROL_1,DEW_PWM"
        raise ConfigError([f"address = {address}: must be tcp:HOST:PORT/DEVICE?VECTOR,VECTOR such as {such}"])
    return device, tuple(names.split(","))


@dataclass(frozen=True, slots=True)
class _ChannelPlace:
    """Where a channel is: a member of a vector, or the choice between two."""

    vector: str
    member: str
    other: str = ""


class IndiSwitch(IndiDevice):
    """A `Switch` behind INDI."""

    kind: Kind = "switch"
    interface = ANY_INTERFACE
    """Any: no bit says that a device has something to switch."""

    def _connection_to(self, address: str) -> IndiConnection:
        device, self._names = parse_switch_address(address)
        self._turns = DeferredLock()
        return self._connection_of(device)

    def _missing(self, properties: Properties) -> str:
        return next((name for name in self._names if name not in properties), "")

    @deferred
    async def channels(self) -> tuple[Channel, ...]:
        await self._connection.until_ready()
        return tuple(self._channel(place) for place in self._places())

    @deferred
    async def get(self, channel: int) -> float:
        with self._connection.command(f"channel {channel}") as command:
            place, _ = await self._there_is(command, channel)
            return self._level(place, await command.ask(place.vector))

    @deferred
    async def set(self, channel: int, level: float) -> float:
        async with self._turns:  # the answer tells the whole vector, and may be that to another channel's command
            return await self._set(channel, level)

    async def _set(self, channel: int, level: float) -> float:
        with self._connection.command(f"channel {channel} to {level:g}") as command:
            place, there = await self._there_is(command, channel)
            if not there.writable:
                raise DeviceRefused("UNSUPPORTED", command.describe(f"{there.name!r} can only be read"))
            if not there.least <= level <= there.most:
                between = f"{there.least:g} and {there.most:g}"
                raise DeviceRefused("VALUE", command.describe(f"{there.name!r} has levels between {between}"))
            await command.settled(place.vector)
            vector, since = await command.change(place.vector, self._wanted(place, level))
            if vector.state == "Busy":
                vector = await command.until(
                    lambda: self._properties.at_rest(place.vector),
                    SETTLE_SECONDS,
                    f"not set within {SETTLE_SECONDS:.0f} s",
                )
            measured = self._level(place, vector)
            if not math.isclose(measured, level, abs_tol=max(there.step / 2, 1e-6)):
                raise command.failed(since, f"{there.name!r} is at {measured:g}")
            return measured

    def _wanted(self, place: _ChannelPlace, level: float) -> dict[str, Any]:
        vector = self._properties.get(place.vector)
        if vector is not None and vector.type == "Number":
            return {place.member: level}
        if place.other and level < 0.5:
            return {place.other: True}
        return {place.member: level >= 0.5}

    async def _there_is(self, command: IndiCommand, channel: int) -> tuple[_ChannelPlace, Channel]:
        await self._connection.until_ready()
        places = self._places()
        if not 0 <= channel < len(places):
            raise DeviceRefused("VALUE", command.describe(f"no such channel; there are {len(places)}, from 0"))
        return places[channel], self._channel(places[channel])

    def _places(self) -> list[_ChannelPlace]:
        places: list[_ChannelPlace] = []
        for name in self._names:
            vector = self._properties.get(name)
            if vector is None or vector.type not in ("Switch", "Number"):
                raise DeviceFailed(f"{self.name}: {name} has neither switches nor numbers")
            members = list(vector.members)
            if vector.type == "Switch" and vector.rule == "OneOfMany" and len(members) == 2:
                places.append(_ChannelPlace(name, *members))
            else:
                places += [_ChannelPlace(name, member) for member in members]
        return places

    def _channel(self, place: _ChannelPlace) -> Channel:
        vector = self._properties.get(place.vector)
        if vector is None or place.member not in vector.members:  # it has just gone
            raise DeviceFailed(f"{self.name}: it has no {place.vector} any more")
        member = vector.members[place.member]
        name = (vector.label if place.other or len(vector.members) == 1 else member.label) or place.member
        if vector.type == "Switch":
            return Channel(name, vector.writable)
        if not member.least < member.most:
            raise DeviceFailed(f"{self.name}: {place.vector}.{place.member} does not tell its limits")
        return Channel(name, vector.writable, member.least, member.most, member.step if member.step > 0 else 1.0)

    def _level(self, place: _ChannelPlace, vector: Property) -> float:
        if vector.type == "Switch":
            return 1.0 if vector.is_on(place.member) else 0.0
        level = vector.number(place.member)
        if level is None:
            raise DeviceFailed(f"{self.name}: {place.vector}.{place.member} is no number")
        return level
