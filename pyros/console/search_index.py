"""The words of events, targets and the night's log: an index of the console's own, filled from the journals.

A file of SQLite's full-text search (FTS5), which can be deleted at any time: it is made anew. It follows the journals
by the numbers of their rows; of the nights, whose rows change, the last one is read again. People's notes are in the
console's database, and are few: they are searched there (`pyros.console.answers.searching`).
"""

from __future__ import annotations

import re
import sqlite3
import threading
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from pyros.alerts.rules import decisions
from pyros.clock import Deadline
from pyros.errors import PyrosError
from pyros.nights import diary
from pyros.planning import night_log
from pyros.views.observed import Observed

SEARCH_FILE = "search.sqlite"
EVENT, TARGET, LOG = "event", "target", "log"
_VERSION = 2
_AT_ONCE = 500
_MAX_TEXT = 2000
_WORD = re.compile(r"\w+")
_SCHEMA = """
CREATE TABLE docs (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, time REAL, text TEXT NOT NULL);
CREATE INDEX docs_key ON docs (kind, key);
CREATE TABLE places (kind TEXT PRIMARY KEY, place TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(kind, text, content='docs', content_rowid='number', prefix='2 3');
"""


class Doc(NamedTuple):
    """Something that is found by its words. Of each event and each target there is one, of each line of the log."""

    kind: str
    """`EVENT`, `TARGET` or `LOG`."""
    key: str
    """The event's name, the observation's id, the night's date."""
    time: float | None
    """When it was last, Unix seconds."""
    text: str
    """What it says."""


class _Step(NamedTuple):
    """What is to be taken in at once."""

    docs: list[Doc]
    """What is new, or has changed."""
    place: str
    """Where it ends in the journal."""
    anew: bool = False
    """Whether all of the kind is forgotten first: another journal is in the place of the one before."""


class SearchIndex:
    """The index of one console. Any thread; one at a time."""

    def __init__(self, folder: Path, observed: Observed) -> None:
        self._path = folder / SEARCH_FILE
        self._observed = observed
        self._lock = threading.Lock()

    def fill(self, seconds: float) -> bool:
        """Take in what is new, for so long; returns whether nothing is left. Raises PyrosError for a broken file."""
        with self._lock, _Opened(self._path) as db:
            return self._fill(db, Deadline(seconds))

    def find(
        self, words: str, kinds: Iterable[str], after: int | None, limit: int
    ) -> tuple[list[tuple[int, Doc]], bool]:
        """Return the newest that have all the words, the last of which may be a beginning, and whether there are more.

        Each with its number, below which the next page begins. Raises PyrosError for a broken file.
        """
        match, wanted = _match(words), tuple(kinds)
        if not match or not wanted:
            return [], False
        where = f"kind : ({' OR '.join(wanted)}) AND text : ({match})"  # the rarer leads: neither is gone through alone
        with self._lock, _Opened(self._path) as db:
            rows = db.execute(
                "SELECT number, docs.kind, key, time, docs.text FROM words JOIN docs ON docs.number = words.rowid"
                " WHERE words MATCH ? AND words.rowid < ? ORDER BY words.rowid DESC LIMIT ?",
                (where, 1 << 62 if after is None else after, limit + 1),
            ).fetchall()
        return [(row[0], Doc(*row[1:])) for row in rows[:limit]], len(rows) > limit

    def _fill(self, db: sqlite3.Connection, deadline: Deadline) -> bool:
        for kind, read in ((EVENT, self._events), (LOG, self._log), (TARGET, self._targets)):
            row = db.execute("SELECT place FROM places WHERE kind = ?", (kind,)).fetchone()
            place = str(row[0]) if row else ""
            while (step := read(place)) is not None:
                place = step.place
                with db:
                    if step.anew:
                        _forget(db, "kind = ?", kind)
                    for doc in step.docs:
                        _add(db, doc)
                    db.execute("INSERT OR REPLACE INTO places VALUES (?, ?)", (kind, place))
                if deadline.left() <= 0:
                    return False
        return True

    def _events(self, place: str) -> _Step | None:
        after, anew = int(place or 0), False
        rows: list[tuple[int, decisions.DecisionRecord]] = []
        with self._observed.journal("alert_manager") as journal:
            if journal is not None:
                anew = decisions.newest(journal) < after
                rows = decisions.following(journal, 0 if anew else after, _AT_ONCE)
        docs = [Doc(EVENT, record.event, record.decided, _text_of(record)) for _, record in rows]
        return _Step(docs, str(rows[-1][0]), anew) if rows else None

    def _log(self, place: str) -> _Step | None:
        after, anew = int(place or 0), False
        rows: list[tuple[int, diary.DiaryLine]] = []
        with self._observed.journal("majordome") as journal:
            if journal is not None:
                newest = diary.page(journal, limit=1)
                anew = bool(newest) and newest[0][0] < after
                rows = diary.following(journal, 0 if anew else after, _AT_ONCE)
        docs = [Doc(LOG, line.night, line.time, _text(line[2:])) for _, line in rows]
        return _Step(docs, str(rows[-1][0]), anew) if rows else None

    def _targets(self, place: str) -> _Step | None:
        """Read the last night again when it has changed, then the one after it."""
        last, _, before = place.partition(" ")
        with self._observed.journal("scheduler") as journal:
            if journal is not None:
                nights = night_log.nights(journal)
                if last and last not in nights:  # too old by now, or another journal is in its place
                    last = ""
                following = next((each for each in nights if each > last), "")
                for night in filter(None, (last, following)):
                    lines = night_log.read(journal, night)
                    content = f"{zlib.crc32(msgspec.json.encode(lines)):08x}"
                    if night != last or content != before:
                        return _Step([_target(each) for each in lines], f"{night} {content}")
        return None


