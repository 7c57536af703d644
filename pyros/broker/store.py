"""Where events are kept: an event and the message that hands it to the alert manager are one transaction.

Many events share one commit. The commits run in a thread of their own; in a rehearsal the same code runs in the
reactor's, as a call of its own.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from pyros import messages
from pyros.clock import Clock, Timer
from pyros.errors import AlertError, JournalError, PyrosError
from pyros.journal import Effects, Journal, JournalReader, Outgoing
from pyros.wire import Refusal

ALERT_MANAGER = "alert_manager"
MAX_WAITING = 4_096  # events; at 99,999 bytes each they hold 400 MB at the very worst
MAX_GROUP = 256
FLUSH_AFTER = 0.2  # seconds that an acknowledgement waits for an event to share its transaction with

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, ivorn TEXT NOT NULL UNIQUE, sha256 BLOB NOT NULL, packet BLOB NOT NULL,
    source TEXT NOT NULL, received REAL NOT NULL);
"""

log = Logger(namespace="pyros.broker")


class Stored(NamedTuple):
    """An event is safe: whether it is ``new``, and the number it is kept under."""

    new: bool
    number: int


class _Event(NamedTuple):
    """An event that waits for its commit."""

    packet: bytes
    ivorn: str
    source: str
    received: float
    answer: Deferred[Stored]


class _Answers:
    """What the alert manager has answered and is not yet in the journal."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.refused: list[tuple[str, str, int]] = []

    def __bool__(self) -> bool:
        return bool(self.acknowledged or self.refused)

    def add(self, acknowledged: dict[str, int], refused: Sequence[tuple[str, str, int]]) -> None:
        for agent, seq in acknowledged.items():
            self.acknowledged[agent] = max(seq, self.acknowledged.get(agent, 0))
        self.refused += refused


class EventStore:
    """The events of one broker. All methods are for the reactor's thread."""

    def __init__(
        self, reactor: Any, clock: Clock, path: Path, *, threaded: bool = True, durable: bool = True, epoch: str = ""
    ) -> None:
        """Open the journal at ``path``; raises JournalError naming it.

        ``threaded=False`` commits in the reactor's thread, ``durable=False`` without syncs, both for rehearsals.
        """
        self._reactor, self._clock, self._threaded = reactor, clock, threaded
        self.journal = Journal(path, epoch=epoch, durable=durable, schema=_SCHEMA)
        try:
            self._reader = JournalReader(path)
            self.events: int = self._reader.rows("SELECT coalesce(max(number), 0) FROM events")[0][0]
        except JournalError:
            self.journal.close()
            raise
        self._answered = self._last_seq - self.journal.waiting.get(ALERT_MANAGER, 0)
        self._post: Callable[[list[Outgoing]], None] = lambda _: None
        self._changed = threading.Condition()  # guards what follows
        self._queue: deque[_Event] = deque()
        self._answers = _Answers()
        self._flush = False
        self._stopping = False
        self._timer: Timer | None = None
        self._inline: Timer | None = None
        self._ended: Deferred[None] = Deferred()
        self._thread: threading.Thread | None = None

    def start(self, post: Callable[[list[Outgoing]], None]) -> None:
        """Begin to commit; ``post`` is called with the messages of each commit, before its events are answered."""
        self._post = post
        if self._threaded:
            # A daemon, because the journal outlives any death of the process; `stop` waits for its last commit.
            self._thread = threading.Thread(target=self._run, name=f"journal of {self.journal.path.stem}", daemon=True)
            self._thread.start()

    @property
    def _last_seq(self) -> int:
        return self.journal.destinations.get(ALERT_MANAGER, 0)

    @property
    def waiting(self) -> int:
        """How many messages the alert manager has not answered yet."""
        return self._last_seq - self._answered

    def store(self, packet: bytes, ivorn: str, source: str) -> Deferred[Stored]:
        """Keep an event; the Deferred fires after the commit.

        It fails with AlertError when another event is kept under this ivorn, and with JournalError when it could not
        be stored: then nothing of it is left, and it may be sent again.
        """
        answer: Deferred[Stored] = Deferred()
        event = _Event(packet, ivorn, source, self._clock.time(), answer)
        with self._changed:
            if self._stopping:
                return fail(JournalError("the broker is stopping; send the event again later"))
            if len(self._queue) >= MAX_WAITING:
                return fail(JournalError(f"{MAX_WAITING} events wait to be stored; send the event again later"))
            self._queue.append(event)
            self._wake()
        return answer

    def on_answer(self, agent: str, seq: int, refusals: Sequence[Refusal]) -> None:
        """The alert manager has committed the messages up to ``seq``, and refuses some of them."""
        for refusal in refusals:
            log.warn("{agent} refuses message {seq}: {reason}", agent=agent, seq=refusal.seq, reason=refusal.reason)
        self._answered = max(seq, self._answered)
        with self._changed:
            self._answers.add({agent: seq}, [(refusal.reason, agent, refusal.seq) for refusal in refusals])
        if self._timer is None and not self._stopping:
            self._timer = self._reactor.callLater(FLUSH_AFTER, self._flush_answers)

    def _flush_answers(self) -> None:
        self._timer = None
        with self._changed:
            if self._answers:
                self._flush = True
                self._wake()

    def stop(self) -> Deferred[None]:
        """Commit what waits, then end the thread; `close` comes after."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._changed:
            self._stopping = self._flush = True
            if self._thread is not None:
                self._wake()
                return self._ended.addCallback(lambda _: self._joined())
        if self._inline is not None and self._inline.active():
            self._inline.cancel()
        while self._has_work():
            self._commit_group()
        return succeed(None)

    def _joined(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Close the journal. Only after `stop`, or without a `start`."""
        self._reader.close()
        self.journal.close()

    # The rest runs where commits run: in the store's thread, or inline.

    def _wake(self) -> None:
        """There is work. Called with the condition held."""
        if self._threaded:
            self._changed.notify()
        elif self._inline is None or not self._inline.active():
            self._inline = self._reactor.callLater(0, self._run_inline)

    def _has_work(self) -> bool:
        return bool(self._queue or (self._flush and self._answers))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._has_work() or self._stopping)
                if self._stopping and not self._has_work():
                    break
            self._commit_group()
        self._reactor.callFromThread(self._ended.callback, None)

    def _run_inline(self) -> None:
        while self._has_work():
            self._commit_group()

    def _commit_group(self) -> None:
        """Take a group of events and the answers that wait, commit them together, and tell who waits for them."""
        with self._changed:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))]
            answers, self._answers = self._answers, _Answers()
            self._flush = self._flush and self._stopping
        turn = _Turn(self)
        turn.effects.acknowledged, turn.effects.refused = answers.acknowledged, answers.refused
        results: list[Stored | PyrosError]
        try:
            results = [turn.place(event) for event in group]
            turn.commit()
        except Exception as error:
            if not isinstance(error, JournalError):  # a mistake of ours: the authors are told, the thread goes on
                log.failure("storing {count} events", count=len(group))
                error = JournalError(f"{self.journal.path}: cannot store: {error}")
            log.error("{count} events refused: {error}", count=len(group), error=error)
            results = [error] * len(group)
            turn.effects.outgoing = []
            with self._changed:
                if not self._stopping:  # else: at the next start they are asked for again
                    self._answers.add(answers.acknowledged, answers.refused)
        told = self._reactor.callFromThread if self._threaded else (lambda call, *args: call(*args))
        told(self._committed, turn.effects.outgoing, [event.answer for event in group], results)

    def _committed(
        self, outgoing: list[Outgoing], answers: list[Deferred[Stored]], results: list[Stored | PyrosError]
    ) -> None:
        """In the reactor's thread: the telescope first, then those who wait for an acknowledgement."""
        if outgoing:
            self._post(outgoing)
        for answer, result in zip(answers, results, strict=True):
            if isinstance(result, Stored):
                answer.callback(result)
            else:
                answer.errback(result)


