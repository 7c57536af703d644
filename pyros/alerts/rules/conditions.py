"""What a rule can ask of an alert: one row a condition, with how its value is read and how it is judged.

A limit on something that is not known (no error radius, no false-alarm rate, no site to tell an altitude) does not
hold, and neither does its opposite: ``not`` of something unknown is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Protocol, get_args

import msgspec

from pyros.alerts.alert import Alert, Kind
from pyros.alerts.formats import values
from pyros.quantities import ANGLES, DURATIONS, ValueReader, quantity

MIN_AGE_SECONDS = -600.0
"""An event this many seconds ahead of the observatory's clock is a wrong date, not a fresh event."""

_ROLES = ("observation", "prediction")
_DAY = 86_400.0
_SPANS = (("d", 2 * _DAY), ("h", 7_200.0), ("min", 120.0), ("s", 0.0))
"""Units, and from how many seconds on they are used."""


class LocalSky(Protocol):
    """A site's answers about a position (ICRS degrees) at a moment; the caller of the rules gives it."""

    def altitude(self, ra: float, dec: float, when: datetime) -> float:
        """Return degrees above the horizon."""

    def time_up(self, ra: float, dec: float, when: datetime, min_altitude: float) -> float:
        """Return seconds until the position sinks below that altitude in degrees: 0 if it isn't up, a day if never."""

    def moon_distance(self, ra: float, dec: float, when: datetime) -> float:
        """Return degrees from the Moon, which may be below the horizon."""

    def sun_altitude(self, when: datetime) -> float:
        """Return the Sun's degrees above the horizon, negative at night."""


class Circumstances(msgspec.Struct, frozen=True):
    """The moment and the place at which a rule is asked."""

    now: datetime
    """The moment, UTC."""
    sky: LocalSky | None = None
    """The sky over the site; None where no site is named."""
    min_altitude: float = 0.0
    """The rule's own, degrees."""


class ConditionResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition and what came of it."""

    condition: str
    """The condition's name."""
    holds: bool | None
    """None: what it asks for is not known, so it doesn't hold."""
    value: Any = None
    """What was looked at, in the unit of ``wanted``."""
    wanted: Any = None
    """What the rule asks for."""
    words: str = ""
    """What was found, for people."""
    parts: tuple[ConditionResult, ...] = ()
    """Of ``any`` and ``not``: the conditions in them that were looked at."""


CheckResult = tuple[bool | None, Any, str]
"""Whether it holds (None: unknown), the value that was looked at, and both in words."""
ConditionCheck = Callable[[Alert, Circumstances, Any], CheckResult]
_Value = Callable[[Alert, Circumstances], float | None]


class ConditionSpec(msgspec.Struct, frozen=True):
    """One condition that a rule may use."""

    read: ValueReader
    """From what YAML gave to what ``check`` wants; raises ValueError in words."""
    check: ConditionCheck
    """Asks whether it holds, and says what was found."""
    selects: bool = False
    """True where it chooses which alerts the rule is about at all: a miss isn't worth telling."""
    sky: bool = False
    """Whether it needs to know the site."""


ANGLE = quantity(ANGLES, 0.0, 180.0)
DURATION = quantity(DURATIONS, 0.0, 3650 * _DAY)
PATIENCE = quantity(DURATIONS, 1.0, 3650 * _DAY)
RATE = quantity(
    {
        "Hz": 1.0,
        "per year": 1 / values.SECONDS_PER_YEAR,
        "per month": 12 / values.SECONDS_PER_YEAR,
        "per day": 1 / 86_400,
    },
    0.0,
    1e9,
)
FRACTION = quantity({"": 1.0}, 0.0, 1.0)
ALTITUDE = quantity({"deg": 1.0}, 0.0, 90.0)
_LATITUDE = quantity(ANGLES, 0.0, 90.0)
_SUN = quantity({"deg": 1.0}, -90.0, 90.0)


def _globs(value: Any) -> tuple[str, ...]:
    words = value if isinstance(value, list) else [value]
    if not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError(f"must be a name or a list of names (with * for any letters), not {value!r}")
    return tuple(words)


def _one_of(allowed: tuple[str, ...], never: str) -> ValueReader:
    def read(value: Any) -> tuple[str, ...]:
        words = value if isinstance(value, list) else [value]
        if not words or any(word not in allowed for word in words):
            raise ValueError(f"must be of {', '.join(allowed)} ({never}), not {value!r}")
        return tuple(words)

    return read


_KINDS = tuple(kind for kind in get_args(Kind) if kind != "retraction")


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return value


