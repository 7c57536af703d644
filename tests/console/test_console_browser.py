"""The pages in Chromium: at both widths and in all colours nothing complains, nothing is cut, all can be read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from pyros.agents.scheduler import SchedulerState
from pyros.console.links import entry_link
from pyros.console.pages import PAGES
from pyros.console.roles import Role
from pyros.imagery.index import ImageIndex, index_file
from pyros.imagery.record import ImageRecord
from pyros.messages import Exposures, Observation
from pyros.nights import diary
from pyros.nights.diary import DiaryLine
from tests.cli.conftest import copy_demo
from tests.console.chromium import THEMES, WIDTHS, Visit, chromium
from tests.console.conftest import RunningConsole, running_console
from tests.views.test_lists import written_events
from tests.views.written import commit

_FEW = ("tonight", "account")
_OF = {"event": "event?key=swift:3", "device": "device?key=camera", "elsewhere": "elsewhere?key=swift:3",
       "request": "request?key=m31", "search": "search?words=swift", "image": "images/1",
       "night report": "nights/2026-03-20"}  # fmt: skip
"""Where pages are that show one of something."""
_SIMPLE = [page for page in PAGES if page.template and ("<" not in page.path or page.name in _OF)]
_COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """Run a console that asks nobody elsewhere."""
    file = copy_demo(tmp_path_factory.mktemp("console"))
    with running_console(file, ("; look_up = simbad tns gcn ", "look_up = none ")) as running:
        yield running


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


def something(console: RunningConsole) -> None:
    """Write events, a note, a request, an image that is gone, and a line of the log, for pages to show."""
    written_events(console.config, 5)
    fields = {"event": "swift:3", "text": "Bright in r,\nfaint in i", "tags": "afterglow a-long-tag-with-many-letters"}
    writer = console.browser(Role.OBSERVER)
    assert writer.post("/event/note", fields, page="/event?key=swift:3").status == 303
    asked = Observation(id="m31", target="M 31", ra=10.7, dec=41.3, exposures=(Exposures("r", 60.0, 3),), owner="admin")
    commit(console.config, "scheduler", SchedulerState(requests={"m31": asked}))
    index = ImageIndex(index_file(console.config))
    index.add([ImageRecord(path="gone.fits", night="2026-03-20", started=5.0, event="swift:3", filter="r")])
    index.close()
    line = DiaryLine("2026-03-20", 1.0, "weather", "unsafe", "wind of 17 m/s")
    commit(console.config, "majordome", None, [], [diary.prepare, partial(diary.write, line=line)])


def look_at(console: RunningConsole, browser: Any, width: str, *names: str) -> dict[str, list[str]]:
    """Open pages in all colours; return what is wrong, by page and colour."""
    visit = Visit(browser, entry_link(console.config, "admin", Role.ADMIN), width)
    wrong: dict[str, list[str]] = {}
    try:
        for page in (each for each in _SIMPLE if each.name in names):
            visit.page.goto(f"{console.section.url}{_OF.get(page.name, page.path)}", wait_until="load")
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
def test_the_first_pages_are_whole_and_readable(console: RunningConsole, browser: Any, width: str) -> None:
    assert look_at(console, browser, width, *_FEW) == {}


@pytest.mark.long
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_whole_and_readable(console: RunningConsole, browser: Any, width: str) -> None:
    something(console)
    assert look_at(console, browser, width, *(page.name for page in _SIMPLE)) == {}


def test_signing_in_by_the_form(console: RunningConsole, browser: Any) -> None:
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
