"""How far the computer's clock is off, as the program says that disciplines it: chrony or systemd-timesyncd.

Each is asked by its own command, for a few seconds at most; of what it says only the beginning is read. For any thread,
but it blocks.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import NamedTuple

ASK_SECONDS = 3.0
"""For which each program is waited for."""
MAX_BYTES = 65_536
"""Of a program's answer."""
_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(us|µs|ms|s|min|h|d)(?![a-z])")
_OFFSET = re.compile(r"^[ \t]*Offset:[ \t]*([+-]?)([^\r\n]{1,60})$", re.MULTILINE)
_SYSTEM_TIME, _LEAP, _FIELDS = 4, 13, 14
_LONGEST = 1e9


class ClockOffset(NamedTuple):
    """What was found out about the clock."""

    seconds: float | None
    """By how much it is off, seconds, whichever way; None where nobody knows."""
    source: str
    """Who says so; or why nobody can."""


def parse_chrony(text: str) -> float | None:
    """Read what ``chronyc -c tracking`` says: the offset in seconds; None where chrony has no time."""
    fields = text.strip().split("\n", 1)[0].split(",")
    if len(fields) != _FIELDS or fields[_LEAP].strip() not in ("Normal", "Insert second", "Delete second"):
        return None
    return _seconds(fields[_SYSTEM_TIME])


def parse_timesync(text: str) -> float | None:
    """Read what ``timedatectl timesync-status`` says: the offset in seconds; None where it says none."""
    line = _OFFSET.search(text)
    if line is None:
        return None
    spans = _SPAN.findall(line[2])
    if not spans or _SPAN.sub("", line[2]).strip():
        return None
    total = sum(float(number) * _UNITS[unit] for number, unit in spans)
    return min(total, _LONGEST) * (-1.0 if line[1] == "-" else 1.0)


def _seconds(text: str) -> float | None:
    try:
        value = float(text[:40])
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= _LONGEST else None


PROGRAMS: tuple[tuple[str, tuple[str, ...], Callable[[str], float | None]], ...] = (
    ("chrony", ("chronyc", "-c", "tracking"), parse_chrony),
    ("systemd-timesyncd", ("timedatectl", "timesync-status"), parse_timesync),
)
"""Who is asked, in this order: the name, the command, and what reads its answer."""


def output(command: Sequence[str], seconds: float = ASK_SECONDS) -> str:
    """Return the beginning of what a command says within so many seconds; '' where it fails or isn't there."""
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=seconds, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:MAX_BYTES].decode("utf-8", "replace") if done.returncode == 0 else ""


def clock_offset(ask: Callable[[Sequence[str]], str] = output) -> ClockOffset:
    """Ask the programs one after the other how far the clock is off. ``ask`` runs a command."""
    for name, command, parse in PROGRAMS:
        if (seconds := parse(ask(command))) is not None:
            return ClockOffset(seconds, name)
    return ClockOffset(None, "neither chrony nor systemd-timesyncd says how far the clock is off")
