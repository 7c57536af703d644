"""Images as FITS files, with the keywords as the field writes them; and the job of a worker that writes one.

No Twisted here: any thread may call it.

FITS Standard 4.0: section 4.4.2 (reserved keywords), 5.2.5 (unsigned integers by BZERO), 8 (world coordinates), 10
(images in compressed tiles).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from math import cos, isfinite, prod, radians, sin
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from pyros.angles import mjd_of_unix
from pyros.errors import ImageError
from pyros.files import atomic_write
from pyros.instruments.interfaces import Image

LARGEST = 1 << 28
"""Pixels of an image that is read; a header that promises more is not believed."""

_CARD_TEXT = 80 - len("KEYWORD = '' / ")
"""Value and comment of one card; a long value (an ivorn) goes without its comment (FITS 4.0, 4.1.1 and 4.2.1.2)."""

_LONGEST_TEXT = 68

_OF_NO_SKY = ("BIAS", "DARK", "FLAT")
"""Kinds of images that show no sky: they have no coordinates."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the camera itself doesn't know about an image; ``None`` and ``""`` leave their keywords out.

    ``ra`` and ``dec`` are the measured pointing, ICRS degrees: the centre of the image. ``target_ra`` and
    ``target_dec`` are what was asked for; a bias, dark or flat has neither. ``airmass`` is that of the middle of the
    exposure. ``rotation`` is the position angle of the image's upper side, degrees from north through east.
    """

    object: str
    """Name of the target."""
    ra: float
    """Measured pointing: right ascension, ICRS degrees."""
    dec: float
    """Measured pointing: declination, ICRS degrees."""
    observation: str
    """Id of the observation."""
    number: int = 1
    """Number of the exposure in the observation, from 1."""
    of: int = 1
    """How many exposures the observation has."""
    alert: str = ""
    """Identifier of the alert."""
    event: str = ""
    """Name of the alert's event."""
    rotation: float = 0.0
    """Position angle of the image's upper side, degrees from north through east."""
    airmass: float | None = None
    """In the middle of the exposure."""
    target_ra: float | None = None
    """What was asked for: right ascension, ICRS degrees."""
    target_dec: float | None = None
    """What was asked for: declination, ICRS degrees."""
    image_type: str = "LIGHT"
    """LIGHT, BIAS, DARK or FLAT."""
    observatory: str = ""
    """The observatory's name."""
    telescope: str = ""
    """The telescope's name."""
    instrument: str = ""
    """The camera's name."""
    latitude: float | None = None
    """Geodetic latitude on WGS 84, degrees."""
    longitude: float | None = None
    """Longitude, degrees, east positive."""
    elevation: float | None = None
    """Metres above the ellipsoid."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFile:
    """What was read: ``pixels`` of shape (height, width), the first row at the bottom, and the image's own header."""

    path: Path
    """The file."""
    pixels: NDArray[np.float32]
    """ADU; the first row is at the bottom."""
    header: fits.Header
    """The image's own header."""


def read_image(path: Path | str) -> ImageFile:
    """Read the first image of a FITS file, ours or another's: plain or in compressed tiles, in any extension.

    Of a cube the first plane is taken. Raises ImageError, one line that names the file and says what is wrong.
    """
    path = Path(path)
    # Astropy has much to say about other people's headers.
    with _image_errors(path), warnings.catch_warnings(action="ignore"), fits.open(path, memmap=False) as units:
        unit = _first_image(path, units)
        if prod(unit.header[f"NAXIS{axis}"] for axis in range(1, unit.header["NAXIS"] + 1)) > LARGEST:
            raise ImageError(f"{path}: its image has more than {LARGEST} pixels")
        data = np.asarray(unit.data)
        plane = data.reshape(-1, *data.shape[-2:])[0]
        return ImageFile(path, np.ascontiguousarray(plane, dtype=np.float32), _readable(unit.header))


def read_header(path: Path) -> fits.Header:
    """Read the header of the image that `read_image` reads, without its pixels. Raises ImageError as that does."""
    with _image_errors(path), warnings.catch_warnings(action="ignore"), fits.open(path, lazy_load_hdus=True) as units:
        return _readable(_first_image(path, units).header)


def _readable(header: fits.Header) -> fits.Header:
    """Return a copy without the cards that cannot be read, or not be written again, at which each look would fail."""
    readable = fits.Header()
    for card in header.cards:
        with suppress(ValueError, fits.VerifyError):
            card.verify("silentfix+exception")
            if not isinstance(card.value, float) or isfinite(card.value):
                readable.append(card, end=True)
    return readable


def header_lines(path: Path) -> list[tuple[str, str, str]]:
    """Return the lines (keyword, value, comment) of an image's header, but for empty ones; errors as `read_header`."""
    with _image_errors(path):
        return [(card.keyword, str(card.value), card.comment) for card in read_header(path).cards if card.keyword]


