"""Tonight's plan: which observation to run now, and why the others wait. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pyros.messages import Observation, Plan, Planned
from pyros.planning.site import Site
from pyros.planning.visibility import NIGHT, airmass, altitude_azimuth, sun_altitude, up_until


def make_plan(
    observations: Iterable[Observation],
    site: Site,
    when: datetime,
    running: str | None = None,
    *,
    night: float = NIGHT,
) -> Plan:
    """Put observations in order of priority (highest first), then of request, and choose the one to run now.

    Those whose time is over are left out. Those which are not up (below their ``min_altitude``), and all of them
    while the Sun is not below ``night`` degrees, keep their place but are not started. ``start_now`` is the first that
    can be observed; the ``running`` one, named by its id, gives way only to a strictly higher priority, and to the
    end of its visibility, not to its ``expires`` (by which it had to begin). Each line's ``reason`` says in words
    what was found.

    Raises PlanningError for a ``when`` without a time zone.
    """
    sun = sun_altitude(site, when)
    now = when.timestamp()
    lines: list[Planned] = []
    ready: list[Observation] = []
    alive = (each for each in observations if each.id == running or each.expires is None or each.expires > now)
    for observation in sorted(alive, key=lambda each: (-each.priority, each.requested, each.id)):
        altitude, _ = altitude_azimuth(site, observation.ra, observation.dec, when)
        up = altitude >= observation.min_altitude
        if up and sun < night:
            ready.append(observation)
        reason = _in_words(observation, site, when, altitude) if up else _not_up(observation, altitude)
        if sun >= night:
            reason = f"waits for the night: the Sun is at {sun:.1f}°, its limit is {night:g}°; {reason}"
        lines.append(Planned(observation=observation, altitude=round(altitude, 3), reason=reason))
    first = ready[0] if ready else None
    current = next((each for each in ready if each.id == running), None)
    if first is not None and current is not None and first.priority <= current.priority:
        first = current
    return Plan(observations=tuple(lines), start_now=first.id if first is not None else None)


def _in_words(observation: Observation, site: Site, when: datetime, altitude: float) -> str:
    sets = up_until(site, observation.ra, observation.dec, when, observation.min_altitude)
    until = f"until {sets:%H:%M} UTC" if sets is not None else "all night"
    thickness = f", airmass {airmass(altitude):.2f}" if altitude > 0 else ""
    return f"up {until}: altitude {altitude:.1f}°, its limit is {observation.min_altitude:g}°{thickness}"


def _not_up(observation: Observation, altitude: float) -> str:
    return f"not up: altitude {altitude:.1f}°, its limit is {observation.min_altitude:g}°"
