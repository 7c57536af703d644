"""A focuser whose best position moves with the temperature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from pyros.clock import Clock
from pyros.simulators.device import Arguments, Refused, SimulatedDevice
from pyros.simulators.grammar import DeviceAnswer, ok
from pyros.simulators.motion import Motion, MotorWatch
from pyros.simulators.settings import NotNegative, Settings, Stall, Temperature
from pyros.simulators.smooth_noise import SmoothNoise

_Steps = Annotated[int, Meta(ge=-10_000_000, le=10_000_000, description="steps, a whole number")]


class FocuserSettings(Settings, frozen=True, kw_only=True):
    """A focuser, the tube that grows with the temperature, and how fast the image gets worse beside the focus.

    The best position is ``best_focus`` at ``reference_temperature`` and ``steps_per_degree`` more for every degree
    Celsius above it. A star is blurred by ``defocus_per_step`` arcseconds (FWHM) for each step beside it. With
    ``temperature: null`` it has no sensor; the tube is at ``reference_temperature`` then.
    """

    kind = "focuser"
    can_have = frozenset({"stuck", "wrong_position", "frozen"})

    limits: Annotated[
        tuple[_Steps, _Steps], Meta(description="the least and the greatest position, in steps, such as [0, 50000]")
    ]
    """Least and greatest position, steps."""
    position: _Steps
    """Where it stands when it is switched on, steps."""
    steps_per_second: Annotated[float, Meta(gt=0, le=1e7, description="steps per second, above 0")]
    """Steps per second."""
    backlash: Annotated[int, Meta(ge=0, le=1_000_000, description="steps lost when it turns round, 0 or more")] = 0
    """Steps that are lost when it turns round."""
    stall: Stall = 5.0
    """Seconds after its time when a motor that is stuck is given up; None for never."""
    best_focus: _Steps
    """Position of the best focus at ``reference_temperature``, steps."""
    reference_temperature: Temperature = 10.0
    """Degrees Celsius."""
    steps_per_degree: Annotated[
        float, Meta(ge=-1e6, le=1e6, description="steps per degree Celsius; negative where the focus moves inwards")
    ] = 0.0
    """How the best focus moves, steps per degree Celsius."""
    defocus_per_step: Annotated[float, Meta(ge=0, le=100, description="arcseconds FWHM per step, 0 to 100")] = 0.0
    """Blur of a star, arcseconds (FWHM) per step beside the best focus."""
    temperature: Annotated[
        Temperature | None, Meta(description="degrees Celsius, -90 to 60, or null for no sensor")
    ] = 10.0
    """The tube's at the start, degrees Celsius; None for no sensor."""
    temperature_drift: Annotated[
        float, Meta(ge=-1000, le=1000, description="degrees Celsius per hour, such as -0.8 in the evening")
    ] = 0.0
    """Degrees Celsius per hour."""
    temperature_noise: NotNegative = 0.0
    """Standard deviation of the tube's temperature, degrees Celsius."""

    def contradictions(self) -> list[str]:
        least, most = self.limits
        if least >= most:
            return [f"limits: the least position must be below the greatest, not {least} and {most}"]
        return [
            f"{key}: must be within the limits of {least} to {most}, not {value}"
            for key, value in (("position", self.position), ("best_focus", self.best_focus))
            if not least <= value <= most
        ]


class SimulatedFocuser(SimulatedDevice):
    """States: idle, moving.

    The screw has play: the tube follows only when the play is used up, so that a position reached from above and from
    below is not quite the same focus.
    """

    def __init__(self, settings: FocuserSettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        super().__init__(settings, clock, emit)
        self.state = "idle"
        self._settings = settings
        self._start = self.device_clock.monotonic()
        self._noise = SmoothNoise(settings.seed, "temperature", settings.temperature_noise)
        watch = MotorWatch(settings.stall, "move_failed", self._rest)
        self._screw = Motion(self, "move", settings.position, settings.steps_per_second, "move_aborted", watch)
        self._tube = float(settings.position)
        self.properties |= {
            "position": lambda: ok(self._position),
            "limits": lambda: ok(*settings.limits),
            "defocus": lambda: ok(f"{self._defocus():.4f}"),
        }
        if settings.temperature is not None:
            self.properties |= {"temperature": lambda: ok(f"{self._temperature():.2f}")}
        self.actions |= {"move": self._move, "stop": self._stop}

    @property
    def _position(self) -> int:
        return round(self._screw.position)

    def _temperature(self) -> float:
        """Of the tube, degrees Celsius."""
        settings = self._settings
        if settings.temperature is None:
            return settings.reference_temperature
        elapsed = self.device_clock.monotonic() - self._start
        return settings.temperature + settings.temperature_drift * elapsed / 3600 + self._noise.at(elapsed)

    def _defocus(self) -> float:
        """Return the blur of a star, arcseconds FWHM."""
        settings = self._settings
        warmer = self._temperature() - settings.reference_temperature
        best = settings.best_focus + settings.steps_per_degree * warmer
        return abs(self._follow() - best) * settings.defocus_per_step

    def _follow(self) -> float:
        """Where the tube is: between the screw and the screw less its play, and moved only when it must."""
        screw = self._screw.position
        self._tube = min(max(self._tube, screw - self._settings.backlash), screw)
        return self._tube

    def _move(self, arguments: Arguments) -> DeviceAnswer:
        target = arguments.number("position", -1e9, 1e9)
        tag = arguments.tag()
        arguments.end()
        least, most = self._settings.limits
        if not target.is_integer():
            raise Refused("VALUE", "position must be a whole number of steps")
        if not least <= target <= most:
            raise Refused("LIMIT", f"position {target:.0f} is beyond the limits of {least} to {most}")
        self._follow()
        if not self._screw.moving and self._position == target:
            return ok()

        def arrived() -> None:
            self._rest()
            self.event("moved", position=self._position, tag=tag)

        self.state = "moving"
        return self._screw.begin(target, arrived, tag=tag)

    def _stop(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        if self._screw.stop():
            self._rest()
        return ok()

    def _rest(self) -> None:
        self._follow()
        self.state = "idle"
