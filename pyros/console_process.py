"""The console's process, as the observatory starts it: beside it, and gone soon after it."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyros.clock import Clock, Timer, cancel_call
from pyros.config import Config
from pyros.kept_process import KeptProcess
from pyros.reactor import Reactor

_LOOK_SECONDS = 1.0
_STOP_SECONDS = 5.0


class ConsoleProcess:
    """Keeps the console of a configuration alive. Every method is for the reactor's thread."""

    def __init__(self, config: Config, reactor: Reactor, clock: Clock) -> None:
        self._reactor, self._clock = reactor, clock
        plugin = ["pyros-console", "--config", str(config.path)]
        self._process = KeptProcess("console", plugin, config.data / "console.log", clock)
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin to see to it that the console is there."""
        self._timer = self._clock.call_later(_LOOK_SECONDS, self.start)
        if not self._process.is_running() and self._process.is_due():
            self._process.run()

    def stop(self) -> Deferred[bool]:
        """End the console."""
        cancel_call(self._timer)
        return self._process.end(self._reactor, _STOP_SECONDS)
