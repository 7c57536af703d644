"""Tasks of one's own: functions that a queue runs in processes of their own."""

from __future__ import annotations

from typing import Any

from pyros.jobs import progress, shared_task


@shared_task
def mul(x: float, y: float) -> float:
    return x * y


@shared_task(queue="reduce", time_limit=3600)
def mean(values: list[float]) -> float:
    total = 0.0
    for count, value in enumerate(values, 1):
        total += value
        progress(100 * count / len(values), f"value {count}")
    return total / len(values)


@shared_task(bind=True, max_retries=5, default_retry_delay=0.1)
def patient(self: Any) -> int:
    """Succeed at the third attempt, as what fetches from afar does."""
    if self.request.retries < 2:
        raise self.retry(exc=ConnectionError("not yet"))
    retries: int = self.request.retries
    return retries
