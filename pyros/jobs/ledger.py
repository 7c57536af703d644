"""The ledger: a queue's jobs as rows of its agent's journal, and what may become of them.

Everything that changes a row runs inside a turn's transaction (`Agent.in_transaction`), one after the other, and
decides by what stands there: no copy in memory could be undone with a turn that fails. A job's states:

    pending ─> running ─> succeeded | failed | crashed | terminated
       │          └─> pending      again: a retry after a failure, a rerun after a crash
       └─> revoked | expired
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pyros.config import JobConfig
from pyros.errors import JournalError
from pyros.journal import JournalReader
from pyros.messages import JobFinished, JobRequest
from pyros.prepared import prepared
from pyros.unique import boot_id

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, state TEXT NOT NULL,
    priority INTEGER NOT NULL, due REAL NOT NULL, expires REAL, asked REAL NOT NULL, asker TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0,
    stop INTEGER NOT NULL DEFAULT 0, boot TEXT NOT NULL DEFAULT '', begun REAL, ended REAL,
    reason TEXT NOT NULL DEFAULT '', result BLOB, tell TEXT NOT NULL, request BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS jobs_pending ON jobs (priority DESC, number, due) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS jobs_due ON jobs (due) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS jobs_running ON jobs (number) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS jobs_untold ON jobs (number) WHERE tell != '' AND ended IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_ended ON jobs (ended) WHERE ended IS NOT NULL;
CREATE TABLE IF NOT EXISTS jobs_revoked (id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs_scheduled (name TEXT PRIMARY KEY, last REAL NOT NULL) WITHOUT ROWID;
"""

ENDS = ("succeeded", "failed", "crashed", "terminated", "revoked", "expired")
MAX_CRASHES = 5
"""A job that was running at so many crashes is told as crashed, also where it is to be run again: it may cause them."""
MAX_RETRY_SECONDS = 3600.0
MAX_CHUNK = 500
SCHEDULE = "schedule"
"""Who asks for scheduled jobs."""
MAX_CLOCK_BACK_SECONDS = 86_400.0
"""A clock that was set back by less sees no instant twice; one that was further ahead was wrong, and begins anew."""
PUNCTUAL_SECONDS = 60.0
"""An instant longer ago counts as missed."""
_STOPPED, _NOT_AGAIN = 2, 1  # values of `stop`

_encode = msgspec.json.encode
_decode_request = msgspec.json.Decoder(prepared(JobRequest)).decode


class JobEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an attempt ended."""

    crashed: bool = False
    """Nobody knows how far it came: the computer or its wrapper died."""
    code: int | None = None
    """The exit code; None when a signal ended it, or it could not be started."""
    signal: int | None = None
    """The number of the signal that ended it."""
    why: str = ""
    """Why the wrapper ended it, or could not start it; ``stopped`` when it was told to; '' when it ended by itself."""
    error: str = ""
    """What a task raised, or the last line that a command printed."""
    traceback: str = ""
    retry: float | None = None
    """A task's wish to be run again after so many seconds."""
    final: bool = False
    """A task failed in a way that it does not want to be run again for."""
    value: Any = None
    """What a task returned, a JSON value."""
    seconds: float = 0.0
    """How long it ran."""
    cpu_seconds: float = 0.0
    memory: int = 0
    """The most that one of its processes has used, bytes."""

    @property
    def succeeded(self) -> bool:
        """Whether it did what it was asked for."""
        return self.code == 0 and not (self.why or self.crashed or self.error or self.retry is not None)

    @property
    def reason(self) -> str:
        """Why it has no success, in one line; '' for a success."""
        if self.succeeded:
            return ""
        if self.crashed:
            return "it crashed: the computer or the job's wrapper died"
        if self.why:
            return self.why
        if self.error and (self.traceback or not self.code):
            return self.error
        ended = f"signal {self.signal}" if self.signal is not None else f"exit code {self.code}"
        return f"{self.error} ({ended})" if self.error else ended


class JobRun(NamedTuple):
    """An attempt that is to be carried on: begun unless it has begun already."""

    id: str
    attempt: int
    request: JobRequest
    stop: bool
    """It is to be ended."""
    boot: str
    """The start of the computer (`boot_id`) in which it was marked as running."""


