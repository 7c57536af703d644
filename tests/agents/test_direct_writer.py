"""Answers from the agent's thread: in order, complete, and through the transport once the kernel takes no more."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest
from twisted.internet.testing import StringTransport

from pyros.agents.runtime.direct_writer import DirectWriter

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_what_is_sent_is_there_at_once(pair: Pair) -> None:
    writer = DirectWriter(pair[0])
    writer.send(b"one ")
    writer.send(b"two")
    assert writer.is_open
    assert pair[1].recv(100) == b"one two"
    assert writer.rest() == b""
    writer.close()


def test_what_the_kernel_does_not_take_is_left_for_the_transport_in_order(pair: Pair) -> None:
    ours, theirs = pair
    writer = DirectWriter(ours)
    pieces = [bytes([number % 256]) * 10_000 for number in range(100)]
    for piece in pieces:
        writer.send(piece)
    assert not writer.is_open
    rest = writer.rest()
    assert rest
    taken = b""
    while len(taken) + len(rest) < 1_000_000:
        taken += theirs.recv(65536)
    writer.send(b"later")  # the peer reads again, but what came before waits in the transport
    assert taken + rest + writer.rest() == b"".join(pieces) + b"later"
    writer.close()


def test_a_connection_that_has_broken_takes_nothing_and_raises_nothing(pair: Pair) -> None:
    writer = DirectWriter(pair[0])
    pair[1].close()
    writer.send(b"nobody hears")
    writer.send(b"this either")
    assert writer.rest() == b""
    writer.close()
    writer.send(b"nor this")
    assert writer.rest() == b""


def test_its_handle_outlives_the_connection(pair: Pair) -> None:
    """The number of a closed descriptor goes to the next connection, which must not get these bytes."""
    writer = DirectWriter(pair[0])
    pair[0].close()
    writer.send(b"still for the same peer")
    assert pair[1].recv(100) == b"still for the same peer"
    writer.close()


def test_only_a_plain_socket_has_one() -> None:
    assert DirectWriter.of(StringTransport()) is None


def test_without_a_further_file_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one:

        class SocketTransport:
            def getHandle(self) -> socket.socket:
                return one

        def dup(self: socket.socket) -> socket.socket:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(socket.socket, "dup", dup)
        assert DirectWriter.of(SocketTransport()) is None
