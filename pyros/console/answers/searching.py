"""The page Search: events, targets, the night's log, and what people have noted, by their words."""

from __future__ import annotations

from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpRequest

from pyros.console.answers.noting import NoteLine, with_words
from pyros.console.search_index import EVENT, LOG, TARGET, Doc
from pyros.views.states import SeenScheduler

FILL_SECONDS = 0.3
_SECTIONS = {EVENT: "events", TARGET: "requests", LOG: "nights"}
"""Where what is found is shown: what is hidden there is not found here."""
_MAX_NOTES = 20


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has the words."""

    number: int
    """Its number: the ``after`` of the page that follows it."""
    kind: str
    """event, target or log."""
    key: str
    """The event's name, the observation's id, the night's date."""
    time: float | None
    """When it was, Unix seconds."""
    text: str
    """What it says."""
    waits: bool = False
    """Whether a target's request waits still."""


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, the newest first."""

    words: str = ""
    """What was asked."""
    hits: tuple[Hit, ...] = ()
    """Events, targets, lines of the log."""
    notes: tuple[NoteLine, ...] = ()
    """People's notes, 20 at most, on the first page."""
    after: int | None = None
    """What to ask the next page after; None at the end."""
    complete: bool = True
    """Whether all that the journals have was looked at: at first the index takes a while."""


def search(
    request: HttpRequest, words: str = "", kind: str = "", after: int | None = None, limit: int = 50
) -> SearchAnswer:  # fmt: skip
    """Return what has all the words, the last of which may be a beginning. Raises ValueError for an unknown kind."""
    console = settings.CONSOLE
    kinds = {"note": "events"} | _SECTIONS
    if kind and kind not in kinds:
        raise ValueError(f"kind: {kind[:40]!r} is none of {', '.join(kinds)}")
    shown = {page.hidden_by for page in console.pages}
    wanted = [each for each, section in kinds.items() if section in shown and kind in ("", each)]
    if not words.split():
        return SearchAnswer(words=words)
    complete = console.search.fill(FILL_SECONDS)
    found, more = console.search.find(words, wanted, after, limit)
    waiting: dict[str, Any] = console.observed.state("scheduler", SeenScheduler).requests
    notes = with_words(request, tuple(words.split()[:20]), _MAX_NOTES) if "note" in wanted and after is None else ()
    return SearchAnswer(
        words=words, notes=notes, complete=complete, after=found[-1][0] if more else None,
        hits=tuple(_hit(number, doc, doc.key in waiting) for number, doc in found),
    )  # fmt: skip


def _hit(number: int, doc: Doc, waits: bool) -> Hit:
    return Hit(number=number, kind=doc.kind, key=doc.key, time=doc.time, text=doc.text, waits=waits)
