"""What happened in a rehearsed night: a hash of everything, by which two runs are compared, and lines for people."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import NamedTuple

import msgspec

from pyros.journal import Effects

_encode = msgspec.msgpack.Encoder().encode
_FLUSH = 512
_LINES = 4000


class NightLogLine(NamedTuple):
    """A line of a process's log, or of the rehearsal's own."""

    time: float
    """Seconds since the night's beginning."""
    who: str
    text: str

    def __str__(self) -> str:
        seconds = int(self.time)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{int(self.time % 1 * 1000):03d}"
        return f"{clock} {self.who}: {self.text}"


class NightLog:
    """The log of one night. Every entry goes into the hash; the last lines are kept for people."""

    def __init__(self, folder: str) -> None:
        """``folder`` is the night's, which is left out of everything: it is another one each time."""
        self._folder = folder.encode()
        self._hash = hashlib.blake2b(digest_size=16)
        self._entries: list[tuple[str, float, str, bytes | str]] = []
        self.add_soon = self._entries.append
        """Take ``(kind, time, who, data)`` as `add` does, of what commits and lives follow: it looks at no length."""
        self.entries = 0
        """How many entries the hash is of."""
        self.lines: deque[NightLogLine] = deque(maxlen=_LINES)

    def add(self, time: float, kind: str, who: str, data: bytes | str) -> None:
        """Take what happened: a delivery, a timer, a turn, a commit, a device's state."""
        self._entries.append((kind, time, who, data))
        if len(self._entries) >= _FLUSH:
            self._flush()

    def say(self, time: float, who: str, text: str) -> None:
        """Keep a line for people."""
        self.lines.append(NightLogLine(time, who, text))

    def _flush(self) -> None:
        self.entries += len(self._entries)
        self._hash.update(_encode(self._entries).replace(self._folder, b""))
        self._entries.clear()

    def digest(self) -> str:
        """Return the hash of all entries until now."""
        self._flush()
        return self._hash.hexdigest()


def bytes_of_commit(effects: Effects) -> bytes:
    """Return a commit as bytes, for the hash."""
    return _encode(
        (
            effects.received, list(effects.seen.items()), effects.outgoing, list(effects.acknowledged.items()),
            effects.timers_set, effects.timers_gone, effects.state,
        )
    )  # fmt: skip
