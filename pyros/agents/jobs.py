"""A queue of jobs: long work as processes of its own, one at a time, never lost and really stopped.

One class runs every queue: a section with ``app = pyros.agents.jobs`` is one, and its name is the queue's.
"""

from __future__ import annotations

import os
import pwd
import sqlite3
import sys
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred

from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.options import AgentOption, OptionTable
from pyros.agents.runtime.batches import NotTaken
from pyros.clock import Timer, cancel_call
from pyros.config import ENVIRONMENT
from pyros.errors import AgentError
from pyros.jobs import ledger
from pyros.jobs.celery_launcher import CeleryLauncher
from pyros.jobs.ledger import JobEnd, JobRun, Look
from pyros.jobs.names import jobs_folder
from pyros.jobs.runner import Limits, ProcessRunner, Runner
from pyros.messages import JobProgressed, JobRequest, JobRevoked, JobsCleaned, Message
from pyros.quantities import DURATIONS, SIZES, names, quantity, whole
from pyros.reactor import Reactor

JOB_ENDED = "Job ended"
LOOK_FOR_JOBS = "Look for jobs"
TELL_ENDS = "Tell ends"
TELL_PROGRESS = "Tell progress"
_MAX_PENDING = 100_000
_MAX_SAID = 200
_PROGRESS_SECONDS = 30.0
_PROGRESS_PERCENT = 25.0
"""People are told of each quarter of a job's work, in which it is for so long at least."""
_LONGEST_WAIT = 30.0
"""Seconds between two looks at the wall clock while a job waits for its time: it may be set meanwhile."""


class AttemptEnded(messages.Payload, frozen=True):
    """A queue to itself: an attempt of a job has ended."""

    id: str
    attempt: int
    end: JobEnd


messages.register(JOB_ENDED, AttemptEnded, guarded=True)
messages.register(LOOK_FOR_JOBS, messages.NoPayload, guarded=True)
messages.register(TELL_ENDS, messages.NoPayload, guarded=True)
messages.register(TELL_PROGRESS, JobProgressed, guarded=True, fleeting=True)


_duration = quantity(DURATIONS, 0.001, 1e8)


def _size(text: str) -> int:
    return int(quantity(SIZES, 1, 2.0**50)(text))


def _runner(text: str) -> str:
    if text not in ("own", "celery"):
        raise ValueError("is neither own nor celery")
    return text


def _user(text: str) -> str:
    try:
        pwd.getpwnam(text)
    except KeyError:
        raise ValueError("is no user of this computer") from None
    if os.geteuid() != 0:
        raise ValueError("cannot be, unless the agent runs as root")
    return text


_AT_A_TIME = AgentOption("at_a_time", whole(1, 999), 1)
_SECONDS: AgentOption[float | None] = AgentOption("seconds", _duration, None)
_MEMORY: AgentOption[int | None] = AgentOption("memory", _size, None)
_NICENESS = AgentOption("niceness", whole(0, 19), 10)
_GRACE = AgentOption("grace", _duration, 5.0)
_LOG = AgentOption("log", _size, 64 << 20)
_USER = AgentOption("user", str, "")  # what `_user` says is true where the agent runs
_RUNNER = AgentOption("runner", _runner, "own")
_PATH: AgentOption[tuple[str, ...]] = AgentOption("path", names, ())
_OF_SCRIPTS = (AgentOption("scripts", str, ""), AgentOption("annotation", str, ""), AgentOption("inbox", str, ""))
_TASKS: AgentOption[tuple[str, ...]] = AgentOption("tasks", names, ())


