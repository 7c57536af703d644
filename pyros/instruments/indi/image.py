"""Images of INDI cameras: what is in a BLOB, whatever its format is called. No Twisted here: any thread may call it.

Drivers call a FITS file ``.fits``, ``fits``, ``.FITS`` or nothing at all, and pack it with fpack (``.fits.fz``), gzip
or zlib, with or without saying so: the first bytes tell.
"""

from __future__ import annotations

import bz2
import io
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyros.instruments.indi.codec import BLOB_LIMIT
from pyros.instruments.pixels import WHITE, one_plane, to_uint16

_WRAPPINGS = 3
"""How often a file may be packed."""

_OTHERS = (
    (b"XISF0100", "XISF"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"II*\0", "TIFF, or a camera's own raw format"),
    (b"MM\0*", "TIFF, or a camera's own raw format"),
)
"""How files begin that people mistake for FITS, and what they are."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """What a driver's FITS file says, as far as it is of use; None and '' for what it doesn't."""

    pixels: NDArray[np.uint16]
    """Rows upwards."""
    object: str
    """The tag that the exposure was given, or what the driver makes of it."""
    seconds: float | None
    temperature: float | None
    """Degrees Celsius."""
    gain: float | None
    """Electrons per ADU."""
    bayer: str
    """The colours of the first two pixels of the first two rows, such as RGGB; '' without a Bayer mosaic."""


def decode(data: bytes) -> DecodedImage:
    """Return the image in a BLOB.

    Raises ValueError for what is not an image of one plane: astropy meets a broken file with errors of any kind.
    """
    try:
        return _frame_of(_unpacked(data))
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


def _unpacked(data: bytes) -> bytes:
    for _ in range(_WRAPPINGS):
        if data.startswith(b"SIMPLE"):
            return data
        if data.startswith(b"\x1f\x8b"):
            data = _inflated(zlib.decompressobj(31), data)
        elif data[:1] == b"\x78" and int.from_bytes(data[:2], "big") % 31 == 0:  # RFC 1950, 2.2
            data = _inflated(zlib.decompressobj(), data)
        elif data.startswith(b"BZh"):
            data = _inflated(bz2.BZ2Decompressor(), data)
    if data.startswith(b"SIMPLE"):
        return data
    kind = next((words for start, words in _OTHERS if data.startswith(start)), "")
    if kind:
        raise ValueError(f"it is {kind}, not FITS: tell the camera to send FITS (CCD_TRANSFER_FORMAT)")
    raise ValueError(f"it is not FITS: it begins with {data[:12]!r}" if data else "it is empty")


def _inflated(unpacking: Any, data: bytes) -> bytes:
    unpacked: bytes = unpacking.decompress(data, BLOB_LIMIT)
    if not unpacking.eof:
        raise ValueError(f"its packed data have no end within {BLOB_LIMIT} bytes")
    return unpacked


def _frame_of(data: bytes) -> DecodedImage:
    from astropy.io import fits  # noqa: PLC0415  half a second that only cameras spend

    from pyros.instruments.fits import LARGEST, is_image, units_of  # noqa: PLC0415

    with fits.open(io.BytesIO(data), memmap=False) as units:
        unit = next((unit for unit in units_of(units) if is_image(unit.header)), None)
        if unit is None:
            raise ValueError("it has no image in it")
        shape = [unit.header[f"NAXIS{axis}"] for axis in range(1, unit.header["NAXIS"] + 1)]
        if math.prod(shape) > LARGEST:
            raise ValueError(f"it has more than {LARGEST} pixels")
        _refuse_colour(shape)
        rows = one_plane(np.asarray(unit.data))
        headers = (unit.header, units[0].header)

        def value(*keys: str) -> Any:
            return next((header[key] for key in keys for header in headers if key in header), None)

        rows, factor = _fitted(rows)
        gain = _number(value("EGAIN"))
        turned = str(value("ROWORDER") or "").strip().upper() == "TOP-DOWN"
        return DecodedImage(
            to_uint16(rows[::-1] if turned else rows),
            str(value("OBJECT") or "").strip(),
            _number(value("EXPTIME", "EXPOSURE"), least=0.0),
            _number(value("CCD-TEMP")),
            None if gain is None else gain * factor,
            _bayer(value, rows.shape[0] if turned else 0),
        )


def _fitted(pixels: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Pixels that fit into 16 bits but for the brightest hundredth, and what they were divided by.

    Cameras that stack give sums of more than 16 bits: cut off there they would be one white plane.
    """
    if pixels.dtype.itemsize <= 2:
        return pixels, 1
    bright, factor = float(np.nan_to_num(np.nanpercentile(pixels, 99))), 1
    while WHITE < bright / factor < math.inf:
        factor *= 2
    return (pixels, 1) if factor == 1 else (pixels / factor, factor)


def _refuse_colour(shape: list[int]) -> None:
    planes = [length for length in shape if length != 1]
    if len(planes) > 2 and planes[-1] in (3, 4):
        raise ValueError(
            f"a colour image of {planes[-1]} planes; only one plane can be taken: set the camera to raw or mono"
        )


def _bayer(value: Any, turned_rows: int) -> str:
    """Return the pattern as the rows are here; ``turned_rows`` is their number if they were turned, else 0."""
    pattern = str(value("BAYERPAT", "COLORTYP") or "").strip().upper()
    if len(pattern) != 4 or not set(pattern) <= set("RGB"):
        return ""
    right, up = (int(_number(value(key)) or 0) % 2 for key in ("XBAYROFF", "YBAYROFF"))
    if turned_rows:
        up = (turned_rows - 1 + up) % 2
    lines = [pattern[:2], pattern[2:]]
    if up:
        lines.reverse()
    return "".join(line[::-1] if right else line for line in lines)


def _number(value: Any, least: float = -math.inf) -> float | None:
    """Read a finite number of a header, also one in quotes; None for anything else."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number >= least else None
