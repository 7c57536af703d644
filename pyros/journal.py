"""An agent's journal: one SQLite file that holds received messages, outbox, timers and state.

It is the only durable thing an agent has. A turn is written by one call of `Journal.commit`, in one transaction with
``synchronous=FULL``: after a crash at any instant either nothing of the turn is there or all of it.

One connection writes and checkpoints (SQLite below 3.51.3 can corrupt a WAL file otherwise), and a lock file keeps a
second process away; everybody else uses `JournalReader`, which is read-only.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pyros.errors import JournalError
from pyros.wire import Entry

Peer = tuple[str, str]
"""A sender's name and the epoch of its journal."""

PROGRAM = "program:"
"""How the names of senders begin that are no agents; their rows are forgotten a day after they were last seen."""

_FORMAT = 2
_HISTORY = 50_000  # received messages kept for people to look at; failed ones are kept for good
_ROWS = 32  # in one INSERT; more than 999 values SQLite takes only since 3.32
_WAL_PAGES = 2000  # after so many pages a commit moves the WAL into the file
_PAGE = 4096 + 24  # bytes of a page and its header in the WAL
_PRUNE_CHUNK = 5_000
_PROGRAM_MEMORY = 86_400.0

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE turns (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, messages TEXT NOT NULL);
CREATE TABLE failed (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, sender TEXT NOT NULL,
    sent REAL NOT NULL, taken REAL NOT NULL, payload BLOB NOT NULL, error TEXT);
CREATE VIEW received AS
    SELECT turns.first + one.key AS number, one.value ->> 0 AS id, one.value ->> 1 AS name, one.value ->> 2 AS sender,
        one.value ->> 3 AS sent, one.value ->> 4 AS taken, CAST(one.value ->> 5 AS BLOB) AS payload, NULL AS error,
        turns.last AS turn
    FROM turns, json_each(turns.messages) AS one WHERE one.type = 'array'
    UNION ALL SELECT number, id, name, sender, sent, taken, payload, error, number FROM failed;
CREATE TABLE peers (
    name TEXT NOT NULL, epoch TEXT NOT NULL, last_seq INTEGER NOT NULL, seen REAL NOT NULL,
    PRIMARY KEY (name, epoch)) WITHOUT ROWID;
CREATE TABLE destinations (agent TEXT PRIMARY KEY, last_seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (
    agent TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, sent REAL NOT NULL,
    payload BLOB NOT NULL, refused TEXT, PRIMARY KEY (agent, seq)) WITHOUT ROWID;
CREATE TABLE timers (number INTEGER PRIMARY KEY AUTOINCREMENT, due REAL NOT NULL, name TEXT NOT NULL, payload BLOB);
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), value BLOB NOT NULL);
"""


# The messages of a turn are one row, a JSON array: a row for each took half of the time of a pipeline. The ones that
# failed stand in a table of their own, and leave a null in the array; the view has all of them, one by one.
_NEWEST = "SELECT max(ifnull((SELECT max(last) FROM turns), 0), ifnull((SELECT max(number) FROM failed), 0))"
_encode = msgspec.json.Encoder().encode


class Received(NamedTuple):
    """A message that was taken, as it is kept; ``error`` is the traceback of a handler that failed."""

    id: str
    name: str
    sender: str
    sent: float
    taken: float
    payload: bytes
    error: str | None = None


class Outgoing(NamedTuple):
    """A message for another agent, numbered for it."""

    agent: str
    seq: int
    id: str
    name: str
    sent: float
    payload: bytes

    def entry(self) -> Entry:
        """The same as it goes on the wire."""
        return Entry(self.seq, self.id, self.name, self.sent, msgspec.Raw(self.payload))


class StoredTimer(NamedTuple):
    """A message the agent will get at ``due`` (Unix seconds)."""

    number: int
    due: float
    name: str
    payload: bytes


def insert(db: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many with one statement.

    Python's sqlite3 gives other threads their turn at every step, and `executemany` makes a step for each row: beside a
    busy reactor a commit then waits for each row of it until the reactor lets it go on.
    """
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        marks = ", ".join([f"({', '.join('?' * len(some[0]))})"] * len(some))
        db.execute(f"{into} VALUES {marks}", [value for row in some for value in row])


