"""What carries frames to another agent: connections that are made, greeted, watched, and made again when they end.

A `Carrier` knows nothing of numbers and queues: those are the link's (`pyros.sender.link`), whatever carries frames.
Everything here runs in the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol as Interface

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros import wire
from pyros.backoff import Backoff
from pyros.clock import cancel_call
from pyros.config import AgentConfig, is_here
from pyros.errors import WireError
from pyros.reactor import Reactor
from pyros.sender.amqp import AmqpCaller
from pyros.sender.endpoints import client_endpoint
from pyros.sender.handshake import SenderHandshake
from pyros.sender.liveness import Path, SenderWatch
from pyros.sender.tcp import bound_silence, bound_unanswered
from pyros.sender.tls import TlsSide
from pyros.tls_words import of_failure

_PATIENCE_SECONDS = (4.0, 4.0, 10.0)
"""How long the first, the second and the third attempt in a row may take to connect, and then to be silent until we are
welcomed. The third is for paths that need so long; and so on in turn. The kernel's own next attempt never comes later
than 4 s."""

_GREETING_PATIENCES = 5.0
"""How often as long a whole greeting may take, however often a piece of it comes."""
_CLOSE_SECONDS = 1.0
RECONNECT_SECONDS = (0.2, 0.4, 0.8, 1.6, 2.0)
"""Pauses between attempts to connect, see `Backoff`: short ones, so that an agent that is back is found soon.

What an attempt has taken itself counts as a pause: in one that takes 10 s the kernel's own last one was 3 s ago."""
_ABSENT_AFTER, _ABSENT_SECONDS = 20, 4.0
"""After so many attempts in a row, in about half a minute, an agent of this computer is asked only so often: its port
refuses at once, and only its own start mends that."""

_ATTEMPTS_UNTOLD = 3
"""The log says that an agent's messages wait after so many failed attempts."""


class Connection(Interface):
    """One connection to an agent, as a link uses it."""

    @property
    def open(self) -> bool:
        """Whether it is the carrier's present one, and nothing has ended it."""
        ...

    def write(self, frame: wire.Frame) -> None: ...

    def in_use(self) -> None:
        """Note that the link goes on here: the next attempt after a break comes soon."""
        ...

    def fail(self, reason: str) -> None:
        """End it; the carrier will make another one."""
        ...


class Carried(Interface):
    """A link, as its carrier uses it."""

    log: Logger

    @property
    def answered_all(self) -> bool: ...

    def welcomed(self, connection: Connection, welcome: wire.Welcome) -> None:
        """Go on over this connection. Raises WireError: it must be ended with that reason."""
        ...

    def answered(self, seq: int, refusals: list[wire.Refusal]) -> None: ...

    def broken(self, connection: Connection) -> None:
        """Put nothing more on this connection."""
        ...

    def complain(self, reason: str) -> None:
        """Say once, until messages flow again, why they wait."""
        ...


class Carrier(Interface):
    """Brings the frames of one link to its agent, and the answers back."""

    def start(self, link: Carried) -> None:
        """Begin to make connections, one at a time, and again after each that ends."""
        ...

    def stop(self) -> Deferred[None]:
        """Let what is on its way arrive, but not for long; fires when nothing is open."""
        ...


