"""Journals of Python objects: for rehearsals, whose thousands of nights need no file.

They keep what the ones in SQLite keep, and forget what those forget; one suite of tests is run on both. What was
committed outlives the agent's end in the same Python process, as a file would.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections import Counter, deque
from collections.abc import Container
from pathlib import Path
from typing import Any

from msgspec.structs import astuple, replace

from pyros.errors import JournalError, JournalInUse, WriteFailed
from pyros.journal import limits
from pyros.journal._rows import PROGRAM, Effects, Outgoing, Peer, Received, StoredTimer
from pyros.journal._writer import is_trouble_with_the_disk
from pyros.unique import new_name
from pyros.wire import Entry

_PAGE = 4096


class _Refused:
    """A message of an outbox, and why it was refused, if it was."""

    __slots__ = ("message", "reason")

    def __init__(self, message: Outgoing) -> None:
        self.message = message
        self.reason: str | None = None


class _JournalContent:
    """What a file would hold."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.open = False
        self.seen: dict[Peer, tuple[int, float]] = {}
        self.destinations: dict[str, int] = {}
        self.unconfirmed: dict[str, int] = {}
        self.outbox: dict[str, dict[int, _Refused]] = {}
        self.timers: dict[int, StoredTimer] = {}
        self.timer_number = 0
        self.turns: deque[tuple[int, int, list[Received | None]]] = deque()
        """(first number, last number, messages) of each turn; None for one that has failed."""
        self.failed: dict[int, Received] = {}
        self.number = 0
        self.state: bytes | None = None
        self.tables: sqlite3.Connection | None = None
        """Tables of the agent's own."""

    def own_tables(self) -> sqlite3.Connection:
        if self.tables is None:
            self.tables = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self.tables.close)  # Python 3.13 warns of one that ends open
        return self.tables


class MemoryJournals:
    """The journals of one rehearsal, by the paths of the files that they stand for."""

    def __init__(self) -> None:
        self._contents: dict[Path, _JournalContent] = {}

    def open(self, path: Path, *, epoch: str = "", durable: bool = True, schema: str = "") -> MemoryJournal:
        """Open or make a journal, as `Journal` does; ``durable`` has no meaning here. Raises JournalInUse."""
        content = self._contents.get(path)
        if content is None:
            content = self._contents[path] = _JournalContent(epoch or new_name())
        if content.open:
            raise JournalInUse(f"{path}: the journal is in use by this process; stop that agent first")
        if schema:
            content.own_tables().executescript(schema)
        return MemoryJournal(path, content)

    def reader(self, path: Path) -> MemoryReader:
        """Return a view of a journal. Raises JournalError where there is none."""
        if path not in self._contents:
            raise JournalError(f"{path}: no such journal (the agent has not run here yet)")
        return MemoryReader(path, self._contents[path])


