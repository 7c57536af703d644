"""The writing side: one connection, which commits turns, prunes and checkpoints."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Container, Sequence
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import astuple

from pyros.errors import JournalError, WriteFailed
from pyros.journal import limits
from pyros.journal._migrations import from_format_1
from pyros.journal._reader import JournalReader
from pyros.journal._rows import (
    CONFIRMATIONS,
    FORMAT,
    INDICES,
    NEWEST,
    PROGRAM,
    SCHEMA,
    Effects,
    Peer,
    Received,
    StoredTimer,
)
from pyros.journal.file import JournalFile
from pyros.unique import new_name

_SYNCHRONOUS_FULL = 2  # below it the WAL is synced only when it is moved into the file: a power cut takes turns along
_ROWS = 32  # in one INSERT; more than 999 values SQLite takes only since 3.32
_WAL_PAGES = 2000  # after so many pages a commit moves the WAL into the file
_PAGE = 4096 + 24  # bytes of a page and its header in the WAL
_MAX_PAGES = 1_073_741_823  # the most that every version of SQLite allows

_DISK_TROUBLES = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
}  # fmt: skip

_encode = msgspec.json.Encoder().encode


def insert(db: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many with one statement.

    Python's sqlite3 gives other threads their turn at every step, and `executemany` makes a step for each row: beside a
    busy reactor a commit then waits for each row of it until the reactor lets it go on.
    """
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        db.execute(_insertion(into, len(some), len(some[0])), [value for row in some for value in row])


@lru_cache(maxsize=256)
def _insertion(into: str, rows: int, columns: int) -> str:
    """Return the statement that inserts so many rows of so many values."""
    marks = ", ".join([f"({', '.join('?' * columns)})"] * rows)
    return f"{into} VALUES {marks}"


