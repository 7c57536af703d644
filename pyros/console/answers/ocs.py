"""The OCS dialect's URLs, each by its function of `pyros.ocs.portal`."""

from __future__ import annotations

from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from pyros.console.answers.doing import note
from pyros.console.answers.request_desk import keep
from pyros.console.answers.serving import base_of, detail, send_file
from pyros.console.caller import caller_of
from pyros.console.roles import Role
from pyros.ocs import portal


def instruments(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(portal.instruments(settings.CONSOLE.observed))


def profile(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(portal.profile(settings.CONSOLE.observed, caller_of(request).name))


def telescope_states(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(portal.telescope_states(settings.CONSOLE.observed))


def validate(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(portal.validate(settings.CONSOLE.observed, _sent(request), caller_of(request).name))


def submit(request: HttpRequest) -> HttpResponseBase:
    """Take a request group, and write down whose it is."""
    caller = caller_of(request)
    status, made = portal.submit(settings.CONSOLE.observed, _sent(request), caller.name)
    note(caller, "request", f"group {made['id']}" if status == 201 else "refused", ok=status == 201)
    if status == 201:
        keep(caller, f"{portal.PREFIX}{made['id']}", str(made.get("name", "")))
    return JsonResponse(made, status=status)


def cancel(request: HttpRequest, number: str) -> HttpResponseBase:
    """Withdraw one's own request; an operator anybody's."""
    caller, observed = caller_of(request), settings.CONSOLE.observed
    if caller.role < Role.OPERATOR and portal.owner_of(observed, number) not in (None, caller.name):
        note(caller, "cancel request", f"group {number[:20]}: another's", ok=False)
        return detail(403, "This request is another's.")
    status, made = portal.cancel(observed, number, caller.name)
    note(caller, "cancel request", f"group {number[:20]}", ok=status == 200)
    return JsonResponse(made, status=status)


def groups(request: HttpRequest) -> HttpResponseBase:
    """Find the group of a request; a search by anything else can't be honoured, and is refused."""
    if unknown := [each for each in request.GET if each != "request_id"]:
        return JsonResponse({unknown[0][:100]: ["This filter can't be honoured here."]}, status=400)
    return JsonResponse(portal.groups(settings.CONSOLE.observed, request.GET.get("request_id", "")))


def group(request: HttpRequest, number: str) -> HttpResponseBase:
    return _json(portal.group_of(settings.CONSOLE.observed, number))


def request_of(request: HttpRequest, number: str) -> HttpResponseBase:
    return _json(portal.request_of(settings.CONSOLE.observed, number))


def observations(request: HttpRequest, number: str) -> HttpResponseBase:
    return _json(portal.observations(settings.CONSOLE.observed, number))


def frames(request: HttpRequest) -> HttpResponseBase:
    return _json(portal.frames(settings.CONSOLE.observed, request.GET.dict(), base_of(request)))


def frame(request: HttpRequest, number: str) -> HttpResponseBase:
    return _json(portal.frame(settings.CONSOLE.observed, number, base_of(request)))


def download(request: HttpRequest, number: str) -> HttpResponseBase:
    return send_file(portal.frame_file(settings.CONSOLE.observed, number))


def _json(answer: tuple[int, Any]) -> JsonResponse:
    status, content = answer
    return JsonResponse(content, status=status, safe=False)


def _sent(request: HttpRequest) -> Any:
    """Return the JSON that was sent; None, which every reader refuses, for what is none."""
    try:
        return msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
