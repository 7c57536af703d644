"""An agent's port: text clients and frames on one listening socket. Runs in the reactor's thread."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Container
from ipaddress import ip_address
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros import wire
from pyros.agents.runtime.batches import Batch, BatchAnswer
from pyros.agents.runtime.direct_writer import DirectWriter
from pyros.clock import Clock, cancel_call
from pyros.config import AgentConfig
from pyros.errors import WireError
from pyros.line_limit import LineLimit
from pyros.printable import printable
from pyros.reactor import Reactor
from pyros.sender.inbound import InboundHandshake, InboundPort
from pyros.sender.inbound_tls import InboundTls, PortTls
from pyros.sender.tcp import bound_silence
from pyros.unique import new_name

FIRST_BYTE_TIMEOUT = 60.0
HALF_FRAME_TIMEOUT = 30.0
SLOWEST_BYTES = 1000.0
"""Bytes a second, at least, at which a message must come after that from who has not proved the key."""
AFTER_ANSWER_TIMEOUT = 10.0
CLOSE_TIMEOUT = 2.0
BLOCKED_TIMEOUT = 30.0
MAX_ANONYMOUS = 200
"""Connections that have not said which agent they are; beyond this the one that has been silent longest goes."""

MAX_CONNECTIONS = 512
"""Connections of all agents of a process, or a quarter of the files that it may open, if that is less: some need two,
and devices, journals and links need the others. Beyond this the ones that matter least go; see `Crowd`."""

_TELL_SECONDS = 60.0

MAX_FIRST_FRAME = 64 * 1024
"""Bytes of a frame from somebody who has not said hello."""

MAX_WAITING = 8192
MAX_WAITING_BYTES = 32 * 1024 * 1024


class Crowd:
    """The connections to all agents that live on one reactor, oldest first: together they may not use up its files."""

    _crowds: ClassVar[WeakValueDictionary[int, Crowd]] = WeakValueDictionary()
    """By their reactors' identities: a reactor as the key would live on by the connections of its own crowd."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.limit = min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self.open: dict[AgentConnection, None] = {}
        self._told = -math.inf

    @classmethod
    def of(cls, reactor: Reactor) -> Crowd:
        """Return the crowd of this reactor."""
        crowd = cls._crowds.get(id(reactor))
        if crowd is None:
            crowd = cls._crowds[id(reactor)] = cls(reactor)
        return crowd

    @property
    def roomy(self) -> bool:
        """Whether a stranger may have a second file for its answers."""
        return len(self.open) <= self.limit // 2

    def admits(self, log: Logger) -> bool:
        """Whether there is room for one more; where it is scarce, the connection that matters least is closed."""
        if len(self.open) < self.limit:
            return True
        now = self._reactor.seconds()
        if now - self._told > _TELL_SECONDS:
            self._told = now
            log.warn("more than {count} connections: the ones that matter least are closed", count=self.limit)
        victim = self._least()
        if victim is not None:
            victim.give_way()
        # What was told to go counts until the reactor's next round, and in one round it may accept some hundred.
        return victim is not None and len(self.open) < 2 * self.limit

    def _least(self) -> AgentConnection | None:
        """Choose the connection that goes when there are too many; None when they are all agents'.

        Nobody in particular goes before strangers with a name, one that waits for an answer last; of each the one that
        has been there longest.
        """
        ranked = [(rank, connection) for connection in self.open if (rank := connection.rank()) is not None]
        return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


