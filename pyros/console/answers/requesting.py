"""Requests by the console's form: checked as those of the command line, sent to the scheduler, changed, withdrawn."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode

from pyros import config as configuration
from pyros import messages
from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import Caller, caller_of
from pyros.console.people.models import Request
from pyros.console.request_form import FIELDS, changed, given_of, may_be_changed
from pyros.console.roles import Role
from pyros.errors import DeliveryError, PlanningError, PyrosError
from pyros.messages import Observation, Withdrawal
from pyros.planning.intake import simbad
from pyros.planning.intake.draft import Draft
from pyros.planning.intake.names import NamedPosition, TargetNames
from pyros.planning.intake.validation import Reviewer
from pyros.planning.next_up import NextUp, next_up
from pyros.printable import printable
from pyros.sender import Sender
from pyros.views.observed import site_of
from pyros.views.requests import request as request_view
from pyros.views.requests import requests
from pyros.views.states import SeenScheduler

_LONGEST = 200
_SIMBAD_SECONDS = 5.0
_SEND_SECONDS = 5.0


def make(request: HttpRequest) -> HttpResponse:
    """Check what the form says, and with *Ask for it* send it: then the request's page is shown."""
    caller = caller_of(request)
    given = _given(request)
    found, problems = _reviewed(given, caller.name)
    told = _next_up(found, problems)
    if found is not None and not problems and not request.POST.get("check"):
        answer = _send(request, messages.OBSERVATION_REQUESTED, found, "make request")
        if answer.status_code == HTTPStatus.SEE_OTHER:
            keep(caller, found.id, found.reason)
        return answer
    shown = {"page": _page("requests"), "it": requests(settings.CONSOLE.observed), "given": given,
             "problems": problems, "told": told}  # fmt: skip
    return render(request, "requests.html", shown, status=400 if problems else 200)


def change(request: HttpRequest) -> HttpResponse:
    """Check what the form says of a request that there is, and with *Change it* send it; the rest of it stays."""
    caller = caller_of(request)
    key = str(request.POST.get("key", ""))[:_LONGEST]
    known = settings.CONSOLE.observed.state("scheduler", SeenScheduler).requests.get(key)
    if known is None:
        return problem(request, 404, "there is no such request")
    if known.owner != caller.name and caller.role < Role.OPERATOR:
        note(caller, "change request", f"{key}: of somebody else", ok=False)
        return problem(request, 409, "the request is somebody else's; an operator may change it")
    if not may_be_changed(known):
        return problem(request, 409, "an alert asks for it: its rule would change it back")
    given = {name: text for name, text in _given(request).items() if name in given_of(known)}
    found, problems = _reviewed(given, known.owner, known)
    if found is not None:
        found = changed(known, found)
    told = _next_up(found, problems)
    if found is not None and not problems and not request.POST.get("check"):
        return _send(request, messages.OBSERVATION_REQUEST_CHANGED, found, "change request")
    shown = {"page": _page("request"), "it": request_view(settings.CONSOLE.observed, key), "given": given,
             "problems": problems, "told": told}  # fmt: skip
    return render(request, "request.html", shown, status=400 if problems else 200)


def cancel(request: HttpRequest) -> HttpResponse:
    """Withdraw a request: one's own, or, for operators, anybody's."""
    caller = caller_of(request)
    key = str(request.POST.get("key", ""))[:_LONGEST]
    found = settings.CONSOLE.observed.state("scheduler", SeenScheduler).requests.get(key)
    if found is None:
        return problem(request, 404, "there is no such request")
    if found.owner != caller.name and caller.role < Role.OPERATOR:
        note(caller, "cancel request", f"{key}: of somebody else", ok=False)
        return problem(request, 409, "the request is somebody else's; an operator may cancel it")
    why = printable(str(request.POST.get("why", "")).strip())[:_LONGEST]
    order = Withdrawal(observation=key, reason=why or f"cancelled by {caller.name}")
    return _tell(request, messages.OBSERVATION_REQUEST_WITHDRAWN, order, "cancel request", key, "/requests")


def keep(caller: Caller, name: str, why: str = "") -> None:
    """Keep who has asked for what, for fixtures; while the database is busy it is only in the audit."""
    if caller.user is not None:
        with suppress(DatabaseError):
            told = {"by": caller.user, "made": timezone.now(), "note": why}
            Request.objects.update_or_create(name=name, defaults=told)


