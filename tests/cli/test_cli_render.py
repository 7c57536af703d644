from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from pyros import messages as m
from pyros.cli.timeline import AlertTimeline
from pyros.views.timeline_steps import (
    Arrived,
    Decided,
    DomeOpened,
    Ended,
    ImageOnDisk,
    OnTarget,
    Planned,
    ShutterOpened,
    SlewCommanded,
    TimelineStep,
    Trouble,
)

OBS = m.Observation(id="obs-1", target="burst", ra=10.0, dec=20.0, exposures=(m.Exposures("r", 5.0, 2),))
NIGHT: list[TimelineStep] = [
    Arrived(100.0, "author 127.0.0.1"),
    Decided(100.01, True, "rule 'x'", "obs-1", 10.0, -20.0),
    Planned(100.02, True, "up until 05:00 UTC", 60.0, OBS),
    SlewCommanded(100.03, 2.0),
    OnTarget(102.0, 10.0, -20.0, 3.4),
    DomeOpened(103.0),
    ShutterOpened(103.1, 1, 2, "r", 5.0),
    ImageOnDisk(108.2, 1, "r", "/data/one.fits"),
    ShutterOpened(108.3, 2, 2, "r", 5.0),
    Trouble(110.0, "exposure failed: cold"),
    Ended(110.1, "failed", "cold"),
]


class FakeFollower:
    """Gives its steps one at each look."""

    def __init__(self, *steps: TimelineStep) -> None:
        self.steps = list(steps)

    def look(self) -> list[TimelineStep]:
        return [self.steps.pop(0)] if self.steps else []


def tell(*steps: TimelineStep, terminal: bool = False, **how: Any) -> tuple[AlertTimeline, Any, str]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=200, highlight=False, markup=False)
    follower: Any = FakeFollower(*steps)
    with AlertTimeline(console) as timeline:
        end = timeline.watch(follower, how.pop("seconds", 30.0), **how)
    return timeline, end, file.getvalue()


def test_a_line_for_each_step_with_its_time_from_the_arrival() -> None:
    _, end, text = tell(*NIGHT)
    assert end == NIGHT[-1]
    assert text.splitlines() == [
        "   0.000 s  alert received  by the broker, from author 127.0.0.1",
        "   0.010 s  accepted        rule 'x'; ra 10.0000°, dec -20.0000°",
        "   0.020 s  planned         up until 05:00 UTC",
        "   0.030 s  slew commanded  the mount needs 2.0 s",
        '   2.000 s  on target       ra 10.0000°, dec -20.0000°, 3.4" from the position asked for',
        "   3.000 s  dome open",
        "   3.100 s  shutter opened  image 1 of 2, filter r; ready in 5.0 s",
        "   8.200 s  image on disk   one.fits",
        "   8.300 s  shutter opened  image 2 of 2, filter r; ready in 5.0 s",
        "  10.000 s  trouble         exposure failed: cold",
        "  10.100 s  failed          cold",
    ]


def test_no_control_characters_where_there_is_no_terminal() -> None:
    _, _, text = tell(*NIGHT)
    assert all(character.isprintable() or character == "\n" for character in text)


def test_bars_on_a_terminal() -> None:
    _, _, text = tell(*NIGHT, terminal=True)
    assert "slewing" in text
    assert "exposing 1/2" in text
    assert "\x1b[" in text


def test_the_times_of_the_first_of_each_step() -> None:
    timeline, _, _ = tell(*NIGHT)
    assert timeline.milestones() == {
        "received": 100.0, "decided": 100.01, "planned": 100.02, "slew commanded": 100.03, "on target": 102.0,
        "dome open": 103.0, "shutter opened": 103.1, "image on disk": 108.2,
    }  # fmt: skip
    console = Console(file=io.StringIO(), width=100)
    console.print(timeline.times())
    table: Any = console.file
    assert "on target            2.000 s     1.970 s" in table.getvalue()


def test_who_is_not_patient_sees_it_wait_only_once() -> None:
    waits = Planned(101.0, False, "not up", -5.0, OBS)
    assert tell(NIGHT[0], waits, NIGHT[-1])[1] == NIGHT[-1]
    _, end, text = tell(NIGHT[0], waits, NIGHT[-1], patient=False)
    assert end == waits
    assert text.splitlines()[-1] == "   1.000 s  waits           not up"


def test_a_refusal_is_said_once() -> None:
    refused = Decided(100.1, False, "role test", "", None, None)
    _, end, text = tell(NIGHT[0], refused, Ended(100.1, "refused", "role test"))
    assert isinstance(end, Ended)
    assert text.count("role test") == 1


def test_watching_ends_in_time() -> None:
    assert tell(NIGHT[0], seconds=0.2)[1] is None
