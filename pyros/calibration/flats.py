"""Flats: how long the next exposure must be, whether to wait, and through which filter.

The light of the twilight falls (in the evening) or rises by half in some three minutes: by 2.9 at La Palma between 10
and 35 minutes after sunset, in every filter (ING, "Twilight sky brightness", 2013; Tyson & Gal 1993, AJ 105, 1206,
found the same). So

    next exposure = time x target / counts x 2^(+-dt / 180 s)       dt: between the middles of the two exposures

where + holds in the evening. What two exposures through one filter have shown replaces the 180 s, within reason. In the
evening the narrow filters come first, while there is much light, in the morning last; one for which it is too dark
(in the morning: too bright) already is left out, for it only gets worse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import timedelta

import msgspec

LATER = timedelta(minutes=5)
"""After which the Sun is higher in the morning and lower in the evening."""
HALVING_SECONDS = 180.0
"""In which the light of the twilight halves, or doubles, until it was measured."""
TOLERANCE = 0.1
"""Share of the level asked by which a flat may be off; others are not kept."""
FIRST_SECONDS = 1.0
"""Exposure time of the first test frame."""
MAX_TRIES = 6
"""Flats in a row that may miss the level, through one filter."""
STALE_SECONDS = 75.0
"""After which a test frame is taken before the next flat."""
_FASTEST, _SLOWEST = 60.0, 900.0
_MAX_CHANGE = 30.0
_BRIGHT_SHARE = 1.6
_LEAST_COUNTS = 20.0
_FAINT_SHARE = 0.02
_MOST_TEST_SECONDS = 15.0
_OVERHEAD_SECONDS = 8.0
_WAIT_SECONDS = (5.0, 120.0)
_NARROW = re.compile(r"(?i)h[-_ ]?(a|alpha|b|beta)\b|o[-_ ]?iii|s[-_ ]?ii|n[-_ ]?ii|\d{3,4}|narrow")
_ORDER = "uvyxzbwgirl"
_UNKNOWN = 0.5


class TwilightSky(msgspec.Struct, frozen=True):
    """The light that an exposure has measured."""

    middle: float
    """Of the exposure, Unix seconds."""
    rate: float
    """ADU a second above the bias."""
    counts: float
    """ADU above the bias."""


class Flats(msgspec.Struct):
    """How far flats are."""

    filters: list[str]
    """Those to be taken yet, the present one first; '' where there is no filter."""
    level: float
    """The level asked, ADU above the bias."""
    least: float
    """The shortest exposure, seconds."""
    most: float
    """The longest exposure, seconds."""
    rising: bool | None = None
    """Whether the sky gets brighter: in the morning. None for a lamp, whose light stays."""
    bias: float | None = None
    """Level of a bias, ADU; None before it was measured."""
    halving: float = HALVING_SECONDS
    """Seconds in which the light halves or doubles."""
    sky: TwilightSky | None = None
    """What the last exposure through the present filter has measured; None before a test frame."""
    tries: int = 0
    """Exposures through the present filter since the last flat that was kept."""
    taken: int = 0
    """Flats through the present filter that were kept."""
    test: bool = False
    """Whether the exposure under way is a test frame."""
    missing: list[str] = []
    """Why flats are missing."""


class FlatExposure(msgspec.Struct, frozen=True):
    """Take an exposure of so many seconds; one that isn't kept is a test frame."""

    seconds: float
    keep: bool = True


class Wait(msgspec.Struct, frozen=True):
    """Wait so many seconds for the light."""

    seconds: float


class Skip(msgspec.Struct, frozen=True):
    """Leave the rest of the present filter out."""

    reason: str


def in_order(filters: Sequence[str], narrow_first: Sequence[str], *, rising: bool | None) -> list[str]:
    """Return the filters as they are taken: narrow ones first in the evening, last in the morning.

    ``narrow_first`` names some or all from the narrowest on; the others are judged by their names.
    """
    known = {name: number - len(narrow_first) - 2.0 for number, name in enumerate(narrow_first)}
    ordered = sorted(dict.fromkeys(filters), key=lambda name: known.get(name, _width(name)))
    return ordered[::-1] if rising else ordered


