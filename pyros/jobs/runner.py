"""`ProcessRunner`: starts the jobs' processes and hears of their ends; all in the reactor's thread.

`Runner` is the seam: a rehearsal, or a test on virtual time, gives another one.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.clock import Clock, Timer, cancel_call
from pyros.jobs import run_task, wrapper
from pyros.jobs.ledger import JobEnd, JobRun
from pyros.jobs.names import JOB_VARIABLE, job_folder
from pyros.jobs.reading import JobProgress, read_progress
from pyros.jobs.run_task import TASK_FILE, TaskCall, TaskOutcome
from pyros.messages import JobRequest
from pyros.prepared import prepared
from pyros.reactor import Reactor, SystemReactor
from pyros.unique import boot_id

_AGAIN_SECONDS = 0.1
_BEGIN_AGAIN_SECONDS = 1.0
_LAUNCH_AGAIN_SECONDS = 1.0
_CLOSE_SECONDS = 2.0
_REAP_SECONDS = 0.05
_MAX_VALUE = 1 << 20
_LAST_LINE_BYTES = 4096
LOST_SECONDS = 60.0
"""A wrapper that has said nothing of itself so long after it was ordered is begun once more; only one of two begins."""

OnEnd = Callable[[str, int, JobEnd], None]


class Launcher(Protocol):
    """What gets orders (`pyros.jobs.wrapper`) and has a wrapper run for each; for the reactor's thread."""

    look_seconds: float | None
    """How often one looks for what it has not told; None: it tells when it has begun a wrapper."""

    def order(self, line: bytes) -> None:
        """Have a wrapper run for an order, a line of JSON."""
        ...

    def close(self) -> Deferred[None]:
        """End it; wrappers go on."""
        ...


class Runner(Protocol):
    """What carries jobs out. Every method is for the reactor's thread."""

    def carry_on(self, run: JobRun) -> None:
        """Begin an attempt, unless it has begun already; hear of its end in any case, once."""
        ...

    def stop(self, id: str) -> None:  # noqa: A002  a job has an id
        """End a job that runs, with all that it has started; nothing when it doesn't run."""
        ...

    def progress(self) -> list[tuple[JobRun, JobProgress]]:
        """Return what jobs that run have said last of how far they are."""
        ...

    def forget(self, ids: list[str]) -> None:
        """Remove what jobs that have ended have left on the disk."""
        ...

    def close(self) -> Deferred[None]:
        """Hear of nothing any more. What runs goes on: the next agent carries it on."""
        ...


class Limits(msgspec.Struct, frozen=True):
    """A queue's limits, for jobs that bring none of their own."""

    seconds: float | None = None
    """How long a job may run; None: as long as it wants."""
    memory: int | None = None
    """Bytes that it may use with all that it starts; None: no limit."""
    niceness: int = 10
    grace: float = 5.0
    """Seconds between SIGTERM and SIGKILL."""
    log_bytes: int = 64 << 20
    user: str = ""
    """Whom the jobs run as; '' for the agent's own user."""


class _Watched:
    """A job that is under way; one for each attempt."""

    def __init__(self, run: JobRun) -> None:
        self.run = run
        self.stop = run.stop
        self.wrapper: _ProcessEnd | None = None
        """Its wrapper's process; None until it is known."""
        self.timer: Timer | None = None
        self.ordered_until = 0.0
        """Until then (`Clock.monotonic`) a launcher that doesn't tell may still begin it."""

    @property
    def id(self) -> str:
        return self.run.id