class MemoryJournal:
    """The writing side; used by one thread."""

    durable = False
    damage = ""

    def __init__(self, path: Path, content: _JournalContent) -> None:
        self.path = path
        self._content = content
        self._closed = False
        self._room: int | None = None
        content.open = True
        self.forgotten: Counter[str] = Counter()
        """How much was forgotten because there was too much of it, by what it was."""
        self.epoch = content.epoch
        self.seen: dict[Peer, int] = {peer: seq for peer, (seq, _) in content.seen.items()}
        self.destinations = dict(content.destinations)
        content.unconfirmed = content.destinations | content.unconfirmed
        self.unconfirmed = dict(content.unconfirmed)
        """By agents that have not said yet which number they have: the last one when the journal was opened."""
        self.waiting: dict[str, int] = {
            agent: count
            for agent, messages in sorted(content.outbox.items())
            if (count := sum(each.reason is None for each in messages.values()))
        }
        """How many messages wait for each agent."""
        self.timers = sorted(content.timers.values())
        self.timer_number = content.timer_number
        self.received_number = content.number
        self.failed = sum(message.error is not None for message in content.failed.values())
        self.failed_bytes = sum(len(message.payload) for message in content.failed.values())
        self.kept_refused = sum(
            each.reason is not None for messages in content.outbox.values() for each in messages.values()
        )
        self.state = content.state

    def reader(self) -> MemoryReader:
        """Return a view of it, for other parts of the program."""
        return MemoryReader(self.path, self._content)

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a SELECT of the agent's own tables, as `Journal.rows` does. Raises JournalError."""
        self._check_open()
        return self.reader().rows(query, *values)

    def commit(self, effects: Effects) -> None:
        """Store a turn: all of it or, with a JournalError that says why (a disk that is full), nothing.

        Raises WriteFailed when a further write of the turn is to blame.
        """
        self._check_open()
        if self._room is not None:
            self._room -= self._growth(effects)
            if self._room < 0:
                self._room += self._growth(effects)
                raise JournalError(f"{self.path}: cannot store: database or disk is full")
        self._write_further(effects)
        self._write(effects)

    def _growth(self, effects: Effects) -> int:
        """About how many bytes a file would grow by."""
        taken = sum(len(message.payload) for message in effects.received)
        sent = sum(len(message.payload) for message in effects.outgoing)
        return taken + sent + max(0, len(effects.state or b"") - len(self.state or b""))

    def _write_further(self, effects: Effects) -> None:
        if not effects.also:
            return
        db = self._content.own_tables()
        db.execute("BEGIN IMMEDIATE")
        db.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else 0)
        try:
            for place, write in enumerate(effects.also):
                try:
                    write(db)
                except sqlite3.Error as error:
                    if is_trouble_with_the_disk(error):
                        raise JournalError(f"{self.path}: cannot store: {error}") from None
                    raise WriteFailed(self.path, place, error) from error
                except BaseException as error:
                    raise WriteFailed(self.path, place, error) from error
        except BaseException:
            db.set_authorizer(None)
            db.execute("ROLLBACK")
            raise
        db.set_authorizer(None)
        db.execute("COMMIT")

    def _write(self, effects: Effects) -> None:
        content = self._content
        if effects.received:
            first = content.number + 1
            content.number = self.received_number = content.number + len(effects.received)
            content.turns.append(
                (first, content.number, [None if each.error is not None else each for each in effects.received])
            )
            for number, message in enumerate(effects.received, first):
                if message.error is not None:
                    content.failed[number] = message
                    self.failed += 1
                    self.failed_bytes += len(message.payload)
        for peer, seq in effects.seen.items():
            content.seen[peer] = (seq, effects.seen_at)
            self.seen[peer] = seq
        self._write_outbox(effects)
        for timer in effects.timers_set:
            content.timers[timer.number] = timer._replace(steady=0.0)
            content.timer_number = max(content.timer_number, timer.number)
        for number in effects.timers_gone:
            content.timers.pop(number, None)
        for error, number in effects.retried:
            if number in content.failed:
                content.failed[number] = replace(content.failed[number], error=error)
            self.failed -= error is None
        if effects.state is not None:
            content.state = self.state = effects.state

    def _write_outbox(self, effects: Effects) -> None:
        content = self._content
        for out in effects.outgoing:
            if out.agent not in self.destinations:
                content.unconfirmed[out.agent] = self.unconfirmed[out.agent] = 0
            content.outbox.setdefault(out.agent, {})[out.seq] = _Refused(replace(out, said=None))
            content.destinations[out.agent] = self.destinations[out.agent] = out.seq
            self.waiting[out.agent] = self.waiting.get(out.agent, 0) + 1
        for reason, agent, seq in effects.refused:
            if (kept := content.outbox.get(agent, {}).get(seq)) is not None:
                kept.reason = reason
        self.kept_refused += len(effects.refused)
        for agent, seq in effects.acknowledged.items():
            messages = content.outbox.get(agent, {})
            for number in [number for number, each in messages.items() if number <= seq and each.reason is None]:
                del messages[number]
            self.waiting[agent] = self.destinations.get(agent, seq) - seq
        for agent, last in effects.confirmed.items():
            self._confirm(agent, last)

    def _confirm(self, agent: str, last: int) -> None:
        """Count on from what the agent has, as `Journal` does."""
        content = self._content
        content.unconfirmed.pop(agent, None)
        known = self.unconfirmed.pop(agent, last)
        if last <= known:
            return
        content.outbox[agent] = {
            seq + last - known if seq > known else seq: each
            for seq, each in content.outbox.get(agent, {}).items()
            if seq > known or each.reason is not None
        }
        for seq, each in content.outbox[agent].items():
            each.message = replace(each.message, seq=seq)
        content.destinations[agent] = self.destinations[agent] = self.destinations[agent] + last - known
        self.waiting[agent] = self.destinations[agent] - last

    def failed_message(self, number: int) -> Received | None:
        """Return the failed message of that number, or None."""
        message = self._content.failed.get(number)
        return message if message is not None and message.error is not None else None

    def prune(self, now: float, known: Container[str] = ()) -> bool:
        """Forget what `Journal.prune` forgets, all at once; returns False: there is never more."""
        self._check_open()
        content, before = self._content, self.received_number - limits.HISTORY
        while content.turns and content.turns[0][1] <= before:
            content.turns.popleft()
        for number in [number for number, each in content.failed.items() if number <= before and each.error is None]:
            self.failed_bytes -= len(content.failed.pop(number).payload)
        for peer in [
            peer for peer, (_, at) in content.seen.items()
            if peer[0].startswith(PROGRAM) and at < now - limits.PROGRAM_MEMORY
        ]:  # fmt: skip
            self._forget_sender(peer)
        self._forget_failed()
        self._forget_refused()
        self._forget_senders(known)
        return False

    def _forget_failed(self) -> None:
        failed = self._content.failed
        for number in sorted(number for number, each in failed.items() if each.error is not None):
            if self.failed <= limits.MAX_FAILED and self.failed_bytes <= limits.MAX_FAILED_BYTES:
                return
            self.failed -= 1
            self.failed_bytes -= len(failed.pop(number).payload)
            self.forgotten["failed messages"] += 1

    def _forget_refused(self) -> None:
        excess = self.kept_refused - limits.MAX_REFUSED
        if excess <= 0:
            return
        refused = [
            (each.message.sent, agent, seq)
            for agent, messages in self._content.outbox.items()
            for seq, each in messages.items()
            if each.reason is not None
        ]
        for _, agent, seq in sorted(refused)[:excess]:
            del self._content.outbox[agent][seq]
            self.kept_refused -= 1
            self.forgotten["refusals"] += 1

    def _forget_senders(self, known: Container[str]) -> None:
        if len(self.seen) <= limits.MAX_SENDERS:
            return
        oldest = sorted(self._content.seen, key=lambda peer: self._content.seen[peer][1])
        for which in (True, False):
            group = [peer for peer in oldest if (peer[0] in known) is which]
            for peer in group[: max(0, len(group) - limits.MAX_SENDERS)]:
                self._forget_sender(peer)
                self.forgotten["senders"] += 1

    def _forget_sender(self, peer: Peer) -> None:
        del self._content.seen[peer]
        self.seen.pop(peer, None)

    def limit_growth(self, pages: int | None) -> None:
        """Let it grow by so many pages of 4 KiB at most, as a disk does that is about to be full; None: no limit."""
        self._room = None if pages is None else pages * _PAGE

    def checkpoint_after(self, pages: int) -> None:
        """Do nothing: there is no WAL."""

    def checkpoint(self) -> None:
        """Do nothing: there is no WAL."""

    def close(self) -> None:
        """Let another one open it; may be called twice."""
        if not self._closed:
            self._closed = True
            self._content.open = False

    def is_gone(self) -> bool:
        """Return False: nobody can remove it."""
        return False

    def save(self) -> Path:
        """Raise JournalError: there is no file."""
        raise JournalError(f"{self.path}: a rehearsed journal has no file")

    def _check_open(self) -> None:
        if self._closed:
            raise JournalError(f"{self.path}: the journal is closed")


