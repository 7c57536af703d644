"""Debian's Chromium, driven by Playwright; where it isn't installed its tests are skipped, but never in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import PATIENCE

CHROMIUM = shutil.which("chromium")
WIDTHS = {"desk": (1400, 900), "phone": (390, 844)}
THEMES = ("light", "dark", "night")


@contextmanager
def chromium() -> Iterator[Any]:
    """Run a Chromium for as long as the ``with`` statement lasts."""
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("needs Debian's chromium (tools/system-packages)")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One browser's context: its page, and all that it complains of."""

    def __init__(self, browser: Any, link: str, width: str = "desk", *, javascript: bool = True) -> None:
        size = WIDTHS[width]
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, java_script_enabled=javascript, reduced_motion="reduce"
        )
        self.context.set_default_timeout(PATIENCE * 1000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.goto(link)

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        self.page.wait_for_function(f"() => {condition}")

    def theme(self, name: str) -> None:
        """Change the colours, as the button does."""
        self.page.evaluate(
            """name => {
                document.documentElement.dataset.theme = name;
                document.dispatchEvent(new CustomEvent("theme"));
            }""",
            name,
        )