class Look(NamedTuple):
    """What `look` has found to do, for the reactor's thread after the commit."""

    begin: list[JobRun]
    wake: float | None
    """When (Unix seconds) something is due next; None when nothing is."""
    pending: int
    """How many wait, for their turn or their time."""
    running: int
    untold: bool
    """There are ends that somebody is to be told."""


def add(db: sqlite3.Connection, request: JobRequest, asker: str, now: float, age: float = 0.0) -> None:
    """Enter a job, once: a second request with the same identifier changes nothing.

    ``age`` is how long ago (seconds) it was asked for, from which its countdown and its end of validity count.
    """
    due = max(request.due, now + request.countdown - age if request.countdown else 0.0)
    limits = [request.expires, None if request.expire_seconds is None else now + request.expire_seconds - age]
    expires = min((limit for limit in limits if limit is not None), default=None)
    db.execute(
        "INSERT OR IGNORE INTO jobs (id, name, state, priority, due, expires, asked, asker, tell, request)"
        " VALUES (?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?)",
        (request.id, request.name, request.priority, due, expires, now, asker, request.tell, _encode(request)),
    )
    if db.execute("SELECT 1 FROM jobs_revoked WHERE id = ?", (request.id,)).fetchone():
        revoke(db, request.id, False, now)


def revoke(db: sqlite3.Connection, id_: str, terminate: bool, now: float) -> None:
    """Keep a job from beginning, now or when its request comes; with ``terminate`` also mark a running one to be ended.

    A running one is not run again in any case.
    """
    row = db.execute("SELECT state FROM jobs WHERE id = ?", (id_,)).fetchone()
    if row is None:
        db.execute("INSERT OR IGNORE INTO jobs_revoked VALUES (?, ?)", (id_, now))
    elif row[0] == "pending":
        db.execute("UPDATE jobs SET state = 'revoked', ended = ?, reason = 'revoked' WHERE id = ?", (now, id_))
    elif row[0] == "running":
        db.execute("UPDATE jobs SET stop = max(stop, ?) WHERE id = ?", (_STOPPED if terminate else _NOT_AGAIN, id_))


def look(db: sqlite3.Connection, now: float, room: int, schedules: Iterable[JobConfig] = (), tell: str = "") -> Look:
    """Enter what the schedules want, let expire what is too late, and mark as running as many as there is room for.

    ``tell`` is the agent that is told of the ends of what the schedules want; '' for none.
    """
    wakes = [enter_scheduled(db, schedules, now, tell)]
    db.execute(
        "UPDATE jobs SET state = 'expired', ended = ?, reason = 'expired' WHERE state = 'pending' AND expires < ?",
        (now, now),
    )
    running = db.execute("SELECT count(*) FROM jobs WHERE state = 'running'").fetchone()[0]
    free = max(0, room - running)
    rows = db.execute(
        "SELECT id, attempt + 1, request FROM jobs WHERE state = 'pending' AND due <= ?"
        " ORDER BY priority DESC, number LIMIT ?", (now, free),
    ).fetchall()  # fmt: skip
    db.executemany(
        "UPDATE jobs SET state = 'running', attempt = attempt + 1, begun = ?, boot = ? WHERE id = ?",
        [(now, boot_id(), id_) for id_, _, _ in rows],
    )
    begin = [JobRun(id_, attempt, _decode_request(request), False, boot_id()) for id_, attempt, request in rows]
    if len(rows) < free:
        wakes.append(db.execute("SELECT min(due) FROM jobs WHERE state = 'pending'").fetchone()[0])
    wake = min((wake for wake in wakes if wake is not None), default=None)
    pending = db.execute("SELECT count(*) FROM jobs WHERE state = 'pending'").fetchone()[0]
    untold = db.execute("SELECT 1 FROM jobs WHERE tell != '' AND ended IS NOT NULL LIMIT 1").fetchone()
    return Look(begin, wake, pending, running + len(rows), untold is not None)


