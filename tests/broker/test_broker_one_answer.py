# mypy: disable-error-code="no-untyped-call,attr-defined"
# (Twisted's in-memory reactor is not typed.)
"""Connections that are read and answered at once: real sockets, and a reactor that only notes what is watched."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from pyros.broker.vtp.one_answer import OneAnswerConnection, OneAnswerPort
from tests.conftest import PATIENCE

Connect = Callable[[bytes], socket.socket]


class StumblingPeer(Protocol):
    """Answers a line with the same; stumbles over some."""

    transport: OneAnswerConnection

    def __init__(self) -> None:
        self.data, self.ended = b"", ""

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if b"stumble" in self.data:
            raise ValueError("stumbled")
        if self.data.endswith(b"\n"):
            self.transport.finish(self.data)
            self.transport.finish(b"never")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = type(reason.value).__name__


class StumblingPeers(Factory):
    def __init__(self) -> None:
        self.all: list[StumblingPeer] = []

    def buildProtocol(self, addr: object) -> StumblingPeer:
        self.all.append(StumblingPeer())
        return self.all[-1]


@pytest.fixture
def reactor() -> MemoryReactorClock:
    return MemoryReactorClock()


@pytest.fixture
def port(reactor: MemoryReactorClock) -> Iterator[OneAnswerPort]:
    peers = StumblingPeers()
    port = OneAnswerPort(0, peers, 8, "127.0.0.1", reactor)
    port.startListening()
    yield port
    for peer in peers.all:
        if not peer.ended:
            peer.transport.connectionLost(Failure(ConnectionDone()))
    port.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def connect(port: OneAnswerPort) -> Iterator[Connect]:
    opened = []

    def connected(data: bytes) -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", port.getHost().port), timeout=PATIENCE))
        opened[-1].sendall(data)
        return opened[-1]

    yield connected
    for each in opened:
        each.close()


def accept(port: OneAnswerPort, count: int) -> list[StumblingPeer]:
    peers: Any = port.factory
    while len(peers.all) < count:
        port.doRead()
    return list(peers.all)


def read(author: socket.socket) -> bytes:
    answer = b""
    while data := author.recv(1 << 16):
        answer += data
    return answer


def test_what_came_with_the_connection_is_answered_and_nothing_was_watched(
    port: OneAnswerPort, reactor: MemoryReactorClock, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[object] = []
    monkeypatch.setattr(reactor, "addReader", watched.append)
    monkeypatch.setattr(reactor, "addWriter", watched.append)
    authors = [connect(b"%d\n" % number) for number in range(3)]
    peers = accept(port, 3)
    assert [peer.ended for peer in peers] == ["ConnectionDone"] * 3
    assert [read(author) for author in authors] == [b"0\n", b"1\n", b"2\n"]
    assert not watched


def test_the_rest_is_waited_for(port: OneAnswerPort, reactor: MemoryReactorClock, connect: Connect) -> None:
    author = connect(b"first, ")
    (peer,) = accept(port, 1)
    assert peer.transport in reactor.getReaders()
    author.sendall(b"last\n")
    while not peer.ended:
        peer.transport.doRead()
    assert read(author) == b"first, last\n"
    assert peer.transport is None or peer.transport not in reactor.getReaders()


def test_what_the_kernel_does_not_take_at_once_is_sent_later(
    port: OneAnswerPort, reactor: MemoryReactorClock, connect: Connect
) -> None:
    author = connect(b".")
    (peer,) = accept(port, 1)
    connection = peer.transport
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    long = b"." * 4_000_000
    connection.finish(long)
    assert not peer.ended
    assert connection in reactor.getWriters()
    assert connection not in reactor.getReaders()
    author.settimeout(0.0)
    answer, why = b"", None
    while why is None:
        why = connection.doWrite()
        try:
            answer += author.recv(1 << 20)
        except BlockingIOError:
            continue
    connection.connectionLost(Failure(why))
    author.settimeout(PATIENCE)
    assert answer + read(author) == long


def test_an_author_that_has_gone_is_noticed(port: OneAnswerPort, reactor: MemoryReactorClock, connect: Connect) -> None:
    connect(b"").close()
    (peer,) = accept(port, 1)
    assert peer.transport in reactor.getReaders()
    assert isinstance(peer.transport.doRead(), ConnectionDone | ConnectionLost)


def test_one_that_is_stumbled_over_is_cut_off_and_the_others_are_served(
    port: OneAnswerPort, reactor: MemoryReactorClock, connect: Connect
) -> None:
    told: list[Any] = []
    observe: Any = told.append
    globalLogPublisher.addObserver(observe)
    try:
        bad, good = connect(b"stumble\n"), connect(b"good\n")
        accept(port, 2)
        reactor.advance(0)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert read(good) == b"good\n"
    with pytest.raises(ConnectionResetError):
        bad.recv(1)
    assert any("log_failure" in event for event in told)
