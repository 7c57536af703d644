"""The queues of long work move, and their jobs succeed."""

from __future__ import annotations

from collections.abc import Iterator

from pyros.errors import JournalError
from pyros.health.check import HealthCheck
from pyros.jobs.ledger import LedgerReader
from pyros.jobs.names import queues

_STANDS_SECONDS = 900.0
_DAY = 86400.0
_LAST = 200


class JobsCheck(HealthCheck):
    """All queues."""

    group = "jobs"
    level = "warning"
    tags = ("jobs",)

    def test_moving(self) -> None:
        """No queue has a job that is due for a quarter of an hour while none of its jobs runs."""
        standing = []
        for reader in self._ledgers():
            late = reader.stands_since(self.observatory.now)
            if late is not None and self.observatory.now - late > _STANDS_SECONDS:
                standing.append(f"{reader.queue} stands for {(self.observatory.now - late) / 60:.0f} min")
        if standing:
            self.fail("; ".join(standing))

    def test_succeeding(self) -> None:
        """No job has failed or crashed within a day."""
        since = self.observatory.now - _DAY
        bad = [
            f"{row.name} ({row.queue}, {row.state}: {row.reason})"
            for reader in self._ledgers()
            for state in ("failed", "crashed")
            for row in reader.jobs(state=state, last=_LAST)
            if row.ended is not None and row.ended > since
        ]
        if bad:
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            self.fail(f"{'; '.join(bad[-3:])}{more}; pyros jobs list")

    def _ledgers(self) -> Iterator[LedgerReader]:
        sections = queues(self.observatory.config)
        if not sections:
            self.skipTest("there is no queue")
        for section in sections:
            try:
                reader = LedgerReader(section.name, self.observatory.config.journal(section.name))
            except JournalError:  # it hasn't run yet, or journals.readable tells it
                continue
            try:
                yield reader
            finally:
                reader.close()
