# mypy: disable-error-code="no-untyped-call,union-attr"
# (Twisted's in-memory transports are not typed.)
"""A known subscriber gets what it has missed while it was away."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from lxml import etree
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pyros.broker import replay as replay_module
from pyros.broker.intake import Intake
from pyros.broker.replay import Replay
from pyros.broker.store import EventStore
from pyros.broker.vtp.broadcaster import REPLAY_WINDOW, AlertBroadcasterFactory
from pyros.broker.vtp.protocol import frame, transport
from pyros.clock import VirtualClock
from tests.broker.conftest import kept_rows, make_event
from tests.builders import InlineReactor

BROKER, US = "ivo://test.observatory/broker", "ivo://other.observatory/subscriber"


class BroadcasterRig:
    """A broker's store and broadcaster on virtual time."""

    def __init__(self, reactor: InlineReactor, clock: VirtualClock, store: EventStore) -> None:
        self.reactor, self.clock, self.store = reactor, clock, store
        self.begin()

    def begin(self) -> None:
        self.replay = Replay(self.store)
        networks = [ip_network("10.0.0.0/8")]
        self.factory = AlertBroadcasterFactory(self.reactor, self.clock, BROKER, networks, self.replay)
        self.factory.doStart()
        self.intake = Intake(self.store, self.factory.broadcast)

    def end(self) -> None:
        self.factory.doStop()
        self.replay.close()

    def publish(self, *numbers: int) -> None:
        for number in numbers:
            importance = (number % 10) / 10
            packet = make_event(f"ivo://test.observatory/bursts#{number}", importance=importance)
            self.intake.receive(packet, "author", strict=True)
        self.reactor.advance(0)

    def connect(self, *filters: str, ivo: str = US, since: str = "") -> ReplayedSubscriber:
        return ReplayedSubscriber(self, filters, ivo, since)


