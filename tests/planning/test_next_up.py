"""When a request can be made next, and how soon that is known of what never can."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pyros.messages import Constraints, Exposures, Observation, Orbit
from pyros.planning import next_up as module
from pyros.planning.next_up import next_up
from pyros.site import Site
from tests.views.written import SITE

NOW = 1_795_994_754.0  # 2026-11-29 23:25 UTC
REQUEST = Observation(id="x", target="x", ra=10.0, dec=41.0, exposures=(Exposures("r", 60.0, 3),))

COMET = Orbit(perihelion_distance=1.0, eccentricity=1.0, inclination=10.0, node=0.0, argument=0.0, perihelion=60000.0)


@pytest.mark.parametrize(
    ("dec", "airmass", "nights"),
    [(-80.0, None, 1), (-47.5, None, 1), (-36.0, None, 132), (-20.0, 2.0, 1), (-20.0, 3.0, 132), (40.0, 1.0, 1)],
)
def test_what_never_rises_high_enough_is_told_by_its_first_night(
    dec: float, airmass: float | None, nights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 43.93 degrees north -47.5 comes to -1.4 degrees, -36 to 10.07: that one has to be looked for in all nights.

    -20 comes to 26 degrees, an airmass of 2.3; and nothing has one of 1.
    """
    looked: list[Any] = []

    def low(*given: Any) -> str:
        looked.append(given)
        return "it is too low"

    monkeypatch.setattr(module, "first_in_night", low)
    site = Site.load(SITE)
    wanted = msgspec.structs.replace(REQUEST, dec=dec, constraints=Constraints(max_airmass=airmass))
    found = next_up(wanted, site, NOW)
    assert (found.begin, found.reason, len(looked)) == (None, "it is too low", nights)


def test_what_is_up_is_told_at_once() -> None:
    found = next_up(REQUEST, Site.load(SITE), NOW)
    assert found.begin == NOW
    assert found.altitude == pytest.approx(49.7, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "nights"),
    [
        ({"constraints": Constraints(sun_altitude=-89.0)}, 1),  # its lowest at 43.93 degrees north is -69.5
        ({"constraints": Constraints(sun_altitude=-68.0)}, 132),
        ({"exposures": (Exposures("r", 3600.0, 14),)}, 1),  # the longest night has 12.1 hours of the site's darkness
        ({"exposures": (Exposures("r", 3600.0, 5),), "dec": -30.0}, 1),  # it is above 9 degrees for 4.8 hours
        ({"exposures": (Exposures("r", 3600.0, 4),), "orbit": COMET}, 132),
    ],
)
def test_what_no_night_of_the_year_can_have_is_told_by_its_first(
    changes: dict[str, Any], nights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []

    def never(*given: Any) -> str:
        looked.append(given)
        return "it isn't dark enough"

    monkeypatch.setattr(module, "first_in_night", never)
    found = next_up(msgspec.structs.replace(REQUEST, **changes), Site.load(SITE), NOW)
    assert (found.begin, found.reason, len(looked)) == (None, "it isn't dark enough", nights)
