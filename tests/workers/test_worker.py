"""A worker process: what it computes, what becomes of a job whose process dies or hangs, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import threads
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger, LogLevel, capturedLogs, formatEvent

from pyros.clock import RealClock
from pyros.errors import ImageError, WorkerError
from pyros.rehearsal.reactor import MemoryReactor
from pyros.workers import Worker
from pyros.workers.process import NICENESS
from tests.conftest import reactor_in_a_thread, wait_until
from tests.workers import jobs

blockingCallFromThread: Any = threads.blockingCallFromThread
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reactor() -> Iterator[Any]:
    """One in a thread of its own, where no signal tells of a child's end."""
    with reactor_in_a_thread() as running:
        yield running
        assert blockingCallFromThread(running, running.getDelayedCalls) == []


class Workers:
    """A worker, called from the test's thread."""

    def __init__(self, reactor: Any, modules: list[str]) -> None:
        self.reactor = reactor
        self.worker = Worker(reactor, RealClock(reactor), Logger("worker"), "test", modules)

    def run(self, function: Callable[..., Any], argument: Any, block: Any = None, seconds: float = 60) -> Any:
        return blockingCallFromThread(self.reactor, lambda: self.worker.run(function, argument, block, seconds=seconds))

    def begin(self, function: Callable[..., Any], argument: Any, seconds: float = 600) -> Deferred[Any]:
        """Give it a job, and don't wait; a failure is kept in the Deferred."""
        begun: Deferred[Any] = blockingCallFromThread(
            self.reactor, lambda: [self.worker.run(function, argument, seconds=seconds)]
        )[0]
        return begun

    def wait_for(self, deferred: Deferred[Any]) -> Any:
        return blockingCallFromThread(self.reactor, lambda: deferred)

    def stop(self, patience: float = 0.0) -> None:
        blockingCallFromThread(self.reactor, self.worker.stop, patience)


