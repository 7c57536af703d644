"""A filter wheel that speaks the native grammar."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyros.errors import CommandAborted, DeviceFailed
from pyros.instruments.interfaces import Kind, MotorState, Started
from pyros.instruments.native._device import NativeDevice, reason


class NativeFilterWheel(NativeDevice):
    """A `FilterWheel` that speaks the native grammar."""

    kind: Kind = "filter_wheel"

    def filters(self) -> Deferred[tuple[str, ...]]:
        return Deferred.fromCoroutine(self._filters())

    def select(self, filter: str, started: Started | None = None) -> Deferred[str]:
        """Fails with `DeviceFailed` too when the wheel says that it is done and reports another filter."""
        return Deferred.fromCoroutine(self._select(filter, started))

    def filter(self) -> Deferred[str]:
        return Deferred.fromCoroutine(self._filter())

    def state(self) -> Deferred[MotorState]:
        return Deferred.fromCoroutine(self._read_state(MotorState))

    async def _filters(self) -> tuple[str, ...]:
        return (await self._get("filters")).values

    async def _filter(self) -> str:
        values = (await self._get("filter")).values
        if len(values) != 1:
            raise DeviceFailed(f"{self.name}: answered {values} to GET filter, not one name")
        return values[0]

    async def _select(self, filter: str, started: Started | None) -> str:
        tag = self._tag("select")
        with self._connection.watch("selected", "select_aborted", "select_failed", tag=tag) as watch:
            busy = await self._do("select", started, filter=filter, tag=tag)
            if busy is not None:
                event = await self._end(watch, busy, "turn")
                if event.name == "select_aborted":
                    raise CommandAborted(f"{self.name}: turn: a newer command took its place")
                if event.name == "select_failed":
                    raise DeviceFailed(f"{self.name}: turn failed: {reason(event)}")
        measured = await self._filter()
        if measured != filter:
            raise DeviceFailed(f"{self.name}: {measured or 'no filter'} is in the beam after it was told {filter}")
        return measured
