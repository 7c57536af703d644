"""Guiding in rehearsed nights: from before the first long exposure until the telescope moves, or without a guider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pyros import messages
from pyros.messages import Exposures, Observation
from tests.observatory.conftest import SMALL, Night

ANALYSED = True

GERMAN = {"mount": "german", "meridian_limit": 2, "speed": 10}
COUNT = 3


def begin(
    rehearsal: Callable[..., Night], *, seconds: float = 120.0, dither: float = 0.0, filters: tuple[str, ...] = ("r",),
    guider: dict[str, Any] | None = None, east: float = 25.0, **keys: Any,
) -> Night:  # fmt: skip
    """Ask for exposures of a place so many degrees east of the meridian, and rehearse until the first is under way."""
    devices = SMALL | {"guider": {"speed": 1, **(guider or {})}} | keys.pop("devices", {})
    night = rehearsal(devices=devices, optional=("guider", *keys.pop("optional", ())), **keys)
    night.until(lambda: night.said("the weather is safe"))
    ra, dec = night.place(60, 180)
    ra = (ra + east) % 360
    exposures = tuple(Exposures(filter=name, seconds=seconds, count=COUNT, dither=dither) for name in filters)
    request = Observation(id="deep", target="deep", ra=ra, dec=dec, exposures=exposures, min_altitude=0.0)
    night.person("scheduler", messages.OBSERVATION_REQUESTED, **msgspec.to_builtins(request))
    night.until(lambda: night.state("camera") == "exposing")
    return night


def orders(night: Night) -> list[str]:
    """Return what the guider was told to do, in order."""
    return [line.split()[1] for _, line in night.requests("guider", "DO")]


def finish(night: Night) -> None:
    night.until(lambda: night.said("deep: Observation finished", "majordome"), 6000)
    night.run(1)


def test_guiding_begins_before_the_first_exposure_and_ends_with_the_last(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal)
    assert night.state("guider") == "guiding"
    ((began, _),) = night.requests("guider", "DO guide")
    ((slewed, _),) = night.requests("telescope", "DO slew")[-1:]
    ((exposed, _), *_) = [each for each in night.requests("camera", "DO expose") if "seconds=120" in each[1]]
    assert slewed < began < exposed
    finish(night)
    assert orders(night) == ["guide", "stop"]
    assert night.state("guider") == "idle"


@pytest.mark.long
def test_short_exposures_are_not_guided(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal, seconds=30.0)
    finish(night)
    assert orders(night) == []


@pytest.mark.long
def test_an_alerts_first_image_does_not_wait_for_a_guide_star(rehearsal: Callable[..., Night]) -> None:
    rules = """
rules:
  - {name: first, when: {stream: "*first*"}, priority: 10, min_altitude: 15,
     observe: [{filter: r, seconds: 90, count: 2}]}
