"""From an agent's outbox to another agent: later when it is down, in order, resuming, and stopping in time."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from pyros import wire
from pyros.agents import Agent, Message
from pyros.keys import make_key
from pyros.sender import Sender
from pyros.wire import Frame, Refusal, Welcome, encode_frame
from tests.conftest import PATIENCE, GreetedPeer, wait_until


class TellingAgent(Agent):
    """Sends on what it is told."""

    def __init__(self) -> None:
        super().__init__("telling")
        self.actions_by_message["Tell"] = self.tell

    def tell(self, message: Message) -> None:
        for n in range(message.payload["from"], message.payload["to"]):
            Sender.send_to("hearing", "Heard", {"n": n, "data": "x" * message.payload.get("size", 0)})
        if message.payload.get("fail"):
            raise RuntimeError("after it had sent")


class HearingAgent(Agent):
    def __init__(self) -> None:
        super().__init__("hearing")
        self.heard: list[int] = []
        self.ages: list[float] = []
        self.actions_by_message["Heard"] = self.hear

    def hear(self, message: Message) -> None:
        assert message.sender == "telling"
        self.heard.append(message.payload["n"])
        self.ages.append(self.age(message))


@pytest.fixture
def place(observatory: Callable[..., Any]) -> Any:
    return observatory("telling", "hearing")


def tell(place: Any, first: int, end: int, **more: Any) -> None:
    Sender.send_to("telling", "Tell", {"from": first, "to": end, **more}, config=place.config)


def test_a_message_to_an_agent_that_is_not_running_arrives_when_it_starts(
    place: Any, running: Callable[..., Any]
) -> None:
    running(place, TellingAgent())
    tell(place, 0, 10)
    assert place.up("telling")["outbox"] == {"hearing": 10}
    hearing = HearingAgent()
    running(place, hearing)
    wait_until(lambda: len(hearing.heard) == 10)
    assert max(hearing.ages) < float("inf"), "its sender lives still, and knows when it was said"
    wait_until(lambda: place.up("telling")["outbox"] == {})
    wait_until(lambda: place.rows("telling", "SELECT count(*) FROM outbox") == [(0,)])
    assert hearing.heard == list(range(10))


def test_it_arrives_too_when_the_sender_was_stopped_meanwhile(place: Any, running: Callable[..., Any]) -> None:
    telling, hearing = TellingAgent(), HearingAgent()
    telling.start(place.config)
    tell(place, 0, 20_000)  # more than an outbox keeps in memory
    telling.stop()
    running(place, hearing, telling)
    wait_until(lambda: len(hearing.heard) == 20_000)
    tell(place, 20_000, 20_010)
    wait_until(lambda: len(hearing.heard) == 20_010)
    assert hearing.heard == list(range(20_010))


def test_what_a_failing_handler_sent_with_sender_is_undone(place: Any, running: Callable[..., Any]) -> None:
    hearing = HearingAgent()
    running(place, TellingAgent(), hearing)
    tell(place, 0, 5, fail=True)
    tell(place, 5, 10)
    wait_until(lambda: len(hearing.heard) >= 5)
    assert hearing.heard == [5, 6, 7, 8, 9]
    assert place.up("telling")["failed"] == 1


def test_a_receiver_that_comes_and_goes(place: Any, running: Callable[..., Any]) -> None:
    running(place, TellingAgent())
    hearing = HearingAgent()
    for turn in range(3):
        hearing.start(place.config)
        tell(place, turn * 50, turn * 50 + 25)
        wait_until(lambda turn=turn: len(hearing.heard) == turn * 50 + 25)
        hearing.stop()
        tell(place, turn * 50 + 25, turn * 50 + 50)
    running(place, hearing)
    wait_until(lambda: len(hearing.heard) == 150)
    assert hearing.heard == list(range(150))


def test_a_receiver_whose_journal_was_deleted(place: Any, running: Callable[..., Any]) -> None:
    running(place, TellingAgent())
    hearing = HearingAgent()
    hearing.start(place.config)
    tell(place, 0, 10)
    wait_until(lambda: len(hearing.heard) == 10)
    wait_until(lambda: place.up("telling")["outbox"] == {})
    hearing.stop()
    for file in place.config.journal("hearing").parent.glob("hearing.*"):
        file.unlink()
    tell(place, 10, 20)
    running(place, hearing)
    wait_until(lambda: len(hearing.heard) == 20)
    assert hearing.heard == list(range(20))


def test_a_sender_whose_journal_was_deleted(place: Any, running: Callable[..., Any]) -> None:
    telling, hearing = TellingAgent(), HearingAgent()
    running(place, hearing)
    telling.start(place.config)
    tell(place, 0, 10)
    wait_until(lambda: len(hearing.heard) == 10)
    telling.stop()
    for file in place.config.journal("telling").parent.glob("telling.*"):
        file.unlink()
    running(place, telling)
    tell(place, 10, 15)
    wait_until(lambda: len(hearing.heard) == 15)
    assert hearing.heard == list(range(15))


class Peer:
    """Plays the other agent by hand."""

    def __init__(self, place: Any) -> None:
        self._place = place
        section = place.config.agent("hearing")
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what is not read must not fit the kernel
        self._server.bind((section.ip, section.port))
        self._server.listen()
        self._server.settimeout(PATIENCE)
        self.connection = self._server  # until somebody has connected
        self.accept()

    def accept(self) -> None:
        connection, _ = self._server.accept()
        if self.connection is not self._server:
            self.connection.close()
        self.connection = connection
        self.connection.settimeout(PATIENCE)
        self._decoder = wire.Decoder(frames=True)

    def welcome(self, last: int) -> wire.Hello:
        """Take the sender's hello and proof; returns the hello."""
        greeted = GreetedPeer(self.connection, "hearing", make_key(self._place.config.key_file), last)
        self._decoder = greeted.decoder
        assert greeted.hello is not None
        return greeted.hello

    def read(self) -> list[Any]:
        while True:
            data = self.connection.recv(65536)
            assert data, "closed"
            events = self._decoder.feed(data)
            if events:
                return list(events)

    def say(self, frame: Frame) -> None:
        self.connection.sendall(encode_frame(frame))

    def close(self) -> None:
        self.connection.close()
        self._server.close()


