"""Rules tried on the past: what they would have done with the packets of the archive, in the order in which they came.

The alerts go through the same rules and the same identity as in the alert manager. What can be seen from a site is told
by a function that the caller gives.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from pyros.alerts import coincidences, followup, identity
from pyros.alerts.alert import Alert
from pyros.alerts.archive.query import ArchivedPacket
from pyros.alerts.events import Followed
from pyros.alerts.rules.circumstances import EventFacts, LocalSky
from pyros.alerts.rules.rules import Decision, Rules

Observability = Literal["at once", "later", "never"]
ObservabilityOf = Callable[[Alert, datetime, Decision], Observability]
"""Whether an accepted alert's position could have been observed: at once, later that night, or not."""

FORGET_AFTER_SECONDS = 60 * 86_400.0
"""Seconds after its last packet that an event is dropped from memory; retractions took up to 40 days."""
SWEEP_PACKETS = 10_000
MAX_NAMES = 10_000


class RuleBacktest(msgspec.Struct):
    """The past of one rule: what it would have done. An event counts for the rule that accepted it first."""

    name: str
    """The rule's name."""
    events: int = 0
    """Events that it accepted."""
    seen: Counter[str] = msgspec.field(default_factory=Counter)
    """Events by `Observability`; empty without a site."""
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


class Backtest(msgspec.Struct):
    """The result, rule by rule, and what was looked at."""

    rules: dict[str, RuleBacktest]
    """What each rule would have done, by its name."""
    packets: int = 0
    """Packets that were looked at."""
    alerts: int = 0
    """Packets that were understood and new."""
    first: float | None = None
    """When the first of them came, Unix seconds; None without any."""
    last: float | None = None
    """When the last of them came, Unix seconds; None without any."""
    names: dict[str, set[str]] = {}
    """What there was, by the conditions that ask for it: of ``stream``, ``notice_type`` and ``min_probability``."""

    def has_names(self, alert: Alert) -> None:
        """Note what an alert calls its stream, itself and its classes."""
        found = ("stream", (alert.stream,)), ("notice_type", (alert.notice_type,))
        for condition, names in (*found, ("min_probability", alert.classification)):
            there = self.names.setdefault(condition, set())
            if len(there) < MAX_NAMES:
                there.update(names)


class _ReplayedEvent(msgspec.Struct):
    event: identity.Event
    heard: float
    rule: RuleBacktest | None = None
    trigger: str = ""
    at: float = 0.0
    updated: bool = False
    retracted: bool = False
    coincident: tuple[str, ...] = ()


class _Moments:
    """The events of missions that coincide with others, by their times."""

    def __init__(self) -> None:
        self._times: list[tuple[float, str]] = []
        self._known: dict[str, float] = {}

    def missions(self, name: str, events: dict[str, _ReplayedEvent]) -> tuple[str, ...]:
        """Return the missions whose events agree with that one in time and place, and keep it."""
        one = coincidences.moment_of(events[name].event)
        if one is None:
            return ()
        if self._known.get(name) != one.time:
            self._known[name] = one.time
            insort(self._times, (one.time, name))
        before, after = coincidences.horizon(one.mission)
        first = bisect_left(self._times, (one.time + before, ""))
        last = bisect_left(self._times, (one.time + after, "\U0010ffff"))
        found: list[str] = []
        for _, other in self._times[first:last]:
            moment = coincidences.moment_of(events[other].event) if other != name and other in events else None
            if moment is not None and coincidences.coincide(one, moment, other) is not None:
                found.append(moment.mission)
        return tuple(dict.fromkeys(found))


def backtest_rules(
    rules: Rules,
    entries: Iterable[ArchivedPacket],
    see: ObservabilityOf | None = None,
    sky: LocalSky | None = None,
    ivo: str = "",
) -> Backtest:
    """Run rules over packets.

    Args:
        rules: as read from their file.
        entries: packets of the archive, oldest first.
        see: for the columns of what could have been observed; None leaves them out.
        sky: for rules that ask for altitudes, the Sun or the Moon; without it those are unknown.
        ivo: the observatory's own identifier: its follow-ups are no alerts to it.
    """
    backtest = Backtest({rule.name: RuleBacktest(rule.name) for rule in rules.rules})
    events: dict[str, _ReplayedEvent] = {}
    moments = _Moments()
    for entry in entries:
        backtest.packets += 1
        if entry.alert is None or entry.error is not None:
            continue
        if ivo and followup.is_own(entry.identity, ivo):
            continue
        new = identity.packet_record(entry.alert)
        tried = events.get(entry.event)
        if tried is None:
            tried = events[entry.event] = _ReplayedEvent(identity.Event((new,)), entry.received)
        elif tried.event.has(new.id):
            continue
        else:
            tried.event, tried.heard = identity.add(tried.event, new), entry.received
        backtest.alerts += 1
        backtest.has_names(entry.alert)
        backtest.first = entry.received if backtest.first is None else backtest.first
        backtest.last = entry.received
        if rules.asks_of_event:
            tried.coincident = moments.missions(entry.event, events)
        _judge(backtest, rules, tried, entry, entry.alert, see, sky)
        if backtest.packets % SWEEP_PACKETS == 0:
            for name in [name for name, each in events.items() if each.heard < entry.received - FORGET_AFTER_SECONDS]:
                del events[name]
    return backtest


def _judge(
    backtest: Backtest,
    rules: Rules,
    tried: _ReplayedEvent,
    entry: ArchivedPacket,
    alert: Alert,
    see: ObservabilityOf | None,
    sky: LocalSky | None,
) -> None:
    """Count what the alert manager would have done with a packet."""
    if alert.kind == "retraction":
        taken_back = tried.rule is not None and not tried.retracted
        if taken_back and tried.trigger in identity.retracted_ids(tried.event) and tried.rule is not None:
            tried.retracted = True
            tried.rule.retracted.append(entry.received - tried.at)
        return
    now = datetime.fromtimestamp(entry.received, UTC)
    event = EventFacts.of(alert, Followed(tried.event), tried.coincident) if rules.asks_of_event else None
    decision = rules.decide(alert, now, sky, event)
    if not decision.accepted:
        if decision.rule:
            backtest.rules[decision.rule].refused += 1
        elif alert.actionable and not decision.considered and (fits := rules.fitting(alert, now, sky, event)):
            backtest.rules[fits].unplaced += 1
        return
    if alert.id in identity.retracted_ids(tried.event):
        return
    if tried.rule is None:
        tried.rule, tried.trigger, tried.at = backtest.rules[decision.rule], alert.id, entry.received
        tried.rule.events += 1
        tried.rule.months[f"{now:%Y-%m}"] += 1
        if see is not None:
            tried.rule.seen[see(alert, now, decision)] += 1
    elif not tried.updated:
        best = identity.believe(tried.event).best
        if best is not None and best.id == alert.id:
            tried.updated = True
            tried.rule.updated += 1
