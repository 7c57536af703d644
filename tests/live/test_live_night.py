"""A night of real processes with exposures of 300 s: an alert preempts, every process is killed, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pyros import messages
from pyros.cli.common import observatory_clock
from pyros.messages import Exposures, Observation
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.builders import voevent
from tests.conftest import wait_until
from tests.live.observatory import EXPOSURE, PROCESSES, LiveObservatory

RULES = """
rules:
  - name: burst
    when: {stream: "*pyros*"}
    priority: 90
    observe: [{filter: g, seconds: 300, count: 2}]
"""
PATIENCE = 600.0
"""For what takes a busy computer minutes."""
_COUNT = 60
"""Of the survey's images: some are left when all processes were killed."""
_SURVEY = "survey"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveObservatory]:
    observatory = LiveObservatory(tmp_path / "live", rules=RULES)
    yield observatory
    observatory.close()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_night_with_an_alert_in_which_every_process_is_killed(live: LiveObservatory) -> None:
    live.start_all()
    site = Site.load(live.config.site)
    now = observatory_clock(live.config).now()
    survey, burst = place_overhead(site, now, 75.0, 90.0), place_overhead(site, now, 60.0, 120.0)
    exposures = (Exposures(filter="r", seconds=EXPOSURE, count=_COUNT),)
    live.request(
        Observation(id=_SURVEY, target=_SURVEY, ra=survey[0], dec=survey[1], exposures=exposures, min_altitude=0.0)
    )
    wait_until(lambda: live.images(_SURVEY), PATIENCE, "the first image")

    ivorn = "ivo://pyros.test/live#1"
    date = f"{observatory_clock(live.config).now():%Y-%m-%dT%H:%M:%S}"
    wait_until(lambda: live.state("camera") == "exposing", PATIENCE, "the shutter to be open")
    live.publish(voevent(ivorn, date=date, ra=burst[0], dec=burst[1], error=0.05))
    wait_until(
        lambda: any("pyros.test-live" in each.observation for each in live.reports()), PATIENCE, "the burst's images"
    )
    arrived = live.arrived(ivorn)
    for agent, name in (("camera", messages.ABORT), ("telescope", messages.SLEW)):
        after = [row.taken - arrived for row in live.received(agent, name) if row.taken > arrived]
        print(f"{name}: {min(after, default=-1.0):.3f} s after the alert arrived")
    done = sum(live.images(_SURVEY).values())
    wait_until(lambda: sum(live.images(_SURVEY).values()) > done, PATIENCE, "the survey to go on")

    for name in PROCESSES:
        done = sum(live.images(_SURVEY).values())
        live.kill(name)
        live.start(name)
        wait_until(lambda done=done: sum(live.images(_SURVEY).values()) > done, PATIENCE, f"images after {name}'s end")
        print(f"{datetime.now(UTC):%H:%M:%S} {name} was killed; {sum(live.images(_SURVEY).values())} images")
    done = sum(live.images(_SURVEY).values())
    live.kill(*PROCESSES)
    live.start(*PROCESSES)
    wait_until(lambda: sum(live.images(_SURVEY).values()) > done, PATIENCE, "images after the end of all")
    print(f"{datetime.now(UTC):%H:%M:%S} all were killed; {sum(live.images(_SURVEY).values())} images")

    wait_until(lambda: any(each.observation == _SURVEY for each in live.reports()), 3 * PATIENCE, "the survey's end")
    wait_until(lambda: live.state("dome") == "closed", PATIENCE, "the dome to be closed")
    wait_until(lambda: live.state("telescope") == "parked", PATIENCE, "the telescope to be parked")
    finished = [each for each in live.reports() if each.observation == _SURVEY]
    assert [len(each.images) for each in finished] == [_COUNT]
    assert len(set(finished[0].images)) == _COUNT
    twice = {number: count for number, count in live.images(_SURVEY).items() if count > 1}
    print(f"files of exposures that were interrupted after the file was written: {twice}")
    assert max(twice.values(), default=2) == 2
    assert len(twice) <= len(PROCESSES) + 1, "at most one for each kill"
    assert sorted(live.images(_SURVEY)) == list(range(1, _COUNT + 1))
    assert live.failures() == []
