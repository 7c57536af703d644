"""From an outbox to the other agents: one link each, kept connected, sending in a window, resuming after a break.

Everything here runs in the reactor's thread. The journal's writer (an agent, the broker) calls `Outbound.post` after
its commit, and is told what was acknowledged, to forget it in a later transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros import wire
from pyros.backoff import Backoff
from pyros.config import AgentConfig, Config
from pyros.errors import UnknownAgent, WireError
from pyros.journal import AnyJournal, AnyReader, Outgoing
from pyros.sender._client import reachable
from pyros.sender.handshake import SenderHandshake, observatory_key

_WINDOW_MESSAGES = 4096
_WINDOW_BYTES = 8 * 1024 * 1024
_MAX_QUEUED_MESSAGES = 8192  # messages kept in memory; the others are read from the journal when their turn comes
_MAX_QUEUED_BYTES = 32 * 1024 * 1024
_MAX_KEPT_INSTANTS = 16384  # instants kept of messages that are in the journal only; an older one is as good as unknown
_FRAME_MESSAGES = 512
_MAX_FLEETING = 100
_FLEETING_SECONDS = 5.0
"""How long a fleeting message may wait for its link to be made or to catch up; then it is dropped."""
_FRAME_BYTES = 256 * 1024
_WELCOME_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_RECONNECT_SECONDS = (0.2, 0.4, 0.8, 1.6, 2.0)
"""Pauses between attempts to connect, see `Backoff`: short ones, so that an agent that is back is found soon."""
_ATTEMPTS_UNTOLD = 3
"""The log says that an agent's messages wait after so many failed attempts."""

_CONFIRM_SECONDS = (0.001, 0.1)
"""The first and the longest pause between a link's looks whether the journal has stored what its agent has."""

OnAnswer = Callable[[str, int, list[wire.Refusal]], None]
Complete = Callable[[wire.Entry], wire.Entry]


class Outbound:
    """All links of one journal's outbox."""

    def __init__(
        self,
        reactor: Any,
        config: Config,
        owner: str,
        journal: AnyJournal,
        on_answer: OnAnswer,
        on_confirm: Callable[[str, int], None],
        on_old_copy: Callable[[str, str], None],
        complete: Complete = lambda entry: entry,
    ) -> None:
        """Prepare the links; ``owner`` is the name the other agents see.

        ``on_answer(agent, seq, refusals)`` is called when an agent has committed up to ``seq``;
        ``on_confirm(agent, last)``, which may come several times, when an agent that the journal has as unconfirmed has
        number ``last``: that must be stored (`Effects.confirmed`) before anything is sent there.
        ``on_old_copy(key, text)`` is told where the journal is found to be older than what an agent has of it.
        ``complete(entry)`` makes of what the outbox keeps of a message what is sent. All run in the reactor's thread.
        """
        self._reactor = reactor
        self._config = config
        self._owner = owner
        self._journal = journal
        self._on_answer = on_answer
        self._on_confirm = on_confirm
        self._on_old_copy = on_old_copy
        self._complete = complete
        self._links: dict[str, AgentLink] = {}
        self._renumbered: set[str] = set()
        """Agents whose waiting messages are getting higher numbers."""
        self.without_fleeting: set[str] = set()
        """Agents of an older PYROS, to whom fleeting messages must be sent like all others; any thread may read."""
        self._reader: AnyReader | None = None
        self._key: bytes | None = None

    def start(self) -> None:
        """Connect to every agent for which messages wait. Raises ConfigError as `observatory_key` does."""
        self._reader = self._journal.reader()
        self._key = observatory_key(self._config)
        for agent in self._journal.waiting:
            try:
                self._link(agent)
            except UnknownAgent:
                Logger(self._owner).error("messages wait for {agent}, which is not configured any more", agent=agent)

    def post(self, outgoing: list[Outgoing]) -> None:
        """Send what was just committed, and fleeting messages (without a number), to each agent in this order."""
        runs: dict[str, list[list[wire.Entry]]] = {}
        for message in outgoing:
            of_agent = runs.setdefault(message.agent, [])
            if not of_agent or bool(of_agent[-1][-1].seq) is not bool(message.seq):
                of_agent.append([])
            of_agent[-1].append(message.entry())
        for agent, of_agent in runs.items():
            link = self._link(agent)
            for entries in of_agent:
                if entries[-1].seq:
                    link.post(entries, entries[-1].seq)
                else:
                    link.post_fleeting(entries)

    def _welcomed(self, agent: str, takes_fleeting: bool) -> None:
        if takes_fleeting:
            self.without_fleeting.discard(agent)
        else:
            self.without_fleeting.add(agent)

    def _confirm(self, agent: str, last: int) -> bool:
        """Whether the journal agrees with an agent about its number; otherwise that is about to be stored."""
        known = self._journal.unconfirmed.get(agent)
        if known is None:
            if agent in self._renumbered:
                self._renumbered.discard(agent)
                self._links[agent].begin_again(last, self._journal.destinations[agent])
            return True
        if last > known and agent not in self._renumbered:
            self._renumbered.add(agent)
            self._on_old_copy(
                f"old copy for {agent}",
                f"{agent} has {last - known} messages of {self._owner} that this journal doesn't know: an old copy was"
                " put in its place; what they told is done, and may be told once more",
            )
        self._on_confirm(agent, last)
        return False

    def connected(self) -> dict[str, bool]:
        """Which links stand."""
        return {agent: link.connected for agent, link in self._links.items()}

    def stop(self) -> Deferred[None]:
        """Close every link; what was not acknowledged stays in the outbox."""
        links, self._links = list(self._links.values()), {}

        def close(_: object) -> None:
            if self._reader is not None:
                self._reader.close()

        return DeferredList([link.stop() for link in links]).addCallback(close)

    def _link(self, agent: str) -> AgentLink:
        link = self._links.get(agent)
        if link is None:
            assert self._reader is not None, "Outbound.start comes first"
            greet = partial(SenderHandshake, self._owner, agent, self._journal.epoch, self._key)
            link = self._links[agent] = AgentLink(
                self._reactor, self._owner, self._config.peer(agent), greet,
                self._reader, self._on_answer, self._complete, self._welcomed, self._confirm,
            )  # fmt: skip
            link.post([], self._journal.destinations.get(agent, 0))  # also where only fleeting ones follow
        return link