def _given(request: HttpRequest) -> dict[str, str]:
    return {name: printable(str(request.POST.get(name, "")).strip())[:_LONGEST] for name in FIELDS}


class _NextUpWords(msgspec.Struct, frozen=True):
    """When a request is up next, for the form."""

    words: str
    """In a sentence."""
    up: bool
    """Whether it is within a year."""


def _next_up(found: Observation | None, problems: list[str]) -> _NextUpWords | None:
    """Return when a request is up next; what speaks against it is added to the problems."""
    if found is None:
        return None
    try:
        return _words(next_up(found, site_of(settings.CONSOLE.observed), settings.CONSOLE.observed.time()))
    except PlanningError as error:
        problems.append(str(error))
        return None


def _reviewed(
    given: dict[str, str], owner: str, known: Observation | None = None
) -> tuple[Observation | None, list[str]]:
    """Return the request that a form means, and what is wrong; ``known`` is what it changes, whose name it keeps."""
    observed = settings.CONSOLE.observed
    values: dict[str, Any] = {name: text for name, text in given.items() if text}
    if known is not None and known.orbit is not None:  # a body that moves is nowhere in the form
        values |= {"ra": str(known.ra), "dec": str(known.dec)}
    state = observed.state("scheduler", SeenScheduler)
    filters = state.filters.filters if state.filters is not None else ()
    try:
        reviewer = Reviewer(_find, observed.time(), owner, {"filter": filters},
                            () if known is not None else state.requests)  # fmt: skip
        found = reviewer.review(Draft(given["target"], values))
    except PyrosError as error:
        return None, str(error).splitlines()
    return (found, []) if not reviewer.problems else (None, list(reviewer.problems))


def _find(name: str) -> NamedPosition:
    """Return where a name is, by the observatory's own file, then by SIMBAD; raises ValueError."""
    config = settings.CONSOLE.config
    own = TargetNames.load(config.targets) if config.targets != configuration.NOWHERE else TargetNames()
    if (found := own.get(name)) is not None:
        return found
    if config.simbad == configuration.NO:
        raise ValueError(f"{name!r} is not in the observatory's names; give ra and dec")
    now = datetime.fromtimestamp(settings.CONSOLE.observed.time(), UTC)
    year = 2000.0 + (now - datetime(2000, 1, 1, 12, tzinfo=UTC)).days / 365.25
    try:
        known = simbad.resolve(name, year, url=config.simbad or simbad.URL, seconds=_SIMBAD_SECONDS)
    except PlanningError as error:
        raise ValueError(f"{name!r} is not in the observatory's names, and {error}; give ra and dec") from None
    if known is None:
        raise ValueError(f"{name!r} is not in the observatory's names, and SIMBAD does not know it; give ra and dec")
    return known


def _send(request: HttpRequest, name: str, found: Observation, what: str) -> HttpResponse:
    return _tell(request, name, found, what, found.id, f"/request?{urlencode({'key': found.id})}")


def _tell(request: HttpRequest, name: str, payload: Any, what: str, about: str, where: str) -> HttpResponse:
    try:
        Sender.send_to("scheduler", name, payload, config=settings.CONSOLE.config, timeout=_SEND_SECONDS)
    except DeliveryError as error:
        note(caller_of(request), what, f"{about}: {error}", ok=False)
        return problem(request, 503, "the scheduler does not answer: nothing was changed", str(error))
    note(caller_of(request), what, about)
    return HttpResponseRedirect(where, status=303)


def _words(coming: NextUp) -> _NextUpWords:
    if coming.begin is None:
        return _NextUpWords(f"It would be taken, but cannot be observed within a year: {coming.reason}", up=False)
    when = datetime.fromtimestamp(coming.begin, UTC)
    reason = f" ({coming.reason})" if coming.reason else ""
    return _NextUpWords(
        f"It can be made: next up {when:%Y-%m-%d %H:%M} UTC, at {coming.altitude:.0f}°{reason}", up=True
    )


def _page(name: str) -> Any:
    return next((page for page in settings.CONSOLE.pages if page.name == name), None)
