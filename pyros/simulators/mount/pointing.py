"""Where a simulated telescope points: what its mount believes, and where the optics really look.

The mount is in one of four modes: standing still under a moving sky, following a point of the sky, moving to a place,
or being pushed along by hand. It knows its axes and what it was synchronised to; it doesn't know its flexure and how it
fails to track.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyros.clock import Clock
from pyros.simulators.celestial import Ground, SiteCoordinates, Sky, half_turn, offset
from pyros.simulators.mount.mechanics import (
    AltAzimuth,
    Axes,
    Drive,
    Equatorial,
    German,
    Mount,
    MountFrame,
    over_the_pole,
)
from pyros.simulators.mount.pointing_model import optics, periodic_error, shifted
from pyros.simulators.mount.settings import TelescopeSettings, each, horizon_altitude


@dataclass(frozen=True)
class Still:
    """The axes don't move."""

    axes: Axes


@dataclass(frozen=True)
class Following:
    """A point of the sky is followed; the axes were ``near`` when that began."""

    sky: Sky
    near: Axes


@dataclass(frozen=True)
class Moving:
    """On the way to a point of the sky, or to axes that stay where they are. Times are the device clock's."""

    start: Axes
    end: Axes
    sky: Sky | None
    began: float
    travel: float


@dataclass(frozen=True)
class Nudged:
    """Pushed along by so many degrees per second of the mount's frame, from what it did before."""

    base: Still | Following
    first: float
    second: float
    began: float


