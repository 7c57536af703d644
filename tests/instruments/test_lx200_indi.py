"""LX200 with people who were not asked: INDI's own drivers drive our telescope.

INDI's ``indi_lx200basic`` and ``indi_lx200classic`` connect to the simulator's second port. All by real sockets on
127.0.0.1 (INDI's servers listen everywhere: it has no option against that), in INDI's own time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import threads

from pyros import instruments
from pyros.clock import RealClock
from pyros.planning import Site
from pyros.simulators import Simulator, load
from pyros.simulators.celestial import Ground, OfDate, Sky, from_date, of_date, separation
from tests.conftest import wait_until
from tests.instruments.indi.by_hand import HandClient
from tests.instruments.indi.server import needs_indi
from tests.instruments.whole_suite import exceptions

blockingCallFromThread: Any = threads.blockingCallFromThread  # its types know only Deferreds of Never

TELESCOPE = Path(__file__).parents[2] / "observatory" / "simulators" / "telescope.yaml"
LOCAL = "tcp:0:interface=127.0.0.1"
pytestmark = needs_indi
DRIVERS = ("LX200 Basic", "LX200 Classic")
SITE = Site("INDI's", 43.93, 5.71, 650.0)
STEP = 16.0
"""Arcseconds: a second of right ascension, in which the language counts, and a bit."""


class Driven:
    """Our simulated telescope, and INDI's driver that is connected to it."""

    def __init__(self, reactor: Any, port: int, client: HandClient, device: str, simulator: Simulator) -> None:
        self.reactor, self.port, self.client = reactor, port, client
        self.device, self.simulator = device, simulator
        self.telescope: Any = simulator.device

    def vector(self, name: str) -> str:
        return f"{self.device}.{name}"

    def ours(self, function: Callable[[], Any]) -> Any:
        """Call it in the simulator's thread."""
        return blockingCallFromThread(self.reactor, function)

    def high(self, altitude: float, azimuth: float) -> Sky:
        """Return what stands there now."""
        return self.ours(lambda: self.telescope.site.sky(Ground(altitude, azimuth), self.telescope.clock.time()))  # type: ignore[no-any-return]

    def send_to(self, sky: Sky, mode: str = "TRACK") -> None:
        """Slew there, or sync to it."""
        self.client.switch(self.vector("ON_COORD_SET"), mode)
        self.client.wait(self.vector("ON_COORD_SET"), "Ok")
        place = of_date(sky, self.telescope.clock.time())
        self.client.set("Number", self.vector("EQUATORIAL_EOD_COORD"), RA=place.ra / 15, DEC=place.dec)

    def indi_says(self) -> Sky:
        """Where INDI's driver says that the telescope is."""
        ra, dec = (self.client.number(self.vector(f"EQUATORIAL_EOD_COORD.{name}")) for name in ("RA", "DEC"))
        return from_date(OfDate(ra * 15, dec), self.telescope.clock.time())

    def until_indi_says(self, sky: Sky) -> None:
        name = self.vector("EQUATORIAL_EOD_COORD.RA")
        self.client.wait(name, lambda _: separation(self.indi_says(), sky) * 3600 < STEP)

    def state(self) -> str:
        state: str = self.ours(lambda: self.telescope.state)
        return state

    def slewed_to(self, sky: Sky) -> None:
        self.send_to(sky)
        self.client.wait(self.vector("EQUATORIAL_EOD_COORD"), "Busy")
        self.client.wait(self.vector("EQUATORIAL_EOD_COORD"), lambda state: state in ("Ok", "Idle"))
        # lx200basic knows nothing of distance bars: for it a slew is over when 3 arcminutes are left.
        wait_until(lambda: self.state() == "tracking")


@pytest.fixture(params=DRIVERS)
def driven(request: pytest.FixtureRequest, reactor: Any, serve: Callable[..., Any]) -> Iterator[Driven]:
    """One of INDI's drivers, connected over TCP to our telescope."""
    device = request.param
    description = load(TELESCOPE).changed(
        listen=LOCAL, lx200=LOCAL, parked=False, pointing_noise=0.0, slew_rate=6.0, settle=0.2, speed=4.0
    )
    simulator = Simulator(description, reactor, RealClock(reactor))
    server, client = serve(device)
    blockingCallFromThread(reactor, simulator.start)
    try:
        assert simulator.second is not None
        client.wait(f"{device}.CONNECTION_MODE")
        client.switch(f"{device}.CONNECTION_MODE", "CONNECTION_TCP")
        client.wait(f"{device}.DEVICE_ADDRESS")
        client.set("Text", f"{device}.DEVICE_ADDRESS", ADDRESS="127.0.0.1", PORT=simulator.second.port)
        client.wait(f"{device}.DEVICE_ADDRESS", "Ok")
        client.switch(f"{device}.CONNECTION", "CONNECT")
        client.wait(f"{device}.CONNECTION", "Ok")
        client.wait(f"{device}.EQUATORIAL_EOD_COORD")
        client.set("Number", f"{device}.POLLING_PERIOD", PERIOD_MS=100)
        yield Driven(reactor, server.port, client, device, simulator)
    finally:
        blockingCallFromThread(reactor, simulator.stop)


