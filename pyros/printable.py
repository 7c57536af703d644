"""Text of others made fit for a terminal, a log and a line: nothing in it moves a cursor or begins a line."""

from __future__ import annotations

from datetime import UTC, datetime


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return the text in one line of printable characters: blanks of every kind are one blank, others become ``\x1b``.

    That goes for control characters, for those that turn the direction of writing, and for halves of surrogate pairs.
    ``lines`` leaves the ends of lines as they are.
    """
    if lines:
        return "\n".join(printable(line) for line in text.split("\n"))
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else " " if each.isspace() else each.encode("unicode_escape").decode()
        for each in text
    )


def last_line(text: str) -> str:
    """Return the last line of a traceback or a log that isn't empty."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def clock_time(seconds: float) -> str:
    """Return the hour and minute (UTC) of Unix seconds."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M}"


def instant(seconds: float) -> str:
    """Return Unix seconds for people: UTC, to the second; of a time that has no date, its number."""
    try:
        when = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return f"{seconds:g}"
    return f"{when:%Y-%m-%d %H:%M:%S}"
