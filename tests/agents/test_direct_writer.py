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
    prompt = DirectWriter(pair[0])
    prompt.send(b"one ")
    prompt.send(b"two")
    assert pair[1].recv(100) == b"one two"
    assert prompt.rest() == b""
    prompt.close()


def test_what_the_kernel_does_not_take_is_left_for_the_transport_in_order(pair: Pair) -> None:
    ours, theirs = pair
    prompt = DirectWriter(ours)
    pieces = [bytes([number % 256]) * 10_000 for number in range(100)]
    for piece in pieces:
        prompt.send(piece)
    rest = prompt.rest()
    assert rest
    taken = b""
    while len(taken) + len(rest) < 1_000_000:
        taken += theirs.recv(65536)
    prompt.send(b"later")  # the peer reads again, but what came before waits in the transport
    assert taken + rest + prompt.rest() == b"".join(pieces) + b"later"
    prompt.close()


def test_a_connection_that_has_broken_takes_nothing_and_raises_nothing(pair: Pair) -> None:
    prompt = DirectWriter(pair[0])
    pair[1].close()
    prompt.send(b"nobody hears")
    prompt.send(b"this either")
    assert prompt.rest() == b""
    prompt.close()
    prompt.send(b"nor this")
    assert prompt.rest() == b""


def test_its_handle_outlives_the_connection(pair: Pair) -> None:
    """The number of a closed descriptor goes to the next connection, which must not get these bytes."""
    prompt = DirectWriter(pair[0])
    pair[0].close()
    prompt.send(b"still for the same peer")
    assert pair[1].recv(100) == b"still for the same peer"
    prompt.close()


def test_only_a_plain_socket_has_one() -> None:
    assert DirectWriter.of(StringTransport()) is None


def test_without_a_further_file_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one:

        class Transport:
            def getHandle(self) -> socket.socket:
                return one

        def dup(self: socket.socket) -> socket.socket:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(socket.socket, "dup", dup)
        assert DirectWriter.of(Transport()) is None