def test_indi_slews_our_telescope_and_knows_where_it_is(driven: Driven) -> None:
    target = driven.high(60, 120)
    driven.slewed_to(target)
    assert separation(driven.ours(driven.telescope.pointing), target) * 3600 < STEP
    driven.until_indi_says(target)
    assert driven.simulator.second is not None
    assert "MS" in driven.simulator.second.commands


def test_indi_synchronises_our_telescope(driven: Driven) -> None:
    target = driven.high(60, 120)
    driven.slewed_to(target)
    beside = Sky((target.ra + 0.4) % 360, target.dec - 0.3)
    driven.send_to(beside, "SYNC")
    driven.until_indi_says(beside)
    assert separation(driven.ours(driven.telescope.pointing), beside) * 3600 < STEP
    assert driven.state() == "tracking"


def test_indi_aborts_a_slew(driven: Driven) -> None:
    far = driven.high(25, 200)
    driven.send_to(far)
    driven.client.wait(driven.vector("EQUATORIAL_EOD_COORD"), "Busy")
    wait_until(lambda: driven.state() == "slewing")
    driven.client.switch(driven.vector("TELESCOPE_ABORT_MOTION"), "ABORT")
    driven.client.wait(driven.vector("TELESCOPE_ABORT_MOTION"), lambda state: state in ("Ok", "Idle"))
    wait_until(lambda: driven.state() == "tracking")
    here = driven.ours(driven.telescope.pointing)
    assert separation(here, far) > 5
    driven.until_indi_says(here)


@pytest.mark.parametrize("driven", ["LX200 Classic"], indirect=True)  # the other has no such keys
def test_indi_pushes_our_telescope_along(driven: Driven) -> None:
    target = driven.high(60, 120)
    driven.slewed_to(target)
    driven.client.switch(driven.vector("TELESCOPE_MOTION_NS"), "MOTION_NORTH")
    wait_until(lambda: driven.ours(driven.telescope.pointing).dec > target.dec + 0.5)
    driven.client.set("Switch", driven.vector("TELESCOPE_MOTION_NS"), MOTION_NORTH="Off")
    wait_until(lambda: driven.state() == "tracking")
    driven.until_indi_says(driven.ours(driven.telescope.pointing))


def test_indi_is_refused_what_is_below_the_horizon(driven: Driven) -> None:
    before = driven.high(60, 120)
    driven.slewed_to(before)
    driven.send_to(driven.high(-20, 120))
    driven.client.wait(driven.vector("EQUATORIAL_EOD_COORD"), "Alert")
    assert separation(driven.ours(driven.telescope.pointing), before) * 3600 < STEP


@pytest.mark.parametrize("driven", ["LX200 Classic"], indirect=True)
def test_indi_reads_our_telescopes_time_and_place(driven: Driven) -> None:
    site = driven.telescope.site
    told = driven.client.wait(driven.vector("GEOGRAPHIC_COORD.LAT"), lambda text: float(text) != 0)
    assert float(told) == pytest.approx(site.latitude, abs=0.02)
    longitude = driven.client.number(driven.vector("GEOGRAPHIC_COORD.LONG")) % 360
    assert longitude == pytest.approx(site.longitude, abs=0.02)
    told = driven.client.wait(driven.vector("TIME_UTC.UTC"), lambda text: text.startswith("20"))
    then = datetime.strptime(f"{told}+0000", "%Y-%m-%dT%H:%M:%S%z")
    assert abs((driven.telescope.clock.now() - then).total_seconds()) < 60


NO_TRACKING = {"stands still when it is told not to track, and tracks again": "TELESCOPE_TRACK_STATE"}
NO_PARKING = {
    "parks, unparks, and slews from the park position": "TELESCOPE_PARK",
    "a slew takes the place of a park under way": "TELESCOPE_PARK",
}
LACKS = {"LX200 Basic": NO_PARKING | NO_TRACKING, "LX200 Classic": NO_TRACKING}
"""What INDI's drivers have no vector for, and say so."""


@pytest.mark.parametrize(
    "driven", ["LX200 Basic", pytest.param("LX200 Classic", marks=pytest.mark.long)], indirect=True
)
def test_our_indi_driver_conforms_at_indis_lx200_drivers(driven: Driven, reactor: Any) -> None:
    """From our INDI driver through INDI's LX200 driver to our telescope: each link by somebody else than the next."""
    site = Site("x", driven.telescope.site.latitude, driven.telescope.site.longitude, 650.0)
    address = f"tcp:127.0.0.1:{driven.port}/{driven.device}"

    def connect() -> Any:
        return instruments.connect("telescope", "indi", address, reactor, RealClock(reactor), site=site)

    telescope = blockingCallFromThread(reactor, connect)
    lacks = LACKS[driven.device]
    found = exceptions(telescope, site, reactor)
    assert {name: outcome for name, (outcome, _) in found.items()} == dict.fromkeys(lacks, "not supported")
    for name, vector in lacks.items():
        assert found[name][1].endswith(f"the device has no {vector}")
