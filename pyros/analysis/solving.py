"""Plate solving by astrometry.net's ``solve-field`` (Lang et al. 2010), as a program with limits.

It is given the sources that were found, not the image, and the scale and place that the header claims, with a margin;
and when it finds nothing, once more without the place. A field that can be solved is by its brightest sources, with a
second of CPU; one that cannot (a sky that isn't ours, clouds) would cost a minute each time if it were asked for all.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

from astropy.io import fits
from astropy.wcs import WCS

from pyros.analysis.pipeline import Detected, scale_of
from pyros.analysis.positions import centre_and_radius, world
from pyros.clock import Deadline
from pyros.workers import programs

_SOURCES = 200  # the brightest; more only take time
_SCALE = 0.15  # by which the header's scale may be wrong
_RADIUS = 5.0  # degrees around the header's place
_NEAR, _BLIND = ("10,20,30,40,60", 15), ("10,20,30", 10)
"""How many of the brightest sources it tries, step by step, and seconds of CPU: at the header's place, and anywhere."""
MIN_SOURCES = 8
"""astrometry.net wants quads, and some more to believe them."""


def solve(program: str, detected: Detected, seconds: float) -> tuple[WCS | None, str]:
    """Return an image's world coordinates, or None and why it cannot be solved within so many seconds.

    Blocks the thread. Raises OSError when there is no folder for temporary files.
    """
    scale = scale_of(detected)
    if scale is None or len(detected.found.sources) < MIN_SOURCES:
        return None, "too few sources, or no scale"
    deadline = Deadline(seconds)
    with tempfile.TemporaryDirectory(prefix="pyros-solve-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": name, "HOME": name}
        for blind in (False, True):
            left = max(1.0, deadline.left())
            arguments = _arguments(folder, program, detected, scale, left, blind)
            end = programs.run(arguments, seconds=left, folder=folder, environment=environment)
            solution = _solution(folder)
            if solution is not None:
                return solution, ""
            if end.late or not deadline.left():
                break
    return None, f"no end within {seconds:g} s" if end.late else end.last_line or f"exit code {end.code}"


def _arguments(folder: Path, program: str, detected: Detected, scale: float, seconds: float, blind: bool) -> list[str]:
    """Write the list of sources; return the command line."""
    sources = detected.found.sources.chosen(slice(0, _SOURCES))
    columns = [
        fits.Column("X", "E", array=sources.x + 1),  # FITS counts from 1
        fits.Column("Y", "E", array=sources.y + 1),
        fits.Column("FLUX", "E", array=sources.flux),
    ]
    table = folder / "sources.xyls"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(table, overwrite=True)
    height, width = detected.shape
    coordinates = world(detected.header)
    assert coordinates is not None  # it has a scale
    ra, dec, _ = centre_and_radius(coordinates, detected.shape)
    depth, cpu = _BLIND if blind else _NEAR
    options: dict[str, object] = {
        "--x-column": "X", "--y-column": "Y", "--sort-column": "FLUX", "--width": width, "--height": height,
        "--scale-units": "arcsecperpix", "--scale-low": scale * (1 - _SCALE), "--scale-high": scale * (1 + _SCALE),
        "--tweak-order": 1, "--depth": depth, "--cpulimit": max(1, round(min(seconds, cpu))),
        "--dir": folder, "--temp-dir": folder, "--new-fits": "none", "--rdls": "none", "--match": "none",
        "--corr": "none", "--index-xyls": "none", "--solved": "none",
    }  # fmt: skip
    if not blind:
        options |= {"--ra": ra, "--dec": dec, "--radius": _RADIUS}
    words = [str(word) for pair in options.items() for word in pair]
    return [program, "--no-plots", "--overwrite", "--crpix-center", *words, str(table)]


def _solution(folder: Path) -> WCS | None:
    try:
        header = fits.getheader(folder / "sources.wcs")
    except OSError:
        return None
    for keyword in ("NAXIS1", "NAXIS2"):
        header.pop(keyword, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its header has words of its own
        return world(header)