def running(db: sqlite3.Connection) -> list[JobRun]:
    """Return the jobs that run, or were about to when the agent ended."""
    rows = db.execute(
        "SELECT id, attempt, request, stop, boot FROM jobs WHERE state = 'running' ORDER BY number"
    ).fetchall()
    return [
        JobRun(id_, attempt, _decode_request(request), stop == _STOPPED, boot)
        for id_, attempt, request, stop, boot in rows
    ]


def end(db: sqlite3.Connection, id_: str, attempt: int, ended: JobEnd, now: float) -> None:
    """Enter how an attempt ended. An end that was entered already, or another attempt's, changes nothing."""
    row = db.execute(
        "SELECT failures, crashes, stop, request FROM jobs WHERE id = ? AND state = 'running' AND attempt = ?",
        (id_, attempt),
    ).fetchone()
    if row is None:
        return
    failures, crashes, stop, encoded = row
    request = _decode_request(encoded)
    again = None
    if ended.crashed:
        crashes += 1
        if request.on_crash == "rerun" and not stop and crashes < MAX_CRASHES:
            again = now
        state = "terminated" if stop == _STOPPED else "crashed"
    elif ended.why == "stopped":
        state = "terminated"
    elif ended.succeeded:
        state = "succeeded"
    else:
        state = "failed"
        failures += 1
        if failures <= request.retries and not (stop or ended.final):
            pause = min(request.retry_seconds * 2.0 ** min(failures - 1, 30), MAX_RETRY_SECONDS)
            again = now + (pause if ended.retry is None else ended.retry)
    done = (now, state) if again is None else (None, "pending")
    db.execute(
        "UPDATE jobs SET ended = ?, state = ?, due = ifnull(?, due), failures = ?, crashes = ?, reason = ?, result = ?"
        " WHERE id = ?",
        (*done, again, failures, crashes, ended.reason, _encode(ended), id_),
    )


def enter_scheduled(db: sqlite3.Connection, jobs: Iterable[JobConfig], now: float, tell: str = "") -> float | None:
    """Enter the scheduled jobs that are due, each once; returns when (Unix seconds) the next one is, or None.

    A schedule counts from its first look on. Instants that went by while nobody looked are one job, or none, as its
    ``missed`` says; none is entered while an earlier one of the same schedule hasn't ended.
    """
    wake: float | None = None
    for job in jobs:
        db.execute("INSERT OR IGNORE INTO jobs_scheduled VALUES (?, ?)", (job.name, now))
        last = db.execute("SELECT last FROM jobs_scheduled WHERE name = ?", (job.name,)).fetchone()[0]
        if last - now > MAX_CLOCK_BACK_SECONDS:
            last = now
        due = job.every.next_after(last)
        if due is not None and due <= now and job.missed == "skip":
            due = job.every.next_after(max(last, now - PUNCTUAL_SECONDS))
        if due is not None and due <= now:
            waiting = "SELECT 1 FROM jobs WHERE name = ? AND asker = ? AND ended IS NULL LIMIT 1"
            if not db.execute(waiting, (job.name, SCHEDULE)).fetchone():
                add(db, _scheduled_request(job, due, tell), SCHEDULE, now)
            due = job.every.next_after(now)
        db.execute("UPDATE jobs_scheduled SET last = ? WHERE name = ?", (max(last, now), job.name))
        if due is not None:
            wake = due if wake is None else min(wake, due)
    return wake


def _scheduled_request(job: JobConfig, due: float, tell: str) -> JobRequest:
    """Return the request of a schedule's instant: its identifier is always the same."""
    when = datetime.fromtimestamp(due, UTC)
    return JobRequest(
        id=f"{job.name}-{when:%Y%m%dT%H%M%S}", name=job.name, command=job.command, task=job.task,
        priority=job.priority, retries=job.retries, seconds=job.seconds, memory=job.memory,
        on_crash="rerun" if job.on_crash == "rerun" else "tell", tell=tell,
    )  # fmt: skip


