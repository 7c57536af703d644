"""Discovery, against servers of the test's own: whatever answers, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.protocol import DatagramProtocol

from pyros.instruments.alpaca import FoundAlpacaDevice, discover
from pyros.instruments.alpaca.discovery import AnswerListener
from tests.instruments.alpaca.conftest import AlpacaError, AlpacaServer, Http, Real

DEVICES = [
    {"DeviceName": "Mount", "DeviceType": "Telescope", "DeviceNumber": 0, "UniqueID": "a"},
    {"DeviceName": "Station\n2", "DeviceType": "ObservingConditions", "DeviceNumber": 2, "UniqueID": "b"},
    {"DeviceName": "Turns", "DeviceType": "Video", "DeviceNumber": 0, "UniqueID": "c"},
    {"DeviceName": "Odd", "DeviceType": "Dome", "DeviceNumber": -1, "UniqueID": "d"},
]


LONG = 600.0


class Responder(DatagramProtocol):
    """Answers the question, and nothing else."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.asked: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.asked.append(datagram)
        assert self.transport is not None
        for answer in self.answers:
            self.transport.write(answer, addr)


class Lan:
    """Servers on loopback, and what they are asked with."""

    def __init__(self, real: Real) -> None:
        self.real = real
        self.ports: list[Any] = []
        self.responders: list[Responder] = []

    def listenTCP(self, _: int, factory: Any) -> None:
        self.ports.append(self.real.reactor.listenTCP(0, factory, interface="127.0.0.1"))

    def http(self, devices: Any) -> int:
        world: Any = self
        AlpacaServer(world, configureddevices=devices)
        return int(self.ports[-1].getHost().port)

    def udp(self, *answers: bytes, interface: str = "127.0.0.1") -> tuple[int, Responder]:
        responder = Responder(*answers)
        self.responders.append(responder)
        self.ports.append(self.real.reactor.listenUDP(0, responder, interface=interface))
        return int(self.ports[-1].getHost().port), responder

    def found(self, port: int, **targets: Any) -> list[FoundAlpacaDevice]:
        """Return what is found when answers are waited for until they are here, however long that takes."""
        reactor = self.real.reactor
        call_later = reactor.callLater
        waits: list[Any] = []

        def noted(seconds: float, *call: Any) -> Any:
            waits.append((seconds, call_later(seconds, *call)))
            return waits[-1][1]

        reactor.callLater = noted
        try:
            finding = discover(reactor, LONG, port=port, **({"ipv4": ["127.0.0.1"], "ipv6": []} | targets))
        finally:
            del reactor.callLater
        self.real.until(lambda: all(responder.asked for responder in self.responders))
        for _ in range(5):  # what they have sent is there: it comes over loopback
            reactor.iterate(0)
        ((_, wait),) = [each for each in waits if each[0] == LONG]
        wait.reset(0)
        found: list[FoundAlpacaDevice] = self.real.result(finding)
        return found


@pytest.fixture
def lan(real: Real) -> Iterator[Lan]:
    made = Lan(real)
    yield made
    for port in made.ports:
        stopping = port.stopListening()
        if stopping is not None:
            real.result(stopping)


def test_devices_are_found_with_their_addresses(lan: Lan) -> None:
    http = lan.http(DEVICES)
    port, responder = lan.udp(b'{"AlpacaPort": %d}' % http)
    assert lan.found(port) == [
        FoundAlpacaDevice("telescope", "Mount", f"http://127.0.0.1:{http}/telescope/0"),
        FoundAlpacaDevice("weather", "Station 2", f"http://127.0.0.1:{http}/observingconditions/2"),
    ]
    assert responder.asked == [b"alpacadiscovery1"]


def test_over_ipv6(lan: Lan, real: Real) -> None:
    """The answer's address is written as addresses are."""
    try:
        port, responder = lan.udp(b'{"AlpacaPort": 1}', interface="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    assert lan.found(port, ipv4=[], ipv6=["::1"]) == []  # nobody has devices at port 1
    assert responder.asked == [b"alpacadiscovery1"]
    servers: dict[str, None] = {}
    AnswerListener(servers).datagramReceived(b'{"AlpacaPort": 80}', ("2001:db8::1", 1, 0, 0))
    assert list(servers) == ["http://[2001:db8::1]:80"]


def test_a_server_with_two_addresses_is_one(lan: Lan) -> None:
    """The same devices, by their identities, over two ports."""
    http = [lan.http(DEVICES), lan.http(DEVICES)]
    port, _ = lan.udp(*(b'{"AlpacaPort": %d}' % number for number in http))
    assert len(lan.found(port)) == 2


@pytest.mark.parametrize(
    "answer",
    [b"", b"garbage", b"{}", b"[1]", b'{"AlpacaPort": "x"}', b'{"AlpacaPort": 0}', b'{"AlpacaPort": 70000}',
     b'{"AlpacaPort": -1}', b'{"AlpacaPort": 1e99}', b'{"AlpacaPort": 11111}' + b" " * 2000, b"\xff" * 100],
)  # fmt: skip
def test_nonsense_by_udp(answer: bytes, lan: Lan) -> None:
    http = lan.http(DEVICES)
    port, _ = lan.udp(answer, b'{"AlpacaPort": %d}' % http)
    assert len(lan.found(port)) == 2


@pytest.mark.parametrize(
    "devices", [[], {}, "x", [1], [{"DeviceType": "Dome"}], AlpacaError(0x400), Http(404, b"no"), Http(200, b"<html>")]
)
def test_nonsense_by_http(devices: Any, lan: Lan) -> None:
    port, _ = lan.udp(b'{"AlpacaPort": %d}' % lan.http(devices), b'{"AlpacaPort": %d}' % lan.http(DEVICES))
    assert len(lan.found(port)) == 2


def test_nobody_answers(lan: Lan) -> None:
    port, responder = lan.udp()
    assert lan.found(port) == []
    assert len(responder.asked) == 1


def test_a_flood_is_bounded() -> None:
    servers: dict[str, None] = {}
    answers = AnswerListener(servers)
    for number in range(1, 1000):
        answers.datagramReceived(b'{"AlpacaPort": %d}' % number, ("10.0.0.1", 1))
    assert len(servers) == 64
    answers.datagramReceived(b'{"AlpacaPort": 1}', ("fe80::1%eth0", 1))
    assert len(servers) == 64


@given(st.binary(max_size=60))
def test_any_datagram_at_all(datagram: bytes) -> None:
    servers: dict[str, None] = {}
    AnswerListener(servers).datagramReceived(datagram, ("10.0.0.1", 1))
    assert len(servers) <= 1
