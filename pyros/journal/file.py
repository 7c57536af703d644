"""A journal's file: who may write it, whether it is whole, and whether it is still there."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
import sqlite3
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

from pyros.errors import JournalInUse

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_LOCK_BYTES = 128


class JournalFile:
    """The file at ``path``, locked for its one writer."""

    def __init__(self, path: Path) -> None:
        """Lock it, and move a damaged one aside. Raises JournalInUse, OSError, sqlite3.Error."""
        self.path = path
        self.damage = ""
        """Why the journal must be begun anew though there was one; '' when it needn't."""
        self.mark_before = ""
        """What the journal that was open here last has as its mark; '' when there was none."""
        self.name = secrets.token_hex(16)
        """What this opening is called in its mark."""
        self._file: tuple[int, int] | None = None
        self._claim: int | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            was_there = self._take_lock(self._lock)
            if was_there and not path.exists():
                self.damage = f"{path}: the journal is gone; a new one is begun, and what the agent knew is lost"
            elif reason := self._reason_damaged():
                aside = self._move_aside().name
                self.damage = (
                    f"{path}: the journal is damaged ({reason}); it was moved to {aside}, a new one is begun, and what"
                    " the agent knew is lost"
                )
        except BaseException:
            self.close()
            raise

    def _take_lock(self, lock: int) -> bool:
        """Take the lock beside it; whether it was taken once before."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = (_words(lock) or ["?"])[0]
            raise JournalInUse(f"{self.path}: the journal is in use by process {holder}; stop that one first") from None
        was_there = os.fstat(lock).st_size > 0
        self.mark_before = _mark(lock)
        return was_there

    def sign(self) -> str:
        """Write this opening's name into the lock; return its mark, for the journal to keep. Raises OSError.

        A copy that was made before doesn't have it. Nothing has it yet where the start fails after this: so the journal
        must keep ``name`` before.
        """
        assert self._lock is not None, "only while the journal is open"
        written = os.pwrite(self._lock, f"{os.getpid()} {self.name}".encode(), 0)
        os.ftruncate(self._lock, written)  # only now: on a full disk there would be no room for it any more
        return _mark(self._lock)

    def _reason_damaged(self) -> str:
        """Why the file cannot be a journal as it was written; '' when it can, or there is none."""
        try:
            if self.path.stat().st_size == 0:
                return "it is empty"
        except FileNotFoundError:
            return ""
        db = sqlite3.connect(self.path, isolation_level=None)
        try:
            found: str = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            return "" if found == "ok" else found.splitlines()[-1]
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
            return str(error)
        finally:
            db.close()

    def _move_aside(self) -> Path:
        """Move the file away, for people to look at; returns where it is now."""
        aside = self.free_name("damaged")
        for end in ("-wal", ""):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{end}").rename(f"{aside}{end}")
        Path(f"{self.path}-shm").unlink(missing_ok=True)
        return aside

    def free_name(self, what: str) -> Path:
        """Return a name beside the journal's that no file has."""
        names = (self.path.with_name(f"{self.path.name}.{what}-{number}") for number in count(1))
        return next(name for name in names if not name.exists())

    def claim(self) -> None:
        """Claim the file itself, which exists now. Raises JournalInUse.

        A lock beside it can be removed, and then two would write. Linux alone has names that nobody can remove.
        """
        status = self.path.stat()
        self._file = status.st_dev, status.st_ino
        if sys.platform == "linux":
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
                try:
                    claim.bind(f"\0pyros-journal-{status.st_dev}-{status.st_ino}")
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        raise
                    raise JournalInUse(
                        f"{self.path}: the journal is in use by another process; stop that one first"
                    ) from None
                self._claim = claim.detach()

    def is_gone(self) -> bool:
        """Whether the file was removed, or another one put in its place, since it was claimed; any thread.

        A file that cannot be looked at for now, such as on a failing disk, isn't gone.
        """
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return (status.st_dev, status.st_ino) != self._file

    def close(self) -> None:
        """Give lock and claim back; may be called twice."""
        descriptors, self._claim, self._lock = (self._claim, self._lock), None, None
        for descriptor in descriptors:
            if descriptor is not None:
                os.close(descriptor)


def _words(lock: int) -> list[str]:
    """Return what stands in a lock: the process that took it last, and the name of that opening."""
    return os.pread(lock, _LOCK_BYTES, 0).decode("ascii", "replace").split()


def _mark(lock: int) -> str:
    """Return what the last opening is known by: its name, and when the lock was written, which no copy of it keeps."""
    return f"{_words(lock)[-1]} {os.fstat(lock).st_ctime_ns}" if _words(lock) else ""
