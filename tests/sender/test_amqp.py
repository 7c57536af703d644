"""RabbitMQ between agents: it may lose, repeat and die as it likes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionRefusedError as RefusedError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from pyros.authority import make_authority, make_certificate
from pyros.config import Address, AgentConfig, AmqpConfig, load
from pyros.errors import ConfigError
from pyros.sender import amqp as amqp_module
from pyros.sender.amqp import AmqpCaller, AmqpLine, amqp_ready
from pyros.sender.amqp_stream import PIECE_BYTES, AmqpTransport, Piece
from pyros.sender.certificates import examine
from pyros.sender.inbound_tls import InboundTls, PortTls
from pyros.sender.tls import AgentTls
from tests.builders import InlineReactor
from tests.conftest import AgentsObservatory, free_port, wait_until
from tests.jobs.rabbit import rabbit_node
from tests.sender.carriers import CarrierNetwork, amqp, needs_rabbit, through_rabbit
from tests.sender.test_outbound import HearingAgent, TellingAgent, tell


class NotingProtocol(Protocol):
    """Notes what comes, and why it ends."""

    def __init__(self) -> None:
        self.heard = b""
        self.end: str | None = None

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert reason.type is not None
        self.end = reason.type.__name__


class AmqpStream:
    """Both ends of a connection, and what is under way: a test hands that on as it likes."""

    def __init__(self) -> None:
        self.reactor = InlineReactor()
        self.there: list[Piece] = []
        self.back: list[Piece] = []
        self.taken = 0
        self.forgotten: list[AmqpTransport] = []
        self.near, self.far = NotingProtocol(), NotingProtocol()
        self.caller = AmqpTransport(self.reactor, "one", self.there.append, self.forgotten.append)
        self.called = AmqpTransport(self.reactor, "one", self.back.append, self.forgotten.append)

    def begin(self) -> None:
        self.caller.begin(self.near)
        self.called.begin(self.far)

    def carry(self) -> None:
        """Hand on what is under way, in order, until nothing is."""
        self.reactor.advance(0)
        while self.there or self.back:
            there, self.there[:] = list(self.there), []
            back, self.back[:] = list(self.back), []
            for piece in there:
                self.called.take(piece, self.take)
            for piece in back:
                self.caller.take(piece, self.take)
            self.reactor.advance(0)

    def take(self) -> None:
        self.taken += 1


@pytest.fixture
def stream() -> AmqpStream:
    made = AmqpStream()
    made.begin()
    return made


def test_what_is_written_at_the_same_time_is_one_piece(stream: AmqpStream) -> None:
    stream.caller.write(b"one ")
    stream.caller.write(b"two")
    stream.reactor.advance(0)
    assert stream.there == [Piece("one", 0, b"one two")]


def test_long_words_come_in_pieces_and_before_the_end(stream: AmqpStream) -> None:
    data = bytes(range(256)) * 200
    stream.caller.write(data)
    stream.caller.loseConnection()
    assert [len(piece.data) for piece in stream.there] == [PIECE_BYTES] * 3 + [len(data) - 3 * PIECE_BYTES, 0]
    stream.carry()
    assert stream.far.heard == data
    assert (stream.near.end, stream.far.end) == ("ConnectionDone", "ConnectionDone")
    assert len(stream.forgotten) == 2


@pytest.mark.parametrize("order", [(1,), (0, 0), (0, 2), (1, 0)])
def test_a_piece_out_of_turn_ends_the_connection(stream: AmqpStream, order: tuple[int, ...]) -> None:
    for number in order:
        stream.called.take(Piece("one", number, b"%d" % number), stream.take)
    stream.reactor.advance(0)
    assert stream.far.heard in (b"", b"0")
    assert stream.far.end == "ConnectionAborted"
    assert stream.taken == len(order), "RabbitMQ may forget them all"
    assert stream.back[-1].ends


def test_what_is_not_read_is_not_taken(stream: AmqpStream) -> None:
    stream.called.pauseProducing()
    stream.caller.write(b"x" * 3 * PIECE_BYTES)
    stream.carry()
    assert (stream.far.heard, stream.taken) == (b"", 0)
    stream.called.resumeProducing()
    stream.reactor.advance(0)
    assert (len(stream.far.heard), stream.taken) == (3 * PIECE_BYTES, 3)


def test_the_end_of_the_line_ends_its_connections(stream: AmqpStream) -> None:
    stream.called.pauseProducing()
    stream.caller.write(b"never read")
    stream.carry()
    stream.called.line_lost()
    stream.caller.unheard()
    stream.reactor.advance(0)
    assert (stream.near.end, stream.far.end) == ("ConnectionLost", "ConnectionLost")
    assert (stream.far.heard, stream.taken) == (b"", 1)


def test_it_may_be_encrypted_from_end_to_end(tmp_path: Path) -> None:
    make_authority(tmp_path, "test", datetime.now(UTC))
    for name in ("telling", "hearing"):
        make_certificate(tmp_path, name, datetime.now(UTC))
    tls, stream = AgentTls(tmp_path), AmqpStream()
    factory: Any = Factory.forProtocol(lambda: stream.near)
    wrapped = TLSMemoryBIOFactory(tls.client("telling", "hearing"), True, factory, stream.reactor)
    stream.called.begin(stream.far)
    side = tls.server("hearing")
    stream.called.startTLS(side)
    stream.caller.begin(wrapped.buildProtocol(None))
    stream.carry()
    assert side.name == "telling"
    assert stream.near.transport is not None
    assert stream.far.transport is not None
    stream.near.transport.write(b"secret question")
    stream.far.transport.write(b"secret answer")
    stream.reactor.advance(0)
    assert b"secret" not in b"".join(piece.data for piece in stream.there + stream.back)
    stream.carry()
    assert (stream.far.heard, stream.near.heard) == (b"secret question", b"secret answer")


def test_a_piece_of_what_is_encrypted_is_a_sign_of_life(tmp_path: Path) -> None:
    """On a line of 64 kbit/s it is two seconds until all of a record is there."""
    make_authority(tmp_path, "test", datetime.now(UTC))
    for name in ("telling", "hearing"):
        make_certificate(tmp_path, name, datetime.now(UTC))
    stream, signs = AmqpStream(), 0
    inbound = InboundTls(PortTls(AgentConfig("hearing", "127.0.0.1", 1, "", certificates=tmp_path)))

    def sign() -> None:
        nonlocal signs
        signs += 1

    class Port(NotingProtocol):
        def dataReceived(self, data: bytes) -> None:
            if not inbound.takes(self.transport, data, sign):
                super().dataReceived(data)

    stream.far = Port()
    stream.called.begin(stream.far)
    factory: Any = Factory.forProtocol(lambda: stream.near)
    side = AgentTls(tmp_path).client("telling", "hearing")
    stream.caller.begin(TLSMemoryBIOFactory(side, True, factory, stream.reactor).buildProtocol(None))
    stream.carry()
    assert inbound.certified == "telling"
    assert stream.near.transport is not None
    stream.near.transport.write(b"x" * 10_000)
    stream.reactor.advance(0)
    (piece,) = stream.there
    before = signs
    stream.called.take(Piece("one", piece.number, piece.data[:100]), stream.take)
    assert (stream.far.heard, signs) == (b"", before + 1)
    stream.called.take(Piece("one", piece.number + 1, piece.data[100:]), stream.take)
    assert stream.far.heard == b"x" * 10_000


def configured(tmp_path: Path, observatory: str, agent: str = "at = amqp") -> Path:
    path = tmp_path / "pyros_agent_config.ini"
    path.write_text(f"[observatory]\n{observatory}\n[hearing]\nport = 5001\napp = tests.hearing\n{agent}\n")
    return path


def test_where_rabbitmq_is(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "ca.pem").write_text("")
    keys = "amqp = amqps://pyros@rabbit.example.org/north%2Fone\namqp_password = secret\namqp_ca = ca.pem"
    config = load(configured(tmp_path, keys))
    node = Address("rabbit.example.org", 5671)
    assert config.amqp == AmqpConfig((node,), "north/one", "pyros", True, tmp_path / "secret", tmp_path / "ca.pem")
    hearing = config.agent("hearing")
    assert (hearing.amqp, hearing.at) == (config.amqp, None)
    assert hearing.reached == "RabbitMQ at rabbit.example.org:5671"
    assert str(hearing.destination) == "127.0.0.1:5001"
    here = AmqpConfig((Address("localhost", 5672),))
    assert load(configured(tmp_path, "amqp = amqp://localhost")).amqp == here
    assert load(configured(tmp_path, keys, "")).agent("hearing").amqp is None


def test_a_cluster_of_rabbitmqs_has_several_nodes(tmp_path: Path) -> None:
    config = load(configured(tmp_path, "amqp = amqp://localhost,127.0.0.1:5673,[::1]/north"))
    assert config.amqp == AmqpConfig(
        (Address("localhost", 5672), Address("127.0.0.1", 5673), Address("::1", 5672)), "north"
    )
    assert config.agent("hearing").reached == "RabbitMQ at localhost:5672, 127.0.0.1:5673, [::1]:5672"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("name = x", r"\[hearing\] at: amqp needs \[observatory\] amqp = amqps://USER@HOST/VHOST"),
        ("amqp = http://localhost", r"\[observatory\] amqp: is not like amqps://USER@HOST:PORT,HOST:PORT/VHOST"),
        (
            "amqp = amqp://pyros:hunter2@localhost",
            r"\[observatory\] amqp: is not like .* the password is in",
        ),
        ("amqp = amqp://localhost,/north", r"\[observatory\] amqp: is not like"),
        ("amqp = amqp://localhost,tls:localhost", r"\[observatory\] amqp: is not like"),
        ("amqp = amqp://localhost,rabbit.example.org", r"\[observatory\] amqp: would tell the password"),
        ("amqp = amqp://localhost:port", r"\[observatory\] amqp: is not like"),
        ("amqp = amqp://pyros@localhost", r"\[observatory\] amqp_password: missing; a file with the password of pyros"),
        ("amqp = amqp://localhost\namqp_password = hunter2", r"\[observatory\] amqp_password: names no file"),
        ("amqp = amqp://localhost\namqp_ca = secret", r"\[observatory\] amqp_ca: means something only with amqps"),
        ("amqp = amqp://rabbit.example.org", r"\[observatory\] amqp: would tell the password .* amqps:// on another"),
        ("amqp_password = secret", r"\[observatory\] amqp_password: means something only with amqp ="),
    ],
)
def test_what_is_wrong_is_told_without_the_password(tmp_path: Path, keys: str, told: str) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    with pytest.raises(ConfigError, match=told) as error:
        load(configured(tmp_path, keys))
    assert "hunter2" not in str(error.value)


def test_a_password_that_others_may_read_is_told_before_it_is_used(tmp_path: Path) -> None:
    pytest.importorskip("pika")
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "secret").chmod(0o644)
    config = load(configured(tmp_path, "amqp = amqp://pyros@localhost\namqp_password = secret"))
    with pytest.raises(ConfigError, match=r"\[observatory\] amqp_password: .*secret is open to others"):
        amqp_ready(config)


def test_what_goes_through_it_unprotected_is_told_before(tmp_path: Path) -> None:
    config = load(configured(tmp_path, "amqp = amqp://localhost"))
    (problem,) = examine(config, datetime.now(UTC)).problems
    assert "[hearing] at: is reached through RabbitMQ; that needs TLS: [observatory] tls = FOLDER" in problem


def test_the_nodes_of_a_cluster_are_tried_in_turn() -> None:
    pytest.importorskip("pika")
    reactor: Any = InlineReactor()
    nodes = tuple(Address(f"192.0.2.{at}", 5672) for at in (1, 2, 3))

    async def never(_: object) -> None:
        raise AssertionError("nothing was connected")

    line = AmqpLine(reactor, AmqpConfig(nodes), Logger("test"), "", never, lambda: None)
    tried = []
    for _ in range(7):
        reactor.advance(2.0)
        host, _, factory, seconds, *_ = reactor.tcpClients.pop()
        tried.append((int(host[-1]), seconds))
        factory.clientConnectionFailed(None, Failure(RefusedError()))
    assert tried == [(1, 4.0), (2, 4.0), (3, 4.0), (1, 10.0), (2, 10.0), (3, 10.0), (1, 4.0)]
    line.stop()


class LineStandIn:
    """A connection to RabbitMQ, and its channels, of which the last closes last when it is lost."""

    is_open = True

    def __init__(self, *arguments: Any) -> None:
        *_, self.end = arguments
        self.channels: list[ChannelStandIn] = []

    def up(self) -> Deferred[None]:
        return succeed(None)

    def open_channel(self) -> Deferred[ChannelStandIn]:
        self.channels.append(ChannelStandIn(self))
        return succeed(self.channels[-1])


class ChannelStandIn:
    """pika's channel."""

    is_open = True

    def __init__(self, connection: LineStandIn) -> None:
        self.connection = connection
        self.on_closed: Deferred[Any] = Deferred()
        self.published: list[bytes] = []

    def queue_declare(self, *_: Any, **__: Any) -> Deferred[None]:
        return succeed(None)

    def add_on_return_callback(self, _: Any) -> None: ...

    def basic_publish(self, _: str, __: str, body: bytes, *___: Any, **____: Any) -> None:
        self.published.append(body)

    def close(self) -> None:
        assert self.connection.is_open, "pika raises an error"
        self.is_open = False


