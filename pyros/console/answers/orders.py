"""STOP, hold and release: what a person says to the whole observatory.

Neither database nor JavaScript is needed, and read-only mode doesn't matter. The hold is written first; then every
agent is told at the same time, exactly as by ``pyros stop``.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render

from pyros import messages
from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem, wants_json
from pyros.console.caller import caller_of
from pyros.hold import Holds
from pyros.messages import HoldOrder, Payload, ReleaseOrder
from pyros.orders import tell
from pyros.prepared import prepared
from pyros.printable import printable

_PATIENCE = 5.0
_MAX_WHY = 200


def stop(request: HttpRequest) -> HttpResponse:
    """Stop everything at once, and hold the observatory."""
    return _hold(request, messages.STOP, _why(request) or "stopped from the console")


def hold(request: HttpRequest) -> HttpResponse:
    """Hold the observatory: what runs ends, the dome closes."""
    why = _why(request)
    if not why:
        return problem(request, 400, "say why: others will read it")
    return _hold(request, messages.HOLD, why)


def release(request: HttpRequest) -> HttpResponse:
    """End hold and service: the observatory goes on by itself."""
    caller = caller_of(request)
    try:
        settings.CONSOLE.holds.release()
    except OSError as error:
        note(caller, "release", str(error.strerror), ok=False)
        return problem(request, 503, f"the hold cannot be removed: {error.strerror}: it is held on")
    return _told(request, "release", messages.RELEASE, ReleaseOrder(who=_who(request)), "")


def _hold(request: HttpRequest, name: str, why: str) -> HttpResponse:
    holds: Holds = settings.CONSOLE.holds
    unwritten = ""
    try:
        holds.set(_who(request), why)
    except OSError as error:
        unwritten = f"the hold cannot be written ({error.strerror}): only the agents that answer are held"
    return _told(request, name.lower(), name, HoldOrder(who=_who(request), why=why), why, unwritten)


def _told(request: HttpRequest, what: str, name: str, payload: Payload, why: str, unwritten: str = "") -> HttpResponse:
    """Tell every agent, write it down, and answer with what is wrong, if anything is."""
    told = {agent: reason for agent, reason in tell(settings.CONSOLE.config, name, payload, _PATIENCE) if reason}
    settings.CONSOLE.feed.refresh()
    total = len(settings.CONSOLE.config.agents)
    note(caller_of(request), what, f"{why} ({total - len(told)} of {total} agents answered)", ok=not unwritten)
    found: dict[str, Any] = {"order": what, "agents": total, "missing": told, "problem": unwritten}
    status = 503 if unwritten and len(told) == total else 200
    if wants_json(request):
        return JsonResponse(found, status=status)
    if not told and not unwritten:
        return HttpResponseRedirect("/", status=303)
    return render(request, "ordered.html", found, status=status)


def _why(request: HttpRequest) -> str:
    given = request.POST.get("why", "")
    if request.content_type == "application/json":
        try:
            given = msgspec.json.decode(request.body, type=prepared(_OrderBody)).why
        except (msgspec.DecodeError, ValueError):
            given = ""
    return printable(str(given).strip())[:_MAX_WHY]


class _OrderBody(msgspec.Struct):
    """The body of an order as JSON."""

    why: str = ""


def _who(request: HttpRequest) -> str:
    return f"{caller_of(request).full_name}@console"