"""
    night = rehearsal(rules=rules, devices=SMALL | {"guider": {"speed": 1}}, optional=("guider",))
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    assert orders(night) == []
    night.until(lambda: night.said("test-first-1: Observation finished", "majordome"), 3000)
    night.run(1)
    assert orders(night) == ["guide", "stop"]


def test_dithers_go_through_the_guider_and_move_no_telescope(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal, dither=10.0)
    slews = len(night.requests("telescope", "DO slew"))
    finish(night)
    assert orders(night) == ["guide", "dither", "dither", "stop"]
    assert len(night.requests("telescope", "DO slew")) == slews


def test_a_flip_stops_the_guiding_and_it_begins_anew(rehearsal: Callable[..., Night]) -> None:
    night = begin(
        rehearsal, seconds=300.0, east=2.0, devices={"telescope": GERMAN},
        options={"telescope": {"option_meridian_minutes": "6"}},
    )  # fmt: skip
    finish(night)
    flip = next(time for time, line in night.requests("telescope", "DO slew") if "side=east" in line)
    stopped = [time for time, _ in night.requests("guider", "DO stop")]
    assert orders(night) == ["guide", "stop", "guide", "stop"]
    assert abs(stopped[0] - flip) < 1


@pytest.mark.long
def test_the_guider_pauses_while_the_focus_moves(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal, filters=("r", "i"), optional=("focuser",))
    finish(night)
    assert orders(night) == ["guide", "pause", "guide", "stop"]


def test_a_lost_star_lets_the_exposure_go_on_and_another_is_chosen(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal)
    night.run(30)
    device: Any = night.simulators["guider"].device
    device.star = False
    night.until(lambda: night.said("deep is not guided: the guide star is lost"), 30)
    assert night.state("camera") == "exposing"
    night.until(lambda: night.state("guider") == "calibrating", 300)
    device.star = True
    finish(night)
    assert orders(night) == ["guide", "stop", "guide", "stop"]
    assert not night.requests("camera", "DO abort")


@pytest.mark.long
def test_a_star_that_comes_back_is_no_reason_to_begin_anew(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal)
    device: Any = night.simulators["guider"].device
    device.star = False
    night.until(lambda: night.said("the guide star is lost"), 30)
    device.star = True
    night.until(lambda: night.said("deep is guided again"), 30)
    finish(night)
    assert orders(night) == ["guide", "stop"]


@pytest.mark.long
def test_without_a_guide_star_it_is_exposed_unguided_for_some_minutes(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(devices=SMALL | {"guider": {"speed": 1}}, optional=("guider",))
    device: Any = night.simulators["guider"].device
    device.star = False
    night.until(lambda: night.said("the weather is safe"))
    ra, dec = night.place(65, 90)
    exposures = (Exposures(filter="r", seconds=300, count=4),)
    request = Observation(id="deep", target="deep", ra=ra, dec=dec, exposures=exposures, min_altitude=0.0)
    night.person("scheduler", messages.OBSERVATION_REQUESTED, **msgspec.to_builtins(request))
    night.until(lambda: night.said("the next 10 minutes are exposed unguided"), 900)
    assert night.said("failed to find a suitable guide star")
    finish(night)
    guided = [time for time, _ in night.requests("guider", "DO guide")]
    assert len(guided) == 2
    assert guided[1] - guided[0] > 600


@pytest.mark.parametrize("fault", ["no_answer", pytest.param("stuck", marks=pytest.mark.long)])
def test_a_guider_that_does_not_answer_stops_no_observation(rehearsal: Callable[..., Night], fault: str) -> None:
    request = ', request: "DO guide"' if fault == "no_answer" else ""
    night = begin(rehearsal, guider={"faults": f"[{{kind: {fault}{request}}}]"})
    assert night.said("exposed unguided")
    finish(night)


def test_clouds_close_the_dome_and_stop_the_guiding(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal)
    night.weather(rain=1)
    night.until(lambda: night.state("dome") == "closed", 300)
    night.until(lambda: night.state("guider") == "idle", 5)


@pytest.mark.long
def test_a_hold_stops_the_guiding(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal)
    night.person("guider", "Hold", why="lightning")
    night.until(lambda: night.state("guider") == "idle", 5)


@pytest.mark.long
@pytest.mark.parametrize("killed", ["guider", "observation_manager"])
@pytest.mark.parametrize("when", ["guiding", "exposing"])
def test_guiding_survives_a_kill(rehearsal: Callable[..., Night], killed: str, when: str) -> None:
    night = begin(rehearsal)
    if when == "guiding":
        night.run(1)
        night.until(lambda: night.agent("observation_manager").state.phase == "exposing")
    night.kill(killed)
    night.run(20)
    night.start(killed)
    finish(night)
    assert night.state("guider") == "idle"


@pytest.mark.long
def test_telemetry_tells_how_far_the_star_is_off(rehearsal: Callable[..., Night]) -> None:
    night = begin(rehearsal)
    night.run(40)
    telemetry = night.agent("monitoring").state.telemetry["guider"]
    assert telemetry.state == "guiding"
    assert 0 <= telemetry.values["error"] < 3
