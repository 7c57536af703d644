"""Calibrations: what the majordome orders from the observation manager, and what was reached."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Count, Degrees, Latitude, Payload, Positive

CalibrationKind = Literal["bias", "dark", "flat", "focus"]
"""What can be ordered."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class CalibrationOrder(Payload, frozen=True, kw_only=True):
    """majordome -> observation_manager: take calibrations now.

    One order runs at a time: a newer one supersedes it, and so does *Observe*. While an observation runs an order is
    refused. Biases and darks need a closed dome, flats of the sky and focusing an open one.
    """

    id: _Name
    """The order's own name, also in the images' headers (OBSID) and file names; never that of an observation."""
    kind: CalibrationKind
    """What is taken."""
    seconds: Annotated[tuple[Positive, ...], msgspec.Meta(max_length=100)] = ()
    """Exposure times, seconds: of darks all of them; of a focusing the first, if there is one. Flats find their own."""
    filters: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=100)] = ()
    """Names of filters: of flats all of them, in any order; of a focusing each, the first one's focus counts."""
    count: Count = 1
    """Images: of a bias in all, of darks at each exposure time, of flats through each filter; 1 for a focusing."""
    binning: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    """Pixels in each direction that are read as one; 1 is what the camera's address says."""
    level: Positive | None = None
    """The level asked of flats, ADU above the bias; None for `option_flat_level` of the observation manager."""
    ra: Degrees | None = None
    """Right ascension of the field for flats and focusing, ICRS degrees; None for one near the zenith."""
    dec: Latitude | None = None
    """Declination of the field, ICRS degrees."""
    source: Literal["sky", "lamp"] = "sky"
    """What lights the flats: the twilight, or the lamp of the cover."""
    until: float | None = None
    """Unix seconds at which it ends with what it has; None for no such time."""
    reason: str = ""
    """Why it is ordered, for a person who reads the journal."""


class CalibrationAbort(Payload, frozen=True):
    """majordome -> observation_manager: stop a calibration."""

    calibration: str = ""
    """The order's id; '' for whichever runs."""
    reason: str = ""
    """Why, for a person who reads the journal."""


class FrameSet(Payload, frozen=True, kw_only=True):
    """Images that belong together, and the level that they reached."""

    image_type: Literal["BIAS", "DARK", "FLAT"]
    """As in the images' headers (IMAGETYP)."""
    filter: str = ""
    """The filter's name; '' for biases and darks."""
    seconds: float = 0.0
    """Exposure time, seconds; of flats the last one's."""
    images: tuple[str, ...] = ()
    """Paths of the FITS files, in the order of their exposures."""
    level: float | None = None
    """Mean of the images' medians, ADU, above the bias for flats; None where none could be measured."""
    temperature: float | None = None
    """Mean temperature of the detector, degrees Celsius; None for a camera that doesn't tell."""


class FocusPoint(Payload, frozen=True):
    """One position of a V-curve."""

    position: int
    """Steps."""
    radius: float
    """Median half-flux radius of the stars, pixels; 0 where there were none."""
    stars: int
    """Stars that were measured."""


class FocusReached(Payload, frozen=True, kw_only=True):
    """The focus that was found through one filter, or the old one, to which the focuser went back."""

    filter: str = ""
    """The filter's name; '' where there is no filter."""
    position: int
    """Where the focuser stands, steps."""
    found: bool = True
    """Whether it was found; if not, `position` is the old one."""
    radius: float | None = None
    """Half-flux radius at the vertex of the fitted hyperbola, pixels; None where none was found."""
    error: float | None = None
    """Standard error of the vertex, steps."""
    temperature: float | None = None
    """Of the focuser, degrees Celsius; None where it has no sensor."""
    points: tuple[FocusPoint, ...] = ()
    """The V-curve, in the order of time."""
    reason: str = ""
    """Why it was not found."""


class CalibrationReport(Payload, frozen=True, kw_only=True):
    """observation_manager -> majordome: how a calibration stands, with all that it has reached."""

    calibration: str
    """The order's id."""
    kind: CalibrationKind
    """The order's kind."""
    sets: tuple[FrameSet, ...] = ()
    """The images, by exposure time and filter; also of one that has failed."""
    focus: tuple[FocusReached, ...] = ()
    """What a focusing has found, a line for each filter."""
    reason: str = ""
    """Why it failed, or what is missing of one that has finished; '' where nothing is."""
    again: bool = False
    """Whether the same order may well succeed later: something else came first, or a device was away."""


CALIBRATE = register("Calibrate", CalibrationOrder, guarded=True)
ABORT_CALIBRATION = register("Abort calibration", CalibrationAbort, guarded=True)
CALIBRATION_STARTED = register("Calibration started", CalibrationReport, guarded=True)
CALIBRATION_FINISHED = register("Calibration finished", CalibrationReport, guarded=True)
CALIBRATION_FAILED = register("Calibration failed", CalibrationReport, guarded=True)
