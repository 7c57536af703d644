"""Who did what: one line of JSON for each act, in a file a year, which is only ever added to.

A file and no table, so that an act is written down also while the database is locked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pyros.prepared import prepared
from pyros.printable import printable

_MAX_TEXT = 500
_TAIL_BYTES = 1 << 20


class Act(msgspec.Struct, frozen=True):
    """What somebody did, or tried to do."""

    when: float
    """Unix seconds, of the computer's clock."""
    who: str
    """The person's name, and a token's after a slash; '' for nobody known."""
    address: str
    """Where the person was: an IP address."""
    what: str
    """The act: ``stop``, ``hold``, ``sign in`` ..."""
    about: str = ""
    """Whom or what it was done to, and why."""
    ok: bool = True
    """Whether it was done."""


class Audit:
    """The acts in the console's folder. Any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, act: Act) -> None:
        """Keep an act, on disk when this returns. Raises OSError."""
        texts = {key: printable(getattr(act, key))[:_MAX_TEXT] for key in ("who", "address", "what", "about")}
        line = msgspec.json.encode(msgspec.structs.replace(act, **texts)) + b"\n"
        year = datetime.fromtimestamp(act.when, UTC).year
        descriptor = os.open(self.folder / f"audit-{year}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def newest(self, count: int) -> list[Act]:
        """Return the newest acts, the newest first; no more than the last file's last MiB holds."""
        found: list[Act] = []
        for path in sorted(self.folder.glob("audit-*.jsonl"), reverse=True):
            for act in _backwards(path):
                found.append(act)
                if len(found) == count:
                    return found
        return found


def _backwards(path: Path) -> Iterator[Act]:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            yield msgspec.json.decode(line, type=prepared(Act))
        except msgspec.DecodeError:  # cut by a crash, or where the tail begins
            continue
