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
        """Return the rows of a SELECT: for whom the table belongs to, and for tests; others use a method below.

        Raises JournalError when the journal cannot be read.
        """
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot read the journal: {error}") from None

    def state(self) -> bytes | None:
        """Return the agent's state as it was last committed, JSON; None when it has none."""
        rows = self.rows("SELECT value FROM state")
        return rows[0][0] if rows else None

    def received(self, *, failed: bool = False, after: int = 0, last: int = 50) -> list[tuple[int, Received]]:
        """Return the newest ``last`` messages with a number above ``after``, oldest first."""
        rows = self.rows(
            f"SELECT number, id, name, sender, sent, taken, payload, error FROM {'failed' if failed else 'received'}"
            f" WHERE number > ? AND {'error IS NOT NULL' if failed else 'turn > ?'} ORDER BY number DESC LIMIT ?",
            *((after,) if failed else (after, after)),
            last,
        )
        return [(row[0], Received(*row[1:])) for row in reversed(rows)]

    def has_received(self, name: str) -> bool:
        """Return whether a message of this name is among those that were taken."""
        return bool(self.rows("SELECT 1 FROM received WHERE name = ? LIMIT 1", name))

    def received_about(self, text: str, *names: str) -> list[tuple[str, float, bytes]]:
        """Return (name, taken in Unix seconds, payload) of messages with ``text`` in their payload, newest first."""
        return self.rows(
            f"SELECT name, taken, payload FROM received WHERE name IN ({', '.join('?' * len(names))})"
            " AND instr(CAST(payload AS TEXT), ?) ORDER BY number DESC",
            *names, text,
        )  # fmt: skip

    def error(self, number: int) -> str | None:
        """Return the traceback of a failed message; None when no failed message has that number."""
        rows = self.rows("SELECT error FROM failed WHERE number = ? AND error IS NOT NULL", number)
        return rows[0][0] if rows else None

    def newest(self) -> int:
        """Return the number of the message that was taken last; 0 before the first."""
        number: int = self.rows(NEWEST)[0][0]
        return number

    def outbox(self, agent: str, after: int, limit: int) -> list[Entry]:
        """Return the messages that wait for an agent, in order, with numbers above ``after``."""
        rows = self.rows(
            "SELECT agent, seq, id, name, sent, payload FROM outbox"
            " WHERE agent = ? AND seq > ? AND refused IS NULL ORDER BY seq LIMIT ?",
            agent,
            after,
            limit,
        )
        return [Outgoing(*row).entry() for row in rows]

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait for each agent."""
        return dict(self.rows("SELECT agent, count(*) FROM outbox WHERE refused IS NULL GROUP BY agent"))

    def refused(self) -> list[Any]:
        """Return (agent, seq, id, name, sent, payload, reason) of the messages that their receivers have refused."""
        return self.rows(
            "SELECT agent, seq, id, name, sent, payload, refused FROM outbox WHERE refused IS NOT NULL ORDER BY sent"
        )

    def close(self) -> None:
        self._db.close()
