"""The field is centred by the solution of an image, in rehearsed nights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyros.angles import separation_arcsec
from tests.observatory.conftest import Night

ANALYSED = True

RULES = """
rules:
  - {name: first, when: {stream: "*first*"}, priority: 10, min_altitude: 15,
     observe: [{filter: r, seconds: 120, count: 10}]}
"""
CAMERA = {"width": 512, "height": 512, "speed": 1, "seeing": 4.0}
GERMAN = {
    "mount": "german", "meridian_limit": 2, "speed": 10, "pointing_noise": 0,
    "pointing_terms": "{CH: 60, NP: 40}",
}  # fmt: skip
OPTIONS = {
    "telescope": {"option_meridian_minutes": "6", "option_tracking_drift": "0"},
    "observation_manager": {"option_centre": "20", "option_centre_seconds": "10"},
}


def begin(rehearsal: Callable[..., Night], camera: dict[str, Any] | None = None) -> tuple[Night, tuple[float, float]]:
    """Observe what passes the meridian in 12 minutes, 60 degrees up, with a tube that is not square on its axes."""
    night = rehearsal(
        rules=RULES, devices={"camera": CAMERA | (camera or {}), "telescope": GERMAN}, options=OPTIONS
    )  # fmt: skip
    night.until(lambda: night.said("the weather is safe"))
    ra, dec = night.place(60, 180)
    place = ((ra + 3) % 360, dec)
    night.publish(night.packet(place=place))
    return night, place


def off(night: Night, place: tuple[float, float]) -> float:
    """How far the optics look beside the place, arcseconds."""
    sky = night.simulators["telescope"].device.aim.true()  # type: ignore[attr-defined]
    return separation_arcsec(*place, sky.ra, sky.dec)


def test_after_a_flip_the_field_is_found_again(rehearsal: Callable[..., Night]) -> None:
    night, place = begin(rehearsal)
    night.until(lambda: night.said("the tube changes to the other side"), 3000)
    night.until(lambda: night.said("arcseconds off its centre"), 300)
    assert off(night, place) > 60, "the flip has turned the tube's errors round"
    night.until(lambda: night.agent("observation_manager").state.phase == "exposing", 900)
    assert off(night, place) < 35
    night.until(lambda: night.said("test-first-1: Observation finished", "majordome"), 4000)


def test_a_field_that_cannot_be_solved_is_observed_as_it_is(rehearsal: Callable[..., Night]) -> None:
    night, _ = begin(rehearsal, {"width": 64, "height": 64})
    night.until(lambda: night.said("the field is not centred"), 3000)
    night.until(lambda: night.said("test-first-1: Observation finished", "majordome"), 4000)


def test_centring_survives_a_restart(rehearsal: Callable[..., Night]) -> None:
    night, _ = begin(rehearsal)
    night.until(lambda: night.agent("observation_manager").state.phase == "centring", 3000)
    night.kill("observation_manager")
    night.run(30)
    night.start("observation_manager")
    night.until(lambda: night.said("test-first-1: Observation finished", "majordome"), 6000)
