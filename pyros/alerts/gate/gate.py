"""Which packets of a survey pass: those that some rule may want, by what the packet alone tells.

Conditions on the sky, on the event as a whole, and on age are left to the alert manager: here they may hold. A packet
passes where some rule with exposures may fit that no rule above it surely refuses. For one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from pyros.alerts.alert import Alert
from pyros.alerts.formats import measurements, surveys
from pyros.alerts.gate.projection import Projection
from pyros.alerts.rules.circumstances import Circumstances
from pyros.alerts.rules.conditions import ANY, CONDITIONS, EVENT, NOT, Condition, judge
from pyros.alerts.rules.rules import Rules
from pyros.errors import AlertError

_NO_MOMENT = Circumstances(datetime(2000, 1, 1, tzinfo=UTC))
_LATER = frozenset({"max_age"})
_OF_CLASSES = frozenset({"min_probability", "probability", "most_likely"})


class Gate:
    """The gate of one process, with its counts."""

    def __init__(self, rules: Rules, schema: Any = None) -> None:
        """Take the rules, and the Avro schema of packets that name theirs only by a number.

        Raises AlertError as `Projection` does.
        """
        self._rules = [(bool(rule.exposures), rule.when, _certain(rule.when)) for rule in rules.rules]
        asked = {each.name for rule in rules.rules for condition in rule.when for each in condition.flat()}
        self._projection = Projection(fields(classes=not _OF_CLASSES.isdisjoint(asked)), schema)
        self.taken = 0
        """Packets that were looked at."""
        self.passed = 0
        """Packets that passed."""
        self.refused = 0
        """Packets that could not be read."""

    def candidate(self, packet: bytes) -> bytes | None:
        """Return what the alert manager gets of a packet, JSON of the fields that were read; None for one to drop.

        Raises AlertError where the packet cannot be read.
        """
        self.taken += 1
        try:
            record = self._projection.read(packet)
            survey = surveys.of_notice(record)
            if survey is None:
                raise AlertError("no packet of a survey that is known")
            alert = surveys.parse_detection(record, survey)
        except AlertError:
            self.refused += 1
            raise
        if not self.may_want(alert):
            return None
        self.passed += 1
        return msgspec.json.encode(record)

    def may_want(self, alert: Alert) -> bool:
        """Tell whether some rule may have an alert observed, by what the alert alone tells."""
        if not alert.actionable or alert.target is None:
            return False
        for observes, when, certain in self._rules:
            if not all(_may_hold(each, alert) for each in when):
                continue
            if observes:
                return True
            if certain and all(judge(each, alert, _NO_MOMENT).holds for each in when):
                return False
        return False


def fields(*, classes: bool) -> Iterator[str]:
    """Give the fields of surveys' packets that are needed: those that name and place a detection, and what it measured.

    What an object's record repeats of the detection's is left out: it stands behind all previous detections.
    """
    measured = {name for *_, names in measurements.CANDIDATE for name in names} | {"psfFlux"}
    for survey in surveys.SURVEYS:
        yield from survey.marks
        yield from (each for each in (*survey.detection, *survey.objects) if not each.startswith(("diaObject.", "ssO")))
        yield from (each for each in (*survey.known, survey.distance, survey.injected) if each)
        for place in survey.places:
            yield from (f"{place}.{name}".removeprefix(".") for name in (*survey.axes, survey.time, *measured))
    yield "publisher"
    yield "survey"
    if classes:
        yield from surveys.CLASS_FIELDS


def _stateless(condition: Condition) -> bool:
    """Tell whether the packet alone decides a condition."""
    if condition.name in CONDITIONS:
        known = CONDITIONS[condition.name]
        return not known.sky and not known.event and condition.name not in _LATER
    return condition.name != EVENT and all(_stateless(each) for group in condition.groups for each in group)


def _certain(conditions: tuple[Condition, ...]) -> bool:
    return all(_stateless(each) for each in conditions)


def _may_hold(condition: Condition, alert: Alert) -> bool:
    """Tell whether a condition may hold, whatever the sky and the event say."""
    if _stateless(condition):
        return bool(judge(condition, alert, _NO_MOMENT).holds)
    if condition.name == ANY:
        return any(all(_may_hold(each, alert) for each in group) for group in condition.groups)
    if condition.name == NOT:  # a group that surely holds is not there
        return not any(
            _certain(group) and all(judge(each, alert, _NO_MOMENT).holds for each in group)
            for group in condition.groups
        )
    return True
