"""The observatory's clock, for commands that look at its files."""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.task import Clock

from pyros.clock import RealClock
from pyros.config import Config


def observatory_clock(config: Config) -> RealClock:
    """Make the clock as the observatory's agents have set it: with ``clock = night`` it is in its site's night."""
    offset = 0.0
    if config.clock == "night":
        with suppress(OSError, ValueError):
            offset = float(config.clock_shift.read_text())
    return RealClock(Clock(), offset)
