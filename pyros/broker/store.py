"""Where events are kept: an event and the message that hands it to the alert manager are one transaction.

Many events share one commit. The commits run in a thread of their own; in a rehearsal the same code runs in the
reactor's, as a call of its own.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from pyros import messages
from pyros.broker.event_log import EventLog
from pyros.broker.transaction import Answers, Stored, Transaction, WaitingEvent, add_topic
from pyros.clock import Clock, Timer, cancel_call
from pyros.config import StandardAgents
from pyros.errors import JournalError, PyrosError
from pyros.journal import Effects, Journal, Outgoing
from pyros.journal.events import SCHEMA, EventReader
from pyros.reactor import Reactor
from pyros.wire import Entry, Refusal

MAX_WAITING = 4_096  # events; at 99,999 bytes each they hold 400 MB at the very worst
MAX_GROUP = 256
MAX_NOTICES = 100  # messages to other agents that wait for a commit
MAX_WAL_PAGES = 65_536  # 256 MiB, which a burst of 10,000 events doesn't fill
CHECKPOINT_AFTER_SECONDS = 0.2
"""Time without an event after which the WAL is moved into the file: a commit that does it takes 0.1 s."""
SWITCH_SECONDS = 0.0002
"""How long a commit waits for a busy reactor to let its thread go on; Python's 5 ms halve the rate."""
FLUSH_AFTER_SECONDS = 0.2
"""How long an acknowledgement waits for an event to share its transaction with."""

log = Logger(namespace="pyros.broker")


