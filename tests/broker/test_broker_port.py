# mypy: disable-error-code="no-untyped-call,union-attr"
# (Twisted's in-memory transports are not typed.)
"""The broker's own port, on in-memory transports: what is asked or published for ever, and never read."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from twisted.internet.address import IPv4Address

from pyros import messages, wire
from pyros.broker import port as broker_port
from pyros.broker.port import BrokerConnection, BrokerPort
from pyros.config import AgentConfig
from pyros.errors import JournalError
from pyros.line_limit import MAX_LINES
from pyros.messages import Publish, encode_payload
from pyros.sender.handshake import SenderHandshake
from pyros.sender.inbound_tls import PortTls
from tests.builders import InlineReactor, MemoryLine

KEY = b"k" * 32
QUERY = wire.encode_frame(wire.Frame(query="status"))


class CountingPort:
    """A port whose status is counted and whose publishing always succeeds at once."""

    def __init__(self, reactor: InlineReactor) -> None:
        self.statuses, self.published = 0, list[bytes]()
        networks = [ip_network("10.0.0.0/8")]
        self.factory = BrokerPort(
            reactor,
            networks,
            self.status,
            self.publish,
            KEY,
            ["alert_manager"],
            PortTls(AgentConfig("broker", "127.0.0.1", 1, "", dangerous=True)),
        )
        self.protocols: list[Any] = []
        self.broken = False

    def status(self) -> dict[str, Any]:
        self.statuses += 1
        if self.broken:
            raise JournalError("broker.sqlite: cannot be read")
        return {"up": True}

    async def publish(self, packet: bytes, _: str) -> str | None:
        self.published.append(packet)
        return None

    def connect(self) -> tuple[BrokerConnection, MemoryLine]:
        address = IPv4Address("TCP", "10.0.0.9", 4242)
        protocol = self.factory.buildProtocol(address)
        assert isinstance(protocol, BrokerConnection)
        line = MemoryLine(peerAddress=address)
        protocol.makeConnection(line)
        self.protocols.append(protocol)
        return protocol, line


@pytest.fixture
def asked(reactor: InlineReactor) -> Iterator[CountingPort]:
    made = CountingPort(reactor)
    yield made
    for protocol in made.protocols:
        protocol.connectionLost()
    assert not reactor.getDelayedCalls()


def greet(protocol: BrokerConnection, line: MemoryLine) -> None:
    """Say hello and prove the key, as the alert manager does."""
    handshake = SenderHandshake("alert_manager", "broker", "epoch", KEY)
    protocol.dataReceived(wire.encode_frame(wire.Frame(hello=handshake.hello)))
    (asked,) = wire.Decoder(frames=True).feed(line.value())
    assert isinstance(asked, wire.Frame)
    assert asked.challenge
    protocol.dataReceived(wire.encode_frame(handshake.prove(asked.challenge, 0.0)))


def publish(seq: int) -> bytes:
    payload = msgspec.Raw(encode_payload(messages.PUBLISH, Publish(b"%d" % seq)))
    return wire.encode_frame(wire.Frame(messages=[wire.Entry(seq, f"id-{seq}", messages.PUBLISH, 0.0, payload)]))


def test_one_question_a_connection(asked: CountingPort) -> None:
    protocol, line = asked.connect()
    protocol.dataReceived(QUERY * 100)
    protocol.dataReceived(QUERY)
    assert asked.statuses == 1
    assert line.disconnecting
    assert line.producer is None, "or it would wait for the producer"
    protocol, line = asked.connect()
    greet(protocol, line)
    protocol.dataReceived(QUERY)
    assert asked.statuses == 1
    assert b"answers one query" in line.value()


def test_who_has_not_proved_the_key_has_the_time_of_a_question(asked: CountingPort, reactor: InlineReactor) -> None:
    hello = wire.encode_frame(wire.Frame(hello=wire.Hello(protocol=1, sender="anybody", to="broker", epoch="e")))
    strange, known = asked.connect(), asked.connect()
    strange[0].dataReceived(hello)
    assert b"welcome" in strange[1].value()
    greet(*known)
    reactor.advance(broker_port.TIMEOUT - 1)
    strange[0].dataReceived(publish(1)[:3])
    assert not strange[1].aborting
    reactor.advance(1.1)
    assert strange[1].aborting
    assert not known[1].aborting


def test_strangers_keep_no_agent_out(asked: CountingPort) -> None:
    strangers = [asked.connect() for _ in range(broker_port.MAX_ASKING)]
    agent = asked.connect()
    greet(*agent)
    assert [line.aborting for _, line in strangers[:2]] == [True, False]
    for _ in range(broker_port.MAX_ASKING):
        asked.connect()
    assert len(asked.factory.asking) == broker_port.MAX_ASKING
    agent[0].dataReceived(publish(1))
    assert (asked.published, agent[1].aborting) == ([b"1"], False)


def test_strangers_do_not_fill_the_log(asked: CountingPort, logged: list[str]) -> None:
    for _ in range(300):
        assert asked.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4242)) is None
    assert len(logged) == MAX_LINES


def test_a_journal_that_cannot_be_read_is_told(asked: CountingPort) -> None:
    asked.broken = True
    protocol, line = asked.connect()
    protocol.dataReceived(QUERY)
    (said,) = wire.Decoder(frames=True).feed(line.value())
    assert isinstance(said, wire.Frame)
    assert said.error == "broker.sqlite: cannot be read"
    assert line.disconnecting


def test_an_agent_that_reads_no_answers_is_not_read_either(asked: CountingPort) -> None:
    protocol, line = asked.connect()
    greet(protocol, line)
    protocol.dataReceived(publish(1))
    assert (asked.published, line.producerState) == ([b"1"], "producing")
    line.producer.pauseProducing()  # what a transport does when its buffer is full
    protocol.dataReceived(publish(2))
    assert line.producerState == "paused"
    line.producer.resumeProducing()
    assert (asked.published, line.producerState) == ([b"1", b"2"], "producing")
