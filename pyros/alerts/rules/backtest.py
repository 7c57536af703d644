"""Rules tried on the past: what they would have done with the packets of the archive, in the order in which they came.

The alerts go through the same rules and the same identity as in the alert manager. What can be seen from a site is told
by a function that the caller gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from pyros.alerts import followup, identity
from pyros.alerts.alert import Alert
from pyros.alerts.archive.query import Entry
from pyros.alerts.rules.conditions import Sky
from pyros.alerts.rules.rules import Decision, Rules

Seen = Literal["at once", "later", "never"]
See = Callable[[Alert, datetime, Decision], Seen]
"""Whether an accepted alert's position could have been observed: at once, later that night, or not."""

FORGET_AFTER = 60 * 86_400.0
"""Seconds after its last packet that an event is dropped from memory; retractions took up to 40 days."""
_SWEEP = 10_000
_MOST_NAMES = 10_000


class RuleTrial(msgspec.Struct):
    """What one rule would have done. An event counts for the rule that accepted it first."""

    name: str
    events: int = 0
    seen: Counter[str] = msgspec.field(default_factory=Counter)
    """Events by `Seen`; empty without a site."""
    updated: int = 0
    """Events whose observation a later packet would have changed."""
    retracted: list[float] = []
    """For each event that was taken back: how many seconds after it had triggered."""
    months: Counter[str] = msgspec.field(default_factory=Counter)
    """Events by month, ``2026-03``."""
    refused: int = 0
    """Packets that it said not to observe."""
    unplaced: int = 0
    """Packets that fitted, but are not observed, for they don't tell where the source is."""


class Trial(msgspec.Struct):
    """The result, rule by rule, and what was looked at."""

    rules: dict[str, RuleTrial]
    packets: int = 0
    alerts: int = 0
    """Packets that were understood and new."""
    first: float | None = None
    last: float | None = None
    names: dict[str, set[str]] = {}
    """What there was, by the conditions that ask for it: of ``stream``, ``notice_type`` and ``min_probability``."""

    def has_names(self, alert: Alert) -> None:
        """Note what an alert calls its stream, itself and its classes."""
        found = ("stream", (alert.stream,)), ("notice_type", (alert.notice_type,))
        for condition, names in (*found, ("min_probability", alert.classification)):
            there = self.names.setdefault(condition, set())
            if len(there) < _MOST_NAMES:
                there.update(names)


class _Tried(msgspec.Struct):
    event: identity.Event
    heard: float
    rule: RuleTrial | None = None
    trigger: str = ""
    at: float = 0.0
    updated: bool = False
    retracted: bool = False


def try_rules(
    rules: Rules, entries: Iterable[Entry], see: See | None = None, sky: Sky | None = None, ivo: str = ""
) -> Trial:
    """Run rules over packets.

    Args:
        rules: as read from their file.
        entries: packets of the archive, oldest first.
        see: for the columns of what could have been observed; None leaves them out.
        sky: for rules that ask for altitudes, the Sun or the Moon; without it those are unknown.
        ivo: the observatory's own identifier: its follow-ups are no alerts to it.
    """
    trial = Trial({rule.name: RuleTrial(rule.name) for rule in rules.rules})
    events: dict[str, _Tried] = {}
    for entry in entries:
        trial.packets += 1
        if entry.alert is None or entry.error is not None:
            continue
        if ivo and followup.is_own(entry.identity, ivo):
            continue
        new = identity.sighting(entry.alert)
        tried = events.get(entry.event)
        if tried is None:
            tried = events[entry.event] = _Tried(identity.Event((new,)), entry.received)
        elif tried.event.has(new.id):
            continue
        else:
            tried.event, tried.heard = identity.add(tried.event, new), entry.received
        trial.alerts += 1
        trial.has_names(entry.alert)
        trial.first = entry.received if trial.first is None else trial.first
        trial.last = entry.received
        _judge(trial, rules, tried, entry, entry.alert, see, sky)
        if trial.packets % _SWEEP == 0:
            for name in [name for name, each in events.items() if each.heard < entry.received - FORGET_AFTER]:
                del events[name]
    return trial


def _judge(
    trial: Trial, rules: Rules, tried: _Tried, entry: Entry, alert: Alert, see: See | None, sky: Sky | None
) -> None:
    """What the alert manager would have done with a packet."""
    if alert.kind == "retraction":
        taken_back = tried.rule is not None and not tried.retracted
        if taken_back and tried.trigger in identity.retracted_ids(tried.event) and tried.rule is not None:
            tried.retracted = True
            tried.rule.retracted.append(entry.received - tried.at)
        return
    now = datetime.fromtimestamp(entry.received, UTC)
    decision = rules.decide(alert, now, sky)
    if not decision.accepted:
        if decision.rule:
            trial.rules[decision.rule].refused += 1
        elif alert.actionable and not decision.considered and (fits := rules.fitting(alert, now, sky)):
            trial.rules[fits].unplaced += 1
        return
    if alert.id in identity.retracted_ids(tried.event):
        return
    if tried.rule is None:
        tried.rule, tried.trigger, tried.at = trial.rules[decision.rule], alert.id, entry.received
        tried.rule.events += 1
        tried.rule.months[f"{now:%Y-%m}"] += 1
        if see is not None:
            tried.rule.seen[see(alert, now, decision)] += 1
    elif not tried.updated:
        best = identity.believe(tried.event).best
        if best is not None and best.id == alert.id:
            tried.updated = True
            tried.rule.updated += 1
