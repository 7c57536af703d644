"""Decisions about packets and events, as the alert manager keeps them, and what coincides with those events."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pyros.alerts.events import coinciding
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.views.observed import Observed


class RuleDecision(msgspec.Struct, frozen=True):
    """What was decided."""

    records: tuple[DecisionRecord, ...] = ()
    """Oldest first."""
    coincidences: tuple[str, ...] = ()
    """In words: which event coincides with which, and the probability of that by chance."""


def decided(observed: Observed, alerts: Sequence[str], events: Sequence[str]) -> RuleDecision:
    """Return the decisions about packets, by their identifiers, and about events, by their names."""
    found: list[DecisionRecord] = []
    words: list[str] = []
    with observed.journal("alert_manager") as journal:
        if journal is not None:
            found = decisions.read(journal, alerts=list(alerts), events=list(events))
            for event in dict.fromkeys(record.event for record in found):
                words += [f"{event} coincides with {each}" for each in coinciding(journal, event)]
    return RuleDecision(tuple(found), tuple(words))
