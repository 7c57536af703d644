"""What a file of rules may not mean: names that no stream has, and what fitted nothing in the past.

None of it is a mistake for certain: a mission may begin tomorrow. So it is told, and nothing is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase

from pyros.alerts.coincidences import MISSIONS
from pyros.alerts.formats import surveys
from pyros.alerts.formats.notices import NOTICES
from pyros.alerts.formats.streams import BY_NAME
from pyros.alerts.rules.backtest import Backtest
from pyros.alerts.rules.conditions import ANY, EVENT, NOT, Condition
from pyros.alerts.rules.rules import Rules

_NAMES = {"stream": "stream", "notice_type": "notice type", "min_probability": "class"}
"""Conditions that are about names."""
_MIN_LIKENESS = 0.75
_GCN_NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9*]+)+")
_NOTICE_TYPES = (*NOTICES.values(), "LVC_EARLYWARNING")
_GLOBS = ("stream", "notice_type", "group", "pipeline", "search")
_TOLD_BY = {
    **dict.fromkeys(("group", "search", "significant"), frozenset({"wave"})),
    "signalness": frozenset({"neutrino"}),
    **dict.fromkeys(("image_snr", "rate_snr", "hardness", "magnitude"), frozenset({"burst", "x-ray"})),
    "duration": frozenset({"burst", "x-ray", "radio", "wave"}),
    "real_bogus": frozenset(),
}
"""Conditions without their min or max, and the kinds of missions (`coincidences.MISSIONS`) whose packets tell what they
ask for; of other streams nothing is known."""


_STREAMS = frozenset(
    (
        *BY_NAME,
        *MISSIONS,
        *surveys.NAMES,
        "hermes",
        "glowbug",
        *(name.partition("_")[0].lower() for name in NOTICES.values()),
    )
)
"""Streams that there are: those of tables, and authors of GCN's notices."""
_AUTHORS_NAME = re.compile(r"[./*?\[]")
"""What a name has that is no stream of a table: an author's, or a pattern for several."""
_AUTHORS = frozenset(BY_NAME) - {"amon"}
"""Streams with which GCN's names of their notices begin; AMON's are those of its members."""


def unknown_streams(rules: Rules) -> Iterator[str]:
    """Find streams that no table has; they may be new, or misspelt.

    What isn't in a table goes by its author's name, which has a dot or a slash (``voevent.example.org/surveys``).
    """
    for rule in rules.rules:
        asked = [each for condition in rule.when for each in condition.flat() if each.name == "stream"]
        for word in (word for condition in asked for word in condition.wanted):
            if word.lower() not in _STREAMS and not _AUTHORS_NAME.search(word):
                yield f"rule {rule.name!r} when.stream: PYROS knows no stream {word!r}{_meant(word, _STREAMS)}"


def never_fitting(rules: Rules) -> Iterator[str]:
    """Find rules that no alert can ever fit: what they ask for excludes itself, or is decided by a rule above."""
    for number, rule in enumerate(rules.rules):
        why = (*_contradictions(rule.when), *_untold(rule.when))
        yield from (f"rule {rule.name!r} can never fit: {each}" for each in why)
        above = next((each for each in rules.rules[:number] if _covers(each.when, rule.when)), None)
        if above is not None:
            yield f"rule {rule.name!r} can never fit: whatever fits it is decided by {above.name!r} above it"


def unknown_notice_types(rules: Rules) -> Iterator[str]:
    """Find notice types in GCN's spelling that PYROS has never heard of; they may be new, or misspelt."""
    for rule in rules.rules:
        asked = [each for condition in rule.when for each in condition.flat() if each.name == "notice_type"]
        for word in (word for condition in asked for word in condition.wanted):
            if _GCN_NAME.fullmatch(word) and not any(fnmatchcase(name, word) for name in _NOTICE_TYPES):
                meant = _meant(word, _NOTICE_TYPES)
                yield f"rule {rule.name!r} when.notice_type: PYROS knows no notice {word!r}{meant}"