class Effects:
    """Everything one turn wants to store, gathered while its handlers run."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.seen: dict[Peer, int] = {}
        self.seen_at = 0.0
        """When (Unix seconds) the turn took what is in ``seen``."""
        self.outgoing: list[Outgoing] = []
        self.acknowledged: dict[str, int] = {}
        self.refused: list[tuple[str, str, int]] = []
        """(reason, agent, seq): what another agent would not take."""
        self.timers_set: list[StoredTimer] = []
        self.timers_gone: list[int] = []
        self.retried: list[tuple[str | None, int]] = []
        """(new error or None, number) of failed messages that were handled again."""
        self.state: bytes | None = None
        self.also: list[Callable[[sqlite3.Connection], None]] = []
        """Further writes in the same transaction."""

    def __bool__(self) -> bool:
        return any(vars(self).values())


class Journal:
    """The writing side. Opened in the thread that starts the agent, then used by one thread at a time."""

    def __init__(self, path: Path, *, epoch: str = "", durable: bool = True, schema: str = "") -> None:
        """Open or make the journal at ``path``.

        ``epoch`` names a new journal (a random one otherwise). ``durable=False`` leaves out the syncs, for rehearsals.
        ``schema`` has further ``CREATE TABLE IF NOT EXISTS`` statements. Raises JournalError naming the file.
        """
        self.path = path
        self._lock_file: int | None = None
        self._db: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock(path.with_suffix(".lock"))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            self._db.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
            self._create(epoch or uuid.uuid4().hex, schema)
            self._load()
            if durable:
                self._grow_wal()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise JournalError(f"{path}: cannot open the journal: {error}") from None
        except JournalError:
            self.close()
            raise

    def _lock(self, path: Path) -> None:
        self._lock_file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock_file, 32, 0).decode(errors="replace").strip() or "?"
            os.close(self._lock_file)
            self._lock_file = None
            raise JournalError(f"{self.path}: the journal is in use by process {holder}; stop that one first") from None
        os.ftruncate(self._lock_file, 0)
        os.pwrite(self._lock_file, str(os.getpid()).encode(), 0)

    def _grow_wal(self) -> None:
        """Give the WAL its size beforehand: a sync that need not make the file longer takes two thirds of the time.

        SQLite reads a WAL only as far as its checksums hold, so zeros behind its last frame mean nothing to it.
        """
        with suppress(OSError), open(f"{self.path}-wal", "ab") as wal:  # without room for it, it is only slower
            missing = _WAL_PAGES * _PAGE - wal.tell()
            if missing > 0:
                wal.write(bytes(missing))
                wal.flush()
                os.fsync(wal.fileno())

    def _create(self, epoch: str, schema: str) -> None:
        db = self._open_db
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            values = f"INSERT INTO meta VALUES ('format', '{_FORMAT}'), ('epoch', '{epoch}');"
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {values} COMMIT;")
        if schema:
            db.executescript(f"BEGIN IMMEDIATE; {schema}; COMMIT;")

    def _load(self) -> None:
        db = self._open_db
        try:
            meta = dict(db.execute("SELECT key, value FROM meta"))
            if meta.get("format") != str(_FORMAT):
                raise JournalError(f"{self.path}: journal of format {meta.get('format')}, this PYROS reads {_FORMAT}")
            self.epoch = str(meta["epoch"])
            self.seen: dict[Peer, int] = {
                (name, epoch): seq for name, epoch, seq in db.execute("SELECT name, epoch, last_seq FROM peers")
            }
            self.destinations: dict[str, int] = dict(db.execute("SELECT agent, last_seq FROM destinations"))
            self.waiting: dict[str, int] = dict(
                db.execute("SELECT agent, count(*) FROM outbox WHERE refused IS NULL GROUP BY agent")
            )
            """How many messages wait for each agent."""
            self.timers = [StoredTimer(*row) for row in db.execute("SELECT number, due, name, payload FROM timers")]
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'timers'").fetchone()
            self.timer_number: int = row[0] if row else 0
            self.received_number: int = db.execute(_NEWEST).fetchone()[0]
            self.failed: int = db.execute("SELECT count(*) FROM failed WHERE error IS NOT NULL").fetchone()[0]
            row = db.execute("SELECT value FROM state").fetchone()
            self.state: bytes | None = row[0] if row else None
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot read the journal: {error}") from None

    @property
    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise JournalError(f"{self.path}: the journal is closed")
        return self._db

    def commit(self, effects: Effects) -> None:
        """Store a turn: all of it or, with a JournalError that says why (disk full ...), nothing."""
        db = self._open_db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                self._write(db, effects)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot store: {error}") from None
        self.seen.update(effects.seen)
        self.received_number += len(effects.received)
        for outgoing in effects.outgoing:
            self.destinations[outgoing.agent] = outgoing.seq
            self.waiting[outgoing.agent] = self.waiting.get(outgoing.agent, 0) + 1
        for agent, seq in effects.acknowledged.items():
            self.waiting[agent] = self.destinations.get(agent, seq) - seq
        if effects.state is not None:
            self.state = effects.state

    def _write(self, db: sqlite3.Connection, effects: Effects) -> None:
        if effects.received:
            last = self.received_number + len(effects.received)
            kept = [
                (*message[:5], str(message.payload, "utf-8", "replace")) if message.error is None else None
                for message in effects.received
            ]
            db.execute("INSERT INTO turns VALUES (?, ?, ?)", (last, self.received_number + 1, _encode(kept).decode()))
            if None in kept:
                numbered = enumerate(effects.received, self.received_number + 1)
                failed = [(number, *message) for number, message in numbered if message.error is not None]
                db.executemany("INSERT INTO failed VALUES (?, ?, ?, ?, ?, ?, ?, ?)", failed)
        if effects.seen:
            db.executemany(
                "INSERT OR REPLACE INTO peers VALUES (?, ?, ?, ?)",
                [(*peer, seq, effects.seen_at) for peer, seq in effects.seen.items()],
            )
        if effects.outgoing:
            # Python's sqlite3 binds plain tuples of str, float and bytearray twice as fast as ones with bytes or None
            insert(
                db,
                "INSERT INTO outbox (agent, seq, id, name, sent, payload)",
                [(*message[:5], bytearray(message.payload)) for message in effects.outgoing],
            )
            numbers = {outgoing.agent: outgoing.seq for outgoing in effects.outgoing}
            db.executemany("INSERT OR REPLACE INTO destinations VALUES (?, ?)", numbers.items())
        if effects.refused:
            db.executemany("UPDATE outbox SET refused = ? WHERE agent = ? AND seq = ?", effects.refused)
        if effects.acknowledged:
            db.executemany(
                "DELETE FROM outbox WHERE agent = ? AND seq <= ? AND refused IS NULL", effects.acknowledged.items()
            )
        if effects.timers_set:
            db.executemany("INSERT INTO timers VALUES (?, ?, ?, ?)", effects.timers_set)
        if effects.timers_gone:
            db.executemany("DELETE FROM timers WHERE number = ?", [(number,) for number in effects.timers_gone])
        if effects.retried:
            db.executemany("UPDATE failed SET error = ? WHERE number = ?", effects.retried)
        if effects.state is not None:
            db.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (effects.state,))
        for write in effects.also:
            write(db)

    def failed_message(self, number: int) -> Received | None:
        """The failed message of that number, or None."""
        row = self._open_db.execute(
            "SELECT id, name, sender, sent, taken, payload, error FROM failed WHERE number = ? AND error IS NOT NULL",
            (number,),
        ).fetchone()
        return Received(*row) if row else None

    def prune(self, now: float) -> bool:
        """Forget a chunk of old history; True when there is more. Never loses a failed message or a living sender."""
        db, before = self._open_db, self.received_number - _HISTORY
        try:
            old = db.execute(
                "SELECT first, last FROM turns WHERE last <= ? ORDER BY last LIMIT ?", (before, _PRUNE_CHUNK)
            ).fetchall()
            some = [last for first, last in old if first < old[0][0] + _PRUNE_CHUNK]
            if some:
                db.execute("DELETE FROM turns WHERE last <= ?", (some[-1],))
            db.execute("DELETE FROM failed WHERE number <= ? AND error IS NULL", (before,))
            for name, epoch in db.execute(
                "DELETE FROM peers WHERE substr(name, 1, ?) = ? AND seen < ? RETURNING name, epoch",
                (len(PROGRAM), PROGRAM, now - _PROGRAM_MEMORY),
            ).fetchall():
                self.seen.pop((name, epoch), None)
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot prune: {error}") from None
        return len(old) == _PRUNE_CHUNK or len(some) < len(old)

    def checkpoint_after(self, pages: int) -> None:
        """Let the WAL grow to so many pages of 4 KiB before a commit moves them into the file, unless `checkpoint` is
        called before."""
        self._open_db.execute(f"PRAGMA wal_autocheckpoint={pages:d}")

    def checkpoint(self) -> None:
        """Move what is in the WAL into the file; for a moment when nobody waits for a commit."""
        try:
            self._open_db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot checkpoint: {error}") from None

    def close(self) -> None:
        """Close the file and give the lock back; may be called twice."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


