"""Hold and stop: nothing opens, slews or exposes for the automation until a person says so, whoever is restarted."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from pyros.errors import JournalError
from pyros.guardian import Guardian
from pyros.hold import Holds
from tests.observatory.conftest import Night

SAFE = ("closed", "closing", "stopped")
HOUR = 3600.0


def hold(night: Night) -> Holds:
    """Open the hold's file, as the command line does."""
    return Holds(night.config.data, night.clock)


def stop(night: Night, why: str = "a visitor stands in the dome") -> None:
    """Hold the observatory and stop everything, as ``pyros stop`` does."""
    hold(night).set("anna@dome", why)
    night.everybody("Stop", who="anna@dome", why=why)


def release(night: Night) -> None:
    """End the hold, as ``pyros release`` does."""
    hold(night).release()
    night.everybody("Release", who="anna@dome")


def quiet(night: Night) -> bool:
    return night.state("dome") == "closed" and night.state("telescope") == "parked" and night.state("camera") == "idle"


def test_stop_aborts_closes_and_parks(exposing: Night) -> None:
    stop(exposing)
    exposing.until(lambda: exposing.state("camera") == "idle", 2)
    exposing.until(lambda: quiet(exposing), 60)
    assert exposing.agent("observation_manager").state.current is None
    for name, host in exposing.observatory.hosts.items():
        assert host.status()["hold"]["who"] == "anna@dome", name


def kill(night: Night, name: str) -> None:
    if name == "guardian":
        assert isinstance(night.observatory.guardians[0], Guardian)
        night.observatory.guardians[0].stop()
    else:
        night.kill(name)


def start(night: Night, name: str) -> None:
    if name == "guardian":
        guardian = night.observatory.guardians[0] = Guardian(
            night.config, night.reactor, night.clock, send=lambda *_: None
        )
        guardian.start()
    else:
        night.start(name)


def test_nothing_begins_under_a_hold_whoever_is_restarted(rehearsal: Callable[..., Night]) -> None:
    exposing = rehearsal(guardian=True)
    exposing.until(lambda: exposing.said("the weather is safe"))
    exposing.publish(exposing.packet())
    exposing.until(lambda: exposing.state("camera") == "exposing")
    chance = random.Random(9)
    stop(exposing)
    exposing.until(lambda: quiet(exposing), 60)
    exposing.run(30)
    since, dome = exposing.now, [exposing.state("dome")]
    exposing.watchers.append(
        lambda: dome.append(exposing.state("dome")) if exposing.state("dome") != dome[-1] else None
    )
    names = ["majordome", "dome", "monitoring", "guardian", "observation_manager", "telescope", "camera", "scheduler"]
    for number in range(6):
        exposing.publish(exposing.packet(f"pyros.test/urgent#{number}", exposing.place(70, 90 + 5 * number)))
        chance.shuffle(names)
        gone = names[: chance.randint(1, len(names))]
        for name in gone:
            kill(exposing, name)
            exposing.run(chance.choice((0.0, 1.0, 90.0)))
        chance.shuffle(gone)
        for name in gone:
            start(exposing, name)
            exposing.run(chance.choice((0.0, 1.0, 30.0)))
        exposing.run(since + (number + 1) * HOUR / 6 - exposing.now)
    assert set(dome) <= set(SAFE)
    assert exposing.slews(since) == []
    assert exposing.requests("camera", "DO expose", since) == []

    exposing.watchers.clear()
    release(exposing)
    exposing.until(lambda: exposing.state("camera") == "exposing", 60)


def test_a_hold_that_was_only_written_is_obeyed(exposing: Night) -> None:
    hold(exposing).set("anna@dome", "written by a process that no agent hears")
    exposing.until(lambda: quiet(exposing), 60)


def test_a_hold_stops_the_slew_that_runs(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(devices={"telescope": {"speed": 1}})
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("telescope") == "slewing")
    night.person("telescope", "Hold", why="lightning")
    night.until(lambda: night.state("telescope") != "slewing", 2)


def test_stop_parks_though_nothing_can_be_committed(exposing: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def not_stored(*_: object) -> None:
        raise JournalError("no space left on device")

    for host in exposing.observatory.hosts.values():
        monkeypatch.setattr(host.journal, "commit", not_stored)
    monkeypatch.setattr("pyros.hold.atomic_write", full)
    exposing.everybody("Stop", who="anna@dome", why="smoke")
    exposing.until(lambda: exposing.state("camera") == "idle", 2)
    exposing.until(lambda: exposing.state("telescope") == "parked", 60)
    assert exposing.said("the hold is in memory only", "telescope")
    assert exposing.observatory.hosts["majordome"].holds.hold is not None
    monkeypatch.undo()
    exposing.run(5)


def test_under_service_persons_move_devices_and_agents_do_not(ready: Night) -> None:
    ra, dec = ready.place(60, 120)
    ready.everybody("Service", who="anna@dome", why="new filter", minutes=30)
    ready.publish(ready.packet())
    ready.run(30)
    assert ready.slews() == []
    ready.person("telescope", "Slew", observation="by hand", ra=ra, dec=dec)
    ready.until(lambda: ready.state("telescope") == "tracking", 120)
    ready.run(1700 - ready.now)
    assert len(ready.slews()) == 1
    assert ready.state("telescope") == "tracking"
    ready.until(lambda: ready.state("camera") == "exposing", 400)


def test_a_release_that_was_said_before_ends_no_hold(ready: Night) -> None:
    ready.run(1)
    ready.person("majordome", "Hold", why="lightning", who="anna@dome")
    host = ready.observatory.hosts["majordome"]
    assert not host.holds.release(ready.clock.monotonic() - 0.5)
    assert not host.holds.release(float("-inf"))
    assert host.holds.release(ready.clock.monotonic() + 0.5)


def test_a_slew_is_stopped_when_a_hold_began_while_the_agent_was_down(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(devices={"telescope": {"speed": 1}})
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("telescope") == "slewing")
    night.kill("telescope")
    hold(night).set("anna@dome", "work on the roof")
    night.start("telescope")
    night.until(lambda: night.state("telescope") == "idle", 3)
    assert night.said("the telescope is slewing, and no agent asked for it")
