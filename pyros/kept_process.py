"""A program of the observatory that runs as a process of its own, and is started again when it ends.

It is in a session of its own, so that Ctrl-C on the terminal isn't for it, and writes to a file of its own, so that no
terminal that doesn't read holds it up.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from pyros.clock import Clock
from pyros.reactor import Reactor

_PAUSES = (1.0, 30.0)  # the first and the longest before it is started again, each twice the one before
_LASTING = 60.0  # seconds after which a process that ends has been a good one
_STOP_LOOK = 0.02
_RUN = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = {name!r}; run()"
"""The name is what agents call its messages' sender."""


class KeptProcess:
    """One twistd plugin as a process. Every method is for the reactor's thread."""

    def __init__(self, name: str, plugin: list[str], file: Path, clock: Clock) -> None:
        """``name`` is for people; ``plugin`` the plugin's name and its options; ``file`` what it writes to."""
        self.name, self.file = name, file
        self._plugin, self._clock = plugin, clock
        self._log = Logger(name)
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._not_before = 0.0
        self._pause = _PAUSES[0]

    @property
    def pid(self) -> int | None:
        """The process's number; None when none has been started."""
        return None if self._process is None else self._process.pid

    def is_running(self) -> bool:
        """Whether it runs; when it has ended, that is said, and when it may be started again."""
        if self._process is None:
            return False
        if (code := self._process.poll()) is None:
            return True
        self._process = None
        if self._clock.monotonic() - self._began > _LASTING:
            self._pause = _PAUSES[0]
        self._not_begun(f"the {self.name} has ended with code {code}; see {self.file}")
        return False

    def is_due(self) -> bool:
        """Whether it may be started (again) now."""
        return self._clock.monotonic() >= self._not_before

    def run(self) -> None:
        """Start it; what keeps it from starting is said, and it is tried again later."""
        command = [
            sys.executable, "-c", _RUN.format(name=self.name), "-n", "--pidfile=", "--logfile", str(self.file),
            *self._plugin, "--parent", str(os.getpid()),
        ]  # fmt: skip
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            self._not_begun(f"the {self.name} cannot be started: {error}")
            return
        self._began = self._clock.monotonic()
        self._log.info("the {name} is process {pid}, and writes to {file}",
                       name=self.name, pid=self._process.pid, file=self.file)  # fmt: skip

    def end(self, reactor: Reactor, seconds: float) -> Deferred[bool]:
        """Ask it to end; fires after so many seconds at most: whether it has, or was none."""
        return Deferred.fromCoroutine(self._end(reactor, seconds))

    async def _end(self, reactor: Reactor, seconds: float) -> bool:
        process, end = self._process, self._clock.monotonic() + seconds
        if process is None or process.poll() is not None:
            return True
        process.terminate()
        while process.poll() is None and self._clock.monotonic() < end:
            await deferLater(reactor, _STOP_LOOK)
        return process.returncode is not None

    def _not_begun(self, problem: str) -> None:
        self._log.critical("{problem}; it is started again in {seconds:g} s", problem=problem, seconds=self._pause)
        self._not_before = self._clock.monotonic() + self._pause
        self._pause = min(_PAUSES[1], 2 * self._pause)
