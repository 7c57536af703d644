"""What the rules for alerts are told of a site's sky."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pyros.planning import Site, SiteSky
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