class Saying(Protocol):
    """Says a word, and notes when its connection has ended."""

    ended = False

    def connectionMade(self) -> None:
        cast("Any", self.transport).write(b"word")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True


def test_each_connection_to_an_agent_has_a_channel_and_ends_with_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pika")
    monkeypatch.setattr(amqp_module, "AmqpLine", LineStandIn)
    reactor: Any = InlineReactor()
    caller = AmqpCaller(reactor, AmqpConfig((Address("192.0.2.1", 5672),)), Logger("test"))
    line: Any = caller.line
    made: list[Any] = []
    for lane in ("one", "two"):
        caller.connect(lane, Factory.forProtocol(Saying)).addCallback(made.append)
    reactor.advance(0.0)
    assert [channel.published for channel in line.channels] == [[b"word"], [b"word"]]
    made[0].transport.abortConnection()
    assert [channel.is_open for channel in line.channels] == [False, True]
    line.is_open = False
    line.end()
    reactor.advance(0.0)
    assert [protocol.ended for protocol in made] == [True, True]


def test_a_channel_that_comes_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pika")
    monkeypatch.setattr(amqp_module, "AmqpLine", LineStandIn)
    reactor: Any = InlineReactor()
    caller = AmqpCaller(reactor, AmqpConfig((Address("192.0.2.1", 5672),)), Logger("test"))
    line: Any = caller.line
    monkeypatch.setattr(ChannelStandIn, "queue_declare", lambda *_, **__: Deferred())
    connecting = caller.connect("one", Factory.forProtocol(Saying))
    connecting.addErrback(lambda failure: failure.trap(CancelledError))
    connecting.cancel()
    assert not line.channels[0].is_open


