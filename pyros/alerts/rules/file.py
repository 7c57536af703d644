"""The file of rules: read as a person wrote it, every mistake told at once with file, rule, key and what is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from pyros.alerts.rules.conditions import CONDITIONS, GROUPS, Condition
from pyros.alerts.rules.readers import ALTITUDE, DURATION, PATIENCE
from pyros.errors import ConfigError
from pyros.files import LinedReader
from pyros.messages import Exposures
from pyros.prepared import prepared

MAX_REPEATS = 20
_MAX_DEPTH = 8


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the file."""

    name: str
    """The rule's name."""
    when: tuple[Condition, ...]
    """Conditions, all of which must hold."""
    priority: int
    """Priority of the observation."""
    exposures: tuple[Exposures, ...]
    """Empty: what fits this rule is not observed."""
    min_altitude: float
    """Least altitude, degrees."""
    expires_after: float
    """Seconds after the request in which it must begin; 0 for no limit."""
    repeat: tuple[float, ...] = ()
    """Seconds after the first after which it is observed again."""


def read_rules(path: Path) -> tuple[AlertRule, ...]:
    """Read the rules of a file, in its order; raises ConfigError listing every problem."""
    reader = _AlertRuleReader(path)
    rules = reader.read()
    if reader.problems:
        raise ConfigError(reader.problems)
    return rules


