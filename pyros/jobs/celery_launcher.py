"""Lets Celery's workers run what a queue's ledger keeps: ``option_runner = celery``.

The ledger stays what it is: a request with its turn, revokes, ends told once. Orders go to Celery's broker in place of
the launcher, into its queue of the same name; a worker on this computer runs the wrapper (`pyros.jobs.celery_app.run`).
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros.config import Config
from pyros.jobs.runner import LOST_SECONDS
from pyros.reactor import Reactor

_LOOK_SECONDS = 0.2
_RETRY = {"max_retries": 3, "interval_start": 0.2, "interval_step": 0.5, "interval_max": 2.0}


class CeleryLauncher:
    """Sends orders to Celery, in a thread of the reactor's pool. One that is lost is sent again after a minute."""

    look_seconds: float | None = _LOOK_SECONDS

    def __init__(self, reactor: Reactor, log: Logger, config: Config, queue: str) -> None:
        """Raise ConfigError where the extra is missing, or the broker's URL is."""
        from pyros.jobs import celery_app  # noqa: PLC0415  needs the extra celery

        self._reactor = reactor
        self._log = log
        self._queue = queue
        self._task = celery_app.RUN
        self._app = celery_app.make_app(config)

    def order(self, line: bytes) -> None:
        """See `pyros.jobs.runner.Launcher.order`."""
        sending = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._send, json.loads(line))
        sending.addErrback(self._failed)

    def _send(self, order: dict[str, Any]) -> None:
        name = f"{order['id']}-{order['attempt']}"
        self._app.send_task(
            self._task, (order,), task_id=name, queue=self._queue, expires=LOST_SECONDS, retry_policy=_RETRY,
            ignore_result=True,
        )  # fmt: skip

    def _failed(self, failure: Failure) -> None:
        self._log.error(
            "a job could not be given to Celery; it is given again in {seconds:g} s: look at its broker: {reason}",
            seconds=LOST_SECONDS, reason=failure.getErrorMessage(),
        )  # fmt: skip

    def close(self) -> Deferred[None]:
        """See `pyros.jobs.runner.Launcher.close`."""
        self._app.close()
        return succeed(None)
