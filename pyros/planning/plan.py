"""Tonight's plan: which observation to run now, and why the others wait. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pyros.messages import Observation, Plan, PlannedObservation
from pyros.planning.visibility import airmass, altitudes_azimuths, sun_altitude, up_until
from pyros.printable import instant
from pyros.site import Site


def make_plan(
    observations: Iterable[Observation],
    site: Site,
    when: datetime,
    running: str | None = None,
) -> Plan:
    """Put observations in order of priority (highest first), then of request, and choose the one to run now.

    Observations whose time is over are left out. Those that are not up (below their ``min_altitude`` or the site's
    horizon) or whose time has not come (``not_before``), and all of them by day, keep their place but are not started.
    ``start_now`` is the first that can be observed. The ``running`` one, named by its id, is superseded only by a
    strictly higher priority, and ends with its visibility, not at its ``expires`` (by which it had to begin). Each
    line's ``reason`` says in words what was found.

    Raises PlanningError for a ``when`` without a time zone.
    """
    sun = sun_altitude(site, when)
    now = when.timestamp()
    alive = [each for each in observations if each.id == running or each.expires is None or each.expires > now]
    alive.sort(key=lambda each: (-each.priority, each.requested, each.id))
    places = altitudes_azimuths(site, [(each.ra, each.dec) for each in alive], when)
    due = {each.id for each in alive if each.not_before is None or each.not_before <= now}
    up = [
        each
        for each, (altitude, azimuth) in zip(alive, places, strict=True)
        if altitude >= max(each.min_altitude, site.horizon_at(azimuth)) and each.id in due
    ]
    first = _first(up, running) if sun < site.twilight else None
    lines = []
    for observation, (altitude, azimuth) in zip(alive, places, strict=True):
        horizon = site.horizon_at(azimuth)
        reason = f"altitude {altitude:.1f}°, its limit is {observation.min_altitude:g}°"
        if altitude >= observation.min_altitude and altitude < horizon:
            reason = f"not up: altitude {altitude:.1f}°, the horizon there is at {horizon:.1f}°"
        elif altitude < observation.min_altitude:
            reason = f"not up: {reason}"
        elif observation is first:
            thickness = f", airmass {airmass(altitude):.2f}" if altitude >= 0 else ""
            reason = f"{_how_long(observation, site, when)}: {reason}{thickness}"
        else:
            reason = f"up: {reason}"
        if observation.id not in due:
            reason = f"waits until {instant(observation.not_before or 0.0)} UTC: {reason}"
        elif sun >= site.twilight:
            reason = f"waits for the night: the Sun is at {sun:.1f}°, its limit is {site.twilight:g}°; {reason}"
        lines.append(PlannedObservation(observation=observation, altitude=round(altitude, 3), reason=reason))
    return Plan(observations=tuple(lines), start_now=first.id if first is not None else None)


def _first(up: list[Observation], running: str | None) -> Observation | None:
    """Choose the first that is up, unless the running one has the same priority or a higher one."""
    first = up[0] if up else None
    current = next((each for each in up if each.id == running), None)
    if first is not None and current is not None and first.priority <= current.priority:
        return current
    return first


def _how_long(observation: Observation, site: Site, when: datetime) -> str:
    sets = up_until(site, observation.ra, observation.dec, when, observation.min_altitude)
    return f"up until {sets:%H:%M} UTC" if sets is not None else "up all night"
