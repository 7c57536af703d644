"""Views' answers, kept for a lifetime each: nowhere, in memory, or in a folder with names that people can read.

The state of the night is no view that is kept: Tonight shows the newest frame.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import quote

import msgspec

from pyros.clock import steady_seconds, system_time
from pyros.config import ConsoleConfig
from pyros.console.pages import Page
from pyros.files import atomic_write
from pyros.prepared import prepared

MAX_KEPT = 500
"""Answers in memory, and of one page in the folder."""
_MAX_NAME = 200


class Cache:
    """Answers of views. Any thread."""

    def __init__(self, section: ConsoleConfig) -> None:
        self._section = section
        self._folder = None if section.cache in ("none", "memory") else Path(section.cache)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def answer(self, page: Page, values: dict[str, Any], make: Callable[[], Any]) -> Any:
        """Return what ``make`` returns, or has returned within the page's lifetime. Raises what it raises."""
        seconds = self._section.lifetimes.get(page.name, page.lifetime)
        if seconds <= 0 or self._section.cache == "none":
            return make()
        words = [page.name, *(f"{key}={value}" for key, value in sorted(values.items()))]
        name = quote(" ".join(words), safe=" =.-_,:")
        if self._folder is not None and len(name) < _MAX_NAME:
            return self._from_folder(self._folder / f"{name}.json", page, seconds, make)
        with self._lock:
            kept = self._kept.get(name)
        if kept is not None and steady_seconds() < kept[0]:
            return kept[1]
        made = make()
        with self._lock:
            self._kept[name] = steady_seconds() + seconds, made
            self._kept.move_to_end(name)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return made

    @staticmethod
    def _from_folder(path: Path, page: Page, seconds: float, make: Callable[[], Any]) -> Any:
        with suppress(OSError, msgspec.DecodeError, ValueError):
            if 0 <= system_time() - path.stat().st_mtime < seconds:
                return msgspec.json.decode(path.read_bytes(), type=prepared(get_type_hints(page.view)["return"]))
        made = make()
        with suppress(OSError):  # a full disk keeps nobody from looking
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomic_write(path, shared=True) as partial:
                partial.write_bytes(msgspec.json.encode(made))
            _forget_oldest(path.parent, page)
        return made


def _forget_oldest(folder: Path, page: Page) -> None:
    """Delete a page's oldest answers beyond `MAX_KEPT`; other files in the folder are somebody's. Raises OSError."""
    kept = list(folder.glob(f"{page.name} *.json"))
    if len(kept) > MAX_KEPT:
        for _, file in sorted((file.stat().st_mtime_ns, file) for file in kept)[: len(kept) - MAX_KEPT]:
            file.unlink(missing_ok=True)