class AgentPort(ServerFactory):
    """Makes the connections of one agent and keeps the mailbox bounded."""

    noisy = False

    def __init__(
        self,
        section: AgentConfig,
        reactor: Reactor,
        clock: Clock,
        log: Logger,
        put: Callable[[Batch], None],
        last_seq: Callable[[tuple[str, str]], int],
        status: Callable[[], dict[str, Any]],
        key: bytes,
        agents: Container[str],
    ) -> None:
        """Take what the port hands on and asks for.

        ``put`` hands a batch to the mailbox; ``last_seq`` and ``status`` answer from any thread. ``key`` is the
        observatory's, and ``agents`` are the names that nobody may use without it.
        """
        self.crowd = Crowd.of(reactor)
        self.section = section
        self.reactor = reactor
        self.clock = clock
        self.log = log
        self.last_seq = last_seq
        self.status = status
        self.tls = PortTls(section)
        self.receiver = InboundPort(section.name, key, agents, reactor, takes_fleeting=True, lanes=True)
        self.lines, self._strangers = LineLimit(clock.monotonic), LineLimit(clock.monotonic)
        self.waiting = 0
        self.waiting_bytes = 0
        self.connections: dict[AgentConnection, None] = {}
        self._closing: Deferred[None] | None = None
        self._put = put
        self._paused: dict[AgentConnection, None] = {}
        self._text_prefix = new_name(4)
        self._text_number = 0

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        host = getattr(addr, "host", "")
        if not self._allowed(host):
            self._strangers.tell(self.log.warn, "connection from {host} is not allowed", host=host)
            return _NotAllowed(host)
        if not self.crowd.admits(self.log):
            return None  # Twisted closes it at once
        return AgentConnection(self)

    def opened(self, connection: AgentConnection) -> None:
        self.connections[connection] = None
        anonymous = [other for other in self.connections if other.peer is None]
        if len(anonymous) > MAX_ANONYMOUS:
            text = "more than {count} unknown connections: the oldest is closed"
            self.lines.tell(self.log.warn, text, count=MAX_ANONYMOUS)
            anonymous[0].drop("too many connections")

    def closed(self, connection: AgentConnection) -> None:
        self.connections.pop(connection, None)
        self._paused.pop(connection, None)
        if self._closing is not None and not self.connections and not self._closing.called:
            self._closing.callback(None)

    def put(self, connection: AgentConnection, batch: Batch) -> None:
        """Into the mailbox; when that is full, stop reading from this connection, and TCP pushes back."""
        self.waiting += len(batch.entries)
        self.waiting_bytes += batch.size
        self._put(batch)
        if self._full():
            self._paused[connection] = None
            connection.hold("mailbox")

    def put_fleeting(self, batch: Batch) -> None:
        """Put fleeting messages into the mailbox; where that is full, they are dropped."""
        if not self._full():
            self.waiting += len(batch.entries)
            self.waiting_bytes += batch.size
            self._put(batch)

    def done(self, batch: Batch) -> None:
        """Note that a batch has left the mailbox."""
        self.waiting -= len(batch.entries)
        self.waiting_bytes -= batch.size
        if self._paused and not self._full():
            paused, self._paused = self._paused, {}
            for connection in paused:
                connection.release("mailbox")

    def close_all(self) -> Deferred[None]:
        """Close every connection after its last answer; fires when all are closed."""
        self._closing = Deferred() if self.connections else succeed(None)
        for connection in list(self.connections):
            connection.close()
        return self._closing

    def text_id(self) -> str:
        self._text_number += 1
        return f"{self._text_prefix}-{self._text_number}"

    def _full(self) -> bool:
        return self.waiting > MAX_WAITING or self.waiting_bytes > MAX_WAITING_BYTES

    def _allowed(self, host: str) -> bool:
        if not host:
            return True  # an in-memory connection of a rehearsal
        address = ip_address(host.removeprefix("::ffff:"))
        return any(address in network for network in self.section.allow)


def _acknowledgement(answer: BatchAnswer) -> bytes:
    return wire.encode_frame(wire.Frame(ack=answer.last, refused=answer.refused or None))


class _NotAllowed(Protocol):
    def __init__(self, host: str) -> None:
        self._host = host

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(f"ERR connections from {self._host} are not allowed here\n".encode())
        transport.loseConnection()


