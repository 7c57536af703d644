"""Observations: what is asked for, the plan, and how each stands."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Count, NoPayload, Payload, Positive, Target

Angle = Annotated[float, msgspec.Meta(ge=0, le=180)]
"""Degrees between two directions."""


class Exposures(Payload, frozen=True):
    """``count`` exposures of ``seconds`` each through ``filter``."""

    filter: str
    """The filter's name, as its wheel has it."""
    seconds: Positive
    """Exposure time of each, seconds."""
    count: Count = 1
    """How many of them."""
    gain: float | None = None
    """The camera's gain in its own unit; None leaves it as it is."""
    binning: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    """Pixels in each direction that are read as one."""
    dither: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    """Greatest offset from the target between two exposures, arcseconds; 0 for none."""
    readout_mode: str = ""
    """The camera's name of the readout mode; '' leaves it as it is."""


class Orbit(Payload, frozen=True, kw_only=True):
    """A body's orbit around the Sun: osculating elements, ecliptic and equinox of J2000.

    With perihelion distance and time, as the Minor Planet Center lists comets, they hold for every eccentricity.
    """

    perihelion_distance: Positive
    """Astronomical units."""
    eccentricity: Annotated[float, msgspec.Meta(ge=0, le=10)]
    """0 for a circle, 1 for a parabola."""
    inclination: Angle
    """Degrees."""
    node: float
    """Longitude of the ascending node, degrees."""
    argument: float
    """Argument of perihelion, degrees."""
    perihelion: float
    """Time of perihelion, modified Julian date, TT."""


class Constraints(Payload, frozen=True, kw_only=True):
    """What an observation asks of the sky, from its beginning to its end, beside its `Observation.min_altitude`."""

    max_airmass: Annotated[float, msgspec.Meta(ge=1)] | None = None
    """The greatest airmass; None for any."""
    moon_distance: Angle = 0.0
    """The least distance from the Moon while it is up, degrees."""
    moon_illumination: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """The greatest illuminated fraction of the Moon while it is up."""
    sun_altitude: Annotated[float, msgspec.Meta(ge=-90, le=0)] | None = None
    """The greatest altitude of the Sun, degrees, where the site's twilight isn't dark enough; None for the site's."""


class Window(Payload, frozen=True):
    """A span of time."""

    begin: float
    """Unix seconds."""
    end: float
    """Unix seconds."""


class Cadence(Payload, frozen=True, kw_only=True):
    """An observation again and again: due at ``start``, ``start + period``, ``start + 2 period`` ...

    What could not be made in time is not made up for: the next one keeps its time.
    """

    period: Positive
    """Seconds from one time to the next."""
    tolerance: Annotated[float, msgspec.Meta(ge=0)]
    """How much earlier or later than due it may begin, seconds."""
    start: float
    """The first time, Unix seconds."""
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many times; None without end."""


class Observation(Target, frozen=True):
    """A request to observe: alert_manager or people -> scheduler -> majordome -> observation_manager."""

    id: str
    """Its name, which no other request has."""
    target: str
    """The target's name, for people and FITS headers."""
    exposures: Annotated[tuple[Exposures, ...], msgspec.Meta(min_length=1, max_length=100)]
    """What to take, in this order."""
    priority: int = 0
    """Ten more make a minute of the telescope's time worth twice as much."""
    min_altitude: float = 10.0
    """The least altitude, degrees."""
    expires: float | None = None
    """When it must have begun, Unix seconds; None for never."""
    requested: float = 0.0
    """When it was asked for, Unix seconds; 0 when that isn't known."""
    reason: str = ""
    """Why it is wanted, for people."""
    repeat: Annotated[tuple[float, ...], msgspec.Meta(max_length=100)] = ()
    """When the same is to be observed again. The scheduler makes an observation of each."""
    not_before: float | None = None
    """When it may begin, where that is later than now: one of the repeats."""
    repeats: str = ""
    """The id of the observation that it repeats."""
    orbit: Orbit | None = None
    """The orbit of a moving body; ``ra`` and ``dec`` are then where it was when somebody last looked."""
    constraints: Constraints = Constraints()
    """What it asks of the sky beside `min_altitude`."""
    windows: Annotated[tuple[Window, ...], msgspec.Meta(max_length=100)] = ()
    """It must lie within one of these; without any, it may be made at any time."""
    cadence: Cadence | None = None
    """Make it again and again; an observation of each time is made for the plan."""
    decay: Positive | None = None
    """Seconds after ``requested`` in which its worth falls to half, t seconds after it by 1 / (1 + t / decay).

    None is half an hour for what an alert asks for, and no hurry otherwise.
    """
    interruptible: bool = True
    """Whether one of a higher priority may interrupt it."""
    taken: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many of its images there are already: it goes on with the next one."""
    owner: str = ""
    """Who asked for it."""
    proposal: str = ""
    """The proposal that it belongs to."""
    telescope: str = ""
    """Where there are several telescopes, the unit of the one that is to make it, or that of a site; '' for any."""
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """Of a field or a galaxy of an event's sky map, the probability that it adds; None for a target of its own."""

    def remaining(self) -> tuple[Exposures, ...]:
        """Return the exposures that are still to be taken, in their order."""
        if not self.taken:
            return self.exposures
        left, taken = [], self.taken
        for each in self.exposures:
            here = min(taken, each.count)
            taken -= here
            if here < each.count:
                left.append(msgspec.structs.replace(each, count=each.count - here))
        return tuple(left)


