# mypy: disable-error-code="no-untyped-call,union-attr"
# (Twisted's in-memory transports are not typed.)
"""The subscribers' port, on in-memory transports."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from pyros.broker.packet import parse
from pyros.broker.vtp import broadcaster as broadcaster_module
from pyros.broker.vtp.broadcaster import MAX_BACKLOG, AlertBroadcaster, AlertBroadcasterFactory
from pyros.broker.vtp.filtering import Job
from pyros.broker.vtp.protocol import MAX_CHATTER, frame, transport
from pyros.clock import VirtualClock
from pyros.line_limit import MAX_LINES
from tests.broker.conftest import make_event, read_answers
from tests.builders import InlineReactor, MemoryLine

IVO = "ivo://test.observatory/broker"


@pytest.fixture
def factory(reactor: InlineReactor, clock: VirtualClock) -> Any:
    factory = AlertBroadcasterFactory(reactor, clock, IVO, [ip_network("10.0.0.0/8")])
    factory.doStart()
    yield factory
    factory.doStop()
    assert not [call for call in reactor.getDelayedCalls() if call.getTime() - reactor.seconds() <= 60]


def connect(factory: AlertBroadcasterFactory) -> tuple[AlertBroadcaster, MemoryLine]:
    address = IPv4Address("TCP", "10.0.0.9", 4242)
    subscriber = factory.buildProtocol(address)
    assert isinstance(subscriber, AlertBroadcaster)
    line = MemoryLine(peerAddress=address)
    subscriber.makeConnection(line)
    return subscriber, line


def say(subscriber: AlertBroadcaster, clock: VirtualClock, role: str, *filters: str) -> None:
    subscriber.dataReceived(frame(transport(role, IVO, clock.now(), response="ivo://other/one", filters=filters)))


def send(factory: AlertBroadcasterFactory, packet: bytes) -> None:
    factory.broadcast(packet, parse(packet), 1)


def test_events_go_to_those_whose_filters_they_pass(factory: AlertBroadcasterFactory, clock: VirtualClock) -> None:
    lines = []
    for filters in [(), ("//Param[@value > 0.4]",), ("//Param[@value > 0.6]",), ("//*[", "//Param[@value > 0.6]")]:
        subscriber, line = connect(factory)
        say(subscriber, clock, "authenticate", *filters)
        (greeting,) = read_answers(line.value())
        assert greeting.get("role") == "authenticate"
        assert greeting.findtext("Origin") == IVO
        line.clear()
        lines.append(line)
    send(factory, make_event())
    assert [line.value() == frame(make_event()) for line in lines] == [True, True, False, False]
    assert all(frame(make_event()) == line.value() or not line.value() for line in lines)


def test_old_style_filters_and_bad_ones(factory: AlertBroadcasterFactory) -> None:
    subscriber, line = connect(factory)
    text = '<t:Transport xmlns:t="x" role="authenticate"><Meta>'
    text += '<filter type="xpath">//Nothing</filter></Meta></t:Transport>'
    subscriber.dataReceived(frame(text.encode()))
    line.clear()
    send(factory, make_event())
    assert not line.value()
    subscriber.dataReceived(frame(text.replace("//Nothing", "//*[//*[//*]]").encode()))
    assert not subscriber.filters
    subscriber.dataReceived(
        frame(text.replace("</Meta>", '<Param name="xpath-filter" value="a"/>' * 17 + "</Meta>").encode())
    )
    assert line.aborting


def test_one_that_answers_stays_and_one_that_does_not_is_cut_off(
    factory: AlertBroadcasterFactory, reactor: InlineReactor, clock: VirtualClock
) -> None:
    (good, good_line), (_, bad_line) = connect(factory), connect(factory)
    for _ in range(10):
        reactor.advance(60)
        say(good, clock, "iamalive")
    assert [answer.get("role") for answer in read_answers(good_line.value())] == ["authenticate"] + ["iamalive"] * 10
    assert [answer.get("role") for answer in read_answers(bad_line.value())] == ["authenticate"] + ["iamalive"] * 3
    assert not good_line.aborting
    assert bad_line.aborting
    assert len(factory.broadcasters) == 1


def test_one_that_never_acknowledges_is_cut_off_late(
    factory: AlertBroadcasterFactory, reactor: InlineReactor, clock: VirtualClock
) -> None:
    (lazy, lazy_line), (late, late_line) = connect(factory), connect(factory)
    for number in range(1200):
        send(factory, make_event(f"ivo://a.b.c/d#{number}"))
    for minute in range(5):
        assert lazy_line.aborting is (minute > 3)
        reactor.advance(60)
        say(late, clock, "ack")
        for subscriber, line in ((lazy, lazy_line), (late, late_line)):
            if not line.aborting:
                say(subscriber, clock, "iamalive")
    assert not late_line.aborting


def test_one_that_never_reads_is_cut_off(factory: AlertBroadcasterFactory) -> None:
    (slow, slow_line), (_, line) = connect(factory), connect(factory)
    assert slow_line.producer is not None
    slow_line.producer.pauseProducing()  # what a TCP transport does when its buffer is over 64 KiB
    packet = make_event(text="x" * 90_000)
    sent = 0
    while not slow_line.aborting:
        send(factory, packet)
        sent += 1
        assert sent < 100
        line.clear()
    assert MAX_BACKLOG - len(packet) < len(slow_line.value()) <= MAX_BACKLOG + len(packet)
    assert not line.aborting
    del slow


def test_one_that_catches_up_stays(factory: AlertBroadcasterFactory) -> None:
    _, line = connect(factory)
    packet = make_event(text="x" * 90_000)
    for _ in range(5):
        assert line.producer is not None
        line.producer.pauseProducing()
        for _ in range(40):
            send(factory, packet)
        line.producer.resumeProducing()
        line.clear()
    assert not line.aborting


class Waiting:
    """Answers jobs when a test says so."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def ask(self, job: Job, _: object) -> None:
        self.jobs.append(job)

    def condemned(self, text: str) -> str:
        return "took more than 0.25 s for one event: //Costly" if text == "//Costly" else ""

    def close(self) -> Deferred[None]:
        raise AssertionError


