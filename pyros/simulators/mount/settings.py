"""What a telescope's YAML file says; units stand with the keys."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pyros.simulators.mount.pointing_model import ALTAZIMUTH_TERMS, EQUATORIAL_TERMS
from pyros.simulators.settings import Altitude, Degrees, Seconds, Settings, Strict

MountKind = Literal["equatorial", "german", "altazimuth"]
Flip = Literal["never", "slewing", "always"]

# A union of a limited number and a tuple of fixed length crashes the interpreter (msgspec 0.22).
_Two = Meta(min_length=2, max_length=2)
Rate = Annotated[float, Meta(gt=0, le=360)]
Rates = Annotated[
    Rate | Annotated[tuple[Rate, ...], _Two],
    Meta(description="degrees per second, above 0, at most 360, one number or one for each axis such as [4, 3]"),
]
Acceleration = Annotated[float, Meta(ge=0, le=360)]
Accelerations = Annotated[
    Acceleration | Annotated[tuple[Acceleration, ...], _Two],
    Meta(description="degrees per second squared, 0 (at once) to 360, one number or one for each axis such as [2, 2]"),
]

Azimuth = Annotated[float, Meta(ge=0, lt=360)]
Horizon = Annotated[
    tuple[tuple[Azimuth, Annotated[float, Meta(ge=-90, le=90)]], ...],
    Meta(max_length=720, description="a list of [azimuth, altitude] in degrees such as [[0, 15], [90, 22], [180, 12]]"),
]
Terms = Annotated[
    dict[str, Annotated[float, Meta(ge=-36000, le=36000)]],
    Meta(max_length=20, description="pointing terms in arcseconds, -36000 to 36000, such as {IH: 40, ME: 90, TF: 25}"),
]

_Arcseconds = Annotated[float, Meta(ge=0, le=3600)]
_Drift = Annotated[float, Meta(ge=-36000, le=36000)]


class TrackingError(Strict, frozen=True, kw_only=True):
    """How the mount fails to follow.

    The worm's periodic error is ``amplitude`` arcseconds once in ``period`` seconds; the drift to the east and the
    north is in arcseconds per hour.
    """

    amplitude: _Arcseconds = 0.0
    """Amplitude of the worm's error, arcseconds."""
    period: Annotated[float, Meta(gt=0, le=86400)] = 480.0
    """Period of the worm's error, seconds."""
    drift_east: _Drift = 0.0
    """Arcseconds per hour."""
    drift_north: _Drift = 0.0
    """Arcseconds per hour."""


Tracking = Annotated[
    TrackingError,
    Meta(description="such as {amplitude: 6, period: 480, drift_east: 3, drift_north: -1}: arcseconds, seconds, "
         "arcseconds per hour"),
]  # fmt: skip


class TelescopeSettings(Settings, frozen=True, kw_only=True):
    """A mount with its tube."""

    kind = "telescope"
    can_have = frozenset({"stuck", "wrong_position", "frozen"})

    site: Annotated[str, Meta(min_length=1, description="the site's YAML file, relative to this one")]
    """The site's YAML file, relative to this one."""
    lx200: Annotated[str, Meta(description="a server endpoint such as tcp:6020:interface=127.0.0.1, or nothing")] = ""
    """Server endpoint at which it speaks LX200, in Twisted's words; '' for none."""
    mount: Annotated[MountKind, Meta(description="equatorial (a fork), german, or altazimuth")] = "equatorial"
    """How its axes stand."""
    slew_rate: Rates
    """Degrees per second, of both axes or of each."""
    slew_acceleration: Accelerations = 0.0
    """Degrees per second squared, of both axes or of each; 0 for at once."""
    settle: Seconds = 0.0
    """Time between the end of the movement and that of the slew, seconds."""
    altitude_limit: Altitude = 10.0
    """Least altitude, degrees."""
    horizon: Horizon = ()
    """Azimuth and least altitude of points of the horizon, degrees."""
    meridian_limit: Annotated[
        float, Meta(ge=0, le=60, description="degrees past the meridian, 0 to 60, that a german mount tracks on")
    ] = 5.0
    """How far past the meridian a german mount tracks on, degrees."""
    flip: Annotated[
        Flip,
        Meta(description="when a german mount changes sides: never, slewing, or always (also at the limit by itself)"),
    ] = "slewing"
    """When a german mount changes sides."""
    zenith_limit: Annotated[
        float, Meta(gt=0, le=90, description="degrees of altitude, above 0, at most 90, for an altazimuth mount")
    ] = 90.0
    """Greatest altitude of an altazimuth mount, degrees."""
    park_altitude: Altitude = 90.0
    """Where it parks: altitude, degrees."""
    park_azimuth: Degrees = 0.0
    """Where it parks: azimuth, degrees from north to east."""
    parked: Annotated[bool, Meta(description="true or false: whether it is parked when switched on")] = True
    """Whether it is parked when it is switched on."""
    pointing_noise: Annotated[
        float, Meta(ge=0, le=3600, description="arcseconds of one standard deviation on each axis, 0 to 3600")
    ] = 0.0
    """Standard deviation of where a slew ends, arcseconds on each axis."""
    pointing_terms: Terms = msgspec.field(default_factory=dict)
    """Terms of the pointing model, arcseconds, by name."""
    tracking_error: Tracking = TrackingError()
    """How the mount fails to follow."""

    def contradictions(self) -> list[str]:
        known = ALTAZIMUTH_TERMS if self.mount == "altazimuth" else EQUATORIAL_TERMS
        return [
            f"pointing_terms: {self.mount} mounts have {', '.join(known)}, not {term[:40]!r}"
            for term in self.pointing_terms
            if term not in known
        ]


def each(value: float | tuple[float, ...]) -> tuple[float, ...]:
    """One number for each of the two axes."""
    return value if isinstance(value, tuple) else (value, value)


def horizon_altitude(profile: tuple[tuple[float, float], ...], azimuth: float) -> float:
    """Return the altitude of the horizon there, on straight lines between its points; -90 where there is no profile."""
    if not profile:
        return -90.0
    points = sorted(profile)
    last_azimuth, last_altitude = points[-1]
    before = (last_azimuth - 360, last_altitude)
    for point in [*points, (points[0][0] + 360, points[0][1])]:
        if azimuth <= point[0]:
            span = point[0] - before[0]
            return before[1] + (point[1] - before[1]) * ((azimuth - before[0]) / span if span else 1.0)
        before = point
    return before[1]
