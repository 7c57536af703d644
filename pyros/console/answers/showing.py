"""Every page and its ``.json``, from one function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from pyros.console.answers.errors import problem, refuse
from pyros.console.answers.naming import named
from pyros.console.caller import caller_of
from pyros.console.pages import Page
from pyros.console.roles import Role
from pyros.errors import PyrosError, UnknownAgent

Answer = Callable[..., HttpResponse]


def show(page: Page) -> Answer:
    """Return what answers the page as HTML."""

    @require_safe
    def answer(request: HttpRequest, **values: Any) -> HttpResponse:
        def made(it: Any) -> HttpResponse:
            return render(request, page.template, {"page": page, "it": it})

        return _answer(request, page, values, made)

    return answer


def show_json(page: Page) -> Answer:
    """Return what answers the page as JSON."""

    @require_safe
    def answer(request: HttpRequest, **values: Any) -> HttpResponse:
        def made(it: Any) -> HttpResponse:
            return HttpResponse(msgspec.json.encode(it), content_type="application/json")

        return _answer(request, page, values, made)

    return answer


def _answer(request: HttpRequest, page: Page, values: Any, made: Callable[[Any], HttpResponse]) -> HttpResponse:
    if caller_of(request).role < page.role:
        return refuse(request)
    try:
        for key, convert in page.query.items():
            if (text := request.GET.get(key)) not in (None, ""):
                values[key] = convert(text)
        it = _look(request, page, values)
    except ValueError as error:
        return problem(request, 400, str(error))
    except UnknownAgent as error:
        return problem(request, 404, f"there is no agent {error.agent!r}")
    except PyrosError as error:
        return problem(request, 503, "what the page shows cannot be read", str(error))
    if it is None:
        raise Http404
    it = page.bare(it, settings.CONSOLE.section.hide)
    if page.veil is not None and caller_of(request).role < Role.ADMIN:
        it = page.veil(it)
    return made(it)


def _look(request: HttpRequest, page: Page, values: dict[str, Any]) -> Any:
    view, console = page.view, settings.CONSOLE
    if view is not None:
        return console.cache.answer(page, values, lambda: view(console.observed, **values))
    return named(page.data)(request, **values)
