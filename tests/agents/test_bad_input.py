"""A running agent on real sockets: whatever comes, it still answers afterwards, and does not grow."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros import wire
from pyros.agents import Agent, Message
from pyros.agents.runtime import port as agent_port
from pyros.agents.runtime.program import hosts_here
from pyros.errors import DeliveryError
from pyros.sender import Sender
from pyros.wire import Entry, Frame, Hello, encode_frame
from tests.conftest import PATIENCE, wait_until


class EchoAgent(Agent):
    def __init__(self) -> None:
        super().__init__("echo")
        self.actions_by_message["Echo"] = self.echo
        self.heard = 0

    def echo(self, message: Message) -> None:
        self.heard += 1


@pytest.fixture
def place(observatory: Callable[..., Any], running: Callable[..., Any]) -> Iterator[Any]:
    place = observatory(echo={"allow": "127.0.0.1/32"})
    running(place, EchoAgent())
    yield place
    assert place.say("echo", b"Echo\n").startswith("OK "), "the agent must still answer"
    Sender.send_to("echo", "Echo", config=place.config)
    answers = place.rows("echo", "SELECT count(*) FROM received WHERE error IS NOT NULL")
    assert answers == [(0,)]


HELLO = encode_frame(Frame(hello=Hello(protocol=1, sender="x", to="echo", epoch="e")))


def entry(seq: Any = 1, name: Any = "Echo", payload: Any = b"{}", **other: Any) -> bytes:
    body = msgspec.json.encode({"messages": [{"seq": seq, "id": "i", "name": name, "sent": 0.0, **other,
                                              "payload": msgspec.Raw(payload)}]})  # fmt: skip
    return len(body).to_bytes(4, "big") + body


def talk(place: Any, data: bytes) -> bytes:
    """Send, close the sending side, and read to the end (or until the agent cuts the connection)."""
    with place.connect("echo") as connection:
        answer = b""
        try:
            connection.sendall(data)
            with contextlib.suppress(OSError):  # the agent may have closed already
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionError:
            pass
    return answer


NESTED = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (bytes(range(2, 256)) * 20, b"ERR the line is not valid UTF-8"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"ERR echo takes no message 'GET / HTTP/1.1'"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", b"ERR"),
        ((2**31).to_bytes(4, "big") + b"x" * 100_000, b"ERR line of more than 65536 bytes"),
        (HELLO + (2**31).to_bytes(4, "big") + b"x" * 100_000, b"frame of 2147483648 bytes; the limit is 16777216"),
        (HELLO + entry()[:-3], b"the connection ended in the middle of a frame"),
        (b"x" * 70_000, b"ERR line of more than 65536 bytes"),
        (b"\xff\xfe\n", b"ERR the line is not valid UTF-8"),
        (b"Echo\t{\n", b"ERR after the tab a JSON object is expected"),
        (b'Slew\t{"observation": "1", "ra": 400, "dec": 0}\n', b"ERR payload of 'Slew': Expected `float` < 360"),
        (b"Echo\t" + b'{"a":' * 10_000 + b"\n", b"ERR after the tab a JSON object is expected"),
        (HELLO + entry(payload=NESTED), b"bad frame: maximum recursion depth exceeded"),
        (HELLO + len(NESTED).to_bytes(4, "big") + NESTED, b"bad frame"),
        (HELLO + entry(seq="1"), b"$.messages[0].seq"),
        (HELLO + entry(seq=2**64 - 1), b"$.messages[0].seq"),
        (HELLO + entry(name=7), b"$.messages[0].name"),
        (HELLO + entry(sent=None), b"$.messages[0].sent"),
        (HELLO + entry(name="Dance" * 40), b"takes no message"),
        (HELLO + entry(payload=b"[1]"), b"must be a JSON object"),
        (HELLO + entry(name="Slew", payload=b'{"observation": "1", "ra": "east", "dec": 0}'), b"$.ra"),
        (HELLO + entry(name="Slew", payload=b'{"observation": "1", "ra": 1, "dec": 0, "x": 1}'), b"unknown field `x`"),
        (HELLO + b'\x00\x00\x00\x0b{"query": 7}'[:15], b"$.query"),
        (HELLO + entry(name="\x00\x07"), b"takes no message"),
    ],
)  # fmt: skip
def test_bad_bytes_are_answered_with_a_line(place: Any, data: bytes, told: bytes) -> None:
    answer = talk(place, data)
    assert told in answer
    assert b"Traceback" not in answer
    assert b"File " not in answer


def test_refused_messages_do_not_stop_the_others(place: Any) -> None:
    names = ["Echo", "Dance"] * (wire.MAX_MESSAGES // 2)
    frame = Frame(messages=[Entry(seq, "i", name, 0.0) for seq, name in enumerate(names, 1)])
    decoder = wire.Decoder(frames=True)
    events: list[Any] = []
    with place.connect("echo") as connection:
        connection.sendall(HELLO + encode_frame(frame))
        while not (events and events[-1].ack):
            events += decoder.feed(connection.recv(65536))
    assert events[-1].ack == wire.MAX_MESSAGES
    assert [refusal.seq for refusal in events[-1].refused] == list(range(2, wire.MAX_MESSAGES + 1, 2))


def test_1000_idle_connections(place: Any) -> None:
    port = hosts_here["echo"].port
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(place.connect("echo"))
        with place.connect("echo") as late:
            late.sendall(b"Echo\n")
            assert late.recv(100).startswith(b"OK ")
        assert len(port.connections) <= agent_port.MAX_ANONYMOUS
    wait_until(lambda: not port.connections, what="the connections to be closed")


def send_on(connection: socket.socket, data: bytes) -> None:
    for _ in range(200_000_000 // len(data)):
        connection.sendall(data)


def resident() -> int:
    """Return this process's memory, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("data", [b"Echo\n" * 12_000, b"\xff\n" * 30_000], ids=["good", "bad"])
