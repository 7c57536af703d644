"""A cooler that brings the detector to a temperature at a constant rate, and lets it warm up to the air's as slowly."""

from __future__ import annotations

from pyros.clock import Clock


class Cooler:
    """Degrees Celsius; seconds are the device's own, so give it the device's clock.

    It begins at its set point, as if switched on long ago.
    """

    def __init__(self, device_clock: Clock, temperature: float, ambient: float, rate: float) -> None:
        self.wanted = temperature
        self.off = False
        self._device_clock = device_clock
        self._ambient = ambient
        self._rate = rate
        self._from, self._since = temperature, device_clock.monotonic()

    def temperature(self) -> float:
        """Return the detector's temperature now, °C."""
        way = self._rate * (self._device_clock.monotonic() - self._since)
        return max(self.wanted, self._from - way) if self.wanted < self._from else min(self.wanted, self._from + way)

    def power(self, cooling_range: float) -> float:
        """Return the percent of its power that holds the present temperature so far below the air's."""
        return 0.0 if self.off else min(100.0, max(0.0, 100 * (self._ambient - self.temperature()) / cooling_range))

    def cool_to(self, wanted: float) -> None:
        """Go there from the present temperature."""
        self._from, self._since = self.temperature(), self._device_clock.monotonic()
        self.wanted, self.off = wanted, False

    def switch_off(self) -> None:
        """Warm up."""
        self.cool_to(self._ambient)
        self.off = True

    def seconds_left(self) -> float:
        """Return the device's seconds until it is where it shall be."""
        return abs(self.wanted - self.temperature()) / self._rate
