# mypy: disable-error-code="no-untyped-call,union-attr"
# (Twisted's in-memory transports are not typed.)
"""What VTP cannot carry reaches a second observatory as it came: JSON, Avro, text, and long VOEvents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from pyros.broker.intake import Intake
from pyros.broker.store import EventStore
from pyros.broker.vtp import carried
from pyros.broker.vtp.broadcaster import MAX_CARRIERS
from pyros.broker.vtp.protocol import frame, transport
from pyros.broker.vtp.subscriber import RemoteFactory
from pyros.clock import VirtualClock
from tests.broker.conftest import kept_rows, make_event, outcome
from tests.broker.test_broker_replay import BROKER, US, BroadcasterRig
from tests.builders import InlineReactor, MemoryLine

TOPIC = "gcn.notices.einstein_probe.wxt.alert"
NOTICE = json.dumps({"instrument": "WXT", "trigger_time": "2026-01-02T03:04:05Z", "ra": 1.5, "dec": 2.5}).encode()
MAP = json.dumps({"superevent_id": "S260102a", "event": {"skymap": "A" * 3_000_000}}).encode()
LONG = make_event("ivo://test.observatory/bursts#long", text="long " * 30_000)
PLAIN = make_event("ivo://test.observatory/bursts#1")


class Second:
    """A second observatory's broker, whose subscription is connected to the first one's port."""

    def __init__(self, place: BroadcasterRig, folder: Path, filters: tuple[str, ...] = ()) -> None:
        self.place = place
        self.store = EventStore(
            place.reactor, place.clock, folder / "second.sqlite", threaded=False, durable=False, epoch="second"
        )
        self.store.start(lambda _: None)
        self.factory = RemoteFactory(
            place.reactor, place.clock, US, Intake(self.store, lambda *_: None), "broker first", filters
        )

    def connect(self) -> None:
        address = IPv4Address("TCP", "10.0.0.9", 4242)
        self.ours, self.theirs = self.factory.buildProtocol(None), self.place.factory.buildProtocol(address)
        self.line, self.other = MemoryLine(peerAddress=address), MemoryLine(peerAddress=address)
        self.ours.makeConnection(self.line)
        self.theirs.makeConnection(self.other)
        self.settle()

    def settle(self) -> None:
        """Carry what each says to the other until neither says more."""
        for _ in range(20):
            for line, peer in ((self.line, self.theirs), (self.other, self.ours)):
                data = line.value()
                line.clear()
                if data:
                    peer.dataReceived(data)
            self.place.reactor.advance(0)

    def leave(self) -> None:
        for each in (self.ours, self.theirs):
            each.connectionLost(Failure(ConnectionDone()))

    def kept(self) -> list[tuple[bytes, str]]:
        return [tuple(row) for row in kept_rows(self.store.journal, "SELECT packet, topic FROM events ORDER BY number")]

    def close(self) -> None:
        outcome(self.store.stop())
        self.store.close()


class First(BroadcasterRig):
    """The first observatory's broker."""

    def begin(self) -> None:
        super().begin()
        self.intake = Intake(self.store, self.factory.broadcast, self.factory.carry)

    def take(self, *packets: tuple[bytes, str]) -> None:
        for packet, topic in packets:
            self.intake.receive(packet, "kafka", strict=False, topic=topic)
        self.reactor.advance(0)


@pytest.fixture
def first(reactor: InlineReactor, clock: VirtualClock, store: EventStore) -> Iterator[First]:
    store.start(lambda _: None)
    made = First(reactor, clock, store)
    yield made
    made.end()


@pytest.fixture
def second(first: First, tmp_path: Path) -> Iterator[Second]:
    made = Second(first, tmp_path)
    yield made
    made.close()


PACKETS = [(NOTICE, TOPIC), (PLAIN, ""), (MAP, "igwn.gwalert"), (LONG, ""), (b"Obj\x01 avro", "snews.alert-test")]


def test_packets_of_every_form_come_as_they_came(first: First, second: Second) -> None:
    second.connect()
    for each in PACKETS:
        first.take(each)
        second.settle()
    assert second.kept() == PACKETS
    assert not second.theirs.unanswered, "each is acknowledged"
    first.take(*PACKETS)
    second.settle()
    assert len(second.kept()) == len(PACKETS)


def test_who_was_away_gets_what_it_missed(first: First, second: Second) -> None:
    second.connect()
    second.leave()
    first.take(*PACKETS)
    second.connect()
    second.settle()
    assert second.kept() == PACKETS


def test_who_does_not_ask_gets_voevents_alone(first: First, tmp_path: Path) -> None:
    comet = first.connect(ivo="ivo://comet/subscriber")
    first.take(*PACKETS)
    assert comet.got() == [1]


def test_a_filter_is_about_voevents(first: First, tmp_path: Path) -> None:
    with closing(Second(first, tmp_path, ("//Param[@name='importance']",))) as second:
        second.connect()
        first.take(*PACKETS)
        second.settle()
        assert second.kept() == [(PLAIN, "")]


def test_only_some_get_what_needs_so_much_memory(first: First) -> None:
    def ask(number: int) -> Any:
        protocol = first.factory.buildProtocol(IPv4Address("TCP", f"10.0.1.{number}", 4242))
        protocol.makeConnection(MemoryLine(peerAddress=IPv4Address("TCP", f"10.0.1.{number}", 4242)))
        hello = transport(
            "authenticate", BROKER, first.clock.now(), response=f"ivo://a/{number}", asks=(carried.PARAM,)
        )
        protocol.dataReceived(frame(hello))
        return protocol

    asked = [ask(number) for number in range(MAX_CARRIERS + 1)]
    assert [each.carries for each in asked] == [True] * MAX_CARRIERS + [False]


@pytest.mark.parametrize(
    "data", [b"no line end", b"top\x01ic\n{}", b"t" * 300 + b"\n{}", "thème\n{}".encode(), b"\n", b"\nneither form"]
)
def test_what_is_no_packet_is_not_kept(first: First, second: Second, data: bytes) -> None:
    second.connect()
    second.ours.dataReceived(frame(carried.wrap(b"", "")[:-1] + data))
    second.settle()
    assert second.kept() == []
    assert second.ours.garbage == 1


def test_a_long_packet_without_the_mark_drops_the_connection(first: First, second: Second) -> None:
    second.connect()
    second.ours.dataReceived(frame(LONG))
    assert second.line.aborting


def test_the_question_is_a_param_that_others_pass_over(clock: VirtualClock) -> None:
    root = etree.fromstring(transport("authenticate", BROKER, clock.now(), response=US, asks=(carried.PARAM,)))
    assert carried.is_asked_for(root)
    assert root.findall("Meta/Param[@name='xpath-filter']") == []
