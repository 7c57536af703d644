"""Parts of the day, and whether an observation may begin now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from pyros.messages import Constraints, Exposures, Observation, Window
from pyros.planning.phases import phase, reason_not_now
from pyros.planning.visibility import moon, place_overhead
from pyros.site import Site

SITE = Site("Haute-Provence", 43.93, 5.71, 650.0)
MIDNIGHT = datetime(2026, 3, 20, 23, 30, tzinfo=UTC)


def test_a_day_has_four_parts_in_their_order() -> None:
    noon = datetime(2026, 3, 20, 11, 50, tzinfo=UTC)
    parts = [phase(SITE, noon + timedelta(minutes=5 * step)) for step in range(288)]
    changes = [part for part, before in zip(parts[1:], parts, strict=False) if part != before]
    assert changes == ["evening", "night", "morning", "afternoon"]


def test_a_white_night_has_no_night_and_ends_at_midnight() -> None:
    north = Site("Skibotn", 69.35, 20.36, 150.0)
    parts = {phase(north, datetime(2026, 6, 21, hour, 30, tzinfo=UTC)) for hour in range(24)}
    assert parts <= {"afternoon", "evening", "morning"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"min_altitude": 70.0}, "altitude 65.0°, its limit is 70.0°"),
        ({"expires": MIDNIGHT.timestamp()}, "it has expired"),
        ({"not_before": MIDNIGHT.timestamp() + 1}, "its time has not come"),
        ({"windows": (Window(0.0, 1.0),)}, "it is outside of its windows"),
        ({"windows": (Window(0.0, 1.0), Window(0.0, 1e10))}, ""),
        ({"constraints": Constraints(max_airmass=1.05)}, "airmass 1.10, its limit is 1.05"),
        ({"constraints": Constraints(sun_altitude=-60.0)}, "the Sun is at"),
    ],
)
def test_all_that_a_request_asks_of_time_and_sky_counts(changes: dict[str, Any], words: str) -> None:
    ra, dec = place_overhead(SITE, MIDNIGHT)
    request = Observation(id="a", target="a", ra=ra, dec=dec, exposures=(Exposures("r", 1.0),))
    reason = reason_not_now(SITE, msgspec.structs.replace(request, **changes), MIDNIGHT)
    assert reason == words or (words and reason.startswith(words))


def test_what_has_begun_may_go_on_after_its_expiry() -> None:
    ra, dec = place_overhead(SITE, MIDNIGHT)
    request = Observation(id="a", target="a", ra=ra, dec=dec, exposures=(Exposures("r", 1.0),), expires=1.0)
    assert reason_not_now(SITE, request, MIDNIGHT, running=True) == ""


def test_the_moon_counts_while_it_is_up() -> None:
    full = datetime(2026, 4, 2, 0, 0, tzinfo=UTC)
    ra, dec = moon(SITE, full)
    request = Observation(id="a", target="a", ra=ra + 20, dec=dec, exposures=(Exposures("r", 1.0),))
    far = msgspec.structs.replace(request, constraints=Constraints(moon_distance=30.0))
    dark = msgspec.structs.replace(request, constraints=Constraints(moon_illumination=0.5))
    assert "from the Moon, its limit is 30°" in reason_not_now(SITE, far, full)
    assert "the Moon is lit to" in reason_not_now(SITE, dark, full)
    assert reason_not_now(SITE, request, full) == ""
