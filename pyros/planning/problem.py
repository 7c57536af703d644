"""Tonight's requests as numbers: from when to when each may be made, how long it takes and what it is worth.

Time is cut into slots. An observation begins with a slot, and takes whole ones: its exposures, readouts and changes of
filter, the mean way of the telescope, the flip where it crosses the meridian. It may begin with a slot when all it asks
of the sky holds until its end.

Its worth, in minutes of priority 0 at the zenith::

    2^(priority / 10) x minutes of exposure x q(airmass in its middle) / (1 + t / decay) x 0.95^(hours from now)
                      x (1 - 0.2 e^(-slack / 2 min))

Without the length, a plan would be of the shortest requests. ``q`` is the signal to noise of a faint star, relative to
the zenith: its light falls by 0.15 magnitudes per airmass (extinction in R at a good site) and is spread by a seeing
that grows as the airmass to the power of 0.6 (Roddier 1981, Progress in Optics 19, 281), so ``q = 10^(-0.06 (X - 1))
X^-0.6``. The decay is that of afterglows, t seconds after the request. The next factor is the chance that the weather
lasts: an assumption, by which the telescope doesn't wait long for what it can do now. The last one is the chance that
what comes before it, and takes longer than planned, doesn't lose it: ``slack`` is how much later it could begin.

Plain Python, callable from any thread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pyros.angles import Floats, wrapped
from pyros.messages import Observation
from pyros.planning.night_sky import NightSky, Tracks, airmasses
from pyros.planning.orbits import place_of

ALERT_DECAY = 1800.0
"""Seconds: the decay of what an alert asks for, when the request doesn't say."""
WEATHER_LASTS = 0.95
"""The chance that what can be observed now can be in an hour."""
LOST_WITHOUT_SLACK = 0.2
"""The chance that a delay loses what is to begin at its last moment, if that isn't now."""
DELAY = 120.0
"""Seconds of delay that are e times less likely than none: focusing, a lost exposure, a slit that is slow."""
Indices = NDArray[np.int32]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Overheads:
    """What the instruments take beside the exposures."""

    slew_speed: float = 4.0
    """Degrees a second, each axis."""
    settle: float = 8.0
    """Seconds from a slew's end to the first exposure."""
    readout: float = 2.0
    """Seconds for each image."""
    filter_change: float = 5.0
    """Seconds."""
    flip: float = 0.0
    """Seconds of a meridian flip; 0 for a mount that needs none."""
    focus: float = 0.0
    """Seconds of a focus run."""
    focus_interval: float = 7200.0
    """Seconds from one focus run to the next."""

    def observation_seconds(self, request: Observation) -> float:
        """Return what is left of a request takes on its target: exposures, readouts, filters, its share of focusing."""
        left = request.remaining()
        images = sum(each.count for each in left)
        seconds = math.fsum(each.count * each.seconds for each in left) + images * self.readout
        seconds += self.filter_change * sum(one.filter != other.filter for one, other in pairwise(left))
        return seconds * (1 + self.focus / self.focus_interval)

    def slew_seconds(self, origin: tuple[float, float], target: tuple[float, float]) -> float:
        """Return the time from one position to another (ICRS degrees), settled, by the axis that has further to go."""
        way = max(abs(wrapped(target[0] - origin[0])), abs(target[1] - origin[1]))
        return way / self.slew_speed + self.settle

    def mean_slew_seconds(self, positions: Sequence[tuple[float, float]]) -> float:
        """Return the mean way from each of many positions to its nearest third: what a plan chooses."""
        if len(positions) < 2:
            return self.settle
        ra, dec = np.array(positions[:200]).T
        ways = np.maximum(np.abs(wrapped(ra[:, None] - ra)), np.abs(dec[:, None] - dec))
        ways.sort(axis=1)
        near = ways[:, 1 : 2 + (len(ways) - 1) // 3]
        return float(near.mean()) / self.slew_speed + self.settle


DEFAULT_OVERHEADS = Overheads()


@dataclass(frozen=True)
class Problem:
    """Requests on the slots of a night: a row for each request, a column for each slot."""

    requests: tuple[Observation, ...]
    """In their order by id."""
    sky: NightSky
    """The night, whose times are the slots' beginnings and the last one's end."""
    tracks: Tracks
    """Where the targets stand at those times."""
    allowed: Booleans
    """Whether all that a request asks for but its time's length holds at each time."""
    length: Indices
    """How many slots it takes when it begins there."""
    value: Floats
    """What it is worth when it begins there; 0 where it can't."""
    seconds: Floats
    """What each takes on its target, without slew and flip."""
    slew: float
    """Seconds of a slew that are part of each length."""

    @property
    def slots(self) -> int:
        """How many slots the night has."""
        return len(self.sky.times) - 1


def make_problem(requests: Sequence[Observation], sky: NightSky, overheads: Overheads, slew: float) -> Problem:
    """Look at requests (without cadences) on the slots of a night. ``slew`` is the seconds of a mean slew."""
    ordered = tuple(sorted(requests, key=lambda each: each.id))
    tracks = _tracks(ordered, sky)
    allowed = _allowed(ordered, sky, tracks)
    seconds = np.array([overheads.observation_seconds(each) for each in ordered])
    slots = len(sky.times) - 1
    columns = np.arange(slots)
    base = np.maximum(1, np.ceil((seconds + slew) / sky.step - 1e-9)).astype(np.int32)
    length = np.repeat(base[:, None], slots, axis=1)
    if overheads.flip:
        longer = np.ceil((seconds + slew + overheads.flip) / sky.step - 1e-9).astype(np.int32)
        ends = np.minimum(columns + longer[:, None], slots)
        crosses = tracks.east[:, :-1] & ~np.take_along_axis(tracks.east, ends, axis=1)
        length = np.where(crosses, longer[:, None], length)
    ends = columns + length
    ok = _good_until(allowed)[:, :-1] >= ends
    for row, request in enumerate(ordered):
        _leave_out_late_starts(ok[row], ends[row], request, sky)
    middle = np.minimum(columns + length // 2, slots)
    quality = np.interp(np.take_along_axis(tracks.sin_altitude, middle, axis=1), *_quality_table())
    value = np.where(ok, quality * np.array([_worth(each) for each in ordered])[:, None], 0.0)
    for row, request in enumerate(ordered):
        if (decay := decay_of(request)) is not None:
            age = sky.times[:-1] - (request.requested or sky.begin)
            value[row] /= 1 + np.maximum(age, 0.0) / decay
    value *= WEATHER_LASTS ** ((sky.times[:-1] - sky.begin) / 3600)
    kept = 1 - LOST_WITHOUT_SLACK * np.exp(-np.arange(slots) * sky.step / DELAY)  # by slots of slack
    slack = np.maximum(_good_until(ok) - columns, 0)
    value[:, 1:] *= kept[slack][:, 1:]
    # Rounded, so that processors whose sines differ in the last digit make the same plans.
    value = np.round(value, 6).astype(np.float64)
    return Problem(ordered, sky, tracks, allowed, length, value, seconds, slew)


def qualities(airmass: Floats) -> Floats:
    """Return the signal to noise of a faint star relative to the zenith, by the airmass."""
    result: Floats = 10 ** (-0.06 * (airmass - 1)) * airmass**-0.6
    return result


@cache
def _quality_table() -> tuple[Floats, Floats]:
    """Return `qualities` by the sines of altitudes from 0 to 90 degrees, good to 0.01 %; powers take their time."""
    sines = np.sin(np.radians(np.concatenate([np.arange(0.0, 15.0, 0.05), np.arange(15.0, 90.0, 0.25), [90.0]])))
    return sines, qualities(airmasses(sines))


def decay_of(request: Observation) -> float | None:
    """Return the seconds in which a request's worth falls to half; None for one that has no hurry."""
    if request.decay is None and request.alert:
        return ALERT_DECAY
    return request.decay


def _worth(request: Observation) -> float:
    """Return what is left of a request is worth at the zenith."""
    minutes = math.fsum(each.count * each.seconds for each in request.remaining()) / 60
    return float(2.0 ** (request.priority / 10)) * minutes


def _tracks(requests: tuple[Observation, ...], sky: NightSky) -> Tracks:
    tracks = sky.fixed_tracks([(each.ra, each.dec) for each in requests])
    for row, request in enumerate(requests):
        if request.orbit is not None:
            track = sky.moving_track(partial(place_of, sky.site, request.orbit))
            for name in ("sin_altitude", "above", "east", "cos_moon"):
                getattr(tracks, name)[row] = getattr(track, name)[0]
    return tracks


def limits(request: Observation) -> tuple[float, float]:
    """Return the sine of the least altitude that a request asks for by altitude, and its greatest airmass."""
    return math.sin(math.radians(request.min_altitude)), request.constraints.max_airmass or math.inf


def _allowed(requests: tuple[Observation, ...], sky: NightSky, tracks: Tracks) -> Booleans:
    """Return whether each request's wishes are fulfilled at each time."""
    lowest, thickest = (np.array([limits(each)[part] for each in requests]).reshape(-1, 1) for part in (0, 1))
    allowed: Booleans = tracks.above & (tracks.sin_altitude >= lowest) & (tracks.airmass <= thickest)
    moon_up = sky.moon_altitude > 0
    for row, request in enumerate(requests):
        allowed[row] &= dark(request, sky)
        constraints = request.constraints
        if constraints.moon_distance:
            near = tracks.cos_moon[row] > math.cos(math.radians(constraints.moon_distance))
            allowed[row] &= ~(near & moon_up)
        if constraints.moon_illumination < 1:
            allowed[row] &= ~(moon_up & (sky.moon_illumination > constraints.moon_illumination))
        if request.windows:
            allowed[row] &= in_windows(request, sky)
        if request.not_before is not None:
            allowed[row] &= sky.times >= request.not_before
    return allowed


def dark(request: Observation, sky: NightSky) -> Booleans:
    """Return when it is dark enough for a request."""
    limit = request.constraints.sun_altitude
    return sky.sun_altitude < (sky.site.twilight if limit is None else min(limit, sky.site.twilight))


def in_windows(request: Observation, sky: NightSky) -> Booleans:
    """Return which times lie within the request's windows."""
    inside = np.zeros(len(sky.times), dtype=bool)
    for window in request.windows:
        inside |= (sky.times >= window.begin) & (sky.times <= window.end)
    return inside


def _leave_out_late_starts(ok: Booleans, ends: Indices, request: Observation, sky: NightSky) -> None:
    """Leave out, in ``ok``, beginnings after the request has expired, or whose end lies in another window."""
    if request.expires is not None:
        ok &= sky.times[:-1] <= request.expires
    if len(request.windows) > 1:  # two of them may touch, or both lie between two times
        inside = np.zeros_like(ok)
        last = sky.times[np.minimum(ends, len(sky.times) - 1)]
        for window in request.windows:
            inside |= (sky.times[:-1] >= window.begin) & (last <= window.end)
        ok &= inside


def _good_until(allowed: Booleans) -> Indices:
    """Return for each time the last one of an unbroken run of allowed ones from there; -1 where it isn't allowed."""
    columns = np.arange(allowed.shape[1], dtype=np.int32)
    bad = np.where(allowed, np.int32(allowed.shape[1]), columns)
    next_bad = np.minimum.accumulate(bad[:, ::-1], axis=1)[:, ::-1]
    return np.where(allowed, next_bad - 1, -1).astype(np.int32)