def _name(label: str, field: str) -> ConditionCheck:
    def check(alert: Alert, _: Circumstances, wanted: tuple[str, ...]) -> CheckResult:
        value = getattr(alert, field)
        fits = any(fnmatchcase(value.lower(), word.lower()) for word in wanted)
        return fits, value, f"{label} {value}" if fits else f"{label} {value or 'unknown'} is not {' or '.join(wanted)}"

    return check


def _plain(value: float, wanted: float) -> tuple[str, str]:
    return f"{value:.4g}", f"{wanted:.4g}"


def _angles(value: float, wanted: float) -> tuple[str, str]:
    return f"{value:.4g}", f"{wanted:.4g} deg"


def _spans(value: float, wanted: float) -> tuple[str, str]:
    """Format two durations in seconds, each in a unit that suits it."""
    return _span(value), _span(wanted)


def _span(seconds: float) -> str:
    unit = next((unit for unit, least in _SPANS if seconds >= least), "s")
    return f"{seconds / DURATIONS[unit]:.4g} {unit}"


def _rates(value: float, wanted: float) -> tuple[str, str]:
    """Format two false-alarm rates in Hz, and say how rare the alert is."""
    years = 1 / (value * values.SECONDS_PER_YEAR) if value else math.inf
    often = f"once in {years:.3g} years" if years >= 1 else f"{1 / years:.3g} a year"
    return f"{value:.4g} ({often})", f"{wanted:.4g} Hz"


def _limit(
    label: str,
    words: Callable[[float, float], tuple[str, str]],
    take: _Value,
    *,
    at_most: bool,
) -> ConditionCheck:
    def check(alert: Alert, moment: Circumstances, wanted: float) -> CheckResult:
        value = take(alert, moment)
        if value is None:
            return None, None, f"{label} unknown"
        fits = value <= wanted if at_most else value >= wanted
        sign = ("<=" if fits else ">") if at_most else (">=" if fits else "<")
        found, limit = words(value, wanted)
        return fits, value, f"{label} {found} {sign} {limit}"

    return check


def _truth_of(label: str, field: str) -> ConditionCheck:
    def check(alert: Alert, _: Circumstances, wanted: bool) -> CheckResult:
        value = getattr(alert, field)
        words = f"{label}: {'unknown' if value is None else 'yes' if value else 'no'}"
        return None if value is None else value is wanted, value, words

    return check


def age(alert: Alert, now: datetime) -> float | None:
    """Return the seconds since the event, or since the packet was written where the event's time isn't told."""
    moment = alert.time or alert.sent
    return (now - moment).total_seconds() if moment else None


def _young(alert: Alert, moment: Circumstances, wanted: float) -> CheckResult:
    seconds = age(alert, moment.now)
    if seconds is not None and seconds < MIN_AGE_SECONDS:
        return None, seconds, f"its time lies {-seconds:.0f} s in the future"
    return _limit("age", _spans, lambda *_: seconds, at_most=True)(alert, moment, wanted)


def _latitude(alert: Alert, _: Circumstances) -> float | None:
    return abs(values.galactic_latitude(*alert.target)) if alert.target else None


def _of_sky(
    take: Callable[[LocalSky, float, float, Circumstances], float],
) -> Callable[[Alert, Circumstances], float | None]:
    def value(alert: Alert, moment: Circumstances) -> float | None:
        if moment.sky is None or alert.target is None:
            return None
        return take(moment.sky, *alert.target, moment)

    return value


def _time_up(sky: LocalSky, ra: float, dec: float, moment: Circumstances) -> float:
    return min(_DAY, sky.time_up(ra, dec, moment.now, moment.min_altitude))


def _sun_altitude(_: Alert, moment: Circumstances) -> float | None:
    return moment.sky.sun_altitude(moment.now) if moment.sky else None


def _classified(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"must be a mapping such as {{BNS: 0.5}}, not {value!r}")
    return {str(name): FRACTION(least) for name, least in value.items()}


def _probable(alert: Alert, _: Circumstances, wanted: dict[str, float]) -> CheckResult:
    """Check that one of the classes is at least that probable."""
    found = {name: alert.classification.get(name) for name in wanted}
    known = {name: value for name, value in found.items() if value is not None}
    fits = any(value >= wanted[name] for name, value in known.items())
    said = ", ".join(f"{name} {'unknown' if value is None else format(value, '.2g')}" for name, value in found.items())
    return fits or (False if known else None), known, f"class {said}"


