"""Pixels as cameras give them, to the 16 bits that images have here. No Twisted here: any thread may call it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WHITE = 65535
"""The greatest pixel of 16 bits."""


def one_plane(array: NDArray[Any]) -> NDArray[Any]:
    """Return the image in an array of two axes, or of more whose others have the length 1.

    Raises ValueError for anything else.
    """
    if array.ndim >= 2:
        for axes in (array.shape[-2:], array.shape[:2]):  # planes first, as in FITS, or last, as in Alpaca
            if axes[0] * axes[1] == array.size:
                return array.reshape(axes)
    raise ValueError(f"{' x '.join(map(str, array.shape)) or 'no'} pixels are not an image of one plane")


def to_uint16(pixels: NDArray[Any]) -> NDArray[np.uint16]:
    """Pixels of any integer or floating type as unsigned 16-bit ones.

    What is below 0 becomes 0, and what is above 65535 becomes 65535, as in a saturated pixel. A floating pixel is
    rounded; one that is no number becomes 0. A floating image between 0 and 1 is a share of full scale, and is scaled.

    Raises ValueError for pixels that are no numbers.
    """
    if pixels.dtype.kind not in "iuf":
        raise ValueError("pixels that are no numbers")
    if pixels.dtype.kind == "f":
        pixels = np.nan_to_num(np.asarray(pixels, np.float64), nan=0.0, posinf=WHITE, neginf=0.0)
        if pixels.size and 0 < pixels.max() <= 1 and pixels.min() >= 0 and (pixels % 1).any():
            pixels = pixels * WHITE
        pixels = np.rint(pixels)
    if pixels.dtype not in (np.uint16, np.uint8):
        pixels = np.clip(pixels, 0, WHITE)
    return np.ascontiguousarray(pixels, dtype=np.uint16)