@contextmanager
def _image_errors(path: Path) -> Iterator[None]:
    """Turn what astropy raises for a file into an ImageError of one line."""
    try:
        yield
    except OSError as error:
        # What astropy says itself goes on with advice for programmers.
        reason = error.strerror or " ".join(str(error).split()).partition(". ")[0]
        raise ImageError(f"{path}: cannot be read: {reason}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, MemoryError, fits.VerifyError) as error:
        raise ImageError(f"{path}: is no FITS file that can be read: {' '.join(str(error).split())}") from None


def _first_image(path: Path, units: fits.HDUList) -> Any:
    for unit in units_of(units):
        if is_image(unit.header):
            return unit
    raise ImageError(f"{path}: has no image in it")


def units_of(units: fits.HDUList) -> Iterator[Any]:
    """Yield the units of a file in their order, each when it is asked for.

    Raises ValueError after one that would end before it begins (NAXIS1 = -64): astropy reads it again, without an end.
    """
    for unit in units:
        yield unit
        if (unit.fileinfo() or {"datSpan": 0})["datSpan"] < 0:
            raise ValueError("a unit of it has less than no data")


def header_number(header: fits.Header, keyword: str) -> float | None:
    """Return a finite number of a header; None where it has none."""
    value: Any = header.get(keyword)
    good = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if good else None


def is_image(header: fits.Header) -> bool:
    """Whether a unit of a file holds an image of two axes or more; not a table, and not a spectrum."""
    return (
        header.get("XTENSION", "IMAGE").strip() == "IMAGE"
        and header["NAXIS"] >= 2
        and all(header.get(f"NAXIS{axis}", 0) > 0 for axis in range(1, header["NAXIS"] + 1))
    )


def write_image(path: Path | str, image: Image, facts: ImageFacts, *, compress: bool = False) -> Path:
    """Write one image, on disk when this returns: synced, under its name, complete or not there at all.

    Pixels are 16-bit unsigned (BZERO = 32768) with DATASUM and CHECKSUM. The world coordinates are a TAN projection
    about the measured pointing, east to the left of north, the first row at the bottom. ``compress`` puts the image
    into tiles packed by the Rice algorithm, without loss, as the file's first extension.

    A file of that name with the same observation and number (OBSID, EXPNUM) is what a crash left behind between
    writing and reporting, and is replaced. Any other file is kept: FileExistsError. OSError as the disk gives it.
    """
    path = Path(path)
    if path.exists() and not _is_same(path, facts):
        raise FileExistsError(f"{path}: holds another image, and is kept")
    # uint16: astropy writes BZERO
    unit = fits.CompImageHDU(image.pixels, compression_type="RICE_1") if compress else fits.PrimaryHDU(image.pixels)
    cards = _cards(image, facts)
    if any(isinstance(value, str) and len(value) > _LONGEST_TEXT for _, value, _ in cards):
        cards.insert(0, ("LONGSTRN", "OGIP 1.0", "long texts go on in CONTINUE cards"))
    for keyword, value, comment in cards:
        if value is not None and value != "":
            fits_beside = len(str(value)) + len(comment) <= _CARD_TEXT
            unit.header[keyword] = (_printable(value), comment if fits_beside else "")
    if not compress:
        unit.add_checksum(when=_instant(image.started))
    with atomic_write(path) as partial, partial.open("wb") as file:
        unit.writeto(file, checksum=compress)
    return path


def _is_same(path: Path, facts: ImageFacts) -> bool:
    try:
        with _image_errors(path), fits.open(path) as units:
            *_, last = units_of(units)
            header = last.header
    except ImageError:
        return False
    return (header.get("OBSID"), header.get("EXPNUM")) == (_printable(facts.observation), facts.number)


def _printable(value: Any) -> Any:
    """Text as a header takes it: printable ASCII (FITS 4.0, 4.2.1)."""
    if not isinstance(value, str):
        return value
    return "".join(letter if " " <= letter <= "~" else "?" for letter in value)


def _instant(seconds: float) -> str:
    """Seconds since 1970 as FITS writes a UTC instant, to the millisecond (FITS 4.0, 9.1.1)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")


def _cards(image: Image, facts: ImageFacts) -> list[tuple[str, Any, str]]:
    sky = facts.image_type not in _OF_NO_SKY
    begin, middle, end = (round(image.started + part * image.seconds, 3) for part in (0, 0.5, 1))
    return [
        ("OBJECT", facts.object, "what was observed"),
        ("IMAGETYP", facts.image_type, "kind of image"),
        ("EXPTIME", image.seconds, "[s] exposure time"),
        ("DATE-OBS", _instant(begin), "shutter opened"),
        ("DATE-AVG", _instant(middle), "middle of the exposure"),
        ("DATE-END", _instant(end), "shutter closed"),
        # The same as days; without them astropy's WCS computes them at every opening, and warns that it did.
        ("MJD-OBS", mjd_of_unix(begin), "[d] DATE-OBS as a modified Julian date"),
        ("MJD-AVG", mjd_of_unix(middle), "[d] DATE-AVG as a modified Julian date"),
        ("MJD-END", mjd_of_unix(end), "[d] DATE-END as a modified Julian date"),
        ("TIMESYS", "UTC", "time scale of all DATE keywords"),
        ("FILTER", image.filter, "filter"),
        *(_place(facts) if sky else []),
        ("CCD-TEMP", image.temperature, "[Celsius] detector temperature"),
        ("GAIN", image.gain, "[electron/adu] gain"),
        ("XBINNING", image.binning, "pixels of the detector across read as one"),
        ("YBINNING", image.binning, "pixels of the detector along read as one"),
        ("BAYERPAT", image.bayer, "colours of the pixels from the first row on"),
        ("TELESCOP", facts.telescope, "telescope"),
        ("INSTRUME", facts.instrument, "camera"),
        ("OBSERVAT", facts.observatory, "observatory"),
        ("SITELAT", facts.latitude, "[deg] latitude of the site"),
        ("SITELONG", facts.longitude, "[deg] longitude of the site, east positive"),
        ("SITEELEV", facts.elevation, "[m] elevation of the site"),
        ("ALERT", facts.alert, "alert that asked for it"),
        ("EVENT", facts.event, "event that the alert belongs to"),
        ("OBSID", facts.observation, "observation"),
        ("EXPNUM", facts.number, "number of this exposure in the observation"),
        ("EXPTOTAL", facts.of, "exposures of the observation"),
        *(_world(image, facts) if sky else []),
    ]


def _place(facts: ImageFacts) -> list[tuple[str, Any, str]]:
    """Where it looked. ICRS has no equinox, and so no EQUINOX (FITS 4.0, 8.3)."""
    return [
        ("RA", facts.ra, "[deg] measured pointing, right ascension"),
        ("DEC", facts.dec, "[deg] measured pointing, declination"),
        ("RADESYS", "ICRS", "reference system of all coordinates"),
        ("OBJCTRA", facts.target_ra, "[deg] demanded right ascension"),
        ("OBJCTDEC", facts.target_dec, "[deg] demanded declination"),
        ("AIRMASS", facts.airmass, "airmass at the middle of the exposure"),
    ]


def _world(image: Image, facts: ImageFacts) -> list[tuple[str, Any, str]]:
    height, width = image.pixels.shape
    scale = image.arcsec_per_pixel / 3600
    across, along = scale * cos(radians(facts.rotation)), scale * sin(radians(facts.rotation))
    return [
        ("CTYPE1", "RA---TAN", "gnomonic projection"),
        ("CTYPE2", "DEC--TAN", "gnomonic projection"),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("CRVAL1", facts.ra, "[deg] right ascension at the reference pixel"),
        ("CRVAL2", facts.dec, "[deg] declination at the reference pixel"),
        ("CRPIX1", (width + 1) / 2, "centre of the image"),
        ("CRPIX2", (height + 1) / 2, "centre of the image"),
        ("CD1_1", -across, "[deg/pixel] east is to the left of north"),
        ("CD1_2", along, "[deg/pixel]"),
        ("CD2_1", along, "[deg/pixel]"),
        ("CD2_2", across, "[deg/pixel]"),
        ("ROTATION", facts.rotation, "[deg] upper side, from north through east"),
    ]


@dataclass(frozen=True)
class WriteJob:
    """An image without its pixels, what else is known about it, and where it goes."""

    path: str
    """The FITS file to be."""
    facts: ImageFacts
    """What the camera doesn't know about the image."""
    shape: tuple[int, int]
    """Height and width, pixels."""
    image: dict[str, Any]
    """All fields of the `Image` but its pixels, which are handed over beside this."""
    compress: bool = False
    """Whether the file is compressed (Rice)."""


def write_job(path: Path, image: Image, facts: ImageFacts, *, compress: bool) -> tuple[WriteJob, memoryview]:
    """Return the job that is to write an image, and its pixels as they are in memory."""
    pixels = np.ascontiguousarray(image.pixels, dtype=np.uint16)
    height, width = pixels.shape
    rest = {each.name: getattr(image, each.name) for each in fields(image) if each.name != "pixels"}
    return WriteJob(str(path), facts, (height, width), rest, compress), pixels.data.cast("B")


def write_pixels(job: WriteJob, block: memoryview) -> str:
    """Write an image as `write_image` does, with its folder, and return its path; it is on disk then.

    Raises OSError.
    """
    image = Image(pixels=np.frombuffer(block, np.uint16).reshape(job.shape), **job.image)
    path = Path(job.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(write_image(path, image, job.facts, compress=job.compress))
