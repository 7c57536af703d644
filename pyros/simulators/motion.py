"""Something that moves at a steady rate: a focuser, a wheel, a dome's slit, a shutter, a cover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyros.simulators.device import Device
from pyros.simulators.grammar import Answer, busy


class Motion:
    """One coordinate of a device, and the movement that is under way, if any.

    ``name`` is its own among those of the device. The units are the device's; ``rate`` is in units per second.
    ``aborted`` is the event that tells whoever waited for the end of a movement that stops or gives way to another;
    None where a device says nothing then.
    """

    def __init__(self, device: Device, name: str, position: float, rate: float, aborted: str | None = None) -> None:
        self._device = device
        self._name = name
        self._rate = rate
        self._aborted = aborted
        self._start = self._end = position
        self._began = 0.0
        self._told: dict[str, Any] = {}
        self.moving = False

    @property
    def position(self) -> float:
        """Where it is at this moment."""
        if not self.moving:
            return self._start
        way = (self._device.pace.monotonic() - self._began) * self._rate
        return min(self._end, self._start + way) if self._end > self._start else max(self._end, self._start - way)

    @property
    def left(self) -> float:
        """The device's seconds until the movement ends."""
        return abs(self._end - self.position) / self._rate if self.moving else 0.0

    def begin(self, end: float, arrived: Callable[[], None], rate: float | None = None, **told: Any) -> Answer:
        """Move to ``end``, in place of an earlier movement, and call ``arrived``; at another rate, if one is given.
        ``told`` goes with the event of an abort."""
        here = self.position
        self.stop()
        self._rate = rate or self._rate
        self._start, self._end, self._told = here, end, told
        self._began = self._device.pace.monotonic()
        self.moving = True

        def over() -> None:
            self.moving, self._start = False, self._end
            arrived()

        self._device.later(self._name, self.left, over)
        return busy(self._device.real(self.left))

    def stop(self) -> bool:
        """Stand still; whether it moved."""
        if not self.moving:
            return False
        self._start, self.moving = self.position, False
        self._device.cancel(self._name)
        if self._aborted:
            self._device.event(self._aborted, **self._told)
        return True
