"""LX200 with people who were not asked: INDI's own drivers drive our telescope, our driver drives INDI's bridge.

INDI's ``indi_lx200basic`` and ``indi_lx200classic`` connect to the simulator's second port; ``indi_skysafari`` speaks
LX200 to clients and passes on to INDI's telescope simulator what they say. All by real sockets on 127.0.0.1 (INDI's
servers listen everywhere: it has no option against that), in INDI's own time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import threads
from twisted.internet.defer import Deferred

from pyros import instruments
from pyros.clock import RealClock
from pyros.errors import CommandAborted
from pyros.instruments.conformance import CHECKS, Context, Result, run
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from pyros.simulators import Simulator, load
from pyros.simulators.celestial import Ground, OfDate, Sky, from_date, of_date, separation
from tests.conftest import free_port, reactor_in_a_thread, wait_until
from tests.instruments.indi_by_hand import Client
from tests.instruments.indi_server import IndiServer, needs_indi

blockingCallFromThread: Any = threads.blockingCallFromThread  # its types know only Deferreds of Never

TELESCOPE = Path(__file__).parents[2] / "observatory" / "simulators" / "telescope.yaml"
LOCAL = "tcp:0:interface=127.0.0.1"
pytestmark = needs_indi
DRIVERS = ("LX200 Basic", "LX200 Classic")
STEP = 16.0
"""Arcseconds: a second of right ascension, in which the language counts, and a bit."""


@pytest.fixture(scope="module")
def reactor() -> Iterator[Any]:
    """A reactor of this file's own, in a thread of its own."""
    with reactor_in_a_thread() as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[IndiServer, Client]]]:
    """Runs INDI drivers, with a client of them; afterwards nothing is left of either."""
    servers: list[IndiServer] = []
    clients: list[Client] = []

    def start(*devices: str) -> tuple[IndiServer, Client]:
        servers.append(IndiServer(tmp_path, *devices))
        clients.append(Client(servers[-1].port))
        return servers[-1], clients[-1]

    yield start
    for client in clients:
        client.close()
    for server in servers:
        server.kill()


class Driven:
    """Our simulated telescope, and INDI's driver that is connected to it."""

    def __init__(self, reactor: Any, client: Client, device: str, simulator: Simulator) -> None:
        self.reactor, self.client, self.device, self.simulator = reactor, client, device, simulator
        self.telescope: Any = simulator.device

    def vector(self, name: str) -> str:
        return f"{self.device}.{name}"

    def ours(self, function: Callable[[], Any]) -> Any:
        """Call it in the simulator's thread."""
        return blockingCallFromThread(self.reactor, function)

    def high(self, altitude: float, azimuth: float) -> Sky:
        """What stands there now."""
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
        self.client.wait(self.vector("EQUATORIAL_EOD_COORD"), lambda state: state in ("Ok", "Idle"), 40)
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
    _, client = serve(device)
    blockingCallFromThread(reactor, simulator.start)
    try:
        assert simulator.lx200 is not None
        client.wait(f"{device}.CONNECTION_MODE")
        client.switch(f"{device}.CONNECTION_MODE", "CONNECTION_TCP")
        client.wait(f"{device}.DEVICE_ADDRESS")
        client.set("Text", f"{device}.DEVICE_ADDRESS", ADDRESS="127.0.0.1", PORT=simulator.lx200.port)
        client.wait(f"{device}.DEVICE_ADDRESS", "Ok")
        client.switch(f"{device}.CONNECTION", "CONNECT")
        client.wait(f"{device}.CONNECTION", "Ok")
        client.wait(f"{device}.EQUATORIAL_EOD_COORD")
        client.set("Number", f"{device}.POLLING_PERIOD", PERIOD_MS=100)
        yield Driven(reactor, client, device, simulator)
    finally:
        blockingCallFromThread(reactor, simulator.stop)


def test_indi_slews_our_telescope_and_knows_where_it_is(driven: Driven) -> None:
    target = driven.high(60, 120)
    driven.slewed_to(target)
    assert separation(driven.ours(driven.telescope.pointing), target) * 3600 < STEP
    driven.until_indi_says(target)
    assert driven.simulator.lx200 is not None
    assert "MS" in driven.simulator.lx200.commands


def test_indi_synchronises_our_telescope(driven: Driven) -> None:
    target = driven.high(60, 120)
    driven.slewed_to(target)
    beside = Sky(target.ra + 0.4, target.dec - 0.3)
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


# The other way round.


