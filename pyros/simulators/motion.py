"""Something that moves at a steady rate: a focuser, a wheel, a dome's slit, a shutter, a cover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyros.simulators.device import SimulatedDevice
from pyros.simulators.grammar import DeviceAnswer, busy

STUCK = "the motor does not move"
"""Why a movement failed, in a device's own words."""


@dataclass(frozen=True)
class MotorWatch:
    """How a device watches a motor of its own.

    The device's seconds that it waits for the end of a movement beyond its time (None: for ever), the event that tells
    of the failure (None: the device tells itself), and what else it does then.
    """

    seconds: float | None
    failed: str | None
    gave_up: Callable[[], None]


class Motion:
    """One coordinate of a device, and the movement that is under way, if any.

    ``name`` is its own among those of the device. The units are the device's; ``rate`` is in units per second.
    ``aborted`` is the event that tells whoever waited for the end of a movement that stops or gives way to another;
    None where a device says nothing then. ``watch`` is there where the device watches its motor.
    """

    def __init__(
        self, device: SimulatedDevice, name: str, position: float, rate: float, aborted: str | None = None,
        watch: MotorWatch | None = None,
    ) -> None:  # fmt: skip
        self._device = device
        self._name = name
        self._rate = rate
        self._aborted = aborted
        self._watch = watch if watch is not None and watch.seconds is not None else None
        self._start = self._end = position
        self._began = 0.0
        self._told: dict[str, Any] = {}
        self.moving = False

    @property
    def position(self) -> float:
        """Where it is at this moment."""
        if not self.moving:
            return self._start
        way = (self._device.device_clock.monotonic() - self._began) * self._rate
        return min(self._end, self._start + way) if self._end > self._start else max(self._end, self._start - way)

    @property
    def left(self) -> float:
        """The device's seconds until the movement ends."""
        return abs(self._end - self.position) / self._rate if self.moving else 0.0

    def begin(self, end: float, arrived: Callable[[], None], rate: float | None = None, **told: Any) -> DeviceAnswer:
        """Move to ``end``, in place of an earlier movement, and call ``arrived``; at another rate, if one is given.

        ``told`` goes with the event of an abort."""
        here = self.position
        self.stop()
        self._rate = rate or self._rate
        self._start, self._end, self._told = here, end, told
        self._began = self._device.device_clock.monotonic()
        self.moving = True

        def over() -> None:
            self.moving, self._start = False, self._end
            self._device.cancel(self._guard)
            arrived()

        self._device.later(self._name, self.left, over)
        if self._watch is not None and self._watch.seconds is not None:
            # By the clock that goes on while the device stands still.
            patience = self._device.real(self.left + self._watch.seconds)
            self._device.later(self._guard, patience, self._give_up, self._device.clock)
        return busy(self._device.real(self.left))

    def stop(self) -> bool:
        """Stand still; whether it moved."""
        if not self.moving:
            return False
        self._end_here()
        if self._aborted:
            self._device.event(self._aborted, **self._told)
        return True

    @property
    def _guard(self) -> str:
        return f"{self._name} watch"

    def _end_here(self) -> None:
        self._start, self.moving = self.position, False
        self._device.cancel(self._name)
        self._device.cancel(self._guard)

    def _give_up(self) -> None:
        """Switch off, where it stands, a motor that has not arrived in time."""
        assert self._watch is not None
        self._end_here()
        self._watch.gave_up()
        if self._watch.failed is not None:
            self._device.event(self._watch.failed, reason=STUCK, **self._told)
