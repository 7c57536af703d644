"""The parts of a day, by the Sun at the site; and whether an observation may begin now."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal

from pyros.angles import separation
from pyros.messages import Observation
from pyros.planning.visibility import _observe, airmass, altitude_azimuth, moon, sun, sun_altitude, sun_in_brief
from pyros.site import Site

EVENING_SUN = 5.0
"""The Sun's altitude in degrees from which on, in its descent, a night is prepared."""

Phase = Literal["afternoon", "evening", "night", "morning"]
"""From the Sun's highest to `EVENING_SUN`; to the site's twilight; below that; and until the Sun is highest again."""


def phase(site: Site, when: datetime) -> Phase:
    """Tell the part of the day. In a polar summer evening or afternoon end at midnight; a polar night is all night.

    Raises PlanningError for a ``when`` without a time zone.
    """
    if sun_altitude(site, when) < site.twilight:
        return "night"  # most are asked then, and that costs little
    altitude, _, hour_angle, _ = _observe(site, *sun_in_brief(when), when)
    if hour_angle < 0:
        return "morning"
    return "evening" if altitude < EVENING_SUN else "afternoon"


def reason_not_now(site: Site, observation: Observation, when: datetime, *, running: bool = False) -> str:
    """Tell why an observation must not begin, or go on, at that time; '' when it may.

    What has begun (``running``) may go on after its ``expires``, by which it had to begin. Everything else that the
    request asks of time and sky counts: a plan may be minutes old, and a message hours. Any thread.
    """
    return _reason_time(observation, when.timestamp(), running) or _reason_sky(site, observation, when)


def _reason_time(observation: Observation, now: float, running: bool) -> str:
    if observation.windows and not any(each.begin <= now < each.end for each in observation.windows):
        return "it is outside of its windows"
    if running:
        return ""
    if observation.expires is not None and observation.expires <= now:
        return "it has expired"
    early = observation.not_before is not None and now < observation.not_before
    return "its time has not come" if early else ""


def _reason_sky(site: Site, observation: Observation, when: datetime) -> str:
    altitude, azimuth = altitude_azimuth(site, observation.ra, observation.dec, when)
    lowest = max(observation.min_altitude, site.horizon_at(azimuth))
    if altitude < lowest:
        return f"altitude {altitude:.1f}°, its limit is {lowest:.1f}°"
    limits = observation.constraints
    height = sun_altitude(site, when)
    darkest = site.twilight if limits.sun_altitude is None else min(site.twilight, limits.sun_altitude)
    if height >= darkest:
        return f"the Sun is at {height:.1f}°, its limit is {darkest:g}°"
    if limits.max_airmass is not None and altitude >= 0 and airmass(altitude) > limits.max_airmass:
        return f"airmass {airmass(altitude):.2f}, its limit is {limits.max_airmass:g}"
    return _reason_moon(site, observation, when) if limits.moon_distance or limits.moon_illumination < 1 else ""


def _reason_moon(site: Site, observation: Observation, when: datetime) -> str:
    """Why the Moon forbids it; '' when it doesn't, or is down. Its illuminated fraction is good to a hundredth."""
    limits, place = observation.constraints, moon(site, when)
    if altitude_azimuth(site, *place, when)[0] < 0:
        return ""
    distance = separation(observation.ra, observation.dec, *place)
    if distance < limits.moon_distance:
        return f"{distance:.0f}° from the Moon, its limit is {limits.moon_distance:g}°"
    fraction = (1 - math.cos(math.radians(separation(*sun(when), *place)))) / 2
    if fraction > limits.moon_illumination:
        return f"the Moon is lit to {fraction:.2f}, its limit is {limits.moon_illumination:g}"
    return ""
