"""A watched folder: files that are put there are taken like packets from other brokers.

A taken file goes to ``done/``, a refused one to ``refused/`` beside a file with the reason; both are folders in the
watched one. A file that cannot be stored (disk full ...) stays and is tried again. It is moved after its commit, so a
crash in between makes a duplicate of it at the next start, which is no harm.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from pyros import alerts
from pyros.broker.intake import Intake, Receipt
from pyros.broker.packet import one_line
from pyros.clock import Clock, Timer, cancel_call
from pyros.errors import AgentError, AlertError

INTERVAL = 1.0  # seconds; a file is complete when it hasn't changed for so long
MAX_AT_ONCE = 32  # files being stored
MAX_SIZE = 192 * 1024 * 1024
_UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload", "~")

log = Logger(namespace="pyros.broker")

_Look = tuple[int, int]
"""A file's size and time of change."""


class Folder:
    """One watched folder. All methods are for the reactor's thread."""

    def __init__(self, clock: Clock, intake: Intake, path: Path) -> None:
        self._clock, self._intake, self._path = clock, intake, path
        self._seen: dict[str, _Look] = {}
        self._busy: set[str] = set()
        self._stuck: dict[str, _Look] = {}
        """Files that are done with and could not be moved away."""
        self._timer: Timer | None = None
        self._complained = ""
        self.counts = {"taken": 0, "refused": 0}

    def start(self) -> None:
        """Make the folders and begin to look; raises AgentError when that can't be done."""
        try:
            for path in (self._path, self._path / "done", self._path / "refused"):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AgentError(f"{error.filename}: cannot make the watched folder: {error.strerror}") from None
        log.info("watching {path}", path=str(self._path))
        self._look()

    def stop(self) -> None:
        """Take no more; what is being stored ends with the store."""
        cancel_call(self._timer)
        self._timer = None

    def status(self) -> dict[str, Any]:
        """For people: which folder, and what became of its files."""
        return {"path": str(self._path), **self.counts}

    def _look(self) -> None:
        self._timer = self._clock.call_later(INTERVAL, self._look)
        try:
            found = self.listing()
        except OSError as error:
            if self._complained != str(error):
                self._complained = str(error)
                log.error("{path}: cannot look into the folder: {error}", path=str(self._path), error=error.strerror)
            return
        self._complained = ""
        complete = [name for name, look in found.items() if self._seen.get(name) == look]
        self._seen = found
        self._stuck = {name: look for name, look in self._stuck.items() if found.get(name) == look}
        for name in sorted(complete):
            if len(self._busy) >= MAX_AT_ONCE:
                break
            if name not in self._busy and name not in self._stuck:
                self._take(name)

    def listing(self) -> dict[str, _Look]:
        """Return what lies in the folder, by names; without what is hidden or not finished."""
        found = {}
        with os.scandir(self._path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith(_UNFINISHED):
                    continue
                try:
                    about = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(about.st_mode):
                    found[entry.name] = about.st_size, about.st_mtime_ns
        return found

    def _take(self, name: str) -> None:
        path = self._path / name
        try:
            size = self._seen[name][0]
            if size > MAX_SIZE:
                raise AlertError(f"a file of {size} bytes; the limit is {MAX_SIZE}")
            packet = _read(path)
            alerts.parse(packet)  # nobody would look for the reason elsewhere
        except FileNotFoundError:
            return
        except (OSError, AlertError) as error:
            reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            self._taken(Receipt("refused", reason=reason), name)
            return
        self._busy.add(name)
        self._intake.receive(packet, f"folder {one_line(name)}", strict=False).addCallback(self._taken, name)

    def _taken(self, receipt: Receipt, name: str) -> None:
        self._busy.discard(name)
        if receipt.outcome == "failed":
            return
        refused = receipt.outcome == "refused"
        self.counts["refused" if refused else "taken"] += 1
        try:
            moved = move_away(self._path / name, self._path / ("refused" if refused else "done"))
            if refused:
                moved.with_name(f"{moved.name}.reason").write_text(f"{receipt.reason}\n", encoding="utf-8")
        except OSError as error:
            if name in self._seen:
                self._stuck[name] = self._seen[name]
            log.error("{name} cannot be moved away: {error}", name=one_line(name), error=error.strerror)
        if refused:
            log.warn("{name} is refused: {reason}", name=one_line(name), reason=receipt.reason)


def _read(path: Path) -> bytes:
    """Return a file's bytes. It may have become a FIFO or a link since it was looked at: never wait, never follow."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise AlertError("no file")
        return file.read(MAX_SIZE + 1)


def move_away(path: Path, folder: Path) -> Path:
    """Into the folder, under a name that is free there."""
    target, number = folder / path.name, 1
    while target.exists():
        number += 1
        target = folder / f"{path.stem}-{number}{path.suffix}"
    return path.replace(target)
