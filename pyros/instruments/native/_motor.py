"""What the native drivers of a focuser and of a rotator share: a motor that moves to a place, and can be stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred

from pyros.errors import DeviceFailed
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import MotorState, Started
from pyros.instruments.native._device import NativeDevice

N = TypeVar("N", int, float)

_EVENTS = ("moved", "move_aborted", "move_failed")


class NativeMotor(NativeDevice):
    """A motor that speaks the native grammar."""

    def state(self) -> Deferred[MotorState]:
        return self._read_state(MotorState)

    @deferred
    async def stop(self) -> None:
        self._order("stop")
        await self._do("stop")

    async def _move(
        self, measure: Callable[[], Awaitable[N]], there: Callable[[N], bool], started: Started | None, **place: N
    ) -> N:
        """Move to the place that the device knows by that name, and return what is measured then.

        Raises DeviceFailed too when that is not ``there``.
        """
        order = self._order("move")
        async with self._stopping_if_given_up(order):
            await self._to_its_end("move", _EVENTS, "move", "move_seconds", started, **place)
            measured: N = await self._until_there(order, measure, there)
        if not there(measured):
            (wanted,) = place.values()
            raise DeviceFailed(f"{self.name}: it is at {measured:.10g} after it was told to move to {wanted:.10g}")
        return measured
