"""A cover in front of a telescope, with a lamp behind it that lights flat fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from pyros.clock import Clock
from pyros.simulators.device import Arguments, Refused, SimulatedDevice
from pyros.simulators.grammar import DeviceAnswer, busy, ok
from pyros.simulators.motion import Motion, MotorWatch
from pyros.simulators.settings import Seconds, Settings, Stall


class CoverSettings(Settings, frozen=True, kw_only=True):
    """A cover's motor and a lamp; a panel without a cover has no ``travel``, a cover without a lamp no brightness."""

    kind = "cover"
    can_have = frozenset({"stuck", "frozen"})

    travel: Annotated[
        Annotated[float, Meta(gt=0, le=86400)] | None,
        Meta(description="seconds from closed to open, above 0, or null for a panel without a cover"),
    ]
    """Time from closed to open, seconds; None for a panel without a cover."""
    stall: Stall = 5.0
    """Seconds after its time when a motor that is stuck is given up; None for never."""
    max_brightness: Annotated[
        int, Meta(ge=0, le=1_000_000, description="steps of the lamp, a whole number, or 0 for a cover without one")
    ] = 0
    """Steps of the lamp; 0 for a cover without one."""
    warm_up: Seconds = 0.0
    """Time until the lamp is bright, seconds."""

    def contradictions(self) -> list[str]:
        if self.travel is None and not self.max_brightness:
            return ["travel: without a lamp (max_brightness) there must be a cover"]
        return []


class SimulatedCover(SimulatedDevice):
    """States: absent, closed, moving, open, stopped; those of the cover. It is closed and dark when switched on."""

    def __init__(self, settings: CoverSettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        super().__init__(settings, clock, emit)
        self._settings = settings
        self._brightness = 0
        self._lighting: str | None = None
        """The tag of the lighting under way."""
        self.state = "absent"
        if settings.travel is not None:
            self.state = "closed"
            watch = MotorWatch(settings.stall, "cover_failed", self._stopped)
            self._cover = Motion(self, "cover", 0.0, 1 / settings.travel, "cover_aborted", watch)  # 1 is open
            self.actions |= {
                "open": lambda arguments: self._move("open", "opened", 1.0, arguments),
                "close": lambda arguments: self._move("closed", "closed", 0.0, arguments),
                "stop": self._stop,
            }
        if settings.max_brightness:
            self.properties |= {
                "brightness": lambda: ok(self._brightness),
                "max_brightness": lambda: ok(settings.max_brightness),
            }
            self.actions |= {"light": self._light, "dark": self._dark}

    def _move(self, done: str, event: str, end: float, arguments: Arguments) -> DeviceAnswer:
        tag = arguments.tag()
        arguments.end()
        if self.state == done:
            return ok()

        def arrived() -> None:
            self.state = done
            self.event(event, tag=tag)

        answer = self._cover.begin(end, arrived, tag=tag)
        self.state = "moving"
        return answer

    def _stop(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        if self._cover.stop():
            self._stopped()
        return ok()

    def _stopped(self) -> None:
        self.state = "stopped"

    def _light(self, arguments: Arguments) -> DeviceAnswer:
        brightness = arguments.number("brightness", 1, self._settings.max_brightness)
        tag = arguments.tag()
        arguments.end()
        if not brightness.is_integer():
            raise Refused("VALUE", "brightness must be a whole number")
        self._abort_lighting()
        if not self._settings.warm_up or self._brightness:  # a warm lamp is as bright as it is told at once
            self._brightness = int(brightness)
            return ok()

        def lit() -> None:
            self._lighting, self._brightness = None, int(brightness)
            self.event("lit", brightness=self._brightness, tag=tag)

        self._lighting = tag or ""
        self.later("lamp", self._settings.warm_up, lit)
        return busy(self.real(self._settings.warm_up))

    def _dark(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        self._abort_lighting()
        self._brightness = 0
        return ok()

    def _abort_lighting(self) -> None:
        if self._lighting is not None:
            tag, self._lighting = self._lighting or None, None
            self.cancel("lamp")
            self.event("light_aborted", tag=tag)
