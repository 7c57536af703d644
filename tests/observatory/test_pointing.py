"""Where the telescope never points: below the horizon, and near the Sun."""

from __future__ import annotations

from collections.abc import Callable

from pyros import messages
from pyros.messages import Slew, encode_payload
from pyros.planning.visibility import altitude_azimuth, sun, sun_altitude
from tests.observatory.conftest import Night


def slew(night: Night, ra: float, dec: float) -> None:
    """Slew by hand, once the majordome has asked the telescope: what it finds moving when it begins is parked."""
    night.until(lambda: night.said("the telescope is", "majordome"))
    night.observatory.hosts["telescope"].post(messages.SLEW, encode_payload(messages.SLEW, Slew("by-hand", ra, dec)))


def wall(night: Night, altitude: float) -> None:
    """Build one all around, and have the telescope's agent know of it."""
    with night.config.site.open("a") as file:
        file.write(f"horizon: [[0, {altitude}]]\n")
    night.restart("telescope")


def test_a_slew_below_the_sites_horizon_is_refused(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    wall(night, 40.0)
    slew(night, *night.place(35.0))
    night.until(lambda: night.said("not pointed at: altitude 35.0° at azimuth 90°, the horizon there is at 40.0°"))
    assert night.requests("telescope", "DO slew") == []
    slew(night, *night.place(45.0))
    night.until(lambda: night.requests("telescope", "DO slew"))


def test_by_day_no_slew_goes_near_the_sun(rehearsal: Callable[..., Night]) -> None:
    day = rehearsal(hours_after_midnight=10)
    ra, dec = sun(day.clock.now())
    slew(day, ra, dec)
    day.until(lambda: day.said("0.0° from the Sun"))
    slew(day, (ra + 20) % 360, dec)
    day.until(lambda: len(day.said("from the Sun")) == 2)
    assert day.requests("telescope", "DO slew") == []
    slew(day, *day.place(60.0, azimuth=0.0))
    day.until(lambda: day.requests("telescope", "DO slew"))


def test_tracking_stops_before_the_horizon(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    wall(night, 30.0)
    slew(night, *night.place(32.0, azimuth=270.0))
    night.until(lambda: night.state("telescope") == "tracking")
    night.until(lambda: night.state("telescope") == "parked", 1800)
    assert night.said("the telescope stops tracking and parks: altitude 30.2°")


def test_tracking_stops_near_the_sun_when_the_night_ends(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(hours_after_midnight=4.75)
    when = night.clock.now()
    assert sun_altitude(night.site, when) < night.site.twilight
    slew(night, *night.place(13.0, azimuth=altitude_azimuth(night.site, *sun(when), when)[1]))
    night.until(lambda: night.state("telescope") == "tracking")
    night.until(lambda: night.state("telescope") == "parked", 3600)
    assert night.said("from the Sun, which is at -12.0°", "telescope")
