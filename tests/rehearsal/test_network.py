"""Connections in memory: what arrives, in which order, and what is heard of a link that breaks."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from pyros.rehearsal.network import Network
from pyros.rehearsal.reactor import MemoryReactor
from pyros.rehearsal.timeline import Timeline


class Peer(Protocol):
    """Keeps what comes, and when; and how it ended."""

    transport: Any

    def __init__(self, reactor: MemoryReactor) -> None:
        self.reactor = reactor
        self.came: list[tuple[float, bytes]] = []
        self.ended = ""

    def dataReceived(self, data: bytes) -> None:
        self.came.append((self.reactor.seconds(), data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = type(reason.value).__name__

    @property
    def text(self) -> bytes:
        return b"".join(data for _, data in self.came)


class Peers(Factory):
    noisy = False

    def __init__(self, reactor: MemoryReactor) -> None:
        self.reactor = reactor
        self.made: list[Peer] = []

    def buildProtocol(self, addr: Any) -> Peer:
        self.made.append(Peer(self.reactor))
        return self.made[-1]


class Pair:
    """A server ``b`` and a client ``a`` on one network."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.network = Network(self.timeline)
        self.a, self.b = (MemoryReactor(self.timeline, self.network, node) for node in "ab")
        self.servers, self.clients = Peers(self.b), Peers(self.a)
        self.b.listenTCP(7, self.servers)
        self.failed: list[str] = []

    def connect(self, timeout: float = 10.0) -> None:
        connecting = TCP4ClientEndpoint(self.a, "127.0.0.1", 7, timeout).connect(self.clients)
        connecting.addErrback(lambda failure: self.failed.append(type(failure.value).__name__))

    def run(self, seconds: float) -> None:
        self.timeline.run_until(self.timeline.now + seconds)

    @property
    def client(self) -> Peer:
        return self.clients.made[-1]

    @property
    def server(self) -> Peer:
        return self.servers.made[-1]


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.connect()
    pair.run(1)
    return pair


def test_a_slow_link_keeps_the_order(pair: Pair) -> None:
    pair.network.slow("a seed")
    for number in range(200):
        pair.client.transport.write(b"%d " % number)
        pair.run(0.005)
    pair.run(5)
    assert pair.server.text.split() == [b"%d" % number for number in range(200)]
    times = [time for time, _ in pair.server.came]
    assert times == sorted(times)


def test_a_stalled_link_delivers_everything_later(pair: Pair) -> None:
    pair.network.stall("a", "b", 40)
    pair.client.transport.write(b"first ")
    pair.run(30)
    pair.client.transport.write(b"second")
    assert pair.server.came == []
    pair.run(11)
    assert pair.server.text == b"first second"
    assert pair.network.stalled("a", "b") is False


def test_nobody_connects_over_a_stalled_link(pair: Pair) -> None:
    pair.network.stall("a", "b", 40)
    pair.connect(timeout=10)
    pair.run(9)
    assert pair.failed == []
    pair.run(2)
    assert pair.failed == ["TimeoutError"]


def test_a_cut_ends_both_ends_and_loses_what_is_on_its_way(pair: Pair) -> None:
    pair.client.transport.write(b"lost")
    pair.network.cut("a", "b")
    pair.run(1)
    assert (pair.client.ended, pair.server.ended) == ("ConnectionLost", "ConnectionLost")
    assert pair.server.came == []
    assert pair.network.transports == {}


def test_a_mute_connection_says_nothing_until_it_is_reset(pair: Pair) -> None:
    (end,) = pair.network.mute("a", "b")
    pair.client.transport.write(b"lost")
    pair.server.transport.loseConnection()
    pair.run(100)
    assert (pair.client.ended, pair.server.came) == ("", [])
    assert pair.network.muted("a", "b")
    assert not pair.network.muted("b", "a"), "who says something makes a connection for that"
    end.reset()
    pair.run(1)
    assert pair.client.ended == "ConnectionLost"
    assert not pair.network.muted("a", "b")


def test_who_gives_a_mute_connection_up_and_makes_another_one_is_heard(pair: Pair) -> None:
    ends = pair.network.mute("b", "a")
    pair.client.transport.abortConnection()
    pair.run(1)
    assert pair.network.mute("b", "a") == ends, "the other end hears nothing of that, and may be broken once more"
    assert not pair.network.muted("a", "b")
    pair.connect()
    pair.run(1)
    pair.client.transport.write(b"again")
    pair.run(1)
    assert pair.server.text == b"again"


def test_what_a_killed_process_has_written_arrives(pair: Pair) -> None:
    pair.network.stall("a", "b", 5)
    pair.client.transport.write(b"last words")
    pair.a.alive = False
    pair.network.vanish("a")
    pair.client.transport.write(b"from the dead")
    pair.run(10)
    assert pair.server.text == b"last words"
    assert pair.server.ended == "ConnectionDone"
    assert pair.client.ended == "", "the dead hear nothing"


def test_the_ports_of_a_killed_process_are_closed(pair: Pair) -> None:
    pair.network.vanish("b")
    pair.connect()
    pair.run(1)
    assert pair.failed == ["ConnectionRefusedError"]


def test_a_calm_network_passes_everything_again(pair: Pair) -> None:
    pair.network.mute("a", "b")
    pair.network.stall("a", "b", 1000)
    pair.network.calm()
    pair.run(1)
    assert pair.client.ended == "ConnectionLost"
    pair.connect()
    pair.run(1)
    pair.client.transport.write(b"again")
    pair.run(1)
    assert pair.server.text == b"again"
