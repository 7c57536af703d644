"""Answers that are none: refused, not there, failed.

Each such page has STOP for who may, and tells no more than needed: only admins are told why in the program's words.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any
from urllib.parse import quote

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from twisted.logger import Logger

from pyros.console.caller import caller_of, has_token
from pyros.console.roles import Role

log = Logger("console")


def refuse(request: HttpRequest) -> HttpResponse:
    """Answer who may not: a browser without a person goes and signs in."""
    caller = caller_of(request)
    if caller.role == Role.NOBODY:
        if request.method in ("GET", "HEAD") and not wants_json(request):
            return HttpResponseRedirect(f"/sign-in?next={quote(request.get_full_path())}")
        answer = problem(request, 401, "sign in first")
        answer["WWW-Authenticate"] = "Bearer"
        return answer
    return problem(request, 403, f"that is not for {caller.name}, whose role is {caller.role.word}")


def problem(request: HttpRequest, status: int, text: str, detail: str = "") -> HttpResponse:
    """Answer with what is wrong, as a page or, for programs, as JSON; ``detail`` is for admins alone."""
    try:
        admin = caller_of(request).role >= Role.ADMIN
    except DatabaseError:
        admin = False
    if wants_json(request):
        return JsonResponse({"error": text} | ({"detail": detail} if admin and detail else {}), status=status)
    shown = {"status": status, "text": text, "detail": detail if admin else ""}
    return render(request, "error.html", shown, status=status)


def bad(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django refuses."""
    return problem(request, 400, "that makes no sense")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django forbids."""
    return problem(request, 403, "that is forbidden")


def cross_site(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that came from elsewhere, or is too old."""
    return problem(request, 403, "the form is too old, or came from another site: go back, load the page again", reason)


def not_there(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what isn't there, and what nobody who hasn't signed in shall know of."""
    if caller_of(request).role == Role.NOBODY:
        return refuse(request)
    return problem(request, 404, "there is no such page")


def failed(request: HttpRequest) -> HttpResponse:
    """Answer what went wrong here; a database that is locked is told as that."""
    error = sys.exc_info()[1]
    told = "".join(traceback.format_exception(error)) if error else ""
    if isinstance(error, DatabaseError):
        log.error("the database cannot be used: {error}", error=error)
        return problem(request, 503, "the console's database is busy: try again. STOP and Hold work meanwhile", told)
    match: Any = request.resolver_match
    log.critical("{route} failed:\n{told}", route=match.route if match else "?", told=told)
    return problem(request, 500, "the console has failed here; its log says why", told)


def wants_json(request: HttpRequest) -> bool:
    """Return whether a program asks."""
    accepts = request.headers.get("Accept", "")
    return (
        has_token(request)
        or request.path.endswith(".json")
        or request.path.startswith("/api/")
        or "application/json" in accepts
    )
