"""What a search costs, untimed: steps of SQLite's machine, of which a walk through a list takes some for each row."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

EACH = 10


class Steps:
    """Counts the steps of all connections that are opened from now on, to the nearest `EACH`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", self._opened)

    def _opened(self, *args: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = self._connect(*args, **more)
        connection.set_progress_handler(self._counted, EACH)
        return connection

    def _counted(self) -> int:
        self.count += EACH
        return 0
