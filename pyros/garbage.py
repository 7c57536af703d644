"""Garbage collection that doesn't stop an alert.

Python's collector looks through every object of the process when a quarter of them is new, and all threads wait
meanwhile: 50 to 100 ms for the 150,000 objects of an observatory, most of them modules that live as long as it does. An
alert that came then took as much longer, about once in a hundred. So what has been made when the agents have begun is
put aside once (`gc.freeze`); the collector then looks through some thousand objects, in 2 ms.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from pyros.clock import Clock, Timer, cancel_call

_SETTLE_SECONDS = 3.0


class LongLivedObjects:
    """Puts aside, once in a process's life, what the garbage collector needn't look through again.

    All methods are for the reactor's thread.
    """

    def __init__(self, clock: Clock, ready: Callable[[], bool]) -> None:
        """``ready`` says whether everything has begun that brings modules along."""
        self._clock = clock
        self._ready = ready
        self._timer: Timer | None = None

    def start(self) -> None:
        """Put the objects aside a short time after everything has begun."""
        self._timer = self._clock.call_later(_SETTLE_SECONDS, self._look)

    def stop(self) -> None:
        """Give the objects back to the collector; may be called without `start`, and twice."""
        if self._timer is not None:
            cancel_call(self._timer)
            self._timer = None
            gc.unfreeze()

    def _look(self) -> None:
        if not self._ready():
            self.start()
            return
        gc.collect()  # what is put aside is never collected
        gc.freeze()