class _AlertRuleReader(LinedReader):
    """A reader that turns the file into rules and collects every problem on the way."""

    RULE_KEYS = ("name", "when", "priority", "observe", "repeat", "min_altitude", "expires_after")
    EXPOSURE_KEYS = ("filter", "seconds", "count")
    EXPOSURE_WANTS: ClassVar = {
        "filter": "the filter's name",
        "seconds": "a number of seconds above 0",
        "count": "a whole number from 1 to 10000",
    }

    def read(self) -> tuple[AlertRule, ...]:
        document = self.document()
        if self.problems:
            return ()
        if not isinstance(document, dict) or "rules" not in document:
            self.problem("", "must have the key 'rules': a list of rules")
            return ()
        self.unknown_keys(document, ("rules",), "")
        self.look(document, "rules")
        if not isinstance(document["rules"], list) or not document["rules"]:
            self.problem("rules", "must be a list with at least one rule")
            return ()
        rules: list[AlertRule] = []
        for number, content in enumerate(document["rules"], 1):
            rule = self._rule(content, f"rule {number}")
            self.look(content, "name")
            if rule and any(rule.name == other.name for other in rules):
                self.problem(f"rule {number} name", f"{rule.name!r} is already the name of an earlier rule")
            if rule:
                rules.append(rule)
        return tuple(rules)

    def _rule(self, content: Any, where: str) -> AlertRule | None:
        self.look(content, "name")
        if not isinstance(content, dict):
            self.problem(where, "must be a mapping with name, when, observe ...")
            return None
        name = content.get("name")
        if not isinstance(name, str) or not name.strip():
            self.problem(f"{where} name", "must be a text that tells people which rule this is")
            name = where
        where = f"{where} ({name})"
        self.unknown_keys(content, self.RULE_KEYS, where)
        self.look(content, "priority")
        priority = content.get("priority", 0)
        if isinstance(priority, bool) or not isinstance(priority, int) or not -1000 <= priority <= 1000:
            self.problem(f"{where} priority", f"must be a whole number from -1000 to 1000, not {priority!r}")
            priority = 0
        return AlertRule(
            name=name.strip(),
            when=self._conditions(content, where),
            priority=priority,
            exposures=self._exposures(content, where),
            min_altitude=self._value(content, "min_altitude", 10, ALTITUDE, where),
            expires_after=self._value(content, "expires_after", "12 h", PATIENCE, where),
            repeat=self._repeat(content, where),
        )

    def _conditions(self, rule: dict[Any, Any], where: str) -> tuple[Condition, ...]:
        self.look(rule, "when")
        content = rule.get("when")
        return () if content is None else self._group(content, f"{where} when", 0)

    def _group(self, content: Any, where: str, depth: int) -> tuple[Condition, ...]:
        """Read conditions that must all hold, in the order in which they are judged: groups last."""
        if not isinstance(content, dict):
            self.problem(where, f"must be a mapping of conditions, such as {{stream: swift}}, not {content!r:.60}")
            return ()
        if depth > _MAX_DEPTH:
            self.problem(where, f"any, not and event are nested more than {_MAX_DEPTH} deep")
            return ()
        self.unknown_keys(content, (*CONDITIONS, *GROUPS), where)
        found = [
            Condition(name, self._read(content, name, known.read, f"{where}.{name}"))
            for name, known in CONDITIONS.items()
            if name in content
        ]
        found += [
            Condition(name, groups=self._groups(content, name, f"{where}.{name}", depth + 1))
            for name in GROUPS
            if name in content
        ]
        return tuple(found)

    def _groups(self, around: dict[Any, Any], name: str, where: str, depth: int) -> tuple[tuple[Condition, ...], ...]:
        self.look(around, name)
        content = around[name]
        groups = content if isinstance(content, list) else [content]
        if not groups:
            self.problem(where, "must be a mapping of conditions, or a list of such mappings")
        if any(group == {} for group in groups):
            self.problem(where, "has an empty group, which would hold for every alert; name a condition in it")
        return tuple(self._group(group, f"{where}[{number}]", depth) for number, group in enumerate(groups, 1))

    def _repeat(self, rule: dict[Any, Any], where: str) -> tuple[float, ...]:
        """Read the seconds after the first decision, each later than the one before."""
        self.look(rule, "repeat")
        content = rule.get("repeat", [])
        where = f"{where} repeat"
        times = [self.convert(each, DURATION, where) for each in (content if isinstance(content, list) else [content])]
        known = [each for each in times if each is not None]
        if len(known) == len(times) and (sorted(set(known)) != known or 0 in known or len(known) > MAX_REPEATS):
            self.problem(
                where, f"must be {MAX_REPEATS} times at most, each later than the one before, such as [1 h, 6 h, 1 d]"
            )
        if known and rule.get("observe") == "nothing":
            self.problem(where, "means nothing where nothing is observed; leave it out")
        return tuple(known)

    def _exposures(self, rule: dict[Any, Any], where: str) -> tuple[Exposures, ...]:
        self.look(rule, "observe")
        content = rule.get("observe")
        if content == "nothing":
            return ()
        if not isinstance(content, list) or not content:
            self.problem(f"{where} observe", "must be a list of {filter, seconds, count}, or the word nothing")
            return ()
        found = [self._exposure(item, f"{where} observe[{number}]") for number, item in enumerate(content, 1)]
        return tuple(each for each in found if each is not None)

    def _exposure(self, item: Any, at: str) -> Exposures | None:
        self.look(item, "filter")
        if not isinstance(item, dict):
            self.problem(at, "must be {filter: R, seconds: 30, count: 5}")
            return None
        self.unknown_keys(item, self.EXPOSURE_KEYS, at)
        known = {key: value for key, value in item.items() if key in self.EXPOSURE_KEYS}
        try:
            return msgspec.convert(known, prepared(Exposures))
        except msgspec.ValidationError as error:
            wrong = next((key for key in self.EXPOSURE_KEYS if f".{key}`" in str(error)), "")
            missing = next((key for key in self.EXPOSURE_KEYS if f"`{key}`" in str(error)), "")
            self.look(item, wrong)
            if wrong:
                self.problem(f"{at} {wrong}", f"must be {self.EXPOSURE_WANTS[wrong]}, not {known[wrong]!r:.60}")
            elif missing:
                self.problem(f"{at} {missing}", f"is missing; it must be {self.EXPOSURE_WANTS[missing]}")
            else:
                self.problem(at, str(error))
        return None

    def _value(self, content: dict[Any, Any], key: str, default: Any, read: Callable[[Any], Any], where: str) -> float:
        self.look(content, key)
        return float(self.convert(content.get(key, default), read, f"{where} {key}") or 0.0)

    def _read(self, content: dict[Any, Any], key: str, read: Callable[[Any], Any], where: str) -> Any:
        self.look(content, key)
        return self.convert(content[key], read, where)
