"""What is rehearsed, and what came of it: plain data, which goes to other processes and back."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import msgspec

from pyros.messages import Observation
from pyros.planning.visibility import next_night, sun_altitude
from pyros.rehearsal.draw import Level
from pyros.rehearsal.invariants import Violation
from pyros.site import Site

CALM_SECONDS = 3600.0
"""The calm hour after each night."""
_DUSK = 2.0  # the Sun's altitude in degrees at which a night begins and ends


class NightPlan(msgspec.Struct, frozen=True):
    """What is rehearsed: everything that decides how a night goes."""

    config: str
    """Path of the configuration."""
    date: str
    """The evening's date at the site, YYYY-MM-DD."""
    seed: int
    faults: Level = "heavy"
    script: str | None = None
    """The fault script's text, in the place of a drawn one."""
    alerts: float = 30.0
    """New events in ten hours."""
    alerts_folder: str = ""
    """Packets in the place of drawn ones."""
    rules: str = ""
    """Alert rules in the place of the configuration's."""
    requests: tuple[Observation, ...] = ()
    """What people ask for when the night begins."""
    requests_file: str = ""
    """Where that was read."""
    images: Literal["none", "small", "full"] = "none"
    hours: float = 0.0
    """0 for the whole night; else only so many hours about its middle, with three times the faults."""
    together: int = 1
    """How many nights follow each other on the same journals, with the days between them."""


class NightResult(msgspec.Struct, frozen=True):
    """What came of a night."""

    seed: int
    date: str
    violations: tuple[Violation, ...]
    digest: str
    """The hash of everything that happened."""
    script: str
    notes: tuple[str, ...]
    counts: dict[str, int]
    """How much there was of what, by its name for people."""
    cpu: float
    """Seconds of the processor."""
    hours: float
    """Virtual hours, the calm one included."""
    tail: tuple[str, ...] = ()
    """The last lines of the log before the first violation."""


def night_of(site: Site, evening: date, hours: float = 0.0) -> tuple[datetime, float]:
    """Return when the night after an evening begins, and how many seconds it has: while the Sun is below +2°.

    With ``hours`` only so many about its middle.
    """
    noon = datetime(evening.year, evening.month, evening.day, 12, tzinfo=UTC) - timedelta(hours=site.longitude / 15)
    midnight = next_night(site, noon)
    half = timedelta(hours=12)
    if hours:
        return (midnight - timedelta(hours=hours / 2)).replace(microsecond=0), round(hours * 3600)

    def dusk(day: datetime, night: datetime) -> datetime:
        while abs(day - night) > timedelta(seconds=10):
            middle = day + (night - day) / 2
            day, night = (middle, night) if sun_altitude(site, middle) > _DUSK else (day, middle)
        return night

    begin, end = dusk(midnight - half, midnight), dusk(midnight + half, midnight)
    return begin.replace(microsecond=0), round((end - begin).total_seconds())


def nights_of(sites: Collection[Site], plan: NightPlan) -> tuple[datetime, list[float], float]:
    """Return when the first of a plan's nights begins, when each does in seconds from then, and when the last ends.

    Of several sites a night begins where it begins first, and ends where it ends last.
    """
    evening = date.fromisoformat(plan.date)
    begins, ends = [], []
    for number in range(plan.together):
        nights = [night_of(site, evening + timedelta(days=number), plan.hours) for site in sites]
        begins.append(min(begin for begin, _ in nights))
        ends.append(max(begin + timedelta(seconds=seconds) for begin, seconds in nights))
    first = begins[0]
    return first, [(begin - first).total_seconds() for begin in begins], (ends[-1] - first).total_seconds()


def ends_dark(site: Site, end: datetime) -> bool:
    """Tell whether a dome may be open in the calm hour after nights that end then, as in a polar night."""
    ends = (end, end + timedelta(seconds=CALM_SECONDS))
    return any(sun_altitude(site, when) < site.dome_sun_limit for when in ends)
