"""Python functions as jobs, by Celery's words: ``shared_task``, ``delay``, ``apply_async``, ``AsyncResult`` ...

A task is called in a process of its own that imports its module; arguments and results are JSON. What is asked for from
an agent's handler takes effect with its turn; from a plain program it is on disk when the call returns.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from pyros import messages
from pyros.clock import Deadline
from pyros.config import Config
from pyros.errors import AgentError, JobError, JournalError
from pyros.jobs.ledger import JobRow, LedgerReader
from pyros.jobs.names import queue_of, queues
from pyros.jobs.run_task import Retry, TaskCall
from pyros.messages import JobRequest, JobRevoked
from pyros.sender import Sender, current_config, outbox_of_this_thread
from pyros.unique import new_name

_P = ParamSpec("_P")
_R = TypeVar("_R")
_LONGEST_LOOK_SECONDS = 0.2
_FIRST_LOOK_SECONDS = 0.01
_EVER = 1e9
_STATES = {
    "pending": "PENDING", "running": "STARTED", "succeeded": "SUCCESS", "failed": "FAILURE", "crashed": "FAILURE",
    "expired": "REVOKED", "revoked": "REVOKED", "terminated": "REVOKED",
}  # fmt: skip


class Task(Generic[_P, _R]):
    """A function that can be asked for as a job; called directly, it is the function.

    A task with ``bind=True`` gets this as its first argument, and has there ``request`` (``id``, ``retries``), `retry`
    and `update_state`.
    """

    def __init__(
        self,
        function: Callable[..., _R],
        *,
        name: str = "",
        bind: bool = False,
        queue: str = "",
        priority: int = 0,
        max_retries: int = 3,
        default_retry_delay: float = 180.0,
        autoretry_for: Iterable[type[BaseException]] = (),
        acks_late: bool = False,
        time_limit: float | None = None,
    ) -> None:
        """See `shared_task`."""
        functools.update_wrapper(self, function)
        self.name = name or f"{_module(function)}.{function.__qualname__}"
        self.bind = bind
        self.queue = queue
        self.priority = priority
        self.max_retries = max_retries
        self.default_retry_delay = default_retry_delay
        self.autoretry_for = tuple(autoretry_for)
        self.acks_late = acks_late
        self.time_limit = time_limit
        self.request = TaskCall("", self.name, (), {}, 0)
        """The call that is carried out, in the job's process."""
        self._function = function

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the function here and now."""
        return self._function(self, *args, **kwargs) if self.bind else self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    def delay(self, *args: _P.args, **kwargs: _P.kwargs) -> AsyncResult:
        """Ask for the task with these arguments. Raises as `apply_async` does."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        countdown: float = 0.0,
        eta: datetime | None = None,
        expires: float | datetime | None = None,
        queue: str = "",
        priority: int | None = None,
        task_id: str = "",
        time_limit: float | None = None,
    ) -> AsyncResult:
        """Ask for the task: not before ``countdown`` seconds or ``eta``, not after ``expires`` (seconds, or when).

        A time without a zone is UTC. ``queue`` is a queue's name, with or without the beginning ``jobs_``; else the
        task's own, else its route. ``task_id`` is the job's identifier: asked for twice, it runs once. Raises
        ConfigError when there is no such queue, DeliveryError when it doesn't answer, TypeError or ValueError for what
        isn't JSON or doesn't fit the function.
        """
        args, kwargs = tuple(args), dict(kwargs or {})
        inspect.signature(self._function).bind(*((self,) if self.bind else ()), *args, **kwargs)
        config = current_config()
        name = queue_of(config, queue or self.queue, self.name)
        request = JobRequest(
            id=task_id or new_name(),
            name=self.name,
            task=self.name,
            args=args,
            kwargs=kwargs,
            countdown=countdown,
            due=_seconds(eta) if eta is not None else 0.0,
            expires=_seconds(expires) if isinstance(expires, datetime) else None,
            expire_seconds=None if expires is None or isinstance(expires, datetime) else expires,
            priority=self.priority if priority is None else priority,
            retries=self.max_retries,
            retry_seconds=self.default_retry_delay,
            on_crash="rerun" if self.acks_late else "tell",
            seconds=time_limit or self.time_limit,
        )
        Sender.send_to(name, messages.JOB_REQUESTED, request, config=config)
        return AsyncResult(request.id, config)

    def run_as_job(self, call: TaskCall) -> _R:
        """Carry out a call, in the job's process."""
        self.request = call
        return self(*call.args, **call.kwargs)

    def retry(self, exc: BaseException | None = None, countdown: float | None = None) -> NoReturn:
        """Have the task run again after so many seconds, ``max_retries`` times at most. For a task with ``bind``.

        Raises what ends this attempt, so that it can be written ``raise self.retry(...)``.
        """
        raise Retry(countdown, exc or sys.exception())

    def update_state(self, state: str = "PROGRESS", meta: Mapping[str, Any] | None = None) -> None:
        """Tell how far the task is; ``meta`` has ``current`` and ``total``, or ``percent``, and ``text``."""
        told = dict(meta or {})
        percent = told.get("percent")
        if percent is None:
            percent = 100.0 * told.get("current", 0) / (told.get("total") or 1)
        progress(percent, str(told.get("text", "" if state == "PROGRESS" else state)))


