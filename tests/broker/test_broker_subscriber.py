# mypy: disable-error-code="no-untyped-call,union-attr"
# (Twisted's in-memory transports are not typed.)
"""Our subscription to another broker, on in-memory transports."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from pyros.broker.intake import Intake
from pyros.broker.store import EventStore
from pyros.broker.vtp.protocol import MAX_CHATTER, frame, transport
from pyros.broker.vtp.subscriber import MAX_GARBAGE, MAX_PENDING, RemoteFactory, RemoteSubscriber, RemoteSubscription
from pyros.clock import VirtualClock
from pyros.config import RemoteConfig
from tests.broker.conftest import kept_rows, make_event, read_answers
from tests.builders import InlineReactor, MemoryLine

IVO = "ivo://test.observatory/broker"


@pytest.fixture
def intake(store: EventStore) -> Intake:
    store.start(lambda _: None)
    return Intake(store, lambda *_: None)


@pytest.fixture
def factory(reactor: InlineReactor, clock: VirtualClock, intake: Intake) -> RemoteFactory:
    return RemoteFactory(reactor, clock, IVO, intake, "broker voevents.org:8099")


def connect(factory: RemoteFactory) -> tuple[RemoteSubscriber, MemoryLine]:
    subscriber = factory.buildProtocol(None)
    line = MemoryLine(peerAddress=IPv4Address("TCP", "10.0.0.9", 8099))
    subscriber.makeConnection(line)
    return subscriber, line


def test_it_answers_the_remote_broker(factory: RemoteFactory, clock: VirtualClock) -> None:
    subscriber, line = connect(factory)
    for role in ("authenticate", "iamalive", "whatever"):
        subscriber.dataReceived(frame(transport(role, "ivo://remote/broker", clock.now())))
    found = [(a.get("role"), a.findtext("Origin"), a.findtext("Response")) for a in read_answers(line.value())]
    assert found == [(role, "ivo://remote/broker", IVO) for role in ("authenticate", "iamalive")]


def test_events_are_stored_then_acknowledged_duplicates_too(
    factory: RemoteFactory, reactor: InlineReactor, store: EventStore
) -> None:
    subscriber, line = connect(factory)
    off_schema = make_event("ivo://gecam/alerts#1").replace(b"<Param ", b'<Param datatype="int" ')
    for packet in (
        make_event(),
        make_event(),
        make_event(importance=0.9),
        off_schema,
        b"garbage",
        b"<VOEvent role='test'/>",
    ):
        subscriber.dataReceived(frame(packet))
    assert not line.value()
    reactor.advance(0)
    ivorn = "ivo://test.observatory/bursts#burst-1"
    found = [(answer.get("role"), answer.findtext("Origin")) for answer in read_answers(line.value())]
    assert found == [("ack", ivorn), ("ack", ivorn), ("ack", ivorn), ("ack", "ivo://gecam/alerts#1")]
    assert store.events == 2
    assert not line.aborting
    assert kept_rows(store.journal, "SELECT DISTINCT source FROM events") == [("broker voevents.org:8099",)]


def test_what_is_not_stored_is_not_acknowledged(
    factory: RemoteFactory, reactor: InlineReactor, store: EventStore
) -> None:
    store.journal.limit_growth(0)
    subscriber, line = connect(factory)
    subscriber.dataReceived(frame(make_event(text="long " * 10_000)))
    reactor.advance(0)
    assert line.aborting
    assert not line.value()
    store.journal.limit_growth(None)


def test_a_flood_is_held_back(factory: RemoteFactory, reactor: InlineReactor, store: EventStore) -> None:
    subscriber, line = connect(factory)
    packets = [make_event(f"ivo://a.b.c/d#{number}") for number in range(200)]
    subscriber.dataReceived(b"".join(map(frame, packets)))
    assert subscriber.pending == MAX_PENDING
    assert line.producerState == "paused"
    for _ in range(10):
        reactor.advance(0)
    assert line.producerState == "producing"
    assert store.events == 200
    assert len(read_answers(line.value())) == 200


def test_silence_and_nonsense_drop_the_connection(factory: RemoteFactory, reactor: InlineReactor) -> None:
    _, line = connect(factory)
    reactor.advance(181)
    assert line.aborting
    subscriber, line = connect(factory)
    subscriber.dataReceived(b"\x7f\xff\xff\xff")
    subscriber.dataReceived(b"x" * 1000)
    assert line.aborting


def test_it_asks_for_what_it_wants(reactor: InlineReactor, clock: VirtualClock, intake: Intake) -> None:
    filters = ('//Param[@name="a & b"]', "/*[@role='test']")
    subscriber, line = connect(RemoteFactory(reactor, clock, IVO, intake, "broker a:8099", filters))
    subscriber.dataReceived(frame(transport("authenticate", "ivo://remote/broker", clock.now())))
    (answer,) = read_answers(line.value())
    assert [param.get("value") for param in answer.iterfind("Meta/Param[@name='xpath-filter']")] == list(filters)


def test_nonsense_in_xml_and_chatter_for_ever_are_garbage(
    factory: RemoteFactory, reactor: InlineReactor, clock: VirtualClock
) -> None:
    for nonsense in (b"<html/>", transport("whatever", "x", clock.now()), b"<VOEvent role='test'/>"):
        subscriber, line = connect(factory)
        for number in range(MAX_GARBAGE):
            assert not line.aborting, number
            subscriber.dataReceived(frame(nonsense))
            reactor.advance(0)
        assert line.aborting
        assert "nothing that a broker says" in factory.trouble
    subscriber, line = connect(factory)
    alive = frame(transport("iamalive", "ivo://remote/broker", clock.now()))
    for _ in range(5):
        subscriber.dataReceived(alive * MAX_CHATTER)
        assert not line.aborting
        reactor.advance(61)
    subscriber.dataReceived(alive * (MAX_CHATTER + 1))
    assert line.aborting
    assert len(read_answers(line.value())) == 6 * MAX_CHATTER


def test_a_broker_that_reads_no_answers_is_not_read_either(
    factory: RemoteFactory, reactor: InlineReactor, store: EventStore
) -> None:
    subscriber, line = connect(factory)
    line.producer.pauseProducing()  # what a transport does when its buffer is full
    subscriber.dataReceived(frame(make_event()) + frame(make_event("ivo://x.y/z#1")))
    assert line.producerState == "paused"
    subscriber.hold("events")
    subscriber.go_on("events")
    assert line.producerState == "paused"
    reactor.advance(0)
    assert store.events == 0
    line.producer.resumeProducing()
    assert line.producerState == "producing"
    reactor.advance(0)
    assert store.events == 2


def test_garbage_for_ever_is_asked_for_ever_more_rarely(
    reactor: InlineReactor, clock: VirtualClock, intake: Intake
) -> None:
    remote = RemoteSubscription(reactor, clock, IVO, intake, RemoteConfig("127.0.0.1"))
    remote.startService()
    waited = []

    def one_connection(*said: bytes) -> None:
        count = len(reactor.tcpClients)
        protocol = reactor.tcpClients[-1][2].buildProtocol(IPv4Address("TCP", "127.0.0.1", 8099))
        line = MemoryLine()
        protocol.makeConnection(line)
        sent = 0
        while not line.aborting and sent < 100:
            for packet in said:
                protocol.dataReceived(frame(packet))
            sent += 1
        assert sent == (MAX_GARBAGE if b"garbage" in said else 100)
        protocol.connectionLost(Failure(ConnectionDone()))
        seconds = 0
        while len(reactor.tcpClients) == count:
            reactor.advance(1)
            seconds += 1
        waited.append(seconds)

    for _ in range(7):
        one_connection(b"garbage")
    alive = transport("iamalive", "ivo://remote/broker", clock.now())
    one_connection(b"garbage", alive)
    assert remote.status()["trouble"] == f"{MAX_GARBAGE} packets of it were nothing that a broker says"
    one_connection(alive)
    assert waited == [1, 2, 4, 8, 15, 30, 30, 30, 1]
    assert remote.status()["trouble"] == ""


def test_it_reconnects_for_ever_and_stops(
    reactor: InlineReactor, clock: VirtualClock, intake: Intake, store: EventStore
) -> None:
    remote = RemoteSubscription(reactor, clock, IVO, intake, RemoteConfig("127.0.0.1"))
    remote.startService()
    for attempt in range(1, 20):
        assert len(reactor.tcpClients) == attempt
        host, port, wrapper = reactor.tcpClients[-1][:3]
        assert (host, port) == ("127.0.0.1", 8099)
        connector = reactor.connectors[-1]
        connector.stopConnecting()
        wrapper.clientConnectionFailed(connector, Failure(ConnectionDone()))
        reactor.advance(30)
    assert not remote.status()["connected"]
    wrapper = reactor.tcpClients[-1][2]
    protocol = wrapper.buildProtocol(IPv4Address("TCP", "127.0.0.1", 8099))
    line = MemoryLine()
    protocol.makeConnection(line)
    assert remote.status()["connected"]
    protocol.dataReceived(frame(make_event()))
    reactor.advance(0)
    assert store.events == 1
    stopped = remote.stopService()
    assert line.disconnecting
    protocol.connectionLost(Failure(ConnectionDone()))
    assert stopped is not None
    assert stopped.called
    assert not remote.status()["connected"]