class ProcessRunner:
    """Runs jobs as processes of this computer: `pyros.jobs.wrapper` says how."""

    def __init__(
        self,
        reactor: Reactor,
        clock: Clock,
        log: Logger,
        root: Path,
        limits: Limits,
        environment: dict[str, str],
        on_end: OnEnd,
        launcher: Launcher | None = None,
    ) -> None:
        """``root`` is the folder of the queue's jobs; ``environment`` is added to this process's.

        ``launcher`` is another one than the program of our own.
        """
        self._reactor = cast("SystemReactor", reactor)
        self._clock = clock
        self._log = log
        self._root = root
        self._limits = limits
        self._environment = environment
        self._on_end = on_end
        self._jobs: dict[str, _Watched] = {}
        self._launcher = launcher
        self._closed = False

    def carry_on(self, run: JobRun) -> None:
        """See `Runner.carry_on`."""
        if self._closed or run.id in self._jobs:
            return
        job = self._jobs[run.id] = _Watched(run)
        self._look(job, begin=True)

    def stop(self, id: str) -> None:  # noqa: A002  a job has an id
        """See `Runner.stop`."""
        job = self._jobs.get(id)
        if job is not None:
            job.stop = True
            self._signal(job)

    def progress(self) -> list[tuple[JobRun, JobProgress]]:
        """See `Runner.progress`."""
        said = [(job.run, read_progress(job_folder(self._root, id_))) for id_, job in self._jobs.items() if job.wrapper]
        return [(run, each) for run, each in said if each is not None]

    def forget(self, ids: list[str]) -> None:
        """See `Runner.forget`; in a thread of the reactor's pool."""
        deferToThreadPool(self._reactor, self._reactor.getThreadPool(), _remove, self._root, ids).addErrback(
            lambda failure: self._log.error(
                "folders of old jobs cannot be removed: {reason}", reason=failure.getErrorMessage()
            )
        )

    def close(self) -> Deferred[None]:
        """See `Runner.close`."""
        self._closed = True
        for job in self._jobs.values():
            self._unwatch(job)
        self._jobs.clear()
        return self._launcher.close() if self._launcher is not None else succeed(None)

    # One job -----------------------------------------------------------------------------------------------------

    def _look(self, job: _Watched, begin: bool) -> None:
        """Find out how far the attempt has come, and wait for what comes next."""
        if self._jobs.get(job.id) is not job:
            return
        folder, attempt = job_folder(self._root, job.id), job.run.attempt
        lives, pid = _wrapper_of(folder)
        if lives:
            if pid and self._watch(job, pid):
                return
            job.timer = self._clock.call_later(_AGAIN_SECONDS, self._look, job, False)
        elif (folder / f"result-{attempt}.json").exists():
            self._over(job, _read_end(folder, attempt))
        elif (folder / f"begun-{attempt}").exists() or job.run.boot != boot_id():
            self._crashed(job)
        elif begin and self._clock.monotonic() >= job.ordered_until:
            self._begin(job, folder)
        elif self._launcher is not None and self._launcher.look_seconds:
            job.timer = self._clock.call_later(self._launcher.look_seconds, self._look, job, True)
        else:
            self._log.error(
                "job {id} could not begin, as on a full disk; it is tried again in {seconds:g} s: look at {folder}",
                id=job.id, seconds=_BEGIN_AGAIN_SECONDS, folder=str(folder),
            )  # fmt: skip
            job.timer = self._clock.call_later(_BEGIN_AGAIN_SECONDS, self._look, job, True)

    def _begin(self, job: _Watched, folder: Path) -> None:
        if job.stop:
            self._over(job, JobEnd(why="stopped"))
            return
        launcher = self._launcher = self._launcher or _Launcher(self._reactor, self._clock, self._log, self)
        request, limits = job.run.request, self._limits
        environment = self._environment | {
            JOB_VARIABLE: job.id, "PYROS_JOB_FOLDER": str(folder), "PYROS_JOB_ATTEMPT": str(job.run.attempt),
        }  # fmt: skip
        order = {
            "id": job.id, "attempt": job.run.attempt, "folder": str(folder), "command": _command(request),
            "environment": environment, "files": _files(job.run), "grace": limits.grace, "log_bytes": limits.log_bytes,
            "seconds": request.seconds or limits.seconds, "memory": request.memory or limits.memory,
            "user": limits.user, "niceness": limits.niceness if request.niceness is None else request.niceness,
        }  # fmt: skip
        launcher.order(json.dumps(order).encode() + b"\n")
        if launcher.look_seconds:
            job.ordered_until = self._clock.monotonic() + LOST_SECONDS
        job.timer = self._clock.call_later(launcher.look_seconds or LOST_SECONDS, self._look, job, True)

    def launched(self, id_: str, attempt: int, pid: int) -> None:
        """For the launcher: it has forked a wrapper."""
        job = self._jobs.get(id_)
        if job is not None and job.run.attempt == attempt and job.wrapper is None and not self._watch(job, pid):
            self._look(job, begin=False)

    def lost(self) -> None:
        """For the launcher: it has ended, and with it the orders that it had not read."""
        self._launcher = None
        for job in list(self._jobs.values()):
            if job.wrapper is None:
                self._unwatch(job)
                job.timer = self._clock.call_later(_LAUNCH_AGAIN_SECONDS, self._look, job, True)

    def _watch(self, job: _Watched, pid: int) -> bool:
        """Wait for the end of a wrapper; False when it has ended already."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        self._unwatch(job)
        job.wrapper = _ProcessEnd(descriptor, lambda: self._ended(job))
        self._reactor.addReader(job.wrapper)
        if job.stop:
            self._signal(job)
        return True

    def _signal(self, job: _Watched) -> None:
        if job.wrapper is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(job.wrapper.fileno(), signal.SIGTERM)

    def _ended(self, job: _Watched) -> None:
        self._unwatch(job)
        self._look(job, begin=False)

    def _unwatch(self, job: _Watched) -> None:
        cancel_call(job.timer)
        if job.wrapper is not None:
            self._reactor.removeReader(job.wrapper)
            os.close(job.wrapper.fileno())
            job.wrapper = None

    def _crashed(self, job: _Watched) -> None:
        """Tell a crash when nothing that the job has started lives any more."""
        pool = self._reactor.getThreadPool()
        killing = deferToThreadPool(self._reactor, pool, kill_strays, job.id)

        def killed(alive: int) -> None:
            if self._jobs.get(job.id) is not job:
                return
            if alive:
                job.timer = self._clock.call_later(_AGAIN_SECONDS, self._crashed, job)
            else:
                self._over(job, JobEnd(crashed=True))

        killing.addCallbacks(
            killed, lambda failure: self._log.failure("processes that a job left behind could not be found", failure)
        )

    def _over(self, job: _Watched, end: JobEnd) -> None:
        del self._jobs[job.id]
        self._unwatch(job)
        self._on_end(job.id, job.run.attempt, end)


@implementer(IReadDescriptor)
class _ProcessEnd:
    """Waits in the reactor for the end of a process."""

    def __init__(self, descriptor: int, on_end: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._on_end = on_end

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "job"

    def doRead(self) -> None:
        self._on_end()

    def connectionLost(self, reason: Failure) -> None:
        """Note the reactor's end; what runs goes on."""


