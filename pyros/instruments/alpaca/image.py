"""Images of Alpaca cameras: ImageBytes (binary) and the JSON array, to rows as FITS has them. No Twisted here.

The formats are in the ASCOM Alpaca API reference, "Camera.ImageArray" and "ImageBytes": an array [x][y] with the origin
at the top left corner, whose last index runs fastest; so its transpose has rows, the first at the top, and FITS wants
the first at the bottom.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca.replies import error_of, in_words
from pyros.instruments.pixels import to_uint16
from pyros.prepared import prepared

HEADER = struct.Struct("<iiIIiiiiiii")
"""Version, error number, the two transactions, data start, element type, element type sent, rank, three dimensions."""

ELEMENTS = {1: "<i2", 2: "<i4", 3: "<f8", 4: "<f4", 5: "<u8", 6: "u1", 7: "<i8", 8: "<u2", 9: "<u4"}
"""numpy's names of the element types that may be sent."""

BYTES_PER_ELEMENT = 24
"""More than an element takes, in either form: ``1234567890123456,``."""

COLOUR = "a colour image; only monochrome ones can be taken"


def image_of(body: bytes, most: int, what: str) -> NDArray[np.uint16]:
    """Decode an answer's pixels, whichever of the two forms it has; ``most`` is the number of the whole detector's.

    Raises what the error number in it means; DeviceRefused (UNSUPPORTED) for a colour image; DeviceFailed for anything
    else that is not an image of one plane, or larger.
    """
    return json_image(body, most, what) if body.lstrip()[:1] == b"{" else image_bytes(body, most, what)


def image_bytes(body: bytes, most: int, what: str) -> NDArray[np.uint16]:
    """Decode the pixels of an ImageBytes answer; raises like `image_of`."""
    if len(body) < HEADER.size:
        raise DeviceFailed(f"{what}: an image of {len(body)} bytes has no header")
    version, error, _, _, start, _, element, rank, first, second, third = HEADER.unpack_from(body)
    if version != 1:
        raise DeviceFailed(f"{what}: ImageBytes of version {version}, not 1")
    if not HEADER.size <= start <= len(body):
        raise DeviceFailed(f"{what}: an image of {len(body)} bytes that begins at byte {start}")
    if error:
        raise error_of(error, in_words(body[start:]), what)
    shape = (first, second, third) if rank == 3 else (first, second)
    count = _checked_count(rank, shape, most, what)
    if element not in ELEMENTS:
        raise DeviceFailed(f"{what}: elements of unknown type {element}")
    kind = np.dtype(ELEMENTS[element])
    if len(body) - start < count * kind.itemsize:
        raise DeviceFailed(f"{what}: {len(body) - start} bytes of pixels, not {count} of {kind.itemsize} each")
    return _rows(np.frombuffer(body, kind, count, start).reshape(shape), what)


class _JsonImage(msgspec.Struct):
    Value: Any = None
    ErrorNumber: int = 0
    ErrorMessage: str | None = None


_json = msgspec.json.Decoder(prepared(_JsonImage))


def json_image(body: bytes, most: int, what: str) -> NDArray[np.uint16]:
    """Decode the pixels of an image that came as a JSON array; raises like `image_of`."""
    try:
        image = _json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DeviceFailed(f"{what}: answered {in_words(body)!r}: {error}") from None
    if image.ErrorNumber:
        raise error_of(image.ErrorNumber, image.ErrorMessage or "", what)
    try:
        pixels = np.array(image.Value)
    except ValueError:  # rows of unequal lengths
        raise DeviceFailed(f"{what}: an array that is no image") from None
    _checked_count(pixels.ndim, pixels.shape, most, what)
    if pixels.dtype.kind == "O":  # integers of more than 64 bits among them
        if not all(type(pixel) in (int, float) for pixel in pixels.flat):
            raise DeviceFailed(f"{what}: pixels that are no numbers")
        pixels = pixels.astype(np.float64)
    return _rows(pixels, what)


def _checked_count(rank: int, shape: tuple[int, ...], most: int, what: str) -> int:
    """How many pixels that are. Raises DeviceRefused for a colour image, DeviceFailed for any other that is not ours.

    The image need not have the size that was set: it was taken, and is not thrown away for that.
    """
    count = math.prod(shape)
    if rank == 3 and min(shape) > 0 and shape[2] > 1:
        raise DeviceRefused("UNSUPPORTED", f"{what}: {COLOUR}")
    if rank not in (2, 3) or min(shape) <= 0 or count > most:
        size = " x ".join(map(str, shape))
        raise DeviceFailed(f"{what}: an image of rank {rank} and {size or 'no'} pixels; the detector has {most}")
    return count


def _rows(columns: NDArray[Any], what: str) -> NDArray[np.uint16]:
    """From [x][y] with y downwards to rows upwards, of 16 bits."""
    try:
        return to_uint16(columns.reshape(columns.shape[:2]).T[::-1])
    except ValueError as error:
        raise DeviceFailed(f"{what}: {error}") from None
