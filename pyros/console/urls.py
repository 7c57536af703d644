"""The URLs, derived from the tables of pages and actions."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import path

from pyros.console.actions import ACTIONS, Action
from pyros.console.answers import acknowledging, downloads, errors, pictures, signing
from pyros.console.answers import api as api_answers
from pyros.console.answers.doing import do
from pyros.console.answers.serving import serve
from pyros.console.answers.showing import show, show_json
from pyros.console.api import api_path
from pyros.console.console import Console
from pyros.console.pages import Page
from pyros.console.services import SERVICES, Endpoint


def _of_page(page: Page) -> list[Any]:
    json_path = f"{page.path or page.name}.json"
    found = [path(json_path, show_json(page), name=f"{page.name}.json")]
    return [*found, path(page.path, show(page), name=page.name)] if page.template else found


def _of_action(action: Action) -> Any:
    return path(action.path, do(action), name=action.name)


def _shown(console: Console, it: Action | Endpoint) -> bool:
    return not it.section or it.section in {page.hidden_by for page in console.pages}


def _of_images(console: Console) -> list[Any]:
    if all(page.name != "images" for page in console.pages):
        return []
    return [
        path("images/<int:number>/preview", pictures.preview, name="preview"),
        path("images/<int:number>/fits", pictures.fits, name="fits"),
        path("tonight/last.png", pictures.last, name="last image"),
    ]


_NAMES = {page.name for page in settings.CONSOLE.pages}
urlpatterns = [
    *[each for page in settings.CONSOLE.pages if "<" not in page.path for each in _of_page(page)],  # asked for most
    path("sign-in", signing.sign_in, name="sign in"),
    path("enter/<str:sealed>", signing.enter, name="enter"),
    path("invitation/<str:sealed>", signing.accept, name="invitation"),
    path("password/<str:sealed>", signing.choose_password, name="choose password"),
    path("acknowledge/<str:token>", acknowledging.acknowledged, name="acknowledge"),
    *[path(service.path, serve(service)) for service in SERVICES if _shown(settings.CONSOLE, service)],
    path("api/v1/openapi.json", api_answers.describe, name="openapi"),
    *[path(api_path(page), api_answers.read(page)) for page in settings.CONSOLE.pages if api_path(page)],
    path("download/<str:sealed>", downloads.download, name="download"),
    *_of_images(settings.CONSOLE),
    *([path("event/chart", pictures.chart, name="chart")] if "event" in _NAMES else []),
    *([path("event/packet", pictures.alert_packet, name="packet")] if "event" in _NAMES else []),
    *[_of_action(action) for action in ACTIONS if _shown(settings.CONSOLE, action)],
    *[each for page in settings.CONSOLE.pages if "<" in page.path for each in _of_page(page)],
]
handler400 = errors.bad
handler403 = errors.forbidden
handler404 = errors.not_there
handler500 = errors.failed
