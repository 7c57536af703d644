"""A rotator that turns the camera around the optical axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from pyros.clock import Clock
from pyros.simulators.device import Arguments, Refused, SimulatedDevice
from pyros.simulators.grammar import DeviceAnswer, ok
from pyros.simulators.motion import Motion, MotorWatch
from pyros.simulators.settings import Degrees, Settings, Stall


class RotatorSettings(Settings, frozen=True, kw_only=True):
    """A rotator's motor, and how the camera is screwed to it: ``angle`` on the sky at the mechanical angle 0."""

    kind = "rotator"
    can_have = frozenset({"stuck", "wrong_position", "frozen"})

    degrees_per_second: Annotated[float, Meta(gt=0, le=360, description="degrees per second, above 0, at most 360")]
    """Degrees per second."""
    mechanical: Degrees = 0.0
    """Mechanical angle when it is switched on, degrees."""
    angle: Degrees = 0.0
    """Position angle on the sky at the mechanical angle 0, degrees."""
    stall: Stall = 5.0
    """Seconds after its time when a motor that is stuck is given up; None for never."""
    can_reverse: Annotated[bool, Meta(description="true or false")] = True
    """Whether its direction can be reversed."""


class SimulatedRotator(SimulatedDevice):
    """States: idle, moving. It goes the shorter way."""

    positions = frozenset({"angle"})

    def __init__(self, settings: RotatorSettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        super().__init__(settings, clock, emit)
        self.state = "idle"
        self._offset = settings.angle
        """The angle on the sky when the motor is at 0."""
        self._sense = 1
        """-1 when it counts the other way round."""
        watch = MotorWatch(settings.stall, "move_failed", self._rest)
        self._motor = Motion(
            self, "move", settings.mechanical, settings.degrees_per_second, "move_aborted", watch
        )  # goes on beyond 360
        self.properties |= {
            "angle": lambda: ok(_degrees(self._angle)),
            "mechanical": lambda: ok(_degrees(self._motor.position)),
        }
        self.actions |= {"move": self._move, "stop": self._stop, "sync": self._sync}
        if settings.can_reverse:
            self.properties |= {"reverse": lambda: ok(int(self._sense < 0))}
            self.actions |= {"reverse": self._reverse}

    @property
    def _angle(self) -> float:
        return self._offset + self._sense * self._motor.position

    def displaced(self, answer: DeviceAnswer, off: float) -> DeviceAnswer:
        return ok(_degrees(float(answer.line.removeprefix("OK ")) + off))

    def _move(self, arguments: Arguments) -> DeviceAnswer:
        angle = arguments.number("angle", 0, 360)
        tag = arguments.tag()
        arguments.end()
        if not self._motor.moving and _degrees(self._angle) == _degrees(angle):
            return ok()

        def arrived() -> None:
            self._rest()
            self.event("moved", angle=_degrees(angle), tag=tag)

        way = self._sense * ((angle - self._angle + 180) % 360 - 180)
        answer = self._motor.begin(self._motor.position + way, arrived, tag=tag)
        self.state = "moving"
        return answer

    def _stop(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        if self._motor.stop():
            self._rest()
        return ok()

    def _sync(self, arguments: Arguments) -> DeviceAnswer:
        angle = arguments.number("angle", 0, 360)
        arguments.end()
        self._refuse_while_moving()
        self._offset = angle - self._sense * self._motor.position
        return ok()

    def _reverse(self, arguments: Arguments) -> DeviceAnswer:
        on = arguments.flag("on")
        arguments.end()
        self._refuse_while_moving()
        self._sense = -1 if on else 1
        return ok()

    def _refuse_while_moving(self) -> None:
        if self._motor.moving:
            raise Refused("BUSY", "it moves")

    def _rest(self) -> None:
        self.state = "idle"


def _degrees(angle: float) -> str:
    """As answers give it; never 360."""
    return f"{round(angle, 3) % 360:.3f}"
