"""What rightly keeps an observatory shut after the weather is good again: how often it has become unsafe.

The safety table's two rules of flapping, counted once more from what monitoring has committed, and not by what it
believes. A change to unsafe counts only when there was a reason for it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pyros.agents.safety_rules import HOUR
from pyros.config import WeatherLimits
from pyros.planning.night_log import night_name
from pyros.planning.visibility import sun_altitude
from pyros.site import Site


class Closings:
    """How often monitoring has said that it is unsafe where it had been safe, in each night of a site."""

    def __init__(self, limits: WeatherLimits, site: Site) -> None:
        self._limits, self._site = limits, site
        self.safe = False
        """What monitoring has said last."""
        self.shut = False
        """Whether it became unsafe so often in a night that a person must release it."""
        self.flapping = False
        """Whether it became unsafe so often in an hour that it stays so for an hour."""
        self._night, self._in_night = "", 0
        self._times: list[float] = []

    def said(self, safe: bool, now: float, clock: float, *, reason: bool) -> None:
        """Note a word of monitoring's.

        ``now``: seconds since the night's beginning; ``clock``: Unix seconds by the computer's clock, as monitoring
        reads it. ``reason``: whether it is or was shortly before really unsafe, or something was out of order.
        """
        before, self.safe = self.safe, safe
        if safe:
            self.flapping = False
        elif before and reason and self._is_dark(clock):
            self._count(now, night_name(self._site, clock))

    def _is_dark(self, clock: float) -> bool:
        return sun_altitude(self._site, datetime.fromtimestamp(clock, UTC)) < self._site.dome_sun_limit

    def _count(self, now: float, night: str) -> None:
        if night != self._night:
            self._night, self._in_night = night, 0
        self._in_night += 1
        self._times = [*(time for time in self._times if now - time < HOUR), now]
        self.flapping = self.flapping or len(self._times) >= self._limits.closings_hour
        self.shut = self.shut or self._in_night >= self._limits.closings_night

    def released(self) -> None:
        """Note that a person has released the observatory, and monitoring has heard it."""
        self.shut = self.flapping = False
        self._in_night, self._times = 0, []
