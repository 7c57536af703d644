"""What the index knows of an image: its header's values, where it looks, and what the analyzer has found in it."""

from __future__ import annotations

import msgspec

Corner = tuple[float, float]


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An image. None stands for what neither its header nor the analyzer says."""

    path: str
    """The FITS file."""
    night: str
    """The date of its night's evening at the site."""
    started: float
    """When the shutter opened, Unix seconds."""
    seconds: float | None = None
    """Exposure time, seconds."""
    filter: str = ""
    """The filter's name."""
    object: str = ""
    """What was observed."""
    type: str = "LIGHT"
    """LIGHT, BIAS, DARK or FLAT."""
    observation: str = ""
    """Id of the observation."""
    event: str = ""
    """Name of the alert's event."""
    alert: str = ""
    """Identifier of the alert."""
    telescope: str = ""
    """The telescope's name."""
    instrument: str = ""
    """The camera's name."""
    width: int = 0
    """Pixels."""
    height: int = 0
    """Pixels."""
    airmass: float | None = None
    """In the middle of the exposure."""
    temperature: float | None = None
    """Of the detector, degrees Celsius."""
    ra: float | None = None
    """Of the centre, ICRS degrees; the true one where it was measured."""
    dec: float | None = None
    """Of the centre, ICRS degrees."""
    radius: float | None = None
    """From the centre to the farthest corner, degrees."""
    corners: tuple[Corner, ...] = ()
    """Right ascension and declination of the four corners, ICRS degrees, counterclockwise as seen on the sky."""
    cell: int | None = None
    """Nested HEALPix cell of the centre, of `pyros.alerts.archive.healpix`'s level."""
    fwhm: float | None = None
    """Of the stars, arcseconds."""
    zero_point: float | None = None
    """Magnitude of 1 ADU per second."""
    sources: int | None = None
    """How many were found in it."""
    problem: str = ""
    """What the analyzer could not do; '' where nothing is known."""
    size: int = 0
    """Of the file, bytes."""
    modified: float = 0.0
    """When the file was written last, Unix seconds."""
