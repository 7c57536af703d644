"""Connections to agents through RabbitMQ, for where neither side reaches the other.

Each agent that is reached so has a queue of its own, and one for its bulk: quorum queues, whose single active consumer
is the agent. What a sender says to it are pieces of a stream (`pyros.sender.amqp_stream`); the answers come back by a
queue that is only the sender's. Above that everything is as over TCP: greeting, proof of the key, TLS from agent to
agent, numbers and acknowledgements, signs of life. What RabbitMQ confirms means nothing to anybody: a message counts as
delivered when its agent says that it is stored. So nothing needs to stay in the queues for longer than a minute.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as NotInTime
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros.backoff import Backoff
from pyros.clock import cancel_call
from pyros.config import Address, AmqpConfig, Config
from pyros.errors import ConfigError
from pyros.files import read_secret
from pyros.reactor import Reactor
from pyros.sender.amqp_stream import AmqpTransport, Piece, RabbitAddress
from pyros.sender.endpoints import client_endpoint
from pyros.sender.lanes import bulk_lane
from pyros.sender.liveness import PATIENCE_SECONDS, PING_SECONDS
from pyros.sender.tcp import bound_silence
from pyros.unique import new_name

_HEARTBEAT_SECONDS = 5
"""Half as often each side says to the other that it is there; RabbitMQ lets go of a consumer that has been silent for
about twice as long, and another process of the agent takes its place."""

_CONNECT_SECONDS = (4.0, 10.0)
"""How long each step of an attempt may take, in the first round through all nodes and in the second, and so on in turn.
The second is for slow paths. By rounds, lest it is always the same node that gets so long, and that is the dead one."""

_SILENT_SECONDS = PING_SECONDS + PATIENCE_SECONDS
"""A node from which nothing has come for so long, though something should have, is left for another one: it may be cut
off from those that have the queues."""

_CLOSE_SECONDS = 1.0
_ATTEMPTS_UNTOLD = 3
_UNREAD_PIECES = 1000
"""So many pieces RabbitMQ hands on before they are read: what an agent with a full mailbox holds is bounded by it."""

_KEPT_MILLISECONDS = 60_000
"""How long RabbitMQ keeps a piece: its sender has begun another connection by then."""

_QUEUE = {"x-queue-type": "quorum", "x-single-active-consumer": True, "x-message-ttl": _KEPT_MILLISECONDS}
_ENDS = "end"
_ECHO = "echo"
"""The stream of what an agent says to itself: nobody answers it."""

logging.getLogger("pika").addHandler(logging.NullHandler())
logging.getLogger("pika").propagate = False  # what matters is told by us


def amqp_ready(config: Config) -> AmqpConfig | None:
    """Return where RabbitMQ is, if it is used. Raises ConfigError: the extra isn't installed; no password is there."""
    server = config.amqp
    if server is None:
        return None
    try:
        import pika  # noqa: F401, PLC0415  the extra [amqp]
    except ImportError:
        raise ConfigError([f"{config.path}: [observatory] amqp: needs pip install 'pyros-observatory[amqp]'"]) from None
    try:
        _password(server)
    except ValueError as error:
        raise ConfigError([f"{config.path}: [observatory] amqp_password: {server.password} {error}"]) from None
    return server


def _password(server: AmqpConfig) -> str:
    return read_secret(server.password) if server.password is not None else "guest"


