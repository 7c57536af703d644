# mypy: disable-error-code="no-untyped-call,union-attr"
# (Twisted's in-memory transports are not typed.)
"""The authors' port, on in-memory transports."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from pyros.broker.intake import Intake
from pyros.broker.store import EventStore
from pyros.broker.transaction import Stored
from pyros.broker.vtp import receiver as receiver_module
from pyros.broker.vtp.protocol import frame
from pyros.broker.vtp.receiver import MAX_PER_PEER, AlertReceiver, AlertReceiverFactory
from pyros.clock import VirtualClock
from pyros.line_limit import MAX_LINES
from tests.broker.conftest import make_event, read_answers
from tests.builders import InlineReactor, MemoryLine


class AuthorsPort:
    """The port, the store behind it, and what it passed on."""

    def __init__(self, reactor: InlineReactor, clock: VirtualClock, store: EventStore) -> None:
        self.reactor, self.store = reactor, store
        self.broadcast: list[bytes] = []
        store.start(lambda _: None)
        intake = Intake(store, lambda packet, *_: self.broadcast.append(packet))
        networks = [ip_network("10.0.0.0/8"), ip_network("::1")]
        self.factory = AlertReceiverFactory(reactor, clock, "ivo://test.observatory/broker", intake, networks)

    def connect(self) -> tuple[AlertReceiver, MemoryLine]:
        address = IPv4Address("TCP", "10.0.0.7", 4242)
        author = self.factory.buildProtocol(address)
        assert isinstance(author, AlertReceiver)
        transport = MemoryLine(peerAddress=address)
        author.makeConnection(transport)
        return author, transport


@pytest.fixture
def port(reactor: InlineReactor, clock: VirtualClock, store: EventStore) -> AuthorsPort:
    return AuthorsPort(reactor, clock, store)


def close(author: AlertReceiver) -> None:
    author.connectionLost(Failure(ConnectionDone()))


def only(transport: MemoryLine) -> tuple[str, str, str]:
    (answer,) = read_answers(transport.value())
    return answer.get("role", ""), answer.findtext("Origin") or "", answer.findtext("Meta/Result") or ""


def test_the_acknowledgement_waits_for_the_commit(port: AuthorsPort) -> None:
    author, transport = port.connect()
    for byte in frame(make_event("ivo://a.b.c/d#1")):
        author.dataReceived(bytes([byte]))
    assert not transport.value()
    assert not port.broadcast
    port.reactor.advance(0)
    (answer,) = read_answers(transport.value())
    assert [answer.get("role")] + [child.text for child in answer] == [
        "ack", "ivo://a.b.c/d#1", "ivo://test.observatory/broker", "2026-01-02T03:04:05Z"
    ]  # fmt: skip
    assert port.broadcast == [make_event("ivo://a.b.c/d#1")]
    assert transport.disconnecting
    close(author)
    port.reactor.advance(1)  # the log is quiet for so long
    assert not port.reactor.getDelayedCalls()
    assert len(port.factory.authors) == 0


def test_a_duplicate_is_refused_as_comet_does_and_not_broadcast_again(port: AuthorsPort) -> None:
    outcomes = []
    for packet in (make_event(), make_event(), make_event(importance=0.9)):
        author, transport = port.connect()
        author.dataReceived(frame(packet))
        port.reactor.advance(0)
        outcomes.append(only(transport))
    ivorn = "ivo://test.observatory/bursts#burst-1"
    assert outcomes == [
        ("ack", ivorn, ""),
        ("nak", ivorn, "Event rejected: Previously seen by this broker"),
        ("nak", ivorn, "Event rejected: conflicts with the event that is stored under this ivorn (number 1)"),
    ]
    assert port.broadcast == [make_event()]
    assert port.factory.intake.counts == {"new": 1, "duplicate": 1, "refused": 1, "failed": 0}


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "the packet is empty"),
        (b"garbage", "neither XML nor JSON"),
        (b"<a/>", "not a VOEvent"),
        (b"<VOEvent role='test'/>", "no ivorn"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "DOCTYPE"),
        (b"<a>" * 100 + b"</a>" * 100, "nested"),
        (b"<VOEvent ivorn='ivo://a.b.c/d#1' role='test'/>", "not a VOEvent 2.0"),
    ],
)
def test_bad_input_gets_a_reason(port: AuthorsPort, packet: bytes, reason: str) -> None:
    author, transport = port.connect()
    author.dataReceived(frame(packet))
    role, _, result = only(transport)
    assert role == "nak"
    assert reason in result
    assert transport.disconnecting
    assert port.store.events == 0


def test_a_failing_store_refuses_and_the_event_is_accepted_later(port: AuthorsPort) -> None:
    port.store.journal.limit_growth(0)
    packet = make_event(text="long " * 10_000)
    results = []
    for _ in range(2):
        author, transport = port.connect()
        author.dataReceived(frame(packet))
        port.reactor.advance(0)
        results.append(only(transport))
        port.store.journal.limit_growth(None)
    assert results[0][0] == "nak"
    assert "could not be stored, send it again" in results[0][2]
    assert "full" in results[0][2]
    assert results[1][0] == "ack"


def test_too_long_a_packet_is_told_so_and_not_buffered(port: AuthorsPort) -> None:
    author, transport = port.connect()
    author.dataReceived(b"\x7f\xff\xff\xff")
    for _ in range(100):
        author.dataReceived(b"x" * 10_000)
    role, _, result = only(transport)
    assert role == "nak"
    assert "2147483647 bytes; the limit is 99999 (its length comes first" in result
    assert port.factory.intake.counts["refused"] == 1
    assert len(author._unprocessed) < 100  # noqa: SLF001  Twisted's
    assert not transport.disconnecting, "the reason must reach the author first"
    port.reactor.advance(2)
    assert transport.aborting


@pytest.mark.parametrize("after", [frame(make_event("ivo://a.b.c/d#2")) + b"\x00", b"x" * 1000])
def test_only_the_first_event_of_a_connection_counts(port: AuthorsPort, after: bytes) -> None:
    author, transport = port.connect()
    author.dataReceived(frame(make_event("ivo://a.b.c/d#1")) + after)
    author.dataReceived(frame(make_event("ivo://a.b.c/d#3")))
    port.reactor.advance(0)
    assert only(transport)[:2] == ("ack", "ivo://a.b.c/d#1")
    assert port.store.events == 1


@pytest.mark.parametrize("bytes_a_second", [0, 1])
def test_an_author_has_twenty_seconds_in_all(port: AuthorsPort, bytes_a_second: int) -> None:
    author, transport = port.connect()
    data = frame(make_event())
    for second in range(19):
        author.dataReceived(data[second : second + bytes_a_second])
        port.reactor.advance(1)
    assert not transport.aborting
    port.reactor.advance(1.1)
    assert transport.aborting


def test_an_author_that_left_before_the_commit(port: AuthorsPort) -> None:
    author, transport = port.connect()
    author.dataReceived(frame(make_event()))
    close(author)
    port.reactor.advance(0)
    assert port.store.events == 1
    assert not transport.value()
    port.reactor.advance(1)
    assert not port.reactor.getDelayedCalls()


def test_an_author_waits_for_the_store_however_long(port: AuthorsPort) -> None:
    waiting: Deferred[Stored] = Deferred()
    port.store.store = lambda *_, **__: waiting  # type: ignore[method-assign]
    author, transport = port.connect()
    author.dataReceived(frame(make_event()))
    for _ in range(5):
        port.reactor.advance(15)
    assert not transport.aborting
    waiting.callback(Stored(True, 1))
    assert only(transport)[0] == "ack"
    port.reactor.advance(20.1)
    assert transport.aborting


def test_an_answer_that_nobody_reads_is_not_kept_for_ever(port: AuthorsPort) -> None:
    author, transport = port.connect()
    author.dataReceived(frame(make_event()))
    port.reactor.advance(0)
    assert not transport.aborting
    port.reactor.advance(20.1)
    assert transport.aborting


def test_the_longest_silent_author_makes_room(port: AuthorsPort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "MAX_AUTHORS", 2)
    busy = port.connect()
    busy[0].dataReceived(frame(make_event()))
    silent, third = port.connect(), port.connect()
    assert [one[1].aborting for one in (busy, silent, third)] == [False, True, False]
    port.reactor.advance(0)
    assert busy[1].value(), "an event that is being stored is answered"


@pytest.mark.parametrize(
    ("address", "welcome"),
    [
        (IPv4Address("TCP", "10.1.2.3", 1), True),
        (IPv4Address("TCP", "192.168.0.1", 1), False),
        (IPv6Address("TCP", "::1", 1), True),
        (IPv6Address("TCP", "::2", 1), False),
        (IPv6Address("TCP", "::ffff:10.0.0.1", 1), True),
        (object(), False),
    ],
)
def test_only_allowed_networks(port: AuthorsPort, address: Any, welcome: bool) -> None:
    assert (port.factory.buildProtocol(address) is not None) is welcome


def test_strangers_do_not_fill_the_log(port: AuthorsPort, logged: list[str]) -> None:
    for _ in range(300):
        assert port.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4242)) is None
    assert len(logged) == MAX_LINES
    for _ in range(MAX_PER_PEER + 300):
        author, _ = port.connect()
        author.dataReceived((2**31).to_bytes(4, "big"))
    assert len(logged) == 2 * MAX_LINES
