"""The mechanics of mounts: two axes, what they can reach, and how long they take. Degrees everywhere.

A mount has a frame of its own, with the first coordinate about its main axis: hour angle and declination for the
equatorial ones, azimuth and altitude for the alt-azimuth one. A German mount reaches one direction in two ways, with
its tube on one side of the pier or on the other.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pyros.simulators.celestial import Ground, Hour, SiteCoordinates, Sky, half_turn


class MountFrame(NamedTuple):
    """A direction: hour angle and declination, or azimuth and altitude."""

    first: float
    second: float


class Axes(NamedTuple):
    """How the axes are turned. They count on past 180, and a flipped tube has its second axis beyond the pole."""

    first: float
    second: float
    flipped: bool = False


class Drive(NamedTuple):
    """The motor of an axis: degrees per second, and degrees per second squared (0: at full speed at once)."""

    rate: float
    acceleration: float

    def duration(self, distance: float) -> float:
        """Seconds for so many degrees: speeding up, full speed, slowing down."""
        distance = abs(distance)
        if not self.acceleration:
            return distance / self.rate
        if distance < self.rate**2 / self.acceleration:  # it never comes to full speed
            return 2 * math.sqrt(distance / self.acceleration)
        return distance / self.rate + self.rate / self.acceleration

    def travelled(self, distance: float, elapsed: float) -> float:
        """How many of these degrees are behind it after so many seconds."""
        total, whole = self.duration(distance), abs(distance)
        if elapsed >= total:
            return distance
        if not self.acceleration:
            return distance * elapsed / total
        left = total - elapsed
        ramp = min(self.rate / self.acceleration, total / 2)
        if elapsed < ramp:
            done = self.acceleration * elapsed**2 / 2
        elif left < ramp:
            done = whole - self.acceleration * left**2 / 2
        else:
            done = self.acceleration * ramp**2 / 2 + self.rate * (elapsed - ramp)
        return math.copysign(done, distance)


class Mount:
    """What the three kinds share."""

    def __init__(self, site: SiteCoordinates) -> None:
        self.site = site

    def frame(self, sky: Sky, time: float) -> MountFrame:
        """Return a direction of the sky in the mount's frame at a time (seconds since 1970-01-01 UTC)."""
        return MountFrame(*self.site.hour(sky, time))

    def sky(self, frame: MountFrame, time: float) -> Sky:
        """Return the inverse of ``frame``."""
        return self.site.sky_of(Hour(*frame), time)

    def ground(self, frame: MountFrame) -> Ground:
        """Where a direction of the frame stands above the horizon."""
        return self.site.ground_of(Hour(*frame))

    def frame_of_ground(self, ground: Ground) -> MountFrame:
        """Return the inverse of ``ground``."""
        return MountFrame(*self.site.hour_of(ground))

    def pointing(self, axes: Axes) -> MountFrame:
        """Where the axes point."""
        return over_the_pole(axes.first, axes.second)

    def follow(self, frame: MountFrame, near: Axes) -> Axes:
        """Return the axes for a direction, by the shortest way and on the same side of the pier."""
        return Axes(near.first + half_turn(frame.first - near.first), frame.second)

    def ways(self, frame: MountFrame, near: Axes) -> list[Axes]:
        """How the axes can reach a direction within their own limits, the way that is preferred first."""
        axes = self.follow(frame, near)
        return [] if self.limit(axes) else [axes]

    def limit(self, axes: Axes) -> str:
        """Return the limit of its own that the mount has passed, or nothing."""
        return ""

    def nudged(self, axes: Axes, first: float, second: float) -> Axes:
        """Return the axes after so many degrees to growing coordinates of the frame."""
        return Axes(axes.first + first, max(-90.0, min(90.0, axes.second + second)))


class Equatorial(Mount):
    """On a fork, or any mount without a pier in its way."""


class AltAzimuth(Mount):
    """Azimuth and altitude; near the zenith it cannot follow, and doesn't try above ``zenith_limit``."""

    def __init__(self, site: SiteCoordinates, zenith_limit: float) -> None:
        super().__init__(site)
        self._zenith_limit = zenith_limit

    def frame(self, sky: Sky, time: float) -> MountFrame:
        return self.frame_of_ground(self.site.ground(sky, time))

    def sky(self, frame: MountFrame, time: float) -> Sky:
        return self.site.sky(self.ground(frame), time)

    def ground(self, frame: MountFrame) -> Ground:
        return Ground(frame.second, frame.first % 360)

    def frame_of_ground(self, ground: Ground) -> MountFrame:
        return MountFrame(ground.az, ground.alt)

    def limit(self, axes: Axes) -> str:
        return "zenith" if axes.second > self._zenith_limit else ""


class German(Mount):
    """A tube beside a pier: it may pass the meridian by ``past_meridian`` degrees before it must change sides.

    With its tube in the west (flipped) it looks to the east, and the other way round.
    """

    def __init__(self, site: SiteCoordinates, past_meridian: float) -> None:
        super().__init__(site)
        self._past = past_meridian

    def follow(self, frame: MountFrame, near: Axes) -> Axes:
        # Both sides turn the main axis from a little less than 0 to a little more than 180.
        if near.flipped:
            return Axes(90 + half_turn(frame.first + 90), 180 - frame.second, True)
        return Axes(90 + half_turn(frame.first - 90), frame.second)

    def ways(self, frame: MountFrame, near: Axes) -> list[Axes]:
        sides = [near, Axes(90.0, 90.0, not near.flipped)]
        return [axes for axes in (self.follow(frame, side) for side in sides) if not self.limit(axes)]

    def limit(self, axes: Axes) -> str:
        return "" if -self._past <= axes.first <= 180 + self._past else "meridian"

    def nudged(self, axes: Axes, first: float, second: float) -> Axes:
        return Axes(axes.first + first, axes.second + (-second if axes.flipped else second), axes.flipped)


def over_the_pole(first: float, second: float) -> MountFrame:
    """Return a direction of which the second coordinate may have passed a pole."""
    second = half_turn(second)
    if abs(second) > 90:
        first, second = first + 180, math.copysign(180, second) - second
    return MountFrame(half_turn(first), second)