class AmqpLine:
    """One connection to RabbitMQ, made again whenever it ends: to the next node, where it is a cluster."""

    def __init__(
        self,
        reactor: Reactor,
        server: AmqpConfig,
        log: Logger,
        purpose: str,
        begin: Callable[[Any], Any],
        end: Callable[[], None],
    ) -> None:
        """Begin to connect; ``purpose`` is for the log.

        ``begin(channel)`` is awaited on each new connection; ``end()`` is called when that is lost.
        """
        self.channel: Any = None
        """pika's channel while the connection stands and has begun."""
        self.trouble = ""
        """Why there is no connection; '' while there is one."""
        self._reactor = reactor
        self._server = server
        self._log = log
        self._purpose = purpose
        self._begin = begin
        self._end = end
        self._node = 0
        self._connection: Any = None
        self._heard = self._since = 0.0
        self._backoff = Backoff(0.2, 0.5, 1.0, 2.0)
        self._waiting: list[Deferred[None]] = []
        self._told = False
        self._stopping = False
        self._living: Deferred[None] = Deferred.fromCoroutine(self._live())

    def up(self) -> Deferred[None]:
        """Fire when the connection stands."""
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        if self.channel is not None:
            waiting.callback(None)
        else:
            self._waiting.append(waiting)
        return waiting

    def heard(self) -> None:
        """Note that something has come through it."""
        self._heard = self._reactor.seconds()

    def silence(self) -> float:
        """Since how many seconds nothing has come; 0 where there is no connection, or no other node."""
        several = len(self._server.nodes) > 1
        return self._reactor.seconds() - self._heard if several and self.channel is not None else 0.0

    def leave_silent_node(self) -> None:
        """Go to another node, if nothing has come from this one although something should have."""
        if self.silence() >= _SILENT_SECONDS:
            self._log.debug("nothing comes through RabbitMQ at {node}", node=self._server.nodes[self._node])
            self._connection.transport.abortConnection()

    def open_channel(self) -> Deferred[Any]:
        """Fire with a further channel of the connection, which stands (`up`).

        One that comes when it isn't waited for any more is closed: after its disk was full, say, RabbitMQ answers late.
        """
        opened: Deferred[Any] = Deferred()

        def comes(channel: Any) -> None:
            if opened.called:
                _close(channel)
            else:
                opened.callback(channel)

        def fails(failure: Failure) -> None:
            if not opened.called:
                opened.errback(failure)

        self._connection.channel().addCallbacks(comes, fails)
        return opened

    def stop(self) -> Deferred[None]:
        """Close it; what was published before goes out, but not for long."""
        self._stopping = True
        self._living.cancel()
        return self._living.addErrback(lambda _: None)

    async def _live(self) -> None:
        while not self._stopping:
            try:
                await self._serve()
                trouble = "it has closed the connection"
            except Exception as error:  # of pika, of Twisted, of the system
                trouble = _in_words(error)
            if self._stopping:
                return
            self.trouble = trouble
            self._log.debug(
                "RabbitMQ at {node} carries {what} no more: {trouble}",
                node=self._server.nodes[self._node], what=self._purpose, trouble=trouble,
            )  # fmt: skip
            self._node = (self._node + 1) % len(self._server.nodes)
            pause = self._backoff.next_pause()
            if self._backoff.failures == _ATTEMPTS_UNTOLD and not self._told:
                self._told = True
                self._log.warn("RabbitMQ at {where}: {trouble}", where=self._server.where, trouble=trouble)
            await deferLater(self._reactor, pause)

    async def _serve(self) -> None:
        """Keep one connection until it ends."""
        from pika.adapters.twisted_connection import TwistedProtocolConnection  # noqa: PLC0415  the extra [amqp]

        node = self._server.nodes[self._node]
        patience = _CONNECT_SECONDS[self._backoff.failures // len(self._server.nodes) % len(_CONNECT_SECONDS)]
        endpoint: Any = client_endpoint(self._reactor, node, patience)
        if self._server.tls:
            endpoint = wrapClientTLS(self._trust(node), endpoint)
        parameters = self._parameters(node)
        connecting = endpoint.connect(
            Factory.forProtocol(partial(TwistedProtocolConnection, parameters, custom_reactor=self._reactor))
        )
        # A name that is being looked up has no time-out of its own.
        connection = self._connection = await connecting.addTimeout(patience + 1.0, self._reactor)
        try:
            bound_silence(connection.transport)
            await connection.ready.addTimeout(patience, self._reactor)
            closed = connection.closed
            channel = await connection.channel()
            await Deferred.fromCoroutine(self._begin(channel)).addTimeout(patience, self._reactor)
            self.channel, self.trouble = channel, ""
            self.heard()
            self._since = self._reactor.seconds()
            self._log.debug("RabbitMQ at {node} carries {what}", node=node, what=self._purpose)
            if self._told:
                self._told = False
                self._log.info("RabbitMQ at {where} is back", where=self._server.where)
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)
            reason = await channel.on_closed
            if isinstance(reason, Exception):
                raise reason
        finally:
            if self.channel is not None:
                self._backoff.ended(self._reactor.seconds() - self._since)
            self.channel = self._connection = None
            self._end()
            if connection.is_open:
                connection.close()
                await closed.addTimeout(_CLOSE_SECONDS, self._reactor, onTimeoutCancel=lambda *_: None)
            connection.transport.abortConnection()

    def _parameters(self, node: Address) -> Any:
        from pika import ConnectionParameters, PlainCredentials  # noqa: PLC0415  the extra [amqp]

        server = self._server
        return ConnectionParameters(
            node.host, node.port, server.vhost, PlainCredentials(server.user, _password(server)),
            heartbeat=_HEARTBEAT_SECONDS, client_properties={"product": "PYROS"},
        )  # fmt: skip

    def _trust(self, node: Address) -> Any:
        from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates  # noqa: PLC0415

        authority = self._server.authority
        trusted = (
            None if authority is None else trustRootFromCertificates([Certificate.loadPEM(authority.read_bytes())])
        )
        return optionsForClientTLS(node.host, trusted)


