"""What the observation manager remembers of the observation that runs, and tells itself."""

from __future__ import annotations

from typing import Literal

import msgspec

from pyros import messages
from pyros.agents._calibrating import CalibrationState
from pyros.agents._covering import ObservingCover
from pyros.messages import Exposures, Observation, Payload, TakenImage

STEP_OVERDUE = "Step overdue"
STEP_AGAIN = "Step again"


class ObservingStep(Payload, frozen=True):
    """Which step has taken too long, or is to be tried again; and with which device, if it was lost."""

    number: int
    device: str = ""


messages.register(STEP_OVERDUE, ObservingStep, guarded=True)
messages.register(STEP_AGAIN, ObservingStep, guarded=True)


class Progress(msgspec.Struct, frozen=True):
    """How far an observation was when it was interrupted."""

    ra: float
    """ICRS, degrees."""
    dec: float
    """ICRS, degrees."""
    exposures: tuple[Exposures, ...]
    done: int
    """Images that are on disk."""
    images: tuple[str, ...]
    """Their paths."""
    taken: tuple[TakenImage, ...]

    def is_of(self, observation: Observation) -> bool:
        """Whether the same images of the same place are asked for still."""
        same_place = observation.orbit is not None or (self.ra, self.dec) == (observation.ra, observation.dec)
        return same_place and self.exposures == observation.exposures


class ObservationManagerState(msgspec.Struct):
    """The observation that runs, and how far it is.

    ``step`` counts commands, so that old answers are known; ``lost`` the times that a device was lost in the middle of
    its command since the last image; ``away`` are the devices that are not connected, and ``awaited`` the one that the
    next step waits for. ``pointing`` is where the telescope has arrived, None while it has not; ``astray`` whether it
    was away since, and may be elsewhere. ``filter`` is the one that the wheel and the focuser (``focus``) were asked
    for, and whether they have answered; ``slit`` whether the dome's slit looks at the target. ``announced`` says
    whether others were told that it has begun.
    """

    current: Observation | None = None
    began: float = 0.0
    """When it began, monotonic seconds: what was said before is about an earlier time that it was observed."""
    phase: Literal["idle", "slewing", "ready", "centring", "guiding", "exposing", "waiting"] = "idle"
    step: int = 0
    done: int = 0
    failures: int = 0
    lost: int = 0
    away: list[str] = []
    awaited: str = ""
    images: list[str] = []
    taken: list[TakenImage] = []
    pointing: tuple[float, float] | None = None
    astray: bool = False
    dome_open: bool = False
    dark_since: float = 0.0
    """When (Unix) the dome began to close last."""
    slit: bool = True
    filter: str = ""
    filter_ready: bool = True
    focus_ready: bool = True
    overdue: int | None = None
    announced: bool = False
    dithered: int = 0
    """For which image the telescope was moved beside the target last: the number of those before it."""
    interrupted: dict[str, Progress] = {}
    """Observations that go on with their next image, by their ids, the oldest first."""
    late: str = ""
    """The observation that was stopped in an exposure which may have ended nevertheless; '' for none."""
    side: str = ""
    """The side of the pier on which the tube was at the end of the last slew: east, west, or '' where nobody knows."""
    centring: int = 0
    """Images that may yet be taken to centre the field, before the next exposure."""
    centring_path: str = ""
    """The one of those whose analysis is waited for."""
    flips: int = 0
    """How often in a row the tube was told to change sides and did not."""
    guiding: Literal["off", "on", "paused", "lost"] = "off"
    """What the guider does for the observation that runs; lost: it was to guide and does not."""
    guide_after: float = 0.0
    """Until when exposures are not guided, because that failed: Unix seconds."""
    cover: ObservingCover = msgspec.field(default_factory=ObservingCover)
    calibration: CalibrationState | None = None
    """The calibration that runs; while one does, no observation is there."""
    half_width: float | None = None
    """Of the last V-curve: steps beside the focus at which stars are larger by the square root of 2."""
