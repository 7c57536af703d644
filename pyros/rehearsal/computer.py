"""The computer that the rehearsed processes share: its start, its wall clock, its disk, and the names that it gives."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyros.clock import Timer
from pyros.errors import JournalError
from pyros.rehearsal.reactor import MemoryReactor
from pyros.rehearsal.timeline import GRAIN_SECONDS, Timeline

_BOOT_SECONDS = 30.0  # of monotonic time that have passed when the processes begin


class Computer:
    """One computer; its times are those of the timeline, as its clocks show them. A `pyros.unique.NameSource`, too."""

    def __init__(self, timeline: Timeline, start: datetime, seed: str) -> None:
        """``start`` is the instant at which the timeline begins, by true time."""
        self._timeline = timeline
        self._start = start.timestamp()
        self._random = random.Random(f"{seed} names")
        self._boots = 0
        self._off = 0.0
        self._drift = 0.0
        self._drifts_since = 0.0
        self.disk_full = False
        """Whether nothing can be written."""
        self.origin = 0.0
        """The timeline's instant from which monotonic seconds count."""
        self.boot()

    def boot(self) -> None:
        """Start anew: monotonic time begins again, under another name."""
        self._boots += 1
        self.origin = self._timeline.now - _BOOT_SECONDS * self._boots

    def true_time(self) -> float:
        """Return the Unix seconds that a perfect clock would show."""
        return self._start + self._timeline.now

    def time(self) -> float:
        """Return the Unix seconds that the computer's clock shows."""
        now = self._timeline.now
        return self._start + now + (self._off + self._drift * (now - self._drifts_since))

    def offset(self) -> float:
        """Return how far (seconds) the wall clock is ahead of true time."""
        return self._off + self._drift * (self._timeline.now - self._drifts_since)

    def step(self, seconds: float) -> None:
        """Set the wall clock forwards or backwards."""
        self._off += seconds

    def drift(self, rate: float) -> None:
        """Let the wall clock gain ``rate`` seconds a second from now on."""
        self._off, self._drift, self._drifts_since = self.offset(), rate, self._timeline.now

    def set_right(self) -> None:
        """Set the wall clock to true time, as a time server does."""
        self._off = self._drift = 0.0

    def check_disk(self, path: Path) -> None:
        """Raise JournalError when the disk is full, as a commit to the journal at ``path`` does."""
        if self.disk_full:
            raise JournalError(f"{path}: cannot store: database or disk is full")

    # The names that are unlike anything before -------------------------------------------------------------------

    def name(self, size: int) -> str:
        return self._random.randbytes(size).hex()

    def boot_id(self) -> str:
        return f"rehearsal-{self._boots}"


class ProcessClock:
    """What one process has for a clock: the computer's wall clock, and its own reactor's seconds."""

    def __init__(self, computer: Computer, reactor: MemoryReactor) -> None:
        self._computer, self._reactor = computer, reactor
        self._timeline = reactor.timeline

    def time(self) -> float:
        return self._computer.time()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)

    def monotonic(self) -> float:
        return self._timeline.now - self._reactor.origin

    def call_later(self, seconds: float, function: Any, *args: Any) -> Timer:
        seconds = max(seconds, GRAIN_SECONDS) if seconds > 0.0 else 0.0
        timeline = self._timeline
        return timeline.call_at(timeline.now + seconds, self._reactor, function, args)


class TrueClock(ProcessClock):
    """What a device has for a clock: always right, and never started anew."""

    def time(self) -> float:
        return self._computer.true_time()
