"""Whether an agent runs: it holds the lock beside its journal for as long as it lives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

_LOCKS = Path("/proc/locks")
"""Linux's list of all locks of files; a line ends with device:device:inode and the bytes (proc_locks(5))."""
_LOCKED = re.compile(rb"FLOCK +\w+ +\w+ +\d+ +\w+:\w+:(\d+) ")
_READINGS = 3
"""The list is read a page at a time: while others lock and unlock, a line may be passed over in one reading."""


def running(journals: Iterable[Path]) -> dict[Path, bool | None]:
    """Return of each journal whether its agent has it open; None where that cannot be known.

    The kernel is asked who has locked what: trying the lock instead could keep an agent from starting. A process of
    another container isn't in the kernel's answer, and counts as one that doesn't run. Any thread.
    """
    inodes = {path: _inode(f"{os.path.splitext(path)[0]}.lock") for path in journals}
    wanted = {inode for inode in inodes.values() if inode is not None}
    locked: set[int] = set()
    try:
        for _ in range(_READINGS):
            locked.update(map(int, _LOCKED.findall(_read())))
            if locked >= wanted:
                break
    except OSError:
        return dict.fromkeys(inodes)
    return {path: inode in locked for path, inode in inodes.items()}


def _read() -> bytes:
    """Return the kernel's list, in few pieces: it stops every lock of the computer while it writes one."""
    with open(_LOCKS, "rb", buffering=1 << 16) as file:
        return file.read()


def _inode(lock: str) -> int | None:
    try:
        return os.stat(lock).st_ino
    except OSError:
        return None
