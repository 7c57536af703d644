"""The meridian flip of a German mount, in rehearsed nights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tests.observatory.conftest import SMALL, Night

ANALYSED = True

GERMAN = {"mount": "german", "meridian_limit": 2, "speed": 10}
RULES = """
rules:
  - {name: first, when: {stream: "*first*"}, priority: 10, min_altitude: 15,
     observe: [{filter: r, seconds: 120, count: 12}]}
"""


def begin(rehearsal: Callable[..., Night], telescope: dict[str, Any], minutes: str = "6") -> Night:
    """Observe what passes the meridian in 12 minutes, 60 degrees up."""
    night = rehearsal(
        rules=RULES, devices=SMALL | {"telescope": GERMAN | telescope},
        options={"telescope": {"option_meridian_minutes": minutes}},
    )  # fmt: skip
    night.until(lambda: night.said("the weather is safe"))
    ra, dec = night.place(60, 180)
    night.publish(night.packet(place=((ra + 3) % 360, dec)))
    night.until(lambda: night.state("camera") == "exposing")
    return night


def pier(night: Night) -> str:
    return str(night.simulators["telescope"].device.properties["pier"]().line)


def test_the_tube_changes_sides_between_two_exposures(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal, {})
    assert pier(night) == "OK west"
    night.until(lambda: night.said("test-first-1: Observation finished", "majordome"), 4000)
    assert pier(night) == "OK east"
    flips = [line for _, line in night.requests("telescope", "DO slew") if "side=east" in line]
    assert len(flips) == 1
    assert not night.requests("camera", "DO abort"), "no exposure is lost for it"
    assert len([path for path in night.images() if "first" in path.name]) == 12
    assert not night.said("has lost the target")


def test_a_mount_that_does_not_flip_ends_the_observation(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal, {})
    device: Any = night.simulators["telescope"].device
    device.settings = msgspec.structs.replace(device.settings, flip="never")
    night.until(lambda: night.said("test-first-1: Observation failed", "majordome"), 3000)
    assert night.said("slew failed") or night.said("does not change the side of its pier")


def test_without_the_option_nothing_flips(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal, {"mount": "equatorial"})
    night.until(lambda: night.said("test-first-1: Observation finished", "majordome"), 4000)
    assert not [line for _, line in night.requests("telescope", "DO slew") if "side=" in line]
