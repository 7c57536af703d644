"""The page of a message's signed link: what the message was about, and a button by which somebody takes care of it.

The link itself is the permission: whoever was sent it may say so without signing in. Opening the page changes nothing,
for mail programs open links, too.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import Caller, address_of, caller_of
from pyros.errors import DeliveryError, PyrosError
from pyros.notices.acknowledging import acknowledge, cause_of
from pyros.notices.texts import instant

_MAX_NAME = 60


@require_http_methods(["GET", "HEAD", "POST"])
def acknowledged(request: HttpRequest, token: str) -> HttpResponse:
    """Show what a link is about; by the button, tell the notifier."""
    console, caller = settings.CONSOLE, caller_of(request)
    now = console.observed.time()
    name = caller.name or str(request.POST.get("name", "")).strip()[:_MAX_NAME]
    try:
        cause = cause_of(console.config, token, now)
        if request.method == "POST":
            if not name.isprintable() or not name:
                return problem(request, 400, "say who you are, so that others know")
            acknowledge(console.config, token, name, now)
            note(Caller(name, address=address_of(request)), "acknowledge", cause.notice.text if cause else "forgotten")
    except DeliveryError:
        return problem(request, 503, "the notifier does not answer; try again")
    except PyrosError as error:
        return problem(request, 403, str(error))
    since = instant(cause.since) if cause is not None else ""
    shown = {"cause": cause, "since": since, "done": request.method == "POST", "name": caller.name}
    return render(request, "acknowledge.html", shown)
