"""The pages in Chromium: at both widths and in all colours nothing complains, nothing is cut, all can be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from pyros.console.links import entry_link
from pyros.console.pages import PAGES
from pyros.console.roles import Role
from tests.console.chromium import THEMES, WIDTHS, Visit, chromium
from tests.console.conftest import Running

_FEW = ("tonight", "account")
_SIMPLE = [page for page in PAGES if page.menu and "<" not in page.path]
_COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def wide(page: Any) -> list[str]:
    """Return what is wider than the window, if the page is."""
    found: list[str] = page.evaluate("""() => document.documentElement.scrollWidth <= innerWidth ? [] :
        [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 40)).slice(0, 5)""")
    return found


def unreadable(page: Any, options: dict[str, Any] | None = None) -> list[str]:
    """Return axe-core's serious findings."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    found = axe.run(page, options=options or {"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def look_at(console: Running, browser: Any, width: str, *names: str) -> dict[str, list[str]]:
    """Open pages in all colours; return what is wrong, by page and colour."""
    visit = Visit(browser, entry_link(console.config, "admin", Role.ADMIN), width)
    wrong: dict[str, list[str]] = {}
    try:
        for page in (each for each in _SIMPLE if each.name in names):
            visit.page.goto(f"{console.section.url}{page.path}", wait_until="load")
            visit.wait_for("/heard|NO NEWS/.test(document.getElementById('live').textContent)")
            for theme in THEMES:
                visit.theme(theme)
                serious = unreadable(visit.page, None if theme == THEMES[0] else _COLOURS)
                if found := [*wide(visit.page), *serious, *visit.complaints]:
                    wrong[f"{page.name} {width} {theme}"] = found
                visit.complaints.clear()
    finally:
        visit.context.close()
    return wrong


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_pages_are_whole_and_readable(console: Running, browser: Any, width: str) -> None:
    assert look_at(console, browser, width, *_FEW) == {}


@pytest.mark.long
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_whole_and_readable(console: Running, browser: Any, width: str) -> None:
    assert look_at(console, browser, width, *(page.name for page in _SIMPLE)) == {}


def test_signing_in_by_the_form(console: Running, browser: Any) -> None:
    visit = Visit(browser, f"{console.section.url}you", "phone")
    try:
        assert urlsplit(visit.page.url).path == "/sign-in"
        assert [*wide(visit.page), *unreadable(visit.page)] == []
        visit.page.fill("input[name=name]", "nobody")
        visit.page.fill("input[name=password]", "wrong")
        visit.page.click("button.main")
        assert "don't fit" in visit.page.text_content("main [role=alert]")
    finally:
        visit.context.close()