def _in_words(error: Exception) -> str:
    """Return in one line what is wrong."""
    if isinstance(error, NotInTime):
        return "it doesn't answer in time"
    return " ".join((str(error) or type(error).__name__).split())[:300]


def _piece(properties: Any, body: bytes) -> Piece | None:
    """Read a message of a queue; None: it is not one of ours."""
    stream, number = properties.correlation_id, properties.message_id or ""
    if not isinstance(stream, str) or not 0 < len(stream) <= 64 or not number.isascii() or not number.isdigit():
        return None
    return Piece(stream, int(number[:12]), body, properties.type == _ENDS)


def _close(channel: Any) -> None:
    """Close a channel, if it is open; when a connection is lost, pika closes its channels one after the other."""
    if channel.is_open and channel.connection.is_open:
        channel.close()


def _publish(channel: Any, queue: str, piece: Piece, reply_to: str = "") -> None:
    """Hand a piece to RabbitMQ, if there is a connection."""
    if channel is None or not channel.is_open:
        return
    from pika import BasicProperties  # noqa: PLC0415  the extra [amqp]

    properties = BasicProperties(
        correlation_id=piece.stream, message_id=str(piece.number), reply_to=reply_to or None,
        type=_ENDS if piece.ends else None, delivery_mode=1,
    )  # fmt: skip
    channel.basic_publish("", queue, piece.data, properties, mandatory=True)


class AmqpCaller:
    """A sender's connection to RabbitMQ, and its connections to agents through it, each by a channel of its own.

    RabbitMQ knows for each channel which node leads a queue. What is published on it while that node dies may wait
    there, with all that follows (3.10.8: for 40 s and longer); a new channel asks again.
    """

    def __init__(self, reactor: Reactor, server: AmqpConfig, log: Logger) -> None:
        self._reactor = reactor
        self._streams: dict[str, AmqpTransport] = {}
        self._declared: set[str] = set()
        self._answers = ""
        self.line = AmqpLine(reactor, server, log, "what is said to others", self._begin, self._lost)

    def connect(self, lane: str, factory: Any) -> Deferred[Any]:
        """Begin a connection to an agent's lane, with one of ``factory``'s protocols, which is given."""
        return Deferred.fromCoroutine(self._connect(queue_of(lane), factory))

    def doubt(self) -> None:
        """Go to another node, if no agent has said anything through this one for long."""
        self.line.leave_silent_node()

    def stop(self) -> Deferred[None]:
        return self.line.stop()

    async def _connect(self, queue: str, factory: Any) -> Any:
        await self.line.up()
        channel, answers = await self.line.open_channel(), self._answers
        try:
            if queue not in self._declared:
                await channel.queue_declare(queue, durable=True, arguments=_QUEUE)
                self._declared.add(queue)
        except BaseException:
            _close(channel)
            raise
        protocol = factory.buildProtocol(RabbitAddress())

        def forget(transport: AmqpTransport) -> None:
            self._streams.pop(transport.stream, None)
            _close(channel)

        transport = AmqpTransport(
            self._reactor, new_name(16), lambda piece: _publish(channel, queue, piece, answers), forget
        )
        self._streams[transport.stream] = transport
        channel.add_on_return_callback(self._returned)
        channel.on_closed.addBoth(lambda _: transport.line_lost())
        transport.begin(protocol)
        return protocol

    async def _begin(self, channel: Any) -> None:
        declared = await channel.queue_declare("", exclusive=True, auto_delete=True)
        self._answers = declared.method.queue
        messages, _ = await channel.basic_consume(self._answers, auto_ack=True)
        _consume(channel, messages, self._take)

    def _take(self, message: Any) -> None:
        self.line.heard()
        piece = _piece(message.properties, message.body)
        if piece is not None and piece.stream in self._streams:
            self._streams[piece.stream].take(piece, _nothing)

    def _returned(self, message: Any) -> None:
        """End a connection to an agent whose queue isn't there: somebody has deleted it."""
        self._declared.clear()
        transport = self._streams.get(message.properties.correlation_id)
        if transport is not None:
            transport.unheard()

    def _lost(self) -> None:
        self._declared.clear()
        for transport in list(self._streams.values()):
            transport.line_lost()


class AmqpIntake:
    """What comes for an agent through RabbitMQ: it goes to the agent's port as other connections do."""

    def __init__(self, reactor: Reactor, server: AmqpConfig, log: Logger, name: str, port: Any) -> None:
        """``port`` makes the protocols of connections, as a Twisted factory does."""
        self._lanes = [_Lane(reactor, server, log, lane, port) for lane in (name, bulk_lane(name))]

    def stop(self) -> Deferred[Any]:
        """Take no more; fires when nothing is open."""
        return DeferredList([lane.line.stop() for lane in self._lanes])


