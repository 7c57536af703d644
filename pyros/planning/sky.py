"""A site's sky, as the rules for alerts ask for it: altitude, time left, Moon, Sun."""

from __future__ import annotations

from datetime import datetime

from pyros.angles import SECONDS_PER_DAY
from pyros.planning.site import Site
from pyros.planning.visibility import altitude_azimuth, moon_separation, sun_altitude, up_until


class SiteSky:
    """What `pyros.alerts.rules.conditions.Sky` asks for, of one site. Immutable; for any thread."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def altitude(self, ra: float, dec: float, when: datetime) -> float:
        """Degrees above the horizon, without refraction."""
        return altitude_azimuth(self.site, ra, dec, when)[0]

    def time_up(self, ra: float, dec: float, when: datetime, min_altitude: float) -> float:
        """Seconds until it sinks below that altitude: 0 where it isn't up, a day where it never sinks below it."""
        sets = up_until(self.site, ra, dec, when, min_altitude)
        return SECONDS_PER_DAY if sets is None else (sets - when).total_seconds()

    def moon_distance(self, ra: float, dec: float, when: datetime) -> float:
        """Degrees from the Moon as it is seen from the site."""
        return moon_separation(self.site, ra, dec, when)

    def sun_altitude(self, when: datetime) -> float:
        """Degrees above the horizon, negative at night."""
        return sun_altitude(self.site, when)