class EventStore:
    """The events of one broker. All methods are for the reactor's thread."""

    def __init__(
        self,
        reactor: Reactor,
        clock: Clock,
        path: Path,
        *,
        threaded: bool = True,
        durable: bool = True,
        epoch: str = "",
        decided: bool = True,
    ) -> None:
        """Open the journal at ``path``; raises JournalError naming it.

        ``decided=False``: there is no alert manager, and events are only kept and sent on. ``threaded=False``
        commits in the reactor's thread, ``durable=False`` without syncs, both for rehearsals.
        """
        self._reactor, self.clock, self._threaded, self._decided = reactor, clock, threaded, decided
        self.journal = Journal(path, epoch=epoch, durable=durable, schema=SCHEMA)
        try:
            self._reader = EventReader(path)  # for where commits run
            self._reactors_reader = EventReader(path)
            self._bring_up_to_date()
            self.events: int = self._reader.last_number()
        except JournalError:
            self.journal.close()
            raise
        self._answered = self._last_seq - self.journal.waiting.get(StandardAgents.ALERT_MANAGER, 0)
        self._post: Callable[[list[Outgoing]], None] = lambda _: None
        self._arrived: list[WaitingEvent] = []
        self._waiting = 0
        self._log = EventLog(reactor)
        self._fresh: dict[int, bytes] = {}
        """Packets that were just committed, by number, while their messages are posted."""
        self._timer: Timer | None = None
        self._woken: Timer | None = None
        self._changed = threading.Condition()  # guards what follows
        self._queue: deque[WaitingEvent] = deque()
        self._answers = Answers()
        self._flush = False
        self._stopping = False
        self._ended: Deferred[None] = Deferred()
        self._thread: threading.Thread | None = None

    def _bring_up_to_date(self) -> None:
        if not self._reader.has_topics():
            effects = Effects()
            effects.also.append(add_topic)
            self.journal.commit(effects)

    def start(self, post: Callable[[list[Outgoing]], None]) -> None:
        """Begin to commit; ``post`` is called with the messages of each commit, before its events are answered."""
        self._post = post
        if self._threaded:
            sys.setswitchinterval(min(SWITCH_SECONDS, sys.getswitchinterval()))
            self.journal.checkpoint_after(MAX_WAL_PAGES)
            # A daemon, because the journal outlives any death of the process; `stop` waits for its last commit.
            self._thread = threading.Thread(target=self._run, name=f"journal of {self.journal.path.stem}", daemon=True)
            self._thread.start()

    @property
    def _last_seq(self) -> int:
        return self.journal.destinations.get(StandardAgents.ALERT_MANAGER, 0)

    @property
    def waiting(self) -> int:
        """How many messages the alert manager has not answered yet."""
        return self._last_seq - self._answered

    def store(self, packet: bytes, ivorn: str, source: str, topic: str = "", *, own: bool = False) -> Deferred[Stored]:
        """Keep an event; the Deferred fires after the commit. What is our ``own`` isn't given to the alert manager.

        It fails with AlertError when another event is kept under this ivorn (then this one is kept beside it, as a
        conflict), and with JournalError when it could not be stored: then nothing of it is left, and it may be sent
        again.
        """
        kept_only = own or not self._decided
        return self._enqueue(WaitingEvent(packet, ivorn, source, topic, self.clock.time(), Deferred(), own=kept_only))

    def reject(self, packet: bytes, ivorn: str, source: str, topic: str, reason: str) -> Deferred[Stored]:
        """Keep what is no event, for people to look at: nobody will send it again. ``ivorn`` may be ''.

        The Deferred fails with AlertError(reason) after the commit, or with JournalError as that of `store`.
        """
        return self._enqueue(WaitingEvent(packet, ivorn, source, topic, self.clock.time(), Deferred(), reason))

    def _enqueue(self, event: WaitingEvent) -> Deferred[Stored]:
        if self._stopping:
            return fail(JournalError("the broker is stopping; send the event again later"))
        if self._waiting >= MAX_WAITING:
            return fail(JournalError(f"{MAX_WAITING} events wait to be stored; send the event again later"))
        self._waiting += 1
        self._arrived.append(event)
        self._wake()
        return event.answer

    def on_answer(self, agent: str, seq: int, refusals: Sequence[Refusal]) -> None:
        """Note that an agent has committed the messages up to ``seq``, and which of them it refuses."""
        for refusal in refusals:
            log.warn("{agent} refused message {seq}: {reason}", agent=agent, seq=refusal.seq, reason=refusal.reason)
        if agent == StandardAgents.ALERT_MANAGER:
            self._answered = max(seq, self._answered)
        with self._changed:
            self._answers.add({agent: seq}, [(refusal.reason, agent, refusal.seq) for refusal in refusals])
        self._flush_soon()

    def on_confirm(self, agent: str, last: int) -> None:
        """Note which number an agent has, which is unconfirmed; nothing is sent there before that is stored."""
        with self._changed:
            self._answers.confirmed[agent] = last
            self._flush = True
        self._wake()

    def send_notice(self, agent: str, name: str, payload: messages.Payload) -> None:
        """Send a message to another agent than the alert manager, with the next commit."""
        notice = agent, name, self.clock.time(), messages.encode_payload(name, payload)
        with self._changed:
            if len(self._answers.notices) < MAX_NOTICES:
                self._answers.notices.append(notice)
        self._flush_soon()

    def record_position(self, ivo: str, number: int) -> None:
        """Write that a subscriber has acknowledged the events up to this number."""
        with self._changed:
            self._answers.positions[ivo] = ivo, number, self.clock.time()
        self._flush_soon()

    def forget_subscriber(self, ivo: str) -> None:
        """Forget a subscriber: the one that has been away longest, when there are too many."""
        with self._changed:
            self._answers.positions[ivo] = None
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._timer is None and not self._stopping:
            self._timer = self._reactor.callLater(FLUSH_AFTER_SECONDS, self._flush_answers)

    def _flush_answers(self) -> None:
        self._timer = None
        with self._changed:
            self._flush = bool(self._answers)
        self._wake()

    def stop(self) -> Deferred[None]:
        """Commit what waits, then end the thread; `close` comes after."""
        cancel_call(self._timer)
        self._timer = None
        cancel_call(self._woken)
        with self._changed:
            self._stopping = self._flush = True
        self._hand_over()
        return self._ended.addCallback(lambda _: self._joined()) if self._thread is not None else succeed(None)

    def _joined(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def complete(self, entry: Entry) -> Entry:
        """Return a message of the outbox as it goes on the wire: with the packet, which is kept once, among the events.

        Raises JournalError.
        """
        if entry.name != messages.ALERT_RECEIVED:
            return entry
        alert = messages.decode_payload(entry.name, bytes(entry.payload))
        if alert.packet or alert.kept is None:
            return entry
        packet = self._fresh.get(alert.kept)
        if packet is None:
            packet = self._reactors_reader.packet(alert.kept) or b""
        if not 0 < len(packet) <= messages.LARGEST_PACKET:
            return entry
        payload = messages.encode_payload(entry.name, msgspec.structs.replace(alert, packet=packet))
        return msgspec.structs.replace(entry, payload=msgspec.Raw(payload))

    def close(self) -> None:
        """Close the journal. Only after `stop`, or without a `start`."""
        self._log.stop()
        self._reader.close()
        self._reactors_reader.close()
        self.journal.close()

    def _wake(self) -> None:
        """Hand the work to the thread of commits once the reactor has read what has arrived.

        What it reads at once shares a commit, and the two threads don't get in each other's way.
        """
        if self._woken is None or not self._woken.active():
            self._woken = self._reactor.callLater(0, self._hand_over)

    def _hand_over(self) -> None:
        with self._changed:
            self._queue.extend(self._arrived)
            self._arrived.clear()
            self._changed.notify()
        if not self._threaded:
            while self._has_work():
                self._commit_group()

    # The rest runs where commits run: in the store's thread, or inline.

    def _has_work(self) -> bool:
        return bool(self._queue or (self._flush and self._answers))

    def _run(self) -> None:
        fresh = False
        while True:
            patience = CHECKPOINT_AFTER_SECONDS if fresh else None
            with self._changed:
                ready = self._changed.wait_for(lambda: self._has_work() or self._stopping, patience)
                if self._stopping and not self._has_work():
                    break
            if ready:
                self._commit_group()
            else:
                self._checkpoint()
            fresh = ready
        self._reactor.callFromThread(self._ended.callback, None)

    def _checkpoint(self) -> None:
        try:
            self.journal.checkpoint()
        except JournalError as error:  # the disk is full: nothing is lost, and the next commit will say so
            log.warn("{error}", error=error)

    def _commit_group(self) -> None:
        """Take a group of events and the answers that wait, commit them together, and tell who waits for them."""
        with self._changed:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))]
            answers, self._answers = self._answers, Answers()
            self._flush = self._flush and self._stopping
        turn = Transaction(self.journal, self._reader, self.events)
        turn.effects.acknowledged, turn.effects.refused = answers.acknowledged, answers.refused
        turn.effects.confirmed = answers.confirmed
        if answers.positions:
            turn.effects.also.append(answers.write_positions)
        results: list[Stored | PyrosError]
        try:
            turn.look_up(group)
            results = [self._place(turn, event) for event in group]
            turn.notify(answers.notices)
            turn.commit()
            self.events = turn.last
        except Exception as error:
            if not isinstance(error, JournalError):  # a mistake of ours: the authors are told, the thread goes on
                log.failure("{count} events could not be stored", count=len(group))
                error = JournalError(f"{self.journal.path}: cannot store: {error}")
            log.error(
                "{count} events were not stored, their authors must send them again: {error}",
                count=len(group),
                error=error,
            )
            results = [error] * len(group)
            turn.effects.outgoing = []
            with self._changed:
                if not self._stopping:  # else: at the next start they are asked for again
                    self._answers.add(answers.acknowledged, answers.refused)
                    self._answers.confirmed = answers.confirmed | self._answers.confirmed
                    self._answers.positions = answers.positions | self._answers.positions
                    self._answers.notices = answers.notices + self._answers.notices
        told = self._reactor.callFromThread if self._threaded else (lambda call, *args: call(*args))
        told(self._committed, turn.effects.outgoing, group, results)

    def _place(self, turn: Transaction, event: WaitingEvent) -> Stored | PyrosError:
        """Place one event, so that one which raises does not keep those beside it from being stored."""
        try:
            return turn.place(event)
        except Exception as error:
            log.failure("{ivorn} from {source} could not be stored", ivorn=event.ivorn, source=event.source)
            return JournalError(f"{self.journal.path}: cannot store: {error}")

    def _committed(
        self, outgoing: list[Outgoing], group: list[WaitingEvent], results: list[Stored | PyrosError]
    ) -> None:
        """In the reactor's thread: the telescope first, then those who wait for an acknowledgement."""
        self._waiting -= len(group)
        if outgoing or any(isinstance(result, Stored) and result.new for result in results):
            stored = zip(group, results, strict=True)
            self._fresh = {result.number: event.packet for event, result in stored if isinstance(result, Stored)}
            self._post(outgoing)
            self._fresh = {}
            self._log.add(
                (event.ivorn, event.source, result.number)
                for event, result in zip(group, results, strict=True)
                if isinstance(result, Stored) and result.new
            )
        for event, result in zip(group, results, strict=True):
            if isinstance(result, Stored):
                event.answer.callback(result)
            else:
                event.answer.errback(result)
