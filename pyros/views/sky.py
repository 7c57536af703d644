"""The sky over the site now: stars, Sun and Moon, the horizon, and where alerts and what is observed stand in it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from pyros.alerts import events as table
from pyros.alerts.events import StoredEvent
from pyros.nights.times import night_times
from pyros.planning.visibility import altitude_azimuth, altitudes_azimuths, hour_angle, moon, sun_altitude
from pyros.site import Site
from pyros.stars.brightest import brightest
from pyros.views.events import EventLine, events
from pyros.views.observed import Observed, site_of
from pyros.views.plan import night_name_of
from pyros.views.states import ObservationManager

_EVENTS = 20
_REGIONS = 3
_SHARE = 0.9
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


class MapField(msgspec.Struct, frozen=True, kw_only=True):
    """A field, or a galaxy, of a sky map."""

    altitude: float
    """Of its centre, degrees."""
    azimuth: float
    """Of its centre, degrees from north through east."""
    observed: bool = False
    """Whether it was observed; else it is asked for."""


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """Where an event's sky map puts it, as far as that is up: points with their surroundings."""

    name: str
    """The event's."""
    word: str
    """How it stands, as in `pyros.views.events.WORDS`."""
    radius: float
    """Degrees about each point that belong to the region."""
    points: tuple[tuple[float, float, float], ...]
    """(altitude, azimuth, share): degrees, and the share of the probability (0 to 0.9) that lies where the map is at
    least as dense as here."""
    area90: float | None = None
    """Square degrees that have 90 % of the probability."""
    fields: tuple[MapField, ...] = ()
    """What is asked for of it, and was observed."""


class SkyView(msgspec.Struct, frozen=True, kw_only=True):
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
    regions: tuple[Region, ...] = ()
    """The sky maps of the last events that have one, three at most, the newest first."""


def sky(observed: Observed, unit: str = "") -> SkyView:
    """Return the sky now over one of several telescopes, as `Observed.telescope` names it. A few milliseconds.

    Raises ConfigError for an observatory without a site, ValueError for a unit without a telescope.
    """
    observed = observed.telescope(unit)
    site, now = site_of(observed), observed.time()
    when = datetime.fromtimestamp(now, UTC)
    known = brightest()
    places = _rounded(altitudes_azimuths(site, [(ra, dec) for ra, dec, _ in known], when), 2)
    stars = [
        (altitude, azimuth, magnitude)
        for (altitude, azimuth), (_, _, magnitude) in zip(places, known, strict=True)
        if altitude > 0
    ]
    shown = events(observed, limit=_EVENTS).events
    current = observed.state("observation_manager", ObservationManager).current
    altitude, azimuth = altitude_azimuth(site, *moon(site, when), when)
    target = None
    if current is not None:
        high, where = altitude_azimuth(site, current.ra, current.dec, when)
        target = Mark(name=current.target, altitude=high, azimuth=where)
    return SkyView(
        now=now, sidereal=hour_angle(site, 0.0, 0.0, when) / 15 % 24,
        horizon=tuple((high, where) for where, high in site.horizon), stars=tuple(stars), sun=sun_altitude(site, when),
        moon=Mark(name="Moon", altitude=altitude, azimuth=azimuth),
        moon_lit=night_times(site, night_name_of(site, now)).moon_lit,
        limit=current.min_altitude if current is not None else 0.0,
        path=_path(site, current.ra, current.dec, when) if current is not None else (), target=target,
        events=_marks(shown, site, when),
        regions=_regions(observed, site, when, {each.name: each.word for each in shown}),
    )  # fmt: skip


def _rounded(places: Iterable[tuple[float, float]], digits: int) -> list[tuple[float, float]]:
    """Return places, (altitude, azimuth) in degrees, with fewer digits: north stays at 0, and is never 360."""
    return [(round(altitude, digits), round(azimuth, digits) % 360) for altitude, azimuth in places]


def _path(site: Site, ra: float, dec: float, when: datetime) -> tuple[tuple[float, float], ...]:
    points = []
    for step in range(_PATH_HOURS * 60 // _PATH_MINUTES + 1):
        altitude, azimuth = altitude_azimuth(site, ra, dec, when + timedelta(minutes=_PATH_MINUTES * step))
        if altitude < 0:
            break
        points.append((altitude, azimuth))
    return tuple(_rounded(points, 2))


def _regions(observed: Observed, site: Site, when: datetime, words: dict[str, str]) -> tuple[Region, ...]:
    stored: list[StoredEvent] = []
    with observed.journal("alert_manager") as journal:
        stored = table.page(journal, limit=_EVENTS) if journal is not None else []
    found = []
    for each in stored:
        region = _region(each, site, when, words.get(each.name, ""))
        if region is not None and region.word != "retracted":
            found.append(region)
    return tuple(found[:_REGIONS])


def _region(event: StoredEvent, site: Site, when: datetime, word: str) -> Region | None:
    """Return an event's region; None for one without a map, and for one that is below the horizon."""
    facts, tiling = event.followed.map, event.followed.tiling
    inner = [each for each in facts.place.points if each[2] <= _SHARE] if facts is not None and facts.place else []
    if facts is None or facts.place is None or not inner:
        return None
    targets = tiling.targets if tiling is not None else ()
    observed = tiling.observed if tiling is not None else ()
    done = {each.key for each in observed}
    places = [*((each.ra, each.dec, True) for each in observed),
              *((each.ra, each.dec, False) for each in targets if each.key not in done)]  # fmt: skip
    high = _rounded(altitudes_azimuths(site, [(ra, dec) for ra, dec, _ in inner], when), 1)
    fields = _rounded(altitudes_azimuths(site, [(ra, dec) for ra, dec, _ in places], when), 1)
    points = tuple(
        (altitude, azimuth, round(share, 2))
        for (altitude, azimuth), (_, _, share) in zip(high, inner, strict=True)
        if altitude > 0
    )
    if not points:
        return None
    return Region(
        name=event.name, word=word, radius=facts.place.radius, points=points, area90=facts.area90,
        fields=tuple(
            MapField(altitude=altitude, azimuth=azimuth, observed=made)
            for (altitude, azimuth), (_, _, made) in zip(fields, places, strict=True)
            if altitude > 0
        ),
    )  # fmt: skip


def _marks(shown: tuple[EventLine, ...], site: Site, when: datetime) -> tuple[Mark, ...]:
    placed = [(each, each.ra, each.dec) for each in shown if each.ra is not None and each.dec is not None]
    places = altitudes_azimuths(site, [(ra, dec) for _, ra, dec in placed], when)
    return tuple(
        Mark(name=each.name, altitude=altitude, azimuth=azimuth, radius=each.error_radius or 0.0, word=each.word)
        for (each, _, _), (altitude, azimuth) in zip(placed, places, strict=True)
        if altitude > 0
    )