# With a RabbitMQ ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[CarrierNetwork]:
    with amqp() as made:
        yield made


@pytest.fixture
def place(server: CarrierNetwork, observatory: Callable[..., AgentsObservatory]) -> Iterator[AgentsObservatory]:
    yield observatory("telling", **server.sections)
    server.wan("reset")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_rabbitmq_that_is_killed_loses_and_doubles_nothing(
    observatory: Callable[..., AgentsObservatory], running: Callable[..., Any]
) -> None:
    """Its first death comes 20 s after the queue was made: RabbitMQ 3.10 forgets who leads a younger one, for good."""
    with amqp() as server:
        assert server.node is not None
        place, hearing = observatory("telling", **server.sections), HearingAgent()
        running(place, TellingAgent(), hearing)
        told, old_enough = 0, time.monotonic() + 20.0
        for _ in range(4):
            begin = told
            while time.monotonic() < old_enough or told < begin + 1000:
                tell(place, told, told + 20)
                told += 20
                wait_until(lambda enough=told - 100: len(hearing.heard) > enough)
            server.node.kill()
            tell(place, told, told + 1000)
            told += 1000
            server.node.start()
            wait_until(lambda enough=told - 500: len(hearing.heard) > enough)
        wait_until(lambda: place.up("telling")["outbox"] == {})
        assert hearing.heard == list(range(told))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_partitions_from_rabbitmq_lose_and_double_nothing(
    server: CarrierNetwork, place: AgentsObservatory, running: Callable[..., Any]
) -> None:
    hearing = HearingAgent()
    running(place, TellingAgent(), hearing)
    server.wan("delay 0.05")
    for part in range(9):
        tell(place, part * 50, part * 50 + 25)
        server.wan(("outage", "forget", "cut")[part % 3])
        tell(place, part * 50 + 25, part * 50 + 50)
        server.wan("heal")
        wait_until(lambda part=part: len(hearing.heard) > part * 50 + 40)
    wait_until(lambda: place.up("telling")["outbox"] == {})
    assert hearing.heard == list(range(450))


