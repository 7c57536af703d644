"""A focuser behind INDI; it must count its steps from an end (ABS_FOCUS_POSITION)."""

from __future__ import annotations

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi._device import MOTION_SECONDS, IndiDevice, begun
from pyros.instruments.indi.command import IndiCommand
from pyros.instruments.indi.properties import Property
from pyros.instruments.interfaces import FocuserLimits, Kind, MotorState, Started

_PLACE, _STEPS = "ABS_FOCUS_POSITION", "FOCUS_ABSOLUTE_POSITION"
_TOLERANCE_STEPS = 2.0
"""By how many steps a move may end beside its target: some motors count half ones."""


class IndiFocuser(IndiDevice):
    """A `Focuser` behind INDI."""

    kind: Kind = "focuser"
    interface = 8
    needs = (_PLACE,)

    @deferred
    async def move(self, position: int, started: Started | None = None) -> int:
        with self._connection.command(f"move to {position}", "move") as command:
            limits = await self.limits()
            if not limits.least <= position <= limits.most:
                text = f"{position} is beyond its limits, {limits.least} to {limits.most}"
                raise DeviceRefused("LIMIT", command.describe(text))
            self._end("move", "a newer one took its place", command)
            await command.settled(_PLACE)
            seconds, off = (
                self._option("move_seconds", MOTION_SECONDS),
                self._option("tolerance_steps", _TOLERANCE_STEPS),
            )
            clock, begin = self._clock, self._clock.monotonic()

            def there(now: Property) -> bool:
                steps = now.number(_STEPS)
                return steps is not None and abs(steps - position) <= off

            def taken(now: Property) -> bool:
                # What it tells by itself may be from before the command.
                return now.state == "Busy" or there(now) or clock.monotonic() - begin > self._begin_seconds

            vector, since = await command.insist(
                _PLACE,
                {_STEPS: float(position)},
                taken,
                seconds,
                stop=lambda: self._abort_motion(command),
                seconds=seconds,
            )
            if vector.state == "Busy":
                begun(started, vector)
            vector = await command.arrived(_PLACE, there, seconds, self._begin_seconds)
            reached = self._steps(vector)
            if vector.state == "Alert" or not there(vector):
                raise command.failed(since, f"told to move to {position}, it is at {reached}", vector)
            return reached

    def _still(self) -> Property | None:
        vector = self._properties.get(_PLACE)
        return vector if vector is not None and vector.state != "Busy" else None

    def _steps(self, vector: Property) -> int:
        if (steps := vector.number(_STEPS)) is None:
            raise DeviceFailed(f"{self.name}: its position is no number")
        return round(steps)

    @deferred
    async def stop(self) -> None:
        """Stop the focuser; a focuser that cannot be stopped and stands still is told nothing."""
        with self._connection.command("stop") as command, self._stopping("move"):
            await self._connection.until_ready()
            if "FOCUS_ABORT_MOTION" not in self._properties and (await command.ask(_PLACE)).state != "Busy":
                return
            await self._abort_motion(command)

    async def _abort_motion(self, command: IndiCommand) -> None:
        await command.change("FOCUS_ABORT_MOTION", {"ABORT": True})

        def still() -> bool | None:
            return True if self._still() or not self._connection.commands.is_newest(command, "move") else None

        await command.until(still, 10.0, "told to stop, it still moves")

    @deferred
    async def position(self) -> int:
        return self._steps(await self._ask(_PLACE))

    @deferred
    async def limits(self) -> FocuserLimits:
        await self._connection.until_ready()
        vector = self._properties.get(_PLACE)
        member = vector.members.get(_STEPS) if vector is not None else None
        if member is None or not member.least < member.most:
            raise DeviceFailed(f"{self.name}: it does not tell its limits")
        most = self._properties.number("FOCUS_MAX", "FOCUS_MAX_VALUE")
        return FocuserLimits(round(member.least), round(min(member.most, most if most is not None else member.most)))

    @deferred
    async def temperature(self) -> float | None:
        await self._connection.until_ready()
        return self._properties.number("FOCUS_TEMPERATURE", "TEMPERATURE")

    @deferred
    async def state(self) -> MotorState:
        return "moving" if (await self._ask(_PLACE)).state == "Busy" else "idle"