class StreamCarrier:
    """One connection at a time to an agent, a stream of bytes in each direction."""

    # ClientService cannot be used here: it knows no connection that breaks before it has become useful (Twisted 26.10),
    # and an agent that refuses us must be asked ever more rarely, though connecting succeeds each time.

    def __init__(
        self,
        reactor: Reactor,
        agent: AgentConfig,
        path: Path,
        greet: Callable[[], SenderHandshake],
        encrypt: Callable[[], TlsSide],
    ) -> None:
        """``greet()`` begins the handshake of a new connection, ``encrypt()`` its TLS; that raises WireError.

        ``path`` is shared by all carriers to the same computer.
        """
        self.path = path
        self.reactor = reactor
        self.tls: TlsSide | None = None
        """Our side of the newest connection's TLS; None where it has none."""
        self._encrypt = encrypt
        self.agent = agent
        self.greet = greet
        self.encrypted = agent.encrypted
        """Whether TLS is spoken with the agent."""
        self.link: Carried
        self._here = agent.amqp is None and is_here(agent.destination.host)
        self._backoff = Backoff(*RECONNECT_SECONDS)
        self._connecting: Deferred[Any] | None = None
        self._retry_call: Any = None
        self._stopping = False
        self._opened = 0
        self._begun = 0.0
        """When the last attempt began, seconds of the reactor."""
        self._newest: StreamConnection | None = None
        self._stopped: Deferred[None] = Deferred()

    @property
    def patience(self) -> float:
        """How many seconds the present attempt may take.

        Only a long one takes as long as the path may need where others fill it: that these were heard a moment ago
        doesn't say that what this attempt has said will arrive.
        """
        usual = _PATIENCE_SECONDS[self._backoff.failures % len(_PATIENCE_SECONDS)]
        return usual if usual < max(_PATIENCE_SECONDS) else max(usual, self.path.patience(self.reactor.seconds()))

    def start(self, link: Carried) -> None:
        self.link = link
        self._connect()

    def stop(self) -> Deferred[None]:
        self._stopping = True
        cancel_call(self._retry_call)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._newest is not None:
            self._newest.close()
        self._ended()
        return self._stopped

    def settled(self) -> None:
        """Note that a connection has become useful."""
        self._backoff.reset()

    def lost(self, connection: StreamConnection) -> None:
        """Replace a connection that has ended."""
        self._opened -= 1
        if self._newest is connection:
            self._newest = None
        self._again()

    def _connect(self) -> None:
        """Connect; a name is looked up anew each time."""
        self._begun = self.reactor.seconds()
        endpoint = self.endpoint()
        if self.encrypted:
            try:
                self.tls = self._encrypt()
            except WireError as error:
                self.link.complain(str(error))
                self._again()
                return
            endpoint = wrapClientTLS(self.tls, endpoint)
        self._connecting = endpoint.connect(_ConnectionFactory(self))
        # A name that is being looked up has no time-out of its own.
        overdue = self.reactor.callLater(self.patience + 1.0, self._connecting.cancel)
        self._connecting.addCallbacks(self._made, self._not_made, (overdue,), {}, (overdue,))

    def endpoint(self) -> Any:
        """Return what makes the next connection, as Twisted's endpoints do."""
        raise NotImplementedError

    @property
    def trouble(self) -> str:
        """What is to be said of an agent to which no connection can be made."""
        return "no answer"

    def _made(self, connection: StreamConnection, overdue: Any) -> None:
        overdue.cancel()
        self._connecting = None
        self._opened += 1
        self._newest = connection
        if self._stopping:
            connection.fail("the agent stops")
            self._ended()

    def _not_made(self, _: object, overdue: Any) -> None:
        cancel_call(overdue)
        self._connecting = None
        self._again()

    def _again(self) -> None:
        if self._stopping:
            self._ended()
            return
        taken = self.reactor.seconds() - self._begun
        pause = max(RECONNECT_SECONDS[0], self._backoff.next_pause() - taken)
        if self._here and self._backoff.failures >= _ABSENT_AFTER:
            pause = _ABSENT_SECONDS
        if self._backoff.failures == _ATTEMPTS_UNTOLD:
            self.link.complain(self.trouble)
        self._retry_call = self.reactor.callLater(pause, self._connect)

    def _ended(self) -> None:
        if not self._opened and self._connecting is None and not self._stopped.called:
            self._stopped.callback(None)


class TcpCarrier(StreamCarrier):
    """One TCP connection at a time to an agent's port."""

    def endpoint(self) -> Any:
        return client_endpoint(self.reactor, self.agent.destination, self.patience)


class AmqpCarrier(StreamCarrier):
    """One connection at a time to an agent through RabbitMQ: two queues."""

    def __init__(self, caller: AmqpCaller, lane: str, *args: Any) -> None:
        """``lane`` is the agent's name, or that of its bulk lane; the others are as `StreamCarrier` takes them."""
        super().__init__(*args)
        self.encrypted = not self.agent.dangerous  # RabbitMQ is no part of the observatory
        self._caller, self._lane = caller, lane

    def endpoint(self) -> Any:
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect, as Twisted's endpoints do."""
        return self._caller.connect(self._lane, factory)

    @property
    def trouble(self) -> str:
        return self._caller.line.trouble or "no answer"

    def _again(self) -> None:
        super()._again()
        if not self._stopping and self._backoff.failures >= _ATTEMPTS_UNTOLD:
            self._caller.doubt()


class _ConnectionFactory(Factory):
    noisy = False

    def __init__(self, carrier: StreamCarrier) -> None:
        self._carrier = carrier

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return StreamConnection(self._carrier)


