"""Sources that fade as a power law of time, as the afterglows of gamma-ray bursts do: F(t) is proportional to t^-slope.

Times are seconds since 1970-01-01 UTC of the observatory's clock. The flux of an exposure is the mean over it, so that
a source that fades in mid-exposure is measured as one would be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyros.simulators.celestial import Sky

_EARLIEST = 1.0
"""Seconds after its beginning during which a source is as bright as at their end: a power law has no beginning."""


@dataclass(frozen=True)
class Transient:
    """A source that flares up at ``begin`` and has ``magnitude`` at ``after`` seconds later."""

    position: Sky
    magnitude: float
    begin: float
    slope: float = 1.0
    after: float = 60.0

    def mean_magnitude(self, opened: float, closed: float) -> float | None:
        """Its magnitude averaged (in flux) over an exposure; None if it wasn't there yet."""
        first, last = opened - self.begin, closed - self.begin
        if last <= 0:
            return None
        seconds = max(closed - opened, 1e-6)
        first = max(first, 0.0)
        flux = self._fluence(max(last, first + 1e-6)) - self._fluence(first)
        return self.magnitude - 2.5 * math.log10(flux / seconds) if flux > 0 else None

    def _fluence(self, t: float) -> float:
        """Return the integral of (t / after)^-slope from 0, with a plateau until _EARLIEST."""
        early = min(t, _EARLIEST) * math.pow(_EARLIEST / self.after, -self.slope)
        if t <= _EARLIEST:
            return early
        if abs(self.slope - 1) < 1e-9:
            return early + self.after * math.log(t / _EARLIEST)
        power = 1 - self.slope
        return early + math.pow(self.after, self.slope) * (math.pow(t, power) - math.pow(_EARLIEST, power)) / power