def is_trouble_with_the_disk(error: sqlite3.Error) -> bool:
    """Whether the same statement may well succeed later; otherwise it is wrong, and will be each time."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK_TROUBLES


# Prepared once, while `_authorize` lets them: a further write that says COMMIT prepares a statement of its own.
_COMMIT = "COMMIT -- the turn"
_ROLLBACK = "ROLLBACK -- the turn"


class Journal:
    """The writing side. Opened in the thread that starts the agent, then used by one thread at a time."""

    def __init__(self, path: Path, *, epoch: str = "", durable: bool = True, schema: str = "") -> None:
        """Open or make the journal at ``path``.

        ``epoch`` names a new journal (a random one otherwise). ``durable=False`` leaves out the syncs, for rehearsals.
        ``schema`` has further ``CREATE TABLE IF NOT EXISTS`` statements. Raises JournalError naming the file.
        """
        self.path = path
        self.damage = ""
        """Why this isn't the journal that was open here last, or may not be, and what is lost; '' when all is well."""
        self._file: JournalFile | None = None
        self._db: sqlite3.Connection | None = None
        self._writes_further = False
        self._growth: int | None = None
        """By how many pages the file may grow, for the next commit to set; None: as it is."""
        self.forgotten: Counter[str] = Counter()
        """How much was forgotten because there was too much of it, by what it was."""
        try:
            self._file = JournalFile(path)
            self.damage = self._file.damage
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
            self._db.set_authorizer(self._authorize)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._file.claim()
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            self._db.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
            self._create(epoch, schema, self._file)
            self._load()
            if durable:
                self._grow_wal()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise JournalError(f"{path}: cannot open the journal: {error}") from None
        except JournalError:
            self.close()
            raise

    def is_gone(self) -> bool:
        """Whether the file was removed, or another one put in its place, since it was opened; any thread."""
        return self._file is None or self._file.is_gone()

    def save(self) -> Path:
        """Write all that the journal has into a file beside it; returns which. Raises JournalError."""
        if self._file is None:
            raise JournalError(f"{self.path}: the journal is closed")
        path = self._file.free_name("saved")
        try:
            with closing(sqlite3.connect(path)) as copy:
                self._open_db.backup(copy)
        except sqlite3.Error as error:
            raise JournalError(f"{path}: cannot save the journal: {error}") from None
        return path

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

    def _create(self, epoch: str, schema: str, file: JournalFile) -> None:
        db = self._open_db
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            values = f"INSERT INTO meta VALUES ('format', '{FORMAT}'), ('epoch', '{epoch or new_name()}');"
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {values} COMMIT;")
        if db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() == ("1",):
            from_format_1(db)
        meta: dict[str, str] = dict(db.execute("SELECT key, value FROM meta"))
        known, before = meta.get("file", file.mark_before), file.mark_before
        if "opening" in meta and before.startswith(f"{meta['opening']} "):
            known = before  # the last start failed after it had signed the lock
        if known != before:
            self.damage = (
                f"{self.path}: the journal was restored, or came from elsewhere: if it is an older copy, what the agent"
                " took since that was made is forgotten, and what it said since and had not delivered is lost"
            )
        else:  # a copy says so until a start has succeeded
            db.executescript(
                f"BEGIN IMMEDIATE; INSERT OR REPLACE INTO meta VALUES ('file', '{before}'), ('opening', '{file.name}');"
                " COMMIT;"
            )
        confirmations = CONFIRMATIONS.format(copied=known != before, mark=file.sign())
        db.executescript(f"BEGIN IMMEDIATE; {confirmations} COMMIT;")
        if schema:
            db.executescript(f"BEGIN IMMEDIATE; {schema}; COMMIT;")
        with suppress(sqlite3.Error):  # a journal of another format is refused below, and a full disk doesn't matter
            db.executescript(INDICES)

    def _load(self) -> None:
        db = self._open_db
        try:
            meta = dict(db.execute("SELECT key, value FROM meta"))
            if meta.get("format") != str(FORMAT):
                raise JournalError(f"{self.path}: journal of format {meta.get('format')}, this PYROS reads {FORMAT}")
            self.epoch = str(meta["epoch"])
            self.seen: dict[Peer, int] = {
                (name, epoch): seq for name, epoch, seq in db.execute("SELECT name, epoch, last_seq FROM peers")
            }
            self.destinations: dict[str, int] = dict(db.execute("SELECT agent, last_seq FROM destinations"))
            self.unconfirmed: dict[str, int] = dict(db.execute("SELECT agent, last_seq FROM unconfirmed"))
            """By agents that have not said yet which number they have: the last one when the journal was opened."""
            self.waiting: dict[str, int] = dict(
                db.execute("SELECT agent, count(*) FROM outbox WHERE refused IS NULL GROUP BY agent")
            )
            """How many messages wait for each agent."""
            self.timers = [StoredTimer(*row) for row in db.execute("SELECT number, due, name, payload FROM timers")]
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'timers'").fetchone()
            self.timer_number: int = row[0] if row else 0
            self.received_number: int = db.execute(NEWEST).fetchone()[0]
            self.failed: int = db.execute("SELECT count(*) FROM failed WHERE error IS NOT NULL").fetchone()[0]
            self.failed_bytes: int = db.execute("SELECT ifnull(sum(length(payload)), 0) FROM failed").fetchone()[0]
            self.kept_refused: int = db.execute("SELECT count(*) FROM outbox WHERE refused IS NOT NULL").fetchone()[0]
            row = db.execute("SELECT value FROM state").fetchone()
            self.state: bytes | None = row[0] if row else None
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot read the journal: {error}") from None

    def reader(self) -> JournalReader:
        """Return a read-only view of it, for other threads."""
        return JournalReader(self.path)

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a SELECT of the agent's own tables, as of the last commit; for the thread that commits.

        Raises JournalError when the journal cannot be read.
        """
        try:
            return self._open_db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot read the journal: {error}") from None

    @property
    def durable(self) -> bool:
        """Whether a commit is on disk when it returns, as SQLite itself says."""
        level: int = self._open_db.execute("PRAGMA synchronous").fetchone()[0]
        return level >= _SYNCHRONOUS_FULL

    @property
    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise JournalError(f"{self.path}: the journal is closed")
        return self._db

    def commit(self, effects: Effects) -> None:
        """Store a turn: all of it or, with a JournalError that says why (disk full ...), nothing.

        Raises WriteFailed when a further write of the turn is to blame, not the disk.
        """
        db = self._open_db
        if self._growth is not None:
            self._set_growth(db)
        unconfirmed = {message.agent: 0 for message in effects.outgoing if message.agent not in self.destinations}
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                if unconfirmed:
                    db.executemany("INSERT OR IGNORE INTO unconfirmed VALUES (?, ?)", unconfirmed.items())
                self._write(db, effects)
                self._write_further(db, effects)
                db.execute(_COMMIT)
            except BaseException:
                if db.in_transaction:
                    db.execute(_ROLLBACK)
                raise
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot store: {error}") from None
        self.seen.update(effects.seen)
        self.received_number += len(effects.received)
        kept = [message for message in effects.received if message.error is not None]
        self.failed += len(kept) - sum(error is None for error, _ in effects.retried)
        self.failed_bytes += sum(len(message.payload) for message in kept)
        self.kept_refused += len(effects.refused)
        for outgoing in effects.outgoing:
            self.destinations[outgoing.agent] = outgoing.seq
            self.waiting[outgoing.agent] = self.waiting.get(outgoing.agent, 0) + 1
        self.unconfirmed |= unconfirmed
        for agent, seq in effects.acknowledged.items():
            self.waiting[agent] = self.destinations.get(agent, seq) - seq
        for agent, last in effects.confirmed.items():
            known = self.unconfirmed.pop(agent, last)
            if last > known:
                self.destinations[agent] += last - known
                self.waiting[agent] = self.destinations[agent] - last
        if effects.state is not None:
            self.state = effects.state

    def _write(self, db: sqlite3.Connection, effects: Effects) -> None:
        if effects.received:
            last = self.received_number + len(effects.received)
            kept = [
                (each.id, each.name, each.sender, each.sent, each.taken, str(each.payload, "utf-8", "replace"))
                if each.error is None
                else None
                for each in effects.received
            ]
            db.execute("INSERT INTO turns VALUES (?, ?, ?)", (last, self.received_number + 1, _encode(kept).decode()))
            if None in kept:
                numbered = enumerate(effects.received, self.received_number + 1)
                failed = [(number, *astuple(each)) for number, each in numbered if each.error is not None]
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
                [
                    (each.agent, each.seq, each.id, each.name, each.sent, bytearray(each.payload))
                    for each in effects.outgoing
                ],
            )
            numbers = {outgoing.agent: outgoing.seq for outgoing in effects.outgoing}
            db.executemany("INSERT OR REPLACE INTO destinations VALUES (?, ?)", numbers.items())
        if effects.refused:
            db.executemany("UPDATE outbox SET refused = ? WHERE agent = ? AND seq = ?", effects.refused)
        if effects.acknowledged:
            db.executemany(
                "DELETE FROM outbox WHERE agent = ? AND seq <= ? AND refused IS NULL", effects.acknowledged.items()
            )
        for agent, last in effects.confirmed.items():
            self._confirm(db, agent, last)
        if effects.timers_set:
            db.executemany("INSERT INTO timers VALUES (?, ?, ?, ?)", [timer[:4] for timer in effects.timers_set])
        if effects.timers_gone:
            db.executemany("DELETE FROM timers WHERE number = ?", [(number,) for number in effects.timers_gone])
        if effects.retried:
            db.executemany("UPDATE failed SET error = ? WHERE number = ?", effects.retried)
        if effects.state is not None:
            db.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (effects.state,))

    def _confirm(self, db: sqlite3.Connection, agent: str, last: int) -> None:
        """Count on from what the agent has, if that is more than what the journal knew when it was opened.

        What waited then is there already. What was said since waits under higher numbers.
        """
        db.execute("DELETE FROM unconfirmed WHERE agent = ?", (agent,))
        known = self.unconfirmed.get(agent, last)
        if last > known:
            db.execute("DELETE FROM outbox WHERE agent = ? AND seq <= ? AND refused IS NULL", (agent, known))
            # Through numbers below 0, lest two have the same one for a moment.
            db.execute("UPDATE outbox SET seq = -seq - ? WHERE agent = ? AND seq > ?", (last - known, agent, known))
            db.execute("UPDATE outbox SET seq = -seq WHERE agent = ? AND seq < 0", (agent,))
            db.execute("UPDATE destinations SET last_seq = last_seq + ? WHERE agent = ?", (last - known, agent))

    def _write_further(self, db: sqlite3.Connection, effects: Effects) -> None:
        """Have the further writes made; they cannot end the transaction."""
        if not effects.also:
            return
        self._writes_further = True
        try:
            for place, write in enumerate(effects.also):
                try:
                    write(db)
                except BaseException as error:
                    if isinstance(error, sqlite3.Error) and is_trouble_with_the_disk(error):
                        raise
                    raise WriteFailed(self.path, place, error) from error
        finally:
            self._writes_further = False

    def _authorize(self, action: int, *_: object) -> int:
        """For SQLite, whenever a statement is prepared. It stays set: setting it anew prepares all others once more."""
        denied = self._writes_further and action == sqlite3.SQLITE_TRANSACTION
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    def failed_message(self, number: int) -> Received | None:
        """Return the failed message of that number, or None."""
        row = self._open_db.execute(
            "SELECT id, name, sender, sent, taken, payload, error FROM failed WHERE number = ? AND error IS NOT NULL",
            (number,),
        ).fetchone()
        return Received(*row) if row else None

    def prune(self, now: float, known: Container[str] = ()) -> bool:
        """Forget a chunk of old history, and the oldest of what there is too much of; True when there is more.

        Failed messages, refusals and senders are kept up to a number; ``known`` are the observatory's agents, whom no
        crowd of other names makes forgotten. `forgotten` counts.
        """
        db, before = self._open_db, self.received_number - limits.HISTORY
        try:
            old = db.execute(
                "SELECT first, last FROM turns WHERE last <= ? ORDER BY last LIMIT ?", (before, limits.PRUNE_CHUNK)
            ).fetchall()
            some = [last for first, last in old if first < old[0][0] + limits.PRUNE_CHUNK]
            if some:
                db.execute("DELETE FROM turns WHERE last <= ?", (some[-1],))
            retried = db.execute(
                "DELETE FROM failed WHERE number <= ? AND error IS NULL RETURNING length(payload)", (before,)
            ).fetchall()
            self.failed_bytes -= sum(length for (length,) in retried)
            for name, epoch in db.execute(
                "DELETE FROM peers WHERE substr(name, 1, ?) = ? AND seen < ? RETURNING name, epoch",
                (len(PROGRAM), PROGRAM, now - limits.PROGRAM_MEMORY),
            ).fetchall():
                self.seen.pop((name, epoch), None)
            crowded = [self._forget_failed(db), self._forget_refused(db), self._forget_senders(db, known)]
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot prune: {error}") from None
        return len(old) == limits.PRUNE_CHUNK or len(some) < len(old) or any(crowded)

    def _forget_failed(self, db: sqlite3.Connection) -> bool:
        """Forget the oldest failed messages beyond their number and bytes; whether there may be more to forget."""
        excess = min(limits.FORGET_CHUNK, self.failed - limits.MAX_FAILED)
        if excess <= 0 and self.failed_bytes <= limits.MAX_FAILED_BYTES:
            return False
        gone = db.execute(
            "DELETE FROM failed WHERE number IN (SELECT number FROM failed WHERE error IS NOT NULL ORDER BY number"
            " LIMIT ?) RETURNING length(payload)", (max(1, excess),),
        ).fetchall()  # fmt: skip
        self.failed -= len(gone)
        self.failed_bytes -= sum(length for (length,) in gone)
        self.forgotten["failed messages"] += len(gone)
        return bool(gone)

    def _forget_refused(self, db: sqlite3.Connection) -> bool:
        """Forget the oldest refused messages beyond their number; whether there may be more to forget."""
        excess = min(limits.FORGET_CHUNK, self.kept_refused - limits.MAX_REFUSED)
        if excess <= 0:
            return False
        gone = db.execute(
            "DELETE FROM outbox WHERE (agent, seq) IN (SELECT agent, seq FROM outbox WHERE refused IS NOT NULL"
            " ORDER BY sent LIMIT ?) RETURNING seq", (excess,),
        ).fetchall()  # fmt: skip
        self.kept_refused -= len(gone)
        self.forgotten["refusals"] += len(gone)
        return bool(gone)

    def _forget_senders(self, db: sqlite3.Connection, known: Container[str]) -> bool:
        """Forget senders beyond their number, heard longest ago first; whether there may be more to forget."""
        if len(self.seen) <= limits.MAX_SENDERS:
            return False
        oldest = db.execute("SELECT name, epoch FROM peers ORDER BY seen").fetchall()
        groups = [[peer for peer in oldest if (peer[0] in known) is which] for which in (True, False)]
        gone = [peer for group in groups for peer in group[: max(0, len(group) - limits.MAX_SENDERS)]]
        del gone[limits.FORGET_CHUNK :]
        db.execute("BEGIN IMMEDIATE")
        db.executemany("DELETE FROM peers WHERE name = ? AND epoch = ?", gone)
        db.execute("COMMIT")
        for peer in gone:
            self.seen.pop(peer, None)
        self.forgotten["senders"] += len(gone)
        return len(gone) == limits.FORGET_CHUNK

    def limit_growth(self, pages: int | None) -> None:
        """Let the file grow by so many pages of 4 KiB at most, as a disk does that is about to be full; None: no limit.

        Beyond it `commit` raises the JournalError of a full disk. It counts from the next commit on, whose thread sets
        it: any thread may ask for it. For tests.
        """
        self._growth = _MAX_PAGES if pages is None else pages

    def _set_growth(self, db: sqlite3.Connection) -> None:
        pages, self._growth = self._growth or 0, None
        used = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count={min(used + pages, _MAX_PAGES):d}")

    def checkpoint_after(self, pages: int) -> None:
        """Let the WAL grow to so many pages of 4 KiB before a commit moves them into the file.

        `checkpoint` moves them earlier.
        """
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
        if self._file is not None:
            self._file.close()
            self._file = None
