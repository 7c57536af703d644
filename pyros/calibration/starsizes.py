"""The size of an image's stars: the median radius with half of a star's light, by SEP (Barbary 2016).

Half-flux radii (as the half-flux diameters of Weber & Brady 2001) grow steadily from the best focus to rings of a
hundred pixels, where a fitted width means nothing any more. A job for a worker, which gets the pixels past the
frames.
"""

from __future__ import annotations

import msgspec
import numpy as np
import sep
from numpy.typing import NDArray

from pyros.messages import StarSizes

Pixels = NDArray[np.float32]

_THRESHOLD = 4.0
_LEAST_AREA = 5
_MAX_STARS = 100
_SATURATED = 0.9
_BINNINGS = (1, 2, 4)
_ENOUGH = 20
_APERTURE = 3.5  # its radius in half-flux radii: more than 1.5 FWHM of a Gaussian, 99.9 percent of its light
_LEAST_SIDE = 64
_ROUNDS = 3
_PIXEL_STACK = 300_000
"""Room for pixels of stars, as SEP has it by default. In a rehearsal the analysis, in the same process, wants more."""


class SizeJob(msgspec.Struct, frozen=True):
    """The shape of an image, and from which level on a pixel is not believed, ADU."""

    height: int
    width: int
    saturation: float = 65535.0


def measure_sizes(job: SizeJob, block: memoryview) -> StarSizes:
    """Measure the stars' sizes. ``block`` has the unsigned 16-bit pixels of an image of the job's shape.

    Where few stars stand out, as far from focus, pixels are added up by twos and by fours, and the binning with most
    stars counts. Of an image without stars, or too small for any, the count is 0.
    """
    pixels = np.frombuffer(block, np.uint16).reshape(job.height, job.width)
    best = StarSizes(0)
    for binning in _BINNINGS:
        if min(job.height, job.width) // binning < _LEAST_SIDE:
            break
        found = _sizes(_binned(pixels, binning), _SATURATED * job.saturation * binning**2, binning)
        if found.count > best.count:
            best = found
        if best.count >= _ENOUGH:
            break
    return best


def _binned(pixels: NDArray[np.uint16], binning: int) -> Pixels:
    rows, columns = (size // binning for size in pixels.shape)
    part = pixels[: rows * binning, : columns * binning].astype(np.float32)
    binned: Pixels = part.reshape(rows, binning, columns, binning).sum(axis=(1, 3), dtype=np.float32)
    return binned


def _sizes(data: Pixels, saturation: float, binning: int) -> StarSizes:
    try:
        background = sep.Background(data, bw=64, bh=64)
        level = float(background.globalback)
        sky = np.ascontiguousarray(data - background.back(dtype=np.float32))
        noise = max(float(background.globalrms), 1e-6)
        sep.set_extract_pixstack(_PIXEL_STACK)
        stars = sep.extract(sky, _THRESHOLD, err=noise, minarea=_LEAST_AREA)
    except Exception:  # sep raises bare Exceptions for its limits: a crowd or a gradient, in which no star stands out
        return StarSizes(0)
    whole = (stars["flag"] == 0) & (stars["peak"] + level < saturation) & (stars["a"] < 3 * stars["b"])
    stars = stars[whole]
    stars = stars[np.argsort(-stars["flux"])[:_MAX_STARS]]
    if not len(stars):
        return StarSizes(0)
    # No star is smaller than its own pixels: a hot pixel and the track of a particle are.
    radius = float(np.median(np.sqrt(stars["a"] * stars["b"]))) * 1.177
    half = np.full(len(stars), radius)
    for _ in range(_ROUNDS):
        reach = np.full(len(stars), max(_APERTURE * radius, 3.0))
        half, flags = sep.flux_radius(sky, stars["x"], stars["y"], reach, 0.5, normflux=None, subpix=5)
        good = (flags & sep.APER_TRUNC == 0) & (half > 0)
        if not good.any():
            return StarSizes(0)
        radius = float(np.median(half[good]))
    inside = good & (np.abs(half - radius) < 0.5 * radius)
    if not inside.any():
        return StarSizes(0)
    chosen = half[inside]
    spread = 1.4826 * float(np.median(np.abs(chosen - np.median(chosen))))
    error = max(1.253 * spread / np.sqrt(len(chosen)), 0.005 * radius)  # that of a median of normal scatter
    return StarSizes(len(chosen), radius=float(np.median(chosen)) * binning, error=float(error) * binning)
