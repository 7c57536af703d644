"""When a request can be made next: the first answer to somebody who asks for it. Plain Python, for any thread."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from pyros.angles import SECONDS_PER_DAY
from pyros.messages import Observation
from pyros.planning.cadence import occurrences
from pyros.planning.night_sky import NightSky, night_of
from pyros.planning.problem import DEFAULT_OVERHEADS, make_problem
from pyros.planning.reasons import reason_never, reason_refused
from pyros.planning.visibility import airmass
from pyros.site import Site

_STEP = 300.0
"""Seconds of a slot: the answer is good to that."""
_EVERY_NIGHT = 14
"""Nights that are looked at one by one; later ones every third, since a target comes up 4 minutes earlier each."""
_NIGHTS = 366
_SUN_DECLINATIONS = tuple(half / 2 for half in range(-47, 48))
"""Where the Sun stands in a year, degrees."""


class NextUp(msgspec.Struct, frozen=True):
    """When a request can begin, or why it cannot within a year."""

    begin: float | None
    """Unix seconds; None for not within a year."""
    altitude: float = 0.0
    """Of the target then, degrees."""
    exact: bool = True
    """Whether the night is the first one; else it may be up to two nights earlier."""
    reason: str = ""
    """Why it cannot in the night that is or comes next, when it can't."""


def next_up(request: Observation, site: Site, now: float) -> NextUp:
    """Return when a request, were it alone, can begin first; raises PlanningError where its orbit cannot be computed.

    Its whole length must fit in: a request of ten hours is up in no night of eight.
    """
    when, reason = datetime.fromtimestamp(now, UTC), ""
    number, nights = 0, _NIGHTS if _is_ever_possible(request, site) else 1
    while number < nights:
        night = night_of(site, when)
        step = 1 if number < _EVERY_NIGHT else 3
        number += step
        if night is None:
            reason = reason or "it isn't dark enough in any night around now"
            when += timedelta(days=step)
            continue
        begin, end = max(now, night[0].timestamp()), night[1].timestamp()
        found = first_in_night(request, site, begin, end)
        if isinstance(found, NextUp):
            return msgspec.structs.replace(found, exact=step == 1, reason=reason)
        reason = reason or found
        when = night[1] + timedelta(hours=1) + timedelta(days=step - 1)
    return NextUp(None, reason=reason)


def _is_ever_possible(request: Observation, site: Site) -> bool:
    """Whether a year has a night that is long and dark enough, and the target is high enough for long enough.

    By where the Sun and the target stand at their best; one degree is left for precession, aberration, parallax and
    refraction. What the Moon, windows and the horizon forbid is not looked at.
    """
    wanted, constraints = DEFAULT_OVERHEADS.observation_seconds(request), request.constraints
    sun = min(site.twilight, constraints.sun_altitude or 0.0) + 1.0
    darkest = max(SECONDS_PER_DAY - _seconds_above(sun, site, declination) for declination in _SUN_DECLINATIONS)
    if wanted >= darkest:
        return False
    if request.orbit is not None:
        return True
    highest = min(90.0, 91.0 - abs(site.latitude - request.dec))
    thickest = constraints.max_airmass or math.inf
    if thickest < (airmass(highest) if highest >= 0 else math.inf):
        return False
    return wanted < _seconds_above(request.min_altitude - 1.0, site, request.dec)


def _seconds_above(altitude: float, site: Site, declination: float) -> float:
    """Return how long of a day a declination stands above an altitude, both in degrees; 0 for never."""
    latitude, declination = math.radians(site.latitude), math.radians(declination)
    across = max(1e-9, math.cos(latitude) * math.cos(declination))
    cosine = (math.sin(math.radians(altitude)) - math.sin(latitude) * math.sin(declination)) / across
    return SECONDS_PER_DAY / math.pi * math.acos(max(-1.0, min(1.0, cosine)))


def first_in_night(request: Observation, site: Site, begin: float, end: float) -> NextUp | str:
    """Return the first time in a night, or why there is none."""
    wanted = occurrences(request, begin, end)
    never = [reason_never(each, begin, end) for each in wanted]
    wanted = [each for each, reason in zip(wanted, never, strict=True) if not reason]
    if not wanted:
        return next(iter(never), "it is not due then")
    sky = NightSky(site, begin, max(begin + _STEP, end), _STEP)
    problem = make_problem(wanted, sky, DEFAULT_OVERHEADS, DEFAULT_OVERHEADS.settle)
    possible = problem.value > 0
    if not possible.any():
        return reason_refused(problem, 0, [], np.zeros(problem.slots))
    slot = int(np.argmax(possible.any(axis=0)))
    row = int(np.argmax(possible[:, slot]))
    sine = float(problem.tracks.sin_altitude[row, slot])
    return NextUp(float(sky.times[slot]), math.degrees(math.asin(sine)))
