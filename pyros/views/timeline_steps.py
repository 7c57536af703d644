"""The steps of what happens to one alert, as `pyros.views.timeline` tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pyros.messages import Observation

How = Literal["finished", "refused", "failed", "withdrawn"]


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """Something that happened to the alert, ``at`` this Unix time of the observatory's clock.

    Of several telescopes ``unit`` is the one at which it happened; '' for what is of all.
    """

    at: float
    unit: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Arrived(TimelineStep):
    """The broker has it."""

    source: str


@dataclass(frozen=True, slots=True)
class Decided(TimelineStep):
    """The alert manager has decided by its rules; the position is ICRS degrees."""

    accepted: bool
    reason: str
    observation: str
    ra: float | None
    dec: float | None


@dataclass(frozen=True, slots=True)
class TelescopeAsked(TimelineStep):
    """The central scheduler has handed it to one of several telescopes."""


@dataclass(frozen=True, slots=True)
class TakenBack(TimelineStep):
    """The central scheduler has taken it back from one of several telescopes: it goes to another one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Planned(TimelineStep):
    """It is in the scheduler's plan, to be started now or not."""

    starts: bool
    reason: str
    altitude: float
    observation: Observation

    @property
    def up(self) -> bool:
        """Whether its target is above the altitude that it needs, degrees."""
        return self.altitude >= self.observation.min_altitude


@dataclass(frozen=True, slots=True)
class DomeOpened(TimelineStep):
    """The dome is open."""


@dataclass(frozen=True, slots=True)
class SlewCommanded(TimelineStep):
    """The mount took the command; ``seconds`` is its own estimate."""

    seconds: float


@dataclass(frozen=True, slots=True)
class OnTarget(TimelineStep):
    """The measured position, ICRS degrees, and its distance from the demanded one in arcseconds."""

    ra: float
    dec: float
    error: float


@dataclass(frozen=True, slots=True)
class ShutterOpened(TimelineStep):
    """The camera exposes image ``number`` of ``of`` for so many seconds."""

    number: int
    of: int
    filter: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ImageOnDisk(TimelineStep):
    """Synced: it would survive a power cut."""

    number: int
    filter: str
    path: str


@dataclass(frozen=True, slots=True)
class SourceDetected(TimelineStep):
    """The analyzer has found a source in an image that the catalogue doesn't know: ICRS degrees, magnitudes."""

    ra: float
    dec: float
    filter: str
    magnitude: float
    error: float | None
    path: str


@dataclass(frozen=True, slots=True)
class Published(TimelineStep):
    """The broker keeps a VOEvent of our own about it, and sends it to the subscribers."""

    what: str
    """started, finished, stopped, detection or photometry."""
    ivorn: str


@dataclass(frozen=True, slots=True)
class Trouble(TimelineStep):
    """Something did not work; the agents may try again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended(TimelineStep):
    """Nothing more will happen to it."""

    how: How
    reason: str = ""
    images: tuple[str, ...] = ()