@pytest.fixture
def bridged(reactor: Any, serve: Callable[..., Any]) -> Iterator[tuple[Any, Callable[[], OfDate], RealClock]]:
    """Our LX200 driver at INDI's bridge to INDI's telescope simulator, and where INDI says that points."""
    mount, bridge = "Telescope Simulator", "SkySafari"
    server, client = serve(mount, bridge)
    client.wait(f"{mount}.CONNECTION")
    client.switch(f"{mount}.CONNECTION", "CONNECT")
    client.wait(f"{mount}.CONNECTION", "Ok")
    client.wait(f"{mount}.GEOGRAPHIC_COORD")
    client.set("Number", f"{mount}.GEOGRAPHIC_COORD", LAT=43.93, LONG=5.71, ELEV=650)
    client.wait(f"{mount}.GEOGRAPHIC_COORD", "Ok")
    client.wait(f"{bridge}.SKYSAFARI_SETTINGS")
    port = free_port()
    settings = {"INDISERVER_HOST": "127.0.0.1", "INDISERVER_PORT": server.port, "SKYSAFARI_PORT": port}
    client.set("Text", f"{bridge}.SKYSAFARI_SETTINGS", **settings)
    client.wait(f"{bridge}.SKYSAFARI_SETTINGS", "Ok")
    client.set("Text", f"{bridge}.ACTIVE_DEVICES", ACTIVE_TELESCOPE=mount)
    client.wait(f"{bridge}.ACTIVE_DEVICES", "Ok")
    client.switch(f"{bridge}.CONNECTION", "CONNECT")  # starts the server of this version
    client.wait(f"{bridge}.CONNECTION", "Ok")
    clock = RealClock(reactor)

    def indi_says() -> OfDate:
        client.read_all()
        ra, dec = (client.number(f"{mount}.EQUATORIAL_EOD_COORD.{name}") for name in ("RA", "DEC"))
        return OfDate(ra * 15, dec)

    address = f"tcp:127.0.0.1:{port}"
    telescope = blockingCallFromThread(reactor, instruments.connect, "telescope", "lx200", address, reactor, clock)
    yield telescope, indi_says, clock
    blockingCallFromThread(reactor, telescope.disconnect)


def test_our_driver_drives_indis_bridge(bridged: tuple[Any, Callable[[], OfDate], RealClock], reactor: Any) -> None:
    telescope, indi_says, clock = bridged

    def do(method: str, *arguments: Any) -> Any:
        return blockingCallFromThread(reactor, getattr(telescope, method), *arguments)

    def indi_is_at(ra: float, dec: float, within: float = 30.0) -> bool:
        return separation(from_date(indi_says(), clock.time()), Sky(ra, dec)) * 3600 < within

    start = do("position")
    assert indi_is_at(start.ra, start.dec, STEP)
    assert do("state") == "idle"

    # It begins at the pole of date, and so only its declination axis has far to go.
    ra, dec = from_date(OfDate(indi_says().ra, 87.0), clock.time())
    assert do("slew", ra, dec).error_arcsec < 30
    wait_until(lambda: indi_is_at(ra, dec))
    assert do("state") == "tracking"

    slewing = blockingCallFromThread(reactor, lambda: Pending(telescope.slew(ra + 40, dec - 30)))
    wait_until(lambda: not indi_is_at(ra, dec, 1800))
    do("stop")
    wait_until(lambda: slewing.results)
    assert isinstance(slewing.results[0], CommandAborted)
    assert not indi_is_at(ra + 40, dec - 30, 5 * 3600)


CONFORMING = (
    "a slew ends on its target, and the position is measured",
    "a newer slew takes the place of the older, which ends with CommandAborted",
    "stop ends a slew with CommandAborted",
    "a sync to where it points changes nothing",
    "a sync beside where it points moves its position there",
)
"""The bridge knows neither parking nor standing still."""


def test_our_driver_conforms_at_indis_bridge(
    bridged: tuple[Any, Callable[[], OfDate], RealClock], reactor: Any
) -> None:
    telescope, _, clock = bridged
    site = Site("INDI's", 43.93, 5.71, 650.0)

    def place(altitude: float, azimuth: float) -> tuple[float, float]:
        return place_overhead(site, clock.now(), altitude, azimuth)

    def told_where_it_is() -> Deferred[None]:
        synced: Deferred[None] = telescope.sync(*place(70, 95))  # not half a minute for the first slew
        return synced

    context = Context(clock, place, tolerance_arcsec=30.0, limit=60.0)
    blockingCallFromThread(reactor, told_where_it_is)
    checks = [check for check in CHECKS["telescope"] if check.name in CONFORMING]
    assert len(checks) == len(CONFORMING)
    for check in checks:
        trial = run(check, telescope, context)
        result: Result = blockingCallFromThread(reactor, Deferred.fromCoroutine, trial)
        assert (result.outcome, result.reason) == ("passed", ""), check.name


class Pending:
    """A command under way."""

    def __init__(self, deferred: Any) -> None:
        self.results: list[Any] = []
        deferred.addCallbacks(self.results.append, lambda failure: self.results.append(failure.value))
