"""The ways to the recipients of notices: a worker process each, so that a slow service delays no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from pyros.clock import Clock, Timer, cancel_call
from pyros.reactor import Reactor
from pyros.workers import Worker

IDLE_SECONDS = 600.0
"""After which a worker process that had nothing to do ends."""
_T = TypeVar("_T")


class Lanes:
    """Worker processes by name, begun when they are needed. All methods are for the reactor's thread."""

    def __init__(self, reactor: Reactor, clock: Clock, log: Logger, module: str) -> None:
        """Make no process yet; each imports ``module`` before its first job."""
        self._reactor = reactor
        self._clock = clock
        self._log = log
        self._module = module
        self._workers: dict[str, Worker] = {}
        self._idle: dict[str, Timer] = {}
        self._ending: list[Deferred[None]] = []
        self._stopped = False

    def run(self, lane: str, function: Callable[..., _T], argument: Any, seconds: float) -> Deferred[_T]:
        """Run ``function(argument)`` in the lane's process, as `Worker.run` does."""
        self._forget_idle(lane)
        worker = self._workers.get(lane)
        if worker is None:
            worker = Worker(self._reactor, self._clock, self._log, f"notifier's {lane}", [self._module])
            self._workers[lane] = worker
        done = worker.run(function, argument, seconds=seconds)

        def over(result: Any) -> Any:
            self._forget_idle(lane)
            if not self._stopped:
                self._idle[lane] = self._clock.call_later(IDLE_SECONDS, self._end, lane)
            return result

        return done.addBoth(over)

    def stop(self, patience: float) -> Deferred[Any]:
        """End every process; what runs gets so many seconds to end."""
        self._stopped = True
        for lane in list(self._idle):
            self._forget_idle(lane)
        ends = [worker.stop(patience) for worker in self._workers.values()]
        self._workers.clear()
        return DeferredList([*ends, *self._ending])

    def _forget_idle(self, lane: str) -> None:
        cancel_call(self._idle.pop(lane, None))

    def _end(self, lane: str) -> None:
        self._idle.pop(lane, None)
        worker = self._workers.pop(lane, None)
        if worker is not None:
            self._ending = [each for each in self._ending if not each.called]
            self._ending.append(worker.stop())
