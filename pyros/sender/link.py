"""The way to one agent, without sockets: what waits for it, what is under way, and where to go on after a break.

A carrier (`pyros.sender.carrier`) makes the connections. Everything here runs in the reactor's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pyros import wire
from pyros.config import AgentConfig
from pyros.errors import WireError
from pyros.journal import AnyReader
from pyros.reactor import Reactor
from pyros.sender.carrier import Carrier, Connection
from pyros.sender.lanes import is_bulk
from pyros.sender.window import SendWindow

_WINDOW_MESSAGES = 8192  # as many as a receiver's mailbox takes; over a long way it is what bounds the rate
_MAX_QUEUED_MESSAGES = 8192  # messages kept in memory; the others are read from the journal when their turn comes
_MAX_QUEUED_BYTES = 32 * 1024 * 1024
_MAX_KEPT_INSTANTS = 16384  # instants kept of messages that are in the journal only; an older one is as good as unknown
_FRAME_MESSAGES = 512
_FRAME_BYTES = (16 * 1024, 256 * 1024)
"""Bytes of a frame at most: on a new connection, and once others have been acknowledged there.

What has come of a frame when its connection breaks counts for nothing. On a slow path that breaks again and again long
ones would never come through.
"""
_MAX_FLEETING = 100
_FLEETING_SECONDS = 5.0
"""How long a fleeting message may wait for its link to be made or to catch up; then it is dropped."""

_CONFIRM_SECONDS = (0.001, 0.1)
"""The first and the longest pause between a link's looks whether the journal has stored what its agent has."""

OnAnswer = Callable[[str, int, list[wire.Refusal]], None]
Complete = Callable[[wire.Entry], wire.Entry]


