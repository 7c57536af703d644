"""Master frames: medians of bias, dark and flat frames, made once and taken from every image after that.

A master is a FITS file whose IMAGETYP is MASTER BIAS, MASTER DARK or MASTER FLAT. A dark has its bias taken off, so
that it fits other exposure times; a flat has both taken off, and is divided by its median. Which master fits an image
is read from headers: the shape always, for a dark the temperature and the nearest exposure time, for a flat the filter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from pyros.errors import ImageError
from pyros.files import atomic_write
from pyros.instruments.fits import ImageFile, header_number, read_image

Pixels = NDArray[np.float32]
Kind = Literal["BIAS", "DARK", "FLAT"]

MAX_TEMPERATURE_DIFFERENCE = 2.0
"""Celsius by which a dark's temperature may differ from an image's."""
_MIN_FLAT = 0.1
"""Share of a flat's median; where less light arrives nothing is divided."""
MAX_FRAMES = 200
_ROWS_AT_ONCE = 64
"""Rows of all frames that are combined at once, which bounds memory."""
_FLATS_BIAS = "a flat needs a master bias, or bias frames among the files"


@dataclass(frozen=True, eq=False)
class Master:
    """One master frame."""

    kind: Kind
    """Bias, dark or flat."""
    pixels: Pixels
    """ADU; of a flat its sensitivity, 1 on the average."""
    seconds: float = 0.0
    """Exposure time, seconds."""
    temperature: float | None = None
    """The detector's, degrees Celsius; None where it isn't known."""
    filter: str = ""
    """The filter's name; '' for biases and darks."""
    file: str = ""
    """The name of its file."""


@dataclass
class Masters:
    """The master frames of a folder."""

    frames: list[Master] = field(default_factory=list)
    """The master frames."""

    @classmethod
    def load(cls, folder: Path) -> Masters:
        """Read the masters of a folder; none if there is no folder. Raises ImageError for a file that is no image."""
        masters = cls()
        for path in sorted(folder.glob("*.fits")) if folder.is_dir() else []:
            read = read_image(path)
            words = str(read.header.get("IMAGETYP", "")).upper().split()
            if len(words) == 2 and words[0] == "MASTER" and words[1] in ("BIAS", "DARK", "FLAT"):
                masters.frames.append(_master(words[1], read))  # type: ignore[arg-type]
        return masters

    def bias(self, shape: tuple[int, ...]) -> Master | None:
        """Return the bias of an image of that shape."""
        return next((each for each in self._of("BIAS", shape)), None)

    def dark(self, shape: tuple[int, ...], seconds: float, temperature: float | None) -> Master | None:
        """Return the dark of the nearest exposure time among those as warm."""
        warm = [each for each in self._of("DARK", shape) if _as_warm(each.temperature, temperature)]
        return min(warm, key=lambda each: abs(np.log((each.seconds + 1e-3) / (seconds + 1e-3))), default=None)

    def flat(self, shape: tuple[int, ...], filter: str) -> Master | None:
        """Return the flat of a filter."""
        return next((each for each in self._of("FLAT", shape) if each.filter == filter), None)

    def calibrate(self, image: ImageFile) -> tuple[Pixels, tuple[str, ...]]:
        """Remove what the detector did to an image, as far as there are masters; return which ones were used, too."""
        pixels, used = image.pixels.copy(), self.fitting(image)
        seconds = header_number(image.header, "EXPTIME") or 0.0
        for master in used:
            match master.kind:
                case "BIAS":
                    pixels -= master.pixels
                case "DARK":
                    pixels -= master.pixels * np.float32(seconds / master.seconds)
                case "FLAT":
                    lit = master.pixels > _MIN_FLAT
                    np.divide(pixels, master.pixels, out=pixels, where=lit)
                    pixels[~lit] = np.nan
        return pixels, tuple(master.kind.lower() for master in used)

    def fitting(self, image: ImageFile) -> list[Master]:
        """Return the masters that `calibrate` applies to an image, in their order."""
        header, shape = image.header, image.pixels.shape
        bias = self.bias(shape)
        dark = self.dark(shape, header_number(header, "EXPTIME") or 0.0, header_number(header, "CCD-TEMP"))
        flat = None if bias is None else self.flat(shape, str(header.get("FILTER", "")))
        return [each for each in (bias, dark, flat) if each is not None and (each is not dark or each.seconds > 0)]

    def _of(self, kind: Kind, shape: tuple[int, ...]) -> list[Master]:
        return [each for each in self.frames if each.kind == kind and each.pixels.shape == shape]


def refuse_broken(error: ImageError) -> None:
    """Let a frame that cannot be used end the making of masters."""
    raise error


