"""What every driver of a rotator offers; how its methods end stands in `pyros.instruments.interfaces`."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from pyros.instruments.interfaces import Instrument, MotorState, Started


class Rotator(Instrument, Protocol):
    """A rotator turns the camera around the optical axis. Angles are degrees, 0 to 360 (360 itself excluded)."""

    def move(self, angle: float, started: Started | None = None) -> Deferred[float]:
        """Turn to a position angle on the sky; fires with the angle measured.

        The angle is taken around the circle: 370 is 10. A move under way ends with `CommandAborted`.
        """
        ...

    def stop(self) -> Deferred[None]:
        """Stop; a move under way ends with `CommandAborted`."""
        ...

    def sync(self, angle: float) -> Deferred[None]:
        """Tell the rotator that it stands at this position angle on the sky now, whatever its mechanical angle is."""
        ...

    def angle(self) -> Deferred[float]:
        """Position angle on the sky."""
        ...

    def mechanical(self) -> Deferred[float | None]:
        """Angle of the motor, which `sync` doesn't change; None where the device doesn't tell."""
        ...

    def reverse(self, on: bool) -> Deferred[None]:
        """Count angles the other way round. Refused (UNSUPPORTED) by a device that cannot."""
        ...

    def reversed(self) -> Deferred[bool | None]:
        """Whether it counts the other way round; None for a device that cannot."""
        ...

    def state(self) -> Deferred[MotorState]: ...