class AgentLink:
    """The way to one agent.

    Three places a message can be in: ``_sent`` (on the wire, not acknowledged), ``_ready`` (in memory), or only in the
    journal, between ``_tail`` and ``_highest``.
    """

    def __init__(
        self,
        reactor: Reactor,
        owner: str,
        lane: str,
        agent: AgentConfig,
        carrier: Carrier,
        reader: AnyReader,
        on_answer: OnAnswer,
        complete: Complete,
        on_welcome: Callable[[str, wire.Welcome], None],
        on_empty: Callable[[str], None],
        confirm: Callable[[str, int], bool],
    ) -> None:
        """``lane`` is the agent's name, or that of its bulk lane, which the callbacks get.

        ``on_empty(lane)`` hears, perhaps again and again, that nothing of the outbox waits any more.
        """
        self.log = Logger(owner)
        self.agent = agent
        self._carrier = carrier
        self._reactor = reactor
        self._reader = reader
        self._on_answer = on_answer
        self._complete = complete
        self._on_welcome = on_welcome
        self._on_empty = on_empty
        self._confirm = confirm
        self._lane = lane
        self._window = SendWindow(is_bulk(lane), reactor.seconds)
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
        self._frame_bytes = _FRAME_BYTES[0]
        """How long a frame may be on the present connection: twice as long after each answer."""
        self._last = 0
        """The number that was put on the wire last, or that the agent had before."""
        self._welcome: wire.Welcome | None = None
        """By which the connection was welcomed."""
        self._connection: Connection | None = None
        """What was welcomed and is in use; None: everything waits."""
        self._complained = False
        carrier.start(self)

    @property
    def connected(self) -> bool:
        """Whether what is sent goes out at once."""
        return self._connection is not None

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
        return self._carrier.stop()

    def pump(self) -> None:
        """Put on the wire what the window has room for."""
        connection = self._connection
        if connection is None:
            return
        while len(self._sent) < _WINDOW_MESSAGES and (self._sent_bytes < self._window.bytes or not self._sent):
            if not self._ready and not self._refill():
                if not self._sent:
                    self._on_empty(self._lane)
                self._pump_fleeting(connection)
                return
            chunk: list[wire.Entry] = []
            size = 0
            before = self._ready[0].seq - 1
            after = before if before != self._last else None
            self._last = before
            while self._ready and len(chunk) < _FRAME_MESSAGES and (size < self._frame_bytes or not chunk):
                length = self._ready[0].size
                if (chunk and size + length > self._frame_bytes) or self._ready[0].seq != self._last + 1:
                    break
                chunk.append(self._ready.popleft())
                size += length
                self._last += 1
            self._ready_bytes -= size
            self._sent_bytes += size
            self._sent.extend(chunk)
            connection.write(wire.Frame(messages=chunk, after=after))
            self._window.wrote(self._last)

    def _pump_fleeting(self, connection: Connection) -> None:
        """Put the fleeting messages on the wire, behind all others: nothing of the outbox waits any more."""
        if not self._fleeting:
            return
        oldest = self._reactor.seconds() - _FLEETING_SECONDS
        fresh = [
            wire.FleetingEntry(entry.id, entry.name, entry.sent, entry.payload, entry.said)
            for entry in self._fleeting
            if entry.said is not None and entry.said >= oldest
        ]
        self._fleeting.clear()
        if fresh and self._takes_fleeting:
            connection.write(wire.Frame(fleeting=fresh))

    @property
    def answered_all(self) -> bool:
        """Whether nothing is on the wire that must be acknowledged yet."""
        return not self._sent

    def welcomed(self, connection: Connection, welcome: wire.Welcome, pause: float = _CONFIRM_SECONDS[0]) -> None:
        """Send over a connection that the agent has welcomed. Raises WireError: its number is higher than ours."""
        last = welcome.last_seq
        if not self._confirm(self._lane, last):
            self._reactor.callLater(pause, self._welcomed_again, connection, welcome, pause)
            return
        self._takes_fleeting = welcome.fleeting
        self._on_welcome(self._lane, welcome)
        if is_bulk(self._lane) and not welcome.lanes:
            raise WireError("it is of an older PYROS, and what is bulk waits")
        if last > self._highest:
            raise WireError(f"it has message {last}, and there are only {self._highest}")
        connection.in_use()
        self._last = last
        if self._complained:
            self.log.info("{agent} at {where} is back", agent=self.agent.name, where=self.agent.reached)
        self._complained = False
        self._ready.extendleft(reversed(self._sent))
        self._ready_bytes += self._sent_bytes
        self._sent.clear()
        self._sent_bytes = 0
        while self._ready and self._ready[0].seq <= last:
            self._ready_bytes -= self._ready.popleft().size
        if not self._ready:
            self._tail = max(self._tail or 0, last)
        self._connection, self._welcome = connection, welcome
        self._window.begin_again()
        self._frame_bytes = _FRAME_BYTES[0]
        if last:
            self._on_answer(self._lane, last, [])
        self.pump()

    def _welcomed_again(self, connection: Connection, welcome: wire.Welcome, pause: float) -> None:
        if not connection.open:
            return
        try:
            self.welcomed(connection, welcome, min(2 * pause, _CONFIRM_SECONDS[1]))
        except WireError as error:
            connection.fail(str(error))

    def confirm_again(self) -> None:
        """Let the journal confirm the agent's number once more before anything is sent.

        A link that began with fleeting messages was welcomed while the journal had no numbers for the agent.
        """
        if self._connection is not None and self._welcome is not None:
            connection, self._connection = self._connection, None
            self.welcomed(connection, self._welcome)

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
        self._window.answered(seq)
        self._frame_bytes = min(2 * self._frame_bytes, _FRAME_BYTES[1])
        self._on_answer(self._lane, seq, refusals)
        self.pump()

    def broken(self, connection: Connection) -> None:
        """Put nothing more on a connection that has ended, or will end soon."""
        if self._connection is connection:
            self._connection = None

    def complain(self, reason: str) -> None:
        """Say once, until it is back, why an agent's messages wait."""
        if not self._complained:
            self._complained = True
            self.log.warn(
                "{agent} at {where}: {reason}; its messages wait",
                agent=self.agent.name, where=self.agent.reached, reason=reason,
            )  # fmt: skip

    def _enqueue(self, entries: list[wire.Entry]) -> None:
        self._ready.extend(entries)
        self._ready_bytes += wire.size_of(entries)
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
        found = self._reader.outbox(self._lane, self._tail, _FRAME_MESSAGES)
        for entry in found:
            entry.said = self._said.pop(entry.seq, None)
        entries = [self._complete(entry) for entry in found]
        if entries:
            self._enqueue(entries)
        else:
            self._tail = self._highest
        return bool(entries)
