"""Every service of the table: who may, and refusals as programs understand them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_http_methods

from pyros.console.answers.naming import named
from pyros.console.caller import caller_of
from pyros.console.roles import Role
from pyros.console.services import Endpoint
from pyros.errors import DeliveryError, PyrosError


def serve(service: Endpoint) -> Callable[..., HttpResponseBase]:
    """Return what answers the service."""
    methods = [*(["GET", "HEAD"] if service.get else []), *(["POST"] if service.post else [])]

    @require_http_methods(methods)
    def answer(request: HttpRequest, **values: Any) -> HttpResponseBase:
        posted = request.method == "POST"
        caller = caller_of(request)
        needed = service.post_role if posted else service.role
        if caller.role < needed:
            return _refused(caller.role, needed)
        switches = settings.CONSOLE.switches.read()
        if posted and service.changes and (switches.read_only or not switches.requests):
            return detail(403, "requests are not taken now")
        try:
            made: HttpResponseBase = named(service.post if posted else service.get)(request, **values)
            return made
        except DeliveryError as error:
            return detail(503, f"{error.agent} does not answer; try again")
        except PyrosError:
            return detail(503, "what this is about cannot be read now")

    return answer


def detail(status: int, text: str) -> JsonResponse:
    """Answer with an error as Django REST Framework writes it."""
    return JsonResponse({"detail": text}, status=status)


def send_file(path: Path | None) -> HttpResponseBase:
    """Answer with a FITS file; 404 for none."""
    if path is None or not path.is_file():
        return detail(404, "Not found.")
    return FileResponse(path.open("rb"), as_attachment=True, filename=path.name, content_type="application/fits")


def base_of(request: HttpRequest) -> str:
    """Return this console's own address, as the program calls it."""
    return f"{request.scheme}://{request.get_host()}"


def _refused(role: Role, needed: Role) -> HttpResponse:
    if role == Role.NOBODY:
        answer = detail(401, "Authentication credentials were not provided.")
        answer["WWW-Authenticate"] = "Token"
        return answer
    return detail(403, f"This is for the role {needed.word} and above.")