def test_a_client_that_never_reads_its_answers(place: Any, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_port, "BLOCKED_TIMEOUT", 1.0)
    port = hosts_here["echo"].port
    before = resident()
    with place.connect("echo") as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        with pytest.raises(ConnectionError):  # a time-out would mean that it is never cut off
            send_on(connection, data)
        assert resident() - before < 60_000_000
    wait_until(lambda: not port.connections, what="it to be cut off")


def test_a_client_that_sends_much_before_it_reads_gets_every_answer(place: Any) -> None:
    count = 30_000
    with place.connect("echo") as connection:
        connection.settimeout(PATIENCE)
        answers = 0
        sent = 0
        data = b"Echo\n" * count
        while answers < count:
            if sent < len(data):
                sent += connection.send(data[sent : sent + 50_000])
                if sent < len(data) // 2:
                    continue
            chunk = connection.recv(1_000_000)
            assert chunk
            answers += chunk.count(b"\n")
    assert answers == count


def test_many_senders_that_fill_the_mailbox_are_all_served(place: Any) -> None:
    count, senders = 4096, 6
    with ExitStack() as stack:
        connections = []
        for number in range(senders):
            hello = Frame(hello=Hello(protocol=1, sender=f"s{number}", to="echo", epoch="e"))
            connection = stack.enter_context(place.connect("echo"))
            connection.settimeout(PATIENCE)
            connection.sendall(encode_frame(hello))
            connections.append(connection)
        for first in range(1, count, 256):
            frame = encode_frame(Frame(messages=[Entry(seq, "i", "Echo", 0.0) for seq in range(first, first + 256)]))
            for connection in connections:
                connection.sendall(frame)
        for connection in connections:
            decoder = wire.Decoder(frames=True)
            last: Any = 0
            while last < count:
                for frame_ in decoder.feed(connection.recv(65536)):
                    last = getattr(frame_, "ack", None) or last
    assert place.status("echo")["taken"] == count * senders
    wait_until(lambda: place.status("echo")["waiting"] == 0, what="the mailbox to be empty")


def test_a_connection_from_a_forbidden_network(place: Any) -> None:
    with place.connect("echo", source="127.0.0.2") as connection:
        assert connection.recv(100) == b"ERR connections from 127.0.0.2 are not allowed here\n"
        assert connection.recv(100) == b""


def test_a_sender_in_a_forbidden_network_is_told(observatory: Callable[..., Any], running: Callable[..., Any]) -> None:
    place = observatory(echo={"allow": "10.0.0.0/8"})
    running(place, EchoAgent())
    with pytest.raises(DeliveryError, match=r"agent 'echo' at 127.0.0.1:\d+: ERR connections from 127.0.0.1 are not"):
        Sender.send_to("echo", "Echo", config=place.config)