class AgentLink:
    """The way to one agent.

    Three places a message can be in: ``_sent`` (on the wire, not acknowledged), ``_ready`` (in memory), or only in the
    journal, between ``_tail`` and ``_highest``.
    """

    def __init__(
        self,
        reactor: Any,
        owner: str,
        agent: AgentConfig,
        greet: Callable[[], SenderHandshake],
        reader: AnyReader,
        on_answer: OnAnswer,
        complete: Complete,
        on_welcome: Callable[[str, bool], None],
        confirm: Callable[[str, int], bool],
    ) -> None:
        self.log = Logger(owner)
        self.agent = agent
        self.greet = greet
        self.reactor = reactor
        self._reader = reader
        self._on_answer = on_answer
        self._complete = complete
        self._on_welcome = on_welcome
        self._confirm = confirm
        self._takes_fleeting = False
        self._fleeting: deque[wire.Entry] = deque(maxlen=_MAX_FLEETING)
        """Fleeting messages that wait a moment for the link: what they follow must be on the wire before."""
        self._sent: deque[wire.Entry] = deque()
        self._ready: deque[wire.Entry] = deque()
        self._sent_bytes = 0
        self._ready_bytes = 0
        self._said: dict[int, float] = {}
        """When the messages that are only in the journal were said: that doesn't know it."""
        self._tail: int | None = None
        self._highest = 0
        self._last = 0
        """The number that was put on the wire last, or that the agent had before."""
        self._protocol: _LinkProtocol | None = None
        self._complained = False
        ip = reachable(agent.ip)
        self._endpoint = (TCP6ClientEndpoint if ":" in ip else TCP4ClientEndpoint)(reactor, ip, agent.port, timeout=10)
        self._backoff = Backoff(*_RECONNECT_SECONDS)
        self._connecting: Deferred[Any] | None = None
        self._retry_call: Any = None
        self._stopping = False
        self._opened = 0
        self._unwelcomed: _LinkProtocol | None = None
        """The newest connection; until it is welcomed nothing may be sent there."""
        self._stopped: Deferred[None] = Deferred()
        self._connect()

    @property
    def connected(self) -> bool:
        return self._protocol is not None

    def post(self, entries: list[wire.Entry], highest: int) -> None:
        """More is in the outbox, up to number ``highest``; ``entries`` are its last ones."""
        self._fleeting.clear()  # what was said before must not arrive after this
        follows = self._tail is not None and entries and entries[0].seq == self._tail + 1 == self._highest + 1
        self._highest = max(self._highest, highest)
        if follows and len(self._ready) < _MAX_QUEUED_MESSAGES and self._ready_bytes < _MAX_QUEUED_BYTES:
            self._enqueue([self._complete(entry) for entry in entries])
        else:
            self._remember_said(entries)
        self.pump()

    def post_fleeting(self, entries: list[wire.Entry]) -> None:
        """Send at once what no journal has; it waits a moment for the link, and is dropped then."""
        self._fleeting.extend(entries)
        self.pump()

    def stop(self) -> Deferred[None]:
        """Close the connection; fires when it is closed."""
        self._stopping = True
        if self._retry_call is not None and self._retry_call.active():
            self._retry_call.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._protocol is not None:
            self._protocol.close()
        elif self._unwelcomed is not None:  # what is said there now would be answered to nobody
            self._unwelcomed.fail("the agent stops")
        self._ended()
        return self._stopped

    def pump(self) -> None:
        """Put on the wire what the window has room for."""
        protocol = self._protocol
        if protocol is None:
            return
        while len(self._sent) < _WINDOW_MESSAGES and (self._sent_bytes < _WINDOW_BYTES or not self._sent):
            if not self._ready and not self._refill():
                self._pump_fleeting(protocol)
                return
            chunk: list[wire.Entry] = []
            size = 0
            before = self._ready[0].seq - 1
            after = before if before != self._last else None
            self._last = before
            while self._ready and len(chunk) < _FRAME_MESSAGES and (size < _FRAME_BYTES or not chunk):
                length = self._ready[0].size
                if (chunk and size + length > _FRAME_BYTES) or self._ready[0].seq != self._last + 1:
                    break
                chunk.append(self._ready.popleft())
                size += length
                self._last += 1
            self._ready_bytes -= size
            self._sent_bytes += size
            self._sent.extend(chunk)
            protocol.write(wire.Frame(messages=chunk, after=after))

    def _pump_fleeting(self, protocol: _LinkProtocol) -> None:
        """Put the fleeting messages on the wire, behind all others: nothing of the outbox waits any more."""
        if not self._fleeting:
            return
        oldest = self.reactor.seconds() - _FLEETING_SECONDS
        fresh = [
            wire.FleetingEntry(entry.id, entry.name, entry.sent, entry.payload, entry.said)
            for entry in self._fleeting
            if entry.said is not None and entry.said >= oldest
        ]
        self._fleeting.clear()
        if fresh and self._takes_fleeting:
            protocol.write(wire.Frame(fleeting=fresh))

    def welcomed(
        self, protocol: _LinkProtocol, last: int, takes_fleeting: bool = False, pause: float = _CONFIRM_SECONDS[0]
    ) -> None:
        """Send over a connection that was welcomed by an agent which has committed up to ``last``."""
        if not self._confirm(self.agent.name, last):
            self.reactor.callLater(pause, self._welcomed_again, protocol, last, takes_fleeting, pause)
            return
        self._takes_fleeting = takes_fleeting
        self._on_welcome(self.agent.name, takes_fleeting)
        if last > self._highest:
            raise WireError(f"it has message {last}, and there are only {self._highest}")
        self._last = last
        if self._complained:
            self.log.info("{agent} at {where} is back", agent=self.agent.name, where=self.agent.where)
        self._complained = False
        self._backoff.reset()
        self._ready.extendleft(reversed(self._sent))
        self._ready_bytes += self._sent_bytes
        self._sent.clear()
        self._sent_bytes = 0
        while self._ready and self._ready[0].seq <= last:
            self._ready_bytes -= self._ready.popleft().size
        if not self._ready:
            self._tail = max(self._tail or 0, last)
        self._protocol = protocol
        if last:
            self._on_answer(self.agent.name, last, [])
        self.pump()

    def _welcomed_again(self, protocol: _LinkProtocol, last: int, takes_fleeting: bool, pause: float) -> None:
        if self._unwelcomed is protocol and not self._stopping:
            self.welcomed(protocol, last, takes_fleeting, min(2 * pause, _CONFIRM_SECONDS[1]))

    def begin_again(self, last: int, highest: int) -> None:
        """Send what the journal has above ``last``, up to ``highest``: other numbers than before."""
        for entries in (self._sent, self._ready):
            entries.clear()
        self._sent_bytes = self._ready_bytes = 0
        self._said.clear()
        self._tail, self._highest = last, highest

    def answered(self, seq: int, refusals: list[wire.Refusal]) -> None:
        """Forget what the agent has committed, up to ``seq``, and log what it refused."""
        while self._sent and self._sent[0].seq <= seq:
            self._sent_bytes -= self._sent.popleft().size
        for refusal in refusals:
            self.log.error(
                "{agent} refused message {seq}: {reason}", agent=self.agent.name, seq=refusal.seq, reason=refusal.reason
            )
        self._on_answer(self.agent.name, seq, refusals)
        self.pump()

    def lost(self, protocol: _LinkProtocol) -> None:
        """Replace a connection that has ended."""
        self._opened -= 1
        if self._unwelcomed is protocol:
            self._unwelcomed = None
        self.give_up(protocol)
        self._again()

    def give_up(self, protocol: _LinkProtocol) -> None:
        """Put nothing more on a connection that will end soon."""
        if self._protocol is protocol:
            self._protocol = None

    def complain(self, reason: str) -> None:
        """Say once, until it is back, why an agent's messages wait."""
        if not self._complained:
            self._complained = True
            self.log.warn(
                "{agent} at {where}: {reason}; its messages wait",
                agent=self.agent.name, where=self.agent.where, reason=reason,
            )  # fmt: skip

    # ClientService cannot be used here: it knows no connection that breaks before it has become useful (Twisted 26.10),
    # and an agent that refuses us must be asked ever more rarely, though connecting succeeds each time.

    def _connect(self) -> None:
        self._connecting = self._endpoint.connect(_LinkFactory(self))
        self._connecting.addCallbacks(self._made, self._not_made)

    def _made(self, protocol: _LinkProtocol) -> None:
        self._connecting = None
        self._opened += 1
        self._unwelcomed = protocol
        if self._stopping:
            protocol.fail("the agent stops")
            self._ended()

    def _not_made(self, _: object) -> None:
        self._connecting = None
        self._again()

    def _again(self) -> None:
        if self._stopping:
            self._ended()
            return
        pause = self._backoff.next_pause()
        if self._backoff.failures == _ATTEMPTS_UNTOLD:
            self.complain("no answer")
        self._retry_call = self.reactor.callLater(pause, self._connect)

    def _ended(self) -> None:
        if not self._opened and self._connecting is None and not self._stopped.called:
            self._stopped.callback(None)

    def _enqueue(self, entries: list[wire.Entry]) -> None:
        self._ready.extend(entries)
        self._ready_bytes += sum(entry.size for entry in entries)
        self._tail = entries[-1].seq

    def _remember_said(self, entries: list[wire.Entry]) -> None:
        """Keep when messages were said, for when they are read from the journal, which does not know it."""
        self._said.update({entry.seq: entry.said for entry in entries if entry.said is not None})
        while len(self._said) > _MAX_KEPT_INSTANTS:
            del self._said[next(iter(self._said))]

    def _refill(self) -> bool:
        """Read from the journal what is not in memory; False when there is nothing."""
        if self._tail is None or self._tail >= self._highest:
            return False
        found = self._reader.outbox(self.agent.name, self._tail, _FRAME_MESSAGES)
        for entry in found:
            entry.said = self._said.pop(entry.seq, None)
        entries = [self._complete(entry) for entry in found]
        if entries:
            self._enqueue(entries)
        else:
            self._tail = self._highest
        return bool(entries)


