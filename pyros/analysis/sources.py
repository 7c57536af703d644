"""Sources in an image, and how much light each has, by SEP (Barbary 2016): Source Extractor's algorithms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import NDArray

from pyros.errors import ImageError

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

THRESHOLD = 4.0
"""Standard deviations of the background above which a pixel belongs to a source."""
SATURATED = 0.9
"""The fraction of the saturation level from which on a source's light is not believed."""
_APERTURE = 1.5  # its radius in FWHM: 99.8 percent of a Gaussian's light
_SKY = (4.0, 7.0)  # radii of the ring around it, in FWHM
_MIN_APERTURE_PIXELS = 3.0
MAX_SOURCES = 20_000
_FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, in standard deviations
_MIN_SIDE_PIXELS = 32
"""A smaller image has no background to speak of."""

_MIN_PIXEL_STACK, _MAX_PIXEL_STACK = 300_000, 3_000_000
"""Bounds of the room for pixels of sources. SEP walks through all of it for each image: 3,000,000 take 80 ms."""

sep.set_sub_object_limit(4096)


@dataclass(frozen=True)
class Sources:
    """The sources, in arrays of the same length, the brightest first.

    Pixels count from 0 at the lower left one's centre. ``flux`` and ``error`` are ADU in an aperture of 1.5 FWHM,
    ``fwhm`` is in pixels (twice the radius with half the light), ``peak`` is the share of that light in the brightest
    pixel, ``elongation`` the ratio of the axes, and ``clean`` says that neither saturation nor an edge, a gap or a
    neighbour spoils it.
    """

    x: Floats
    """Pixels from the leftmost one's centre."""
    y: Floats
    """Pixels from the lowest one's centre."""
    flux: Floats
    """ADU in an aperture of 1.5 FWHM."""
    error: Floats
    """Standard error of the flux, ADU."""
    fwhm: Floats
    """Twice the radius with half the light, pixels."""
    peak: Floats
    """Share of the light in the brightest pixel."""
    elongation: Floats
    """Ratio of the axes."""
    clean: NDArray[np.bool_]
    """Whether neither saturation nor an edge, a gap or a neighbour spoils it."""

    def __len__(self) -> int:
        return len(self.x)

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Sources:
        """Return the sources of a mask, of indices, or of a slice."""
        return Sources(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class DetectedSources:
    """The sources of an image, and what is typical of it."""

    sources: Sources
    """The sources."""
    fwhm: float
    """The stars' FWHM, pixels."""
    background: float
    """ADU."""
    noise: float
    """The background's standard deviation, ADU."""
    peak: float
    """The stars' share of light in the brightest pixel."""
    elongation: float
    """The ratio of the stars' axes."""


def find(pixels: Pixels, gain: float = 1.0, saturation: float = 60_000.0) -> DetectedSources:
    """Find all sources of an image. ``gain`` is electrons per ADU.

    Raises ImageError when the image is too small, or is so crowded that no source can be told from the next.
    """
    if min(pixels.shape) < _MIN_SIDE_PIXELS:
        height, width = pixels.shape
        raise ImageError(f"{width} x {height} pixels are too few to find sources in")
    unknown = ~np.isfinite(pixels)
    data = np.ascontiguousarray(np.where(unknown, 0, pixels), dtype=np.float32)
    try:
        background = sep.Background(data, mask=unknown, bw=64, bh=64)
        data -= background.back(dtype=np.float32)
        noise = max(float(background.globalrms), 1e-6)
        sep.set_extract_pixstack(min(max(data.size, _MIN_PIXEL_STACK), _MAX_PIXEL_STACK))
        objects, segments = sep.extract(data, THRESHOLD, err=noise, mask=unknown, minarea=4, segmentation_map=True)
        objects = objects[np.argsort(-objects["flux"])[:MAX_SOURCES]]
        x, y = objects["x"], objects["y"]
        # By the moments first, which lost wings make too small; then by the radius with half the light.
        first = _typical(_FWHM * np.sqrt(objects["a"] * objects["b"]), objects["flag"] == 0)
        reach = np.full(len(x), max(2.5 * first, 4.0))
        half, _ = sep.flux_radius(data, x, y, reach, 0.5, normflux=None, mask=unknown)
        fwhm = _typical(2 * half, objects["flag"] == 0)
        radius = max(_APERTURE * fwhm, _MIN_APERTURE_PIXELS)
        flux, error, flag = sep.sum_circle(data, x, y, radius, err=noise, gain=gain, mask=unknown)
        inner, outer = (r * max(fwhm, 2.0) for r in _SKY)
        # Other stars in the ring are no sky: one of them would make a faint source fainter by half a magnitude.
        ring, _, _ = sep.sum_circann(data, x, y, inner, outer, mask=unknown | (segments > 0))
        share = radius**2 / (outer**2 - inner**2)
        flux = flux - np.where(np.isfinite(ring), ring, 0.0) * share
        error = np.hypot(error, noise * np.sqrt(np.pi * radius**2 * share))
    except Exception as problem:  # sep raises bare Exceptions for its limits
        raise ImageError(f"no sources can be told apart: {problem}") from None
    rows, columns = (
        np.clip(np.rint(at).astype(int), 0, size - 1) for at, size in zip((y, x), pixels.shape, strict=True)
    )
    peak = np.maximum(objects["peak"] + background.globalback, pixels[rows, columns])
    clean = (objects["flag"] == 0) & (flag == 0) & (peak < SATURATED * saturation) & (flux > 0)
    peak_share = objects["peak"] / np.where(flux > 0, flux, np.inf)
    elongation = objects["a"] / np.maximum(objects["b"], 1e-3)
    sources = Sources(x, y, flux, error, 2 * half, peak_share, elongation, clean)
    usual = [_typical(each, clean) if clean.any() else 1.0 for each in (peak_share, elongation)]
    return DetectedSources(
        sources.chosen(np.argsort(-flux)), fwhm, float(background.globalback), noise, usual[0], usual[1]
    )


def _typical(fwhm: Floats, good: NDArray[np.bool_]) -> float:
    """Return the median of the brighter half; hot pixels and cosmic rays are narrower, and mostly faint."""
    bright = fwhm[: max(20, len(fwhm) // 2)]
    chosen = bright[good[: len(bright)] & (bright > 0)]
    return float(np.median(chosen)) if len(chosen) else 3.0
