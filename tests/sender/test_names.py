"""Names of computers: asked at each attempt, and remembered for when nobody answers."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from pyros.config import Address
from pyros.sender.endpoints import client_endpoint
from tests.builders import InlineReactor

THERE = Address("dome.example.org", 5010)


@implementer(IHostnameResolver)
class NameServer:
    """Answers when a test says so."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def resolveHostName(
        self, receiver: Any, name: str, port: int = 0, types: object = None, transport: str = "TCP"
    ) -> Any:
        assert name == THERE.host
        self.asked.append(receiver)
        receiver.resolutionBegan(receiver)
        return receiver

    def answer(self, *addresses: str) -> None:
        """Answer the oldest question; none: nobody knows."""
        receiver = self.asked.pop(0)
        for address in addresses:
            receiver.addressResolved(IPv4Address("TCP", address, 0))
        receiver.resolutionComplete()


class Trying:
    """A reactor of its own, and the attempts to connect that are made with it."""

    def __init__(self) -> None:
        self.reactor: Any = InlineReactor()
        self.names = NameServer()
        self.reactor.installNameResolver(self.names)

    def attempt(self) -> Any:
        made = client_endpoint(self.reactor, THERE, 4.0).connect(Factory.forProtocol(Protocol))
        made.addErrback(lambda _: None)
        return made

    def gone_to(self) -> list[str]:
        """Where connections were begun since this was asked last."""
        clients, self.reactor.tcpClients[:] = list(self.reactor.tcpClients), []
        assert {port for _, port, *_ in clients} <= {THERE.port}
        return [host for host, *_ in clients]


@pytest.fixture
def trying() -> Trying:
    return Trying()


def found_before(trying: Trying, *addresses: str) -> None:
    made = trying.attempt()
    trying.names.answer(*addresses)
    trying.reactor.advance(0)
    trying.gone_to()
    made.cancel()


def test_a_name_is_asked_at_each_attempt(trying: Trying) -> None:
    for address in ("192.0.2.1", "192.0.2.2"):
        made = trying.attempt()
        assert trying.gone_to() == []
        trying.names.answer(address)
        assert trying.gone_to() == [address]
        made.cancel()


def test_without_an_answer_it_is_tried_where_it_was(trying: Trying) -> None:
    found_before(trying, "192.0.2.1")
    trying.attempt()
    trying.reactor.advance(0.9)
    assert trying.gone_to() == []
    trying.reactor.advance(0.2)
    assert trying.gone_to() == ["192.0.2.1"]


def test_while_an_answer_is_overdue_nobody_waits_for_it_nor_asks_again(trying: Trying) -> None:
    found_before(trying, "192.0.2.1")
    trying.attempt().cancel()
    trying.reactor.advance(5.0)
    trying.gone_to()
    trying.attempt()
    trying.reactor.advance(0)
    assert trying.gone_to() == ["192.0.2.1"]
    assert len(trying.names.asked) == 1


def test_a_late_answer_counts_from_the_next_attempt_on(trying: Trying) -> None:
    found_before(trying, "192.0.2.1")
    trying.attempt().cancel()
    trying.reactor.advance(1.5)
    trying.gone_to()
    trying.names.answer("192.0.2.2")
    trying.attempt()
    trying.reactor.advance(1.1)
    assert trying.gone_to() == ["192.0.2.2"]


def test_where_nobody_knows_the_name_any_more_it_is_tried_where_it_was(trying: Trying) -> None:
    found_before(trying, "192.0.2.1")
    trying.attempt()
    trying.names.answer()
    assert trying.gone_to() == ["192.0.2.1"]


def test_a_name_that_was_never_found_is_waited_for(trying: Trying) -> None:
    ends: list[Any] = []
    client_endpoint(trying.reactor, THERE, 4.0).connect(Factory.forProtocol(Protocol)).addErrback(ends.append)
    trying.reactor.advance(60.0)
    assert (trying.gone_to(), ends) == ([], [])
    trying.names.answer()
    assert [type(end.value).__name__ for end in ends] == ["DNSLookupError"]


def test_all_that_wait_hear_the_answer(trying: Trying) -> None:
    trying.attempt()
    trying.attempt()
    trying.names.answer("192.0.2.1")
    assert trying.gone_to() == ["192.0.2.1", "192.0.2.1"]
