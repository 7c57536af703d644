"""One burst over two telescopes: what its page, its timeline and a replay of the night tell of each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import date

import pytest

from pyros import messages
from pyros.cli.timeline import in_words
from pyros.rehearsal.replay import nights, replay_night
from pyros.views import observed
from pyros.views.event import event
from pyros.views.events import events
from pyros.views.fates import fates
from pyros.views.observations import observations
from pyros.views.requests import request, requests
from pyros.views.timeline import Follower
from pyros.views.timeline_steps import Ended, ImageOnDisk, SlewCommanded, SourceDetected, TelescopeAsked
from tests.observatory.conftest import Night
from tests.observatory.test_telescopes import made

IVORN = "ivo://pyros.test/first#1"
UNITS = ("east", "west")


@pytest.fixture
def two(rehearsal: Callable[..., Night]) -> Night:
    return made(rehearsal, UNITS)


def test_each_telescope_tells_what_it_did_about_a_burst(two: Night) -> None:
    with closing(observed(two.config)) as seen:
        follower = Follower(seen, IVORN, lambda _: IVORN)
        two.publish(two.packet("pyros.test/first#1"))
        two.until(lambda: any(two.state(f"camera {unit}") == "exposing" for unit in UNITS), 300)
        (busy,) = (unit for unit in UNITS if two.state(f"camera {unit}") == "exposing")
        (other,) = set(UNITS) - {busy}
        (line,) = events(seen).events
        assert line.word == "observing"
        (wanted,) = requests(seen).requests
        assert wanted.state == f"is being observed at {busy}"
        station = two.connect(two.simulators["weather"].port, b"SET rain 1\n")
        two.until(lambda: station.answer == b"OK\n", 10)
        two.until(lambda: two.state(f"dome {busy}") == "closed")
        station = two.connect(two.simulators["weather"].port, b"SET rain 0\n")
        two.until(lambda: two.said("Observation finished"), 7200)
        name = two.config.seen_from(busy).telescope_name
        two.person(
            "alert_manager", messages.SOURCE_FOUND, observation=line.observation, alert=IVORN, event=line.name, ra=1.0,
            dec=2.0, magnitude=17.0, filter="r", time=two.clock.time(), telescope=name,
        )  # fmt: skip
        two.run(1.0)
        steps = follower.look()
        (line,) = events(seen).events
        assert (line.word, line.images) == ("observed", 3)
        shown = event(seen, line.name)
        assert shown is not None
        did = {each.unit: each for each in shown.telescopes}
        done = next(unit for unit in UNITS if did[unit].word == "observed")
        assert (
            did[busy].latencies["asked"] < did[busy].latencies["slew commanded"] < did[busy].latencies["shutter open"]
        )
        assert did[done].images == 3
        assert sum(each.images for each in did.values()) == len(shown.images)
        assert {step.unit for step in shown.steps if step.what == "image on disk"} <= {busy, done}
        assert {step.unit for step in shown.steps if step.what == "decided"} == {""}
        assert [step.unit for step in shown.steps if step.what == "source found"] == [busy]
        assert [step.unit for step in steps if isinstance(step, SourceDetected)] == [busy]
        if done == busy:
            assert did[other].word in ("not asked", "withdrawn")  # offered it before its own rain was told
        assert next(step.unit for step in steps if isinstance(step, TelescopeAsked)) == busy
        assert {step.unit for step in steps if isinstance(step, SlewCommanded)} >= {busy}
        assert len([step for step in steps if isinstance(step, ImageOnDisk)]) >= 3
        (end,) = (step for step in steps if isinstance(step, Ended))
        assert (in_words(end)[0], end.unit) == ("finished", done)
        (told,) = (each for each in fates(seen, [line.observation]) if each.words.startswith("was observed"))
        assert told.unit == done
        assert requests(seen).requests == ()
        assert [each.observation for each in requests(seen).ended if each.fate == "observed"] == [line.observation]
        ended = request(seen, line.observation)
        assert ended is not None
        assert (ended.state, ended.nights[0].images) == ("observed", 3)
        assert [(each.observation, each.fate) for each in observations(seen).observations] == [
            (line.observation, "observed")
        ]
        night = date.fromisoformat(nights(two.config, two.site)[0])
        replayed = {each.agent: each for each in replay_night(two.config, two.site, night)}
        assert set(replayed) == {"alert_manager", "scheduler east", "scheduler west"}
        assert [(each.differences, each.notes) for each in replayed.values()] == [((), ())] * 3
        assert replayed["alert_manager"].decisions == 1
        assert replayed[f"scheduler {busy}"].decisions >= 1
