"""The reading side, for other threads and other processes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from pyros.errors import JournalError
from pyros.files import read_only_database
from pyros.journal._rows import NEWEST, Outgoing, Received
from pyros.wire import Entry

NOT_YOURS = "the observatory's user may read it, and the group that its configuration names (group = ...)"


class JournalReader:
    """A read-only view of a journal, for other threads and other processes. Raises JournalError naming the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_file():
                raise JournalError(f"{path}: no such journal (the agent has not run here yet)")
            path.open("rb").close()
            self._db = sqlite3.connect(read_only_database(path), uri=True, check_same_thread=False)
        except OSError as error:
            raise JournalError(f"{path}: cannot open the journal: {error.strerror}; {NOT_YOURS}") from None
        except sqlite3.Error as error:
            raise JournalError(f"{path}: cannot open the journal: {error}") from None

    def rows(self, query: str, *values: Any) -> list[Any]:
        """The rows of a SELECT."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot read the journal: {error}") from None

    def state(self) -> bytes | None:
        """The agent's state as it was last committed, JSON; None when it has none."""
        rows = self.rows("SELECT value FROM state")
        return rows[0][0] if rows else None

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
        number: int = self.rows(NEWEST)[0][0]
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