class StreamConnection(Protocol):
    """Speaks the sender's side of the wire on one connection."""

    def __init__(self, carrier: StreamCarrier) -> None:
        self._carrier = carrier
        self._decoder = wire.Decoder(frames=True)
        self._handshake = carrier.greet()
        self._watch = SenderWatch(carrier.reactor, carrier.path, self._say_alive, self.fail)
        self._timeout: Any = None
        self._made = 0.0
        self._greeted_by = 0.0
        """When the greeting must be over, seconds of the reactor."""
        self._bytes_heard = self._bytes_said = 0
        self._in_use = False
        self._tls = carrier.tls
        self.open = True

    def connectionMade(self) -> None:
        transport: Any = self.transport
        bound_silence(transport)
        self._made = self._carrier.reactor.seconds()
        patience = self._carrier.patience
        self._greeted_by = self._made + _GREETING_PATIENCES * patience
        self._timeout = self._carrier.reactor.callLater(patience, self.fail, "no welcome")
        if self._tls is not None:
            decrypt = transport.dataReceived

            def take(raw: bytes) -> None:
                self._greeting_goes_on()
                decrypt(raw)

            transport.dataReceived = take
        self.write(wire.Frame(hello=self._handshake.hello))

    def write(self, frame: wire.Frame) -> None:
        data = wire.encode_frame(frame)
        self._bytes_said += len(data)
        self._watch.wrote(fleeting=frame.fleeting is not None)
        transport: Any = self.transport
        transport.write(data)

    def _greeting_goes_on(self) -> None:
        """Wait on for the welcome: something has come, perhaps no more than a piece of TLS's handshake."""
        if self.open and self._timeout is not None and self._timeout.active():
            left = self._greeted_by - self._carrier.reactor.seconds()
            self._timeout.reset(max(0.0, min(self._carrier.patience, left)))

    def dataReceived(self, data: bytes) -> None:
        self._bytes_heard += len(data)
        self._greeting_goes_on()
        try:
            events = self._decoder.feed(data)
        except WireError as error:
            self.fail(str(error))
            return
        watching, everything = self._watch.watching, False
        for frame in events:
            if not isinstance(frame, wire.Frame):
                continue
            if frame.ack is not None:
                self._carrier.link.answered(frame.ack, frame.refused or [])
                everything = self._carrier.link.answered_all
            elif frame.alive is not None:
                everything = frame.alive >= self._bytes_said
                self._watch.signed()
            elif frame.challenge is not None or frame.welcome is not None:
                self._greeted(frame)
            elif frame.error is not None:
                self._carrier.link.complain(frame.error)
                self.fail(frame.error)
        if watching:  # else what was said since the welcome came cannot be answered yet
            self._watch.heard(everything)

    def _greeted(self, frame: wire.Frame) -> None:
        try:
            if frame.challenge is not None:
                self.write(self._handshake.prove(frame.challenge, self._carrier.reactor.seconds()))
            if frame.welcome is not None:
                self._handshake.check(frame.welcome)
                self._settle()
                if frame.welcome.alive:
                    round_trip = self._carrier.reactor.seconds() - self._made
                    self._watch.start(round_trip, local=frame.welcome.local)
                else:
                    bound_unanswered(self.transport)
                self._carrier.link.welcomed(self, frame.welcome)
        except WireError as error:
            self._carrier.link.complain(str(error))
            self.fail(str(error))

    def in_use(self) -> None:
        self._in_use = True
        self._carrier.settled()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._tls is not None and not self._in_use:
            trouble = self._tls.trouble or of_failure(reason)
            if trouble:
                self._carrier.link.complain(f"no TLS with it: {trouble}")
        self.open = False
        self._settle()
        self._watch.stop()
        self._carrier.link.broken(self)
        self._carrier.lost(self)

    def fail(self, reason: str) -> None:
        """Give this connection up; the carrier will make another one."""
        self.open = False
        self._settle()
        self._watch.stop()
        link = self._carrier.link
        link.broken(self)
        link.log.debug("connection to {agent} given up: {reason}", agent=self._carrier.agent.name, reason=reason)
        transport: Any = self.transport
        transport.abortConnection()

    def close(self) -> None:
        """Let what is on its way arrive, but not for long: it is in the outbox too."""
        if not self._in_use:  # what is said there now would be answered to nobody
            self.fail("the agent stops")
            return
        self.open = False
        self._settle()
        self._watch.stop()
        transport: Any = self.transport
        transport.loseConnection()
        self._timeout = self._carrier.reactor.callLater(_CLOSE_SECONDS, transport.abortConnection)

    def _say_alive(self) -> None:
        self.write(wire.Frame(alive=self._bytes_heard))

    def _settle(self) -> None:
        cancel_call(self._timeout)
