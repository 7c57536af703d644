"""A cooler that brings the detector to a temperature at a constant rate, and lets it warm up to the air's as slowly."""

from __future__ import annotations

from pyros.clock import Clock


class Cooler:
    """Degrees Celsius; seconds are the device's own, so give it the device's pace for a clock.

    It begins at its set point, as if switched on long ago.
    """

    def __init__(self, pace: Clock, temperature: float, ambient: float, rate: float) -> None:
        self.wanted = temperature
        self.off = False
        self._pace = pace
        self._ambient = ambient
        self._rate = rate
        self._from, self._since = temperature, pace.monotonic()

    def temperature(self) -> float:
        """The detector's now."""
        way = self._rate * (self._pace.monotonic() - self._since)
        return max(self.wanted, self._from - way) if self.wanted < self._from else min(self.wanted, self._from + way)

    def cool_to(self, wanted: float) -> None:
        """Go there from the present temperature."""
        self._from, self._since = self.temperature(), self._pace.monotonic()
        self.wanted, self.off = wanted, False

    def switch_off(self) -> None:
        """Warm up."""
        self.cool_to(self._ambient)
        self.off = True

    def seconds_left(self) -> float:
        """The device's seconds until it is where it shall be."""
        return abs(self.wanted - self.temperature()) / self._rate