@pytest.fixture
def worker(reactor: Any) -> Iterator[Callable[..., Workers]]:
    made: list[Workers] = []

    def make(*modules: str) -> Workers:
        made.append(Workers(reactor, list(modules)))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def is_gone(pid: int) -> bool:
    """Whether there is no such process, or only what its parent hasn't asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def noted(file: Path) -> int:
    """Read the number that a process has written into a file."""
    return int(wait_until(lambda: file.exists() and file.read_text().strip(), what=f"{file.name}"))


def test_a_job_runs_in_another_process_at_low_priority(worker: Any) -> None:
    w = worker()
    done = w.run(jobs.add, jobs.SumJob([0.1, 0.2]))
    assert isinstance(done, jobs.Total)
    assert done.total == 0.1 + 0.2
    assert done.pid != os.getpid()
    assert done.niceness >= NICENESS
    assert w.run(jobs.add, jobs.SumJob([1])).pid == done.pid


def test_what_an_image_has_goes_past_the_frames_both_ways(worker: Any) -> None:
    w = worker()
    data = os.urandom(3_000_001)
    assert w.run(jobs.reverse, 2, memoryview(data)) == data[::-1] * 2
    assert w.run(jobs.length, 0, memoryview(b"")) == 0
    assert w.run(jobs.pixels, 5) == bytes(5)
    assert w.run(jobs.pixels, 0) == b""
    assert w.run(jobs.reverse, 1, memoryview(b"abc")) == b"cba"


def test_an_argument_that_is_too_long_is_refused(worker: Any) -> None:
    with pytest.raises(ValueError, match="more than a frame"):
        worker().run(jobs.add, "x" * (17 << 20))


def test_it_begins_with_its_modules(worker: Any) -> None:
    w = worker("tests.workers.jobs")
    blockingCallFromThread(w.reactor, w.worker.warm_up)
    first = w.worker.pid
    assert w.run(jobs.add, jobs.SumJob([])).pid == first


def test_errors_come_back_as_what_they_were(worker: Any) -> None:
    w = worker()
    with pytest.raises(ImageError, match="it shows nothing"):
        w.run(jobs.refuse, "image")
    with pytest.raises(FileNotFoundError) as missing:
        w.run(jobs.refuse, "file")
    assert missing.value.filename == "/no/such/folder/file"
    with pytest.raises(FileExistsError, match="another image"):
        w.run(jobs.refuse, "exists")
    with pytest.raises(WorkerError, match="refuse: KeyError: 'nobody expects this'"):
        w.run(jobs.refuse, "")
    assert w.run(jobs.add, jobs.SumJob([1])).total == 1


@pytest.mark.parametrize(("how", "said"), [(signal.SIGKILL, "killed by signal 9"), (-3, "code 3: a last word")])
def test_a_worker_that_dies_costs_one_job(worker: Any, how: int, said: str) -> None:
    w = worker()
    with pytest.raises(WorkerError, match=said):
        w.run(jobs.die, int(how))
    assert w.run(jobs.add, jobs.SumJob([1])).total == 1


def test_a_job_that_waits_outlives_the_worker(worker: Any) -> None:
    w = worker()
    lost, next_one = w.begin(jobs.die, 9), w.begin(jobs.add, jobs.SumJob([2]))
    with pytest.raises(WorkerError):
        w.wait_for(lost)
    assert w.wait_for(next_one).total == 2


@pytest.mark.parametrize("job", [jobs.hang, jobs.compute])
def test_a_worker_that_hangs_costs_one_job(worker: Any, tmp_path: Path, job: Callable[..., Any]) -> None:
    w = worker()
    with pytest.raises(WorkerError, match="no answer within 1 s"):
        w.run(job, str(tmp_path / "hung"), seconds=1)
    assert w.run(jobs.add, jobs.SumJob([1])).total == 1
    assert (tmp_path / "hung").exists(), "it ran"
    wait_until(lambda: is_gone(noted(tmp_path / "hung")), what="its end")


def test_a_job_that_takes_long_is_told_with_where_it_is(
    worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyros.workers.child.LATE_SECONDS", 0.3)
    w = worker()

    def told() -> bool:
        said = [formatEvent(event) for event in list(logs) if event["log_level"] is LogLevel.warn]
        return any("the test worker: hang is not over after" in line and "jobs.py" in line for line in said)

    with capturedLogs() as logs:
        hung = w.begin(jobs.hang, str(tmp_path / "hung"))
        wait_until(told, what="where it is")
        w.stop()
    with pytest.raises(WorkerError, match="stopped"):
        w.wait_for(hung)


def test_a_worker_that_is_stopped_by_a_signal_costs_one_job(worker: Any, tmp_path: Path) -> None:
    w = worker()
    w.run(jobs.add, jobs.SumJob([]))
    pid = w.worker.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(WorkerError, match="no answer"):
        w.run(jobs.add, jobs.SumJob([1]), seconds=0.2)
    wait_until(lambda: is_gone(pid), what="its end")


def test_one_that_cannot_begin_says_why(worker: Any) -> None:
    w = worker("tests.workers.no_such_module")
    for _ in range(2):
        with pytest.raises(WorkerError, match="cannot begin: ModuleNotFoundError"):
            w.run(jobs.add, jobs.SumJob([1]))


def test_a_result_that_is_given_up_costs_nothing(worker: Any) -> None:
    w = worker()
    first = w.begin(jobs.add, jobs.SumJob([1]))
    blockingCallFromThread(w.reactor, first.cancel)
    with pytest.raises(CancelledError):
        w.wait_for(first)
    assert w.run(jobs.add, jobs.SumJob([2])).total == 2


def test_stopping_ends_it_with_what_it_has_started(worker: Any, tmp_path: Path) -> None:
    w = worker()
    running, waiting = w.begin(jobs.run_program, str(tmp_path / "pid")), w.begin(jobs.add, jobs.SumJob([]))
    pid, program = w.worker.pid, noted(tmp_path / "pid")
    w.stop()
    for each in (running, waiting):
        with pytest.raises(WorkerError, match="has been stopped"):
            w.wait_for(each)
    wait_until(lambda: is_gone(pid) and is_gone(program), what="the end of both")
    with pytest.raises(WorkerError, match="has been stopped"):
        w.run(jobs.add, jobs.SumJob([]))


def test_stopping_lets_a_job_end_when_told_to(worker: Any) -> None:
    w = worker()
    begun = w.begin(jobs.add, jobs.SumJob([3]))
    wait_until(lambda: w.worker.busy or begun.called, what="its beginning")
    w.stop(60)
    assert w.wait_for(begun).total == 3


@pytest.mark.parametrize("job", ["hang", "compute", "run_program"])
def test_nothing_is_left_when_its_parent_is_killed(tmp_path: Path, job: str) -> None:
    arguments = [sys.executable, "-m", "tests.workers.program", job, str(tmp_path / "pid")]
    program = subprocess.Popen(arguments, cwd=ROOT)
    try:
        started = noted(tmp_path / "pid")
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        assert children
    finally:
        program.kill()
        program.wait()
    wait_until(lambda: all(is_gone(pid) for pid in (started, *map(int, children))), what="their end")


def test_a_rehearsal_runs_it_inline() -> None:
    reactor = MemoryReactor()
    worker = Worker(reactor, RealClock(reactor), Logger("worker"), "test")
    results: list[Any] = []
    worker.run(jobs.add, jobs.SumJob([1]), seconds=1).addCallback(results.append)
    worker.run(jobs.reverse, 1, memoryview(b"ab"), seconds=1).addCallback(results.append)
    reactor.run_until(1)
    assert results[0].pid == os.getpid()
    assert results[1] == b"ba"
    assert worker.stop().called
