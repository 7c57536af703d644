# mypy: disable-error-code="no-untyped-call,union-attr"
# (Twisted's in-memory transports are not typed.)
"""The author's side, blocking and in a reactor."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pyros.broker import send_event, send_event_async
from pyros.broker.vtp.protocol import frame, transport
from pyros.errors import AgentUnreachable, MessageRefused
from tests.broker.conftest import outcome
from tests.builders import InlineReactor
from tests.conftest import PATIENCE, free_port

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ACK = frame(transport("ack", "ivo://a.b.c/d#1", NOW, response="ivo://test.observatory/broker"))
NAK = frame(transport("nak", "ivo://a.b.c/d#1", NOW, result="Event rejected: because"))

ANSWERS = [
    (NAK, MessageRefused, "Event rejected: because"),
    (frame(transport("nak", "", NOW)), MessageRefused, "refused without a reason"),
    (frame(transport("iamalive", "ivo://x/y", NOW)), AgentUnreachable, "iamalive; this is no VOEvent receiver"),
    (frame(b"garbage"), AgentUnreachable, "the answer is not XML"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", AgentUnreachable, "an answer of 1213486160 bytes; this is no VOEvent broker"),
    (ACK[:50], AgentUnreachable, "closed the connection without an answer"),
    (b"", AgentUnreachable, "closed the connection without an answer"),
]


@contextmanager
def peer(answer: bytes | None) -> Iterator[int]:
    """Serve one packet: read it, answer, and close (or keep silent, for None); gives the port."""
    done = threading.Event()

    def serve() -> None:
        with listener.accept()[0] as connection:
            length = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
            connection.recv(length, socket.MSG_WAITALL)
            if answer is None:
                done.wait(PATIENCE)
            else:
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        done.set()
        thread.join()


def test_an_acknowledged_event_is_published() -> None:
    with peer(ACK) as port:
        send_event("127.0.0.1", port, b"<event/>")


@pytest.mark.parametrize(("answer", "error", "reason"), ANSWERS)
def test_anything_else_is_an_error_with_address_and_reason(answer: bytes, error: type[Exception], reason: str) -> None:
    with peer(answer) as port, pytest.raises(error, match=reason) as raised:
        send_event("127.0.0.1", port, b"<event/>")
    assert f"127.0.0.1:{port}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_nobody_there_and_nobody_answering() -> None:
    port = free_port()
    with pytest.raises(AgentUnreachable, match=f"127.0.0.1:{port}: Connection refused"):
        send_event("127.0.0.1", port, b"<event/>")
    with peer(None) as port, pytest.raises(AgentUnreachable, match=r"no answer within 0\.1 s"):
        send_event("127.0.0.1", port, b"<event/>", timeout=0.1)


def begin(reactor: InlineReactor) -> tuple[Any, StringTransport, Any]:
    """Begin to send as an author in a reactor, and connect."""
    published = Deferred.fromCoroutine(send_event_async(reactor, "127.0.0.1", 8098, b"<event/>"))
    assert reactor.tcpClients[0][:2] == ("127.0.0.1", 8098)
    author = reactor.tcpClients[0][2].buildProtocol(IPv4Address("TCP", "127.0.0.1", 8098))
    line = StringTransport()
    author.makeConnection(line)
    assert line.value() == frame(b"<event/>")
    return author, line, published


@pytest.mark.parametrize(("answer", "error", "reason"), [(ACK, None, ""), *ANSWERS])
def test_in_a_reactor(reactor: InlineReactor, answer: bytes, error: type[Exception] | None, reason: str) -> None:
    author, _, published = begin(reactor)
    author.dataReceived(answer)
    author.connectionLost(Failure(ConnectionDone()))
    ended = outcome(published)
    if error is None:
        assert ended is None
    else:
        assert isinstance(ended, error)
        assert reason in str(ended)
    assert not reactor.getDelayedCalls()


def test_in_a_reactor_nobody_answers(reactor: InlineReactor) -> None:
    _, line, published = begin(reactor)
    reactor.advance(10.1)
    assert "no answer within 10 s" in str(outcome(published))
    assert line.disconnected


def test_in_a_reactor_nobody_is_there(reactor: InlineReactor) -> None:
    published = Deferred.fromCoroutine(send_event_async(reactor, "127.0.0.1", 8098, b"<event/>"))
    reactor.tcpClients[0][2].clientConnectionFailed(reactor.connectors[0], Failure(Refused()))
    ended = outcome(published)
    assert isinstance(ended, AgentUnreachable)
    assert "127.0.0.1:8098" in str(ended)
