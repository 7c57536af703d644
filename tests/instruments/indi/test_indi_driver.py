"""The INDI driver against a scripted server, on virtual time: the connection, addresses and options."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.errors import (
    ConfigError,
    ConnectionLost,
    InstrumentError,
)
from pyros.instruments.drivers.coordinates import apparent_of_icrs
from pyros.instruments.drivers.horizon import altitude
from pyros.planning import Site
from pyros.planning.visibility import altitude_azimuth
from tests.instruments.conftest import DeviceWorld
from tests.instruments.indi.conftest import COORD, MOUNT, Make
from tests.instruments.indi.script import ADDRESS, IndiRig, vector


def test_altitudes_are_those_of_the_planning() -> None:
    site, when = Site("x", 43.9, 5.7, 650.0), 1_790_000_000.0
    expected, _ = altitude_azimuth(site, 120.0, 30.0, datetime.fromtimestamp(when, UTC))
    found = altitude(*apparent_of_icrs(120.0, 30.0, when), site.latitude, site.longitude, when)
    assert found == pytest.approx(expected, abs=0.02)


def test_a_device_is_connected_and_told_the_time_and_the_place(rig: Make, clock: VirtualClock) -> None:
    made = rig("telescope", MOUNT, site=Site("x", 43.9, -5.7, 650.0))
    assert made.told == [(True, "Dev at tcp:127.0.0.1:7624/Dev")]
    assert made.device.connected
    assert made.server.changes("CONNECTION") == [{"CONNECT": "On"}]
    assert made.server.changes("TIME_UTC") == [{"UTC": "2026-03-20T23:30:00", "OFFSET": "0"}]
    (place,) = made.server.changes("GEOGRAPHIC_COORD")
    assert {key: float(value) for key, value in place.items()} == {"LAT": 43.9, "LONG": 354.3, "ELEV": 650.0}


def test_a_mount_that_knows_its_place_is_not_told_again(rig: Make) -> None:
    knows = MOUNT | {"GEOGRAPHIC_COORD": ("Number", {"LAT": 43.9, "LONG": 354.3, "ELEV": 600.0}, "Ok")}
    assert rig("telescope", knows, site=Site("x", 43.9, -5.7, 650.0)).server.changes("GEOGRAPHIC_COORD") == []


def test_a_device_that_cannot_reach_its_hardware_says_why(mount: IndiRig, world: DeviceWorld) -> None:
    server = mount.server
    server.answers["CONNECTION"] = lambda _: (
        '<message device="Dev" message="[ERROR] no such port /dev/ttyUSB0"/>'
        + server.set("CONNECTION", "Alert", CONNECT=False, DISCONNECT=True)
    )
    server.say(server.set("CONNECTION", "Ok", CONNECT=False, DISCONNECT=True))  # somebody pulled the plug
    assert mount.told[-1][0] is False
    world.run(4)
    problem = "'Dev' is not connected to its hardware: no such port /dev/ttyUSB0"
    world.fails(ConnectionLost, problem, mount.device.state(), 6)
    del server.answers["CONNECTION"]
    world.run(3)
    assert mount.told[-1][0] is True


def test_a_driver_that_dies_and_returns(mount: IndiRig, world: DeviceWorld) -> None:
    server = mount.server
    server.answers[COORD] = lambda told: server.set(COORD, "Busy")
    slew = mount.begin(mount.device.slew(30.0, 40.0))
    server.there = False
    server.vectors["CONNECTION"] = ("Switch", {"CONNECT": False, "DISCONNECT": True}, "Idle")
    server.vectors[COORD] = ("Number", {"RA": 1.0, "DEC": 2.0}, "Idle")
    server.say('<delProperty device="Dev"/>')
    assert isinstance(slew[0], ConnectionLost)
    assert mount.told[-1] == (False, "telescope at tcp:127.0.0.1:7624/Dev: the server knows no device 'Dev'")
    world.run(60)
    assert not mount.device.connected
    server.there = True
    world.run(3)
    assert mount.told[-1][0] is True
    assert world.result(mount.device.state()) == "idle"


def test_a_device_that_others_ask_all_the_time_becomes_ready(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.say("</nonsense>")
    for _ in range(20):  # whatever one client asks for, the driver tells all
        world.run(0.1)
        if mount.server.line.transport.open:
            mount.server.say(vector("def", "Number", COORD, {"RA": 1.0, "DEC": 2.0}))
    assert mount.device.connected


def test_garbage_without_end_ends_the_connection_and_it_is_made_again(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.say("<nonsense>" * 40_000)
    assert [up for up, _ in mount.told] == [True, False]
    assert "markup of more than" in mount.told[-1][1]
    world.run(2)
    assert mount.device.connected


def test_a_damaged_element_is_told_and_all_is_asked_for_again(mount: IndiRig, world: DeviceWorld) -> None:
    asked = len(mount.server.asked)
    for _ in range(3):
        mount.server.say('<message device="Dev" message="1 < 2"/>')
    assert mount.events == ["something was left out: bad XML: not well-formed (invalid token)"]
    world.run(6)
    assert [element.tag for element in mount.server.asked[asked:]] == ["getProperties"]
    assert [up for up, _ in mount.told] == [True]


def test_a_ping_is_answered_and_complaints_are_events(mount: IndiRig) -> None:
    mount.server.say('<pingRequest uid="42"/>', '<message device="Dev" message="[WARNING] meridian is near"/>')
    assert mount.server.asked[-1].tag == "pingReply"
    assert mount.events == ["meridian is near"]


@pytest.mark.parametrize(
    "address", ["", "tcp:127.0.0.1", "tcp:127.0.0.1:7624/", "tcp::7624/X", "tcp:h:0/X", "serial:h:1", "tcp:h:1/a<b"]
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match="must be tcp:HOST:PORT/DEVICE"):
        instruments.check_address("telescope", "indi", address)


def test_a_switch_names_its_vectors() -> None:
    instruments.check_address("safety", "indi", "tcp:[::1]:7624/A Device & more")
    instruments.check_address("switch", "indi", "tcp:[::1]:7624/A Box?A,B_1")
    for address in (ADDRESS, ADDRESS + "?", ADDRESS + "?A B", "tcp:[::1]:7624?A", "tcp:[::1]:7624/?A"):
        with pytest.raises(ConfigError, match="must be tcp:HOST:PORT"):
            instruments.check_address("switch", "indi", address)


@pytest.mark.parametrize(
    ("kind", "query"),
    [("dome", "slew_seconds=5"), ("telescope", "slew_seconds=0"), ("camera", "bin=0"), ("safety", "a=1")],
)
def test_options_that_there_are_not(kind: Any, query: str) -> None:
    with pytest.raises(ConfigError, match=query.partition("=")[0]):
        instruments.check_address(kind, "indi", f"{ADDRESS}?{query}")


def test_every_failure_has_one_line(mount: IndiRig, world: DeviceWorld) -> None:
    mount.server.answers["TELESCOPE_PARK"] = '<message device="Dev" message="[ERROR] two\nlines"/>'
    with pytest.raises(InstrumentError) as failed:
        world.result(mount.device.park(), 5)
    assert re.fullmatch(r"[^\n]+two lines", str(failed.value))
