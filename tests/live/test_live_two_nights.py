"""Two nights of real processes in real time, unattended: a sequence of 100 images goes on after the day.

The site stands where the Sun rises above the twilight for some minutes only, and its day is soon.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pyros.agents.night_state import MajordomeState
from pyros.messages import Exposures, Observation
from pyros.planning.night_log import night_name
from pyros.planning.phases import phase
from pyros.planning.visibility import place_overhead
from pyros.site import Site
from tests.builders import polar_site
from tests.conftest import wait_until
from tests.live.observatory import EXPOSURE, LiveObservatory

DAY_AFTER = timedelta(minutes=17)
"""From now until the Sun rises above the twilight: what is planned still must have room for some images of 300 s."""
DAY = timedelta(minutes=5)
PATIENCE = 1800.0
SPEED = 25
"""Of the camera: three quarters of the images are taken before the day."""
_COUNT = 100


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_sequence_broken_by_dawn_ends_the_night_after(tmp_path: Path) -> None:
    begin = datetime.now(UTC) + DAY_AFTER
    keys = polar_site(begin, begin + DAY)
    site = Site(**keys)
    assert phase(site, begin - timedelta(seconds=20)) == "night"
    assert phase(site, begin + DAY / 2) in ("morning", "evening")
    assert phase(site, begin + DAY + timedelta(seconds=20)) == "night"
    live = LiveObservatory(tmp_path / "live", site=keys, clock="real", speed=SPEED)
    try:
        _two_nights(live, site, begin)
    finally:
        live.close()


def _two_nights(live: LiveObservatory, site: Site, day: datetime) -> None:
    live.start_all()
    ra, dec = place_overhead(site, day, 80.0, 0.0)
    exposures = (Exposures(filter="r", seconds=EXPOSURE, count=_COUNT),)
    live.request(Observation(id="survey", target="survey", ra=ra, dec=dec, exposures=exposures, min_altitude=0.0))
    wait_until(lambda: live.images("survey"), PATIENCE, "the first image")
    print(f"{datetime.now(UTC):%H:%M:%S} first image; day at {day:%H:%M:%S}")
    wait_until(lambda: phase(site, datetime.now(UTC)) != "night", PATIENCE, "the day")
    wait_until(lambda: live.state("dome") == "closed", PATIENCE, "the dome to be closed by day")
    wait_until(lambda: live.state("telescope") == "parked", PATIENCE, "the telescope to be parked by day")
    first = sum(live.images("survey").values())
    print(f"{datetime.now(UTC):%H:%M:%S} closed and parked after {first} images")
    assert 0 < first < _COUNT
    wait_until(lambda: any(each.observation == "survey" for each in live.reports()), PATIENCE, "the sequence's end")
    wait_until(lambda: live.state("dome") == "closed", PATIENCE, "the dome to be closed")
    wait_until(lambda: live.state("telescope") == "parked", PATIENCE, "the telescope to be parked")
    print(f"{datetime.now(UTC):%H:%M:%S} the sequence has ended")
    (finished,) = [each for each in live.reports() if each.observation == "survey"]
    assert len(set(finished.images)) == len(finished.images) == _COUNT
    assert sorted(live.images("survey").items()) == [(number, 1) for number in range(1, _COUNT + 1)]
    tonight = night_name(site, datetime.now(UTC).timestamp())
    wait_until(
        lambda: live.state_of("majordome", MajordomeState).night == tonight, PATIENCE, "the second night's begin"
    )
    nights = sorted(path.stem for path in (live.config.data / "nights").glob("*.md"))
    print(f"reports of {nights}")
    assert min(nights, default="") < tonight or tonight in nights
    assert live.failures() == []