@implementer(IHalfCloseableProtocol, IPushProducer)
class AgentConnection(Protocol):
    """One client. ``peer`` is set once its hello has been welcomed."""

    def __init__(self, port: AgentPort) -> None:
        self._port = port
        self._decoder = wire.Decoder()
        self._decoder.limit = MAX_FIRST_FRAME
        self._handshake = InboundHandshake(port.receiver, self)
        self._tls = InboundTls(port.tls)
        self._direct_writer: DirectWriter | None = None
        self._written = False
        self._under_way = 0
        self._ended = False
        self._lost = False
        self._holds: set[str] = set()
        self._half_since: float | None = None
        """Since when half a message is there, seconds of the reactor."""
        self._timer: IDelayedCall | None = port.reactor.callLater(
            FIRST_BYTE_TIMEOUT, self._timed_out, "nothing was sent"
        )

    @property
    def peer(self) -> tuple[str, str] | None:
        return self._handshake.peer

    @property
    def certified(self) -> str | None:
        return self._tls.certified

    @property
    def unread(self) -> bool:
        """Whether what the client says is not being read at present."""
        return bool(self._holds)

    def connectionMade(self) -> None:
        transport: Any = self.transport
        bound_silence(transport)
        transport.registerProducer(self, True)
        self._port.crowd.open[self] = None
        self._port.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        if trouble := self._tls.trouble(reason):
            self._port.log.warn("{trouble}", trouble=trouble)
        if self._direct_writer is not None:
            self._direct_writer.close()
        self._set_timer(None)
        self._handshake.on_closed()
        self._port.crowd.open.pop(self, None)
        self._port.closed(self)

    def rank(self) -> int | None:
        """How little the connection matters, 0 for least; None when it must stay: an agent that has proved the key."""
        if self._lost or (self._handshake.proved and self.peer and self._port.receiver.is_agent(self.peer[0])):
            return None
        return (self.peer is not None) + 2 * (self._under_way > 0)

    def give_way(self) -> None:
        """Close at once, for another connection."""
        transport: Any = self.transport
        self.drop("too many connections")
        transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._lost:
            return
        try:
            if self._tls.takes(self.transport, data, self._handshake.on_life):
                return
            self._handshake.on_bytes(len(data))
            events = self._decoder.feed(data)
            if not (events and all(isinstance(event, wire.Frame) and event.fleeting is not None for event in events)):
                self._handshake.on_life()
            for event in events:
                if isinstance(event, wire.TextLine):
                    self._line(event)
                elif self._lost:
                    return
                else:
                    self._frame(event)
            if events:
                self._half_since = None
        except WireError as error:
            self._decoder.begin(data)
            self.drop(str(error))
            return
        self._watch()

    def _line(self, line: wire.TextLine) -> None:
        if not line.text.strip():
            return
        try:
            name, payload = wire.parse_line(line.text)
        except WireError as error:
            self._say(f"ERR {error}")
            return
        clock = self._port.clock
        entry = wire.Entry(0, self._port.text_id(), name, clock.time(), msgspec.Raw(payload), clock.monotonic())
        transport: Any = self.transport
        self._under_way += 1
        self._port.put(
            self, Batch([entry], f"text:{getattr(transport.getPeer(), 'host', 'local')}", None, self, size=entry.size)
        )

    def _frame(self, frame: wire.Frame) -> None:
        if frame.messages is not None:
            if self.peer is None:
                raise WireError("say hello first")
            if frame.messages:
                self._under_way += 1
                size, proved = wire.size_of(frame.messages), self._handshake.proved
                batch = Batch(
                    frame.messages, self.peer[0], self.peer, self,
                    size=size, clock_offset=self._handshake.ahead, clock_doubt=self._handshake.doubt, proved=proved,
                    after=frame.after,
                )  # fmt: skip
                self._port.put(self, batch)
        elif frame.fleeting is not None:
            self._take_fleeting(frame.fleeting)
        elif frame.hello is not None:
            roomy = self._port.crowd.roomy or self._port.receiver.is_agent(frame.hello.sender)
            if roomy and not self._written and self._direct_writer is None:
                self._direct_writer = DirectWriter.of(self.transport)
            self._handshake.on_frame(frame)
        elif self._handshake.on_frame(frame):
            return
        elif frame.query == "status":
            self.send(wire.Frame(status=self._port.status()))
        elif frame.query is not None:
            raise WireError(f"unknown query {frame.query[:80]!r}; there is: status")
        else:
            raise WireError("this frame means nothing here; there are: hello, proof, messages, fleeting, query")

    def _take_fleeting(self, fleeting: list[wire.FleetingEntry]) -> None:
        if self.peer is None:
            raise WireError("say hello first")
        entries = [wire.Entry(0, each.id, each.name, each.sent, each.payload, each.said) for each in fleeting]
        if entries:
            self._port.put_fleeting(
                Batch(
                    entries, self.peer[0], None, self, size=wire.size_of(entries),
                    clock_offset=self._handshake.ahead, clock_doubt=self._handshake.doubt,
                    proved=self._handshake.proved, fleeting=True,
                )
            )  # fmt: skip
        self._handshake.on_fleeting()

    def welcomed(self) -> int:
        """Let the client send messages from here on; returns the last that was committed of its numbers."""
        assert self.peer is not None
        last = self._port.last_seq(self.peer)
        self._watch()
        return last

    # From the mailbox --------------------------------------------------------------------------------------------

    def acknowledge(self, batch: Batch, answer: BatchAnswer) -> bool:
        """Tell another agent, without waiting for the reactor, that the turn is on disk. In the agent's thread."""
        if self._direct_writer is None or batch.peer is None or answer.missing is not None:
            return False
        self._direct_writer.send(_acknowledgement(answer))
        return True

    @property
    def awaits_reactor(self) -> bool:
        """Whether it is to be read again, closed, or written to by the reactor after a batch."""
        return bool(self._holds) or self._ended or self._direct_writer is None or not self._direct_writer.is_open

    def committed(self, batch: Batch, answer: BatchAnswer, told: bool) -> None:
        """Acknowledge a turn that is on disk, unless that was done."""
        self._port.done(batch)
        if batch.fleeting:
            return
        self._under_way -= 1
        if self._lost:
            return
        if batch.peer is None:
            refused = answer.refused
            self._say(f"ERR {refused[0].reason}" if refused else f"OK {answer.ids[0]}")
        elif answer.missing is not None:
            self.drop(f"message {answer.missing} is missing before the ones that came")
            return
        else:
            self._write(b"" if told else _acknowledgement(answer))
            if not self._under_way:
                self._handshake.on_answer()
        self._watch()
        self._close_if_done()

    def not_stored(self, batch: Batch, reason: str) -> None:
        """Tell a text client that nothing is stored; an agent's messages stay in the mailbox, unacknowledged."""
        self._port.done(batch)
        if batch.fleeting:
            return
        self._under_way -= 1
        if not self._lost:
            self._say(f"ERR {reason}")
            self._close_if_done()

    # The connection ----------------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        self._write(printable(line).encode() + b"\n")

    def send(self, frame: wire.Frame) -> None:
        """Reactor's thread."""
        self._write(wire.encode_frame(frame))

    def _write(self, data: bytes) -> None:
        if self._lost:
            return
        if self._direct_writer is not None:
            if data:
                self._direct_writer.send(data)
            data = self._direct_writer.rest()
        if data:
            self._written = True
            transport: Any = self.transport
            transport.write(data)

    def drop(self, reason: str) -> None:
        """Say why, and close."""
        if self._lost:
            return
        if self._decoder.frames:
            self.send(wire.Frame(error=reason))
        elif self._decoder.frames is False:
            self._say(f"ERR {reason}")
        self._lost = True
        self._set_timer(5.0, "the peer does not close")
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.loseConnection()
        self._handshake.on_closed()
        self._port.closed(self)

    def close(self) -> None:
        """End the connection: the agent stops, or the client has all its answers."""
        if not self._lost:
            self._set_timer(CLOSE_TIMEOUT, "its answers are not read")
            transport: Any = self.transport
            transport.unregisterProducer()
            transport.loseConnection()

    def readConnectionLost(self) -> None:
        """Serve what a client sent that has closed its sending side, then close."""
        self._ended = True
        try:
            for event in self._decoder.finish():
                if isinstance(event, wire.TextLine):
                    self._line(event)
        except WireError as error:
            self.drop(str(error))
            return
        self._close_if_done()

    def writeConnectionLost(self) -> None:
        """Cut off a client that will not read: nothing it sends can be answered."""
        transport: Any = self.transport
        transport.abortConnection()

    def _close_if_done(self) -> None:
        if self._ended and not self._under_way and not self._lost:
            self.close()

    def _watch(self) -> None:
        """Which silence to bear from here on."""
        if "answers" in self._holds:
            return  # the timer that pauseProducing has set goes on
        if self._lost or self._under_way or self._holds:
            self._half_since = None
            self._set_timer(None)
        elif len(self._decoder):
            self._set_timer(self._patience_for_half(), "half a message and then silence")
        elif self.peer is not None:
            self._set_timer(None)  # agents may be silent for hours; TCP's keep-alive finds the dead ones
        else:
            self._set_timer(AFTER_ANSWER_TIMEOUT, "silence")

    def _patience_for_half(self) -> float:
        """Seconds that the rest of a message may take: a byte now and then keeps nobody's connection who is unknown."""
        if self._handshake.proved:
            return HALF_FRAME_TIMEOUT
        now = self._port.reactor.seconds()
        self._half_since = now if self._half_since is None else self._half_since
        left = self._half_since + HALF_FRAME_TIMEOUT + len(self._decoder) / SLOWEST_BYTES - now
        return max(0.0, min(HALF_FRAME_TIMEOUT, left))

    def _set_timer(self, seconds: float | None, reason: str = "") -> None:
        cancel_call(self._timer)
        self._timer = None if seconds is None else self._port.reactor.callLater(seconds, self._timed_out, reason)

    def _timed_out(self, reason: str) -> None:
        transport: Any = self.transport
        if transport is not None:
            self._port.lines.tell(self._port.log.debug, "connection dropped: {reason}", reason=reason)
            transport.abortConnection()

    def hold(self, why: str) -> None:
        """Stop reading; the same reason may be given again, and is taken back once."""
        if self._lost:
            return
        self._holds.add(why)
        transport: Any = self.transport
        transport.pauseProducing()
        self._handshake.on_hold()
        self._watch()

    def release(self, why: str) -> None:
        """Read again, unless there is another reason not to."""
        self._holds.discard(why)
        if not self._holds and not self._lost and not self._ended:
            transport: Any = self.transport
            transport.resumeProducing()
        self._watch()

    def pauseProducing(self) -> None:
        """Twisted's word that the client does not read its answers; it comes with every further one."""
        if "answers" not in self._holds:
            self.hold("answers")
            self._set_timer(BLOCKED_TIMEOUT, "its answers are not read")

    def resumeProducing(self) -> None:
        self.release("answers")

    def stopProducing(self) -> None:
        """Forget the transport, which is closing."""
