"""The camera: exposures, and its cooler."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Payload, Positive, Target
from pyros.messages.instruments import Failure


class Expose(Target, frozen=True, kw_only=True):
    """observation_manager -> camera. ``number`` counts the exposures of the observation from 1.

    Of a BIAS and a DARK the shutter stays closed; for those and a FLAT, ``pyros send camera Expose`` will do.
    """

    observation: str
    """The observation's id."""
    number: int
    """Number of the exposure in the observation, from 1."""
    of: int
    """How many exposures the observation has."""
    filter: str
    """The filter's name; '' for a camera without filters."""
    seconds: Annotated[float, msgspec.Meta(ge=0)]
    """Exposure time, seconds."""
    image_type: Literal["LIGHT", "BIAS", "DARK", "FLAT"] = "LIGHT"
    """As in the image's header (IMAGETYP)."""
    target: str = ""
    """The target's name, for people and FITS headers."""
    pointing_ra: float
    """Where the telescope points: right ascension, ICRS degrees."""
    pointing_dec: float
    """Where the telescope points: declination, ICRS degrees."""
    gain: float | None = None
    """The camera's gain in its own unit; None leaves it as it is."""
    binning: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    """Pixels in each direction that are read as one; 1 is what the camera's address says, unbinned by default."""
    readout_mode: str = ""
    """The camera's name of the readout mode; '' leaves it as it is."""
    measure: Literal["", "level", "sizes"] = ""
    """What to measure in the image for *Exposure finished*: nothing, its level, or the size of its stars."""
    keep: bool = True
    """Whether the image goes to disk; one that doesn't is measured only, and its *Exposure finished* has no path."""
    keep_levels: tuple[float, float] | None = None
    """Medians, ADU, between which it goes to disk, where its level is measured; None for any."""


class ExposureStarted(Payload, frozen=True):
    """camera -> observation_manager: the shutter is open."""

    observation: str
    """The observation's id."""
    number: int
    """Number of the exposure in the observation, from 1."""
    of: int
    """How many exposures the observation has."""
    filter: str
    """The filter's name."""
    seconds: float
    """Exposure time that was asked for, seconds."""


class Level(Payload, frozen=True):
    """How much light, or charge, an image has."""

    median: float
    """Of all pixels, ADU, the bias included."""
    saturated: float
    """The share of the pixels, 0 to 1, that are as high as the format goes (65,535 ADU)."""


class StarSizes(Payload, frozen=True):
    """How large the stars of an image are."""

    count: int
    """Stars that were measured."""
    radius: float = 0.0
    """Median of their half-flux radii, pixels."""
    error: float = 0.0
    """Standard error of that median, pixels."""


class ExposureFinished(Payload, frozen=True):
    """camera -> observation_manager: the image is on disk, synced."""

    observation: str
    """The observation's id."""
    number: int
    """Number of the exposure in the observation, from 1."""
    filter: str
    """The filter's name."""
    path: str
    """The FITS file."""
    started: float | None = None
    """When the shutter opened, Unix seconds."""
    seconds: float | None = None
    """Exposure time as the camera measured it, seconds."""
    temperature: float | None = None
    """The detector's, degrees Celsius; None for a camera that doesn't tell."""
    level: Level | None = None
    """The image's level, where *Expose* asked for it and it could be measured."""
    sizes: StarSizes | None = None
    """The size of the image's stars, where *Expose* asked for it and it could be measured."""


class Cool(Payload, frozen=True):
    """-> camera: bring the detector to a temperature. Also the first answer: the camera has taken it.

    A second answer, *Cooling finished* or *Cooling failed*, follows when the detector is there, or `within` is over.
    """

    celsius: float | None = None
    """Degrees Celsius; None warms the detector up and switches the cooler off."""
    ramp: Positive | None = None
    """How fast, kelvins a minute; None for as fast as the camera does it."""
    within: Positive = 1800.0
    """Seconds that it may take."""


class CoolingReport(Payload, frozen=True, kw_only=True):
    """camera -> who asked: the detector is at its temperature, steadily, or has warmed up."""

    celsius: float | None
    """What was asked for, degrees Celsius; None for a warm-up."""
    temperature: float | None = None
    """The detector's, degrees Celsius, as it was measured last; None where it isn't known."""
    power: float | None = None
    """The cooler's, percent; None for a camera that doesn't tell."""


EXPOSE = register("Expose", Expose, guarded=True)
EXPOSURE_STARTED = register("Exposure started", ExposureStarted)
EXPOSURE_FINISHED = register("Exposure finished", ExposureFinished, guarded=True)
EXPOSURE_FAILED = register("Exposure failed", Failure)
COOL = register("Cool", Cool, guarded=True)
COOLING_SET = register("Cooling set", Cool, guarded=True)
COOLING_FINISHED = register("Cooling finished", CoolingReport, guarded=True)
COOLING_FAILED = register("Cooling failed", Failure, guarded=True)
