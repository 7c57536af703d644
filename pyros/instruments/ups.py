"""What every driver of a UPS offers; how its methods end stands in `pyros.instruments.interfaces`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred

from pyros.instruments.interfaces import Instrument


@dataclass(frozen=True, slots=True)
class Power:
    """What a UPS says."""

    on_mains: bool
    """Whether the mains feed it; False on battery, and when it is about to switch off."""
    charge: float | None = None
    """Of its battery, percent; 0 where it says that the battery is low; None where it doesn't tell."""


class Ups(Instrument, Protocol):
    """An uninterruptible power supply: it tells of the mains, and how long the battery lasts."""

    def read(self) -> Deferred[Power]: ...