def test_who_filters_waits_and_nobody_else_does(factory: AlertBroadcasterFactory, clock: VirtualClock) -> None:
    factory.filtering = waiting = Waiting()
    (filtered, filtered_line), (_, line) = connect(factory), connect(factory)
    say(filtered, clock, "authenticate", "//Param")
    before = len(filtered_line.value())
    for number in (1, 2):
        factory.broadcast(make_event(), parse(make_event()), number)
    assert line.value().endswith(frame(make_event()) * 2)
    assert len(filtered_line.value()) == before
    assert filtered.position == 0, "after a crash it gets them again"
    for job in waiting.jobs:
        job.answered(job.number == 2)
    assert filtered_line.value()[before:] == frame(make_event())
    assert filtered.status()["unacknowledged"] == 1


def test_a_filter_that_became_too_costly_is_told(factory: AlertBroadcasterFactory, clock: VirtualClock) -> None:
    factory.filtering = waiting = Waiting()
    subscriber, line = connect(factory)
    say(subscriber, clock, "authenticate", "//Param", "//Costly")
    send(factory, make_event())
    (job,) = waiting.jobs
    (filter_,) = job.filters
    job.refused(filter_, "took more than 0.25 s for one event: //Param")
    told = subscriber.status()["refused_filters"]
    assert told == [f"took more than 0.25 s for one event: //{name}" for name in ("Costly", "Param")]
    assert not line.aborting


def test_events_that_wait_for_slow_filters_are_bounded(factory: AlertBroadcasterFactory, clock: VirtualClock) -> None:
    factory.filtering = Waiting()
    subscriber, line = connect(factory)
    say(subscriber, clock, "authenticate", "//Param")
    packet = make_event(text="x" * 90_000)
    for number in range(MAX_BACKLOG // len(packet)):
        factory.broadcast(packet, parse(packet), number)
    assert not line.aborting
    factory.broadcast(packet, parse(packet), 1000)
    assert line.aborting


def test_chatter_for_ever_costs_the_connection_and_acknowledgements_do_not(
    factory: AlertBroadcasterFactory, clock: VirtualClock
) -> None:
    subscriber, line = connect(factory)
    odd = b"<t:Transport xmlns:t='x' role='ack'><Meta/><Origin>ivo://a/b#1</Origin></t:Transport>"
    subscriber.dataReceived(frame(odd) * (2 * MAX_CHATTER))
    for role in ("ack", *["iamalive", "whatever"] * (MAX_CHATTER // 2)):
        say(subscriber, clock, role)
    assert not line.aborting
    say(subscriber, clock, "authenticate")
    assert line.aborting


def test_a_filter_that_is_not_taken_is_shown_with_its_reason(
    factory: AlertBroadcasterFactory, clock: VirtualClock
) -> None:
    subscriber, _ = connect(factory)
    say(subscriber, clock, "authenticate", "//*[", "//Who")
    status = subscriber.status()
    assert status["filters"] == ["//Who"]
    (reason,) = status["refused_filters"]
    assert reason.startswith("not an XPath (")
    assert reason.endswith(": //*[")


@pytest.mark.parametrize(
    "data",
    [
        frame(b"garbage"),
        frame(b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'),
        b"\x7f\xff\xff\xff",
    ],
)
def test_garbage_closes_the_connection(factory: AlertBroadcasterFactory, data: bytes) -> None:
    subscriber, line = connect(factory)
    subscriber.dataReceived(data)
    assert line.aborting
    assert len(factory.broadcasters) == 0


def test_a_refusal_removes_a_subscriber_and_nonsense_does_not(
    factory: AlertBroadcasterFactory, clock: VirtualClock
) -> None:
    subscriber, line = connect(factory)
    subscriber.dataReceived(frame(make_event()))
    say(subscriber, clock, "whatever")
    assert not line.aborting
    say(subscriber, clock, "nak")
    assert line.aborting


def test_networks_and_numbers_are_limited(factory: AlertBroadcasterFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert factory.buildProtocol(IPv4Address("TCP", "192.168.0.1", 1)) is None
    monkeypatch.setattr(broadcaster_module, "MAX_SUBSCRIBERS", 2)
    assert [connect(factory)[1].aborting for _ in range(3)] == [False, False, True]


def test_strangers_do_not_fill_the_log(factory: AlertBroadcasterFactory, logged: list[str]) -> None:
    for _ in range(300):
        assert factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4242)) is None
    assert len(logged) == MAX_LINES
    for _ in range(300):
        subscriber, _ = connect(factory)
        subscriber.connectionLost(Failure(ConnectionDone()))
    assert len(logged) == 2 * MAX_LINES