CONDITIONS: dict[str, ConditionSpec] = {
    "stream": ConditionSpec(_globs, _name("stream", "stream"), selects=True),
    "notice_type": ConditionSpec(_globs, _name("notice", "notice_type"), selects=True),
    "role": ConditionSpec(_one_of(_ROLES, "tests and utility notices are never observed"), _name("role", "role")),
    "kind": ConditionSpec(_one_of(_KINDS, "a retraction is never observed"), _name("kind", "kind")),
    "known_source": ConditionSpec(_truth, _truth_of("known source", "known_source")),
    "significant": ConditionSpec(_truth, _truth_of("significant", "significant")),
    "max_error_radius": ConditionSpec(
        ANGLE, _limit("error radius", _angles, lambda alert, _: alert.error_radius, at_most=True)
    ),
    "min_importance": ConditionSpec(
        FRACTION, _limit("importance", _plain, lambda alert, _: alert.importance, at_most=False)
    ),
    "max_far": ConditionSpec(RATE, _limit("false-alarm rate", _rates, lambda alert, _: alert.far, at_most=True)),
    "min_probability": ConditionSpec(_classified, _probable),
    "max_age": ConditionSpec(DURATION, _young),
    "min_galactic_latitude": ConditionSpec(_LATITUDE, _limit("galactic latitude", _angles, _latitude, at_most=False)),
    "max_sun_altitude": ConditionSpec(_SUN, _limit("Sun's altitude", _angles, _sun_altitude, at_most=True), sky=True),
    "min_altitude_now": ConditionSpec(
        ALTITUDE,
        _limit("altitude", _angles, _of_sky(lambda sky, ra, dec, at: sky.altitude(ra, dec, at.now)), at_most=False),
        sky=True,
    ),
    "min_time_up": ConditionSpec(DURATION, _limit("time up", _spans, _of_sky(_time_up), at_most=False), sky=True),
    "min_moon_distance": ConditionSpec(
        ANGLE,
        _limit("Moon at", _angles, _of_sky(lambda sky, ra, dec, at: sky.moon_distance(ra, dec, at.now)), at_most=False),
        sky=True,
    ),
}
"""In the order in which they are judged; the cheap and telling ones first."""

ANY, NOT = "any", "not"
"""``any``: at least one of these groups holds; ``not``: none of them does. In a group all must hold."""


class Condition(msgspec.Struct, frozen=True):
    """One line of a rule's ``when``: the value of a known condition, or the groups of ``any`` and ``not``."""

    name: str
    """The condition's name, ``any`` or ``not``."""
    wanted: Any = None
    """What the rule asks for."""
    groups: tuple[tuple[Condition, ...], ...] = ()
    """The groups of ``any`` and ``not``."""

    @property
    def selects(self) -> bool:
        """Whether the condition only chooses which alerts the rule is about."""
        return all(CONDITIONS[each.name].selects for each in self.flat())

    def flat(self) -> Iterator[Condition]:
        """Give the known conditions in this one."""
        if self.name in CONDITIONS:
            yield self
        for group in self.groups:
            for each in group:
                yield from each.flat()


def judge(condition: Condition, alert: Alert, moment: Circumstances) -> ConditionResult:
    """Judge an alert by one condition."""
    if condition.name in CONDITIONS:
        holds, value, words = CONDITIONS[condition.name].check(alert, moment, condition.wanted)
        return ConditionResult(condition.name, holds, value, condition.wanted, words)
    looked: list[ConditionResult] = []
    outcomes: list[bool | None] = []
    said: list[str] = []
    for group in condition.groups:
        holds, judged = judge_all(group, alert, moment)
        looked += judged
        if holds:
            outcomes, said = [holds], [in_words(judged)]
            break
        outcomes.append(holds)
        said.append(judged[-1].words)
    found: bool | None = any(outcomes) or (None if None in outcomes else False)
    if condition.name == ANY:
        words = said[0] if found else f"none of: {'; '.join(said)}"
        return ConditionResult(ANY, found, words=words, parts=tuple(looked))
    words = f"but {said[0]}" if found else f"not: {'; '.join(said)}"
    return ConditionResult(NOT, None if found is None else not found, words=words, parts=tuple(looked))


def judge_all(
    conditions: tuple[Condition, ...], alert: Alert, moment: Circumstances
) -> tuple[bool | None, tuple[ConditionResult, ...]]:
    """Judge an alert by conditions up to the first that doesn't hold; return whether all hold, and the results."""
    judged: list[ConditionResult] = []
    for condition in conditions:
        judged.append(judge(condition, alert, moment))
        if not judged[-1].holds:
            return judged[-1].holds, tuple(judged)
    return True, tuple(judged)


def in_words(judged: tuple[ConditionResult, ...]) -> str:
    """Say in words what holds."""
    return ", ".join(each.words for each in judged)
