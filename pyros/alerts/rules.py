"""The rules by which alerts become observations: a YAML list, the first rule whose conditions all hold decides.

Whatever the rules say, a test, a utility notice, a retraction and an alert without a position of the source are refused
before any rule is read.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import msgspec
import yaml

from pyros.alerts.alert import Alert
from pyros.alerts.conditions import ALTITUDE, CONDITIONS, DURATION
from pyros.errors import ConfigError
from pyros.messages import Exposures

MAX_BYTES = 1_000_000


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about an alert, and why. Immutable."""

    accepted: bool
    rule: str = ""
    """The name of the rule that decided; '' where none fitted, or where a safeguard refused before any rule."""
    reason: str
    """In words, with the values that were looked at."""
    priority: int = 0
    exposures: tuple[Exposures, ...] = ()
    min_altitude: float = 10.0
    """Degrees."""
    expires_after: float = 0.0
    """Seconds after the decision."""


class Condition(msgspec.Struct, frozen=True):
    """One line of a rule's ``when``."""

    name: str
    wanted: Any


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the file."""

    name: str
    when: tuple[Condition, ...]
    priority: int
    exposures: tuple[Exposures, ...]
    """Empty: what fits this rule is not observed."""
    min_altitude: float
    expires_after: float


class Rules:
    """The rules of one file, in its order. Immutable; may be used in any thread."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a rule file.

        Raises:
            ConfigError: it cannot be read, or is wrong; lists every problem with file, rule and key.
        """
        reader = _Reader(path)
        rules = reader.read()
        if reader.problems:
            raise ConfigError(reader.problems)
        return cls(rules)

    def decide(self, alert: Alert, now: datetime) -> Decision:
        """Whether to observe what an alert is about, and how.

        Args:
            alert: as `pyros.alerts.parse` gave it.
            now: the observatory's time, aware.
        """
        refusal = _safeguard(alert)
        if refusal:
            return Decision(accepted=False, reason=refusal)
        near_misses = []
        for rule in self.rules:
            holds, words, about_it = _judge(rule, alert, now)
            if holds:
                return _decision(rule, words)
            if about_it and rule.exposures:
                near_misses.append(f"{rule.name}: {words}")
        what = f"{alert.stream} {alert.notice_type}".strip()
        misses = f" ({'; '.join(near_misses[:5])})" if near_misses else ""
        return Decision(accepted=False, reason=f"no rule fits {what}{misses}")


def _safeguard(alert: Alert) -> str:
    """Why this alert may never move a telescope; '' if it may."""
    if alert.kind == "retraction":
        return f"a retraction of {alert.event}"
    if not alert.actionable:
        return f"role {alert.role}: never observed"
    if alert.pointing:
        return "the position is where a spacecraft pointed, not where the source is"
    if alert.target is None:
        return f"no position{', only a sky map' if alert.skymap else ''}"
    return ""


def _judge(rule: Rule, alert: Alert, now: datetime) -> tuple[bool, str, bool]:
    """Whether a rule's conditions hold; what was looked at, or what missed; whether the rule is about such alerts."""
    said = []
    for condition in rule.when:
        known = CONDITIONS[condition.name]
        holds, words = known.check(alert, now, condition.wanted)
        if not holds:
            return False, words, not known.selects
        said.append(words)
    return True, ", ".join(said) or "any alert with a position", True


