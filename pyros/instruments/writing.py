"""Images on their way to disk: a job for a worker, which gets the pixels past the frames. No Twisted here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyros.instruments.fits import ImageFacts, write_image
from pyros.instruments.interfaces import Image


@dataclass(frozen=True)
class WriteJob:
    """All of an `Image` but its pixels, what else is known about it, and where it goes."""

    path: str
    """The FITS file to be."""
    facts: ImageFacts
    """What the camera doesn't know about the image."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    started: float
    """When the shutter opened, Unix seconds."""
    seconds: float
    """Exposure time, seconds."""
    filter: str
    """The filter's name; '' where the camera has none."""
    temperature: float | None
    """The detector's, degrees Celsius; None where the device doesn't tell."""
    gain: float | None
    """Electrons per ADU; None where the device doesn't tell."""
    arcsec_per_pixel: float
    """Side of a pixel on the sky, arcseconds."""
    binning: int = 1
    """Pixels of the detector in each direction that were read as one."""
    compress: bool = False
    """Whether the file is compressed (Rice)."""


def write_job(path: Path, image: Image, facts: ImageFacts, *, compress: bool) -> tuple[WriteJob, memoryview]:
    """Return the job that is to write an image, and its pixels as they are in memory."""
    height, width = image.pixels.shape
    job = WriteJob(
        str(path), facts, height, width, image.started, image.seconds, image.filter, image.temperature, image.gain,
        image.arcsec_per_pixel, image.binning, compress,
    )  # fmt: skip
    return job, np.ascontiguousarray(image.pixels, dtype=np.uint16).data.cast("B")


def write_pixels(job: WriteJob, block: memoryview) -> str:
    """Write an image as `write_image` does, with its folder, and return its path; it is on disk then.

    Raises OSError.
    """
    pixels = np.frombuffer(block, np.uint16).reshape(job.height, job.width)
    image = Image(
        pixels, job.started, job.seconds, job.filter, job.temperature, job.gain, job.arcsec_per_pixel,
        binning=job.binning,
    )  # fmt: skip
    path = Path(job.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(write_image(path, image, job.facts, compress=job.compress))
