"""How a condition's value is held against what a rule wants, and told in words.

A limit on something that is not known (no error radius, no false-alarm rate, no site to tell an altitude) does not
hold, and neither does its opposite: ``not`` of something unknown is unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache
from typing import Any

from pyros.alerts.alert import Alert
from pyros.alerts.events import MapFacts
from pyros.alerts.formats import values
from pyros.alerts.rules import extinction as dust
from pyros.alerts.rules.circumstances import Circumstances, LocalSky, age
from pyros.alerts.rules.readers import DAY_SECONDS, Sum
from pyros.quantities import DURATIONS

MIN_AGE_SECONDS = -600.0
"""An event this many seconds ahead of the observatory's clock is a wrong date, not a fresh event."""
_SPANS = (("d", 2 * DAY_SECONDS), ("h", 7_200.0), ("min", 120.0), ("s", 0.0))
"""Units, and from how many seconds on they are used."""

CheckResult = tuple[bool | None, Any, str]
"""Whether it holds (None: unknown), the value that was looked at, and both in words."""
ConditionCheck = Callable[[Alert, Circumstances, Any], CheckResult]
Value = Callable[[Alert, Circumstances], float | None]
Words = Callable[[float, float], tuple[str, str]]
"""Formats a value and its limit."""


def names(label: str, take: Callable[[Alert, Circumstances], str | tuple[str, ...] | None]) -> ConditionCheck:
    """Make a check of a name, or of several of which one must fit; None means that nothing can be told."""

    def check(alert: Alert, moment: Circumstances, wanted: tuple[str, ...]) -> CheckResult:
        value = take(alert, moment)
        if value is None:
            return None, None, f"{label} unknown"
        return _named(label, value, wanted)

    return check


@lru_cache(maxsize=4096)
def _named(label: str, value: str | tuple[str, ...], wanted: tuple[str, ...]) -> CheckResult:
    """Hold names against those that a rule wants; few come, and they come again and again."""
    there = (value,) if isinstance(value, str) else value
    fits = any(map(_fits(wanted), map(str.lower, there)))
    said = ", ".join(there)
    return fits, value, f"{label} {said}" if fits else f"{label} {said or 'unknown'} is not {' or '.join(wanted)}"