def _decision(rule: Rule, words: str) -> Decision:
    if not rule.exposures:
        return Decision(accepted=False, rule=rule.name, reason=f"rule {rule.name!r} says not to observe: {words}")
    return Decision(
        accepted=True,
        rule=rule.name,
        reason=f"rule {rule.name!r}: {words}",
        priority=rule.priority,
        exposures=rule.exposures,
        min_altitude=rule.min_altitude,
        expires_after=rule.expires_after,
    )


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets the second of two equal keys win silently; here it is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Reader:
    """Turns the file into rules and collects every problem on the way."""

    RULE_KEYS = ("name", "when", "priority", "observe", "min_altitude", "expires_after")
    EXPOSURE_KEYS = ("filter", "seconds", "count")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []

    def read(self) -> tuple[Rule, ...]:
        document = self._document()
        if self.problems:
            return ()
        if not isinstance(document, dict) or "rules" not in document:
            self._problem("", "must have the key 'rules': a list of rules")
            return ()
        self._unknown_keys(document, ("rules",), "")
        if not isinstance(document["rules"], list) or not document["rules"]:
            self._problem("rules", "must be a list with at least one rule")
            return ()
        rules: list[Rule] = []
        for number, content in enumerate(document["rules"], 1):
            rule = self._rule(content, f"rule {number}")
            if rule and any(rule.name == other.name for other in rules):
                self._problem(f"rule {number} name", f"{rule.name!r} is already the name of an earlier rule")
            if rule:
                rules.append(rule)
        return tuple(rules)

    def _document(self) -> Any:
        try:
            if self.path.stat().st_size > MAX_BYTES:
                self._problem("", f"is larger than {MAX_BYTES} bytes")
                return None
            return yaml.load(self.path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
        except OSError as error:
            self._problem("", f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self._problem("", "is not UTF-8")
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else "?"
            self._problem(f"line {line}", f"is not YAML: {error.problem}")
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self._problem("", f"is not YAML: {' '.join(str(error).split())}")
        return None

    def _rule(self, content: Any, where: str) -> Rule | None:
        if not isinstance(content, dict):
            self._problem(where, "must be a mapping with name, when, observe ...")
            return None
        name = content.get("name")
        if not isinstance(name, str) or not name.strip():
            self._problem(f"{where} name", "must be a text that tells people which rule this is")
            name = where
        where = f"{where} ({name})"
        self._unknown_keys(content, self.RULE_KEYS, where)
        priority = content.get("priority", 0)
        if isinstance(priority, bool) or not isinstance(priority, int) or not -1000 <= priority <= 1000:
            self._problem(f"{where} priority", f"must be a whole number from -1000 to 1000, not {priority!r}")
            priority = 0
        return Rule(
            name=name.strip(),
            when=self._conditions(content.get("when"), where),
            priority=priority,
            exposures=self._exposures(content, where),
            min_altitude=self._value(content, "min_altitude", 10, ALTITUDE, where),
            expires_after=self._value(content, "expires_after", "12 h", DURATION, where),
        )

    def _conditions(self, content: Any, where: str) -> tuple[Condition, ...]:
        if content is None:
            return ()
        if not isinstance(content, dict):
            self._problem(f"{where} when", "must be a mapping of conditions")
            return ()
        self._unknown_keys(content, tuple(CONDITIONS), f"{where} when")
        return tuple(
            Condition(name, self._convert(content[name], known.read, f"{where} when.{name}"))
            for name, known in CONDITIONS.items()
            if name in content
        )

    def _exposures(self, rule: dict[Any, Any], where: str) -> tuple[Exposures, ...]:
        content = rule.get("observe")
        if content == "nothing":
            return ()
        if not isinstance(content, list) or not content:
            self._problem(f"{where} observe", "must be a list of {filter, seconds, count}, or the word nothing")
            return ()
        exposures = []
        for number, item in enumerate(content, 1):
            at = f"{where} observe[{number}]"
            if not isinstance(item, dict):
                self._problem(at, "must be {filter: R, seconds: 30, count: 5}")
                continue
            self._unknown_keys(item, self.EXPOSURE_KEYS, at)
            item = {key: value for key, value in item.items() if key in self.EXPOSURE_KEYS}  # noqa: PLW2901
            try:
                exposures.append(msgspec.convert(item, Exposures))
            except msgspec.ValidationError as error:
                self._problem(at, str(error))
        return tuple(exposures)

    def _value(self, content: dict[Any, Any], key: str, default: Any, read: Callable[[Any], Any], where: str) -> float:
        return float(self._convert(content.get(key, default), read, f"{where} {key}") or 0.0)

    def _convert(self, value: Any, read: Callable[[Any], Any], where: str) -> Any:
        try:
            return read(value)
        except ValueError as error:
            self._problem(where, str(error))
            return None

    def _unknown_keys(self, content: dict[Any, Any], known: tuple[str, ...], where: str) -> None:
        for key in content:
            if key not in known:
                self._problem(f"{where} {key}".strip(), f"is not known here; known are {', '.join(known)}")

    def _problem(self, where: str, what: str) -> None:
        self.problems.append(f"{self.path}: {where + ': ' if where else ''}{what}")
