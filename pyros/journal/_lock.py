"""Whether an agent runs: it holds the lock beside its journal for as long as it lives."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_LOCKS = Path("/proc/locks")
"""Linux's list of all locks of files; a line ends with device:device:inode and the bytes (proc_locks(5))."""
_READINGS = 3
"""The list is read a page at a time: while others lock and unlock, a line may be passed over in one reading."""


def running(journals: Iterable[Path]) -> dict[Path, bool | None]:
    """Return of each journal whether its agent has it open; None where that cannot be known.

    The kernel is asked who has locked what: trying the lock instead could keep an agent from starting. A process of
    another container isn't in the kernel's answer, and counts as one that doesn't run. Any thread.
    """
    inodes = {path: _inode(path.with_suffix(".lock")) for path in journals}
    locked: set[int] = set()
    try:
        for _ in range(_READINGS):
            lines = [line.split() for line in _LOCKS.read_text(encoding="ascii").splitlines()]
            locked |= {int(words[5].rpartition(":")[2]) for words in lines if len(words) >= 6 and words[1] == "FLOCK"}
            if locked.issuperset(inodes.values()):
                break
    except (OSError, ValueError):
        return dict.fromkeys(inodes)
    return {path: inode in locked for path, inode in inodes.items()}


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return -1
