"""What a rule can ask of an alert: one row a condition, with how its value is read and how it is judged.

A limit on something that is not known (no error radius, no false-alarm rate, no site to tell an altitude) does not
hold, and neither does its opposite: ``not`` of something unknown is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pyros.alerts.alert import Alert
from pyros.alerts.rules import checks, readers
from pyros.alerts.rules.checks import ConditionCheck, limit
from pyros.alerts.rules.circumstances import Circumstances
from pyros.quantities import ValueReader


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
    event: bool = False
    """Whether it is about the event as a whole."""


def _between(
    name: str, label: str, read: ValueReader, words: checks.Words, take: checks.Value, *, event: bool = False
) -> dict[str, ConditionSpec]:
    """Make the two conditions on a number: at least, and at most."""
    return {
        f"min_{name}": ConditionSpec(read, limit(label, words, take, at_most=False), event=event),
        f"max_{name}": ConditionSpec(read, limit(label, words, take, at_most=True), event=event),
    }


CONDITIONS: dict[str, ConditionSpec] = {
    "stream": ConditionSpec(readers.read_globs, checks.field("stream", "stream"), selects=True),
    "notice_type": ConditionSpec(readers.read_globs, checks.field("notice", "notice_type"), selects=True),
    "group": ConditionSpec(readers.read_globs, checks.field("group", "group"), selects=True),
    "pipeline": ConditionSpec(readers.read_globs, checks.field("pipeline", "pipeline"), selects=True),
    "search": ConditionSpec(readers.read_globs, checks.field("search", "search"), selects=True),
    "instruments": ConditionSpec(readers.read_globs, checks.field("instruments", "instruments")),
    "min_instruments": ConditionSpec(
        readers.read_count,
        limit("instruments", checks.plain, lambda alert, _: len(alert.instruments) or None, at_most=False),
    ),
    "role": ConditionSpec(
        readers.one_of(readers.ROLES, "tests and utility notices are never observed"), checks.field("role", "role")
    ),
    "kind": ConditionSpec(
        readers.one_of(readers.KINDS, "a retraction is never observed"), checks.field("kind", "kind")
    ),
    "known_source": ConditionSpec(readers.read_truth, checks.truth_of("known source", "known_source")),
    "significant": ConditionSpec(readers.read_truth, checks.truth_of("significant", "significant")),
    "max_error_radius": ConditionSpec(
        readers.ANGLE, limit("error radius", checks.degrees, lambda alert, _: alert.error_radius, at_most=True)
    ),
    "min_importance": ConditionSpec(
        readers.FRACTION, limit("importance", checks.plain, lambda alert, _: alert.importance, at_most=False)
    ),
    "max_far": ConditionSpec(
        readers.RATE, limit("false-alarm rate", checks.rates, lambda alert, _: alert.far, at_most=True)
    ),
    "min_signalness": ConditionSpec(
        readers.FRACTION, limit("signalness", checks.plain, checks.measured("signalness"), at_most=False)
    ),
    **{
        f"min_{name}": ConditionSpec(
            readers.NUMBER, limit(label, checks.in_unit("sigma"), checks.measured(name), at_most=False)
        )
        for name, label in (("snr", "SNR"), ("image_snr", "image SNR"), ("rate_snr", "rate SNR"))
    },
    **_between("duration", "duration", readers.SHORT_DURATION, checks.spans, checks.duration),
    **_between("hardness", "hardness", readers.NUMBER, checks.plain, checks.measured("hardness")),
    "min_probability": ConditionSpec(readers.read_classes, checks.probable),
    "probability": ConditionSpec(readers.read_sums, checks.probable_together),
    "most_likely": ConditionSpec(readers.read_globs, checks.names("most likely", checks.most_probable)),
    **_between("magnitude", "magnitude", readers.MAGNITUDES, checks.in_unit("mag"), checks.measured("magnitude")),
    "min_real_bogus": ConditionSpec(
        readers.FRACTION, limit("real-bogus", checks.plain, checks.measured("real_bogus"), at_most=False)
    ),
    "max_age": ConditionSpec(readers.DURATION, checks.young),
    **_between(
        "area50",
        "area at 50 %",
        readers.AREA,
        checks.in_unit("deg2"),
        checks.of_map(lambda said: said.area50),
        event=True,
    ),
    **_between(
        "area90",
        "area at 90 %",
        readers.AREA,
        checks.in_unit("deg2"),
        checks.of_map(lambda said: said.area90),
        event=True,
    ),
    **_between(
        "distance",
        "distance",
        readers.DISTANCE,
        checks.in_unit("Mpc"),
        checks.of_map(lambda said: said.distance),
        event=True,
    ),
    "coincident_with": ConditionSpec(
        readers.read_globs, checks.names("coincident with", checks.coincident), event=True
    ),
    "min_packets": ConditionSpec(
        readers.read_count, limit("packets", checks.plain, checks.packets, at_most=False), event=True
    ),
    **_between("declination", "declination", readers.DECLINATION, checks.degrees, checks.declination),
    "min_galactic_latitude": ConditionSpec(
        readers.LATITUDE, limit("galactic latitude", checks.degrees, checks.latitude, at_most=False)
    ),
    "max_extinction": ConditionSpec(
        readers.MAGNITUDES, limit("mean extinction", checks.in_unit("mag"), checks.extinction, at_most=True)
    ),
    "max_sun_altitude": ConditionSpec(
        readers.SUN, limit("Sun's altitude", checks.degrees, checks.sun_altitude, at_most=True), sky=True
    ),
    "max_moon_light": ConditionSpec(
        readers.FRACTION, limit("Moon lit to", checks.plain, checks.moon_light, at_most=True), sky=True
    ),
    "min_altitude_now": ConditionSpec(
        readers.ALTITUDE,
        limit(
            "altitude",
            checks.degrees,
            checks.of_sky(lambda sky, ra, dec, at: sky.altitude(ra, dec, at.now)),
            at_most=False,
        ),
        sky=True,
    ),
    "min_time_up": ConditionSpec(
        readers.DURATION, limit("time up", checks.spans, checks.of_sky(checks.time_up), at_most=False), sky=True
    ),
    "min_moon_distance": ConditionSpec(
        readers.ANGLE,
        limit(
            "Moon at",
            checks.degrees,
            checks.of_sky(lambda sky, ra, dec, at: sky.moon_distance(ra, dec, at.now)),
            at_most=False,
        ),
        sky=True,
    ),
}
"""In the order in which they are judged; the cheap and telling ones first."""

ANY, NOT, EVENT = "any", "not", "event"
"""``any``: at least one of these groups holds; ``not``: none of them does. In a group all must hold. The conditions of
``event`` are asked of the event as a whole: its best position, and the newest value of all that its packets told."""
GROUPS = (ANY, NOT, EVENT)


class Condition(msgspec.Struct, frozen=True):
    """One line of a rule's ``when``: the value of a known condition, or the groups of ``any``, ``not``, ``event``."""

    name: str
    """The condition's name, or ``any``, ``not``, ``event``."""
    wanted: Any = None
    """What the rule asks for."""
    groups: tuple[tuple[Condition, ...], ...] = ()
    """The groups of ``any``, ``not`` and ``event``."""

    @property
    def selects(self) -> bool:
        """Whether the condition only chooses which alerts the rule is about."""
        return all(CONDITIONS[each.name].selects for each in self.flat())

    @property
    def asks_of_event(self) -> bool:
        """Whether it is about the event as a whole, or has a condition in it that is."""
        within = any(each.asks_of_event for group in self.groups for each in group)
        return self.name == EVENT or within or (self.name in CONDITIONS and CONDITIONS[self.name].event)

    def flat(self) -> Iterator[Condition]:
        """Give the known conditions in this one."""
        if self.name in CONDITIONS:
            yield self
        for group in self.groups:
            for each in group:
                yield from each.flat()


def judge(condition: Condition, alert: Alert, moment: Circumstances) -> ConditionResult:
    """Judge an alert by one condition."""
    if (known := CONDITIONS.get(condition.name)) is not None:
        holds, value, words = known.check(alert, moment, condition.wanted)
        if known.selects and not holds:  # most rules are about other alerts, and each decision is kept with all of them
            return ConditionResult(condition.name, holds, words=words)
        return ConditionResult(condition.name, holds, value, condition.wanted, words)
    if condition.name == EVENT and moment.event is not None:
        alert = moment.event.alert
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
    if condition.name == EVENT:
        return ConditionResult(EVENT, found, words=f"of the event: {said[-1]}", parts=tuple(looked))
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