def _width(name: str) -> float:
    """Return a number that grows with the light that a filter of that name lets through, by the field's habits."""
    if _NARROW.search(name):
        return -1.0
    letter = name[:1].lower()
    return _ORDER.index(letter) / len(_ORDER) if letter and letter in _ORDER else _UNKNOWN


def following(flats: Flats, now: float) -> FlatExposure | Wait | Skip:
    """Return what is to be done next for the present filter, at Unix seconds ``now``."""
    if flats.tries >= MAX_TRIES:
        return Skip(f"the level was missed {flats.tries} times")
    first = min(max(FIRST_SECONDS, flats.least), flats.most)
    if flats.sky is None:
        return FlatExposure(first, keep=False)
    seconds = exposure(flats, now)
    old = flats.rising is not None and now - flats.sky.middle > STALE_SECONDS
    faint = flats.sky.counts < _FAINT_SHARE * flats.level and seconds <= flats.most
    if old or faint:
        return FlatExposure(min(max(first, seconds / 4), _MOST_TEST_SECONDS, flats.most), keep=False)
    if flats.least <= seconds <= flats.most:
        return FlatExposure(seconds)
    return _out_of_reach(flats, seconds)


def _out_of_reach(flats: Flats, seconds: float) -> Wait | Skip:
    """Wait for the light where it is on its way to the level; else leave the filter out."""
    bright = seconds < flats.least
    if flats.rising is not bright and flats.rising is not None:
        patience = flats.halving * abs(math.log2(seconds / (flats.least if bright else flats.most)))
        return Wait(min(max(patience, _WAIT_SECONDS[0]), _WAIT_SECONDS[1]))
    return Skip("it is too bright" if bright else "it is too dark")


def exposure(flats: Flats, now: float) -> float:
    """Return the exposure time, seconds, that reaches the level when it begins some seconds after ``now``."""
    assert flats.sky is not None
    seconds = flats.level / flats.sky.rate
    for _ in range(20):
        middle = now + _OVERHEAD_SECONDS / 2 + min(seconds, flats.most) / 2
        seconds = flats.level / light(flats, middle)
    return seconds


def light(flats: Flats, when: float) -> float:
    """Return the rate (ADU a second) that is expected at that time."""
    assert flats.sky is not None
    if flats.rising is None:
        return flats.sky.rate
    doublings = (when - flats.sky.middle) / flats.halving
    return flats.sky.rate * 2 ** max(-_MAX_CHANGE, min(_MAX_CHANGE, doublings if flats.rising else -doublings))


def add(
    flats: Flats, seconds: float, started: float, median: float, saturated: float, *, kept: bool, test: bool = False
) -> None:
    """Take what a flat or a test frame has shown; ``median`` is that of its pixels, bias included."""
    assert flats.bias is not None
    counts = max(median - flats.bias, _LEAST_COUNTS)
    if saturated > 0.5:
        counts = max(counts, _BRIGHT_SHARE * flats.level)
    seen = TwilightSky(started + seconds / 2, counts / seconds, counts)
    before, flats.sky = flats.sky, seen
    flats.tries += 0 if test else 1
    if kept:
        flats.taken += 1
        flats.tries = 0
    if before is not None and flats.rising is not None and seen.middle - before.middle > 10 and saturated < 0.01:
        change = math.log2(seen.rate / before.rate) * (1 if flats.rising else -1)
        if change > 0:
            measured = (seen.middle - before.middle) / change
            flats.halving = math.sqrt(flats.halving * min(max(measured, _FASTEST), _SLOWEST))


def window(flats: Flats) -> tuple[float, float]:
    """Return the medians, ADU with the bias, between which a flat is kept."""
    assert flats.bias is not None
    return flats.bias + (1 - TOLERANCE) * flats.level, flats.bias + (1 + TOLERANCE) * flats.level


def next_filter(flats: Flats) -> None:
    """Go on to the next filter; what the last has shown of the twilight's pace stays."""
    flats.filters.pop(0)
    flats.sky, flats.tries, flats.taken = None, 0, 0
