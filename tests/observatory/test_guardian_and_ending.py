"""Nights with a guardian, and ends in the middle of one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyros import messages
from pyros.guardian import Guardian
from tests.observatory.conftest import EXPOSURE, Night


@pytest.fixture
def guarded(rehearsal: Callable[..., Night]) -> Night:
    """Rehearse with a guardian until the middle of an exposure."""
    night = rehearsal(guardian=True)
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    night.run(EXPOSURE / 2)
    assert night.state("dome") == "open"
    return night


def test_the_guardian_closes_when_the_domes_agent_is_gone(guarded: Night) -> None:
    began = guarded.now
    guarded.kill("dome")
    assert guarded.until(lambda: guarded.state("dome") == "closed") - began < 5 + 1 + 3
    guarded.until(lambda: guarded.received("monitoring", "Alarm"), 15)
    guarded.start("dome")
    guarded.until(lambda: guarded.received("monitoring", "Alarm over"), 15)


def test_the_guardian_ends_a_calibration_on_the_sky(rehearsal: Callable[..., Night]) -> None:
    """The majordome may be as dead as the dome's agent: nobody else stops a focusing under a roof that closes."""
    night = rehearsal(guardian=True, optional=("focuser",))
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    night.person("observation_manager", messages.ABORT_OBSERVATION, observation="")
    night.person("observation_manager", messages.CALIBRATE, id="focus-1", kind="focus", filters=["r"], seconds=[5.0])
    night.kill("majordome")
    night.until(lambda: night.state("telescope") == "tracking" and night.state("camera") == "exposing", 120)
    manager = night.agent("observation_manager")
    assert manager.state.calibration is not None
    night.kill("dome")
    night.until(lambda: night.state("dome") != "open", 10)
    night.until(lambda: manager.state.calibration is None, 15)
    ended = night.now
    night.run(120)
    assert not night.slews(since=ended)
    assert not night.requests("camera", "DO expose", since=ended)


def test_nothing_is_open_without_the_guardian(guarded: Night) -> None:
    guardian = guarded.observatory.guardians[0]
    assert isinstance(guardian, Guardian)
    guardian.stop()
    guarded.until(lambda: guarded.state("dome") == "closed", 10)
    gone = guarded.now
    guarded.run(300)
    assert guarded.requests("dome", "DO open", since=gone) == []
    guardian = guarded.observatory.guardians[0] = Guardian(
        guarded.config, guarded.reactor, guarded.clock, send=lambda *_: None
    )
    guardian.start()
    guarded.until(lambda: guarded.state("dome") == "open", 120)


def test_an_end_closes_the_dome_parks_the_mount_and_aborts(guarded: Night) -> None:
    began = guarded.now
    stopped = guarded.observatory.stop()
    guarded.until(lambda: stopped.called, 120)
    for device, state in (("dome", "closed"), ("telescope", "parked"), ("camera", "idle")):
        assert guarded.state(device) == state
    assert guarded.requests("dome", "DO open", since=began) == []
    assert guarded.requests("telescope", "DO slew", since=began) == []
    for text in ("closing the dome ...", "closed after", "parking the mount ...", "parked after", "aborting the"):
        assert guarded.said(text, since=began)


def test_an_end_with_everything_closed_is_quick(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(guardian=True)
    night.run(60)
    began = night.now
    stopped = night.observatory.stop()
    assert night.until(lambda: stopped.called) - began < 1
    assert not night.said("...", since=began)


def test_a_closed_dome_is_looked_at_and_beaten_for_less_often(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(guardian=True)
    night.until(lambda: night.said("the weather is safe"))
    guardian = night.observatory.guardians[0]
    assert isinstance(guardian, Guardian)
    night.run(60)

    def in_a_minute() -> tuple[int, int]:
        beats, asked = guardian.beats, len(night.requests("dome", "GET azimuth"))
        night.run(60)
        return guardian.beats - beats, len(night.requests("dome", "GET azimuth")) - asked

    beats, measured = in_a_minute()
    assert 3 <= beats <= 5, "each 15 s"
    assert measured == 2
    night.publish(night.packet())
    night.until(lambda: night.state("dome") != "closed")
    beats, measured = in_a_minute()
    assert beats >= 35
    assert measured >= 6


def test_a_dome_opened_by_a_hand_is_closed_as_soon_as_the_guardian_has_seen_it(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(guardian=True)
    night.until(lambda: night.said("the weather is safe"))
    night.run(60)
    for _ in range(3):
        night.run(7)
        night.connect(night.simulators["dome"].port, b"DO open\n")
        night.until(lambda: night.state("dome") != "closed")
        began = night.now
        assert night.until(lambda: night.state("dome") == "closed") - began <= 10 + 2 * 2
    assert not night.said("its agent silent")
