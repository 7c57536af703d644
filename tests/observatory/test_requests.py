"""What people ask for: observed, dithered, interrupted by an alert, cancelled, and again and again."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from pyros.angles import separation_arcsec
from pyros.planning import night_log
from tests.observatory.conftest import Night


def ask(night: Night, name: str, exposures: list[dict[str, Any]], **fields: Any) -> tuple[float, float]:
    """Have a person ask for an observation of what is 65 degrees up in the west; return where that is."""
    ra, dec = night.place(65, 260)
    said = {"id": name, "target": name, "ra": ra, "dec": dec, "exposures": exposures, "requested": night.clock.time()}
    night.person("scheduler", "Observation requested", **(said | fields))
    return ra, dec


def fates(night: Night) -> dict[str, tuple[str, int]]:
    """Return what became of each observation of the night, and its images."""
    journals: Any = night.journals
    with closing(journals.reader(night.config.journal("scheduler"))) as reader:
        lines = [line for name in night_log.nights(reader) for line in night_log.read(reader, name)]
    return {line.observation: (line.fate, line.images) for line in lines}


def test_a_persons_request_gives_way_to_an_alert_and_goes_on(ready: Night) -> None:
    place = ask(ready, "person", [{"filter": "r", "seconds": 20.0, "count": 4, "dither": 5.0}], priority=20)
    ready.until(lambda: len(ready.images()) == 2)
    ready.publish(ready.packet("pyros.test/urgent#1", ready.place(70, 100)))
    ready.until(lambda: ready.said("person: Observation finished", "majordome"), 1200)
    ready.run(1)
    assert fates(ready)["person"] == ("observed", 4)
    assert len(ready.images()) == 5
    mine = [where for _, where in ready.slews() if separation_arcsec(*where, *place) < 60]
    off = [separation_arcsec(*where, *place) for where in mine]
    assert off[0] < 1, "the first image is on the target"
    beside = sorted(each for each in off if each > 0.5)
    assert len(beside) == 4, "each other one beside it, the interrupted one twice"
    assert beside == pytest.approx([1.25, 1.77, 1.77, 2.17], abs=0.05)
    assert "person" not in ready.agent("scheduler").state.requests


def test_a_request_that_is_cancelled_while_it_is_observed_is_stopped(ready: Night) -> None:
    ask(ready, "person", [{"filter": "r", "seconds": 20.0, "count": 40}])
    ready.until(lambda: len(ready.images()) == 1)
    ready.person("scheduler", "Observation request withdrawn", observation="person", reason="enough")
    ready.until(lambda: ready.state("dome") == "closed", 300)
    assert len(ready.images()) == 1
    ready.run(60)
    assert fates(ready)["person"] == ("withdrawn", 1)


def test_a_request_with_a_cadence_comes_back_at_its_times(ready: Night) -> None:
    start = ready.clock.time()
    cadence = {"period": 1200.0, "tolerance": 100.0, "start": start, "count": 2}
    ask(ready, "variable", [{"filter": "r", "seconds": 20.0}], cadence=cadence)
    ready.until(lambda: len(ready.images()) == 2, 2000)
    times = [when for when, _ in ready.slews()]
    assert times[1] - times[0] == pytest.approx(1200, abs=250)
    ready.run(120)
    assert fates(ready) == {"variable-due0": ("observed", 1), "variable-due1": ("observed", 1)}
    assert ready.agent("scheduler").state.requests == {}


def test_what_the_camera_cannot_set_is_refused_and_not_ignored(ready: Night) -> None:
    ask(ready, "person", [{"filter": "r", "seconds": 20.0, "readout_mode": "slow"}])
    ready.until(lambda: ready.said("is given up", "scheduler"), 300)
    assert ready.said("has no readout mode 'slow'; there are: none")
    assert len(ready.received("camera", "Expose")) == 1
    assert ready.images() == []
