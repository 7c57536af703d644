"""Makes Celery's application from the configuration. Needs the extra ``celery``.

Tasks are acknowledged when they have ended, those of a worker that died are done again, one is taken at a time, and
everything is JSON.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyros.config import Config
from pyros.errors import ConfigError
from pyros.jobs import wrapper
from pyros.jobs.names import DEFAULT_QUEUE, queues

try:
    from celery import Celery
    from celery.app.control import Control as CelerysControl
    from celery.exceptions import TaskRevokedError
    from celery.states import REVOKED
except ImportError as missing:  # the extra [celery]
    raise ConfigError([f"Celery needs: pip install 'pyros-observatory[celery]' ({missing})"]) from None

from pyros.jobs.celery_results import SqliteBackend
from pyros.jobs.kombu import TRANSPORT, register

RUN = "pyros.jobs.run"
"""The task by which a worker of Celery runs a job of our ledger."""
_MAX_PRIORITY = 9
_VISIBLE_SECONDS = 30 * 86_400


class Control(CelerysControl):  # type: ignore[misc]  # it has no types
    """Celery's, whose revokes survive a restart where the transport keeps them."""

    def revoke(self, task_id: str | Iterable[str], *args: Any, **kwargs: Any) -> Any:
        """See `celery.app.control.Control.revoke`."""
        tasks = [task_id] if isinstance(task_id, str) else [str(task) for task in task_id]
        with self.app.connection_for_write() as connection:
            channel = connection.default_channel
            gone = channel.revoke(tasks) if hasattr(channel, "revoke") else []
        for task in gone:
            self.app.backend.store_result(task, TaskRevokedError("revoked"), REVOKED)
        return super().revoke(tasks, *args, **kwargs)


def make_app(config: Config) -> Any:
    """Return the application of an observatory. Raises ConfigError where its broker's URL cannot be read."""
    register()
    chosen, folder = config.celery, config.data / "celery"
    broker = _url(config, "broker", chosen.broker) or f"{TRANSPORT}://localhost/{folder / 'broker.sqlite'}"
    results = f"{SqliteBackend.__module__}:{SqliteBackend.__qualname__}+sqlite:///{folder / 'results.sqlite'}"
    application = Celery("pyros", control=f"{__name__}:Control")
    application.conf.update(
        broker_url=broker,
        broker_connection_retry_on_startup=True,
        broker_transport_options=_transport_options(broker, folder),
        result_backend=_url(config, "results", chosen.results) or results,
        imports=chosen.modules,
        task_default_queue=DEFAULT_QUEUE,
        task_routes={pattern: {"queue": name} for pattern, name in _routes(config)},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_track_started=True,
        worker_prefetch_multiplier=1,
        worker_deduplicate_successful_tasks=True,
        task_queue_max_priority=_MAX_PRIORITY,
        task_default_priority=0,
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        worker_hijack_root_logger=False,
        timezone="UTC",
        enable_utc=True,
    )
    application.task(name=RUN)(run)
    return application


def run(order: dict[str, Any]) -> None:
    """Run a job of our ledger to its end, by a wrapper; its queue's agent hears of it from the job's folder.

    Nothing is done twice: of two wrappers for one attempt the second finds that it has begun.
    """
    command = [sys.executable, "-P", str(wrapper.__file__)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    said = subprocess.run(
        command, input=json.dumps(order).encode() + b"\n", stdout=subprocess.PIPE, env=environment, check=True
    )
    try:
        process = os.pidfd_open(json.loads(said.stdout)["pid"])
    except ProcessLookupError:
        return
    try:
        select.select([process], [], [])
    finally:
        os.close(process)


def _transport_options(broker: str, folder: Path) -> dict[str, Any]:
    """Return what some of kombu's transports need to be told."""
    if broker.startswith("redis"):
        return {"visibility_timeout": _VISIBLE_SECONDS}
    if broker.startswith("filesystem"):
        (folder / "messages").mkdir(parents=True, exist_ok=True)
        names = ("data_folder_in", "data_folder_out", "control_folder")
        return {name: str(folder / "messages") for name in names}
    return {}


def _routes(config: Config) -> list[tuple[str, str]]:
    return [(pattern, each.name) for each in queues(config) for pattern in each.options.get("tasks", "").split()]


def _url(config: Config, key: str, text: str) -> str:
    """Return a URL, from where it is kept; raises ConfigError when it isn't there."""
    kind, _, rest = text.partition(":")
    if rest.startswith("//") or not text:
        return text
    if kind == "env":
        found = os.environ.get(rest, "").strip()
    else:
        try:
            found = Path(rest).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{config.path}: [celery] {key}: {rest}: cannot be read: {error}"]) from None
    if not found:
        raise ConfigError([f"{config.path}: [celery] {key}: {text} is empty"])
    return found
