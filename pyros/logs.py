"""The log: what others have said stands in it as text, never as something that a terminal does or as a line of its own.

Agents' names for things, reasons, packets' texts and names of files come from outside. So every event that would be
written with other than printable characters is changed before anybody writes it; at one place, for whoever logs.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.printable import printable


class _Told(Exception):
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
    failure = Failure(_Told(traceback.rstrip().rpartition("\n")[2]))
    failure.getTraceback = lambda *_, **__: traceback  # type: ignore[method-assign]
    return failure
