"""What a file of rules may not mean: names that no stream has, and what fitted nothing in the past.

None of it is a mistake for certain: a mission may begin tomorrow. So it is told, and nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase

from pyros.alerts.formats.streams import BY_NAME
from pyros.alerts.rules.backtest import Backtest
from pyros.alerts.rules.conditions import NOT, Condition
from pyros.alerts.rules.rules import Rules

_NAMES = {"stream": "stream", "notice_type": "notice type", "min_probability": "class"}
"""Conditions that are about names."""
_MIN_LIKENESS = 0.75


def misspelt_streams(rules: Rules) -> Iterator[str]:
    """Find streams that no table has, but one of nearly the same name."""
    for rule in rules.rules:
        asked = [each for condition in rule.when for each in condition.flat() if each.name == "stream"]
        for word in (word for condition in asked for word in condition.wanted):
            meant = _meant(word, BY_NAME)
            if meant and word.lower() not in BY_NAME:
                yield f"rule {rule.name!r} when.stream: PYROS knows no stream {word!r}{meant}"


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
