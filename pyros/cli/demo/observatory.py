"""A whole observatory as a process of its own, for as long as a ``with`` statement lasts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from pyros.cli.common import INTERRUPTS, interrupts_wait, twistd
from pyros.clock import Deadline
from pyros.config import Config
from pyros.errors import AgentError
from pyros.health.asking import of_agent, of_guardian
from pyros.printable import last_line

_LOOK_EVERY = 0.1
_STOP_PATIENCE = ((signal.SIGTERM, 240.0), (signal.SIGKILL, 5.0))
"""An observatory ends within five seconds of SIGTERM (SIGINT is ignored by what a script runs in the background), or
when its dome is closed and its mount is parked; who kills it earlier than needed leaves its devices as they are."""


class ObservatoryProcess:
    """``twistd -n --pidfile= pyros --config FILE`` in a session of its own, with its output in a log file.

    At the end of the ``with`` statement, however it comes, nothing of it is left running. Its standard input is a pipe
    that we keep open: when this process is killed, it ends by itself, cleanly.
    """

    def __init__(self, config: Config, log: Path) -> None:
        self.config, self.log = config, log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ObservatoryProcess:
        try:
            with self.log.open("wb") as log, interrupts_wait():
                # A session of its own: Ctrl-C on the terminal is for us, and we end the observatory cleanly.
                self._process = subprocess.Popen(
                    [*twistd(self.config.path), "--until-stdin-ends"],
                    stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def wait_until_up(self, seconds: float, progress: Callable[[int, int], None]) -> None:
        """Return when every agent answers, and the guardian answers the dome's; ``progress`` is told how many do.

        Raises AgentError naming the agents that don't within so many seconds, or what the log says last when the
        process has ended.
        """
        deadline = Deadline(seconds)
        missing = list(self.config.agents.values())
        total = len(missing)
        with ThreadPoolExecutor(max_workers=16) as pool:
            while missing:
                self.check()
                answers = pool.map(lambda section: of_agent(section, 1.0)["up"], missing)
                missing = [section for section, up in zip(missing, list(answers), strict=True) if not up]
                progress(total - len(missing), total)
                if missing and not deadline.left():
                    names = ", ".join(section.name for section in missing)
                    raise AgentError(f"no answer from {names} within {seconds:g} s; see {self.log}")
                if missing:
                    deadline.pause(_LOOK_EVERY)
        while not self._guarded():  # before that nothing opens
            self.check()
            if not deadline.left():
                raise AgentError(f"no answer from the guardian within {seconds:g} s; see {self.log}")
            deadline.pause(_LOOK_EVERY)

    def _guarded(self) -> bool:
        sections = [seen.guardian for seen in self.config.guarded() if seen.guardian is not None]
        return all(of_guardian(each, 1.0).get("told", "") not in ("", "starting", "unknown") for each in sections)

    def check(self) -> None:
        """Raise AgentError with the last line of the log when the process has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            said = last_line(self.log.read_text(errors="replace")) or "it said nothing"
            raise AgentError(f"the observatory ended with code {code}: {said} (the whole log: {self.log})")

    def stop(self) -> None:
        """End the process and everything it started; returns when nothing is left, and its devices are safe."""
        process = self._process
        if process is None:
            return
        # A second Ctrl-C must not leave it running.
        before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTS}
        try:
            for number, patience in _STOP_PATIENCE:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(patience)
                    break
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # whatever it may have left in its group
        finally:
            if process.stdin is not None:
                process.stdin.close()
            self._process = None
            for number, handler in before.items():
                signal.signal(number, handler)