class _Launcher(ProcessProtocol):
    """The launcher's process."""

    look_seconds: float | None = None

    def __init__(self, reactor: SystemReactor, clock: Clock, log: Logger, runner: ProcessRunner) -> None:
        self._clock = clock
        self._log = log
        self._runner = runner
        self._received = b""
        self._exited = False
        self._closing: Deferred[None] | None = None
        self._last_wait: Timer | None = None
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._transport: Any = reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, "-P", str(wrapper.__file__)],
            os.environ | {"PYTHONPATH": path},
            childFDs={0: "w", 1: "r", 2: "r"},
        )

    def order(self, line: bytes) -> None:
        self._transport.writeToChild(0, line)

    def close(self) -> Deferred[None]:
        self._closing = Deferred()
        self._transport.closeChildFD(0)
        self._last_wait = self._clock.call_later(_CLOSE_SECONDS, self._kill)
        return self._closing

    def _kill(self) -> None:
        """End one that doesn't hear that its standard input has ended."""
        with suppress(ProcessExitedAlready):
            self._transport.signalProcess("KILL")
        self._reap()

    def _reap(self) -> None:
        """Where the reactor doesn't run in the main thread no signal tells that a child has ended."""
        if not self._exited and self._transport.pid is not None:
            self._transport.reapProcess()
        if not self._exited and self._transport.pid is not None:
            self._clock.call_later(_REAP_SECONDS, self._reap)

    # From Twisted.

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803  Twisted's names
        if childFD == 2:
            self._log.error("the jobs' launcher: {said}", said=data.decode(errors="replace").strip()[-2000:])
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            self._runner.launched(said["id"], said["attempt"], said["pid"])

    def childConnectionLost(self, childFD: int) -> None:  # noqa: N802, N803
        if childFD == 1 and not self._exited:
            self._reap()

    def processExited(self, reason: Failure) -> None:  # noqa: N802
        self._exited = True

    def processEnded(self, reason: Failure) -> None:
        cancel_call(self._last_wait)
        if self._closing is not None:
            self._closing.callback(None)
        else:
            self._log.error("the jobs' launcher has ended: {why}; it is begun again", why=reason.getErrorMessage())
            self._runner.lost()


