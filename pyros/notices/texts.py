"""The words of messages: the subject says all that fits a phone's screen, the body the rest."""

from __future__ import annotations

from datetime import UTC, datetime

from pyros.notices.links import PAGE
from pyros.notices.notice import Cause, Held
from pyros.printable import printable

TEST = "This is a test: somebody has asked whether the observatory's messages arrive here. There is nothing to do.\n"
REPEAT = "(This may have come before: the last attempt was interrupted.)\n\n"
_SUBJECT = 150
_WORDS = {"alarm": "ALARM", "safety": "unsafe", "alert": "alert", "fault": "fault", "job": "job",
          "progress": "job", "report": "night", "note": "note"}  # fmt: skip


def subject(observatory: str, cause: Cause, *, again: bool = False) -> str:
    """Return one line: the observatory, what it is, from whom, and how its text begins. ``again``: it lasts."""
    notice = cause.notice
    word = "good again" if cause.over is not None else _WORDS[notice.kind]
    words = f"[{observatory}] {'still ' if again else ''}{word}: {notice.source}: {notice.text or notice.key}"
    line = printable(words)
    return line if len(line) <= _SUBJECT else line[: _SUBJECT - 1] + "…"


def body(cause: Cause, link: str, now: float) -> str:
    """Return the text of a message about a cause; ``link`` is how it is acknowledged, '' where it need not be."""
    notice = cause.notice
    lines = [printable(notice.text, lines=True) or notice.key, ""]
    lines.append(f"What: {printable(notice.kind)}, {printable(notice.key)}, from {printable(notice.source)}")
    lines.append(f"Since: {instant(cause.since)}")
    if cause.over is not None:
        lines[0] = f"Good again: {lines[0]}"
        lines.append(f"Over: {instant(cause.over)}, after {_duration(cause.over - cause.since)}")
    elif now - cause.since >= 60:
        lines.append(f"It has lasted for {_duration(now - cause.since)}.")
    if link:
        lines += ["", link]
    return "\n".join(lines) + "\n"


def acknowledging(console: str, token: str) -> str:
    """Return how a person says that they take care of it: a link where there is a console, else a command."""
    if console:
        return f"You take care of it? Say so, and it is told no more until it is over:\n{console}{PAGE}{token}"
    return f"You take care of it? Say so, and it is told no more until it is over:\npyros notify ack {token}"


def summary(held: Held) -> str:
    """Return the text of a summary: a line for each cause."""
    lines = []
    for line in held.lines.values():
        often = f" ({line.count} times)" if line.count > 1 else ""
        over = " - good again" if line.over else ""
        lines.append(f"{instant(line.since)}  {printable(line.text)[:200]}{often}{over}")
    if held.more:
        lines.append(f"and {held.more} more; pyros notify list tells of them")
    return "\n".join(lines) + "\n"


def instant(seconds: float) -> str:
    """Return Unix seconds as UTC, to the second."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