@lru_cache(maxsize=1024)
def _fits(wanted: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    """Return what matches a name in lower case where one of the names, which may have ``*`` and ``?``, fits."""
    return re.compile("|".join(translate(word.lower()) for word in wanted)).match


def field(label: str, name: str) -> ConditionCheck:
    """Make a check of a field of the alert that is a name, or a tuple of names."""
    return names(label, lambda alert, _: getattr(alert, name))


def truth_of(label: str, name: str) -> ConditionCheck:
    """Make a check of a field that is true, false or unknown."""

    def check(alert: Alert, _: Circumstances, wanted: bool) -> CheckResult:
        value = getattr(alert, name)
        words = f"{label}: {'unknown' if value is None else 'yes' if value else 'no'}"
        return None if value is None else value is wanted, value, words

    return check


def limit(label: str, words: Words, take: Value, *, at_most: bool) -> ConditionCheck:
    """Make a check of a number against a limit."""

    def check(alert: Alert, moment: Circumstances, wanted: float) -> CheckResult:
        value = take(alert, moment)
        if value is None:
            return None, None, f"{label} unknown"
        fits = value <= wanted if at_most else value >= wanted
        sign = ("<=" if fits else ">") if at_most else (">=" if fits else "<")
        found, bound = words(value, wanted)
        return fits, value, f"{label} {found} {sign} {bound}"

    return check


def plain(value: float, wanted: float) -> tuple[str, str]:
    """Format two numbers."""
    return f"{value:.4g}", f"{wanted:.4g}"


def in_unit(unit: str) -> Words:
    """Make a format of two numbers of which the limit has its unit."""
    return lambda value, wanted: (f"{value:.4g}", f"{wanted:.4g} {unit}".rstrip())


degrees = in_unit("deg")


def spans(value: float, wanted: float) -> tuple[str, str]:
    """Format two durations in seconds, each in a unit that suits it."""
    return _span(value), _span(wanted)


def _span(seconds: float) -> str:
    for unit, least in _SPANS:
        if seconds >= least:
            return f"{seconds / DURATIONS[unit]:.4g} {unit}"
    return f"{seconds:.4g} s"


def rates(value: float, wanted: float) -> tuple[str, str]:
    """Format two false-alarm rates in Hz, and say how rare the alert is."""
    years = 1 / (value * values.SECONDS_PER_YEAR) if value else math.inf
    often = f"once in {years:.3g} years" if years >= 1 else f"{1 / years:.3g} a year"
    return f"{value:.4g} ({often})", f"{wanted:.4g} Hz"


def young(alert: Alert, moment: Circumstances, wanted: float) -> CheckResult:
    """Check the age; what lies in the future is a wrong date."""
    seconds = age(alert, moment.now)
    if seconds is not None and seconds < MIN_AGE_SECONDS:
        return None, seconds, f"its time lies {-seconds:.0f} s in the future"
    return _at_most_age(alert, moment, wanted)


_at_most_age = limit("age", spans, lambda alert, moment: age(alert, moment.now), at_most=True)


def probable(alert: Alert, _: Circumstances, wanted: dict[str, float]) -> CheckResult:
    """Check that one of the classes is at least that probable."""
    found = {name: alert.classification.get(name) for name in wanted}
    known = {name: value for name, value in found.items() if value is not None}
    fits = any(value >= wanted[name] for name, value in known.items())
    said = ", ".join(f"{name} {'unknown' if value is None else format(value, '.2g')}" for name, value in found.items())
    return fits or (False if known else None), known, f"class {said}"


def probable_together(alert: Alert, _: Circumstances, wanted: tuple[Sum, ...]) -> CheckResult:
    """Check sums of class probabilities; a class that a packet with classes doesn't name has none of it."""
    results: list[bool | None] = []
    words: list[str] = []
    total: float | None = None
    for each in wanted:
        known = [alert.classification[name] for name in each.classes if name in alert.classification]
        total = math.fsum(known) if known else None
        results.append(None if total is None else each.holds(total))
        words.append(f"{each} is unknown" if total is None else f"{' + '.join(each.classes)} = {total:.3g}")
        if not results[-1]:
            if total is not None:
                words[-1] += f", not {each.sign} {each.limit:g}"
            break
    return (True if all(results) else results[-1]), total, "; ".join(words)


def most_probable(alert: Alert, _: Circumstances) -> str | None:
    """Return the class that the author finds most probable; None where it gives no classes."""
    return max(alert.classification, key=alert.classification.__getitem__, default=None)


def measured(name: str) -> Value:
    """Take one of the packet's measurements."""
    return lambda alert, _: alert.measured.get(name)


def duration(alert: Alert, _: Circumstances) -> float | None:
    """Take the burst's duration in seconds, or the time scale at which it was found where that isn't told."""
    return alert.measured.get("duration", alert.measured.get("timescale"))


def declination(alert: Alert, _: Circumstances) -> float | None:
    """Take the declination in degrees."""
    return alert.target[1] if alert.target else None


def latitude(alert: Alert, _: Circumstances) -> float | None:
    """Take the distance from the Milky Way's plane in degrees."""
    return abs(values.galactic_latitude(*alert.target)) if alert.target else None


def extinction(alert: Alert, _: Circumstances) -> float | None:
    """Take the mean visual extinction in magnitudes."""
    return dust.extinction(*alert.target) if alert.target else None


def sun_altitude(_: Alert, moment: Circumstances) -> float | None:
    """Take the Sun's altitude in degrees."""
    return moment.sky.sun_altitude(moment.now) if moment.sky else None


def moon_light(_: Alert, moment: Circumstances) -> float | None:
    """Take the lit share of the Moon; 0 while it is down."""
    return moment.sky.moon_light(moment.now) if moment.sky else None


def of_sky(take: Callable[[LocalSky, float, float, Circumstances], float]) -> Value:
    """Take what the site tells about the position."""

    def value(alert: Alert, moment: Circumstances) -> float | None:
        if moment.sky is None or alert.target is None:
            return None
        return take(moment.sky, *alert.target, moment)

    return value


def time_up(sky: LocalSky, ra: float, dec: float, moment: Circumstances) -> float:
    """Return the seconds until the position sinks below the rule's altitude, a day at most."""
    return min(DAY_SECONDS, sky.time_up(ra, dec, moment.now, moment.min_altitude))


def of_map(take: Callable[[MapFacts], float | None]) -> Value:
    """Take what the event's sky map was measured to say."""

    def value(_: Alert, moment: Circumstances) -> float | None:
        return take(moment.event.map) if moment.event is not None and moment.event.map is not None else None

    return value


def coincident(alert: Alert, moment: Circumstances) -> tuple[str, ...]:
    """Return the missions that saw it too: those found to coincide, of the event, or that the packet names."""
    named = tuple(key.partition(":")[0] for key in alert.related)
    event = moment.event
    if event is None:
        return named
    others = tuple(each for each in event.missions if each != alert.event.partition(":")[0])
    return tuple(dict.fromkeys((*event.coincident, *others, *named)))


def packets(_: Alert, moment: Circumstances) -> float | None:
    """Return how many packets there are of the event."""
    return None if moment.event is None else float(moment.event.packets)
