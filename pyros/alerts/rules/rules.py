"""The rules by which alerts become observations: a YAML list, the first rule whose conditions all hold decides.

Whatever the rules say, a test, a utility notice, a retraction and an alert without a position of the source are refused
before any rule is read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Self

import msgspec

from pyros.alerts.alert import Alert
from pyros.alerts.rules.circumstances import Circumstances, EventFacts, LocalSky
from pyros.alerts.rules.conditions import (
    CONDITIONS,
    ConditionResult,
    in_words,
    judge_all,
)
from pyros.alerts.rules.file import AlertRule, read_rules
from pyros.messages import Exposures

_MAX_REMEMBERED = 256
_names = attrgetter(*(name for name, known in CONDITIONS.items() if known.selects))
"""The names by which a rule may choose its alerts: conditions that select are named as the alert's fields."""
_ANYWHERE = Circumstances(datetime.min.replace(tzinfo=UTC))
"""Conditions on names ask for no place and no moment."""


class Considered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule that was asked, and the results of its conditions up to the first that did not hold."""

    rule: str
    """The rule's name."""
    applies: bool = False
    """Whether all of its conditions hold."""
    conditions: tuple[ConditionResult, ...] = ()
    """The results, up to the first condition that doesn't hold."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The decision about an alert, and why. Immutable."""

    accepted: bool
    """Whether it is to be observed."""
    rule: str = ""
    """The name of the rule that decided; '' where none fitted, or where a safeguard refused before any rule."""
    reason: str
    """In words, with the values that were looked at."""
    priority: int = 0
    """Priority of the observation."""
    exposures: tuple[Exposures, ...] = ()
    """What to take, in this order."""
    min_altitude: float = 10.0
    """Degrees."""
    expires_after: float = 0.0
    """Seconds after the decision, and after each of ``repeat``."""
    repeat: tuple[float, ...] = ()
    """When to observe the same again: seconds after the first decision about the event."""
    considered: tuple[Considered, ...] = ()
    """The rules that were asked, in their order."""


class Rules:
    """The rules of one file, in its order. Immutable, but for what it remembers; may be used in any thread."""

    def __init__(self, rules: tuple[AlertRule, ...]) -> None:
        self.rules = rules
        self._selects = {rule.name: tuple(each.selects for each in rule.when) for rule in rules}
        self._not_about: dict[tuple[str, ...], tuple[Considered | None, ...]] = {}
        self._asks_of_event = any(condition.asks_of_event for rule in rules for condition in rule.when)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a rule file.

        Raises:
            ConfigError: it cannot be read, or is wrong; lists every problem with file, rule and key.
        """
        return cls(read_rules(path))

    @property
    def asks_of_sky(self) -> tuple[str, ...]:
        """The conditions in the rules that only a site can answer."""
        asked = {each.name for rule in self.rules for condition in rule.when for each in condition.flat()}
        return tuple(name for name, known in CONDITIONS.items() if known.sky and name in asked)

    @property
    def asks_of_event(self) -> bool:
        """Whether a condition in the rules is about the event as a whole."""
        return self._asks_of_event

    def decide(
        self, alert: Alert, now: datetime, sky: LocalSky | None = None, event: EventFacts | None = None
    ) -> Decision:
        """Decide whether to observe what an alert is about, and how.

        Args:
            alert: as `pyros.alerts.parse` gave it.
            now: the observatory's time, aware.
            sky: what the site tells; without it altitudes, the Sun and the Moon are unknown.
            event: what is known of the event as a whole; without it conditions on that are asked of the packet.
        """
        refusal = _safeguard(alert, event)
        if refusal:
            return Decision(accepted=False, reason=refusal)
        considered: list[Considered] = []
        near_misses: list[str] = []
        for rule, other in zip(self.rules, self._others(alert), strict=True):
            if other is not None:
                considered.append(other)
                continue
            moment = Circumstances(now, sky, rule.min_altitude, event)
            holds, judged = judge_all(rule.when, alert, moment)
            considered.append(Considered(rule.name, bool(holds), judged))
            if holds:
                return _decision(rule, in_words(judged) or "any alert with a position", tuple(considered))
            if rule.exposures and not self._selects[rule.name][len(judged) - 1]:
                near_misses.append(f"{rule.name}: {judged[-1].words}")
        what = f"{alert.stream} {alert.notice_type}".strip()
        misses = f" ({'; '.join(near_misses[:5])})" if near_misses else ""
        return Decision(accepted=False, reason=f"no rule fits {what}{misses}", considered=tuple(considered))

    def _others(self, alert: Alert) -> tuple[Considered | None, ...]:
        """Return for each rule what tells that it is about alerts of other names; None where it must be asked.

        Most rules are about other alerts, and few names come, again and again: what is said of each is remembered.
        """
        names: tuple[str, ...] = _names(alert)
        if (found := self._not_about.get(names)) is None:
            found = tuple(_other(rule, alert) for rule in self.rules)
            if len(self._not_about) >= _MAX_REMEMBERED:
                self._not_about.clear()
            self._not_about[names] = found
        return found

    def fitting(self, alert: Alert, now: datetime, sky: LocalSky | None = None, event: EventFacts | None = None) -> str:
        """Return the first rule whose conditions hold, whether such an alert is ever observed or not; '' for none."""
        for rule in self.rules:
            if judge_all(rule.when, alert, Circumstances(now, sky, rule.min_altitude, event))[0]:
                return rule.name
        return ""


def _other(rule: AlertRule, alert: Alert) -> Considered | None:
    """Return what tells of an alert that its name, held against the rule's first condition, is another; else None."""
    first = rule.when[0] if rule.when else None
    if first is None or first.groups or not first.selects:
        return None
    holds, judged = judge_all((first,), alert, _ANYWHERE)
    return None if holds else Considered(rule.name, False, judged)


def _safeguard(alert: Alert, event: EventFacts | None) -> str:
    """Tell why this alert may never move a telescope; '' if it may: where its event has a map that was measured."""
    if alert.kind == "retraction":
        return f"a retraction of {alert.event}"
    if not alert.actionable:
        return f"role {alert.role}: never observed"
    if event is not None and event.map is not None and alert.skymap is not None:
        return ""
    if alert.pointing:
        return "the position is where a spacecraft pointed, not where the source is"
    if alert.target is None:
        return f"no position{', only a sky map' if alert.skymap else ''}"
    return ""


def _decision(rule: AlertRule, words: str, considered: tuple[Considered, ...]) -> Decision:
    if not rule.exposures:
        reason = f"rule {rule.name!r} says not to observe: {words}"
        return Decision(accepted=False, rule=rule.name, reason=reason, considered=considered)
    return Decision(
        accepted=True,
        rule=rule.name,
        reason=f"rule {rule.name!r}: {words}",
        priority=rule.priority,
        exposures=rule.exposures,
        min_altitude=rule.min_altitude,
        expires_after=rule.expires_after,
        repeat=rule.repeat,
        considered=considered,
    )
