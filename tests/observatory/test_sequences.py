"""A sequence that is interrupted goes on with its next image, whatever has interrupted it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pyros.agents.observing import Progress
from pyros.hold import Holds
from tests.observatory.conftest import EXPOSURE, Night


def exposed(night: Night) -> list[int]:
    """Return the numbers within their sequence of the exposures that were begun, in their order."""
    lines = [line for _, line in night.requests("camera", "DO expose")]
    return [int(found[1]) for line in lines if (found := re.search(r"tag=obs-ivo-pyros\.test-first-1-(\d+)", line))]


def hold(night: Night) -> None:
    night.everybody("Hold", who="anna@dome", why="lightning")
    night.until(lambda: night.state("dome") == "closed", 60)
    Holds(night.config.data, night.clock).release()
    night.everybody("Release")


def rain(night: Night) -> None:
    night.weather(rain=1)
    night.until(lambda: night.state("dome") == "closed", 60)
    night.weather()


def preemption(night: Night) -> None:
    night.publish(night.packet("pyros.test/urgent#1", night.place(70, 100)))
    night.until(lambda: night.said("test-urgent-1 has started", "majordome"), 60)


def restart(night: Night) -> None:
    night.kill("observation_manager")
    hold(night)
    night.start("observation_manager")


@pytest.mark.parametrize("interrupt", [hold, rain, preemption, restart])
def test_an_interrupted_sequence_goes_on(ready: Night, interrupt: Callable[[Night], None]) -> None:
    ready.publish(ready.packet())
    ready.until(lambda: exposed(ready)[-1:] == [2], 120)
    ready.run(EXPOSURE / 2)
    interrupt(ready)
    ready.until(lambda: ready.said("test-first-1: Observation finished", "majordome"), 1500)
    assert exposed(ready) == [1, 2, 2, 3]
    ready.run(1)
    finished = ready.received("scheduler", "Observation finished")
    (report,) = [row.payload for row in finished if b"test-first-1" in row.payload]
    assert [path.name for path in ready.images() if "first" in path.name] == sorted(
        set(re.findall(r"[^/\"]*first[^/\"]*\.fits", report.decode()))
    )
    assert ready.agent("observation_manager").state.interrupted == {}


def test_an_image_that_came_before_the_abort_is_not_taken_again(ready: Night) -> None:
    ready.publish(ready.packet())
    ready.until(lambda: exposed(ready)[-1:] == [2], 120)
    ready.run(EXPOSURE / 2)
    agent = ready.agent("observation_manager")
    id_ = agent.state.current.id
    ready.person("observation_manager", "Abort observation", observation=id_)
    ready.until(lambda: agent.state.current is None, 5)
    ready.person(
        "observation_manager", "Exposure finished", observation=id_, number=2, filter="r", path="late.fits",
        started=ready.clock.time(), seconds=EXPOSURE,
    )  # fmt: skip
    ready.until(lambda: ready.said("test-first-1: Observation finished", "majordome"), 1500)
    assert exposed(ready) == [1, 2, 3]
    ready.run(1)
    (report,) = [row.payload for row in ready.received("scheduler", "Observation finished")]
    assert b'"late.fits"' in report


def abort_and_hold(night: Night) -> None:
    """Abort the exposure twice: the second word finds no command under way."""
    night.person("camera", "Abort")
    night.until(lambda: night.agent("camera").state.command is None, 1)
    night.everybody("Stop", who="anna@dome", why="lightning")
    night.until(lambda: night.state("dome") == "closed", 60)
    Holds(night.config.data, night.clock).release()
    night.everybody("Release")


@pytest.mark.parametrize("interrupt", [hold, preemption, abort_and_hold])
def test_an_image_that_was_being_written_then_is_not_taken_again(
    ready: Night, interrupt: Callable[[Night], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.publish(ready.packet())
    ready.until(lambda: exposed(ready)[-1:] == [2], 120)
    camera = ready.agent("camera").reactor
    write = camera.callInThreadWithCallback
    with monkeypatch.context() as writing:
        writing.setattr(camera, "callInThreadWithCallback", lambda *job: camera.callLater(5, write, *job))
        ready.until(lambda: ready.state("camera") not in ("exposing", "reading"), 2 * EXPOSURE)
        ready.run(0.1)
    interrupt(ready)
    ready.until(lambda: ready.said("test-first-1: Observation finished", "majordome"), 1500)
    assert exposed(ready) == [1, 2, 3]
    ready.run(1)
    (report,) = [row.payload for row in ready.received("scheduler", "Observation finished") if b"first" in row.payload]
    assert [path.name for path in ready.images() if "first" in path.name] == sorted(
        set(re.findall(r"[^/\"]*first[^/\"]*\.fits", report.decode()))
    )


def test_what_is_remembered_of_sequences_has_a_bound(exposing: Night) -> None:
    agent = exposing.agent("observation_manager")
    current = agent.state.current
    agent.state.done = 1
    agent.state.interrupted = {f"x{number}": Progress(0.0, 0.0, current.exposures, 1, (), ()) for number in range(100)}
    hold(exposing)
    exposing.until(lambda: agent.state.current is None, 60)
    assert list(agent.state.interrupted) == [*(f"x{number}" for number in range(1, 100)), current.id]
