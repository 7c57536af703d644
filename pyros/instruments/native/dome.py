"""A dome or roof that speaks the native grammar."""

from __future__ import annotations

from typing import Literal

from twisted.internet.defer import Deferred

from pyros.angles import turn_between
from pyros.errors import DeviceFailed, NoAnswer
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import (
    DomeState,
    Kind,
    Started,
)
from pyros.instruments.native._device import NativeDevice

TOLERANCE_DEGREES = 5.0
"""A turn that ends farther from its target has failed: the slit is some degrees wide."""

_TURN = ("rotated", "rotation_aborted", "rotation_failed")


class NativeDome(NativeDevice):
    """A `Dome` that speaks the native grammar."""

    kind: Kind = "dome"

    def open(self, started: Started | None = None) -> Deferred[None]:
        return self._move("open", started)

    def close(self, started: Started | None = None) -> Deferred[None]:
        return self._move("close", started)

    def state(self) -> Deferred[DomeState]:
        return self._read_state(DomeState)

    @deferred
    async def _move(self, action: Literal["open", "close"], started: Started | None) -> None:
        there, opposite = ("opened", "closed") if action == "open" else ("closed", "opened")
        before = self._connection.watches(opposite)
        with self._connection.watch(action, there) as watch:
            busy = await self._do(action, started)
            self._end_watches(before, f"{action} took its place")
            if busy is None:
                return
            watch.forget()  # its events have no tags
            try:
                await self._end(watch, busy, "shutter_seconds")
            except NoAnswer as silence:
                state: DomeState = await self._read_state(DomeState)
                if state != ("open" if action == "open" else "closed"):
                    raise DeviceFailed(f"{silence}; it is {state}") from None

    @deferred
    async def stop(self) -> None:
        self._order("stop")
        moves, turns = self._connection.watches("opened", "closed"), self._connection.watches("rotated")
        await self._do("stop")
        self._end_watches(moves, "stopped")
        self._end_watches(turns, "stopped")

    @deferred
    async def azimuth(self) -> float | None:
        return await self._number_or_none("azimuth")  # None: a roof

    @deferred
    async def rotate(self, azimuth: float, started: Started | None = None) -> float:
        """Fails with `DeviceFailed` too when the azimuth measured is off by more than the tolerance."""
        order, tolerance = self._order("rotation"), self._option("tolerance_degrees", TOLERANCE_DEGREES)
        turn = self._to_its_end("rotate", _TURN, "rotation", "turn_seconds", started, azimuth=float(azimuth))
        await self._known(turn, "is a roof: its slit does not turn")

        def there(measured: list[float]) -> bool:
            return turn_between(measured[0], azimuth) <= tolerance

        (measured,) = found = await self._until_there(order, lambda: self._numbers("azimuth", 1), there)
        if not there(found):
            raise DeviceFailed(f"{self.name}: its slit is at {measured:g} after it was told to turn to {azimuth:g}")
        return measured
