"""Images: that there is one, and what it shows."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Degrees, Latitude, Payload, Positive, Target


class ImageTaken(Target, frozen=True):
    """camera -> analyzer: an image of a target is on disk."""

    observation: str
    """The observation's id."""
    path: str
    """The FITS file."""


class ImageAnalysed(Payload, frozen=True):
    """analyzer -> monitoring, observation_manager, majordome: what an image showed.

    ``problem`` says why something is missing. ``ra`` and ``dec`` are its true centre, ``east`` and ``north`` how far
    (arcseconds) that is from where its header says; ``fwhm`` of the stars in arcseconds; ``zero_point`` the magnitude
    of 1 ADU per second; ``new`` counts the sources near the alert's position that the catalogue doesn't know.
    """

    observation: str
    """The observation's id."""
    path: str
    """The FITS file."""
    sources: int = 0
    """How many sources were found."""
    matched: int = 0
    """How many of them the catalogue knows."""
    fwhm: float | None = None
    """Full width at half maximum of the stars, arcseconds; None where it was not measured."""
    zero_point: float | None = None
    """Magnitude of 1 ADU per second; None where it was not measured."""
    zero_point_error: float | None = None
    """Standard error of the zero point, magnitudes."""
    ra: float | None = None
    """True centre: right ascension, ICRS degrees; None where it was not found."""
    dec: float | None = None
    """True centre: declination, ICRS degrees; None where it was not found."""
    east: float | None = None
    """How far the true centre is to the east of the header's, arcseconds."""
    north: float | None = None
    """How far the true centre is to the north of the header's, arcseconds."""
    new: int = 0
    """Sources near the alert's position that the catalogue doesn't know."""
    calibrated: tuple[str, ...] = ()
    """Of bias, dark, flat those that there was a master for."""
    problem: str = ""
    """Why something is missing; '' where nothing is."""


class SourceFound(Payload, frozen=True, kw_only=True):
    """analyzer -> alert_manager: a source that may be what the alert is about, as it was measured in an image.

    It is published as a follow-up of the alert where the observatory publishes.
    """

    observation: str
    """The observation's id."""
    alert: str
    """The identifier of the packet that is followed up, as in `Observation`."""
    event: str
    """Name of the event that the alert belongs to."""
    ra: Degrees
    """Right ascension, ICRS degrees."""
    dec: Latitude
    """Declination, ICRS degrees."""
    magnitude: float
    """Magnitude through ``filter``."""
    magnitude_error: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Standard error, magnitudes; None where it is not known."""
    filter: str
    """The filter's name."""
    time: float
    """The middle of the exposure."""
    path: str = ""
    """The image; '' where there is none here."""
    error_radius: Positive | None = None
    """Of the position, degrees."""
    telescope: str = ""
    """What the image calls the telescope (TELESCOP); '' where it doesn't."""


IMAGE_TAKEN = register("Image taken", ImageTaken)
IMAGE_ANALYSED = register("Image analysed", ImageAnalysed)
SOURCE_FOUND = register("Source found", SourceFound, guarded=True)
