"""A dome: a shutter that opens, closes, and changes its mind on the way, and a slit that turns. A roof has no slit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from pyros.clock import Clock
from pyros.simulators.device import Arguments, SimulatedDevice
from pyros.simulators.grammar import DeviceAnswer, ok
from pyros.simulators.motion import Motion, MotorWatch
from pyros.simulators.settings import Degrees, Settings, Stall


class DomeSettings(Settings, frozen=True, kw_only=True):
    """A dome's shutter, and how fast its slit turns; without a rotation rate it is a roof.

    ``stall`` concerns the slit: the grammar has no word for a shutter that fails.
    """

    kind = "dome"
    can_have = frozenset({"stuck", "wrong_position", "frozen"})

    travel: Annotated[float, Meta(gt=0, le=86400, description="seconds from closed to open, above 0")]
    """Time from closed to open, seconds."""
    rotation_rate: Annotated[
        Annotated[float, Meta(gt=0, le=360)] | None,
        Meta(description="degrees per second, above 0, at most 360, or null for a roof"),
    ] = None
    """Degrees per second; None for a roof."""
    azimuth: Degrees = 0.0
    """Where the slit stands when it is switched on, degrees."""
    stall: Stall = 5.0
    """Seconds after its time when a motor that is stuck is given up; None for never."""

    def contradictions(self) -> list[str]:
        if self.rotation_rate is None and self.azimuth:
            return [
                "azimuth: without a rotation_rate it is a roof, which has no azimuth; add the rate, or leave it out"
            ]
        return []


class SimulatedDome(SimulatedDevice):
    """States: closed, opening, open, closing, stopped; those of the shutter. It is closed when switched on."""

    positions = frozenset({"azimuth"})

    def __init__(self, settings: DomeSettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        super().__init__(settings, clock, emit)
        self.state = "closed"
        self._shutter = Motion(self, "move", 0.0, 1 / settings.travel)  # 0 is closed, 1 is open
        self.properties |= {"opening": lambda: ok(f"{self._shutter.position:.3f}")}
        self.actions |= {"open": self._open, "close": self._close, "stop": self._stop}
        self._slit: Motion | None = None
        if settings.rotation_rate is not None:
            watch = MotorWatch(settings.stall, "rotation_failed", lambda: None)
            self._slit = slit = Motion(
                self, "rotate", settings.azimuth, settings.rotation_rate, "rotation_aborted", watch
            )
            self.properties |= {"azimuth": lambda: ok(_degrees(slit.position))}
            self.actions |= {"rotate": lambda arguments: self._rotate(slit, arguments)}

    def _open(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        return self._move("opening", "open", "opened", 1.0)

    def _close(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        return self._move("closing", "closed", "closed", 0.0)

    def _move(self, moving: str, done: str, event: str, end: float) -> DeviceAnswer:
        if self.state == done:
            return ok()

        def arrived() -> None:
            self.state = done
            self.event(event)

        self.state = moving
        return self._shutter.begin(end, arrived)

    def displaced(self, answer: DeviceAnswer, off: float) -> DeviceAnswer:
        return ok(_degrees(float(answer.line.removeprefix("OK ")) + off))

    def _rotate(self, slit: Motion, arguments: Arguments) -> DeviceAnswer:
        azimuth = arguments.number("azimuth", 0, 360) % 360
        tag = arguments.tag()
        arguments.end()
        here = slit.position
        if not slit.moving and _degrees(here) == _degrees(azimuth):
            return ok()

        def arrived() -> None:
            self.event("rotated", azimuth=_degrees(azimuth), tag=tag)

        shorter = (azimuth - here + 180) % 360 - 180
        return slit.begin(here + shorter, arrived, tag=tag)

    def _stop(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        if self._shutter.stop():
            self.state = "stopped"
            self.event("stopped")
        if self._slit is not None:
            self._slit.stop()
        return ok()


def _degrees(azimuth: float) -> str:
    """As answers give it; never 360."""
    return f"{round(azimuth, 2) % 360:.2f}"
