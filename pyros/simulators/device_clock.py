"""A device's own time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pyros.clock import Clock, Timer, cancel_call


class DeviceClock:
    """A clock whose durations pass ``speed`` times faster, and which stands still while the device is stuck.

    The date is that of the clock beneath: the sky above a fast mount is that of the observatory's time.
    """

    def __init__(self, clock: Clock, speed: float) -> None:
        self._clock = clock
        self._speed = speed
        self._reached = self._since = clock.monotonic()
        self._still = False
        self._waiting: dict[_Waiting, None] = {}

    def time(self) -> float:
        return self._clock.time()

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._reached if self._still else self._reached + (self._clock.monotonic() - self._since) * self._speed

    def call_later(self, seconds: float, function: Any, *args: Any) -> Timer:
        waiting = _Waiting(self, self.monotonic() + seconds, function, args)
        self._waiting[waiting] = None
        if not self._still:
            self._arm(waiting)
        return waiting

    def stand_still(self) -> None:
        """From now on no time passes."""
        if self._still:
            return
        self._reached, self._still = self.monotonic(), True
        for waiting in self._waiting:
            waiting.disarm()

    def go_on(self) -> None:
        """Time passes again; what was to happen happens so much later."""
        if not self._still:
            return
        self._since, self._still = self._clock.monotonic(), False
        for waiting in sorted(self._waiting, key=lambda each: each.due):
            self._arm(waiting)

    def _arm(self, waiting: _Waiting) -> None:
        left = max(0.0, waiting.due - self.monotonic())
        waiting.timer = self._clock.call_later(left / self._speed, waiting.fire)

    def forget(self, waiting: _Waiting) -> None:
        self._waiting.pop(waiting, None)


class _Waiting:
    """A timer that may have to wait for its clock."""

    def __init__(self, device_clock: DeviceClock, due: float, function: Any, args: tuple[Any, ...]) -> None:
        self.due = due
        self.timer: Timer | None = None
        self._device_clock = device_clock
        self._function, self._args = function, args
        self._active = True

    def active(self) -> bool:
        return self._active

    def cancel(self) -> None:
        self._active = False
        self.disarm()
        self._device_clock.forget(self)

    def disarm(self) -> None:
        cancel_call(self.timer)
        self.timer = None

    def fire(self) -> None:
        self._active, self.timer = False, None
        self._device_clock.forget(self)
        self._function(*self._args)
