"""Alerts come in, are archived, and are decided by rules that make sense."""

from __future__ import annotations

from pathlib import Path

from pyros.alerts.rules.lint import never_fitting, unknown_notice_types, unknown_streams
from pyros.alerts.rules.rules import Rules
from pyros.config import BROKER, NOWHERE
from pyros.errors import ConfigError, JournalError
from pyros.health.check import HealthCheck, warning

_LATE_SECONDS = 900.0


class SourcesCheck(HealthCheck):
    """Where alerts come from."""

    group = "sources"
    tags = ("alerts",)

    def test_heard(self) -> None:
        """Every broker and Kafka service that the broker subscribes to is heard."""
        config = self.observatory.config
        if config.broker is None:
            self.skipTest("there is no broker")
        if not self.observatory.is_up(BROKER):
            self.skipTest("the broker does not run")
        silent = [
            f"{name}: {link.text}" for name, link in self.observatory.monitoring.alert_sources.items()
            if not link.connected
        ]  # fmt: skip
        silent += self.observatory.asked()[BROKER].get("missing", [])
        if silent:
            self.fail(f"no alerts from: {'; '.join(dict.fromkeys(silent))}")


class AlertRulesCheck(HealthCheck):
    """The rules that decide about alerts."""

    group = "alert_rules"
    tags = ("alerts",)

    def test_readable(self) -> None:
        """The file of the rules has no mistake: the alert manager could start now."""
        try:
            Rules.load(self._path())
        except ConfigError as error:
            self.fail("; ".join(error.problems))

    @warning
    def test_sensible(self) -> None:
        """No rule has a misspelt stream or notice type, and each can fit."""
        try:
            rules = Rules.load(self._path())
        except ConfigError:
            self.skipTest("the rules cannot be read")
        doubts = [each for lint in (unknown_streams, unknown_notice_types, never_fitting) for each in lint(rules)]
        if doubts:
            self.fail("; ".join(doubts))

    def _path(self) -> Path:
        path = self.observatory.config.alert_rules
        if path == NOWHERE:
            self.skipTest("no rules are named")
        return path


class ArchiveCheck(HealthCheck):
    """The archive of alerts."""

    group = "archive"
    level = "warning"
    tags = ("alerts",)

    def test_behind(self) -> None:
        """What the broker has taken is in the archive a quarter of an hour later."""
        from pyros.alerts.archive.search import ArchiveReader  # noqa: PLC0415  SQLAlchemy is slow to load

        events, last = self.observatory.observed, None
        with events.events() as journal:
            last = journal.last_number() if journal is not None else None
        if not last:
            self.skipTest("there is no event yet")
        try:
            archive = ArchiveReader(self.observatory.config.alert_archive)
        except JournalError as error:
            self._late(1, str(error))
            return
        try:
            at = archive.read_up_to(BROKER)
        except JournalError as error:
            self.fail(str(error))
        finally:
            archive.close()
        if at < last:
            self._late(at + 1, f"{last - at} events are not archived yet")

    def _late(self, first: int, text: str) -> None:
        """Fail if the first event that isn't archived has waited for too long."""
        received = None
        with self.observatory.observed.events() as journal:
            received = journal.received_at(first) if journal is not None else None
        if received is not None and self.observatory.now - received > _LATE_SECONDS:
            self.fail(text)