class FieldRequests(Payload, frozen=True):
    """alert_manager -> scheduler: all that is wanted of an event's sky map from now on, in place of what was before."""

    event: str
    """The event's name."""
    requests: Annotated[tuple[Observation, ...], msgspec.Meta(max_length=500)] = ()
    """The fields or galaxies, each with its ``probability``; other ones of the event are withdrawn."""
    observed: Annotated[tuple[str, ...], msgspec.Meta(max_length=2000)] = ()
    """The ids of those that were observed: their repeats stay."""
    reason: str = ""
    """Why, for people."""


class Withdrawal(Payload, frozen=True):
    """alert_manager -> scheduler: an observation is not wanted any more."""

    observation: str
    """The observation's id."""
    reason: str
    """Why, for people."""


class PlannedObservation(Payload, frozen=True):
    """One line of the plan: an observation and what was computed for it."""

    observation: Observation
    """With the place where it is at ``start``, when it is a moving body."""
    altitude: float
    """Degrees: in the middle of the observation, or now for one that is not planned."""
    reason: str
    """Why it stands where it does, for people."""
    start: float | None = None
    """When the telescope sets out for it, Unix seconds; None when it is not planned."""
    end: float | None = None
    """When its last image is read out, Unix seconds; None when it is not planned."""
    airmass: float | None = None
    """In the middle of the observation."""
    value: float = 0.0
    """What it is worth to the plan: minutes of priority 0 at the zenith."""


class RefusedRequest(Payload, frozen=True):
    """A request that the plan does without, and why."""

    observation: str
    """The request's id."""
    reason: str
    """Why it is not planned, for people."""
    target: str = ""
    """The target's name."""


class Plan(Payload, frozen=True):
    """scheduler -> majordome: tonight in order."""

    observations: tuple[PlannedObservation, ...]
    """Those that are planned by their start, then those that wait."""
    start_now: str | None = None
    """The id of the observation to run at this moment."""
    running: str | None = None
    """The id of the observation that runs, as far as the scheduler has heard; None: none does."""
    withdrawn: tuple[str, ...] = ()
    """The ids of those that are not wanted any more."""
    refused: tuple[RefusedRequest, ...] = ()
    """What the plan does without."""
    begin: float | None = None
    """The beginning of what is planned, Unix seconds."""
    end: float | None = None
    """The end of what is planned, Unix seconds: as a rule the morning's twilight."""
    value: float = 0.0
    """The sum of the lines' values."""
    bound: float | None = None
    """No plan for these requests is worth more than this; None while that is not known."""


class Abort(Payload, frozen=True):
    """Stop what is being done for this observation ('' means whatever is being done)."""

    observation: str = ""
    """The observation's id; '' for whatever is being done."""
    reason: str = ""
    """Why, for people."""


class ObservationReport(Payload, frozen=True):
    """observation_manager -> majordome, scheduler: how an observation stands.

    ``again`` means that a failed one may be observed again later: it was preempted, or the weather stopped it.
    """

    observation: str = ""
    """The observation's id."""
    images: tuple[str, ...] = ()
    """Paths of the FITS files, in the order of their exposures."""
    reason: str = ""
    """Why it ended as it did; '' where there is nothing to say."""
    again: bool = False
    """Whether it may be observed again later."""
    superseded_by: str = ""
    """The observation that begins in its place, the same one for a better position; '' for none."""
    for_good: bool = False
    """Whether an instrument can never do what is asked: it isn't tried again."""
    requested: float | None = None
    """When what it is about was asked for, Unix seconds: the same id may have been asked for anew since. None: an older
    version has said it."""

    def is_of(self, request: Observation) -> bool:
        """Whether it is about this request, and not about an older or newer one with the same id."""
        return self.observation == request.id and self.requested in (None, request.requested)


OBSERVATION_REQUESTED = register("Observation requested", Observation, guarded=True)
OBSERVATION_REQUEST_CHANGED = register("Observation request changed", Observation, guarded=True)
OBSERVATION_REQUEST_WITHDRAWN = register("Observation request withdrawn", Withdrawal, guarded=True)
FIELDS_REQUESTED = register("Fields requested", FieldRequests, guarded=True)
PLAN_UPDATED = register("Plan updated", Plan, guarded=True)
PLAN_AGAIN = register("Plan again", NoPayload)
OBSERVE = register("Observe", Observation, guarded=True)
ABORT_OBSERVATION = register("Abort observation", Abort, guarded=True)
OBSERVATION_STARTED = register("Observation started", ObservationReport, patient=0.1)
OBSERVATION_FINISHED = register("Observation finished", ObservationReport)
OBSERVATION_FAILED = register("Observation failed", ObservationReport)
