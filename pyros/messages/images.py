"""Images: that there is one, and what it shows."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Degrees, Latitude, Payload, Positive, Target


class ImageTaken(Target, frozen=True):
    """camera -> analyzer: an image of a target is on disk."""

    observation: str
    path: str


class ImageAnalysed(Payload, frozen=True):
    """analyzer -> monitoring: what an image showed; ``problem`` says why something is missing.

    ``ra`` and ``dec`` are its true centre, ``east`` and ``north`` how far (arcseconds) that is from where its header
    says; ``fwhm`` of the stars in arcseconds; ``zero_point`` the magnitude of 1 ADU per second; ``new`` counts the
    sources near the alert's position that the catalogue doesn't know.
    """

    observation: str
    path: str
    sources: int = 0
    matched: int = 0
    fwhm: float | None = None
    zero_point: float | None = None
    zero_point_error: float | None = None
    ra: float | None = None
    dec: float | None = None
    east: float | None = None
    north: float | None = None
    new: int = 0
    calibrated: tuple[str, ...] = ()
    """Of bias, dark, flat those that there was a master for."""
    problem: str = ""


class SourceFound(Payload, frozen=True, kw_only=True):
    """analyzer -> alert_manager: a source that may be what the alert is about, as it was measured in an image.

    It is published as a follow-up of the alert where the observatory publishes.
    """

    observation: str
    alert: str
    """The identifier of the packet that is followed up, as in `Observation`."""
    event: str
    ra: Degrees
    dec: Latitude
    magnitude: float
    magnitude_error: Annotated[float, msgspec.Meta(ge=0)] | None = None
    filter: str
    time: float
    """The middle of the exposure."""
    path: str = ""
    """The image; '' where there is none here."""
    error_radius: Positive | None = None
    """Of the position, degrees."""


IMAGE_TAKEN = register("Image taken", ImageTaken)
IMAGE_ANALYSED = register("Image analysed", ImageAnalysed)
SOURCE_FOUND = register("Source found", SourceFound, guarded=True)