@pytest.mark.long
def test_agents_speak_tls_through_it(
    server: CarrierNetwork,
    observatory: Callable[..., AgentsObservatory],
    running: Callable[..., Any],
    logged: Callable[[], str],
) -> None:
    sections = server.sections | {"observatory": server.sections["observatory"] | {"tls": "certificates"}}
    place, hearing = observatory("telling", **sections), HearingAgent()
    folder = place.config.certificates
    assert folder is not None
    make_authority(folder, "test", datetime.now(UTC))
    make_certificate(folder, "hearing", datetime.now(UTC))
    shutil.copy2(folder / "hearing.pem", folder / "telling.pem")
    running(place, TellingAgent(), hearing)
    tell(place, 0, 10)
    wait_until(lambda: "the certificate is of 'hearing', and not of 'telling'" in logged())
    assert hearing.heard == []
    (folder / "telling.pem").unlink()
    make_certificate(folder, "telling", datetime.now(UTC))
    wait_until(lambda: len(hearing.heard) == 10)


@pytest.mark.long
def test_plain_text_is_not_taken_through_it(
    server: CarrierNetwork,
    observatory: Callable[..., AgentsObservatory],
    running: Callable[..., Any],
    logged: Callable[[], str],
) -> None:
    """Also on this computer: who speaks through RabbitMQ may be anywhere."""
    place, hearing = observatory("telling", **server.sections), HearingAgent()
    running(place, TellingAgent())
    strict = place.folder / "strict.ini"
    strict.write_text(place.path.read_text().replace("DANGEROUSLY_OFF", "certificates"))
    hearing.start(load(strict))
    tell(place, 0, 3)
    wait_until(lambda: "from another computer nothing is taken without TLS" in logged())
    hearing.stop()
    assert hearing.heard == []


@pytest.mark.long
def test_the_connection_to_rabbitmq_may_be_encrypted(
    tmp_path: Path, observatory: Callable[..., AgentsObservatory], running: Callable[..., Any]
) -> None:
    needs_rabbit()
    authority, folder, port = trustme.CA(), tmp_path / "rabbit", free_port()
    folder.mkdir()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    options = {"cacertfile": "ca.pem", "certfile": "cert.pem", "keyfile": "key.pem"}
    lines = [f"ssl_options.{key} = {folder / name}" for key, name in options.items()]
    with rabbit_node(folder, "\n".join([f"listeners.ssl.default = {port}", *lines, ""])):
        sections = through_rabbit(port)
        sections["observatory"] |= {"amqp": f"amqps://localhost:{port}", "amqp_ca": str(folder / "ca.pem")}
        place, hearing = observatory("telling", **sections), HearingAgent()
        running(place, TellingAgent(), hearing)
        tell(place, 0, 10)
        wait_until(lambda: len(hearing.heard) == 10)
