"""A dome's shutter that opens, closes, and changes its mind on the way."""

from __future__ import annotations

from collections.abc import Callable

from pyros.clock import Clock
from pyros.simulators.description import DomeSettings
from pyros.simulators.device import Arguments, Device
from pyros.simulators.grammar import Answer, busy, ok


class Dome(Device):
    """States: closed, opening, open, closing, stopped. It is closed when switched on."""

    def __init__(self, settings: DomeSettings, clock: Clock, emit: Callable[[Answer], None]) -> None:
        super().__init__(settings, clock, emit)
        self.state = "closed"
        self._travel = settings.travel
        self._opening = 0.0  # 0 is closed, 1 is open; while it moves: where it began
        self._began = 0.0
        self.properties |= {"opening": lambda: ok(f"{self._where():.3f}")}
        self.actions |= {"open": self._open, "close": self._close, "stop": self._stop}

    def _open(self, arguments: Arguments) -> Answer:
        arguments.end()
        return self._move("opening", "open", "opened", 1.0)

    def _close(self, arguments: Arguments) -> Answer:
        arguments.end()
        return self._move("closing", "closed", "closed", 0.0)

    def _move(self, moving: str, done: str, event: str, end: float) -> Answer:
        if self.state == done:
            return ok()
        self._opening, self._began = self._where(), self.pace.monotonic()

        def arrived() -> None:
            self.state, self._opening = done, end
            self.event(event)

        left = abs(end - self._opening) * self._travel
        self.state = moving
        self.later("move", left, arrived)
        return busy(self.real(left))

    def _stop(self, arguments: Arguments) -> Answer:
        arguments.end()
        if self.state in ("opening", "closing"):
            self._opening = self._where()
            self.state = "stopped"
            self.cancel("move")
            self.event("stopped")
        return ok()

    def _where(self) -> float:
        moved = (self.pace.monotonic() - self._began) / self._travel
        match self.state:
            case "opening":
                return min(1.0, self._opening + moved)
            case "closing":
                return max(0.0, self._opening - moved)
        return self._opening
