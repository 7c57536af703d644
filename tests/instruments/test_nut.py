"""A UPS behind Network UPS Tools: a server of their protocol in memory, and all that it may say instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.errors import ConfigError, ConnectionLost, DeviceFailed, NoAnswer
from pyros.instruments.conformance.ups import CHECKS
from pyros.instruments.ups import Power, Ups
from tests.instruments.conftest import MIDNIGHT, DeviceWorld

ADDRESS = "tcp:127.0.0.1:3493/eaton"
ANSWERS = {
    "GET UPSDESC eaton": 'UPSDESC eaton "Eaton 5P in the dome"',
    "GET VAR eaton ups.status": 'VAR eaton ups.status "OL CHRG"',
    "GET VAR eaton battery.charge": 'VAR eaton battery.charge "87"',
}


class Upsd(LineReceiver):
    delimiter = b"\n"

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def lineReceived(self, line: bytes) -> None:
        answer = self.answers.get(line.decode(), "ERR VAR-NOT-SUPPORTED")
        if answer:
            self.sendLine(answer.encode())


class UpsdFactory(Factory):
    def __init__(self, world: DeviceWorld) -> None:
        self.answers = dict(ANSWERS)
        world.listening[3493] = self

    def buildProtocol(self, addr: object) -> Upsd:
        return Upsd(self.answers)


@pytest.fixture
def world() -> DeviceWorld:
    return DeviceWorld()


@pytest.fixture
def server(world: DeviceWorld) -> UpsdFactory:
    return UpsdFactory(world)


@pytest.fixture
def ups(world: DeviceWorld, server: UpsdFactory) -> Ups:
    found: Ups = instruments.connect("ups", "nut", ADDRESS, world, VirtualClock(world, MIDNIGHT))
    return found


def test_it_tells_of_mains_and_battery(world: DeviceWorld, ups: Ups, server: UpsdFactory) -> None:
    assert world.result(ups.read(), 10) == Power(on_mains=True, charge=87.0)
    assert ups.name == "Eaton 5P in the dome"
    server.answers["GET VAR eaton ups.status"] = 'VAR eaton ups.status "OB DISCHRG"'
    assert world.result(ups.read(), 10) == Power(on_mains=False, charge=87.0)


@pytest.mark.parametrize(
    ("status", "power"),
    [
        ("OL", Power(True, 87.0)), ("OB LB", Power(False, 0.0)), ("OL LB RB", Power(True, 0.0)),
        ("FSD OL", Power(False, 87.0)), ("OFF", Power(False, 87.0)), ("BYPASS", Power(False, 87.0)),
    ],
)  # fmt: skip
def test_every_status_is_mains_or_not(
    world: DeviceWorld, ups: Ups, server: UpsdFactory, status: str, power: Power
) -> None:
    server.answers["GET VAR eaton ups.status"] = f'VAR eaton ups.status "{status}"'
    assert world.result(ups.read(), 10) == power


def test_a_charge_that_is_not_told_is_none(world: DeviceWorld, ups: Ups, server: UpsdFactory) -> None:
    del server.answers["GET VAR eaton battery.charge"]
    assert world.result(ups.read(), 10) == Power(on_mains=True)


@pytest.mark.parametrize(
    ("question", "answer", "words"),
    [
        ("GET VAR eaton ups.status", "ERR DATA-STALE", "answers 'ERR DATA-STALE' for the UPS eaton"),
        ("GET VAR eaton ups.status", 'VAR eaton ups.status "CAL"', "has the status 'CAL'"),
        ("GET VAR eaton ups.status", 'VAR other ups.status "OL"', "answers 'VAR other"),
        ("GET VAR eaton ups.status", 'VAR eaton ups.status "OL', "answers 'VAR eaton"),
        ("GET VAR eaton battery.charge", 'VAR eaton battery.charge "full"', "battery.charge of 'full'"),
        ("GET VAR eaton battery.charge", 'VAR eaton battery.charge "nan"', "battery.charge of 'nan'"),
    ],
)
def test_what_cannot_be_believed_is_no_reading(
    world: DeviceWorld, ups: Ups, server: UpsdFactory, question: str, answer: str, words: str
) -> None:
    server.answers[question] = answer
    with pytest.raises(DeviceFailed, match=words):
        world.result(ups.read(), 10)


def test_a_ups_that_the_server_does_not_know(world: DeviceWorld, ups: Ups, server: UpsdFactory) -> None:
    server.answers["GET UPSDESC eaton"] = "ERR UNKNOWN-UPS"
    with pytest.raises(ConnectionLost, match="UNKNOWN-UPS"):
        world.result(ups.read(), 10)


def test_a_silent_server_costs_five_seconds_and_the_connection(
    world: DeviceWorld, ups: Ups, server: UpsdFactory
) -> None:
    world.result(ups.read(), 10)
    server.answers["GET VAR eaton ups.status"] = ""
    with pytest.raises(NoAnswer, match=r"no answer to GET VAR eaton ups.status within 5 s"):
        world.result(ups.read(), 10)
    server.answers |= ANSWERS
    assert world.result(ups.read(), 10).on_mains


def test_a_line_without_end_ends_the_connection(world: DeviceWorld, ups: Ups, server: UpsdFactory) -> None:
    world.result(ups.read(), 10)
    server.answers["GET VAR eaton ups.status"] = "x" * 2000
    with pytest.raises(ConnectionLost, match="a line of more than 1024 bytes"):
        world.result(ups.read(), 10)


@pytest.mark.parametrize("address", ["tcp:127.0.0.1:3493", "tcp:127.0.0.1:3493/", "127.0.0.1:3493/x", "tcp:h:1/a b"])
def test_an_address_without_a_ups_is_a_mistake(address: str) -> None:
    with pytest.raises(ConfigError, match="must be tcp:HOST:PORT/UPS"):
        instruments.check_address("ups", "nut", address)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_it_conforms(world: DeviceWorld, ups: Ups, check: object) -> None:
    run: Callable[..., object] = check.run  # type: ignore[attr-defined]
    world.result(Deferred.fromCoroutine(run(ups, None)), 30)  # type: ignore[arg-type]
