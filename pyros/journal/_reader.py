"""The reading side, for other threads and other processes."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pyros.errors import JournalError
from pyros.files import read_only_database
from pyros.journal._rows import NEWEST, Outgoing, Received
from pyros.wire import Entry

NOT_YOURS = "the observatory's user may read it, and the group that its configuration names (group = ...)"


MAX_COUNTED = 1000
"""Of what piles up no more than this is counted: whoever looks five times a second has no time for a million rows."""


class JournalFigures(NamedTuple):
    """How much is in a journal. Of the last three at most `MAX_COUNTED` are counted."""

    newest: int
    """The number of the message that was taken last."""
    failed: int
    """Messages whose handlers failed."""
    waiting: int
    """Messages that wait for other agents."""
    refused: int
    """Messages that their receivers have refused."""


class JournalReader:
    """A read-only view of a journal, for other threads and other processes. Raises JournalError naming the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_file():
                raise JournalError(f"{path}: no such journal (the agent has not run here yet)")
            # Not by opening it: closing any descriptor of the file gives up the locks that this process's SQLite has on
            # it (https://sqlite.org/howtocorrupt.html, 2.2), and whoever opens it next deletes the writer's WAL.
            if not os.access(path, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            uri = read_only_database(path)
            self.unchanging = uri.endswith("immutable=1")
            """Whether it is read as a file that doesn't change: what is written later is never seen through this."""
            self._db = sqlite3.connect(uri, uri=True, check_same_thread=False)
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

    def page(
        self, before: int | None = None, limit: int = 50, *, failed: bool = False, after: int = 0
    ) -> list[tuple[int, Received]]:
        """Return the newest ``limit`` messages with a number below ``before``, newest first.

        One page costs the same wherever it is. ``failed``: only those whose handlers failed. Of those up to ``after``
        it may leave out all but the failed ones: who has read them before knows them.
        """
        newest, before = before is None, _BEYOND if before is None else before
        condition = "error IS NOT NULL AND number < ?" if failed else "number < ?"
        rows = self.rows(f"{_FAILED} WHERE {condition} ORDER BY number DESC LIMIT ?", before, limit)
        found = [(row[0], Received(*row[1:])) for row in rows]
        taken, at_once = limit if failed else 0, max(1, limit // 4)
        turns = self.rows("SELECT last FROM turns WHERE last >= ? ORDER BY last LIMIT 1", before) if not newest else []
        last = turns[0][0] if turns else _BEYOND
        while taken < limit:  # the turn of ``before`` has some below it
            turns = self.rows(_TURNS, last, after, at_once)
            of_turns = [each for turn in turns for each in _of_turn(turn) if each[0] < before]
            taken += len(of_turns)
            found += of_turns
            if len(turns) < at_once:
                break
            last = turns[-1][0] - 1
        found.sort(key=lambda each: each[0], reverse=True)
        return found[:limit]

    def since(self, when: float) -> int:
        """Return a number that the messages taken at ``when`` (Unix seconds) or later are above, and few others.

        By halving, since messages stand in the order in which they were taken; a clock that was set back misleads it.
        """
        low, high = 0, self.newest()
        while low < high:
            middle = (low + high) // 2
            turns = self.rows("SELECT last, first, messages FROM turns WHERE last > ? ORDER BY last LIMIT 1", middle)
            times = [each.taken for turn in turns for _, each in _of_turn(turn)]
            if turns and not times:  # all of that turn have failed
                times = [row[0] for row in self.rows("SELECT taken FROM failed WHERE number = ?", turns[0][1])]
            if times and times[-1] < when:
                low = turns[0][0]
            else:
                high = middle
        return low

    def taken_between(self, begin: float, end: float, limit: int = 50_000) -> list[tuple[int, Received]]:
        """Return the messages taken from ``begin`` to ``end`` (Unix seconds), oldest first; at most about ``limit``.

        Those whose handlers failed are among them.
        """
        after = self.since(begin)
        rows = self.rows(f"{_FAILED} WHERE number > ? AND taken <= ? ORDER BY number LIMIT ?", after, end, limit)
        found = [(row[0], Received(*row[1:])) for row in rows if row[5] >= begin]
        taken = 0
        while taken < limit:
            turns = self.rows("SELECT last, first, messages FROM turns WHERE last > ? ORDER BY last LIMIT 500", after)
            of_turns = [each for turn in turns for each in _of_turn(turn) if begin <= each[1].taken <= end]
            found += of_turns
            taken += len(of_turns)
            if not turns or (of_turns == [] and any(each.taken > end for turn in turns for _, each in _of_turn(turn))):
                break
            after = turns[-1][0]
        return sorted(found, key=lambda each: each[0])

    def data_version(self) -> int:
        """Return a number that is another one after a commit of the agent: the cheapest way to ask for news."""
        version: int = self.rows("PRAGMA data_version")[0][0]
        return version

    def figures(self) -> JournalFigures:
        """Return how much there is; counting stops at `MAX_COUNTED`."""
        return JournalFigures(*self.rows(_FIGURES)[0])

    def format(self) -> int:
        """Return the format that the file has: one of an earlier version is brought up to date when it is opened."""
        rows = self.rows("SELECT value FROM meta WHERE key = 'format'")
        return int(rows[0][0]) if rows else 0

    def has_table(self, name: str) -> bool:
        """Return whether there is a table of that name: a journal of an earlier version may lack one."""
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", name))

    def received_about(
        self, text: str, *names: str, after: int = 0, sent: bool = False
    ) -> list[tuple[str, float, bytes]]:
        """Return (name, taken in Unix seconds, payload) of messages with ``text`` in their payload, newest first.

        Only those of turns with a number above ``after``, which `since` gives. With ``sent`` the time is that at which
        the message was sent.
        """
        when = "sent" if sent else "taken"
        return self.rows(
            f"SELECT name, {when}, payload FROM received WHERE turn > ? AND name IN ({', '.join('?' * len(names))})"
            " AND instr(CAST(payload AS TEXT), ?) ORDER BY number DESC",
            after, *names, text,
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


_BEYOND = 1 << 62
_FAILED = "SELECT number, id, name, sender, sent, taken, payload, error FROM failed"
_TURNS = "SELECT last, first, messages FROM turns WHERE last <= ? AND last > ? ORDER BY last DESC LIMIT ?"
_FIGURES = f"""SELECT
    ({NEWEST}),
    (SELECT count(*) FROM (SELECT 1 FROM failed WHERE error IS NOT NULL LIMIT {MAX_COUNTED})),
    (SELECT count(*) FROM (SELECT 1 FROM outbox WHERE refused IS NULL LIMIT {MAX_COUNTED})),
    (SELECT count(*) FROM (SELECT 1 FROM outbox WHERE refused IS NOT NULL LIMIT {MAX_COUNTED}))"""
_messages = msgspec.json.Decoder(list[tuple[str, str, str, float, float, str] | None])


def _of_turn(turn: Any) -> list[tuple[int, Received]]:
    """Return the messages of a row (last, first, messages) of the turns, but for those that failed."""
    _, first, text = turn
    return [
        (number, Received(*each[:5], each[5].encode()))
        for number, each in enumerate(_decoded(text), first)
        if each is not None
    ]


def _decoded(text: str) -> list[tuple[str, str, str, float, float, str] | None]:
    try:
        return _messages.decode(text)
    except msgspec.DecodeError as error:
        raise JournalError(f"a turn of the journal is damaged: {error}") from None