def progress(percent: float, text: str = "") -> None:
    """Tell how far a job is: 0 to 100, and a few words. It is a line that the job prints; any program can."""
    sys.stdout.write(f"PROGRESS {min(100.0, max(0.0, percent)):g} % {' '.join(text.split())}\n")
    sys.stdout.flush()


@overload
def shared_task(function: Callable[_P, _R], /) -> Task[_P, _R]: ...


@overload
def shared_task(**options: Any) -> Callable[[Callable[..., _R]], Task[..., _R]]: ...


def shared_task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a task: ``@shared_task``, or ``@shared_task(queue="reduce", bind=True)``.

    Options, Celery's: ``name`` (by default ``module.function``; by it the job's process finds it), ``bind``, ``queue``,
    ``priority`` (0 to 9; the highest first), ``max_retries``, ``default_retry_delay`` (seconds; the pause doubles),
    ``autoretry_for`` (exceptions), ``acks_late`` (after a crash it is run again), ``time_limit`` (seconds).
    """
    if function is not None:
        return Task(function)
    return lambda function: Task(function, **options)


class AsyncResult:
    """A job by its identifier: its state, its result. For any program that may read the queue's journal."""

    def __init__(self, id: str, config: Config | None = None) -> None:  # noqa: A002  Celery's name
        """``config`` is the observatory's; by default the one that the environment names."""
        self.id = id
        self._config = config or current_config()
        self._readers: dict[str, LedgerReader] = {}

    @property
    def task_id(self) -> str:
        """The identifier."""
        return self.id

    def row(self) -> JobRow | None:
        """Return the job as it stands in its queue's ledger; None while no ledger has it."""
        for section in queues(self._config):
            with suppress(JournalError):
                reader = self._readers.get(section.name) or LedgerReader(
                    section.name, self._config.journal(section.name)
                )
                self._readers[section.name] = reader
                if (row := reader.job(self.id)) is not None:
                    return row
        return None

    @property
    def state(self) -> str:
        """Celery's word: PENDING (also for what nobody knows), STARTED, RETRY, SUCCESS, FAILURE or REVOKED."""
        row = self.row()
        if row is None:
            return "PENDING"
        return "RETRY" if row.state == "pending" and row.attempt else _STATES[row.state]

    status = state

    def ready(self) -> bool:
        """Return whether it has come to an end."""
        return self.state in ("SUCCESS", "FAILURE", "REVOKED")

    def successful(self) -> bool:
        """Return whether it has come to a good end."""
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        """Return whether it has failed."""
        return self.state == "FAILURE"

    @property
    def result(self) -> Any:
        """What it returned; a JobError when it has come to another end, None while it has come to none."""
        row = self.row()
        if row is None or row.ended is None:
            return None
        if row.state == "succeeded":
            return row.end.value if row.end is not None else None
        return JobError(f"{row.name} ({row.id}): {row.reason}", row.state, row.end.traceback if row.end else "")

    def get(self, timeout: float | None = None) -> Any:
        """Wait for the end, at most ``timeout`` seconds, and return what the task returned.

        Raises JobError when it came to another end, TimeoutError, and AgentError in an agent's handler, which must not
        block: the asker's agent is told by *Job finished* instead.
        """
        if outbox_of_this_thread.send is not None:
            raise AgentError("a handler must not wait for a job: name its agent in the request's `tell`")
        deadline = Deadline(_EVER if timeout is None else timeout)
        pause = _FIRST_LOOK_SECONDS
        while not self.ready():
            if not deadline.left():
                raise TimeoutError(f"job {self.id} has not ended within {timeout:g} s")
            deadline.pause(pause)
            pause = min(_LONGEST_LOOK_SECONDS, pause * 1.3)
        if isinstance(self.result, JobError):
            raise self.result
        return self.result

    def revoke(self, terminate: bool = False) -> None:
        """See `revoke`."""
        revoke(self.id, terminate=terminate, config=self._config)

    def close(self) -> None:
        """Close the ledgers."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<job {self.id}>"


def revoke(id: str, *, terminate: bool = False, config: Config | None = None) -> None:  # noqa: A002  Celery's name
    """Keep a job from beginning, for ever; with ``terminate`` end it when it runs, with all that it has started.

    One that no ledger has is revoked in every queue. Raises DeliveryError when its queue doesn't answer.
    """
    config = config or current_config()
    found = AsyncResult(id, config)
    row = found.row()
    found.close()
    for name in [row.queue] if row is not None else [section.name for section in queues(config)]:
        Sender.send_to(name, messages.JOB_REVOKED, JobRevoked(id=id, terminate=terminate), config=config)


def _module(function: Callable[..., Any]) -> str:
    """Return the module's name as another process can import it: a program's own is called as its file is."""
    if function.__module__ != "__main__":
        return function.__module__
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).stem if file else "__main__"


def _seconds(when: datetime) -> float:
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