class JournalReader:
    """A read-only view of a journal, for other threads and other processes. Raises JournalError naming the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise JournalError(f"{path}: no such journal (the agent has not run here yet)")
        try:
            self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise JournalError(f"{path}: cannot open the journal: {error}") from None

    def rows(self, query: str, *values: Any) -> list[Any]:
        """The rows of a SELECT."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot read the journal: {error}") from None

    def received(self, *, failed: bool = False, after: int = 0, last: int = 50) -> list[tuple[int, Received]]:
        """The newest ``last`` messages with a number above ``after``, oldest first."""
        rows = self.rows(
            f"SELECT number, id, name, sender, sent, taken, payload, error FROM {'failed' if failed else 'received'}"
            f" WHERE number > ? AND {'error IS NOT NULL' if failed else 'turn > ?'} ORDER BY number DESC LIMIT ?",
            *((after,) if failed else (after, after)),
            last,
        )
        return [(row[0], Received(*row[1:])) for row in reversed(rows)]

    def newest(self) -> int:
        """The number of the message that was taken last; 0 before the first."""
        number: int = self.rows(_NEWEST)[0][0]
        return number

    def outbox(self, agent: str, after: int, limit: int) -> list[Entry]:
        """Messages that wait for an agent, in order, with numbers above ``after``."""
        rows = self.rows(
            "SELECT agent, seq, id, name, sent, payload FROM outbox"
            " WHERE agent = ? AND seq > ? AND refused IS NULL ORDER BY seq LIMIT ?",
            agent,
            after,
            limit,
        )
        return [Outgoing(*row).entry() for row in rows]

    def refused(self) -> list[Any]:
        """(agent, seq, id, name, sent, payload, reason) of messages that their receivers would not take."""
        return self.rows(
            "SELECT agent, seq, id, name, sent, payload, refused FROM outbox WHERE refused IS NOT NULL ORDER BY sent"
        )

    def close(self) -> None:
        self._db.close()
