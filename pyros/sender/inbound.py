"""The receiver's side of the handshake, at every port that takes messages from agents (theirs, the broker's).

No sockets here: a port gives its connections' frames to `InboundHandshake`, which answers over `InboundConnection`.
What both sides say stands in `pyros.sender.handshake`.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Protocol

from pyros import keys, wire
from pyros.clock import cancel_call
from pyros.config import BROKER
from pyros.errors import WireError
from pyros.reactor import Reactor
from pyros.sender.handshake import signed_words
from pyros.sender.lanes import bulk_lane, is_bulk
from pyros.sender.liveness import ReceiverWatch
from pyros.unique import boot_id

PING_SECONDS = 3.0
"""How long the connection that holds a name may take to prove it again, when another one has proved the name."""

REMEASURE_SECONDS = 600.0
"""After which the clock of another computer is measured again."""

MAX_DRIFT = 2e-4
"""How much two computers' monotonic clocks may drift apart, seconds in a second."""


class InboundConnection(Protocol):
    """What a handshake needs of its connection."""

    @property
    def unread(self) -> bool:
        """Whether what the sender says is not being read at present."""
        ...

    @property
    def certified(self) -> str | None:
        """The name in the certificate that the sender has shown; None on a connection without TLS."""
        ...

    def send(self, frame: wire.Frame) -> None: ...

    def welcomed(self) -> int:
        """Let the welcomed ``peer`` send messages; return the last of its numbers that was committed."""
        ...

    def drop(self, reason: str) -> None:
        """Say why, and close."""
        ...


class InboundPort:
    """The receiver's side of one port: its name, the key, and which agents are connected."""

    def __init__(
        self,
        name: str,
        key: bytes,
        agents: Container[str],
        reactor: Reactor,
        *,
        takes_fleeting: bool = False,
        lanes: bool = False,
    ) -> None:
        """``agents`` are the names that nobody may use without the key. ``reactor`` counts as `Clock.monotonic`.

        ``takes_fleeting`` tells senders that fleeting messages may come without numbers, ``lanes`` that bulk may come
        on a connection of its own.
        """
        self.lanes = lanes
        self.takes_fleeting = takes_fleeting
        self.name = name
        self.key = key
        self.reactor = reactor
        self.heard_from: Callable[[str], None] = lambda name: None
        """Is told the name of each agent from which bytes have come, again and again."""
        self._agents = agents
        self._connected: dict[str, InboundHandshake] = {}

    def is_agent(self, name: str) -> bool:
        return name == BROKER or name in self._agents

    def enter(self, handshake: InboundHandshake, name: str) -> None:
        """Welcome a connection that has proved an agent's name, once no other connection holds that name."""
        holder = self._connected.get(name)
        if holder is None:
            self._connected[name] = handshake
            handshake.welcome()
        else:
            holder.contest(handshake)

    def leave(self, handshake: InboundHandshake, name: str) -> None:
        if self._connected.get(name) is handshake:
            del self._connected[name]


