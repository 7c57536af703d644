"""A night's images after the fact: its calibration frames become masters, its images are reduced with them.

A reduced image is the raw one without what the detector did to it: 32-bit floating point ADU with the raw image's
header, in which BIASCORR, DARKCORR and FLATCORR say what was taken off or divided by, BIASFILE, DARKFILE and FLATFILE
by which masters, and HISTORY how; pixels that no light reaches are NaN. Any thread or process; nothing is held open.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from astropy.io import fits

from pyros.analysis.masters import MAX_FRAMES, Master, Masters, make_masters
from pyros.errors import ImageError
from pyros.files import atomic_write
from pyros.instruments.fits import ImageFile, header_number, read_header, read_image

Progress = Callable[[float, str], None]
"""Is told how far it is, 0 to 100, and with what."""

_SUFFIXES = (".fits", ".fit", ".fts", ".fits.fz", ".fits.gz")
_NOT_SCIENCE = ("BIAS", "DARK", "FLAT", "MASTER", "FOCUS", "TEST")
_OF_THE_FILE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|BZERO|BSCALE|BLANK|CHECKSUM|DATASUM|Z.*"
)
"""Keywords about how the raw file keeps its pixels."""
_WORDS = {"BIAS": "subtracted", "DARK": "scaled by the exposure times, subtracted", "FLAT": "divided by"}


def images_of(folder: Path) -> list[Path]:
    """Return the FITS files of a night's folder, by their names; none when there is no such folder."""
    return sorted(
        path for path in folder.glob("*") if path.name.lower().endswith(_SUFFIXES) and not path.name.startswith(".")
    )


def make_night_masters(folder: Path, masters: Path) -> tuple[list[Path], list[str]]:
    """Combine a night's bias, dark and flat frames into masters, by exposure time, filter and temperature.

    Returns the files that were written, and what was wrong with single files. Of more than 200 frames alike the first
    200 are taken. Raises ImageError when frames lack what they need (`make_masters`), and OSError.
    """
    alike: dict[tuple[object, ...], list[Path]] = {}
    problems = []
    for path in images_of(folder):
        try:
            header = read_header(path)
        except ImageError as error:
            problems.append(str(error))
            continue
        kind = _kind(header)
        if kind in ("BIAS", "DARK", "FLAT"):
            dark, filter_name = kind == "DARK", str(header.get("FILTER", "")) if kind == "FLAT" else ""
            seconds, temperature = (header_number(header, name) if dark else None for name in ("EXPTIME", "CCD-TEMP"))
            key = (kind, header["NAXIS1"], header["NAXIS2"], filter_name, seconds, round(temperature or 0.0))
            alike.setdefault(key, []).append(path)
    frames = [path for paths in alike.values() for path in paths[:MAX_FRAMES]]
    written = make_masters(frames, masters, lambda error: problems.append(str(error))) if frames else []
    return written, problems


def reduce_night(
    folder: Path, masters: Path, to: Path, progress: Progress = lambda percent, text: None
) -> tuple[list[Path], list[str]]:
    """Reduce a night's images into the folder ``to``; returns the files written, and what was wrong with others.

    An image whose reduced file is newer than it and than all masters is left alone. Raises ImageError for a broken
    master, and OSError as the disk gives it.
    """
    known = Masters.load(masters)
    newest = max((path.stat().st_mtime for path in masters.glob("*.fits")), default=0.0)
    paths = images_of(folder)
    written: list[Path] = []
    problems: list[str] = []
    for number, path in enumerate(paths):
        progress(100.0 * number / len(paths), path.name)
        target = to / f"{path.name.partition('.f')[0]}.fits"
        try:
            if target.exists() and target.stat().st_mtime > max(newest, path.stat().st_mtime):
                continue
            if _kind(read_header(path)) in _NOT_SCIENCE:
                continue
            to.mkdir(parents=True, exist_ok=True)
            _write(target, read_image(path), known)
            written.append(target)
        except ImageError as error:
            problems.append(str(error))
    progress(100.0, f"{len(written)} images")
    return written, problems


def _kind(header: fits.Header) -> str:
    return next(iter(str(header.get("IMAGETYP", "LIGHT")).upper().split()), "LIGHT")


def _write(target: Path, raw: ImageFile, masters: Masters) -> None:
    pixels, _ = masters.calibrate(raw)
    unit = fits.PrimaryHDU(pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for card in raw.header.cards:
            if card.keyword and not _OF_THE_FILE.fullmatch(card.keyword):
                unit.header.append(card, end=True)
        for keyword, value, comment in _cards(raw, masters.fitting(raw)):
            if keyword == "HISTORY":
                unit.header.add_history(value)
            else:
                unit.header[keyword] = (value, comment)
        unit.add_checksum(when=str(raw.header.get("DATE-OBS", "")))
    with atomic_write(target) as partial, partial.open("wb") as file:
        unit.writeto(file)


def _cards(raw: ImageFile, used: Iterable[Master]) -> list[tuple[str, str | bool, str]]:
    """Say what was done, in the order in which it was."""
    by_kind = {master.kind: master for master in used}
    cards: list[tuple[str, str | bool, str]] = [("BUNIT", "adu", "unit of the pixels"), ("RAWFILE", raw.path.name, "")]
    for kind, verb in _WORDS.items():
        master = by_kind.get(kind)  # type: ignore[call-overload]
        cards.append((f"{kind}CORR", master is not None, f"{kind.lower()}: {verb if master else 'no master fits'}"))
        if master is not None:
            cards.append((f"{kind}FILE", master.file[:68], f"master {kind.lower()}"))
            cards.append(("HISTORY", f"PYROS: master {kind.lower()} {master.file} {verb}", ""))
    return cards
