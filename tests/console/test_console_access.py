"""Who may what: every URL of the tables, for nobody and for each role, and what other sites' pages may not do."""

from __future__ import annotations

import pytest

from pyros.console.actions import ACTIONS
from pyros.console.api import api_path
from pyros.console.pages import PAGES
from pyros.console.roles import Role
from tests.console.conftest import RunningConsole

_VALUES = {"<str:name>": "nobody", "<str:night>": "2026-03-20", "<int:number>": "7", "<path:key>": "x"}
_FIELDS: dict[str, dict[str, str]] = {
    "stop": {},
    "hold": {"why": "a test"},
    "hold by API": {"why": "a test"},
    "release": {},
}


def filled(path: str) -> str:
    """Return a path of a table as a URL."""
    for pattern, value in _VALUES.items():
        path = path.replace(pattern, value)
    return f"/{path}"


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.word)
def test_every_page_is_for_who_may_see_it(console: RunningConsole, role: Role) -> None:
    browser = console.browser(role)
    for page in PAGES:
        url = filled(page.path)
        api = [filled(api_path(page))] if api_path(page) else []
        for path in (*([url] if page.template else []), filled(f"{page.path or page.name}.json"), *api):
            status = browser.get(path).status
            if role >= page.role:
                assert status in (200, 404), (path, status)
            elif role:
                assert status == 403, path
            else:
                assert status == (401 if path.endswith(".json") or path in api else 302), path


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.word)
def test_pictures_files_and_the_stream_are_for_viewers(console: RunningConsole, role: Role) -> None:
    browser = console.browser(role)
    for path in ("/tonight/last.png", "/images/7/preview", "/images/7/fits", "/event/chart?key=x",
                 "/event/packet?key=x", "/api/v1/openapi.json", "/frames/7/download"):  # fmt: skip
        status = browser.get(path).status
        assert status in ((302, 401) if role is Role.NOBODY else (200, 404)), (path, status)
    for path in ("/admin/", "/console.sqlite", "/static/../console.sqlite", "/static/%2e%2e/secret", "/enter/x"):
        assert browser.get(path).status in (302, 400, 403, 404), path


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.word)
def test_every_change_is_for_who_may_make_it(console: RunningConsole, role: Role) -> None:
    browser = console.browser(role)
    for action in (each for each in ACTIONS if each.name != "sign out"):
        page = "/you" if role else "/sign-in"
        answer = browser.post(filled(action.path), _FIELDS.get(action.name), page=page)
        if role >= action.role:
            assert answer.status not in (401, 403) or "old" in answer.body, (action.name, answer)
        else:
            assert answer.status == (403 if role else 401), (action.name, answer)
        assert browser.get(filled(action.path)).status in (302, 404, 405, 403), action.name