class MemoryReader:
    """A view of a journal of Python objects: what `JournalReader` tells of a file."""

    def __init__(self, path: Path, content: _JournalContent) -> None:
        self.path = path
        self._content = content

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a SELECT, of tables of the agent's own. Raises JournalError."""
        try:
            return self._content.own_tables().execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot read the journal: {error}") from None

    def state(self) -> bytes | None:
        """Return the agent's state as it was last committed, JSON; None when it has none."""
        return self._content.state

    def received(self, *, failed: bool = False, after: int = 0, last: int = 50) -> list[tuple[int, Received]]:
        """Return the newest ``last`` messages with a number above ``after``, oldest first."""
        rows = [
            (number, message)
            for number, message in sorted(self._content.failed.items())
            if number > after and (message.error is not None or not failed)
        ]
        if not failed:
            rows += [
                (number, message)
                for first, _, messages in self._content.turns
                for number, message in enumerate(messages, first)
                if message is not None and number > after
            ]
            rows.sort(key=lambda row: row[0])
        return rows[-last:]

    def received_about(self, text: str, *names: str, sent: bool = False) -> list[tuple[str, float, bytes]]:
        """Return (name, taken or sent in Unix seconds, payload) of messages with ``text`` in it, newest first."""
        rows = reversed(self.received(last=self._content.number + 1))
        return [
            (message.name, message.sent if sent else message.taken, bytes(message.payload))
            for _, message in rows
            if message.name in names and text.encode() in message.payload
        ]

    def error(self, number: int) -> str | None:
        """Return the traceback of a failed message; None when no failed message has that number."""
        message = self._content.failed.get(number)
        return None if message is None else message.error

    def newest(self) -> int:
        """Return the number of the message that was taken last; 0 before the first."""
        return self._content.number

    def outbox(self, agent: str, after: int, limit: int) -> list[Entry]:
        """Return the messages that wait for an agent, in order, with numbers above ``after``."""
        messages = self._content.outbox.get(agent, {})
        waiting = [seq for seq, each in messages.items() if seq > after and each.reason is None]
        return [messages[seq].message.entry() for seq in sorted(waiting)[:limit]]

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait for each agent."""
        counts = {
            agent: sum(each.reason is None for each in messages.values())
            for agent, messages in self._content.outbox.items()
        }
        return {agent: count for agent, count in counts.items() if count}

    def refused(self) -> list[Any]:
        """Return (agent, seq, id, name, sent, payload, reason) of the messages that their receivers have refused."""
        return sorted(
            (
                (*astuple(each.message)[:6], each.reason)
                for messages in self._content.outbox.values()
                for each in messages.values()
                if each.reason is not None
            ),
            key=lambda row: row[4],
        )

    def close(self) -> None:
        """Do nothing: there is no file."""
