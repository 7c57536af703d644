"""What each night's plan did with each request, and why: a table in the scheduler's journal, written in its turns.

A night has a row for each request that a plan of it named. The plan's side of a row is overwritten by every later plan
of that night: where a request was planned last, or why it was not. What really happened is beside it, so that "why
wasn't my target observed" has an answer for every night that is kept.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import msgspec

from pyros.errors import JournalError
from pyros.journal import JournalReader
from pyros.messages import Observation, Plan, PlannedObservation
from pyros.prepared import prepared
from pyros.site import Site

MAX_NIGHTS = 400
"""How many nights are kept."""
_AT_ONCE = 500
MAX_LINES = 5000
"""How many requests of one night are kept: of more, the latest are left out."""

DUE = re.compile(r"(?P<request>.+)-due(?P<number>\d+)")
"""The id of one of the times of a request with a cadence."""

Fate = Literal["", "observing", "observed", "interrupted", "failed", "withdrawn", "expired"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS night_lines (
    night TEXT NOT NULL, observation TEXT NOT NULL, request TEXT NOT NULL, target TEXT NOT NULL, owner TEXT NOT NULL,
    priority INTEGER NOT NULL, ra REAL NOT NULL, dec REAL NOT NULL, filters TEXT NOT NULL, start REAL, end REAL,
    airmass REAL, reason TEXT NOT NULL, planned REAL NOT NULL, fate TEXT NOT NULL DEFAULT '',
    fate_reason TEXT NOT NULL DEFAULT '', began REAL, ended REAL, images INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (night, observation)) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS night_lines_observation ON night_lines (observation, night)"


class NightLine(msgspec.Struct, frozen=True, kw_only=True):
    """One request in one night."""

    night: str
    """The date of its evening at the site: ``2026-11-29``."""
    observation: str
    """The observation's id: the request's own, or that of one of its times."""
    request: str = ""
    """The request's id."""
    target: str = ""
    """The target's name."""
    owner: str = ""
    """Who asked for it."""
    priority: int = 0
    """The request's."""
    ra: float = 0.0
    """ICRS, degrees."""
    dec: float = 0.0
    """ICRS, degrees."""
    filters: str = ""
    """The filters, in their order."""
    start: float | None = None
    """When the last plan has it begin, Unix seconds; None when that does without it."""
    end: float | None = None
    """When the last plan has it end, Unix seconds."""
    airmass: float | None = None
    """In the middle of that."""
    reason: str = ""
    """Why it is planned so, or not at all."""
    planned: float = 0.0
    """When that was decided, Unix seconds."""
    fate: Fate = ""
    """What became of it; '' for nothing yet."""
    fate_reason: str = ""
    """Why it failed, was interrupted, or ended without images."""
    began: float | None = None
    """When it was begun last, Unix seconds."""
    ended: float | None = None
    """When it ended last, Unix seconds."""
    images: int = 0
    """How many of its images there are."""

    @property
    def begins(self) -> float | None:
        """When it was begun, else when it is planned to begin, Unix seconds; None for neither."""
        return self.began if self.began is not None else self.start

    @property
    def ends(self) -> float | None:
        """When it ended, else when it is planned to end, Unix seconds."""
        return self.ended if self.began is not None and self.ended is not None else self.end


_COLUMNS = NightLine.__struct_fields__
_PLANNED = ("request", "target", "owner", "priority", "ra", "dec", "filters", "start", "end", "airmass", "reason",
            "planned")  # fmt: skip
_HAPPENED = ("fate", "fate_reason", "began", "ended", "images")


def night_name(site: Site, when: float) -> str:
    """Return the name of the night of a moment (Unix seconds): the date of its evening, by the site's mean solar time.

    A night goes from noon to noon.
    """
    local = datetime.fromtimestamp(when, UTC) + timedelta(hours=site.longitude / 15)
    return (local - timedelta(hours=12)).date().isoformat()


def noon_before(site: Site, night: date) -> float:
    """Return when a night's day has its noon, by the site's mean solar time, Unix seconds."""
    noon = datetime(night.year, night.month, night.day, 12, tzinfo=UTC) - timedelta(hours=site.longitude / 15)
    return noon.timestamp()


def prepare(db: sqlite3.Connection) -> None:
    """Make the table where it isn't there; in a transaction."""
    db.execute(_SCHEMA)
    db.execute(_INDEX)


def write(db: sqlite3.Connection, lines: Iterable[NightLine]) -> None:
    """Store what a plan says of requests, inside a transaction; what happened to them stays as it is."""
    _upsert(db, lines, _PLANNED)


def write_fate(db: sqlite3.Connection, lines: Iterable[NightLine]) -> None:
    """Store what has happened to requests, inside a transaction; what the plan said of them stays as it is."""
    _upsert(db, lines, _HAPPENED)


def forget_oldest(db: sqlite3.Connection) -> None:
    """Forget the oldest nights, so that `MAX_NIGHTS` stay; in a transaction."""
    db.execute(
        "DELETE FROM night_lines WHERE night <="
        " (SELECT night FROM night_lines GROUP BY night ORDER BY night DESC LIMIT 1 OFFSET ?)",
        (MAX_NIGHTS,),
    )


