"""Every change that is asked for, by its row of the table: who may, when, and that it is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST
from twisted.logger import Logger

from pyros.clock import system_time
from pyros.console.actions import Action
from pyros.console.answers.errors import problem, refuse
from pyros.console.answers.naming import named
from pyros.console.audit import Act
from pyros.console.caller import Caller, caller_of

log = Logger("console")


def do(action: Action) -> Callable[..., HttpResponse]:
    """Return what answers the action."""

    @require_POST
    def answer(request: HttpRequest, **values: Any) -> HttpResponse:
        caller = caller_of(request)
        if caller.role < action.role:
            if caller.role:
                note(caller, action.name, "not allowed", ok=False)
            return refuse(request)
        switches = settings.CONSOLE.switches.read()
        if switches.read_only and not (action.order or action.reading):
            return problem(request, 403, "the console is read-only now: only STOP, Hold and Release are taken")
        if action.switch and not getattr(switches, action.switch):
            return problem(request, 403, f"{action.switch.replace('_', ' ')} are switched off now")
        done: HttpResponse = named(action.answer)(request, **values)
        return done

    return answer


def note(caller: Caller, what: str, about: str = "", *, ok: bool = True) -> None:
    """Write down who did what. A disk that is full keeps nobody from stopping the observatory."""
    try:
        settings.CONSOLE.audit.write(Act(system_time(), caller.full_name, caller.address, what, about, ok))
    except OSError as error:
        log.critical("the audit cannot be written: {error}", error=error.strerror)
