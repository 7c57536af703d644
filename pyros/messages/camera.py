"""The camera: exposures, and its cooler."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Payload, Target
from pyros.messages.instruments import Failure


class Expose(Target, frozen=True, kw_only=True):
    """observation_manager -> camera. ``number`` counts the exposures of the observation from 1.

    Of a BIAS and a DARK the shutter stays closed; for those and a FLAT, ``pyros send camera Expose`` will do.
    """

    observation: str
    number: int
    of: int
    filter: str
    seconds: Annotated[float, msgspec.Meta(ge=0)]
    image_type: Literal["LIGHT", "BIAS", "DARK", "FLAT"] = "LIGHT"
    target: str = ""
    pointing_ra: float
    pointing_dec: float


class ExposureStarted(Payload, frozen=True):
    """camera -> observation_manager: the shutter is open."""

    observation: str
    number: int
    of: int
    filter: str
    seconds: float


class ExposureFinished(Payload, frozen=True):
    """camera -> observation_manager: the image is on disk, synced."""

    observation: str
    number: int
    filter: str
    path: str
    started: float | None = None
    seconds: float | None = None


class Cool(Payload, frozen=True):
    """-> camera: cool the detector to so many degrees Celsius; None switches the cooler off. Also the answer."""

    celsius: float | None = None


EXPOSE = register("Expose", Expose, guarded=True)
EXPOSURE_STARTED = register("Exposure started", ExposureStarted)
EXPOSURE_FINISHED = register("Exposure finished", ExposureFinished, guarded=True)
EXPOSURE_FAILED = register("Exposure failed", Failure)
COOL = register("Cool", Cool, guarded=True)
COOLING_SET = register("Cooling set", Cool)
COOLING_FAILED = register("Cooling failed", Failure)