def make_masters(
    files: Iterable[Path], folder: Path, broken: Callable[[ImageError], None] = refuse_broken
) -> list[Path]:  # fmt: skip
    """Combine bias, dark and flat frames (IMAGETYP) into masters in a folder; returns the files written.

    Masters that the folder has already serve where the files have none: flats of tonight need no new bias. Raises
    ImageError, naming the file or what is missing; where ``broken`` takes it instead, a frame that cannot be read, or
    a flat without light, is left out.
    """
    groups = _groups(files, broken)
    if not groups and broken is refuse_broken:
        raise ImageError("none of the files is a bias, a dark or a flat (IMAGETYP)")
    masters = Masters.load(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for key in sorted(groups, key=lambda key: ("BIAS", "DARK", "FLAT").index(key.kind)):
        frames = _frames(groups[key], masters, key, broken)
        if not frames:
            continue
        master = Master(key.kind, _median(frames), key.seconds, key.temperature, key.filter)
        masters.frames.insert(0, master)
        written.append(_write(folder / key.name, master, len(frames)))
    return written


@dataclass(frozen=True)
class _Group:
    """Frames that are combined with each other."""

    kind: Kind
    shape: tuple[int, int]
    seconds: float = 0.0
    temperature: float | None = None
    filter: str = ""

    @property
    def name(self) -> str:
        words = [f"{self.shape[1]}x{self.shape[0]}"]
        if self.kind == "DARK":
            words += [f"{self.seconds:g}s", "" if self.temperature is None else f"{self.temperature:+.0f}C"]
        if self.kind == "FLAT":
            words.append(re.sub(r"[^A-Za-z0-9+-]", "_", self.filter) or "nofilter")
        return "_".join(["master", self.kind.lower(), *(word for word in words if word)]) + ".fits"


def _groups(files: Iterable[Path], broken: Callable[[ImageError], None]) -> dict[_Group, list[Path]]:
    groups: dict[_Group, list[Path]] = {}
    for path in files:
        try:
            read = read_image(path)
        except ImageError as error:
            broken(error)
            continue
        kind = str(read.header.get("IMAGETYP", "")).upper().split()[:1]
        shape: tuple[int, int] = read.pixels.shape
        temperature = header_number(read.header, "CCD-TEMP")
        match kind:
            case ["BIAS"]:
                key = _Group("BIAS", shape)
            case ["DARK"]:
                rounded = None if temperature is None else float(round(temperature))
                key = _Group("DARK", shape, header_number(read.header, "EXPTIME") or 0.0, rounded)
            case ["FLAT"]:
                key = _Group("FLAT", shape, filter=str(read.header.get("FILTER", "")))
            case _:
                continue
        groups.setdefault(key, []).append(path)
        if len(groups[key]) > MAX_FRAMES:
            raise ImageError(f"{path}: is one of more than {MAX_FRAMES} like it; fewer make as good a master")
    return groups


def _frames(
    files: list[Path], masters: Masters, key: _Group, broken: Callable[[ImageError], None]
) -> list[Pixels]:  # fmt: skip
    """Return frames without bias (and dark), a flat divided by its own median."""
    bias = masters.bias(key.shape)
    if key.kind != "BIAS" and bias is None:
        what = "a dark needs a master bias, or bias frames among the files" if key.kind == "DARK" else _FLATS_BIAS
        raise ImageError(f"{files[0]}: {what}")
    frames = []
    for path in files:
        read = read_image(path)
        frame = read.pixels
        if key.kind != "BIAS" and bias is not None:
            frame = frame - bias.pixels
        if key.kind == "FLAT":
            seconds, temperature = header_number(read.header, "EXPTIME") or 0.0, header_number(read.header, "CCD-TEMP")
            dark = masters.dark(key.shape, seconds, temperature)
            if dark is not None and dark.seconds > 0:
                frame = frame - dark.pixels * np.float32(seconds / dark.seconds)
            level = float(np.median(frame))
            if level <= 0:
                broken(ImageError(f"{path}: is a flat without light"))
                continue
            frame = frame / np.float32(level)
        frames.append(frame)
    return frames


def _median(frames: list[Pixels]) -> Pixels:
    combined = np.empty_like(frames[0])
    for begin in range(0, len(combined), _ROWS_AT_ONCE):
        rows = slice(begin, begin + _ROWS_AT_ONCE)
        combined[rows] = np.median(np.stack([frame[rows] for frame in frames]), axis=0)
    return combined


def _write(path: Path, master: Master, frames: int) -> Path:
    unit = fits.PrimaryHDU(master.pixels)
    unit.header["IMAGETYP"] = (f"MASTER {master.kind}", "kind of image")
    unit.header["NCOMBINE"] = (frames, "frames whose median this is")
    if master.kind == "DARK":
        unit.header["EXPTIME"] = (master.seconds, "[s] exposure time")
        if master.temperature is not None:
            unit.header["CCD-TEMP"] = (master.temperature, "[Celsius] detector temperature")
    if master.kind == "FLAT":
        unit.header["FILTER"] = (master.filter, "filter")
    unit.add_checksum()
    with atomic_write(path) as partial, partial.open("wb") as file:
        unit.writeto(file)
    return path


def _master(kind: Kind, read: ImageFile) -> Master:
    header = read.header
    return Master(
        kind, read.pixels, header_number(header, "EXPTIME") or 0.0, header_number(header, "CCD-TEMP"),
        str(header.get("FILTER", "")), read.path.name,
    )  # fmt: skip


def _as_warm(one: float | None, other: float | None) -> bool:
    return one is None or other is None or abs(one - other) <= MAX_TEMPERATURE_DIFFERENCE
