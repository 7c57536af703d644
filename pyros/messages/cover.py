"""Cover and flat panel: each command's end has its name, and finished or failed."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Payload
from pyros.messages.instruments import Failure


class CoverOrder(Payload, frozen=True):
    """observation manager -> cover: open, close, put the lamp out; majordome, guardian -> observation manager: close.

    The observation manager ends what needs the sky, and has the cover closed, where there is one.
    """

    reason: str = ""
    """Why, for a person who reads the journal."""
    observation: str = ""
    """What it is for, repeated in its answer; '' for none."""


class CalibratorOn(Payload, frozen=True):
    """observation manager -> cover: light the lamp."""

    brightness: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """In steps of the lamp's own; None for its full brightness."""
    observation: str = ""
    """What it is for, repeated in its answer; '' for none."""


class CoverReport(Payload, frozen=True, kw_only=True):
    """cover -> who asked: what the device measured at the end of a command."""

    state: str
    """That of the cover, one of `pyros.instruments.cover.CoverState`."""
    brightness: int
    """The lamp's, in steps of its own; 0 when it is off."""
    observation: str = ""
    """That of the order."""


OPEN_COVER = register("Open cover", CoverOrder, guarded=True)
CLOSE_COVER = register("Close cover", CoverOrder, guarded=True)
CALIBRATOR_ON = register("Calibrator on", CalibratorOn, guarded=True)
CALIBRATOR_OFF = register("Calibrator off", CoverOrder, guarded=True)
FINISHED = {
    name: register(f"{name} finished", CoverReport, guarded=True)
    for name in (OPEN_COVER, CLOSE_COVER, CALIBRATOR_ON, CALIBRATOR_OFF)
}
"""The message that tells the end of each command."""
FAILED = {name: register(f"{name} failed", Failure) for name in FINISHED}
"""The message that tells why each command was not carried out."""