class _Opened:
    """Opens the index for a ``with`` statement; one of an earlier version, or a damaged one, is begun anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._db = self._open()
        except sqlite3.DatabaseError:
            self._path.unlink(missing_ok=True)
            try:
                self._db = self._open()
            except sqlite3.Error as error:
                raise PyrosError(f"{self._path}: cannot be made: {error}") from None
        return self._db

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != _VERSION:
                if version or db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    raise sqlite3.DatabaseError("of another version")
                db.executescript(f"PRAGMA journal_mode=WAL; BEGIN; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
            db.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            db.close()
            raise
        return db

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._db.close()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._path.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error):
            raise PyrosError(f"{self._path}: {error}") from None


def _forget(db: sqlite3.Connection, which: str, *values: object) -> None:
    gone = "INSERT INTO words (words, rowid, kind, text) SELECT 'delete', number, kind, text FROM docs"
    db.execute(f"{gone} WHERE {which}", values)
    db.execute(f"DELETE FROM docs WHERE {which}", values)


def _add(db: sqlite3.Connection, doc: Doc) -> None:
    """Take something in, in the place of what there was of it: an event keeps the words of its earlier decisions."""
    if doc.kind != LOG:
        row = db.execute("SELECT number, text, time FROM docs WHERE kind = ? AND key = ?", doc[:2]).fetchone()
        if row is not None and row[1:] == (doc.text, doc.time):
            return
        if row is not None:
            _forget(db, "number = ?", row[0])
            if doc.kind == EVENT:
                there = set(doc.text.split())
                doc = doc._replace(text=_text((doc.text, *(each for each in row[1].split() if each not in there))))
    number = db.execute("INSERT INTO docs (kind, key, time, text) VALUES (?, ?, ?, ?)", doc).lastrowid
    db.execute("INSERT INTO words (rowid, kind, text) VALUES (?, ?, ?)", (number, doc.kind, doc.text))


def _target(it: night_log.NightLine) -> Doc:
    text = _text((it.target, it.observation, it.owner, it.filters, it.fate_reason or it.reason))
    return Doc(TARGET, it.observation, it.began or it.start or it.planned, text)


def _text_of(record: decisions.DecisionRecord) -> str:
    looked_at = (value for value in record.looked_at.values() if isinstance(value, str))
    return _text((record.event, record.alert, record.rule, record.reason, record.observation, *looked_at))


def _text(words: Iterable[str]) -> str:
    return " ".join(words)[:_MAX_TEXT]


def _match(words: str) -> str:
    """Return a search as FTS5 has it: every word, the last of which may be a beginning from two letters on."""
    found = _WORD.findall(words)[:20]
    quoted = [f'"{each}"' for each in found]
    if found and len(found[-1]) > 1 and not words.endswith(" "):
        quoted[-1] += "*"
    return " ".join(quoted)
