"""The night's log: what the majordome's diary has, the newest first, through all nights that are kept."""

from __future__ import annotations

import msgspec

from pyros.nights import diary
from pyros.views.observed import Observed


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a night."""

    number: int
    """Its place in the list."""
    night: str
    """The date of the night's evening."""
    time: float
    """Unix seconds."""
    what: str
    """state, weather, observe, ended or focus."""
    value: str
    """The state's name, safe or unsafe, the observation's id, the focus in steps."""
    reason: str
    """Why, for people."""
    alert: str
    """The alert that an observation is for; '' for none."""


class LogPage(msgspec.Struct, frozen=True):
    """A part of the log, the newest first."""

    lines: tuple[LogLine, ...] = ()
    """The lines."""
    after: int | None = None
    """What to ask the next page after; None at the end."""


def log(observed: Observed, after: int | None = None, limit: int = 100) -> LogPage:
    """Return the newest lines of the diary, or those that follow ``after`` in the list."""
    rows: list[tuple[int, diary.DiaryLine]] = []
    with observed.journal("majordome") as journal:
        rows = diary.page(journal, after, limit) if journal is not None else []
    lines = tuple(LogLine(number=number, **line._asdict()) for number, line in rows)
    return LogPage(lines, lines[-1].number if lines and len(lines) == limit else None)
