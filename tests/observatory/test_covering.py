"""The cover in a night: open before anything is exposed on the sky, and closed with the dome."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from astropy.io import fits

from pyros import messages
from pyros.hold import Holds
from pyros.messages.cover import CLOSE_COVER
from tests.observatory.conftest import EXPOSURE, Automation, Night
from tests.rig import batch_of

DARK = 1000.0
"""ADU of an image without light."""
COVERED = {"camera": {"width": 64, "height": 64, "speed": 1, "cover": "tcp:127.0.0.1:6021"}, "cover": {"speed": 1}}
OPENS, CLOSES = "the cover does not open", "the cover does not close"


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Night:
    """Rehearse until the weather is known to be safe; the cover is closed."""
    night = rehearsal(optional=("cover",), devices=COVERED)
    night.until(lambda: night.said("the weather is safe"))
    return night


@pytest.fixture
def exposing(night: Night) -> Night:
    """Rehearse until the middle of the first of three exposures."""
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    assert night.state("cover") == "open"
    night.run(EXPOSURE / 2)
    return night


def alarms(night: Night) -> list[str]:
    """Return the keys of the observation manager's alarms that aren't over."""
    return list(night.observatory.hosts["observation_manager"].alarms.raised)


def test_it_opens_while_the_telescope_slews_and_closes_with_the_dome(exposing: Night) -> None:
    ((opened, _),) = exposing.requests("cover", "DO open")
    ((slewed, _),) = exposing.requests("telescope", "DO slew")[:1]
    (first, _), *_ = exposing.requests("camera", "DO expose")
    assert slewed <= opened < first
    exposing.until(lambda: exposing.state("dome") == "closed", 900)
    exposing.until(lambda: exposing.state("cover") == "closed", 60)
    assert len(exposing.images()) == 3
    assert all(fits.getdata(path).mean() > DARK + 20 for path in exposing.images())
    dome, cover = (exposing.requests(device, "DO close")[-1][0] for device in ("dome", "cover"))
    assert dome <= cover
    assert alarms(exposing) == []


def test_an_open_cover_delays_no_further_observation(exposing: Night) -> None:
    exposing.publish(exposing.packet("pyros.test/urgent#1", exposing.place(50.0)))
    exposing.until(lambda: len(exposing.slews()) == 2, 5)
    exposing.until(lambda: exposing.state("telescope") == "tracking" and exposing.state("camera") == "exposing", 120)
    assert len(exposing.requests("cover", "DO open")) == 2, "it is asked, and says at once that it is open"
    assert exposing.state("cover") == "open"


def test_rain_closes_the_dome_and_then_the_cover(exposing: Night) -> None:
    began = exposing.now
    exposing.weather(rain=1)
    exposing.until(lambda: exposing.state("dome") != "open" and exposing.state("cover") != "open", 30)
    assert exposing.requests("dome", "DO close", began)[0][0] <= exposing.requests("cover", "DO close", began)[0][0]
    exposing.until(lambda: exposing.state("cover") == "closed", 60)


def test_nothing_is_exposed_behind_a_cover_that_does_not_open(night: Night) -> None:
    night.fault("cover", "stuck")
    night.publish(night.packet())
    night.until(lambda: alarms(night) == [OPENS], 300)
    night.until(lambda: night.said("Observation failed the cover does not open", "majordome"), 900)
    assert night.requests("camera", "DO expose") == []
    night.fault("cover", "clear")
    night.until(lambda: night.state("camera") == "exposing", 300)
    assert night.state("cover") == "open"
    assert alarms(night) == []


def test_a_cover_that_does_not_close_is_an_alarm_and_told_again(exposing: Night) -> None:
    exposing.fault("cover", "stuck")
    exposing.weather(rain=1)
    exposing.until(lambda: alarms(exposing) == [CLOSES], 600)
    exposing.fault("cover", "clear")
    exposing.until(lambda: exposing.state("cover") == "closed", 120)
    exposing.until(lambda: alarms(exposing) == [], 10)


@pytest.mark.parametrize("who", ["observation_manager", "majordome", "cover"])
def test_a_restart_leaves_no_cover_open(exposing: Night, who: str) -> None:
    exposing.kill(who)
    exposing.weather(rain=1)
    exposing.run(120)
    exposing.start(who)
    exposing.until(lambda: exposing.state("cover") == "closed", 120)


def test_a_cover_that_was_switched_off_is_opened_again(exposing: Night) -> None:
    began = exposing.now
    exposing.stop_simulator("cover")
    exposing.run(1)
    exposing.start_simulator("cover")  # it is closed now
    exposing.until(lambda: exposing.state("cover") == "open", 120)
    opened = exposing.now
    exposing.until(lambda: len(exposing.images()) == 3, 300)
    late = [when for when, _ in exposing.requests("camera", "DO expose", began)]
    assert late
    assert min(late) >= opened - 1


def test_the_cover_is_closed_under_a_hold_and_not_opened(exposing: Night) -> None:
    Holds(exposing.config.data, exposing.clock).set("Ann", "work in the dome")
    exposing.until(lambda: exposing.state("cover") == "closed", 120)
    exposing.run(300)
    assert exposing.state("cover") == "closed"


def test_a_cover_that_closes_ends_what_needs_the_sky(exposing: Night) -> None:
    automation = Automation(exposing)
    automation.tell("observation_manager", CLOSE_COVER, messages.cover.CoverOrder("a test"))
    exposing.until(lambda: exposing.said("the cover closes: a test"), 5)
    exposing.until(lambda: exposing.state("camera") != "exposing", 10)


def test_the_cover_closes_with_the_dome_without_its_manager(exposing: Night) -> None:
    exposing.kill("observation_manager")
    exposing.weather(rain=1)
    exposing.until(lambda: exposing.state("dome") == "closed", 120)
    exposing.until(lambda: exposing.state("cover") == "closed", 30)
    exposing.start("observation_manager")
    exposing.run(60)
    assert exposing.state("cover") == "closed"


def test_the_guardian_has_the_cover_closed_in_the_domes_place(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(guardian=True, optional=("cover",), devices=COVERED)
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    for agent in ("observation_manager", "majordome", "dome"):
        night.kill(agent)
    night.until(lambda: night.state("dome") == "closed", 60)
    night.until(lambda: night.state("cover") == "closed", 30)


def test_an_older_word_of_the_dome_does_not_close_the_cover(exposing: Night) -> None:
    said = (messages.DOME_CLOSED, messages.encode_payload(messages.DOME_CLOSED, messages.Reason(reason="rain")))
    began, late = exposing.now, batch_of(exposing.clock, "dome of old", 1, said, age=120.0)
    exposing.observatory.hosts["cover"].loop.receive(late)
    exposing.until(lambda: exposing.received("cover", messages.DOME_CLOSED), 5)
    exposing.until(lambda: len(exposing.images()) == 3, 300)
    assert exposing.requests("cover", "DO close", since=began) == []


def test_a_dome_that_opens_again_has_the_cover_opened_again(night: Night) -> None:
    """The observation waits for the dome, and for no plan: nobody else would tell the cover."""
    night.publish(night.packet())
    night.until(lambda: night.state("cover") == "open", 120)
    for agent in ("cover", "observation_manager"):
        night.person(agent, messages.DOME_CLOSED, reason="a gust")
    night.until(lambda: night.state("cover") == "closed", 60)
    night.person("observation_manager", messages.DOME_OPENED)
    night.until(lambda: night.state("cover") == "open", 60)
    night.until(lambda: len(night.images()) == 3, 900)
    assert all(fits.getdata(path).mean() > DARK + 20 for path in night.images())


def test_without_a_cover_nobody_is_asked_for_one(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal()
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.said("Observation finished"))
    night.until(lambda: night.state("dome") == "closed")
    assert not [each for each in night.received("observation_manager") if "cover" in each.name.lower()]
