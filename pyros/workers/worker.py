"""`Worker`: one worker process, seen from the reactor's thread."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast, get_type_hints

import msgspec
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros import errors
from pyros.clock import Clock
from pyros.errors import PyrosError, WorkerError
from pyros.prepared import prepared
from pyros.reactor import Reactor, SystemReactor
from pyros.workers import process
from pyros.workers.child import Child
from pyros.workers.process import JobAnswer, JobProblem, WorkerJob

MAX_WAITING_JOBS = 1000
START_SECONDS = 300.0
"""Within which a process must have imported what its jobs need; on a busy computer that takes a while."""
_PREPARE = f"{process.__name__}:{process.prepare.__name__}"

_T = TypeVar("_T")


class Worker:
    """A process beside this one that does heavy work, one job after the other.

    All methods are for the reactor's thread.
    The process begins with `warm_up` or with the first job, and lives until `stop`. One that dies, or needs too long,
    costs the job that it had; the next job gets a new process. With a reactor that runs no processes (a rehearsal) jobs
    run inline, in that reactor's own pool.
    """

    def __init__(self, reactor: Reactor, clock: Clock, log: Logger, name: str, modules: Sequence[str] = ()) -> None:
        """``name`` is for people; ``modules`` are imported before the first job."""
        self._reactor = reactor
        self._clock = clock
        self._log = log
        self._name = name
        self._modules = list(modules)
        self._jobs: deque[_Job] = deque()
        self._current: _Job | None = None
        self._process: Child | None = None
        self._ending: set[Child] = set()
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self._current is not None

    @property
    def pid(self) -> int | None:
        """The process's number, None while there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def inline(self) -> bool:
        """Whether jobs run in this process, because the reactor runs no others."""
        return not hasattr(self._reactor, "spawnProcess")

    def warm_up(self) -> None:
        """Begin the process, if there is none, so that it has imported everything when the first job comes."""
        if not (self.inline or self._stopped or self._process is not None):
            self._begin()

    def run(
        self, function: Callable[..., _T], argument: Any, block: memoryview | None = None, *, seconds: float
    ) -> Deferred[_T]:
        """Run ``function(argument)``, or ``function(argument, block)``, when the jobs before it are over.

        `process` says what a job is. ``seconds`` are counted from when it begins. Cancelling gives the result up; a job
        that runs already runs on.

        Fails with WorkerError when the process died, the job took too long or raised what nobody expects, or a thousand
        wait already; else with the PyrosError or OSError that the job raised. Raises ValueError when the argument is
        too long for a frame: what is large is a block.
        """
        if self.inline:
            arguments = (argument,) if block is None else (argument, block)
            pool = self._reactor.getThreadPool()
            return deferToThreadPool(self._reactor, pool, function, *arguments)  # type: ignore[return-value,unused-ignore]
        job = _Job(function, argument, block, seconds)
        if self._stopped:
            job.fail(WorkerError(f"the {self._name} worker has been stopped"))
        elif len(self._jobs) >= MAX_WAITING_JOBS:
            job.fail(WorkerError(f"{MAX_WAITING_JOBS} jobs wait for the {self._name} worker already"))
        else:
            self._jobs.append(job)
            self._next()
        return job.result

    def stop(self, patience: float = 0.0) -> Deferred[None]:
        """End the process; fires when it is gone. A job that runs gets so many seconds to end; those that wait fail."""
        self._stopped = True
        while self._jobs:
            self._jobs.popleft().fail(WorkerError(f"the {self._name} worker has been stopped"))
        if self._current is None or patience <= 0:
            return self._end()
        ended: Deferred[None] = Deferred()
        timer = self._clock.call_later(patience, ended.callback, None)

        def over(_: object) -> None:
            if timer.active():
                timer.cancel()
                ended.callback(None)

        self._current.over.addCallback(over)
        return ended.addCallback(lambda _: self._end())

    def _end(self) -> Deferred[None]:
        if self._current is not None:
            self._job_over(WorkerError(f"the {self._name} worker has been stopped"))
        if self._process is not None:
            self._give_up(self._process)
        if not self._ending:
            return succeed(None)
        gone = DeferredList([each.gone for each in self._ending])
        return gone.addCallback(lambda _: None)

    # The process -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._process = Child(cast("SystemReactor", self._reactor), self._clock, self)
        self._process.send(process.frame(WorkerJob(_PREPARE, msgspec.msgpack.encode(self._modules))))
        self._process.limit(START_SECONDS)

    def _next(self) -> None:
        """Give the process the next job, if it has none and there is one."""
        if self._current is not None or self._stopped:
            return
        while self._jobs and self._jobs[0].result.called:  # cancelled
            self._jobs.popleft()
        if not self._jobs:
            return
        if self._process is None:
            self._begin()
        elif self._process.ready:
            self._current = job = self._jobs.popleft()
            self._process.limit(job.seconds)
            self._hand_over(self._process, job)

    def _hand_over(self, process: Child, job: _Job) -> None:
        """Send the block first, copied by a thread of the pool, which leaves Python's lock to the others meanwhile."""
        if job.block is None:
            process.send(job.frame)
            return

        def written(_: object) -> None:
            if self._process is process and self._current is job:
                process.send(job.frame)

        def failed(failure: Failure) -> None:
            if self._process is process and self._current is job:
                self._lose(process, f"its memory cannot be written: {failure.getErrorMessage()}")

        pool = self._reactor.getThreadPool()
        writing = deferToThreadPool(self._reactor, pool, process.block.write, job.block)
        writing.addCallbacks(written, failed)

    def answered(self, process: Child, answer: JobAnswer) -> None:
        """For the process: the end of a job, or of its preparation."""
        if self._process is not process:
            return
        if not process.ready:
            if answer.problem is not None:
                self._lose(process, f"it cannot begin: {answer.problem.kind}: {answer.problem.text}")
                return
            process.ready = True
            process.limit(None)
            self._next()
            return
        job = self._current
        if job is None:
            self._lose(process, "it answers what nobody asked")
            return
        if answer.problem is not None:
            self._job_over(self._error(job, answer.problem))
        elif answer.block < 0:
            try:
                value = job.decode(answer.value)
            except msgspec.MsgspecError as error:
                self._job_over(WorkerError(f"{job.name}: its result cannot be read: {error}"))
            else:
                self._job_over(value)
        else:
            pool = self._reactor.getThreadPool()
            reading = deferToThreadPool(self._reactor, pool, process.block.read, answer.block)
            reading.addErrback(lambda failure: WorkerError(f"{job.name}: no result: {failure.getErrorMessage()}"))
            reading.addCallback(lambda result: self._job_over(result) if self._current is job else None)

    def died(self, process: Child, why: str) -> None:
        """For the process: it has ended, or what it says cannot be understood."""
        if self._process is process:
            self._lose(process, why)

    def late(self, process: Child, seconds: float, where: str) -> None:
        """For the process: what it does takes long; said, for a worker that hangs says nothing itself."""
        doing = f"{self._current.name} is not over" if self._current is not None else "it is not ready"
        self._log.warn(
            "the {name} worker: {doing} after {seconds:g} s; it is at: {where}",
            name=self._name, doing=doing, seconds=seconds, where=where or "it has said nothing",
        )  # fmt: skip

    def gone(self, process: Child) -> None:
        """For the process: nothing is left of it."""
        self._ending.discard(process)

    def _lose(self, process: Child, why: str) -> None:
        """Drop a process that is of no use any more: the caller hears why, and the next job gets another process."""
        self._give_up(process)
        if self._current is None and self._jobs:  # or one that cannot begin would be begun for ever
            self._current = self._jobs.popleft()
        if self._current is None:
            self._log.warn("the {name} worker: {why}", name=self._name, why=why)
            return
        self._log.error("the {name} worker: {why}: {job} is lost", name=self._name, why=why, job=self._current.name)
        self._job_over(WorkerError(f"the {self._name} worker: {why}"))

    def _give_up(self, process: Child) -> None:
        self._process = None
        self._ending.add(process)
        process.kill()

    def _job_over(self, result: Any) -> None:
        """Take a job's value, or its error."""
        job, self._current = self._current, None
        if self._process is not None:
            self._process.limit(None)
            self._process.block.empty()
        if job is not None:
            job.end(result)
        self._next()

    def _error(self, job: _Job, problem: JobProblem) -> Exception:
        """Return what the job raised, as the class that it was where a caller may expect that."""
        for module, base in ((errors, PyrosError), (__import__("builtins"), OSError)):
            kind = getattr(module, problem.kind, None)
            if inspect.isclass(kind) and issubclass(kind, base):
                try:
                    if problem.number is not None:
                        return OSError(problem.number, problem.text, problem.file)
                    made: Exception = kind(problem.text)
                except TypeError:  # it is made of more than a text
                    return PyrosError(problem.text)
                return made
        self._log.error("{job} failed in an unexpected way: {trace}", job=job.name, trace=problem.traceback)
        return WorkerError(f"{job.name}: {problem.kind}: {problem.text}")


class _Job:
    """One call: ``result`` is what whoever asked waits for, ``over`` fires in any case when it has ended."""

    def __init__(self, function: Callable[..., Any], argument: Any, block: memoryview | None, seconds: float) -> None:
        self.name = function.__name__
        self.block = block
        self.seconds = seconds
        self.result: Deferred[Any] = Deferred()
        self.over: Deferred[None] = Deferred()
        self._function = function
        where = f"{function.__module__}:{function.__qualname__}"
        size = -1 if block is None else len(block)
        self.frame = process.frame(WorkerJob(where, msgspec.msgpack.encode(argument), size))

    def decode(self, value: bytes) -> Any:
        return msgspec.msgpack.decode(value, type=prepared(_result_type(self._function)))

    def fail(self, error: Exception) -> None:
        self.end(error)

    def end(self, result: Any) -> None:
        self.block = None
        if not self.result.called:
            if isinstance(result, Exception):
                self.result.errback(Failure(result))
            else:
                self.result.callback(result)
        self.over.callback(None)


@lru_cache(maxsize=64)
def _result_type(function: Callable[..., Any]) -> Any:
    return get_type_hints(function).get("return", Any)
