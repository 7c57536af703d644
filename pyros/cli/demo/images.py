"""Does an image show the alert's position, and what does it look like?"""

from __future__ import annotations

from pathlib import Path

from astropy.io import fits

from pyros.angles import separation_arcsec
from pyros.clock import Deadline
from pyros.instruments.preview import target_pixel, write_preview

_LOOK_EVERY = 0.1


def off_centre(path: Path, ra: float, dec: float) -> float | None:
    """How far an ICRS position (degrees) is from the centre of an image, in arcseconds; None if it isn't in it.

    By the world coordinates of the file's header. None too for a file that isn't there, or has no such coordinates.
    """
    try:
        header = fits.getheader(path)
        found = target_pixel(header, ra, dec)
        width, height = header["NAXIS1"], header["NAXIS2"]
        centre = float(header["CRVAL1"]), float(header["CRVAL2"])
    except (OSError, KeyError, ValueError):
        return None
    if found is None or not (-0.5 <= found[0] < width - 0.5 and -0.5 <= found[1] < height - 0.5):
        return None
    return separation_arcsec(*centre, ra, dec)


def preview(path: Path, ra: float, dec: float, patience: float) -> Path:
    """Return the PNG beside an image: the analyzer's if it comes within ``patience`` seconds, else drawn here."""
    png = path.with_suffix(".png")
    deadline = Deadline(patience)
    while not _is_whole(png) and deadline.left():
        deadline.pause(_LOOK_EVERY)
    return png if _is_whole(png) else write_preview(path, png, ra, dec)


def _is_whole(png: Path) -> bool:
    """Whether a PNG has its last chunk, IEND (PNG specification, 5.6): the analyzer may be writing it."""
    try:
        return png.read_bytes()[-8:-4] == b"IEND"
    except OSError:
        return False
