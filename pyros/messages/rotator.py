"""Rotator: each command's end has its name, and finished or failed."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Payload
from pyros.messages.instruments import Failure

_Angle = Annotated[float, msgspec.Meta(ge=0, lt=360)]


class Rotate(Payload, frozen=True, kw_only=True):
    """-> rotator: turn to a position angle on the sky, or (*Sync rotator*) stand there already."""

    observation: str = ""
    """The observation that it is for; '' for none."""
    angle: _Angle
    """Position angle on the sky, degrees."""


class Rotated(Payload, frozen=True, kw_only=True):
    """rotator -> who asked: what the device measured at the end of a command."""

    observation: str = ""
    """The observation that it was for; '' for none."""
    angle: _Angle
    """Position angle on the sky, degrees."""


ROTATE = register("Rotate", Rotate, guarded=True)
SYNC_ROTATOR = register("Sync rotator", Rotate, guarded=True)
FINISHED = {name: register(f"{name} finished", Rotated, guarded=True) for name in (ROTATE, SYNC_ROTATOR)}
"""The message that tells the end of each command."""
FAILED = {name: register(f"{name} failed", Failure) for name in FINISHED}
"""The message that tells why each command was not carried out."""
