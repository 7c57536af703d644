"""The log: what others have said stands in it as text, never as something that a terminal does or as a line of its own.

Agents' names for things, reasons, packets' texts and names of files come from outside. So every event that would be
written with other than printable characters is changed before anybody writes it; at one place, for whoever logs.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import implementer

from pyros.printable import printable

_EVERYTHING = "debug"
_chosen = ("-", False)
ROTATE_BYTES = 10_000_000
MAX_ROTATED = 9


class _ErrorStandIn(Exception):
    """Stands for an error whose traceback had to be changed."""


@implementer(ILogObserver)
class PrintableEvents:
    """An observer that changes the events which those after it are given."""

    def __call__(self, event: dict[str, Any]) -> None:
        text = formatEvent(event)
        if text and not text.isprintable():
            lines = bool(event.get("isError"))  # of Twisted's older log: the text ends with a traceback
            event["log_format"], event["log_printable"] = "{log_printable}", printable(text, lines=lines)
            if "message" in event:  # of Twisted's older log, whose observers take it from there
                event["message"] = (event["log_printable"],)
        failure = event.get("log_failure")
        if failure is not None:
            traceback = failure.getTraceback()
            if not traceback.replace("\n", "").replace("\t", "").isprintable():
                event["log_failure"] = event["failure"] = _of_text(printable(traceback, lines=True))


_PRINTABLE = PrintableEvents()


def keep_printable() -> None:
    """Change events from here on, before observers that are added later see them; may be called twice."""
    globalLogPublisher.addObserver(_PRINTABLE)  # which takes the same one only once


def _of_text(traceback: str) -> Failure:
    """Return a failure that is written as this text."""
    failure = Failure(_ErrorStandIn(traceback.rstrip().rpartition("\n")[2]))
    failure.getTraceback = lambda *_, **__: traceback  # type: ignore[method-assign]
    return failure


def write_log(path: str, *, as_json: bool) -> str:
    """Have `chosen_observer` write the log there in that format; returns its name, by which twistd finds it."""
    global _chosen  # noqa: PLW0603  twistd asks for a name of what takes no arguments
    _chosen = path, as_json
    return f"{__name__}.{chosen_observer.__name__}"


def chosen_observer() -> ILogObserver:
    """Return the observer of `write_log`, for twistd."""
    path, as_json = _chosen
    return log_observer(open_log(path), as_json=as_json)


def open_log(path: str) -> Any:
    """Return the file of a log, or standard output for ``-``.

    It is rotated when it has 10 MB; ten of them are kept. Raises OSError when it cannot be opened.
    """
    return (
        sys.stdout
        if path == "-"
        else LogFile.fromFullPath(path, rotateLength=ROTATE_BYTES, maxRotatedFiles=MAX_ROTATED)
    )


def log_observer(file: Any, *, as_json: bool) -> ILogObserver:
    """Return what writes the log into a file: as text for people, or a JSON object a line."""
    return FileLogObserver(file, event_as_json) if as_json else textFileLogObserver(file)


def event_as_json(event: dict[str, Any]) -> str | None:
    """Return an event as one line of JSON with ``time`` (UTC), ``level``, ``who``, ``text`` and any ``traceback``.

    None for an event without a text, which is none for people either.
    """
    text = formatEvent(event)
    if not text:
        return None
    level, failure = event.get("log_level"), event.get("log_failure")
    line = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": level.name if level is not None else "info",
        "who": event.get("log_namespace", ""),
        "text": text,
    }
    if failure is not None:
        line["traceback"] = failure.getTraceback()
    return json.dumps(line, ensure_ascii=False) + "\n"


def limit(logger: Logger, level: str) -> None:
    """Have a logger write nothing below a level: debug, info, warn, error or critical."""
    if level != _EVERYTHING:
        predicate = LogLevelFilterPredicate(LogLevel.lookupByName(level))
        logger.observer = FilteringLogObserver(globalLogPublisher, [predicate])