class ReplayedSubscriber:
    def __init__(self, place: BroadcasterRig, filters: tuple[str, ...], ivo: str, since: str) -> None:
        address = IPv4Address("TCP", "10.0.0.9", 4242)
        self.place, self.protocol = place, place.factory.buildProtocol(address)
        self.line = StringTransport(peerAddress=address)
        self.protocol.makeConnection(self.line)
        hello = transport("authenticate", BROKER, place.clock.now(), response=ivo, filters=filters)
        if since:
            root = etree.fromstring(hello)
            meta = etree.SubElement(root, "Meta")
            etree.SubElement(meta, "Param", {"name": "replay-since", "value": since})
            hello = etree.tostring(root)
        self.say(hello)

    def say(self, packet: bytes) -> None:
        self.protocol.dataReceived(frame(packet))

    def got(self, *, acknowledge: bool = True) -> list[int]:
        """Return the numbers at the end of the ivorns of what has come, in order."""
        numbers: list[int] = []
        while True:
            self.place.reactor.advance(0)
            data = self.line.value()
            if not data:
                return numbers
            self.line.clear()
            while data:
                length = int.from_bytes(data[:4], "big")
                root = etree.fromstring(data[4 : 4 + length])
                data = data[4 + length :]
                if ivorn := root.get("ivorn"):
                    numbers.append(int(ivorn.rpartition("#")[2]))
                    if acknowledge:
                        self.say(transport("ack", ivorn, self.place.clock.now(), response=US))

    def leave(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def place(reactor: InlineReactor, clock: VirtualClock, store: EventStore) -> Iterator[BroadcasterRig]:
    store.start(lambda _: None)
    place = BroadcasterRig(reactor, clock, store)
    yield place
    place.end()


def test_what_it_missed_comes_and_nothing_else(place: BroadcasterRig) -> None:
    place.publish(1, 2)
    first = place.connect()
    assert first.got() == [], "it is not known yet"
    place.publish(3)
    assert first.got() == [3]
    place.publish(4)
    assert first.got(acknowledge=False) == [4]
    first.leave()
    place.publish(*range(5, 30))
    again = place.connect()
    place.publish(30)
    assert sorted(again.got()) == list(range(4, 31)), "4 was sent, but not acknowledged"
    again.leave()
    assert place.connect().got() == []
    assert place.connect(ivo="ivo://somebody.else/x").got() == []


def test_it_is_known_after_a_restart_of_the_broker(place: BroadcasterRig, reactor: InlineReactor) -> None:
    first = place.connect()
    place.publish(1)
    assert first.got() == [1]
    reactor.advance(5)  # positions are saved
    reactor.advance(1)
    place.end()
    place.begin()
    place.publish(2)
    assert place.connect().got() == [2]


def test_it_is_bounded(place: BroadcasterRig, monkeypatch: pytest.MonkeyPatch) -> None:
    place.connect().leave()
    place.publish(*range(1, 40))
    monkeypatch.setattr("pyros.broker.vtp.broadcaster.MAX_REPLAY", 20)
    assert place.connect().got() == list(range(20, 40))
    monkeypatch.setattr(replay_module, "MAX_KNOWN", 3)
    names = [f"ivo://x.y/{number}" for number in range(5)]
    for name in names:
        place.connect(ivo=name).leave()
    assert [name for name in (US, *names) if place.replay.position(name) is not None] == names[2:]


def test_who_was_here_last_is_not_forgotten_for_a_crowd(
    place: BroadcasterRig, reactor: InlineReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "MAX_KNOWN", 4)
    for number in range(3):
        place.connect(ivo=f"ivo://x.y/{number}").leave()
        reactor.advance(2)
    place.connect().leave()
    reactor.advance(2)
    place.end()
    place.begin()
    for number in range(3, 6):
        place.connect(ivo=f"ivo://x.y/{number}").leave()
        reactor.advance(2)
    place.publish(1)
    assert place.connect().got() == [1]
    reactor.advance(2)
    rows = kept_rows(place.store.journal, "SELECT ivo FROM subscribers ORDER BY ivo")
    assert [row[0] for row in rows] == [US, *(f"ivo://x.y/{number}" for number in range(3, 6))]


def test_who_does_not_acknowledge_gets_the_past_slowly_and_the_present_at_once(place: BroadcasterRig) -> None:
    place.connect().leave()
    place.publish(*range(1, 200))
    slow = place.connect()
    assert slow.got(acknowledge=False) == list(range(1, REPLAY_WINDOW + 1))
    place.publish(200)
    assert slow.got(acknowledge=False) == [200]
    slow.leave()
    assert sorted(place.connect().got()) == list(range(1, 201))


def test_filters_hold_for_the_past(place: BroadcasterRig) -> None:
    place.connect().leave()
    place.publish(*range(1, 30))
    assert place.connect("//Param[@name='importance' and @value > 0.75]").got() == [8, 9, 18, 19, 28, 29]


def test_on_request_from_a_time(place: BroadcasterRig, reactor: InlineReactor, clock: VirtualClock) -> None:
    place.publish(1, 2)
    reactor.advance(10)
    since = clock.now().isoformat()
    place.publish(3, 4)
    assert place.connect(since=since, ivo="ivo://somebody.new/x").got() == [3, 4]
    assert place.connect(since=since.replace("+00:00", ""), ivo="").got() == [3, 4]
    assert place.connect(since="2020-01-01", ivo="ivo://y.z/x").got() == [1, 2, 3, 4]
    assert place.connect(since="2030-01-01").got() == []
    assert place.connect(since="soon", ivo="ivo://y.z/y").got() == []


@pytest.mark.parametrize("ivo", ["", "x" * 1000, "a\u0007b"])
def test_strange_names_are_not_remembered(place: BroadcasterRig, ivo: Any) -> None:
    subscriber = place.connect(ivo=ivo.replace("\u0007", ""))
    subscriber.protocol.ivo = ivo
    place.publish(1)
    subscriber.leave()
    assert place.replay.position(ivo) is None
