"""What will happen, in the order in which it will: one heap for all processes and devices of a rehearsal.

Virtual time passes only in `Timeline.run_until`. Calls for the same instant happen in the order in which they were
asked for, so that the same run gives the same order every time.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

_SWEEP = 2048  # cancelled calls that may lie in the heap
_MOST_CALLS = 50_000  # at one instant
_NO_KEYWORDS: dict[str, Any] = {}
GRAIN_SECONDS = 1e-6
"""No timer waits for less than this, unless for nothing: by rounding it might never come to an end."""


class EndlessError(AssertionError):
    """Calls come without end, and time does not pass."""


class Owner(Protocol):
    """Whose call it is: a process, a device, or the rehearsal itself."""

    origin: float
    """The timeline's instant from which its seconds count."""

    def run_call(self, call: Call) -> None:
        """Make a call whose time has come, or drop it."""
        ...


@implementer(IDelayedCall)
class Call(msgspec.Struct, eq=False):
    """A delayed call, as Twisted's `IDelayedCall`; ``time`` is the timeline's."""

    timeline: Timeline
    owner: Owner
    time: float
    function: Any
    args: Any
    keywords: dict[str, Any]
    state: str = ""
    """``called`` or ``cancelled``; '' while it waits."""

    def getTime(self) -> float:
        return self.time - self.owner.origin

    def active(self) -> bool:
        return not self.state

    def cancel(self) -> None:
        """Forget the call; raises AlreadyCalled or AlreadyCancelled."""
        if self.state:
            self._check()
        self.state = "cancelled"
        self.function = self.args = None
        self.timeline.forget()

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803  Twisted's name
        """Have it happen so many seconds from now."""
        self._check()
        self._move(self.timeline.now + secondsFromNow)

    def delay(self, secondsLater: float) -> None:  # noqa: N803  Twisted's name
        """Have it happen so many seconds later than it would."""
        self._check()
        self._move(self.time + secondsLater)

    def _move(self, time: float) -> None:
        self.time = time
        self.timeline.push(self)

    def _check(self) -> None:
        if self.state == "called":
            raise AlreadyCalled
        if self.state:
            raise AlreadyCancelled

    def __repr__(self) -> str:
        return f"<{self.state or 'waits'} until {self.time:g}: {getattr(self.function, '__qualname__', self.function)}>"


class Timeline:
    """All calls that wait, by their time, and the present instant."""

    def __init__(self) -> None:
        self.now = 0.0
        """Virtual seconds since the beginning."""
        self.calls = 0
        """How many calls were made."""
        self._heap: list[tuple[float, int, Call]] = []
        self._soon: deque[tuple[float, int, Call]] = deque()
        """Those that were asked for at the present instant, for this instant: after all of the heap's."""
        self._number = 0
        self._cancelled = 0

    def call_at(self, time: float, owner: Owner, function: Any, args: Any = (), keywords: Any = None) -> Call:
        """Have a function called at that instant on behalf of ``owner``; one that has passed means the present one."""
        call = Call(self, owner, time, function, args, keywords or _NO_KEYWORDS)
        self._number += 1
        if time > self.now:
            heapq.heappush(self._heap, (time, self._number, call))
        else:
            self._soon.append((time, self._number, call))
        return call

    def push(self, call: Call) -> None:
        """Take a call whose time has changed; its old place means nothing any more."""
        self._number += 1
        entry = (call.time, self._number, call)
        if call.time > self.now:
            heapq.heappush(self._heap, entry)
        else:
            self._soon.append(entry)

    def forget(self) -> None:
        """Note that a call was cancelled, and sweep the heap when many were."""
        self._cancelled += 1
        if self._cancelled > _SWEEP and 2 * self._cancelled > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if not entry[2].state and entry[0] == entry[2].time]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def waiting(self) -> list[Call]:
        """Return the calls that wait, the next one first."""
        entries = sorted([*self._heap, *self._soon])
        return [call for time, _, call in entries if not call.state and time == call.time]

    def run_until(self, seconds: float, done: Callable[[], bool] | None = None) -> bool:
        """Let time pass up to ``seconds``, or until ``done()``, which is asked between any two calls."""
        heap, soon, pop = self._heap, self._soon, heapq.heappop
        at_this_instant = 0
        if done is not None and done():
            return True
        while seconds >= self.now:
            if soon and not (heap and heap[0][0] <= self.now):
                time, _, call = soon.popleft()
            elif heap and heap[0][0] <= seconds:
                time, _, call = pop(heap)
            else:
                break
            if call.state or time != call.time:
                continue
            if time > self.now:
                self.now, at_this_instant = time, 0
            self.calls += 1
            at_this_instant += 1
            if at_this_instant > _MOST_CALLS:
                raise EndlessError(f"at {self.now:g} virtual seconds calls come without end, such as {call}")
            call.state = "called"
            call.owner.run_call(call)
            if done is not None and done():
                return True
        self.now = max(self.now, seconds)
        return done is not None and done()
