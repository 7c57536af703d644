"""Several telescopes, of one site and of two: what each gets, and that what happens to one is nothing to the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from pyros import messages
from pyros.agents import Agent
from pyros.journal import SQLITE
from pyros.messages import Exposures, Observation
from pyros.views import observed
from pyros.views.devices import devices
from tests.observatory.conftest import SMALL, Night

ANALYSED = True

SYNTHETIC = {"camera": {**SMALL["camera"], "stars": "synthetic"}}
HESS = "name: Gamsberg\nlatitude: -23.2717\nlongitude: 16.5\nelevation: 1800\n"


def made(rehearsal: Callable[..., Night], units: tuple[str, ...], **keys: Any) -> Night:
    night = rehearsal(telescopes=units, journals=SQLITE, **keys)
    night.until(lambda: all(night.said("the weather is safe", f"majordome {unit}") for unit in units))
    return night


@pytest.fixture
def sites(rehearsal: Callable[..., Night]) -> Night:
    """Rehearse a telescope at each of two sites on one meridian, each with weather of its own."""
    return made(rehearsal, ("france one", "namibia one"), sites={"namibia": HESS})


def ask(night: Night, id_: str, place: tuple[float, float], **keys: Any) -> None:
    exposures = (Exposures(filter="r", seconds=60, count=40),)
    request = Observation(ra=place[0], dec=place[1], id=id_, target=id_, exposures=exposures, **keys)
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    night.person(Agent.CENTRAL_SCHEDULER, messages.OBSERVATION_REQUESTED, **fields)


def running(night: Night, unit: str) -> str:
    current = night.agent(f"observation_manager {unit}").state.current
    return current.id if current is not None and night.state(f"camera {unit}") == "exposing" else ""


def test_an_alert_moves_one_telescope_and_the_other_goes_on(rehearsal: Callable[..., Night]) -> None:
    options = {"analyzer": {"option_catalogue": "synthetic"}}
    two = made(rehearsal, ("east", "west"), options=options, devices=SYNTHETIC, guardian=True)
    ask(two, "a", two.place(), priority=2)
    ask(two, "b", two.place(), priority=1)
    two.until(lambda: running(two, "east") == "a" and running(two, "west") == "b")
    began = two.now
    two.publish(two.packet("pyros.test/urgent#1"))
    two.until(lambda: "urgent" in running(two, "west"), 60)
    two.until(lambda: running(two, "west") == "b")
    assert any(path.name.startswith("west_obs-ivo") for path in two.images())
    assert running(two, "east") == "a"
    assert two.requests("telescope east", "DO ", began) == []
    two.kill("dome west")
    two.until(lambda: two.said("the guardian closes it", "majordome west"))
    two.until(lambda: two.state("dome west") == "closed")
    assert two.state("dome east") == "open"
    assert running(two, "east") == "a"
    two.run(60.0)  # monitoring's journal has telemetry half a minute late
    with closing(observed(two.config)) as seen:
        told = {device.name: device.state for device in devices(seen)}
    assert (told["telescope east"], told["dome east"], told["weather"]) == ("tracking", "open", "ok")


def test_what_only_one_site_can_see_is_observed_there(sites: Night) -> None:
    sidereal = sites.place(80, 180)[0]
    ask(sites, "polaris", (sidereal, 80.0))
    ask(sites, "cloud", (sidereal, -65.0))
    sites.until(lambda: running(sites, "france one") == "polaris" and running(sites, "namibia one") == "cloud")


def test_rain_at_one_site_moves_its_request_to_the_other(sites: Night) -> None:
    both = (sites.place(80, 180)[0], 10.0)
    ask(sites, "named", both, telescope="namibia")
    sites.until(lambda: running(sites, "namibia one") == "named")
    ask(sites, "any", both)
    sites.until(lambda: running(sites, "france one") == "any")
    station = sites.connect(sites.simulators["weather france"].port, b"SET rain 1\n")
    sites.until(lambda: station.answer == b"OK\n", 10)
    sites.until(lambda: sites.state("dome france one") == "closed")
    assert sites.state("dome namibia one") == "open"
    withdrawal = {"observation": "named", "reason": "test"}
    sites.person(Agent.CENTRAL_SCHEDULER, messages.OBSERVATION_REQUEST_WITHDRAWN, **withdrawal)
    sites.until(lambda: running(sites, "namibia one") == "any")


def test_each_roof_waits_for_the_mount_below_it_at_the_end(rehearsal: Callable[..., Night]) -> None:
    two = made(rehearsal, ("east", "west"), options={"dome": {"roof": "yes"}})
    ask(two, "a", two.place())
    two.until(lambda: running(two, "east") == "a")
    began = two.now
    stopped = two.observatory.stop()
    two.until(lambda: stopped.called, 300)
    ((closing, _),) = two.requests("dome east", "DO close", began)
    (parked,) = two.said("parked after", "telescope east", began)
    assert began < parked.time <= closing


def test_each_telescope_has_its_own_cover_opened(rehearsal: Callable[..., Night]) -> None:
    two = made(rehearsal, ("east", "west"), optional=("cover",), devices=SYNTHETIC)
    ask(two, "a", two.place(), telescope="west")
    two.until(lambda: running(two, "west") == "a")
    assert (two.state("cover east"), two.state("cover west")) == ("closed", "open")
    two.person("observation_manager west", messages.ABORT_OBSERVATION, observation="")
    withdrawal = {"observation": "a", "reason": "test"}
    two.person(Agent.CENTRAL_SCHEDULER, messages.OBSERVATION_REQUEST_WITHDRAWN, **withdrawal)
    two.until(lambda: two.state("cover west") == "closed" and two.state("dome west") == "closed", 600)
    assert two.requests("cover east", "DO open") == []