def told(db: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Note that these jobs' ends were told."""
    db.executemany("UPDATE jobs SET tell = '' WHERE id = ?", [(id_,) for id_ in ids])


def untold(rows: Callable[..., list[Any]]) -> list[tuple[str, JobFinished]]:
    """Return some of the ends that weren't told yet, each with the agent that waits for it; ``rows`` runs a SELECT."""
    found = rows(
        "SELECT tell, id, name, state, reason, result, request FROM jobs WHERE tell != '' AND ended IS NOT NULL"
        " ORDER BY number LIMIT ?", MAX_CHUNK,
    )  # fmt: skip
    ends = []
    for tell, id_, name, state, reason, result, encoded in found:
        value = _end(result).value if state == "succeeded" else None  # type: ignore[union-attr]
        owner = _decode_request(encoded).owner
        ends.append((tell, JobFinished(id=id_, name=name, state=state, reason=reason, value=value, owner=owner)))
    return ends


def clean(db: sqlite3.Connection, before: float) -> list[str]:
    """Forget the jobs that ended before (Unix seconds) and were told, a chunk at a time; returns their identifiers."""
    gone = db.execute(
        "DELETE FROM jobs WHERE number IN (SELECT number FROM jobs WHERE ended < ? AND tell = '' LIMIT ?) RETURNING id",
        (before, MAX_CHUNK),
    ).fetchall()
    db.execute("DELETE FROM jobs_revoked WHERE at < ?", (before,))
    return [id_ for (id_,) in gone]


class JobRow(NamedTuple):
    """A job as people see it. Times are Unix seconds of the observatory's clock, None for what hasn't happened."""

    queue: str
    id: str
    name: str
    state: str
    priority: int
    due: float
    expires: float | None
    asked: float
    asker: str
    attempt: int
    """How many times it has begun."""
    begun: float | None
    ended: float | None
    reason: str
    end: JobEnd | None
    """How its last attempt ended."""
    request: JobRequest


_COLUMNS = "id, name, state, priority, due, expires, asked, asker, attempt, begun, ended, reason, result, request"


class LedgerReader:
    """A queue's ledger for reading, from any thread and process. Raises JournalError naming the file."""

    def __init__(self, queue: str, journal: Path) -> None:
        self.queue = queue
        self._journal = JournalReader(journal)
        if not self._journal.rows("SELECT 1 FROM sqlite_master WHERE name = 'jobs'"):
            self._journal.close()
            raise JournalError(f"{journal}: it has no jobs (its agent has not run as a queue yet)")

    def job(self, id_: str) -> JobRow | None:
        """Return the job of that identifier, or None."""
        rows = self._rows("WHERE id = ?", id_)
        return rows[0] if rows else None

    def jobs(self, *, state: str = "", owner: str = "", last: int = 50) -> list[JobRow]:
        """Return the newest ``last`` jobs, of one state and one person or of all, the oldest first."""
        wanted = {"state": state, "json_extract(CAST(request AS TEXT), '$.owner')": owner}
        given = {word: value for word, value in wanted.items() if value}
        where = "WHERE " + " AND ".join(f"{word} = ?" for word in given) if given else ""
        return self._rows(f"{where} ORDER BY number DESC LIMIT ?", *given.values(), last)[::-1]

    def found(self, beginning: str) -> list[str]:
        """Return some identifiers that begin so."""
        rows = self._journal.rows("SELECT id FROM jobs WHERE substr(id, 1, ?) = ? LIMIT 10", len(beginning), beginning)
        return [id_ for (id_,) in rows]

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        return dict(self._journal.rows("SELECT state, count(*) FROM jobs GROUP BY state"))

    def stands_since(self, now: float) -> float | None:
        """Return since when the longest waiting job has been due while none runs, Unix seconds; None when none has."""
        ((running,),) = self._journal.rows("SELECT count(*) FROM jobs WHERE state = 'running'")
        ((due,),) = self._journal.rows("SELECT min(due) FROM jobs WHERE state = 'pending' AND due <= ?", now)
        return None if running else due

    def _rows(self, rest: str, *values: Any) -> list[JobRow]:
        return [
            JobRow._make((self.queue, *row[:12], _end(row[12]), _decode_request(row[13])))
            for row in self._journal.rows(f"SELECT {_COLUMNS} FROM jobs {rest}", *values)
        ]

    def close(self) -> None:
        """Close the file."""
        self._journal.close()


def _end(encoded: bytes | None) -> JobEnd | None:
    return None if encoded is None else msgspec.json.decode(encoded, type=prepared(JobEnd))
