"""An agent's port on virtual time, its network a byte string: silence, garbage, back-pressure."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros import wire
from pyros.agents.runtime import port as agent_port
from pyros.agents.runtime.batches import Batch, BatchAnswer
from pyros.agents.runtime.port import MAX_ANONYMOUS, AgentPort, Crowd
from pyros.clock import VirtualClock
from pyros.config import AgentConfig
from pyros.line_limit import MAX_LINES
from pyros.sender.handshake import SenderHandshake
from pyros.sender.inbound import PING_SECONDS
from pyros.wire import Decoder, Entry, Frame, Hello, encode_frame
from tests.builders import InlineReactor, MemoryLine

KEY = b"k" * 32
HELLO = encode_frame(Frame(hello=Hello(protocol=1, sender="dome", to="scheduler", epoch="e")))


class ClientWire(MemoryLine):
    """A client's end: what the port wrote, whether it reads, and how it was closed."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 40000))
        self.unread = False
        """The client does not read: like a real transport, every write beyond the buffer says so again."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.unread and self.producer is not None:
            self.producer.pauseProducing()


class PortRig:
    def __init__(self) -> None:
        self.reactor = InlineReactor()
        self.mailbox: list[Batch] = []
        section = AgentConfig("scheduler", "127.0.0.1", 5002, "x", allow=(ip_network("127.0.0.0/8"),))
        clock = VirtualClock(self.reactor, datetime(2026, 1, 1, tzinfo=UTC))
        self.port = AgentPort(
            section, self.reactor, clock, Logger("scheduler"),
            self.mailbox.append, lambda peer: 7, lambda: {"agent": "scheduler"},
            KEY, ["majordome", "camera"],
        )  # fmt: skip

    def connect(self, *data: bytes, host: str = "127.0.0.1", handle: socket.socket | None = None) -> tuple[Any, Any]:
        """Connect a client that says ``data``; ``handle`` is the socket that its transport has."""
        transport: Any = ClientWire(host)
        if handle is not None:
            transport.getHandle = lambda: handle
        connection: Any = self.port.buildProtocol(transport.getPeer())
        connection.makeConnection(transport)
        for chunk in data:
            connection.dataReceived(chunk)
        return connection, transport

    def take(self, count: int = 1_000_000) -> None:
        """Let the agent handle what is in the mailbox."""
        batches, self.mailbox[:] = self.mailbox[:count], self.mailbox[count:]
        for batch in batches:
            last = batch.entries[-1].seq
            assert batch.origin is not None
            answer = BatchAnswer(last, [], [entry.id for entry in batch.entries])
            batch.origin.committed(batch, answer, batch.origin.acknowledge(batch, answer))


@pytest.fixture
def rig() -> PortRig:
    return PortRig()


def messages(first: int, count: int = 1, payload: bytes = b"{}") -> bytes:
    return encode_frame(
        Frame(messages=[Entry(seq, "i", "Open", 0.0, msgspec.Raw(payload)) for seq in range(first, first + count)])
    )


def frames(transport: Any) -> list[Any]:
    return Decoder(frames=True).feed(transport.value())


def proved(rig: PortRig, sender: str = "majordome", epoch: str = "e") -> tuple[Any, Any, SenderHandshake]:
    """Open a connection of an agent that has proved the key."""
    handshake = SenderHandshake(sender, "scheduler", epoch, KEY)
    connection, transport = rig.connect(encode_frame(Frame(hello=handshake.hello)))
    connection.dataReceived(encode_frame(handshake.prove(frames(transport)[0].challenge, 0.0)))
    return connection, transport, handshake


def error(transport: Any) -> str:
    text: str = frames(transport)[-1].error
    assert transport.disconnecting
    assert "Traceback" not in text
    return text


def test_a_hello_is_welcomed_with_the_last_number(rig: PortRig) -> None:
    _, transport = rig.connect(HELLO)
    assert frames(transport)[0].welcome == wire.Welcome(7, fleeting=True, lanes=True)


def test_who_has_proved_the_key_is_welcome_and_its_messages_say_so(rig: PortRig) -> None:
    connection, transport, handshake = proved(rig)
    handshake.check(frames(transport)[1].welcome)
    connection.dataReceived(messages(8))
    rig.connect(HELLO, messages(8))
    rig.connect(b"Open\n")
    assert [(batch.sender, batch.proved) for batch in rig.mailbox] == [
        ("majordome", True), ("dome", False), ("text:127.0.0.1", False),
    ]  # fmt: skip
    rig.take()
    assert frames(transport)[2].ack == 8


def test_an_agents_name_without_a_proof_is_refused(rig: PortRig) -> None:
    hello = encode_frame(Frame(hello=Hello(protocol=1, sender="majordome", to="scheduler", epoch="e")))
    _, transport = rig.connect(hello, messages(8))
    assert "must prove its key" in error(transport)
    assert rig.mailbox == []
    assert rig.port.connections == {}


def test_messages_before_the_proof_are_refused(rig: PortRig) -> None:
    handshake = SenderHandshake("majordome", "scheduler", "e", KEY)
    _, transport = rig.connect(encode_frame(Frame(hello=handshake.hello)), messages(8))
    assert "say hello first" in error(transport)
    assert rig.mailbox == []


def test_a_proof_that_never_comes_is_not_waited_for(rig: PortRig) -> None:
    handshake = SenderHandshake("majordome", "scheduler", "e", KEY)
    _, transport = rig.connect(encode_frame(Frame(hello=handshake.hello)))
    rig.reactor.advance(agent_port.AFTER_ANSWER_TIMEOUT)
    assert transport.aborting


def test_a_wrong_proof_ends_the_connection(rig: PortRig) -> None:
    handshake = SenderHandshake("majordome", "scheduler", "e", b"x" * 32)
    connection, transport = rig.connect(encode_frame(Frame(hello=handshake.hello)))
    connection.dataReceived(encode_frame(handshake.prove(frames(transport)[0].challenge, 0.0)))
    assert "another key" in error(transport)
    assert rig.port.connections == {}


def test_a_restarted_agent_is_not_locked_out_by_its_old_connection(rig: PortRig) -> None:
    old, old_transport, _ = proved(rig)
    new, transport, handshake = proved(rig)
    assert len(frames(transport)) == 1
    rig.reactor.advance(PING_SECONDS)
    assert "no answer" in error(old_transport)
    handshake.check(frames(transport)[1].welcome)
    old.dataReceived(messages(8))
    new.dataReceived(messages(8))
    assert [batch.origin for batch in rig.mailbox] == [new], "what the old one says counts no more"
    assert list(rig.port.connections) == [new]


def test_a_second_process_of_an_agents_name_is_refused(rig: PortRig) -> None:
    first, first_transport, handshake = proved(rig, epoch="a")
    _, transport, _ = proved(rig, epoch="b")
    first.dataReceived(encode_frame(handshake.prove(frames(first_transport)[-1].challenge, 0.0)))
    assert "another process is majordome already" in error(transport)
    first.dataReceived(messages(8))
    assert [batch.peer for batch in rig.mailbox] == [("majordome", "a")]
    assert list(rig.port.connections) == [first]


def test_messages_are_acknowledged_only_when_they_are_committed(rig: PortRig) -> None:
    _, transport = rig.connect(HELLO, messages(8, 3))
    assert len(frames(transport)) == 1
    rig.take()
    assert frames(transport)[1].ack == 10


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([messages(1)], "say hello first"),
        ([HELLO, HELLO], "a hello comes once"),
        ([encode_frame(Frame(hello=Hello(protocol=2, sender="d", to="scheduler", epoch="e")))], "protocol 2"),
        (
            [encode_frame(Frame(hello=Hello(protocol=1, sender="d", to="dome", epoch="e")))],
            "this is scheduler, not dome",
        ),
        ([encode_frame(Frame(hello=Hello(protocol=1, sender="d" * 201, to="scheduler", epoch="e")))], "200"),
        ([encode_frame(Frame(query="mood"))], "unknown query 'mood'; there is: status"),
        ([encode_frame(Frame(ack=3))], "this frame means nothing here"),
        ([b"\x00\x00\x00\x05hello"], "bad frame"),
        ([HELLO, (2**31).to_bytes(4, "big") + b"x" * 100], "frame of 2147483648 bytes; the limit is 16777216"),
        ([HELLO, b'\x00\x00\x00\x0a{"ack": 1.5'], "bad frame"),
    ],
)
def test_a_bad_frame_is_answered_with_its_reason_and_the_end(rig: PortRig, data: list[bytes], told: str) -> None:
    _, transport = rig.connect(*data)
    assert told in error(transport)
    assert rig.mailbox == []
    assert rig.port.connections == {}


def test_2_gib_as_the_first_frame_is_taken_for_text_and_refused_after_64_kib(rig: PortRig) -> None:
    connection, transport = rig.connect((2**31).to_bytes(4, "big"))
    kibibytes = 0
    while not transport.disconnecting:
        connection.dataReceived(b"x" * 1024)
        kibibytes += 1
    assert transport.value() == b"ERR line of more than 65536 bytes\n"
    assert kibibytes * 1024 <= wire.MAX_LINE + 1024


def test_the_bytes_after_a_refusal_are_not_looked_at(rig: PortRig) -> None:
    connection, transport = rig.connect(HELLO, messages(1)[:4] + b"x" * 200)
    said = transport.value()
    connection.dataReceived(messages(1))
    assert (transport.value(), rig.mailbox) == (said, [])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"caf\xe9\n", "ERR the line is not valid UTF-8"),
        (b"Open\t[1]\n", "ERR after the tab a JSON object is expected"),
        (b"Open\t" + b'{"a":[' * 10_000 + b"\n", "ERR after the tab a JSON object is expected"),
        (b"a\x07\n", "ERR a message's name has 1 to 200 printable characters"),
    ],
)
def test_a_bad_line_is_answered_and_the_next_one_is_served(rig: PortRig, line: bytes, told: str) -> None:
    connection, transport = rig.connect(line)
    assert transport.value().decode().startswith(told)
    assert transport.value().count(b"\n") == 1
    transport.clear()
    connection.dataReceived(b"Open\n")
    rig.take()
    assert transport.value().startswith(b"OK ")
    assert not transport.disconnecting


def test_a_line_without_its_end_is_served_when_the_client_has_closed_its_side(rig: PortRig) -> None:
    connection, transport = rig.connect(b"Open\nClose")
    connection.readConnectionLost()
    assert not transport.disconnecting
    rig.take()
    assert [line.split()[0] for line in transport.value().splitlines()] == [b"OK", b"OK"]
    assert transport.disconnecting


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        ([], agent_port.FIRST_BYTE_TIMEOUT),
        ([b"Observation fin"], agent_port.HALF_FRAME_TIMEOUT),
        ([messages(8)[:2]], agent_port.HALF_FRAME_TIMEOUT),
        ([HELLO, messages(8)[:-1]], agent_port.HALF_FRAME_TIMEOUT),
        ([encode_frame(Frame(query="status"))], agent_port.AFTER_ANSWER_TIMEOUT),
        ([b"\n"], agent_port.AFTER_ANSWER_TIMEOUT),
    ],
)
def test_silence_is_borne_for_so_long(rig: PortRig, data: list[bytes], seconds: float) -> None:
    _, transport = rig.connect(*data)
    rig.reactor.advance(seconds - 0.1)
    assert not transport.disconnecting
    rig.reactor.advance(0.2)
    assert transport.aborting


@pytest.mark.parametrize("first", [b"", HELLO])
def test_a_byte_now_and_then_keeps_nobody_who_is_unknown(rig: PortRig, first: bytes) -> None:
    connection, transport = rig.connect(first + messages(8)[:2] if first else b"Op")
    for byte in messages(8)[2:30] if first else b"e" * 28:
        rig.reactor.advance(1.0)
        connection.dataReceived(bytes([byte]))
    assert not transport.aborting
    rig.reactor.advance(2.1)
    assert transport.aborting


def test_a_long_message_that_comes_slowly_is_taken(rig: PortRig) -> None:
    connection, transport = rig.connect(HELLO)
    long = messages(8, payload=b'"' + b"x" * 500_000 + b'"')
    for begin in range(0, len(long), 4000):  # at 32 kbit/s
        connection.dataReceived(long[begin : begin + 4000])
        rig.reactor.advance(1.0)
    assert not transport.aborting
    assert len(rig.mailbox) == 1
    connection, transport, _ = proved(rig)
    for byte in messages(8)[:60]:
        connection.dataReceived(bytes([byte]))
        rig.reactor.advance(20.0)
    assert not transport.aborting, "an agent has proved the key"


def test_an_agent_may_be_silent_for_hours(rig: PortRig) -> None:
    connection, transport = rig.connect(HELLO, messages(8))
    rig.reactor.advance(3600)  # the handlers take their time
    rig.take()
    rig.reactor.advance(100_000)
    assert not transport.disconnecting
    connection.connectionLost()
    assert rig.reactor.getDelayedCalls() == []


def test_a_refused_client_that_does_not_close_is_cut_off(rig: PortRig) -> None:
    _, transport = rig.connect(HELLO, HELLO)
    assert not transport.aborting
    rig.reactor.advance(6)
    assert transport.aborting


def test_a_client_served_to_its_end_that_does_not_take_its_answers_is_cut_off(rig: PortRig) -> None:
    connection, transport = rig.connect(b"Open")
    connection.readConnectionLost()
    rig.take()
    assert transport.disconnecting
    rig.reactor.advance(60)
    assert transport.aborting


def test_strangers_do_not_fill_the_log(rig: PortRig, logged: list[str]) -> None:
    for _ in range(300):
        rig.connect(host="10.0.0.1")
    assert len(logged) == MAX_LINES
    assert logged[-1] == "connection from 10.0.0.1 is not allowed (more such lines are left out for a minute)"
    for _ in range(MAX_ANONYMOUS + 300):
        rig.connect()
    assert len(logged) == 2 * MAX_LINES
    rig.reactor.advance(61)
    logged.clear()
    rig.connect(host="10.0.0.1")
    assert logged[-1] == "connection from 10.0.0.1 is not allowed (and 240 before, of which there is no line)"


def test_another_network_is_told_and_closed(rig: PortRig) -> None:
    _, transport = rig.connect(host="10.0.0.1")
    assert transport.value() == b"ERR connections from 10.0.0.1 are not allowed here\n"
    assert transport.disconnecting
    assert rig.port.connections == {}
    _, transport = rig.connect(host="::ffff:127.0.0.1")
    assert not transport.disconnecting


def test_of_many_unknown_connections_the_oldest_goes(rig: PortRig) -> None:
    _, known = rig.connect(HELLO)
    transports = [rig.connect()[1] for _ in range(agent_port.MAX_ANONYMOUS + 100)]
    closed = [transport.disconnecting for transport in transports]
    assert closed == [True] * 100 + [False] * agent_port.MAX_ANONYMOUS
    assert not known.disconnecting
    assert len(rig.port.connections) == agent_port.MAX_ANONYMOUS + 1


@pytest.mark.parametrize("frame_messages", [1, 512])
def test_a_full_mailbox_stops_the_reading_and_an_emptied_one_starts_it_again(rig: PortRig, frame_messages: int) -> None:
    connection, transport = rig.connect(HELLO)
    seq = 8
    while transport.producerState == "producing":
        connection.dataReceived(messages(seq, frame_messages))
        seq += frame_messages
        assert seq < agent_port.MAX_WAITING + 2000
    for _ in range(5):  # what had been read already when the reading stopped
        connection.dataReceived(messages(seq, frame_messages))
        seq += frame_messages
    rig.take(6)
    rig.take()
    assert transport.producerState == "producing"
    assert rig.port.waiting == 0
    assert frames(transport)[-1].ack == seq - 1


def test_the_reactor_hears_at_once_of_a_connection_that_is_held(rig: PortRig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.setblocking(False)
        connection, _ = rig.connect(HELLO, handle=client)
        assert not connection.awaits_reactor
        connection.hold("mailbox")
        assert connection.awaits_reactor
        connection.release("mailbox")
        assert not connection.awaits_reactor
        connection.readConnectionLost()
        assert connection.awaits_reactor
        connection.connectionLost()


def test_a_mailbox_is_full_of_bytes_too(rig: PortRig) -> None:
    connection, transport = rig.connect(HELLO)
    large = b'{"a":"' + b"x" * 10_000_000 + b'"}'
    for seq in range(8, 12):
        assert transport.producerState == "producing"
        connection.dataReceived(messages(seq, payload=large))
    assert transport.producerState == "paused"
    rig.take()
    assert transport.producerState == "producing"


@pytest.mark.parametrize("start", [[HELLO], []], ids=["frames", "text"])
def test_a_client_that_does_not_read_its_answers_is_not_read_and_then_cut_off(rig: PortRig, start: list[bytes]) -> None:
    connection, transport = rig.connect(*start)
    transport.unread = True
    for seq in range(8, 12):
        connection.dataReceived(messages(seq) if start else b"Open\n")
        rig.take(1)
        rig.reactor.advance(1)
    assert transport.producerState == "paused"
    rig.reactor.advance(agent_port.BLOCKED_TIMEOUT - 6)
    assert not transport.aborting
    rig.reactor.advance(6)
    assert transport.aborting


def test_a_client_that_reads_late_is_served_on(rig: PortRig) -> None:
    connection, transport = rig.connect(HELLO)
    transport.unread = True
    for seq in range(8, 12):
        connection.dataReceived(messages(seq))
        rig.take()
    assert transport.producerState == "paused"
    transport.unread = False
    connection.resumeProducing()  # the transport says it once, however often it said pause
    assert transport.producerState == "producing"
    rig.reactor.advance(1000)
    assert not transport.disconnecting
    connection.dataReceived(messages(12))
    rig.take()
    assert frames(transport)[-1].ack == 12


def test_what_is_refused_is_told_in_the_clients_own_words(rig: PortRig) -> None:
    _, text = rig.connect(b"Dance\n")
    _, framed = rig.connect(HELLO, messages(8, 2))
    for batch in rig.mailbox:
        refused = [wire.Refusal(batch.entries[0].seq or 1, "no\nsuch thing")]
        assert batch.origin is not None
        batch.origin.committed(batch, BatchAnswer(9, refused, ["x"]), told=False)
    assert text.value() == b"ERR no such thing\n"
    assert frames(framed)[-1] == Frame(ack=9, refused=[wire.Refusal(8, "no\nsuch thing")])


def test_a_gap_is_told_and_the_connection_closed(rig: PortRig) -> None:
    _, transport = rig.connect(HELLO, messages(8))
    (batch,) = rig.mailbox
    assert batch.origin is not None
    batch.origin.committed(batch, BatchAnswer(3, [], [], missing=4), told=False)
    assert error(transport) == "message 4 is missing before the ones that came"


def test_a_text_client_is_told_when_nothing_can_be_stored(rig: PortRig) -> None:
    _, transport = rig.connect(b"Open\n")
    (batch,) = rig.mailbox
    assert batch.origin is not None
    batch.origin.not_stored(batch, "x.sqlite: cannot store: disk full")
    assert transport.value() == b"ERR x.sqlite: cannot store: disk full\n"
    assert rig.port.waiting == 0


def test_answers_for_a_client_that_has_gone_are_dropped(rig: PortRig) -> None:
    connection, transport = rig.connect(HELLO, messages(8))
    connection.connectionLost()
    transport.clear()
    rig.take()
    assert transport.value() == b""
    assert rig.port.waiting == 0
    assert rig.reactor.getDelayedCalls() == []


def test_the_status_needs_no_hello(rig: PortRig) -> None:
    _, transport = rig.connect(encode_frame(Frame(query="status")))
    assert frames(transport)[0].status == {"agent": "scheduler"}


def hello(name: str, epoch: str = "e") -> bytes:
    return encode_frame(Frame(hello=Hello(protocol=1, sender=name, to="scheduler", epoch=epoch)))


def test_strangers_with_names_leave_files_for_the_others(rig: PortRig) -> None:
    rig.port.crowd.limit = 12
    _, majordomes, _ = proved(rig)
    busy, busy_line = rig.connect(hello("program"), messages(8))
    strangers: list[Any] = []
    for number in range(50):
        strangers.append(rig.connect(hello(f"x{number}")))
        for connection, line in strangers:
            if line.aborting and not line.disconnected:
                line.disconnected = True
                connection.connectionLost(Failure(ConnectionDone()))
    assert not majordomes.aborting
    assert not busy_line.aborting, "it waits for an answer"
    assert [line.aborting for _, line in strangers] == [True] * 40 + [False] * 10
    assert frames(strangers[0][1])[-1].error == "too many connections"
    assert len(rig.port.crowd.open) == 12
    _, cameras, _ = proved(rig, "camera")
    assert not cameras.aborting
    del busy


def test_where_only_agents_are_connected_a_further_one_is_refused(rig: PortRig) -> None:
    rig.port.crowd.limit = 2
    proved(rig)
    proved(rig, "camera")
    assert rig.port.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)) is None


def test_connections_take_a_quarter_of_the_files_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 64))
    assert Crowd(InlineReactor()).limit == 16


@pytest.mark.parametrize(("name", "epoch"), [("a\nb", "e"), ("\x1b[2J", "e"), ("a", "\u202e")])
def test_a_name_that_is_not_printable_is_refused(rig: PortRig, name: str, epoch: str) -> None:
    _, transport = rig.connect(hello(name, epoch))
    assert error(transport) == "a hello's name and epoch are printable"
