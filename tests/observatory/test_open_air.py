"""A telescope in the open: it observes as soon as it is safe, and is parked where a dome would close."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyros.agents.telescope import LEASE_LOOK_SECONDS, LEASE_SECONDS
from tests.observatory.conftest import Night

OPEN_AIR = {"telescope": {"open_air": "yes"}}
SOON = 120.0
"""Seconds for the mount to be parked."""


@pytest.fixture
def night(rehearsal: Callable[..., Night]) -> Night:
    """Rehearse until it observes."""
    night = rehearsal(without=("dome",), options=OPEN_AIR)
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.state("camera") == "exposing")
    assert night.state("telescope") == "tracking"
    return night


def parked(night: Night) -> bool:
    return night.state("telescope") == "parked"


def test_rain_parks_it_at_once_and_it_goes_on_after(night: Night) -> None:
    night.weather(rain=1)
    night.until(lambda: parked(night), SOON)
    night.weather(rain=0)
    night.until(lambda: night.said("Observation finished"), 7200)
    night.until(lambda: parked(night), 600)


@pytest.mark.parametrize("gone", ["majordome", "monitoring"])
def test_it_is_parked_when_nobody_says_that_it_may_be_out(night: Night, gone: str) -> None:
    began = night.now
    night.kill(gone)
    night.until(lambda: parked(night), LEASE_SECONDS + LEASE_LOOK_SECONDS + SOON)
    assert night.said(f"{gone} no longer says that it may be out", "telescope", began)


def test_rain_parks_it_without_its_majordome(night: Night) -> None:
    night.kill("majordome")
    began = night.now
    night.weather(rain=1)
    night.until(lambda: parked(night), LEASE_SECONDS)
    assert not night.said("no longer says", "telescope", began)


def test_its_majordome_goes_on_after_a_restart(night: Night) -> None:
    night.restart("majordome")
    night.until(lambda: night.said("Observation finished"), 600)
    assert not night.said("no longer says", "telescope")


def test_a_telescope_without_a_dome_that_does_not_say_so_observes_nothing(rehearsal: Callable[..., Night]) -> None:
    night = rehearsal(without=("dome",))
    night.until(lambda: night.said("the weather is safe"))
    night.publish(night.packet())
    night.until(lambda: night.said("has to wait: there is no [dome]"), 60)
    night.run(300)
    assert night.state("camera") != "exposing"
    assert night.requests("telescope", "DO slew") == []