def line_of(
    night: str, request: Observation, now: float, planned: PlannedObservation | None = None, reason: str = ""
) -> NightLine:
    """Return the line of a request in a night, with what a plan made ``now`` says: its place, or why it has none."""
    match = DUE.fullmatch(request.id)
    line = NightLine(
        night=night, observation=request.id, target=request.target, owner=request.owner, priority=request.priority,
        request=match["request"] if match and request.repeats == match["request"] else request.id,
        ra=request.ra, dec=request.dec, filters=" ".join(dict.fromkeys(each.filter for each in request.exposures)),
        planned=now, reason=reason,
    )  # fmt: skip
    if planned is None:
        return line
    return msgspec.structs.replace(
        line, start=planned.start, end=planned.end, airmass=planned.airmass, reason=planned.reason
    )


def lines_of(night: str, plan: Plan, requests: Mapping[str, Observation], now: float) -> dict[str, NightLine]:
    """Return the lines of all that a plan names, by their ids; ``requests`` are what it was made of."""
    found = {each.observation.id: line_of(night, each.observation, now, each) for each in plan.observations}
    for refused in plan.refused:
        request = requests.get(refused.observation)
        if request is not None and refused.observation not in found:
            found[refused.observation] = line_of(night, request, now, reason=refused.reason)
    return found


def _upsert(db: sqlite3.Connection, lines: Iterable[NightLine], columns: tuple[str, ...]) -> None:
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns)
    marks = ", ".join("?" * len(_COLUMNS))
    there: dict[str, set[str]] = {}
    rows = []
    for line in lines:
        known = there.get(line.night)
        if known is None:
            known = {row[0] for row in db.execute("SELECT observation FROM night_lines WHERE night = ?", (line.night,))}
            there[line.night] = known
        if line.observation in known or len(known) < MAX_LINES:
            known.add(line.observation)
            rows.append([getattr(line, column) for column in _COLUMNS])
    db.executemany(
        f"INSERT INTO night_lines ({', '.join(_COLUMNS)}) VALUES ({marks})"
        f" ON CONFLICT (night, observation) DO UPDATE SET {updates}",
        rows,
    )


def nights(journal: JournalReader) -> list[str]:
    """Return the nights that are kept, oldest first; raises JournalError."""
    if not _is_there(journal):
        return []
    return [row[0] for row in journal.rows("SELECT DISTINCT night FROM night_lines ORDER BY night")]


def read(journal: JournalReader, night: str) -> list[NightLine]:
    """Return a night's lines, in order of time, those without one last; raises JournalError."""
    if not _is_there(journal):
        return []
    rows = journal.rows(
        f"SELECT {', '.join(_COLUMNS)} FROM night_lines WHERE night = ?"
        " ORDER BY coalesce(began, start) IS NULL, coalesce(began, start), observation",
        night,
    )
    return _lines(journal, rows)


def of_observation(journal: JournalReader, observation: str) -> list[NightLine]:
    """Return what became of an observation in each night, the last night first; raises JournalError."""
    if not _is_there(journal):
        return []
    select = f"SELECT {', '.join(_COLUMNS)} FROM night_lines WHERE observation = ? ORDER BY night DESC LIMIT 100"
    return _lines(journal, journal.rows(select, observation))


def last_of(journal: JournalReader, observations: Collection[str]) -> dict[str, NightLine]:
    """Return by id the line of the last night that each observation has; raises JournalError."""
    found: dict[str, NightLine] = {}
    if not observations or not _is_there(journal):
        return found
    for begin in range(0, len(wanted := sorted(observations)), _AT_ONCE):
        part = wanted[begin : begin + _AT_ONCE]
        rows = journal.rows(
            f"SELECT {', '.join(_COLUMNS)}, max(night) FROM night_lines WHERE observation IN"
            f" ({', '.join('?' * len(part))}) GROUP BY observation",
            *part,
        )
        found |= {line.observation: line for line in _lines(journal, [row[:-1] for row in rows])}
    return found


def page(journal: JournalReader, before: tuple[str, str] | None = None, limit: int = 50) -> list[NightLine]:
    """Return lines in the order of the nights, the last night first, from below ``before``: (night, observation).

    Raises JournalError.
    """
    if not _is_there(journal):
        return []
    rows = journal.rows(
        f"SELECT {', '.join(_COLUMNS)} FROM night_lines WHERE (night, observation) < (?, ?)"
        " ORDER BY night DESC, observation DESC LIMIT ?",
        *(before or ("~", "~")), limit,
    )  # fmt: skip
    return _lines(journal, rows)


def ended(journal: JournalReader, owner: str = "", limit: int = 50) -> list[NightLine]:
    """Return what has ended, of all or of one owner's requests, the last night first, and in it what ended last.

    What was interrupted has not: it is observed again. Raises JournalError.
    """
    if not _is_there(journal):
        return []
    rows = journal.rows(
        f"SELECT {', '.join(_COLUMNS)} FROM night_lines WHERE fate NOT IN ('', 'observing', 'interrupted')"
        " AND ? IN ('', owner) ORDER BY night DESC, coalesce(ended, planned) DESC LIMIT ?",
        owner, limit,
    )  # fmt: skip
    return _lines(journal, rows)


def _is_there(journal: JournalReader) -> bool:
    return bool(journal.rows("SELECT 1 FROM sqlite_master WHERE name = 'night_lines'"))


def _lines(journal: JournalReader, rows: list[Any]) -> list[NightLine]:
    try:
        return [msgspec.convert(_named(row), prepared(NightLine), strict=False) for row in rows]
    except msgspec.ValidationError as error:
        raise JournalError(f"{journal.path}: the plan of a night cannot be read: {error}") from None


def _named(row: Any) -> dict[str, Any]:
    return dict(zip(_COLUMNS, row, strict=True))