def test_the_hello_and_the_numbers_on_the_wire(place: Any, running: Callable[..., Any]) -> None:
    running(place, TellingAgent())
    tell(place, 0, 5)
    peer = Peer(place)
    hello = peer.welcome(2)  # two came before, and their acknowledgement was lost
    assert (hello.sender, hello.to, hello.protocol) == ("telling", "hearing", 1)
    (frame,) = peer.read()
    assert [entry.seq for entry in frame.messages] == [3, 4, 5]
    peer.say(Frame(ack=4, refused=[Refusal(4, "no such thing")]))
    wait_until(lambda: place.up("telling")["outbox"] == {"hearing": 1})
    peer.connection.close()
    peer.accept()
    assert peer.welcome(4).epoch == hello.epoch
    (frame,) = peer.read()
    assert [entry.seq for entry in frame.messages] == [5]
    peer.say(Frame(ack=5))
    wait_until(lambda: place.up("telling")["outbox"] == {})
    wait_until(lambda: place.rows("telling", "SELECT seq, refused FROM outbox") == [(4, "no such thing")])
    peer.close()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x02[]", encode_frame(Frame(error="go away")),
     encode_frame(Frame(welcome=Welcome(99))), b'\x00\x00\x00\x1b{"ack": 9223372036854775808}'],
)  # fmt: skip
def test_a_receiver_that_says_nonsense_is_tried_again(place: Any, running: Callable[..., Any], answer: bytes) -> None:
    running(place, TellingAgent())
    tell(place, 0, 3)
    peer = Peer(place)
    peer.read()
    peer.connection.sendall(answer)
    with pytest.raises((AssertionError, ConnectionError)):
        peer.read()
    peer.accept()
    peer.welcome(0)
    assert [entry.seq for entry in peer.read()[0].messages] == [1, 2, 3]
    peer.close()
    assert place.up("telling")["outbox"] == {"hearing": 3}


def test_a_receiver_that_does_not_read_does_not_keep_the_agent_from_ending(place: Any) -> None:
    telling = TellingAgent()
    telling.start(place.config)
    tell(place, 0, 400, size=100_000)
    peer = Peer(place)
    peer.welcome(0)
    peer.connection.recv(1000)  # it flows, and then nobody reads on
    telling.stop()
    peer.close()
