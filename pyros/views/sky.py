"""The sky over the site now: stars, Sun and Moon, the horizon, and where alerts and what is observed stand in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from pyros.nights.times import night_times
from pyros.planning.visibility import altitude_azimuth, altitudes_azimuths, hour_angle, moon, sun_altitude
from pyros.site import Site
from pyros.stars.brightest import brightest
from pyros.views.events import events
from pyros.views.observed import Observed, site_of
from pyros.views.plan import night_name_of
from pyros.views.states import ObservationManager

_EVENTS = 20
_PATH_HOURS = 6
_PATH_MINUTES = 30


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the sky."""

    name: str
    """What it is."""
    altitude: float
    """Degrees."""
    azimuth: float
    """Degrees from north through east."""
    radius: float = 0.0
    """Of what it may be in, degrees; 0 for a point."""
    word: str = ""
    """How an event stands, as in `pyros.views.events.WORDS`."""


class Sky(msgspec.Struct, frozen=True, kw_only=True):
    """The sky now. A place in a list is (altitude, azimuth, ...), degrees."""

    now: float
    """The observatory's time, Unix seconds."""
    sidereal: float
    """Local apparent sidereal time, hours."""
    horizon: tuple[tuple[float, float], ...] = ()
    """What stands around: (altitude, azimuth), by azimuth; straight in between. () for a free one."""
    stars: tuple[tuple[float, float, float], ...] = ()
    """(altitude, azimuth, magnitude) of those above the mathematical horizon."""
    sun: float
    """The Sun's altitude, degrees."""
    moon: Mark
    """The Moon."""
    moon_lit: float
    """Its illuminated fraction at midnight."""
    limit: float = 0.0
    """The least altitude of what is observed now, degrees; 0 while nothing is."""
    path: tuple[tuple[float, float], ...] = ()
    """Where the target goes in the next hours, while it is up."""
    target: Mark | None = None
    """What is observed now."""
    events: tuple[Mark, ...] = ()
    """The last events that have a position and are above the mathematical horizon."""


def sky(observed: Observed) -> Sky:
    """Return the sky now; raises ConfigError for an observatory without a site. A few milliseconds."""
    site, now = site_of(observed), observed.time()
    when = datetime.fromtimestamp(now, UTC)
    known = brightest()
    places = altitudes_azimuths(site, [(ra, dec) for ra, dec, _ in known], when)
    stars = [
        (round(altitude, 2), round(azimuth, 2), magnitude)
        for (altitude, azimuth), (_, _, magnitude) in zip(places, known, strict=True)
        if altitude > 0
    ]
    current = observed.state("observation_manager", ObservationManager).current
    altitude, azimuth = altitude_azimuth(site, *moon(site, when), when)
    target = None
    if current is not None:
        high, where = altitude_azimuth(site, current.ra, current.dec, when)
        target = Mark(name=current.target, altitude=high, azimuth=where)
    return Sky(
        now=now, sidereal=hour_angle(site, 0.0, 0.0, when) / 15 % 24,
        horizon=tuple((high, where) for where, high in site.horizon), stars=tuple(stars), sun=sun_altitude(site, when),
        moon=Mark(name="Moon", altitude=altitude, azimuth=azimuth),
        moon_lit=night_times(site, night_name_of(site, now)).moon_lit,
        limit=current.min_altitude if current is not None else 0.0,
        path=_path(site, current.ra, current.dec, when) if current is not None else (), target=target,
        events=_events(observed, site, when),
    )  # fmt: skip


def _path(site: Site, ra: float, dec: float, when: datetime) -> tuple[tuple[float, float], ...]:
    points = []
    for step in range(_PATH_HOURS * 60 // _PATH_MINUTES + 1):
        altitude, azimuth = altitude_azimuth(site, ra, dec, when + timedelta(minutes=_PATH_MINUTES * step))
        if altitude < 0:
            break
        points.append((round(altitude, 2), round(azimuth, 2)))
    return tuple(points)


def _events(observed: Observed, site: Site, when: datetime) -> tuple[Mark, ...]:
    placed = [
        (each, each.ra, each.dec)
        for each in events(observed, limit=_EVENTS).events
        if each.ra is not None and each.dec is not None
    ]
    places = altitudes_azimuths(site, [(ra, dec) for _, ra, dec in placed], when)
    return tuple(
        Mark(name=each.name, altitude=altitude, azimuth=azimuth, radius=each.error_radius or 0.0, word=each.word)
        for (each, _, _), (altitude, azimuth) in zip(placed, places, strict=True)
        if altitude > 0
    )
