"""Requests by the console's form: checked, sent to the scheduler, changed, withdrawn."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import urlencode

from pyros import messages
from pyros.console.answers.request_desk import MAX_KEY, Reviewed, changeable, keep, own_request, review, tell
from pyros.console.caller import caller_of
from pyros.console.request_form import FIELDS, given_of
from pyros.messages import Observation, Withdrawal
from pyros.printable import printable
from pyros.views.requests import request as request_view
from pyros.views.requests import requests


def make(request: HttpRequest) -> HttpResponse:
    """Check what the form says, and with *Ask for it* send it: then the request's page is shown."""
    caller = caller_of(request)
    given = _given(request)
    checked = review(given["target"], _values(given), caller.name)
    if checked.request is not None and not request.POST.get("check"):
        refused = tell(request, messages.OBSERVATION_REQUESTED, checked.request, "make request", checked.request.id)
        if refused is None:
            keep(caller, checked.request.id, checked.request.reason)
        return refused or _to(checked.request)
    return _shown(request, "requests", requests(settings.CONSOLE.observed), given, checked)


def change(request: HttpRequest) -> HttpResponse:
    """Check what the form says of a request that there is, and with *Change it* send it; the rest of it stays."""
    key = str(request.POST.get("key", ""))[:MAX_KEY]
    known = changeable(request, key)
    if not isinstance(known, Observation):
        return known
    given = {name: text for name, text in _given(request).items() if name in given_of(known)}
    values = _values(given)
    if known.orbit is not None:  # a body that moves is nowhere in the form
        values |= {"ra": str(known.ra), "dec": str(known.dec)}
    checked = review(given["target"], values, known.owner, known, given)
    if checked.request is not None and not request.POST.get("check"):
        name = messages.OBSERVATION_REQUEST_CHANGED
        return tell(request, name, checked.request, "change request", key) or _to(checked.request)
    return _shown(request, "request", request_view(settings.CONSOLE.observed, key), given, checked)


def cancel(request: HttpRequest) -> HttpResponse:
    """Withdraw a request: one's own, or, for operators, anybody's."""
    key = str(request.POST.get("key", ""))[:MAX_KEY]
    known = own_request(request, key, "cancel request")
    if not isinstance(known, Observation):
        return known
    why = printable(str(request.POST.get("why", "")).strip())[:MAX_KEY]
    order = Withdrawal(observation=key, reason=why or f"cancelled by {caller_of(request).name}")
    refused = tell(request, messages.OBSERVATION_REQUEST_WITHDRAWN, order, "cancel request", key)
    return refused or HttpResponseRedirect("/requests", status=303)


def _given(request: HttpRequest) -> dict[str, str]:
    return {name: printable(str(request.POST.get(name, "")).strip())[:MAX_KEY] for name in FIELDS}


def _values(given: dict[str, str]) -> dict[str, Any]:
    return {name: text for name, text in given.items() if text}


def _to(found: Observation) -> HttpResponse:
    return HttpResponseRedirect(f"/request?{urlencode({'key': found.id})}", status=303)


def _shown(request: HttpRequest, name: str, it: Any, given: dict[str, str], checked: Reviewed) -> HttpResponse:
    page = next((page for page in settings.CONSOLE.pages if page.name == name), None)
    shown = {"page": page, "it": it, "given": given, "checked": checked}
    return render(request, f"{name}.html", shown, status=400 if checked.problems else 200)
