"""Programs that a job runs: with a limit of time, and never longer than the worker lives. No Twisted here."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyros.clock import Deadline

_OUTPUT_KEPT = 2000
_LOOK_SECONDS = 0.2
_GUARDED = 'exec 3<&0; { cat <&3; kill -s KILL -- -$$; } >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'
"""Runs a program, and beside it, in the same group, what kills the group when standard input ends. Only the worker has
that pipe's other end: however it goes, it takes along the program and whatever that has started."""


@dataclass(frozen=True)
class ProgramEnd:
    """How a program ended: its exit code (None: killed, ``late``: by its limit of time), and the end of its output."""

    code: int | None
    late: bool
    output: bytes

    @property
    def last_line(self) -> str:
        """The last line that it printed."""
        lines = [line.strip() for line in self.output.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""


def run(
    arguments: Sequence[str],
    *,
    seconds: float,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> ProgramEnd:
    """Run a program and wait for its end, at most so many seconds; then it is killed, with all that it has started.

    ``folder`` is where it runs. Raises OSError when there is no shell. Blocks the thread.
    """
    deadline = Deadline(seconds)
    output = b""
    with subprocess.Popen(
        ["/bin/sh", "-c", _GUARDED, "sh", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, cwd=folder, env=environment, process_group=0,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            readable = [process.stdout]
            while process.poll() is None and deadline.left() > 0:
                # A grandchild may keep the pipe open when the program has ended, so that its end is looked for, too.
                if not select.select(readable, [], [], min(_LOOK_SECONDS, deadline.left()))[0]:
                    continue
                if part := os.read(process.stdout.fileno(), 1 << 16):
                    output = (output + part)[-_OUTPUT_KEPT:]
                else:
                    readable = []
            late = process.poll() is None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        if select.select([process.stdout], [], [], 0)[0]:  # what fits into a pipe
            output = (output + os.read(process.stdout.fileno(), 1 << 16))[-_OUTPUT_KEPT:]
    return ProgramEnd(code if code >= 0 else None, late, output)
