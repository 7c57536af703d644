"""The API's answers: the pages' JSON with an ETag, and its own description."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.views.decorators.http import require_safe

from pyros.console.answers.errors import refuse
from pyros.console.answers.showing import show_json
from pyros.console.api import openapi
from pyros.console.caller import caller_of
from pyros.console.pages import Page
from pyros.console.roles import Role


def read(page: Page) -> Callable[..., HttpResponse]:
    """Return what answers a page's URL of the API."""
    answer_json = show_json(page)

    def answer(request: HttpRequest, **values: object) -> HttpResponse:
        answer = answer_json(request, **values)
        if answer.status_code != 200:
            return answer
        tag = f'"{hashlib.blake2b(answer.content, digest_size=12).hexdigest()}"'
        wanted = [each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")]
        if tag in wanted:
            answer = HttpResponseNotModified()
        answer["ETag"] = tag
        answer["Cache-Control"] = "private, no-cache"
        return answer

    return answer


@require_safe
def describe(request: HttpRequest) -> HttpResponse:
    """Answer with the API's description."""
    if caller_of(request).role < Role.VIEWER:
        return refuse(request)
    return JsonResponse(openapi(settings.CONSOLE.pages))