class _Turn:
    """One transaction: finds out which events of a group are new, and gathers what to write."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._new: dict[str, tuple[int, bytes]] = {}
        self._rows: list[tuple[int, str, bytes, bytes, str, float]] = []
        self.effects = Effects()

    def place(self, event: _Event) -> Stored | AlertError:
        """The event's number; it is written by `commit` when it is new."""
        digest = sha256(event.packet).digest()
        known = self._new.get(event.ivorn) or self._find(event.ivorn)
        if known is not None:
            number, kept = known
            if kept == digest:
                return Stored(False, number)
            return AlertError(f"conflicts with the event that is stored under this ivorn (number {number})")
        number = self._store.events + len(self._new) + 1
        self._new[event.ivorn] = number, digest
        self._rows.append((number, event.ivorn, digest, event.packet, event.source, event.received))
        self.effects.outgoing.append(self._message(event, number))
        return Stored(True, number)

    def _find(self, ivorn: str) -> tuple[int, bytes] | None:
        rows = self._store._reader.rows("SELECT number, sha256 FROM events WHERE ivorn = ?", ivorn)
        return rows[0] if rows else None

    def _message(self, event: _Event, number: int) -> Outgoing:
        journal = self._store.journal
        seq = self._store._last_seq + len(self.effects.outgoing) + 1
        payload = messages.AlertReceived(event.packet, event.source, event.received, kept=number)
        json = messages.encode_payload(messages.ALERT_RECEIVED, payload)
        id_ = f"{journal.epoch[:8]}-{seq}"
        return Outgoing(ALERT_MANAGER, seq, id_, messages.ALERT_RECEIVED, event.received, json)

    def commit(self) -> None:
        """Raises JournalError, and then nothing is written."""
        if self._rows:
            self.effects.also.append(self._write)
        if self.effects:
            self._store.journal.commit(self.effects)
        self._store.events += len(self._rows)

    def _write(self, db: sqlite3.Connection) -> None:
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", self._rows)
