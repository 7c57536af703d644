"""A telescope that loses its target: who notices, how soon, and what becomes of the observation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyros import messages
from tests.observatory.conftest import Night


def by_hand(night: Night, command: str) -> None:
    """Tell the mount something past the telescope's agent."""
    hand = night.connect(night.simulators["telescope"].port, f"{command}\n".encode())
    night.until(lambda: hand.answer.startswith((b"OK", b"BUSY")), 10)


@pytest.mark.parametrize("command", ["DO track on=0", "DO stop", "DO park", "DO move first=0.5 second=0"])
def test_a_mount_that_stops_tracking_ends_the_exposure_in_seconds(exposing: Night, command: str) -> None:
    night, began = exposing, exposing.now
    by_hand(night, command)
    night.until(lambda: night.received("observation_manager", messages.TRACKING_LOST), 6)
    night.until(lambda: night.requests("camera", "DO abort", began), 1)
    night.until(lambda: night.slews(began), 1)
    assert night.now < began + 6
    night.until(lambda: night.said("Observation finished", "majordome"), 900)
    assert len(night.images()) == 3
    assert all(when < began or when > night.slews(began)[0][0] for when, _ in night.requests("camera", "DO expose"))


def test_a_mount_that_drifts_away_while_it_says_that_it_tracks_is_found_out(exposing: Night) -> None:
    night, began = exposing, exposing.now
    night.fault("telescope", 'wrong_position by=0.1 for=14 request="GET position"')
    night.until(lambda: night.received("observation_manager", messages.TRACKING_LOST), 14)
    (lost,) = night.received("observation_manager", messages.TRACKING_LOST)[:1]
    assert b"it has moved by 360 arcseconds since the slew" in lost.payload
    night.until(lambda: night.said("Observation finished", "majordome"), 900)
    assert len(night.slews(began)) >= 1
    assert len(night.images()) == 3


def test_a_mount_that_never_goes_on_tracking_is_given_up(exposing: Night) -> None:
    night = exposing
    exposures = 0

    def stop() -> None:
        nonlocal exposures
        if night.state("camera") == "exposing" and (count := len(night.requests("camera", "DO expose"))) > exposures:
            exposures = count
            night.connect(night.simulators["telescope"].port, b"DO track on=0\n")

    night.watchers.append(stop)
    night.until(lambda: night.received("scheduler", "Observation failed"), 300)
    assert b"the telescope has lost the target: it is idle, and does not track" in night.received(
        "scheduler", "Observation failed"
    )[0].payload  # fmt: skip
    assert exposures == 5


def test_tracking_is_watched_again_after_a_restart_of_its_agent(exposing: Night) -> None:
    night = exposing
    night.restart("telescope")
    night.run(1)
    by_hand(night, "DO track on=0")
    night.until(lambda: night.received("observation_manager", messages.TRACKING_LOST), 6)


def test_a_target_that_has_set_is_not_slewed_to_again(exposing: Night) -> None:
    night, began = exposing, exposing.now
    agent = night.agent("telescope")
    agent.post_to_self("Limit reached", messages.Reason(reason="the target has set"))
    night.until(lambda: night.received("scheduler", "Observation failed"), 30)
    assert (
        b"the telescope has lost the target: the target has set"
        in night.received("scheduler", "Observation failed")[0].payload
    )
    night.until(lambda: night.requests("camera", "DO abort", began), 1)


def test_a_parked_telescope_is_not_watched(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.said("Observation finished", "majordome"), 900)
    night.until(lambda: night.state("telescope") == "parked", 900)
    asked = len(night.requests("telescope", "GET state"))
    night.run(60)
    assert len(night.requests("telescope", "GET state")) <= asked + 3, "for telemetry only"
    assert not night.received("observation_manager", messages.TRACKING_LOST)
