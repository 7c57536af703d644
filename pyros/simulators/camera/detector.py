"""What a CCD makes of light: its flat, its dark current and hot pixels, cosmic rays, noise, gain, bias, saturation.

The patterns that never change (columns of the bias, response of each pixel, hot pixels) come from the seed alone, so
that masters made in one night serve in the next. The noise of an exposure comes from its own seed.

An image is made in blocks of rows, by as many threads as there are processors (four at most), so that memory stays at
one array of float32 and one of uint16.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Electrons = NDArray[np.float32]

_BLOCK = 1 << 18  # pixels worked on at once: they stay in the processor's cache
_MOST_THREADS = 4
_EXACT = 10.0  # electrons; above it a Poisson law of that mean, to which read noise is added, is taken for a normal one
_LONGEST_TRACK = 40  # pixels
_MEAN_TRACK, _MEAN_CHARGE = 4.0, 400.0  # pixels, and electrons a pixel, of a cosmic ray: 2 keV in 10 um of silicon


@dataclass(frozen=True)
class Electronics:
    """What the description says of the detector; see CameraSettings for the units."""

    width: int
    height: int
    gain: float
    read_noise: float
    bias: int
    saturation: int
    dark_current: float
    temperature: float
    seed: int = 0
    bias_columns: float = 0.0
    dark_doubling: float = 6.0
    hot_pixels: float = 0.0
    hot_current: float = 50.0
    vignetting: float = 0.0
    pixel_response: float = 0.0
    full_well: float | None = None
    cosmic_rays: float = 0.0


class Detector:
    """One detector. The first image takes longer: its patterns are made then. Any one thread at a time."""

    def __init__(self, electronics: Electronics) -> None:
        self.electronics = electronics

    def warmth(self, temperature: float) -> float:
        """How many times larger the dark current is than at the temperature for which it is described."""
        is_ = self.electronics
        return math.pow(2, (temperature - is_.temperature) / is_.dark_doubling)

    @cached_property
    def columns(self) -> Electrons:
        """The bias of each column, ADU."""
        is_ = self.electronics
        pattern = np.random.default_rng((is_.seed, 1)).normal(is_.bias, is_.bias_columns, is_.width)
        return pattern.astype(np.float32)

    @cached_property
    def flat(self) -> Electrons | None:
        """The response of each pixel to light, 1 in the centre on average; None where all are alike."""
        is_ = self.electronics
        if not (is_.vignetting or is_.pixel_response):
            return None
        x = np.linspace(-1, 1, is_.width, dtype=np.float32)
        y = np.linspace(-1, 1, is_.height, dtype=np.float32)
        response = 1 - np.float32(is_.vignetting / 2) * (y[:, None] ** 2 + x[None, :] ** 2)
        if is_.pixel_response:
            random = np.random.default_rng((is_.seed, 2))
            own = random.standard_normal(response.shape, dtype=np.float32)
            response *= np.maximum(0, 1 + np.float32(is_.pixel_response) * own)
        return response

    @cached_property
    def hot(self) -> tuple[NDArray[np.int64], Electrons]:
        """Which pixels are hot (positions in the image row by row), and their electrons a second."""
        is_ = self.electronics
        random = np.random.default_rng((is_.seed, 3))
        count = round(is_.hot_pixels * is_.width * is_.height)
        where = random.choice(is_.width * is_.height, count, replace=False)
        return where.astype(np.int64), (is_.hot_current * random.exponential(1, count)).astype(np.float32)

    def read(
        self, light: Electrons | None, seconds: float, temperature: float, seed: tuple[int, ...], binning: int = 1,
        gain: float | None = None,
    ) -> bytes:  # fmt: skip
        """One exposure: little-endian unsigned 16-bit pixels, row by row, row 0 at the bottom.

        ``light`` is the mean number of electrons in each pixel behind a perfect detector, and is used up; None for a
        closed shutter. ``binning`` pixels in each direction are added up before they are read, so that they have the
        read noise of one; ``gain`` is electrons per ADU, where it isn't the description's. The same arguments give the
        same image.
        """
        is_ = self.electronics
        noise = np.random.default_rng(seed)
        hot, current = self.hot
        rays, charges = self._cosmic_rays(seconds, noise)
        warmth = self.warmth(temperature)
        spots = np.concatenate([hot, rays])
        extra = np.concatenate([current * np.float32(warmth * seconds), charges])
        image = np.empty((is_.height // binning, is_.width // binning), dtype="<u2")
        rows = max(1, _BLOCK // is_.width // binning) * binning
        columns = self.columns if binning == 1 else _added(self.columns[None, :], binning, 1)[0] / np.float32(binning)

        def expose(begin: int, noise: np.random.Generator) -> None:
            block = slice(begin, begin + rows)
            if light is None:
                charge = np.zeros((min(rows, is_.height - begin), is_.width), dtype=np.float32)
            else:
                charge = light[block]
                if self.flat is not None:
                    charge *= self.flat[block]
            if is_.dark_current:
                charge += np.float32(is_.dark_current * warmth * seconds)
            here = (spots >= begin * is_.width) & (spots < (begin + rows) * is_.width)
            np.add.at(charge.reshape(-1), spots[here] - begin * is_.width, extra[here])
            if binning > 1:
                charge = _added(charge, binning, binning)
            part = slice(begin // binning, begin // binning + len(charge))
            self._digitise(charge, image[part], columns, gain or is_.gain, noise)

        begins = range(0, is_.height, rows)
        # A generator for each block, so that the image is the same whichever thread makes which block.
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            list(pool.map(expose, begins, noise.spawn(len(begins))))
        return image.tobytes()

    def _digitise(
        self, charge: Electrons, image: NDArray[np.uint16], columns: Electrons, gain: float, noise: np.random.Generator
    ) -> None:
        """Photon noise, full well, read noise, gain, bias and rounding; ``charge`` is used up."""
        is_ = self.electronics
        dark = not charge.any()
        few = None if dark or charge.min() >= _EXACT else charge < _EXACT
        exact = None if few is None else noise.poisson(charge[few])
        normal = noise.standard_normal(charge.shape, dtype=np.float32)
        if dark:
            normal *= np.float32(is_.read_noise)
        else:
            spread = charge.copy()
            if few is not None:
                spread[few] = 0.0
            if is_.full_well is not None:
                spread[charge >= is_.full_well] = 0.0  # a full pixel is full: no photon noise any more
            spread += np.float32(is_.read_noise**2)
            np.sqrt(spread, out=spread)
            normal *= spread
        if is_.full_well is not None:
            np.minimum(charge, np.float32(is_.full_well), out=charge)
        if few is not None:
            charge[few] = exact
        charge += normal
        charge *= np.float32(1 / gain)
        charge += columns
        np.rint(charge, out=charge)
        np.clip(charge, 0, is_.saturation, out=charge)
        image[:] = charge

    def _cosmic_rays(self, seconds: float, noise: np.random.Generator) -> tuple[NDArray[np.int64], Electrons]:
        """Return the pixels on their tracks (positions row by row), and the electrons in each."""
        is_ = self.electronics
        count = int(noise.poisson(is_.cosmic_rays * seconds / 60)) if is_.cosmic_rays and seconds else 0
        if not count:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        x, y = noise.uniform(0, is_.width, count), noise.uniform(0, is_.height, count)
        angle = noise.uniform(0, 2 * math.pi, count)
        length = np.minimum(noise.exponential(_MEAN_TRACK, count), _LONGEST_TRACK)
        density = noise.exponential(_MEAN_CHARGE, count)
        step = np.arange(_LONGEST_TRACK + 1)[None, :]
        column = np.floor(x[:, None] + step * np.cos(angle)[:, None]).astype(np.int64)
        row = np.floor(y[:, None] + step * np.sin(angle)[:, None]).astype(np.int64)
        on = (step <= length[:, None]) & (column >= 0) & (column < is_.width) & (row >= 0) & (row < is_.height)
        each = np.broadcast_to(density[:, None], on.shape)[on]
        return row[on] * is_.width + column[on], each.astype(np.float32)


def _added(pixels: Electrons, across: int, along: int) -> Electrons:
    """Add up pixels by so many across and along; what is left over at the edges is not read."""
    rows, columns = len(pixels) // along, pixels.shape[1] // across
    part = pixels[: rows * along, : columns * across]
    added: Electrons = part.reshape(rows, along, columns, across).sum(axis=(1, 3), dtype=np.float32)
    return added
