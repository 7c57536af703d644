"""What the rules for alerts are told of a site's sky."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pyros.planning import Site, SiteSky, SitesSky
from pyros.planning.visibility import altitude_azimuth, altitude_in_brief, moon, place_overhead

PIC = Site("Pic du Midi", 42.9365, 0.1426, 2877.0)
NIGHT = datetime(2026, 3, 1, 23, 0, tzinfo=UTC)
SKY = SiteSky(PIC)


def test_altitude_and_how_long_it_stays_up() -> None:
    ra, dec = place_overhead(PIC, NIGHT, 65, 230)
    assert SKY.altitude(ra, dec, NIGHT) == pytest.approx(65, abs=0.01)
    seconds = SKY.time_up(ra, dec, NIGHT, 30)
    assert altitude_azimuth(PIC, ra, dec, NIGHT + timedelta(seconds=seconds))[0] == pytest.approx(30, abs=0.01)
    assert SKY.time_up(ra, dec, NIGHT, 70) == 0, "it isn't that high"
    assert SKY.time_up(ra, 89.0, NIGHT, 30) == 86_400.0, "it never sinks so low"


def test_the_moon_and_the_sun() -> None:
    ra, dec = moon(PIC, NIGHT)
    assert SKY.moon_distance(ra, dec + 3, NIGHT) == pytest.approx(3, abs=0.001)
    assert SKY.sun_altitude(NIGHT) < -18
    assert SKY.sun_altitude(NIGHT + timedelta(hours=13)) > 30


def test_the_altitude_in_brief_is_that_of_sofa() -> None:
    for hours in range(0, 4000, 37):
        when, ra, dec = NIGHT + timedelta(hours=hours), hours * 7 % 360, hours % 170 - 85
        exact = altitude_azimuth(PIC, ra, dec, when)[0]
        assert altitude_in_brief(PIC, ra, dec, when) == pytest.approx(exact, abs=0.001)


def test_of_several_sites_the_best_answer_counts() -> None:
    when = datetime(2026, 3, 20, 23, 30, tzinfo=UTC)
    south = Site(name="Gamsberg", latitude=-23.3, longitude=16.2, elevation=2300)
    far = Site(name="Mauna Kea", latitude=19.8, longitude=-155.5, elevation=4200)
    sky, skies = SiteSky(PIC), SitesSky((PIC, south, far))
    ra = place_overhead(PIC, when, 80, 180)[0]
    assert sky.altitude(ra, -65, when) < 0 < skies.altitude(ra, -65, when) == SiteSky(south).altitude(ra, -65, when)
    assert sky.time_up(ra, -65, when, 10) == 0 < skies.time_up(ra, -65, when, 10)
    assert skies.moon_distance(ra, -65, when) == SiteSky(south).moon_distance(ra, -65, when)
    evening = datetime(2026, 3, 20, 18, 0, tzinfo=UTC)
    assert skies.sun_altitude(evening) == SiteSky(south).sun_altitude(evening) < sky.sun_altitude(evening)
    by_day = place_overhead(far, when, 85, 180)
    assert skies.altitude(*by_day, when) < 80 < SiteSky(far).altitude(*by_day, when)
