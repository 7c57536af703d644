"""Leases and a database that many processes share: what our Celery transport and its results stand on.

A lease is a file that its process keeps locked (flock). The kernel gives the lock up when the last process that has it
open is gone: kill -9 and a power cut included, a worker that is merely slow not. Children that a worker forks have it
open, too, so that a task that still runs in one of them stays leased; programs that a task starts don't.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyros.unique import new_name

_BUSY_SECONDS = 30.0


class Lease:
    """A lock of this process, and of those that it forks."""

    def __init__(self, folder: Path) -> None:
        """Take one; raises OSError where the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        self.name = new_name()
        self._file = folder / self.name
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def close(self) -> None:
        """Give it up."""
        with suppress(OSError):
            self._file.unlink()
        os.close(self._descriptor)


def is_held(folder: Path, name: str) -> bool:
    """Return whether a lease's process lives; the file of one that doesn't is removed."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    with suppress(OSError):
        (folder / name).unlink()
    return False


class SharedDatabase:
    """An SQLite file that processes and threads write one after the other; what is committed is on disk.

    It keeps a rollback journal, and each transaction holds a lock of its own beside it: several writers of a WAL can
    damage it with SQLite before 3.51.3, and SQLite's own waiting is a guess that grows to 0.1 s.
    """

    def __init__(self, path: Path, schema: str) -> None:
        """Open it; raises OSError or sqlite3.Error. One connection, for any thread of this process."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._guard = threading.RLock()
        self._lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        with self._alone():
            self._db.execute("PRAGMA journal_mode = TRUNCATE")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(schema)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._guard:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction, which is undone when the block raises."""
        with self._alone():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Read."""
        with self._guard:
            return self._db.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            self._db.close()
            os.close(self._lock)
