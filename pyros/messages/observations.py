"""Observations: what is asked for, the plan, and how each stands."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Count, NoPayload, Payload, Positive, Target


class Exposures(Payload, frozen=True):
    """``count`` exposures of ``seconds`` each through ``filter``."""

    filter: str
    seconds: Positive
    count: Count = 1


class Observation(Target, frozen=True):
    """A request to observe: alert_manager -> scheduler -> majordome -> observation_manager."""

    id: str
    target: str
    exposures: Annotated[tuple[Exposures, ...], msgspec.Meta(min_length=1, max_length=100)]
    priority: int = 0
    min_altitude: float = 10.0
    expires: float | None = None
    requested: float = 0.0
    reason: str = ""
    repeat: Annotated[tuple[float, ...], msgspec.Meta(max_length=100)] = ()
    """When the same is to be observed again. The scheduler makes an observation of each."""
    not_before: float | None = None
    """When it may begin, where that is later than now: one of the repeats."""
    repeats: str = ""
    """The id of the observation that it repeats."""


class Withdrawal(Payload, frozen=True):
    """alert_manager -> scheduler: an observation is not wanted any more."""

    observation: str
    reason: str


class Planned(Payload, frozen=True):
    """One line of the plan: an observation and what was computed for it."""

    observation: Observation
    altitude: float
    reason: str


class Plan(Payload, frozen=True):
    """scheduler -> majordome: tonight in order. ``start_now`` is the id of the observation to run at this moment."""

    observations: tuple[Planned, ...]
    start_now: str | None = None
    withdrawn: tuple[str, ...] = ()


class Abort(Payload, frozen=True):
    """Stop what is being done for this observation ('' means whatever is being done)."""

    observation: str = ""
    reason: str = ""


class ObservationReport(Payload, frozen=True):
    """observation_manager -> majordome, scheduler: how an observation stands.

    ``again`` means that a failed one may be observed again later: it was preempted, or the weather stopped it.
    """

    observation: str = ""
    images: tuple[str, ...] = ()
    reason: str = ""
    again: bool = False


OBSERVATION_REQUESTED = register("Observation requested", Observation, guarded=True)
OBSERVATION_REQUEST_CHANGED = register("Observation request changed", Observation, guarded=True)
OBSERVATION_REQUEST_WITHDRAWN = register("Observation request withdrawn", Withdrawal, guarded=True)
PLAN_UPDATED = register("Plan updated", Plan, guarded=True)
PLAN_AGAIN = register("Plan again", NoPayload)
OBSERVE = register("Observe", Observation, guarded=True)
ABORT_OBSERVATION = register("Abort observation", Abort, guarded=True)
OBSERVATION_STARTED = register("Observation started", ObservationReport)
OBSERVATION_FINISHED = register("Observation finished", ObservationReport)
OBSERVATION_FAILED = register("Observation failed", ObservationReport)