def _contradictions(conditions: tuple[Condition, ...]) -> Iterator[str]:
    """Find conditions of one group that exclude each other."""
    wanted = {each.name: each.wanted for each in conditions if not each.groups}
    for name, least in wanted.items():
        most = wanted.get(f"max_{name.removeprefix('min_')}")
        if name.startswith("min_") and most is not None and least > most:
            yield f"min_{name[4:]} {least:g} is above max_{name[4:]} {most:g}"
    sums: dict[tuple[str, ...], dict[str, float]] = {}
    for each in wanted.get("probability", ()):
        sums.setdefault(each.classes, {})[each.sign[0]] = each.limit
    for classes, limits in sums.items():
        if limits.get(">", 0.0) > limits.get("<", 1.0):
            yield f"{' + '.join(classes)} cannot be above {limits['>']:g} and below {limits['<']:g}"
    for each in conditions:
        if each.name in {ANY, EVENT} and each.groups:
            found = [list(_contradictions(group)) for group in each.groups]
            if all(found):
                yield f"in {each.name}: {found[0][0]}"
        elif each.name == NOT and any(_covers(group, conditions) for group in each.groups):
            yield "what must hold is also under not"


def _untold(conditions: tuple[Condition, ...], streams: tuple[str, ...] = ()) -> Iterator[str]:
    """Find conditions on what no packet tells of the streams that are asked for, here or around the group."""
    wanted = {each.name: each.wanted for each in conditions if not each.groups}
    streams = tuple(wanted.get("stream", streams))
    missions = [MISSIONS.get(word.lower()) for word in streams]
    kinds = {mission.kind for mission in missions if mission is not None}
    named = " or ".join(streams)
    for name in wanted if streams and None not in missions else ():
        told = _TOLD_BY.get(name.removeprefix("min_").removeprefix("max_"))
        if told is not None and told.isdisjoint(kinds):
            yield f"no packet of {named} tells what {name} asks for"
    types = tuple(wanted.get("notice_type", ()))
    authors = [name if (name := word.partition("_")[0].lower()) in _AUTHORS else "" for word in types]
    asked = [word.lower() for word in streams]
    if types and streams and all(authors) and not any(fnmatchcase(name, word) for name in authors for word in asked):
        yield f"{' or '.join(types)} is no notice of {named}"
    for each in conditions:
        if each.name == ANY and each.groups:
            found = [list(_untold(group, streams)) for group in each.groups]
            if all(found):
                yield f"in {each.name}: {found[0][0]}"


def _covers(above: tuple[Condition, ...], below: tuple[Condition, ...]) -> bool:
    """Tell whether whatever fits the conditions below fits those above too, as far as it can be seen at once."""
    return all(any(_implies(each, other) for each in below) for other in above)


def _implies(one: Condition, other: Condition) -> bool:
    """Tell whether what holds the one condition surely holds the other."""
    if one == other:
        return True
    if one.name != other.name or one.groups or other.groups or one.name == "min_time_up":
        return False  # the time up counts from each rule's own altitude
    if one.name.startswith("min_") and isinstance(one.wanted, float | int):
        return bool(one.wanted >= other.wanted)
    if one.name.startswith("max_") and isinstance(one.wanted, float | int):
        return bool(one.wanted <= other.wanted)
    if one.name in _GLOBS:
        return all(any(fnmatchcase(each.lower(), word.lower()) for word in other.wanted) for each in one.wanted)
    return False


def unmatched_names(rules: Rules, backtest: Backtest) -> Iterator[str]:
    """Find, in rules that would have triggered nothing, names that no packet had and packets without a position."""
    for rule in rules.rules:
        tried = backtest.rules[rule.name]
        if tried.events or tried.refused or not backtest.alerts:
            continue
        for condition in _asked(rule.when):
            words, there = tuple(condition.wanted), backtest.names.get(condition.name, set())
            if not any(fnmatchcase(name.lower(), word.lower()) for word in words for name in there):
                meant = _meant(words[0], there | (set(BY_NAME) if condition.name == "stream" else set()))
                named = " or ".join(map(repr, words))
                yield f"rule {rule.name!r} fits nothing here: no packet has the {_NAMES[condition.name]} {named}{meant}"
        if tried.unplaced:
            what = "packets fit that tell no position of a source, and such are never observed"
            yield f"rule {rule.name!r}: {tried.unplaced} {what}"


def _asked(conditions: Iterable[Condition]) -> Iterator[Condition]:
    """Find the conditions about names, without those that must not hold, and those of which only one must."""
    for condition in conditions:
        if condition.name in _NAMES:
            yield condition
        elif condition.name != NOT and len(condition.groups) == 1:
            yield from _asked(condition.groups[0])


def _meant(word: str, names: Iterable[str]) -> str:
    near = get_close_matches(word.lower(), {name.lower(): None for name in names}, 1, _MIN_LIKENESS)
    spelt = next((name for name in names if name.lower() in near), "")
    return f" (did you mean {spelt}?)" if spelt and "*" not in word else ""
