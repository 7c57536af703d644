"""Guider: guiding and dithering have an end; what becomes of the guiding afterwards is told when it changes."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Payload
from pyros.messages.instruments import Failure, Order


class Guide(Payload, frozen=True, kw_only=True):
    """-> guider: guide on a star until you are told to stop."""

    observation: str = ""
    """The observation that it is for; '' for none."""


class Dither(Payload, frozen=True, kw_only=True):
    """-> guider: move the star's place, and guide there."""

    observation: str = ""
    """The observation that it is for; '' for none."""
    arcsec: Annotated[float, msgspec.Meta(gt=0, le=600)]
    """The most in each axis, arcseconds."""


class Guiding(Payload, frozen=True, kw_only=True):
    """guider -> who asked: it is steady."""

    observation: str = ""
    """The observation that it is for; '' for none."""
    error: float
    """How far the star is beside its place, arcseconds."""


GUIDE = register("Guide", Guide, guarded=True)
DITHER = register("Dither", Dither, guarded=True)
PAUSE_GUIDING = register("Pause guiding", Order, guarded=True)
STOP_GUIDING = register("Stop guiding", Order, guarded=True)
FINISHED = {name: register(f"{name} finished", Guiding, guarded=True) for name in (GUIDE, DITHER)}
"""The message that tells that it is steady, for each command that is to become so."""
FAILED = {name: register(f"{name} failed", Failure) for name in FINISHED}
"""The message that tells why it guides no longer, for the same commands."""
GUIDING_LOST = register("Guiding lost", Failure)
"""guider -> observation_manager: it does not guide as it was told to any more."""
GUIDING_AGAIN = register("Guiding again", Guiding, guarded=True)
"""guider -> observation_manager: it has found its star again by itself."""
