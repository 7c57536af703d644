"""The telescope: where it points."""

from __future__ import annotations

from typing import Literal

from pyros.messages._codec import register
from pyros.messages._payload import Degrees, Latitude, NoPayload, Payload
from pyros.messages.instruments import Failure, Order

PierSide = Literal["", "east", "west"]
"""The side of the pier on which a German mount has its tube: in the west it looks to the east; '' where nobody
knows."""


class Slew(Payload, frozen=True):
    """observation_manager -> telescope."""

    observation: str
    """The observation's id."""
    ra: Degrees
    """Right ascension, ICRS degrees."""
    dec: Latitude
    """Declination, ICRS degrees."""
    side: PierSide = ""
    """The side of the pier on which the tube shall be, where the mount can be told; '' leaves that to the mount."""


class SlewStarted(Payload, frozen=True):
    """telescope -> observation_manager: the mount took the command; ``seconds`` is its own estimate."""

    observation: str
    """The observation's id."""
    seconds: float
    """The mount's own estimate of the slew, seconds."""


class SlewFinished(Payload, frozen=True):
    """telescope -> observation_manager: the measured position, not the demanded one."""

    observation: str
    """The observation's id."""
    ra: float
    """Measured right ascension, ICRS degrees."""
    dec: float
    """Measured declination, ICRS degrees."""
    error: float
    """Separation of measured and demanded position, arcseconds."""
    side: PierSide = ""
    """The side of the pier on which the tube is."""


class TrackingLost(Payload, frozen=True):
    """telescope -> observation_manager: the telescope stood on the target of this observation, and no longer does."""

    observation: str
    """The observation's id."""
    reason: str
    """What happened, for people."""
    again: bool = True
    """Whether a slew may bring it back."""


class PointingMeasured(Payload, frozen=True):
    """analyzer -> telescope: how far an image of this observation is off.

    It shows the sky so many arcseconds to the east and north of where the telescope had said that it points.
    """

    observation: str
    """The observation's id."""
    east: float
    """Arcseconds to the east."""
    north: float
    """Arcseconds to the north."""


SLEW = register("Slew", Slew, guarded=True)
SLEW_STARTED = register("Slew started", SlewStarted, guarded=True)
SLEW_FINISHED = register("Slew finished", SlewFinished, guarded=True)
SLEW_FAILED = register("Slew failed", Failure)
TRACKING_LOST = register("Tracking lost", TrackingLost, guarded=True)
PARK = register("Park", Order, guarded=True)
PARK_FINISHED = register("Park finished", NoPayload, guarded=True)
PARK_FAILED = register("Park failed", Failure)
POINTING_MEASURED = register("Pointing measured", PointingMeasured, guarded=True)