class Aim:
    """The mount's mode and what follows from it; no timers, and nothing is ever refused here."""

    def __init__(self, settings: TelescopeSettings, site: SiteCoordinates, clock: Clock, device_clock: Clock) -> None:
        self._settings = settings
        self._clock, self._device_clock = clock, device_clock
        self._equatorial = settings.mount != "altazimuth"
        self.mount = _mount(settings, site)
        rates, accelerations = each(settings.slew_rate), each(settings.slew_acceleration)
        self._drives = [Drive(*motor) for motor in zip(rates, accelerations, strict=True)]
        self._sync = MountFrame(0.0, 0.0)
        self._drifting: float | None = None  # since when
        self._drifted = (0.0, 0.0)  # degrees to the east and the north
        park = self.mount.frame_of_ground(Ground(settings.park_altitude, settings.park_azimuth))
        # A German mount stands with its tube in the west when it looks to the east.
        near = Axes(park.first, park.second, settings.mount == "german" and park.first < 0)
        self.park_axes = self.mount.follow(park, near)
        self.mode: Still | Following | Moving | Nudged = Still(self.park_axes)

    # Where it points.

    def axes(self) -> Axes:
        """How the axes are turned at this moment."""
        match self.mode:
            case Still() | Following() as mode:
                return self._base_axes(mode)
            case Nudged() as mode:
                elapsed = self._device_clock.monotonic() - mode.began
                return self.mount.nudged(self._base_axes(mode.base), mode.first * elapsed, mode.second * elapsed)
            case Moving() as mode:
                elapsed = self._device_clock.monotonic() - mode.began
                if elapsed < mode.travel:
                    return self._on_the_way(mode, elapsed)
                return mode.end if mode.sky is None else self._followed(mode.sky, mode.end)

    def reported(self) -> Sky:
        """Return what the mount says, ICRS."""
        return self.mount.sky(self.frame(), self._clock.time())

    def true(self) -> Sky:
        """Where the optics look, ICRS."""
        axes, error = self.axes(), self._settings.tracking_error
        frame = optics(self.mount, axes, self._settings.pointing_terms, self._equatorial)
        if error.amplitude:
            frame = shifted(frame, periodic_error(axes, error.amplitude / 3600, error.period), 0.0)
        sky = self.mount.sky(frame, self._clock.time())
        east, north = self._drift()
        return offset(sky, east, north) if east or north else sky

    def frame(self) -> MountFrame:
        """Return what the mount says, in its own frame."""
        return self._said(self.axes())

    def ground(self) -> Ground:
        """Return what the mount says, above the horizon."""
        return self.mount.ground(self.frame())

    # What it can reach.

    def ways(self, sky: Sky) -> list[Axes]:
        """Return the axes that would point there now, the way that is preferred first."""
        return self.mount.ways(self._demanded(sky, self._clock.time()), self.axes())

    def broken_limit(self) -> str:
        """Return the limit that it has passed: altitude, meridian, zenith, or nothing."""
        ground = self.ground()
        return "altitude" if ground.alt < self.lowest(ground.az) else self.mount.limit(self.axes())

    def lowest(self, azimuth: float) -> float:
        """Return the lowest altitude that is allowed there, degrees."""
        return max(self._settings.altitude_limit, horizon_altitude(self._settings.horizon, azimuth))

    # What it does.

    def move(self, sky: Sky, way: Axes) -> float:
        """Begin to move to a point of the sky, on the side of the pier of ``way``; returns the seconds it will take."""
        start = self.axes()
        end, travel = way, 0.0
        for _ in range(5):  # the sky moves on while the mount moves; this is settled after two or three
            arrival = self._clock.time() + travel / self._settings.speed
            frame = self._demanded(sky, arrival)
            end = self.mount.follow(frame, replace_side(start, way))
            travel = self._travel(start, end)
        return self._begin(Moving(start, end, sky, self._device_clock.monotonic(), travel))

    def park(self) -> float:
        """Begin to move to the park position; returns the seconds it will take."""
        start, end = self.axes(), self.park_axes
        if self._settings.mount != "german":
            end = Axes(start.first + half_turn(end.first - start.first), end.second)
        return self._begin(Moving(start, end, None, self._device_clock.monotonic(), self._travel(start, end)))

    def stand_still(self) -> None:
        """Stop every motion."""
        axes = self.axes()
        self._drifted, self._drifting = self._drift(), None
        self.mode = Still(axes)

    def track(self) -> None:
        """Follow what is there from now on; at the end of a movement that is the point it went to."""
        axes = self.axes()
        sky = self.mode.sky if isinstance(self.mode, Moving) and self.mode.sky else self.reported()
        self._drifted, self._drifting = self._drift(), self._clock.time()
        self.mode = Following(sky, axes)

    def nudge(self, first: float, second: float) -> None:
        """Push it along; what it did before goes on beneath."""
        if isinstance(self.mode, Nudged):
            self.settle()
        base = self.mode if isinstance(self.mode, Still | Following) else Still(self.axes())
        self.mode = Nudged(base, first, second, self._device_clock.monotonic())

    def settle(self) -> bool:
        """Stop pushing it; whether it follows the sky then."""
        if isinstance(self.mode, Nudged):
            if isinstance(self.mode.base, Following):
                self.track()
            else:
                self.stand_still()
        return isinstance(self.mode, Following)

    def synchronise(self, sky: Sky) -> None:
        """From now on the axes as they are mean this point of the sky."""
        raw = self.mount.pointing(self.axes())
        said = self.mount.frame(sky, self._clock.time())
        self._sync = MountFrame(half_turn(said.first - raw.first), said.second - raw.second)
        if isinstance(self.mode, Following):
            self.mode = replace(self.mode, sky=sky)

    @property
    def rates(self) -> tuple[float, float]:
        """The fastest that the axes turn, degrees per second."""
        first, second = self._drives
        return first.rate, second.rate

    @property
    def offset(self) -> MountFrame:
        """What synchronising adds to the axes, degrees of the mount's frame."""
        return self._sync

    def _begin(self, moving: Moving) -> float:
        self._drifted, self._drifting = (0.0, 0.0), None
        self.mode = moving
        return moving.travel

    def _travel(self, start: Axes, end: Axes) -> float:
        first, second = self._drives
        return max(first.duration(end.first - start.first), second.duration(end.second - start.second))

    def _on_the_way(self, mode: Moving, elapsed: float) -> Axes:
        first, second = (
            begin + drive.travelled(end - begin, elapsed)
            for begin, end, drive in zip(mode.start[:2], mode.end[:2], self._drives, strict=True)
        )
        # A tube that changes sides counts as on its new one once its declination axis has passed the pole.
        flipped = mode.end.flipped if mode.start.flipped == mode.end.flipped else second > 90
        return Axes(first, second, flipped)

    def _base_axes(self, mode: Still | Following) -> Axes:
        return mode.axes if isinstance(mode, Still) else self._followed(mode.sky, mode.near)

    def _followed(self, sky: Sky, near: Axes) -> Axes:
        return self.mount.follow(self._demanded(sky, self._clock.time()), near)

    def _demanded(self, sky: Sky, time: float) -> MountFrame:
        """Where in its own frame the mount must go for a point of the sky, as far as it knows."""
        frame = self.mount.frame(sky, time)
        return over_the_pole(frame.first - self._sync.first, frame.second - self._sync.second)

    def _said(self, axes: Axes) -> MountFrame:
        frame = self.mount.pointing(axes)
        return over_the_pole(frame.first + self._sync.first, frame.second + self._sync.second)

    def _drift(self) -> tuple[float, float]:
        if self._drifting is None:
            return self._drifted
        hours = (self._clock.time() - self._drifting) / 3600
        error = self._settings.tracking_error
        east, north = self._drifted
        return east + error.drift_east * hours / 3600, north + error.drift_north * hours / 3600


def replace_side(axes: Axes, side: Axes) -> Axes:
    """Return the axes, on the other's side of the pier."""
    return axes._replace(flipped=side.flipped)


def _mount(settings: TelescopeSettings, site: SiteCoordinates) -> Mount:
    if settings.mount == "altazimuth":
        return AltAzimuth(site, settings.zenith_limit)
    return German(site, settings.meridian_limit) if settings.mount == "german" else Equatorial(site)
