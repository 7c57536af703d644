"""An image's record from its file: what its header says, and where its corners lie.

Apart from `pyros.imagery.record`, since whoever only searches the index needs neither astropy nor what measures images.
"""

from __future__ import annotations

import math
import warnings
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from astropy.io import fits

from pyros.alerts.archive import healpix
from pyros.analysis.positions import world
from pyros.angles import separation
from pyros.errors import ImageError
from pyros.imagery.record import Corner, ImageRecord
from pyros.instruments.fits import header_number, read_header
from pyros.messages import ImageAnalysed
from pyros.planning.night_log import night_name
from pyros.printable import printable
from pyros.site import Site

_LONGEST = 200


def read_record(path: Path, site: Site | None, report: ImageAnalysed | None = None) -> ImageRecord:
    """Read an image's header, and take the analyzer's word where there is one.

    The site makes a time a night; without one the night is that of Greenwich. Raises ImageError, one line that names
    the file. Any thread; takes some milliseconds.
    """
    header, there = read_header(path), path.stat()
    started = _started(header, path)
    corners, centre = _field(header)
    if centre is not None and report is not None and report.ra is not None and report.dec is not None:
        east, north = report.ra - centre[0], report.dec - centre[1]
        corners = tuple(((ra + east) % 360.0, max(-90.0, min(90.0, dec + north))) for ra, dec in corners)
        centre = (report.ra, report.dec)
    return ImageRecord(
        path=str(path), night=_night(site, started), started=started, seconds=header_number(header, "EXPTIME"),
        filter=_text(header, "FILTER"), object=_text(header, "OBJECT"),
        type=_text(header, "IMAGETYP").upper() or "LIGHT", observation=_text(header, "OBSID"),
        event=_text(header, "EVENT"), alert=_text(header, "ALERT"), telescope=_text(header, "TELESCOP"),
        instrument=_text(header, "INSTRUME"), width=int(header["NAXIS1"]), height=int(header["NAXIS2"]),
        airmass=header_number(header, "AIRMASS"), temperature=header_number(header, "CCD-TEMP"),
        ra=centre[0] if centre else None, dec=centre[1] if centre else None,
        radius=max(separation(*centre, *corner) for corner in corners) if centre else None, corners=corners,
        cell=healpix.cell(*centre) if centre else None, size=there.st_size, modified=there.st_mtime,
        fwhm=report.fwhm if report else None, zero_point=report.zero_point if report else None,
        sources=report.sources if report else None, problem=printable(report.problem)[:_LONGEST] if report else "",
    )  # fmt: skip


def _field(header: fits.Header) -> tuple[tuple[Corner, ...], Corner | None]:
    """Return the corners and the centre, from the header's world coordinates; nothing for an image without."""
    width, height = int(header["NAXIS1"]), int(header["NAXIS2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = world(header)
        if wcs is None:
            return (), None
        pixels = [(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)]
        try:
            places = wcs.all_pix2world([*pixels, ((width - 1) / 2, (height - 1) / 2)], 0).tolist()
        except Exception:  # wcslib's, as in `world`
            return (), None
    if not all(math.isfinite(value) for place in places for value in place) or any(abs(dec) > 90 for _, dec in places):
        return (), None
    *corners, centre = [(ra % 360.0, dec) for ra, dec in places]
    return tuple(corners if _is_counterclockwise(corners, centre) else corners[::-1]), centre


def _is_counterclockwise(corners: list[Corner], centre: Corner) -> bool:
    """Return whether they go from north to east, as ObsCore wants a polygon."""
    (ra1, dec1), (ra2, dec2) = corners[0], corners[1]
    cosine = math.cos(math.radians(centre[1]))
    x1, x2 = (((ra - centre[0] + 180) % 360 - 180) * cosine for ra in (ra1, ra2))
    return x1 * (dec2 - centre[1]) - x2 * (dec1 - centre[1]) < 0


def _started(header: fits.Header, path: Path) -> float:
    text = _text(header, "DATE-OBS")
    try:
        when = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        raise ImageError(f"{path}: DATE-OBS: {text!r} is no time") from None
    if not MINYEAR < when.year < MAXYEAR:  # of which some zones' times cannot be told
        raise ImageError(f"{path}: DATE-OBS: {text!r} is no time of an image")
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()


def _night(site: Site | None, started: float) -> str:
    if site is not None:
        return night_name(site, started)
    return (datetime.fromtimestamp(started, UTC) - timedelta(hours=12)).date().isoformat()


def _text(header: fits.Header, keyword: str) -> str:
    value: Any = header.get(keyword, "")
    return "" if isinstance(value, fits.card.Undefined) else printable(str(value)).strip()[:_LONGEST]
