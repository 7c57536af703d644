"""One image from its file to what was measured in it, in two steps: a plate solver may come between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from pyros.analysis.masters import Masters
from pyros.analysis.newsources import NewSource, new_sources
from pyros.analysis.photometry import ZeroPoint, zero_point
from pyros.analysis.positions import FARTHEST, Match, centre_and_radius, match, pixel_scale, world
from pyros.analysis.sources import DetectedSources, find
from pyros.angles import wrapped
from pyros.errors import ImageError
from pyros.instruments.fits import header_number, read_image
from pyros.stars import Catalogue, Stars
from pyros.stars.field import NONE


@dataclass(frozen=True, eq=False)
class Detected:
    """The sources of an image, before anything is known about the sky."""

    path: Path
    """The FITS file."""
    header: fits.Header
    """The image's own header."""
    shape: tuple[int, ...]
    """(height, width), pixels."""
    found: DetectedSources
    """The sources."""
    calibrated: tuple[str, ...]
    """Of bias, dark, flat those that there was a master for."""

    @property
    def seconds(self) -> float:
        """Exposure time in seconds."""
        return header_number(self.header, "EXPTIME") or 0.0

    @property
    def middle(self) -> float:
        """The middle of the exposure as a modified Julian date; NaN if the header doesn't say."""
        middle = header_number(self.header, "MJD-AVG")
        if middle is None and (begin := header_number(self.header, "MJD-OBS")) is not None:
            middle = begin + self.seconds / 2 / 86400
        return math.nan if middle is None else middle


@dataclass(frozen=True)
class MeasuredPointing:
    """The image's true centre, ICRS degrees, and how far it is from where the header says that it is, arcseconds."""

    ra: float
    """True centre: right ascension, ICRS degrees."""
    dec: float
    """True centre: declination, ICRS degrees."""
    east: float | None = None
    """How far it is to the east of the header's, arcseconds; None where the header has none."""
    north: float | None = None
    """How far it is to the north of the header's, arcseconds; None where the header has none."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of an image; ``problem`` says why something is missing."""

    detected: Detected
    """The sources before."""
    stars: Stars = NONE
    """The catalogue's stars in the field."""
    matched: Match | None = None
    """Which sources are which stars; None where that was not found."""
    solved: bool = False
    """Whether the solver found where the image is."""
    zero: ZeroPoint | None = None
    """The zero point; None where it was not found."""
    pointing: MeasuredPointing | None = None
    """The true centre; None where it was not found."""
    new: list[NewSource] = field(default_factory=list)
    """Sources that the catalogue doesn't know."""
    problem: str = ""
    """Why something is missing; '' where nothing is."""


@dataclass(frozen=True)
class SearchArea:
    """The place where something new may be, ICRS degrees, and its error; None where the alert doesn't say."""

    ra: float
    """Right ascension, ICRS degrees."""
    dec: float
    """Declination, ICRS degrees."""
    error_radius: float | None = None
    """How well the position is known, degrees; None where the alert doesn't say."""


def detect(path: Path, masters: Masters, saturation: float) -> Detected:
    """Read an image, calibrate it, find its sources. Raises ImageError naming the file."""
    read = read_image(path)
    pixels, used = masters.calibrate(read)
    try:
        found = find(pixels, header_number(read.header, "GAIN") or 1.0, saturation)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    return Detected(path, read.header, read.pixels.shape, found, used)


def measure(
    detected: Detected, catalogue: Catalogue | None, target: SearchArea | None, solution: WCS | None
) -> Measured:
    """Position, magnitudes and new sources of an image; ``solution`` are world coordinates that a plate solver found.

    Without a catalogue there is the solver's position only.
    """
    header = world(detected.header)
    start = solution or header
    if start is None:
        return Measured(detected, problem="the header has no world coordinates")
    found, shape = detected.found, detected.shape
    solved = solution is not None
    pointing = _pointing(header, start, shape) if solved else None
    if catalogue is None:
        return Measured(detected, solved=solved, pointing=pointing, problem="there is no catalogue")
    ra, dec, radius = centre_and_radius(start, shape)
    stars = catalogue.near(ra, dec, radius + FARTHEST)
    matched = match(start, found.sources, stars, found.fwhm, shape)
    if matched is None:
        problem = f"{len(found.sources)} sources don't fit the stars of the catalogue {catalogue.name}"
        return Measured(detected, stars, solved=solved, pointing=pointing, problem=problem)
    pointing = _pointing(header, matched.wcs, shape)
    zero = zero_point(found.sources, stars, matched, detected.seconds, found.fwhm)
    if zero is None:
        return Measured(
            detected, stars, matched, solved, pointing=pointing, problem="too few good stars for magnitudes"
        )
    new = []
    if target is not None:
        new = new_sources(
            found,
            stars,
            matched,
            zero,
            detected.seconds,
            target.ra,
            target.dec,
            target.error_radius,
            catalogue.faintest,
        )
    return Measured(detected, stars, matched, solved, zero, pointing, new)


def scale_of(detected: Detected) -> float | None:
    """Return the header's arcseconds per pixel, which a plate solver is told."""
    coordinates = world(detected.header)
    return None if coordinates is None else pixel_scale(coordinates)


def _pointing(header: WCS | None, true: WCS, shape: tuple[int, ...]) -> MeasuredPointing:
    ra, dec, _ = centre_and_radius(true, shape)
    if header is None:
        return MeasuredPointing(ra, dec)
    ra0, dec0, _ = centre_and_radius(header, shape)
    east = wrapped(ra - ra0) * float(np.cos(np.radians(dec))) * 3600
    return MeasuredPointing(ra, dec, east, (dec - dec0) * 3600)
