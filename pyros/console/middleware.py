"""What happens around every answer of Django's: who asks, the pass, and what another site's page may not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from pyros.clock import system_time
from pyros.console.caller import PASS_RENEWED_SECONDS, PASS_SECONDS, Caller, has_token, pass_of
from pyros.console.sealed import Pass, seal

Answer = Callable[[HttpRequest], HttpResponse]


def passes(get_response: Answer) -> Answer:
    """Give who has signed in a pass, which tells who it is while the database can't be asked."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        caller: Caller | None = getattr(request, "caller", None)
        if caller is not None and caller.user is not None and not caller.token and caller.role:
            shown = pass_of(request)
            fresh = shown is not None and system_time() - shown.made < PASS_RENEWED_SECONDS
            if not fresh or shown is None or (shown.name, shown.role) != (caller.name, caller.role):
                given = Pass(caller.name, int(caller.role), system_time())
                response.set_cookie(
                    settings.PASS_COOKIE_NAME, seal(settings.CONSOLE.secret, given, PASS_SECONDS),
                    max_age=int(PASS_SECONDS), httponly=True, samesite="Lax", secure=settings.CONSOLE.secure,
                )  # fmt: skip
        response.headers.setdefault("Cache-Control", "private, no-cache")
        return response

    return answer


class CrossSite(CsrfViewMiddleware):
    """Django's protection against other sites' pages; programs that show a token need none, for no browser adds one."""

    def process_view(self, request: HttpRequest, callback: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        return None if has_token(request) else super().process_view(request, callback, args, kwargs)