class _Lane:
    """One queue of an agent."""

    def __init__(self, reactor: Reactor, server: AmqpConfig, log: Logger, lane: str, port: Any) -> None:
        self._reactor = reactor
        self._queue = queue_of(lane)
        self._port = port
        self._streams: dict[str, AmqpTransport] = {}
        self._unread: deque[int] = deque()
        """Delivery tags that RabbitMQ waits for, in their order."""
        self._read: set[int] = set()
        """Those of them whose pieces were read."""
        self._settle_call: Any = None
        self._look_call: Any = None
        self.line = AmqpLine(reactor, server, log, f"what is said to {lane}", self._begin, self._lost)

    async def _begin(self, channel: Any) -> None:
        await channel.queue_declare(self._queue, durable=True, arguments=_QUEUE)
        await channel.basic_qos(prefetch_count=_UNREAD_PIECES)
        channel.add_on_return_callback(self._returned)
        messages, _ = await channel.basic_consume(self._queue)
        _consume(channel, messages, self._take)
        self._look_call = self._reactor.callLater(PING_SECONDS, self._look)

    def _look(self) -> None:
        """Where nothing comes, say something to oneself: whether the queue is reached by this node."""
        self._look_call = self._reactor.callLater(PATIENCE_SECONDS, self._look)
        if not self._unread:  # else it is we who take nothing
            self.line.leave_silent_node()
            if self.line.silence() >= PING_SECONDS:
                _publish(self.line.channel, self._queue, Piece(_ECHO, 0))

    def _take(self, message: Any) -> None:
        self.line.heard()
        tag = message.method.delivery_tag
        self._unread.append(tag)
        taken = partial(self._taken, message.channel, tag)
        piece, reply_to = _piece(message.properties, message.body), message.properties.reply_to
        if piece is None or not reply_to:
            taken()
            return
        transport = self._streams.get(piece.stream)
        if transport is None and piece.number == 0 and not piece.ends:
            transport = self._called(piece.stream, reply_to)
        if transport is not None:
            transport.take(piece, taken)
            return
        taken()
        if not piece.ends:  # such as the rest of a connection to this agent before its restart
            _publish(self.line.channel, reply_to, Piece(piece.stream, 0, ends=True))

    def _called(self, stream: str, reply_to: str) -> AmqpTransport | None:
        protocol = self._port.buildProtocol(None)
        if protocol is None:
            return None
        transport = AmqpTransport(
            self._reactor, stream, lambda piece: _publish(self.line.channel, reply_to, piece), self._forget
        )
        self._streams[stream] = transport
        transport.begin(protocol)
        return transport

    def _forget(self, transport: AmqpTransport) -> None:
        self._streams.pop(transport.stream, None)

    def _taken(self, channel: Any, tag: int) -> None:
        """Note that a piece was read; RabbitMQ hears of all of them at once, after this turn of the reactor."""
        self._read.add(tag)
        if self._settle_call is None and self._unread and self._unread[0] == tag:
            self._settle_call = self._reactor.callLater(0, self._settle, channel)

    def _settle(self, channel: Any) -> None:
        self._settle_call = None
        last = 0
        while self._unread and self._unread[0] in self._read:
            last = self._unread.popleft()
            self._read.discard(last)
        if last and channel.is_open:
            channel.basic_ack(last, multiple=True)

    def _returned(self, message: Any) -> None:
        """End a connection whose sender has gone, and the queue for its answers, too."""
        transport = self._streams.get(message.properties.correlation_id)
        if transport is not None:
            transport.unheard()

    def _lost(self) -> None:
        cancel_call(self._settle_call)
        self._settle_call = None
        cancel_call(self._look_call)
        for transport in list(self._streams.values()):
            transport.line_lost()
        self._unread.clear()
        self._read.clear()


def queue_of(lane: str) -> str:
    """Return the name of the queue of an agent, or of its bulk."""
    return f"pyros.{lane}"


def _nothing() -> None:
    pass


def _consume(channel: Any, messages: Any, take: Callable[[Any], None]) -> None:
    """Hand on what comes in a queue, until the channel ends."""

    async def consume() -> None:
        while True:
            try:
                message = await messages.get()
            except Exception:  # it was closed, or RabbitMQ has taken the queue away: then all begins anew
                if channel.is_open:
                    channel.close()
                return
            take(message)

    def failed(failure: Failure) -> None:
        Logger("pyros").failure("what came through RabbitMQ could not be taken", failure)
        channel.close()

    Deferred.fromCoroutine(consume()).addErrback(failed)
