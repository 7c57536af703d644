"""A focuser behind INDI; it must count its steps from an end (ABS_FOCUS_POSITION)."""

from __future__ import annotations

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi._motor import IndiMotor
from pyros.instruments.indi.properties import Property
from pyros.instruments.interfaces import FocuserLimits, Kind, Started

_PLACE, _STEPS = "ABS_FOCUS_POSITION", "FOCUS_ABSOLUTE_POSITION"
_TOLERANCE_STEPS = 2.0
"""By how many steps a move may end beside its target: some motors count half ones."""


class IndiFocuser(IndiMotor):
    """A `Focuser` behind INDI."""

    kind: Kind = "focuser"
    interface = 8
    needs = (_PLACE,)
    place, member, abort = _PLACE, _STEPS, "FOCUS_ABORT_MOTION"

    @deferred
    async def move(self, position: int, started: Started | None = None) -> int:
        with self._connection.command(f"move to {position}", "move") as command:
            limits = await self.limits()
            if not limits.least <= position <= limits.most:
                text = f"{position} is beyond its limits, {limits.least} to {limits.most}"
                raise DeviceRefused("LIMIT", command.describe(text))
            off = self._option("tolerance_steps", _TOLERANCE_STEPS)

            def there(now: Property) -> bool:
                steps = now.number(_STEPS)
                return steps is not None and abs(steps - position) <= off

            vector, since = await self._move(command, float(position), there, started)
            reached = self._steps(vector)
            if vector.state == "Alert" or not there(vector):
                raise command.failed(since, f"told to move to {position}, it is at {reached}", vector)
            return reached

    def _steps(self, vector: Property) -> int:
        if (steps := vector.number(_STEPS)) is None:
            raise DeviceFailed(f"{self.name}: its position is no number")
        return round(steps)

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
