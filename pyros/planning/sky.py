"""A site's sky, as the rules for alerts ask for it: altitude, time left, Moon, Sun."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyros.angles import SECONDS_PER_DAY
from pyros.planning.visibility import (
    altitude_in_brief,
    moon_light,
    moon_separation,
    sun_altitude,
    up_until,
    whole_second,
)
from pyros.site import Site


class SiteSky:
    """The sky of one site, as `pyros.alerts.rules.conditions.LocalSky` asks for it. Immutable; for any thread."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def altitude(self, ra: float, dec: float, when: datetime) -> float:
        """Return degrees above the horizon at the whole second before ``when``, without refraction.

        That is at most 0.005 degrees off, and the Earth is computed once for all packets of a second.
        """
        return altitude_in_brief(self.site, ra, dec, whole_second(when))

    def time_up(self, ra: float, dec: float, when: datetime, min_altitude: float) -> float:
        """Return seconds until a position sinks below that altitude: 0 if it isn't up, a day if it never sinks."""
        sets = up_until(self.site, ra, dec, when, min_altitude)
        return SECONDS_PER_DAY if sets is None else (sets - when).total_seconds()

    def moon_distance(self, ra: float, dec: float, when: datetime) -> float:
        """Return degrees from the Moon as it is seen from the site."""
        return moon_separation(self.site, ra, dec, when)

    def moon_light(self, when: datetime) -> float:
        """Return how much of the Moon's disc is lit, 0 to 1; 0 while the Moon is below the horizon."""
        return moon_light(self.site, whole_second(when))

    def sun_altitude(self, when: datetime) -> float:
        """Return the Sun's degrees above the horizon, negative at night."""
        return sun_altitude(self.site, when)


class SitesSky:
    """The sky of several sites: of each question the best answer, for a target may be anybody's. For any thread."""

    def __init__(self, sites: Sequence[Site]) -> None:
        self._skies = tuple(SiteSky(site) for site in sites)

    def altitude(self, ra: float, dec: float, when: datetime) -> float:
        """Return the greatest altitude at a site where it is night, else at any; degrees."""
        return self._best(ra, dec, when).altitude(ra, dec, when)

    def time_up(self, ra: float, dec: float, when: datetime, min_altitude: float) -> float:
        """Return seconds until it sinks below that altitude at the site where it stays up for the longest."""
        return max(sky.time_up(ra, dec, when, min_altitude) for sky in self._skies)

    def moon_distance(self, ra: float, dec: float, when: datetime) -> float:
        """Return degrees from the Moon as it is seen from the site of `altitude`."""
        return self._best(ra, dec, when).moon_distance(ra, dec, when)

    def moon_light(self, when: datetime) -> float:
        """Return how much of the Moon's disc is lit where the Moon disturbs least, 0 to 1."""
        return min(sky.moon_light(when) for sky in self._skies)

    def sun_altitude(self, when: datetime) -> float:
        """Return the Sun's altitude at the darkest site, degrees."""
        return min(sky.sun_altitude(when) for sky in self._skies)

    def _best(self, ra: float, dec: float, when: datetime) -> SiteSky:
        def dark_and_high(sky: SiteSky) -> tuple[bool, float]:
            return sky.sun_altitude(when) < sky.site.twilight, sky.altitude(ra, dec, when)

        return max(self._skies, key=dark_and_high)
