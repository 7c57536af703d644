"""How much light an image has: a job for a worker, which gets the pixels past the frames."""

from __future__ import annotations

import numpy as np

from pyros.messages import Level

_VALUES = 1 << 16


def measure_level(name: str, block: memoryview) -> Level:
    """Measure an image's level. ``block`` has its unsigned 16-bit pixels, ``name`` is for the error's text.

    The median is exact: it comes from the histogram of the 65,536 values, which costs a tenth of sorting them. Raises
    ValueError for an image without pixels.
    """
    pixels = np.frombuffer(block, np.uint16)
    if not len(pixels):
        raise ValueError(f"{name}: has no pixels")
    below = np.cumsum(np.bincount(pixels, minlength=_VALUES))
    middle = (int(np.searchsorted(below, share, side="right")) for share in ((len(pixels) - 1) // 2, len(pixels) // 2))
    return Level(median=sum(middle) / 2, saturated=float(len(pixels) - below[_VALUES - 2]) / len(pixels))