class _LinkFactory(Factory):
    noisy = False

    def __init__(self, link: AgentLink) -> None:
        self._link = link

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _LinkProtocol(self._link)


class _LinkProtocol(Protocol):
    """Speaks the sender's side of the wire on one connection."""

    def __init__(self, link: AgentLink) -> None:
        self._link = link
        self._decoder = wire.Decoder(frames=True)
        self._handshake = link.greet()
        self._timeout: Any = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        self._timeout = self._link.reactor.callLater(_WELCOME_SECONDS, self.fail, "no welcome")
        self.write(wire.Frame(hello=self._handshake.hello))

    def write(self, frame: wire.Frame) -> None:
        transport: Any = self.transport
        transport.write(wire.encode_frame(frame))

    def dataReceived(self, data: bytes) -> None:
        try:
            events = self._decoder.feed(data)
        except WireError as error:
            self.fail(str(error))
            return
        for frame in events:
            if not isinstance(frame, wire.Frame):
                continue
            if frame.ack is not None:
                self._link.answered(frame.ack, frame.refused or [])
            elif frame.challenge is not None or frame.welcome is not None:
                self._greeted(frame)
            elif frame.error is not None:
                self._link.complain(frame.error)
                self.fail(frame.error)

    def _greeted(self, frame: wire.Frame) -> None:
        try:
            if frame.challenge is not None:
                self.write(self._handshake.prove(frame.challenge, self._link.reactor.seconds()))
            if frame.welcome is not None:
                self._handshake.check(frame.welcome)
                self._settle()
                self._link.welcomed(self, frame.welcome.last_seq, frame.welcome.fleeting)
        except WireError as error:
            self._link.complain(str(error))
            self.fail(str(error))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._settle()
        self._link.lost(self)

    def fail(self, reason: str) -> None:
        """Give this connection up; the link will make another one."""
        self._settle()
        self._link.give_up(self)
        self._link.log.debug("connection to {agent} given up: {reason}", agent=self._link.agent.name, reason=reason)
        transport: Any = self.transport
        transport.abortConnection()

    def close(self) -> None:
        """Let what is on its way arrive, but not for long: it is in the outbox too."""
        self._settle()
        transport: Any = self.transport
        transport.loseConnection()
        self._timeout = self._link.reactor.callLater(_CLOSE_SECONDS, transport.abortConnection)

    def _settle(self) -> None:
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