class InboundHandshake:
    """The receiver's side of one connection. Every method is for the reactor's thread."""

    def __init__(self, receiver: InboundPort, connection: InboundConnection) -> None:
        self.peer: tuple[str, str] | None = None
        """(name, epoch) of the sender, once it is welcome."""
        self.proved = False
        """The sender has proved the observatory's key."""
        self._receiver = receiver
        self._connection = connection
        self._hello: wire.Hello | None = None
        self._challenge = ""
        self._challenged = 0.0
        self._words: tuple[str | float, ...] = ()
        self._ahead: float | None = None
        self._doubt = 0.0
        self._rivals: list[InboundHandshake] = []
        self._timer: Any = None
        self._watch: ReceiverWatch | None = None
        self._bytes_heard = 0
        self._closed = False

    @property
    def ahead(self) -> float | None:
        """How far (seconds) our monotonic clock is ahead of the sender's, at least; None when that is unknown."""
        return self._ahead

    @property
    def doubt(self) -> float:
        """How much farther (seconds) it may be ahead: 0 on one computer."""
        return self._doubt

    def on_bytes(self, count: int) -> None:
        """Note that so many bytes have come, of whatever."""
        self._bytes_heard += count
        if self.proved and self.peer is not None:
            self._receiver.heard_from(self.peer[0])

    def on_life(self) -> None:
        """Note that something has come which is to be answered, perhaps no more than a piece of what is encrypted."""
        if self._watch is not None:
            self._watch.heard()

    def on_answer(self) -> None:
        """Note that all messages that have come are acknowledged."""
        if self._watch is not None:
            self._watch.answered()

    def on_fleeting(self) -> None:
        """Note that fleeting messages have come, which are not acknowledged."""
        if self._watch is not None:
            self._watch.on_fleeting()

    def on_hold(self) -> None:
        """Note that nothing is read from now on."""
        if self._watch is not None:
            self._watch.held()

    def on_frame(self, frame: wire.Frame) -> bool:
        """Take a hello, a proof or a sign of life; return False for any other frame, which is for the port.

        Raises WireError: the connection must be closed with that reason.
        """
        if frame.hello is not None:
            self.on_hello(frame.hello)
        elif frame.proof is not None:
            self.on_proof(frame.proof)
        else:
            return frame.alive is not None
        return True

    def on_hello(self, hello: wire.Hello) -> None:
        """Check a hello, and welcome or challenge its sender. Raises WireError as `on_frame` does."""
        if hello.protocol != wire.PROTOCOL:
            raise WireError(f"protocol {hello.protocol}, this PYROS speaks {wire.PROTOCOL}; use the same on both sides")
        if hello.to != self._receiver.name:
            raise WireError(f"this is {self._receiver.name}, not {hello.to[:80]}")
        if self._hello is not None or not (0 < len(hello.sender) <= 200 and 0 < len(hello.epoch) <= 64):
            raise WireError("a hello comes once, with a name of 200 and an epoch of 64 characters at most")
        if not (hello.sender.isprintable() and hello.epoch.isprintable()):
            raise WireError("a hello's name and epoch are printable")
        certified = self._connection.certified
        if certified is not None and self._receiver.is_agent(hello.sender) and certified != hello.sender:
            raise WireError(f"the certificate is of {certified!r}, and not of {hello.sender!r}")
        self._hello = hello
        if hello.nonce:
            self._send_challenge()
        elif self._receiver.is_agent(hello.sender):
            raise WireError(
                f"{hello.sender!r} is an agent of this observatory, and must prove its key: a program needs another"
                f" name, an agent on another computer a copy of {keys.FILE}"
            )
        else:
            self._ahead = 0.0 if hello.boot and hello.boot == boot_id() else None
            self.welcome()

    def on_proof(self, proof: wire.Proof) -> None:
        """Check a proof, and welcome its sender. Raises WireError as `on_frame` does."""
        hello = self._hello
        if hello is None or not self._challenge:
            raise WireError("a proof answers a challenge, and there was none")
        challenge, self._challenge = self._challenge, ""
        self._words = signed_words(hello, challenge, proof.now)
        if not keys.is_signed(proof.mac, self._receiver.key, "proof", *self._words):
            raise WireError(
                f"the proof of {hello.sender[:80]!r} is wrong: it has another key than {self._receiver.name}"
                f" (the same {keys.FILE} belongs on every computer of the observatory)"
            )
        self.proved = True
        self._measure(hello, proof.now)
        if self.peer is not None:
            self._proved_again()
        elif self._receiver.is_agent(hello.sender):
            self._receiver.enter(self, self._place)
        else:
            self.welcome()

    def on_closed(self) -> None:
        """Leave the name to others: the connection has ended, or is about to. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._set_timer(None)
        if self._watch is not None:
            self._watch.stop()
        if self._hello is not None:
            self._receiver.leave(self, self._place)
        self._give_way()

    def welcome(self) -> None:
        """For the registry: the name is its own."""
        hello = self._hello
        assert hello is not None
        if self._closed:
            self._receiver.leave(self, self._place)
            return
        self.peer = (hello.sender, hello.epoch)
        last = self._connection.welcomed()
        mac = keys.sign(self._receiver.key, "welcome", *self._words, float(last)) if self.proved else ""
        local = self.proved and self._ahead == 0.0
        welcome = wire.Welcome(last, mac, self._receiver.takes_fleeting, hello.alive, self._receiver.lanes, local)
        self._connection.send(wire.Frame(welcome=welcome))
        if hello.alive:
            self._watch = ReceiverWatch(
                self._receiver.reactor, lambda: self._connection.unread, self._say_alive, self._connection.drop,
                local=local, seldom=hello.seldom,
            )  # fmt: skip
        self._rest()

    def contest(self, rival: InboundHandshake) -> None:
        """Another connection has proved the name that this one holds: whose it is must be seen at once.

        The same process replaces its own connection, which it has given up; that the path between has died isn't seen
        from here.
        """
        self._rivals.append(rival)
        if self._hello is not None and rival.run and rival.run == self._hello.run:
            self._connection.drop("the same process has made another connection")
            self.on_closed()
            return
        if len(self._rivals) == 1:
            if not self._challenge:
                self._send_challenge()
            self._set_timer(PING_SECONDS, self._no_answer)

    @property
    def _place(self) -> str:
        """What only one connection may hold: the sender's name, and that of its bulk lane."""
        assert self._hello is not None
        return bulk_lane(self._hello.sender) if is_bulk(self._hello.epoch) else self._hello.sender

    @property
    def run(self) -> str:
        """Which start of which process connects; '' when that is unknown."""
        return self._hello.run if self._hello is not None else ""

    def _say_alive(self) -> None:
        self._connection.send(wire.Frame(alive=self._bytes_heard))

    def _measure(self, hello: wire.Hello, now: float) -> None:
        """Compare the clocks so that nothing looks younger than it is.

        The sender's clock showed ``now`` after we had sent the challenge: ours was not behind that moment. On one
        computer both are the same clock, if what it showed fits between our challenge and its answer.
        """
        heard = self._receiver.reactor.seconds()
        drift = MAX_DRIFT * REMEASURE_SECONDS
        if hello.boot and hello.boot == boot_id() and self._challenged <= now <= heard:
            self._ahead = self._doubt = 0.0
        else:
            self._ahead, self._doubt = self._challenged - now - drift, heard - self._challenged + 2 * drift

    def _send_challenge(self) -> None:
        self._challenge = keys.nonce()
        self._challenged = self._receiver.reactor.seconds()
        self._connection.send(wire.Frame(challenge=wire.Challenge(self._challenge)))

    def _proved_again(self) -> None:
        """Refuse the rivals for the name: its holder has answered, and stays the only one."""
        assert self._hello is not None
        rivals, self._rivals = self._rivals, []
        for rival in rivals:
            rival.refuse(f"another process is {self._hello.sender} already; only one can be, so stop one of them")
        self._rest()

    def refuse(self, reason: str) -> None:
        if not self._closed:
            self._connection.drop(reason)

    def _no_answer(self) -> None:
        if self._connection.unread:
            self._proved_again()  # it may have answered: we don't read, as our mailbox is full
        else:
            self._connection.drop("no answer, while another process proved to be this agent")
            self.on_closed()

    def _give_way(self) -> None:
        """Let the rivals compete for the name, which this connection holds no more."""
        rivals, self._rivals = self._rivals, []
        for rival in rivals:
            rival.compete()

    def compete(self) -> None:
        """Ask for the name once more, unless the connection has been closed."""
        if not self._closed and self._hello is not None:
            self._receiver.enter(self, self._place)

    def _rest(self) -> None:
        """Nothing to wait for, but the next time to measure the clock of another computer."""
        if self.proved and self._ahead != 0.0:
            self._set_timer(REMEASURE_SECONDS, self._measure_again)
        else:
            self._set_timer(None)

    def _measure_again(self) -> None:
        self._timer = None
        if self._connection.unread:
            self._rest()
            return
        self._send_challenge()
        self._set_timer(REMEASURE_SECONDS, self._connection.drop, "a challenge was not answered")

    def _set_timer(self, seconds: float | None, function: Any = None, *args: Any) -> None:
        cancel_call(self._timer)
        self._timer = None if seconds is None else self._receiver.reactor.callLater(seconds, function, *args)
