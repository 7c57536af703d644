"""What every driver of a guider offers; how its methods end stands in `pyros.instruments.interfaces`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from twisted.internet.defer import Deferred

from pyros.instruments.interfaces import Instrument, Started

GuidingState = Literal["idle", "calibrating", "guiding", "paused", "lost"]
"""``lost``: it is to guide, and does not see its star."""

STAR_LOST, STAR_FOUND, GUIDING_STOPPED = "star_lost", "star_found", "guiding_stopped"
"""What a guider says by itself: the star is gone, it is there again, and somebody else has stopped it."""


@dataclass(frozen=True, slots=True)
class Settle:
    """When a guider counts as steady."""

    arcsec: float
    """The most that the star may be beside its place, arcseconds."""
    seconds: float
    """For how long it must be within that, seconds."""
    timeout: float
    """After how long it has failed, seconds; a calibration before it does not count."""


class Guider(Instrument, Protocol):
    """A guider holds the telescope on a star of its own choice, through a camera of its own."""

    def guide(self, settle: Settle, started: Started | None = None) -> Deferred[float]:
        """Guide, or go on after a pause; fires when it is steady, with how far the star is off, arcseconds.

        A calibration comes first where one is missing. A guider that guides already settles once more; one that has
        lost its star chooses another. A `guide` or `dither` under way ends with `CommandAborted`. One that fails to
        become steady is stopped.
        """
        ...

    def dither(self, arcsec: float, settle: Settle, started: Started | None = None) -> Deferred[float]:
        """Move the star's place by at most so much in each axis, and fire as `guide` does.

        Refused (STATE) unless it guides, BUSY while it is not steady yet.
        """
        ...

    def pause(self) -> Deferred[None]:
        """Correct nothing until `guide` is called, and keep the star. Refused (STATE) unless it guides."""
        ...

    def stop(self) -> Deferred[None]:
        """Stop guiding; a `guide` or `dither` under way ends with `CommandAborted`."""
        ...

    def error(self) -> Deferred[float | None]:
        """How far the star is beside its place, arcseconds; None while it does not guide."""
        ...

    def state(self) -> Deferred[GuidingState]: ...
