"""Two nights of real processes in real time, unattended: a sequence of 100 images goes on after the day.

The site stands where the Sun rises above the twilight for some minutes only; which day that is begins with the first
image, however long the processes took to start. What asks for the Sun agrees to 0.0001 degrees: 20 s then.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pyros.messages import Exposures, Observation
from pyros.planning.phases import phase
from pyros.planning.visibility import place_overhead, sun
from pyros.site import Site
from tests.builders import polar_site
from tests.conftest import wait_until
from tests.live.observatory import LiveObservatory

DAY_AFTER = timedelta(seconds=60)
"""From the first image until the Sun rises above the twilight."""
DAY = timedelta(seconds=240)
"""Half of it is morning, in which the night is reported: a busy computer has closed and parked two minutes late."""
PATIENCE = 600.0
"""For what takes a busy computer minutes."""
SECONDS, SPEED = 20.0, 20
"""Of each exposure, and of the camera: at best 50 images are taken before the day."""
COUNT = 100


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_sequence_broken_by_dawn_ends_the_night_after(tmp_path: Path) -> None:
    if abs(sun(datetime.now(UTC))[1]) < 8:
        pytest.skip("near the equinoxes the day is nowhere some minutes long")
    later = datetime.now(UTC) + timedelta(minutes=40)
    with closing(
        LiveObservatory(tmp_path / "live", site=polar_site(later, later + DAY), clock="real", speed=SPEED)
    ) as live:
        _two_nights(live)


def _day_soon(live: LiveObservatory) -> tuple[Site, datetime]:
    """Move the site to where the day is soon, and have that read; return it, and when the day begins."""
    day = datetime.now(UTC) + DAY_AFTER
    keys = polar_site(day, day + DAY)
    site = Site(**keys)
    assert phase(site, day - timedelta(seconds=30)) == "night"
    assert phase(site, day + DAY / 2) in ("morning", "evening")
    assert phase(site, day + DAY + timedelta(seconds=30)) == "night"
    live.move(keys)
    return site, day


def _two_nights(live: LiveObservatory) -> None:
    live.start_all()
    ra, dec = place_overhead(Site.load(live.config.site), datetime.now(UTC), 80.0, 90.0)
    exposures = (Exposures(filter="r", seconds=SECONDS, count=COUNT),)
    live.request(Observation(id="survey", target="survey", ra=ra, dec=dec, exposures=exposures, min_altitude=0.0))
    wait_until(lambda: live.images("survey"), PATIENCE, "the first image")
    site, day = _day_soon(live)
    print(f"{datetime.now(UTC):%H:%M:%S} first image; day at {day:%H:%M:%S}")
    wait_until(lambda: datetime.now(UTC) > day, PATIENCE, "the day")
    wait_until(lambda: live.state("dome") == "closed", PATIENCE, "the dome to be closed by day")
    wait_until(lambda: live.state("telescope") == "parked", PATIENCE, "the telescope to be parked by day")
    first = sum(live.images("survey").values())
    print(f"{datetime.now(UTC):%H:%M:%S} closed and parked after {first} images")
    assert 0 < first < COUNT
    wait_until(lambda: phase(site, datetime.now(UTC)) == "night", PATIENCE, "the second night")
    assert live.state("dome") == "closed", "all of the day"
    assert sum(live.images("survey").values()) == first

    wait_until(lambda: any(each.observation == "survey" for each in live.reports()), PATIENCE, "the sequence's end")
    print(f"{datetime.now(UTC):%H:%M:%S} the sequence has ended")
    (finished,) = [each for each in live.reports() if each.observation == "survey"]
    assert len(set(finished.images)) == len(finished.images) == COUNT
    assert sorted(live.images("survey").items()) == [(number, 1) for number in range(1, COUNT + 1)]
    wait_until(lambda: live.state("dome") == "closed", PATIENCE, "the dome to be closed: nothing is left to do")
    wait_until(lambda: live.state("telescope") == "parked", PATIENCE, "the telescope to be parked")

    reports = sorted((live.config.data / "nights").glob("*.md"))
    print(f"reports: {[path.name for path in reports]}")
    assert [path for path in reports if "survey" in path.read_text()], "no report tells of the first night"
    assert live.failures() == []
