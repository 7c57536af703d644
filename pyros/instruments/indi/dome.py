"""A dome or a roof behind INDI. A roll-off roof has no shutter there: its *parked* is closed, its *unparked* open."""

from __future__ import annotations

import re
from typing import Literal

from twisted.internet.defer import Deferred

from pyros.angles import turn_between
from pyros.errors import DeviceFailed, DeviceRefused, NoAnswer
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi import codec
from pyros.instruments.indi._device import MOTION_SECONDS, IndiDevice, begun
from pyros.instruments.indi.command import GRACE_SECONDS, IndiCommand
from pyros.instruments.indi.properties import Properties, Property
from pyros.instruments.interfaces import DomeState, Kind, Started

_SHUTTER, _PARK = "DOME_SHUTTER", "DOME_PARK"
_MEMBERS = {_SHUTTER: {"open": "SHUTTER_OPEN", "close": "SHUTTER_CLOSE"}, _PARK: {"open": "UNPARK", "close": "PARK"}}
_ENDS: dict[str, tuple[DomeState, DomeState]] = {"open": ("open", "opening"), "close": ("closed", "closing")}
"""What the shutter is after each action, and meanwhile."""
_SLIT, _AZIMUTH = "ABS_DOME_POSITION", "DOME_ABSOLUTE_POSITION"
_TOLERANCE_DEGREES = 3.0
"""Degrees, where the address doesn't say, by which a slit may end beside where it was told to look."""


