"""Celery's results in an SQLite file: JSON as Celery writes it, whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from celery.backends.base import KeyValueStoreBackend
from kombu.utils.encoding import bytes_to_str, ensure_bytes

from pyros.clock import system_time
from pyros.jobs.leases import SharedDatabase

_LOOK_SECONDS = 0.05
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, at REAL NOT NULL, value BLOB NOT NULL) WITHOUT ROWID"
)


class SqliteBackend(KeyValueStoreBackend):  # type: ignore[misc]  # it has no types
    """The backend of a URL like ``pyros.jobs.celery_results:SqliteBackend+sqlite:////observatory/var/x.sqlite``."""

    persistent = True

    def __init__(self, url: str = "", **kwargs: Any) -> None:
        super().__init__(url=url, **kwargs)
        self.url = url
        self._path = Path("/" + url.partition("://")[2].lstrip("/"))
        self._database: tuple[int, SharedDatabase] | None = None

    @property
    def _db(self) -> SharedDatabase:
        """The connection of this process: none goes through a fork."""
        if self._database is None or self._database[0] != os.getpid():
            self._database = (os.getpid(), SharedDatabase(self._path, _SCHEMA))
        return self._database[1]

    def wait_for(self, task_id: str, timeout: float | None = None, interval: float = 0.5, **kwargs: Any) -> Any:
        """Look more often than Celery does by itself: a look costs little here."""
        return super().wait_for(task_id, timeout=timeout, interval=min(interval, _LOOK_SECONDS), **kwargs)

    def get(self, key: Any) -> Any:
        rows = self._db.rows("SELECT value FROM results WHERE key = ?", bytes_to_str(key))
        return rows[0][0] if rows else None

    def mget(self, keys: Iterable[Any]) -> list[Any]:
        return [self.get(key) for key in keys]

    def set(self, key: Any, value: Any) -> None:
        with self._db.transaction() as db:
            row = (bytes_to_str(key), system_time(), ensure_bytes(value))
            db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", row)

    def delete(self, key: Any) -> None:
        with self._db.transaction() as db:
            db.execute("DELETE FROM results WHERE key = ?", (bytes_to_str(key),))

    def cleanup(self) -> None:
        """Delete results that are older than ``result_expires``."""
        if self.expires:
            with self._db.transaction() as db:
                db.execute("DELETE FROM results WHERE at < ?", (system_time() - self.expires,))
