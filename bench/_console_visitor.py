"""A program that asks a console for pages at a rate, for benches: `python bench/_console_visitor.py CONFIG RATE`.

It signs in, says ``ready``, and then takes lines: ``go`` begins, ``stop`` ends and is answered with how many pages came
and the longest that one took, in seconds.
"""

from __future__ import annotations

import sys
import threading
from itertools import count
from pathlib import Path

from bench.console import SignedInBrowser
from pyros import config as configuration
from pyros.clock import Deadline, steady_seconds

PAGES = ("/", "/tonight.json", "/events", "/images", "/api/v1/state", "/devices", "/messages", "/weather.json")


class Visitor:
    """Asks for one page after the other while it may; a thread of its own."""

    def __init__(self, browser: SignedInBrowser, rate: float) -> None:
        self._browser, self._rate = browser, rate
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._visit)
        self.pages, self.longest = 0, 0.0
        self._thread.start()

    def _visit(self) -> None:
        begin = steady_seconds()
        for number in count():
            Deadline(1).pause(max(0.0, begin + number / self._rate - steady_seconds()))
            if self._ending.is_set():
                return
            asked = steady_seconds()
            status, _, text = self._browser.ask("GET", PAGES[number % len(PAGES)])
            assert status == 200, (PAGES[number % len(PAGES)], status, text[:200])
            self.pages, self.longest = self.pages + 1, max(self.longest, steady_seconds() - asked)

    def end(self) -> None:
        """Ask for nothing more."""
        self._ending.set()
        self._thread.join()


def main() -> None:
    browser, rate = SignedInBrowser(configuration.load(Path(sys.argv[1])), "visitor"), float(sys.argv[2])
    print("ready", flush=True)
    visitor: Visitor | None = None
    for line in sys.stdin:
        if line.strip() == "go":
            visitor = Visitor(browser, rate)
        elif visitor is not None:
            visitor.end()
            print(visitor.pages, visitor.longest, flush=True)


if __name__ == "__main__":
    main()
