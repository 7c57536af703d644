"""Where every part of PYROS gets its time and its timers from.

Nothing else reads the time or sleeps (a lint rule holds it), so the same classes run in real time, in a demo whose
night begins now, and in a rehearsal whose hours pass in seconds.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any, Protocol


class Timer(Protocol):
    """What ``call_later`` returns: Twisted's IDelayedCall, as far as PYROS needs it."""

    def cancel(self) -> None: ...

    def active(self) -> bool: ...


def cancel_call(timer: Timer | None) -> None:
    """Cancel a timer; nothing where there is none, or it has fired or was cancelled already."""
    if timer is not None and timer.active():
        timer.cancel()


class Scheduler(Protocol):
    """What makes timers fire: a Twisted reactor, or its virtual stand-in (Twisted's IReactorTime)."""

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> Any: ...  # noqa: A002  Twisted's name

    def seconds(self) -> float: ...


class Clock(Protocol):
    """The time of one observatory.

    ``time``, ``now`` and ``monotonic`` may be called from any thread; ``call_later`` only from the reactor's thread.
    """

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    def now(self) -> datetime:
        """Return the same as an aware datetime in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step and go on while the computer sleeps; the same in all processes of one computer."""
        ...

    def call_later(self, seconds: float, function: Any, *args: Any) -> Timer:
        """Call ``function(*args)`` after so many seconds, in the reactor's thread."""
        ...


class _Clock(ABC):
    """What all clocks share."""

    @abstractmethod
    def time(self) -> float: ...

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)


class RealClock(_Clock):
    """The computer's clock, shifted by a constant where an observatory's night must begin now (a demo).

    A Twisted reactor given to it counts by `steady_seconds` from then on, so that no timer waits for a wall clock that
    was set back.
    """

    def __init__(self, scheduler: Scheduler, offset: float = 0.0) -> None:
        self._scheduler = scheduler
        self._offset = offset
        _count_steadily(scheduler)

    def time(self) -> float:
        return time.time() + self._offset

    def monotonic(self) -> float:
        return time.clock_gettime(_STEADY)

    def call_later(self, seconds: float, function: Any, *args: Any) -> Timer:
        timer: Timer = self._scheduler.callLater(max(0.0, seconds), function, *args)
        return timer


class VirtualClock(_Clock):
    """The time of a rehearsal: it stands still until its scheduler is advanced."""

    def __init__(self, scheduler: Scheduler, start: datetime) -> None:
        self._scheduler = scheduler
        self._start = start.timestamp() - scheduler.seconds()

    def time(self) -> float:
        return self._start + self._scheduler.seconds()

    def step(self, seconds: float) -> None:
        """Set the wall clock forwards or backwards, as a bad time server does; `monotonic` and timers don't notice."""
        self._start += seconds

    def monotonic(self) -> float:
        return self._scheduler.seconds()

    def call_later(self, seconds: float, function: Any, *args: Any) -> Timer:
        timer: Timer = self._scheduler.callLater(max(0.0, seconds), function, *args)
        return timer


_LONGEST_SECONDS = 1e8


class Deadline:
    """How long a blocking program may still wait; for programs outside the agents, which have no Clock."""

    def __init__(self, seconds: float) -> None:
        """Begin to count. An infinite wait ends after three years, which is as long as system calls can be told."""
        self._end = time.monotonic() + min(seconds, _LONGEST_SECONDS)

    def left(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._end - time.monotonic())

    def pause(self, seconds: float) -> None:
        """Wait so long, or until the deadline if that is sooner."""
        time.sleep(min(seconds, self.left()))


def system_time() -> float:
    """Return the computer's Unix time, for programs that have no Clock of an observatory."""
    return time.time()


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux: it counts while the computer is suspended, too


def steady_seconds() -> float:
    """Return the seconds of `RealClock.monotonic`, for programs that have no Clock of an observatory."""
    return time.clock_gettime(_STEADY)


def _count_steadily(scheduler: Scheduler) -> None:
    """Have a Twisted reactor count its timers by `steady_seconds`; it counts by the wall clock (Twisted 26.10).

    What it was to call later already, is moved along.
    """
    if getattr(scheduler, "seconds", None) is not time.time:
        return  # none (only the time is wanted), a stand-in, or it does already
    reactor: Any = scheduler
    shift = steady_seconds() - scheduler.seconds()
    for call in reactor.getDelayedCalls():
        call.time += shift
        call.seconds = steady_seconds
    reactor.seconds = steady_seconds
