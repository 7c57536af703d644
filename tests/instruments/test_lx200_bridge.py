"""Our LX200 driver at INDI's bridge, ``indi_skysafari``.

It speaks LX200 to clients and passes on what they say to INDI's telescope simulator. It doesn't tell whether it tracks,
and so each question for the state takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet import threads

from pyros import instruments
from pyros.clock import RealClock
from pyros.errors import CommandAborted
from pyros.planning import Site
from pyros.simulators.celestial import OfDate, Sky, from_date, separation
from tests.conftest import free_port, wait_until
from tests.instruments.conftest import Pending
from tests.instruments.indi.server import needs_indi
from tests.instruments.whole_suite import exceptions

blockingCallFromThread: Any = threads.blockingCallFromThread  # its types know only Deferreds of Never

pytestmark = [needs_indi, pytest.mark.long]
SITE = Site("INDI's", 43.93, 5.71, 650.0)
STEP = 16.0
"""Arcseconds: a second of right ascension, in which the language counts, and a bit."""


@pytest.fixture
def bridged(reactor: Any, serve: Callable[..., Any]) -> Iterator[tuple[Any, Callable[[], OfDate], RealClock]]:
    """Our LX200 driver at INDI's bridge to INDI's telescope simulator, and where INDI says that points."""
    mount, bridge = "Telescope Simulator", "SkySafari"
    server, client = serve(mount, bridge)
    client.wait(f"{mount}.CONNECTION")
    client.switch(f"{mount}.CONNECTION", "CONNECT")
    client.wait(f"{mount}.CONNECTION", "Ok")
    client.wait(f"{mount}.GEOGRAPHIC_COORD")
    client.set("Number", f"{mount}.GEOGRAPHIC_COORD", LAT=SITE.latitude, LONG=SITE.longitude, ELEV=650)
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

    def connect() -> Any:
        return instruments.connect("telescope", "lx200", f"tcp:127.0.0.1:{port}", reactor, clock, site=SITE)

    telescope = blockingCallFromThread(reactor, connect)
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

    slewing = blockingCallFromThread(reactor, lambda: Pending(telescope.slew((ra + 40) % 360, dec - 30)))
    wait_until(lambda: not indi_is_at(ra, dec, 1800))
    do("stop")
    wait_until(lambda: slewing.results)
    assert isinstance(slewing.results[0], CommandAborted)
    assert not indi_is_at(ra + 40, dec - 30, 5 * 3600)


def test_our_driver_conforms_at_indis_bridge(
    bridged: tuple[Any, Callable[[], OfDate], RealClock], reactor: Any
) -> None:
    telescope, _, _ = bridged
    no_parking = (
        "not supported",
        "DeviceRefused: UNSUPPORTED: LX200 mount passes over the command to park (:hP#):"
        " it neither moves nor stops tracking",
    )
    not_told = "DeviceRefused: UNSUPPORTED: LX200 mount doesn't tell whether it tracks (:GW#)"
    assert exceptions(telescope, SITE, reactor) == {
        "parks, unparks, and slews from the park position": no_parking,
        "a slew takes the place of a park under way": no_parking,
        "stands still when it is told not to track, and tracks again": ("not supported", not_told),
    }
