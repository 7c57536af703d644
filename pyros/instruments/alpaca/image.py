"""Images of Alpaca cameras: ImageBytes (binary) and the JSON array, to rows as FITS has them. No Twisted here.

The formats are in the ASCOM Alpaca API reference, "Camera.ImageArray" and "ImageBytes": an array [x][y] with the origin
at the top left corner, whose last index runs fastest; so its transpose has rows, the first at the top, and FITS wants
the first at the bottom.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.alpaca.replies import error_of, in_words

HEADER = struct.Struct("<iiIIiiiiiii")
"""Version, error number, the two transactions, data start, element type, element type sent, rank, three dimensions."""

ELEMENTS = {1: "<i2", 2: "<i4", 3: "<f8", 4: "<f4", 5: "<u8", 6: "u1", 7: "<i8", 8: "<u2", 9: "<u4"}
"""numpy's names of the element types that may be sent."""

BYTES_AN_ELEMENT = 24
"""More than an element takes, in either form: ``1234567890123456,``."""

COLOUR = "a colour image; only monochrome ones can be taken"


def image_bytes(body: bytes, width: int, height: int, what: str) -> NDArray[np.uint16]:
    """The pixels of an ImageBytes answer.

    Raises what the error number in it means; DeviceRefused (UNSUPPORTED) for a colour image; DeviceFailed for anything
    else that is not an image of this width and height.
    """
    if len(body) < HEADER.size:
        raise DeviceFailed(f"{what}: an image of {len(body)} bytes has no header")
    version, error, _, _, start, _, element, rank, first, second, third = HEADER.unpack_from(body)
    if version != 1:
        raise DeviceFailed(f"{what}: ImageBytes of version {version}, not 1")
    if not HEADER.size <= start <= len(body):
        raise DeviceFailed(f"{what}: an image of {len(body)} bytes that begins at byte {start}")
    if error:
        raise error_of(error, in_words(body[start:]), what)
    _check_shape(rank, (first, second, *((third,) if rank == 3 else ())), width, height, what)
    if element not in ELEMENTS:
        raise DeviceFailed(f"{what}: elements of unknown type {element}")
    kind = np.dtype(ELEMENTS[element])
    if len(body) - start != width * height * kind.itemsize:
        raise DeviceFailed(
            f"{what}: {len(body) - start} bytes of pixels, not {width} x {height} of {kind.itemsize} each"
        )
    return _rows(np.frombuffer(body, kind, width * height, start).reshape(width, height), what)


class _JsonImage(msgspec.Struct):
    Value: Any = None
    Rank: int = 2
    ErrorNumber: int = 0
    ErrorMessage: str | None = None


_json = msgspec.json.Decoder(_JsonImage)


def json_image(body: bytes, width: int, height: int, what: str) -> NDArray[np.uint16]:
    """The pixels of an image that came as a JSON array; raises like `image_bytes`."""
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
    _check_shape(image.Rank, pixels.shape, width, height, what)
    if pixels.dtype.kind not in "iuf":
        raise DeviceFailed(f"{what}: pixels that are no numbers")
    return _rows(pixels, what)


def _check_shape(rank: int, shape: tuple[int, ...], width: int, height: int, what: str) -> None:
    if rank == 3:
        raise DeviceRefused("UNSUPPORTED", f"{what}: {COLOUR}")
    if rank != 2 or shape != (width, height):
        size = " x ".join(map(str, shape))
        raise DeviceFailed(f"{what}: an image of rank {rank} and {size or 'no'} pixels, not {width} x {height}")


def _rows(columns: NDArray[Any], what: str) -> NDArray[np.uint16]:
    """From [x][y] with y downwards to rows upwards, of 16 bits; what is outside of them is saturated."""
    rows = columns.T[::-1]
    if rows.dtype.kind == "f":
        if not np.isfinite(rows).all():
            raise DeviceFailed(f"{what}: pixels that are not finite")
        rows = np.rint(rows)
    if rows.dtype not in (np.uint16, np.uint8):
        rows = np.clip(rows, 0, 65535)
    return np.ascontiguousarray(rows, dtype=np.uint16)
