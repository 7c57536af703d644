"""Notes and tags that people write about events: listed, added, and taken away again by who wrote them."""

from __future__ import annotations

import json
import re

import msgspec
from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.utils import timezone
from django.utils.http import urlencode

from pyros.console.answers.doing import note as write_down
from pyros.console.answers.errors import problem, wants_json
from pyros.console.caller import caller_of
from pyros.console.people.models import Note
from pyros.console.roles import Role
from pyros.prepared import prepared
from pyros.printable import printable
from pyros.views.events import stored_event

MAX_TEXT = 4000
MAX_TAGS = 10
_TAG = re.compile(r"[\w.+-]{1,40}")
_TAGS_LOOKED_AT = 5000


class NoteLine(msgspec.Struct, frozen=True, kw_only=True):
    """One note."""

    number: int
    """Its number: the ``after`` of the page that follows it."""
    event: str
    """The event's name."""
    by: str
    """Who wrote it."""
    made: float
    """When, Unix seconds, of the computer's clock."""
    text: str
    """What was written; '' for tags alone."""
    tags: tuple[str, ...] = ()
    """Words to find it by."""
    own: bool = False
    """Whether who asks may take it away."""


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the notes, the newest first."""

    notes: tuple[NoteLine, ...] = ()
    """The lines."""
    after: int | None = None
    """What to ask the next page after; None at the end."""
    tags: tuple[str, ...] = ()
    """The tags of the newest 5,000 notes, by name."""


class _NoteBody(msgspec.Struct):
    """A note as JSON."""

    event: str
    text: str = ""
    tags: list[str] = []


def notes(request: HttpRequest, event: str = "", tag: str = "", after: int | None = None, limit: int = 50) -> Notes:
    """Return the newest notes, of an event or with a tag, or those that follow ``after`` in the list."""
    rows = Note.objects.select_related("by").order_by("-id")
    rows = rows.filter(id__lt=after) if after is not None else rows
    rows = rows.filter(event=event) if event else rows
    rows = rows.filter(tags__icontains=json.dumps(tag)) if tag else rows
    lines = tuple(line_of(request, each) for each in rows[:limit])
    known = Note.objects.exclude(tags=[]).order_by("-id").values_list("tags", flat=True)[:_TAGS_LOOKED_AT]
    return Notes(
        notes=lines,
        after=lines[-1].number if len(lines) == limit else None,
        tags=tuple(sorted({each for tags in known for each in tags})),
    )


def of_event(request: HttpRequest, event: str) -> tuple[NoteLine, ...]:
    """Return all notes about an event, oldest first. Raises DatabaseError."""
    return tuple(line_of(request, each) for each in Note.objects.select_related("by").filter(event=event))


def with_words(request: HttpRequest, words: tuple[str, ...], limit: int) -> tuple[NoteLine, ...]:
    """Return the newest notes in whose text, tags or event each of the words stands."""
    rows = Note.objects.select_related("by").order_by("-id")
    for word in words:
        rows = rows.filter(Q(text__icontains=word) | Q(event__icontains=word) | Q(tags__icontains=word))
    return tuple(line_of(request, each) for each in rows[:limit])


def line_of(request: HttpRequest, row: Note) -> NoteLine:
    """Return a note as lists show it."""
    caller = caller_of(request)
    own = caller.role >= Role.OPERATOR or (caller.role >= Role.OBSERVER and row.by.name == caller.name)
    return NoteLine(number=row.pk, event=row.event, by=row.by.name, made=row.made.timestamp(), text=row.text,
                    tags=tuple(row.tags), own=own)  # fmt: skip


def add(request: HttpRequest) -> HttpResponse:
    """Keep a note about an event: a form's ``event``, ``text`` and ``tags``, or the same as JSON."""
    caller = caller_of(request)
    try:
        given = _given(request)
    except ValueError as error:
        return problem(request, 400, str(error))
    stored = stored_event(settings.CONSOLE.observed, given.event)
    if stored is None:
        return problem(request, 404, "there is no such event")
    if caller.user is None:
        return problem(request, 503, "the console's database is busy: try again")
    row = Note(event=stored.name, by=caller.user, made=timezone.now(), text=given.text, tags=given.tags)
    row.save()
    write_down(caller, "add note", f"{stored.name}: {' '.join(given.tags) or given.text[:60]}")
    if wants_json(request):
        return JsonResponse(msgspec.to_builtins(line_of(request, row)), status=201)
    return HttpResponseRedirect(f"/event?{urlencode({'key': stored.name})}#notes", status=303)


def remove(request: HttpRequest, number: int) -> HttpResponse:
    """Take a note away: one's own, or, for operators, anybody's."""
    caller = caller_of(request)
    row = Note.objects.select_related("by").filter(pk=number).first() if number < 1 << 63 else None
    if row is None:
        return problem(request, 404, "there is no such note")
    if row.by.name != caller.name and caller.role < Role.OPERATOR:
        write_down(caller, "remove note", f"{row.event}: of somebody else", ok=False)
        return problem(request, 409, "the note is somebody else's; an operator may take it away")
    row.delete()
    write_down(caller, "remove note", f"{row.event}, by {row.by.name}: {row.text[:60]}")
    return HttpResponseRedirect(f"/event?{urlencode({'key': row.event})}#notes", status=303)


def _given(request: HttpRequest) -> _NoteBody:
    if request.content_type == "application/json":
        try:
            given = msgspec.json.decode(request.body, type=prepared(_NoteBody))
        except (msgspec.DecodeError, ValueError) as error:
            raise ValueError(f"no note as JSON: {error}") from None
    else:
        form = request.POST
        given = _NoteBody(
            str(form.get("event", "")), str(form.get("text", "")), re.split(r"[\s,]+", form.get("tags", ""))
        )
    text = printable(given.text.replace("\r\n", "\n").strip(), lines=True)
    tags = list(dict.fromkeys(filter(None, (each.strip() for each in given.tags))))
    if not text and not tags:
        raise ValueError("write something, or give a tag")
    if len(text) > MAX_TEXT:
        raise ValueError(f"a note has at most {MAX_TEXT} characters")
    if len(tags) > MAX_TAGS or not all(_TAG.fullmatch(each) for each in tags):
        raise ValueError(f"tags are at most {MAX_TAGS} words of at most 40 letters, digits and _ . + -")
    return _NoteBody(given.event, text, tags)
