"""The dome: open, for as long as somebody says so, and turned to where the telescope looks."""

from __future__ import annotations

from typing import Literal

from pyros.messages._codec import register
from pyros.messages._payload import Degrees, Latitude, Payload, Positive
from pyros.messages.instruments import Failure, Order, Reason


class KeepOpen(Payload, frozen=True):
    """majordome -> dome: a lease. A dome that hears no new one within ``seconds`` closes by itself."""

    seconds: Positive
    """How long the lease lasts, seconds from its being said."""


class Follow(Payload, frozen=True, kw_only=True):
    """observation_manager -> dome: turn the slit to this position, ICRS degrees, and follow it until it closes."""

    observation: str = ""
    """The observation that it is for; '' for none."""
    ra: Degrees
    """Right ascension, ICRS degrees."""
    dec: Latitude
    """Declination, ICRS degrees."""


class DomeFailure(Failure, frozen=True, kw_only=True):
    """dome -> majordome, or who has told it to open: what did not work, and why."""

    what: Literal["open", "close", "refused"] = "refused"
    """The device did not open, it did not close, or it was not told to open, since it may not be open."""


class SlitInPlace(Payload, frozen=True, kw_only=True):
    """dome -> observation_manager: the slit looks there; the measured azimuth in degrees, None for a roof."""

    observation: str = ""
    """The observation that it was for; '' for none."""
    azimuth: float | None = None
    """Measured azimuth of the slit, degrees from north to east; None for a roof."""


OPEN = register("Open", Order, guarded=True)
CLOSE = register("Close", Order, guarded=True)
KEEP_OPEN = register("Keep open", KeepOpen, guarded=True, fleeting=True)
DOME_OPENED = register("Dome opened", Reason, guarded=True)
DOME_CLOSED = register("Dome closed", Reason, guarded=True)
DOME_FAILED = register("Dome failed", DomeFailure)
FOLLOW = register("Follow", Follow, guarded=True)
SLIT_IN_PLACE = register("Slit in place", SlitInPlace, guarded=True)
SLIT_FAILED = register("Slit failed", Failure)
