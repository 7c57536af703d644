"""A filter wheel that speaks the native grammar."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyros.errors import DeviceFailed
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind, MotorState, Started
from pyros.instruments.native._device import NativeDevice

_EVENTS = ("selected", "select_aborted", "select_failed")


class NativeFilterWheel(NativeDevice):
    """A `FilterWheel` that speaks the native grammar."""

    kind: Kind = "filter_wheel"

    def state(self) -> Deferred[MotorState]:
        return self._read_state(MotorState)

    @deferred
    async def filters(self) -> tuple[str, ...]:
        return (await self._get("filters")).values

    @deferred
    async def filter(self) -> str:
        values = (await self._get("filter")).values
        if len(values) != 1:
            raise DeviceFailed(f"{self.name}: answered {values} to GET filter, not one name")
        return values[0]

    @deferred
    async def select(self, filter: str, started: Started | None = None) -> str:
        """Fails with `DeviceFailed` too when the wheel says that it is done and reports another filter."""
        order = self._order("turn")
        await self._to_its_end("select", _EVENTS, "turn", "turn_seconds", started, filter=filter)
        measured = await self._until_there(order, self.filter, lambda there: there == filter)
        if measured != filter:
            raise DeviceFailed(f"{self.name}: {measured or 'no filter'} is in the beam after it was told {filter}")
        return measured