class IndiDome(IndiDevice):
    """A `Dome` behind INDI."""

    kind: Kind = "dome"
    interface = 32

    def open(self, started: Started | None = None) -> Deferred[None]:
        return self._move("open", started)

    def close(self, started: Started | None = None) -> Deferred[None]:
        return self._move("close", started)

    def _missing(self, properties: Properties) -> str:
        return "" if _SHUTTER in properties or _PARK in properties else _SHUTTER

    @property
    def _door(self) -> str:
        return _SHUTTER if _SHUTTER in self._properties else _PARK

    def _state_of(self, vector: Property) -> DomeState:
        members = _MEMBERS[vector.name]
        opening, closing = vector.is_on(members["open"]), vector.is_on(members["close"])
        if opening == closing or vector.state == "Alert":
            return "stopped"
        if vector.state == "Busy":
            return "opening" if opening else "closing"
        return "open" if opening else "closed"

    @deferred
    async def state(self) -> DomeState:
        await self._connection.until_ready()
        return self._state_of(await self._ask(self._door))

    @deferred
    async def _move(self, action: Literal["open", "close"], started: Started | None) -> None:
        with self._connection.command(action, "shutter") as command:
            await self._connection.until_ready()
            door = self._door
            there, moving = _ENDS[action]
            seconds = self._option("shutter_seconds", MOTION_SECONDS)
            self._end("shutter", f"{action} took its place", command)  # what has not begun yet never does
            doubtful = command.in_doubt
            if action == "open" and self._state_of(await command.ask(door)) == there and not doubtful:
                return
            # Closing waits for no question: what it is then is what was last heard.
            before = self._state_of(command.property(door))
            if before in (there, moving) and not doubtful:
                # One that closes once more, closed, hasn't begun anything.
                told = await self._tell_again(command, door, action, started if before == moving else None)
                if told is None:
                    return
                since = told
            else:
                member = _MEMBERS[door][action]

                def taken(now: Property) -> bool:
                    return now.is_on(member) or not doubtful

                vector, since = await command.insist(
                    door, {member: True}, taken, stop=lambda: self._abort_motion(command), seconds=seconds
                )
                begun(started, vector)

            def arrived(vector: Property) -> bool:
                return self._state_of(vector) == there

            vector = await command.arrived(door, arrived, seconds, self._begin_seconds)
            if (state := self._state_of(vector)) != there:
                raise command.failed(since, f"it is {state}", vector)

    async def _tell_again(self, command: IndiCommand, door: str, action: str, started: Started | None) -> int | None:
        """Tell a dome what it believes to be doing or to have done already: its driver may be wrong.

        Some drivers answer nothing to that, and some refuse. Returns when it was told, None when it says that there is
        nothing to do.
        """
        since = self._properties.serial
        member = {_MEMBERS[door][action]: True}
        self._connection.write(codec.new_vector("Switch", self._connection.device, door, member))

        def answered() -> Property | None:
            now = self._properties.get(door)
            return now if now is not None and now.changed > since else None

        try:
            vector = await command.until(answered, GRACE_SECONDS, "no answer")
        except NoAnswer:
            vector = await command.ask(door)
        if vector.state == "Alert" and re.search(
            r"\balready\b", self._properties.complaint(since, any_level=True), re.IGNORECASE
        ):
            return None
        begun(started, vector)
        return since

    @deferred
    async def stop(self) -> None:
        with self._connection.command("stop") as command, self._stopping("shutter", "slit"):
            await self._connection.until_ready()
            await self._abort_motion(command)

    async def _abort_motion(self, command: IndiCommand) -> None:
        try:
            await command.change("DOME_ABORT_MOTION", {"ABORT": True})
        except DeviceRefused as refusal:  # libindi's drivers say Alert when the shutter did stop
            if refusal.code == "UNSUPPORTED":
                raise

        def still() -> bool | None:
            moving = [self._properties.get(name) for name in (self._door, _SLIT)]
            stands = not any(vector is not None and vector.state == "Busy" for vector in moving)
            return True if stands or not self._connection.commands.is_newest(command, "shutter", "slit") else None

        await command.until(still, 10.0, "told to stop, it still moves")

    @deferred
    async def azimuth(self) -> float | None:
        await self._connection.until_ready()
        return self._degrees(await self._ask(_SLIT)) if _SLIT in self._properties else None

    def _degrees(self, vector: Property) -> float:
        if (degrees := vector.number(_AZIMUTH)) is None:
            raise DeviceFailed(f"{self.name}: its azimuth is no number")
        return degrees % 360

    @deferred
    async def rotate(self, azimuth: float, started: Started | None = None) -> float:
        with self._connection.command(f"turn to {azimuth:g}", "slit") as command:
            await self._connection.until_ready()
            if _SLIT not in self._properties:
                raise DeviceRefused("UNSUPPORTED", command.describe("a roof, whose slit does not turn"))
            if not 0 <= azimuth <= 360:
                raise DeviceRefused("VALUE", command.describe("an azimuth is from 0 to 360 degrees"))
            self._end("slit", "a newer one took its place", command)
            await self._make_ready(command)

            seconds = self._option("turn_seconds", MOTION_SECONDS)
            off = self._option("tolerance_degrees", _TOLERANCE_DEGREES)

            def there(vector: Property) -> bool:
                degrees = vector.number(_AZIMUTH)
                return degrees is not None and turn_between(degrees, azimuth) <= off

            vector, since = await command.change(_SLIT, {_AZIMUTH: azimuth}, self._answer_to(there))
            begun(started, vector)
            vector = await command.arrived(_SLIT, there, seconds, self._begin_seconds)
            if vector.state == "Alert" or not there(vector):
                raise command.failed(since, f"it looks to {self._degrees(vector):.1f} degrees", vector)
            return self._degrees(vector)

    async def _make_ready(self, command: IndiCommand) -> None:
        """Stop or unpark a dome that would refuse to turn; where there is a shutter vector, unparking opens nothing."""
        if (await command.ask(_SLIT)).state == "Busy":
            # There is one stop for both: let the slit end its turn.
            if command.property(self._door).state == "Busy" or self._connection.commands.of("shutter"):
                seconds = self._option("turn_seconds", MOTION_SECONDS)
                await command.until(lambda: self._properties.at_rest(_SLIT), seconds, "the turn before it does not end")
                return
            await self._abort_motion(command)
        park = self._properties.get(_PARK)
        if park is not None and park.is_on("PARK") and self._door == _SHUTTER:
            await command.change(_PARK, {"UNPARK": True})
