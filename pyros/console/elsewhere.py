"""What services elsewhere know of an event: asked in the background, kept in files, and never waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec
from twisted.logger import Logger

from pyros.clock import system_time
from pyros.console.outside import SERVICES, About, Known, Means, OutsideService, asked_of
from pyros.files import atomic_write
from pyros.prepared import prepared
from pyros.printable import printable

FOLDER = "elsewhere"
FRESH_SECONDS = 3600.0
AGAIN_SECONDS = 300.0
"""After what a service that failed is asked again."""
MAX_KEPT = 500
_AT_ONCE = 4
log = Logger("console")

State = Literal["known", "asking", "failed", "not asked"]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a service has answered."""

    asked: float
    """When, Unix seconds."""
    rows: tuple[Known, ...] = ()
    """What it knows."""
    problem: str = ""
    """Why that isn't known; '' when it is."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with one service."""

    name: str
    """The service."""
    title: str
    """For people."""
    link: str
    """Where it shows what it knows; '' where it cannot."""
    state: State
    """``asking`` also while there is an older answer."""
    asked: float | None = None
    """When it answered last, Unix seconds."""
    rows: tuple[Known, ...] = ()
    """What it knows."""
    problem: str = ""
    """Why it failed, or isn't asked."""


class Elsewhere:
    """The answers of one console. Any thread; nothing here waits for a network."""

    def __init__(
        self, folder: Path, names: tuple[str, ...], means: Means,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:  # fmt: skip
        """``names`` are the services that may be asked; ``start`` runs a question, by default in a thread."""
        self._folder = folder / FOLDER
        self._names, self._means = names, means
        self._start = start or _in_thread
        self._lock = threading.Lock()
        self._asking: set[str] = set()

    def look(self, about: About) -> tuple[Answered, ...]:
        """Return what is known by now; who has not answered lately is asked."""
        return tuple(self._look(service, about) for service in SERVICES)

    def _look(self, service: OutsideService, about: About) -> Answered:
        link = service.link(about)
        made = Answered(name=service.name, title=service.title, link=link, state="not asked")
        if reason := self._reason_not_asked(service, link):
            return msgspec.structs.replace(made, problem=reason)
        key = asked_of(about, service)
        kept = self._kept(key)
        age = None if kept is None else system_time() - kept.asked
        if kept is None or age is None or not 0 <= age < (AGAIN_SECONDS if kept.problem else FRESH_SECONDS):
            self._ask(service, about, key, kept)
            kept = self._kept(key) or kept  # where the question was answered at once
        state: State = "asking" if key in self._asking or kept is None else "failed" if kept.problem else "known"
        if kept is None:
            return msgspec.structs.replace(made, state=state)
        return msgspec.structs.replace(made, state=state, asked=kept.asked, rows=kept.rows, problem=kept.problem)

    def _reason_not_asked(self, service: OutsideService, link: str) -> str:
        if not link:
            return "cannot be asked: the event has no position"
        needs_key = service.name == "tns" and not self._means.tns
        return "is not asked here" if needs_key or service.name not in self._names else ""

    def _ask(self, service: OutsideService, about: About, key: str, before: Kept | None) -> None:
        with self._lock:
            if key in self._asking or len(self._asking) >= _AT_ONCE:
                return
            self._asking.add(key)
        self._start(lambda: self._answered(service, about, key, before))

    def _answered(self, service: OutsideService, about: About, key: str, before: Kept | None) -> None:
        """Ask, in a thread; what was known before stays beside the reason of a failure."""
        try:
            kept = Kept(asked=system_time(), rows=service.ask(about, self._means))
        except Exception as error:
            if not isinstance(error, OSError | ValueError | msgspec.MsgspecError):
                log.failure("{service} could not be asked", service=service.name)
            rows = before.rows if before is not None else ()
            kept = Kept(asked=system_time(), rows=rows, problem=printable(str(error))[:200] or "has failed")
        try:
            self._keep(key, kept)
        finally:
            with self._lock:
                self._asking.discard(key)

    def _path(self, key: str) -> Path:
        return self._folder / f"{quote(key, safe=' +-.')[:200]}.json"

    def _kept(self, key: str) -> Kept | None:
        with suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._path(key).read_bytes(), type=prepared(Kept))
        return None

    def _keep(self, key: str, kept: Kept) -> None:
        with suppress(OSError):  # a full disk keeps nobody from looking: it is asked again
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with atomic_write(self._path(key), shared=True) as partial:
                partial.write_bytes(msgspec.json.encode(kept))
            files = sorted(self._folder.glob("*.json"), key=lambda each: each.stat().st_mtime_ns)
            for each in files[:-MAX_KEPT]:
                each.unlink(missing_ok=True)


def _in_thread(question: Callable[[], None]) -> None:
    """Run it beside everything: the console's end waits for nobody's answer."""
    threading.Thread(target=question, name="console-elsewhere", daemon=True).start()