class JobsAgent(Agent):
    """Takes *Job requested*, *Job revoked* and *Jobs cleaned*; says *Job finished* to whom a request names.

    Its options: ``at_a_time`` (jobs that run at the same time, 1), ``seconds`` (how long one may run: ``2 h``),
    ``memory`` (``4 GB``), ``niceness`` (0 to 19, 10), ``grace`` (between SIGTERM and SIGKILL, ``5 s``), ``log``
    (the most that is kept of what one prints, ``64 MB``), ``path`` (folders in which Python finds the tasks'
    modules, beside the configuration's), ``tasks`` (patterns of the tasks that come here), ``runner`` (``celery``: its
    workers run the jobs, see `pyros.jobs.celery_launcher`; by default the agent's own launcher does), ``user`` (whom
    the jobs run as, where the agent is root).

    What runs goes on when the agent ends, however it ends: the next one carries it on.
    """

    OPTIONS: ClassVar[OptionTable] = (
        _AT_A_TIME, _SECONDS, _MEMORY, _NICENESS, _GRACE, _LOG, _USER, _RUNNER, _PATH, _TASKS, *_OF_SCRIPTS
    )  # fmt: skip
    many = True
    schema = ledger.SCHEMA

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message |= {
            messages.JOB_REQUESTED: self.job_requested,
            messages.JOB_REVOKED: self.job_revoked,
            messages.JOBS_CLEANED: self.jobs_cleaned,
            JOB_ENDED: self.job_ended,
            LOOK_FOR_JOBS: self.look_for_jobs,
            TELL_ENDS: self.tell_ends,
            TELL_PROGRESS: self.tell_progress,
        }
        self.runner: Runner | None = None
        """What carries the jobs out; by default processes of this computer."""
        self._pending = self._running = 0
        self._looking = self._telling = False
        self._wake: float | None = None
        self._timer: Timer | None = None
        self._progress_timer: Timer | None = None
        self._quarters: dict[tuple[str, int], int] = {}
        """Of each attempt under way, up to which quarter people were told."""
        self._detached = False

    def attach(self, reactor: Reactor) -> None:
        """Read the options, so that a mistake in them keeps the agent from beginning."""
        self._detached = False
        self._told = self.NOTIFIER if self.NOTIFIER in self.config.agents else ""
        self._schedules = [job for job in self.config.jobs if job.queue == self.name]
        self._at_a_time = self.option(*_AT_A_TIME)
        limits = Limits(
            seconds=self.option(*_SECONDS),
            memory=self.option(*_MEMORY),
            niceness=self.option(*_NICENESS),
            grace=self.option(*_GRACE),
            log_bytes=self.option(*_LOG),
            user=self.option(_USER.name, _user, _USER.default),
        )
        if self.runner is None:
            if not hasattr(reactor, "spawnProcess") or not hasattr(os, "pidfd_open"):
                raise AgentError(f"{self.config.path}: [{self.name}]: jobs need Linux 5.3 or newer, and real processes")
            folder = jobs_folder(self.config, self.name)
            celery = self.option(*_RUNNER) == "celery"
            launcher = CeleryLauncher(reactor, self.log, self.config, self.name) if celery else None
            self.runner = ProcessRunner(
                reactor, self.clock, self.log, folder, limits, self._environment(), self.attempt_ended, launcher
            )

    def detach(self) -> Deferred[None] | None:
        """Stop hearing of the jobs; those that run go on."""
        self._detached = True
        for timer in (self._timer, self._progress_timer):
            cancel_call(timer)
        runner, self.runner = self.runner, None
        return runner.close() if runner is not None else None

    def work(self) -> None:
        """Carry on what runs; then look for more."""
        found: list[JobRun] = []

        def read(db: sqlite3.Connection) -> None:
            found[:] = ledger.running(db)

        self.in_transaction(read)
        self.after_commit(self._carry_on, found)
        self.after_commit(self._look_soon)

    # Messages ----------------------------------------------------------------------------------------------------

    def job_requested(self, message: Message) -> None:
        request: JobRequest = message.payload
        if bool(request.command) == bool(request.task):
            raise NotTaken("a job has either a command or a task")
        if any("\0" in word for word in request.command):
            raise NotTaken("a command's arguments have no zero bytes")
        if request.tell and request.tell not in self.config.agents:
            raise NotTaken(f"no agent {request.tell!r} is configured, which is to be told")
        if self._pending >= _MAX_PENDING:
            raise NotTaken(f"{_MAX_PENDING} jobs wait in {self.name} already")
        now, age = self.clock.time(), self.age(message)
        age = 0.0 if age == float("inf") else age
        request = msgspec.structs.replace(request, tell=request.tell or self._told)
        self.in_transaction(lambda db: ledger.add(db, request, message.sender, now, age))
        self.after_commit(self._look_soon)

    def job_revoked(self, message: Message) -> None:
        order: JobRevoked = message.payload
        now = self.clock.time()
        self.in_transaction(lambda db: ledger.revoke(db, order.id, order.terminate, now))
        if order.terminate:
            self.after_commit(self._stop, order.id)
        self.after_commit(self._look_soon)

    def jobs_cleaned(self, message: Message) -> None:
        """Forget a chunk, and ask for the next one."""
        order: JobsCleaned = message.payload
        before = self.clock.time() - order.older
        gone: list[str] = []

        def write(db: sqlite3.Connection) -> None:
            gone[:] = ledger.clean(db, before)

        self.in_transaction(write)
        self.after_commit(self._cleaned, gone, order)

    def look_for_jobs(self) -> None:
        """Begin what may begin now: it is marked with this turn, and started when the turn is on disk."""
        self._looking = False  # what is asked for from here on needs another look
        now, room = self.clock.time(), self._at_a_time
        found: list[Look] = []

        def write(db: sqlite3.Connection) -> None:
            found[:] = [ledger.look(db, now, room, self._schedules, self._told)]

        self.in_transaction(write)
        self.after_commit(self._looked, found)

    def job_ended(self, message: Message) -> None:
        ended: AttemptEnded = message.payload
        now = self.clock.time()
        self.in_transaction(lambda db: ledger.end(db, ended.id, ended.attempt, ended.end, now))
        self.look_for_jobs()

    def tell_ends(self) -> None:
        """Tell the ends that stand in the ledger; they are marked as told in the same turn."""
        self._telling = False
        ends = ledger.untold(self.stored_rows)
        for agent, finished in ends:
            for each in dict.fromkeys((agent, self._told or agent)):
                self.send_if_there(each, messages.JOB_FINISHED, finished)
        self.in_transaction(lambda db: ledger.told(db, [finished.id for _, finished in ends]))
        self.after_commit(self._look_soon)

    def tell_progress(self, message: Message) -> None:
        """Tell people how far a job is; where nobody hears it, the next quarter's or its end will do."""
        self.send_if_there(self.NOTIFIER, messages.JOB_PROGRESSED, message.payload)

    # In the reactor's thread -------------------------------------------------------------------------------------

    def figures(self) -> dict[str, Any]:
        """Return how many jobs wait and run."""
        return {"jobs_pending": self._pending, "jobs_running": self._running}

    def _carry_on(self, runs: list[JobRun]) -> None:
        for run in runs:
            if self.runner is not None:
                self.runner.carry_on(run)

    def _stop(self, id_: str) -> None:
        if self.runner is not None:
            self.runner.stop(id_)

    def attempt_ended(self, id_: str, attempt: int, end: JobEnd) -> None:
        """For the runner: an attempt has come to an end."""
        self.post_to_self(JOB_ENDED, AttemptEnded(id_, attempt, end))

    def _cleaned(self, gone: list[str], order: JobsCleaned) -> None:
        if gone and self.runner is not None:
            self.runner.forget(gone)
            self.post_to_self(messages.JOBS_CLEANED, order)

    def _look_soon(self) -> None:
        """Have one turn look for jobs, however many were asked for."""
        if not self._looking:
            self._looking = True
            self.post_to_self(LOOK_FOR_JOBS)

    def _tell_soon(self) -> None:
        if not self._telling:
            self._telling = True
            self.post_to_self(TELL_ENDS)

    def _looked(self, found: list[Look]) -> None:
        self._pending, self._running, self._wake = found[0].pending, found[0].running, found[0].wake
        self._carry_on(found[0].begin)
        if found[0].untold:
            self._tell_soon()
        self._wait()
        self._watch_progress()

    def _watch_progress(self) -> None:
        """Look now and then how far the jobs are, while any runs and there is a notifier to tell."""
        waits = self._progress_timer is not None and self._progress_timer.active()
        if self._told and self._running and not waits and not self._detached:
            self._progress_timer = self.clock.call_later(_PROGRESS_SECONDS, self._look_at_progress)

    def _look_at_progress(self) -> None:
        said = self.runner.progress() if self.runner is not None else []
        before, self._quarters = self._quarters, {}
        for run, progress in said:
            name, quarter = (run.id, run.attempt), int(progress.percent / _PROGRESS_PERCENT)
            self._quarters[name] = max(quarter, before.get(name, 0))
            if before.get(name, 0) < quarter < 100 / _PROGRESS_PERCENT:
                self.post_to_self(TELL_PROGRESS, JobProgressed(
                    id=run.id, name=run.request.name, percent=progress.percent, text=progress.text[:_MAX_SAID],
                    owner=run.request.owner,
                ))  # fmt: skip
        self._watch_progress()

    def _wait(self) -> None:
        """Look again when the next job is due."""
        cancel_call(self._timer)
        if self._wake is None or self._detached:
            return
        left = self._wake - self.clock.time()
        if left <= 0:
            self._look_soon()
        else:
            self._timer = self.clock.call_later(min(left, _LONGEST_WAIT), self._wait)

    def _environment(self) -> dict[str, str]:
        """Return what the jobs' processes are told, so that `pyros`, tasks and their modules are found."""
        folder = self.config.path.parent
        folders = [str(folder / word) for word in self.option(*_PATH)]
        modules = [*folders, str(folder), *(entry or os.getcwd() for entry in sys.path)]
        programs = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        return {
            ENVIRONMENT: str(self.config.path),
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(modules)),
            "PATH": os.pathsep.join(programs),
            "PYROS_QUEUE": self.name,
        }
