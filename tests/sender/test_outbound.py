"""From an agent's outbox to another agent: what is on the wire. What every carrier does is in `test_carriers`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from pyros import wire
from pyros.agents import Agent, Message
from pyros.keys import make_key
from pyros.messages import guard
from pyros.sender import Sender
from pyros.sender.carrier import StreamConnection, TcpCarrier
from pyros.sender.handshake import SenderHandshake
from pyros.sender.link import AgentLink
from pyros.sender.liveness import Path
from pyros.sender.tls import TlsSide
from pyros.wire import Challenge, Frame, Refusal, Welcome, encode_frame
from tests.builders import InlineReactor, MemoryLine
from tests.conftest import PATIENCE, GreetedPeer, wait_until

GLANCE = guard("Glance of the sender", fleeting=True)


class TellingAgent(Agent):
    """Sends on what it is told; what is fleeting where that is wanted, before and after each of the others."""

    def __init__(self) -> None:
        super().__init__("telling")
        self.actions_by_message["Tell"] = self.tell

    def tell(self, message: Message) -> None:
        for n in range(message.payload["from"], message.payload["to"]):
            if message.payload.get("glance"):
                self.send_to("hearing", GLANCE, {"n": n})
            Sender.send_to(
                "hearing", message.payload.get("name", "Heard"), {"n": n, "data": "x" * message.payload.get("size", 0)}
            )
        if message.payload.get("fail"):
            raise RuntimeError("after it had sent")
        if message.payload.get("glance"):
            self.send_to("hearing", GLANCE, {"n": message.payload["to"]})


class HearingAgent(Agent):
    def __init__(self) -> None:
        super().__init__("hearing")
        self.heard: list[int] = []
        self.ages: list[float] = []
        self.glances: list[int] = []
        self.actions_by_message |= {"Heard": self.hear, GLANCE: self.glance}

    def hear(self, message: Message) -> None:
        assert message.sender == "telling"
        self.heard.append(message.payload["n"])
        self.ages.append(self.age(message))

    def glance(self, message: Message) -> None:
        assert message.proved
        assert 0 <= self.age(message) < PATIENCE
        self.glances.append(message.payload["n"])
        assert message.payload["n"] == len(self.heard), "it has overtaken what it follows"


@pytest.fixture
def place(observatory: Callable[..., Any]) -> Any:
    return observatory("telling", "hearing")


def tell(place: Any, first: int, end: int, **more: Any) -> None:
    Sender.send_to("telling", "Tell", {"from": first, "to": end, **more}, config=place.config)


def test_what_a_failing_handler_sent_with_sender_is_undone(place: Any, running: Callable[..., Any]) -> None:
    hearing = HearingAgent()
    running(place, TellingAgent(), hearing)
    tell(place, 0, 5, fail=True)
    tell(place, 5, 10)
    wait_until(lambda: len(hearing.heard) >= 5)
    assert hearing.heard == [5, 6, 7, 8, 9]
    assert place.up("telling")["failed"] == 1


class HandPlayedAgent:
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
    peer = HandPlayedAgent(place)
    peer.welcome(0)
    peer.read()
    peer.connection.close()
    peer.accept()
    hello = peer.welcome(2)  # two were committed, and their acknowledgement was lost
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
    peer = HandPlayedAgent(place)
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
    peer = HandPlayedAgent(place)
    peer.welcome(0)
    peer.connection.recv(1000)  # it flows, and then nobody reads on
    telling.stop()
    peer.close()


def test_a_receiver_of_an_older_version_gets_fleeting_ones_with_numbers(
    place: Any, running: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    running(place, TellingAgent())
    tell(place, 0, 1)
    peer = HandPlayedAgent(place)
    peer.welcome(0)
    peer.read()
    tell(place, 1, 2, glance=True)
    entries: list[Any] = []
    while len(entries) < 3:
        entries += [entry for frame in peer.read() for entry in frame.messages]
    assert [(entry.seq, entry.name) for entry in entries] == [(2, GLANCE), (3, "Heard"), (4, GLANCE)]
    peer.close()


class WrittenConnection:
    """The connection of a link in memory, and its carrier: what was written there."""

    open = True

    def __init__(self) -> None:
        self.written: list[Frame] = []

    def write(self, frame: Frame) -> None:
        self.written.append(frame)

    def in_use(self) -> None:
        pass

    def start(self, _: Any) -> None:
        pass


def link_on(line: WrittenConnection, reactor: InlineReactor, place: Any, reader: Any = None) -> Any:
    made: Any = AgentLink
    return made(
        reactor, "telling", "hearing", place.config.agent("hearing"), line, reader, lambda *_: None,
        lambda entry: entry, lambda *_: None, lambda *_: None, lambda *_: True,
    )  # fmt: skip


def test_a_fleeting_message_is_dropped_when_it_is_old(place: Any) -> None:
    reactor, line = InlineReactor(), WrittenConnection()
    link = link_on(line, reactor, place)
    link.post_fleeting([wire.Entry(0, "old", GLANCE, 0.0, said=reactor.seconds())])
    reactor.advance(5.1)
    link.post_fleeting([wire.Entry(0, "new", GLANCE, 0.0, said=reactor.seconds())])
    link.welcomed(line, Welcome(0, fleeting=True))
    assert [entry.id for frame in line.written for entry in frame.fleeting or []] == ["new"]


def test_a_new_connection_begins_with_short_frames(place: Any) -> None:
    """Of a long one nothing counts that has come when a bad path breaks again."""

    class Outbox:
        """A journal in which a thousand messages wait."""

        @staticmethod
        def outbox(_: str, after: int, limit: int) -> list[wire.Entry]:
            numbers = range(after + 1, min(after + limit, 1000) + 1)
            return [wire.Entry(n, str(n), "Heard", 0.0, Raw(b'"' + b"x" * 1000 + b'"')) for n in numbers]

    def longest(connection: WrittenConnection) -> int:
        return max(len(encode_frame(frame)) for frame in connection.written)

    first, again = WrittenConnection(), WrittenConnection()
    link = link_on(first, InlineReactor(), place, Outbox)
    link.post([], 1000)
    link.welcomed(first, Welcome(0))
    assert longest(first) < 20_000
    assert [entry.seq for frame in first.written for entry in frame.messages or []] == list(range(1, 1001))
    for number in range(1, 21):
        link.answered(number, [])
    link.broken(first)
    link.welcomed(again, Welcome(20))
    assert longest(again) < 20_000
    assert [entry.seq for frame in again.written for entry in frame.messages or []] == list(range(21, 1001))


@pytest.fixture
def greeting(place: Any) -> tuple[InlineReactor, StreamConnection, MemoryLine]:
    """Return a connection that has said hello, and may take 4 s for each piece of the greeting."""
    reactor, line = InlineReactor(), MemoryLine()
    carrier = TcpCarrier(
        reactor, place.config.agent("hearing"), Path(), lambda: SenderHandshake("telling", "hearing", "1", b"key", "1"),
        lambda: TlsSide(None, ""),
    )  # fmt: skip
    carrier.link = link_on(WrittenConnection(), reactor, place)
    connection = StreamConnection(carrier)
    connection.makeConnection(line)
    return reactor, connection, line


def test_a_slow_greeting_is_waited_for_while_it_goes_on(greeting: Any) -> None:
    reactor, connection, line = greeting
    for nonce in ("one", "two", "three"):
        reactor.advance(3.9)
        connection.dataReceived(encode_frame(Frame(challenge=Challenge(nonce))))
    reactor.advance(3.9)
    assert not line.aborting
    reactor.advance(0.2)
    assert line.aborting


def test_a_greeting_of_a_byte_now_and_then_has_an_end(greeting: Any) -> None:
    reactor, connection, line = greeting
    said = encode_frame(Frame(challenge=Challenge("one")))
    for number in range(19):
        reactor.advance(1.0)
        connection.dataReceived(said[number : number + 1])
        assert not line.aborting
    reactor.advance(1.1)
    assert line.aborting