def kill_strays(id_: str) -> int:
    """Kill every process whose environment says that it belongs to that job; returns how many there were."""
    mark = f"{JOB_VARIABLE}={id_}".encode()

    def find() -> list[int]:
        found = []
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            with suppress(OSError):
                alive = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
                if alive and mark in Path(entry.path, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    strays = find()
    if strays:
        wrapper.kill_all(find)
    return len(strays)


def _wrapper_of(folder: Path) -> tuple[bool, int]:
    """Return whether a wrapper lives there, and its process number; 0 while that isn't known."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False, 0
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(lock, 32, 0)
        return True, int(text) if text.isdigit() else 0
    finally:
        os.close(lock)
    return False, 0


class _Result(msgspec.Struct):
    """A wrapper's result file."""

    code: int | None
    signal: int | None
    why: str
    seconds: float
    cpu_seconds: float
    memory: int


def _read_end(folder: Path, attempt: int) -> JobEnd:
    """Put together how an attempt ended, from the files of its wrapper and its task."""
    try:
        result = msgspec.json.decode((folder / f"result-{attempt}.json").read_bytes(), type=prepared(_Result))
    except msgspec.DecodeError:  # a power cut has left half of it
        return JobEnd(crashed=True)
    outcome = TaskOutcome()
    try:
        data = _read_own(folder / "work" / run_task.outcome_file(attempt))
        if len(data) > _MAX_VALUE:
            outcome.error = f"its result has more than {_MAX_VALUE} bytes: write a file, return its path"
        else:
            outcome = msgspec.json.decode(data, type=prepared(TaskOutcome))
    except FileNotFoundError:
        if result.code != 0 and not result.why:
            outcome.error = _last_line(folder / "log")
    except (msgspec.DecodeError, OSError) as error:
        outcome.error = f"its result cannot be read: {error}"
    return JobEnd(**msgspec.structs.asdict(result), **msgspec.structs.asdict(outcome))


def _read_own(file: Path) -> bytes:
    """Read what a job has left, a little more than a result may have; it is the job's: no link, no pipe is followed."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{file} is no file")
        return opened.read(_MAX_VALUE + 1)


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LAST_LINE_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _remove(root: Path, ids: list[str]) -> None:
    for id_ in ids:
        shutil.rmtree(job_folder(root, id_), ignore_errors=True)


def _command(request: JobRequest) -> list[str]:
    if request.task:
        return [sys.executable, "-u", "-P", "-c", f"from {run_task.__name__} import main; main()"]
    return list(request.command)


def _files(run: JobRun) -> dict[str, str]:
    request = run.request
    if not request.task:
        return request.files
    call = TaskCall(request.id, request.task, request.args, request.kwargs, run.attempt - 1)
    return request.files | {TASK_FILE: msgspec.json.encode(call).decode()}
