"""The observatory's clock, for commands that look at its files."""

from __future__ import annotations

from twisted.internet.task import Clock

from pyros.clock import RealClock
from pyros.config import Config


def observatory_clock(config: Config) -> RealClock:
    """Make the clock as the observatory's agents have set it: with ``clock = night`` it is in its site's night."""
    return RealClock(Clock(), config.shift_seconds())
