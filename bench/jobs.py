"""What jobs cost: queued durably, run one by one, from being asked for to their result; beside huey and Celery.

    python bench/jobs.py            the figures of docs/jobs.md
    python bench/jobs.py --quick    fewer jobs, without Celery

Each side is a process of its own with one worker, on the same disk: our agent as `twistd -n pyros-agent` runs it, and
huey's consumer on SQLite with fsync, Celery's worker on our transport and on RabbitMQ (a node of its own), where they
are installed. huey's worker is a thread and Celery's a process that calls a function, which runs /bin/true as ours do;
they have no wrapper that bounds a program and ends what it has started.

Each figure has a time limit (`--seconds`): a side that is slower is measured over fewer jobs.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from bench._common import PATIENCE, BenchReport, arguments, free_ports, median, quantile
from pyros import config as configuration
from pyros import messages
from pyros.cli.common import program
from pyros.clock import Deadline, RealClock
from pyros.config import ENVIRONMENT, Config
from pyros.errors import PyrosError
from pyros.jobs.ledger import LedgerReader
from pyros.messages import JobRequest
from pyros.sender import Sender, ask
from tests.jobs.rabbit import RABBIT, rabbit

CLOCK = RealClock(Clock())
LATER = 1e6
LOOK_SECONDS = 0.002
END_SECONDS = 20.0
"""What a side has for its end, before it is killed."""


class NoEndError(Exception):
    """What was asked for last has not ended in time."""


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=3, help="how many times everything is measured")
    parser.add_argument("--seconds", type=float, default=20.0, help="the most that one figure takes")
    chosen = parser.parse_args()
    queued, ran, alone, rounds = (
        (500, 30, 5, min(2, chosen.rounds)) if chosen.quick else (10_000, 300, 50, chosen.rounds)
    )
    report = BenchReport("jobs", chosen.json, ["huey", "celery"])
    sides: dict[str, Callable[[Path], Any]] = {"PYROS": pyros}
    if importlib.util.find_spec("huey"):
        sides["huey"] = huey
    if importlib.util.find_spec("celery") and not chosen.quick:
        sides["Celery, our transport"] = celery
        if RABBIT.exists():
            sides["Celery, RabbitMQ"] = celery_on_rabbit
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            report.doing(f"round {number + 1} of {rounds}: {name}")
            with tempfile.TemporaryDirectory(prefix="bench-", dir=chosen.dir) as folder:
                try:
                    with side(Path(folder).resolve()) as queue:
                        found[name].append(measure(queue, queued, ran, alone, chosen.seconds))
                except NoEndError as error:
                    report.doing(f"{name}: {error}: this round doesn't count")
    found = {name: rounds for name, rounds in found.items() if rounds}
    show(report, found, queued)


def repeated(act: Callable[[int], None], count: int, portion: int, seconds: float) -> tuple[int, list[float]]:
    """Do something so many times, in portions, until the time is over; return how often, and each portion's seconds."""
    times: list[float] = []
    done = 0
    while done < count and sum(times) < seconds:
        began = CLOCK.monotonic()
        act(portion)
        times.append(CLOCK.monotonic() - began)
        done += portion
    return done, times


def measure(queue: Any, queued: int, ran: int, alone: int, seconds: float) -> dict[str, float]:
    """Measure one side once."""
    _, times = repeated(queue.run, alone, 1, seconds)
    used = _cpu(queue.pid)
    ran, running = repeated(queue.run, ran, max(1, ran // 3), seconds)
    cpu = _cpu(queue.pid) - used
    put, putting = repeated(queue.put, queued, queued // 20 if queue.one_by_one else queued, seconds)
    memory = [_memory(pid) for pid in _processes(queue.pid)]
    return {
        "queued_per_second": put / sum(putting), "per_second": ran / sum(running), "cpu_ms": cpu / ran * 1e3,
        "p50_ms": median(times) * 1e3, "p99_ms": quantile(times, 0.99) * 1e3, "memory_mb": memory[0],
        "others_mb": sum(memory[1:]),
    }  # fmt: skip


class PyrosQueue:
    """Our queue."""

    one_by_one = False

    def __init__(self, config: Config, pid: int) -> None:
        self._config, self.pid = config, pid
        self._client = Sender.open("jobs", config=config, timeout=PATIENCE)

    def _ask(self, count: int, countdown: float) -> list[str]:
        ids = [uuid.uuid4().hex for _ in range(count)]
        for id_ in ids:
            request = JobRequest(id=id_, name="true", command=("/bin/true",), countdown=countdown)
            self._client.post(messages.JOB_REQUESTED, request)
        self._client.flush()
        return ids

    def put(self, count: int) -> None:
        """Queue jobs that wait; returns when they are on disk."""
        self._ask(count, LATER)

    def run(self, count: int) -> None:
        """Queue jobs and wait until the last has ended."""
        last = self._ask(count, 0.0)[-1]
        reader = LedgerReader("jobs", self._config.journal("jobs"))
        deadline = Deadline(PATIENCE)
        while (row := reader.job(last)) is None or row.ended is None:
            deadline.pause(LOOK_SECONDS)
            if not deadline.left():
                raise NoEndError("the last job has no end")
        reader.close()
        if row.state != "succeeded":
            raise SystemExit(f"the last job {row.state}: {row.reason}")

    def close(self) -> None:
        self._client.close()


@contextmanager
def pyros(folder: Path) -> Iterator[PyrosQueue]:
    """Run a queue in a process of its own."""
    (port,) = free_ports(1)
    file = folder.absolute() / configuration.FILE_NAME
    file.write_text(
        f"[observatory]\nname = bench\ndata = .\n[jobs]\nport = {port}\napp = pyros.agents.jobs\noption_niceness = 0\n"
    )
    config = configuration.load(file)
    command = [sys.executable, program("twistd"), "-n", "--pidfile=", "pyros-agent", "--config", str(file),
               "--agent", "jobs"]  # fmt: skip
    with _process(command, folder, os.environ) as pid:
        deadline = Deadline(PATIENCE)
        while True:
            try:
                ask(config.agent("jobs"), "status")
                break
            except PyrosError:
                if not deadline.left():
                    raise
                deadline.pause(0.05)
        ours = PyrosQueue(config, pid)
        ours.run(1)  # the launcher is begun with the first job
        yield ours
        ours.close()


class HueyQueue:
    """huey's queue on SQLite, synced."""

    one_by_one = True

    def __init__(self, pid: int) -> None:
        self.pid, self._tasks = pid, importlib.import_module("bench._huey_tasks")

    def put(self, count: int) -> None:
        for _ in range(count):
            self._tasks.true.schedule(delay=LATER)

    def run(self, count: int) -> None:
        last = [self._tasks.true() for _ in range(count)][-1]
        deadline = Deadline(PATIENCE)
        while last.get() is None:
            deadline.pause(LOOK_SECONDS)
            if not deadline.left():
                raise NoEndError("the last task has no end")


@contextmanager
def huey(folder: Path) -> Iterator[HueyQueue]:
    """Run huey's consumer in a process of its own."""
    os.environ["BENCH_HUEY"] = str(folder / "huey.sqlite")
    sys.modules.pop("bench._huey_tasks", None)
    here = str(Path(__file__).resolve().parent.parent)
    command = [sys.executable, "-m", "huey.bin.huey_consumer", "bench._huey_tasks.huey", "-w", "1", "-q", "-d", "0.01"]
    with _process(command, folder, os.environ | {"PYTHONPATH": here}) as pid:
        queue = HueyQueue(pid)
        queue.run(1)
        yield queue


class CeleryQueue:
    """Celery's queue, and a worker with one process."""

    one_by_one = True

    def __init__(self, application: Any, pid: int) -> None:
        self.pid, self._app = pid, application

    def _ask(self, **options: Any) -> Any:
        return self._app.send_task("bench._celery_tasks.true", queue="jobs", **options)

    def put(self, count: int) -> None:
        for _ in range(count):
            self._ask(countdown=LATER)

    def run(self, count: int) -> None:
        last = [self._ask() for _ in range(count)][-1]
        try:
            last.get(timeout=PATIENCE, interval=LOOK_SECONDS)
        except TimeoutError:
            raise NoEndError("the last task has no end") from None


@contextmanager
def celery(folder: Path, broker: str = "") -> Iterator[CeleryQueue]:
    """Run a worker of Celery in a process of its own."""
    from pyros.jobs.celery_app import make_app

    file = folder / configuration.FILE_NAME
    (port,) = free_ports(1)
    agent = f"[jobs]\nport = {port}\napp = pyros.agents.jobs\n"
    own = f"[celery]\nmodules = bench._celery_tasks\n{f'broker = {broker}' if broker else ''}\n"
    file.write_text(f"[observatory]\nname = bench\ndata = .\n{agent}{own}")
    application = make_app(configuration.load(file))
    environment = os.environ | {ENVIRONMENT: str(file), "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [program("celery"), "-A", "pyros.jobs", "worker", "-Q", "jobs", "-n", "bench", "-c", "1"]
    with _process(command, folder, environment) as pid:
        queue = CeleryQueue(application, pid)
        queue.run(1)
        yield queue
    application.close()


@contextmanager
def celery_on_rabbit(folder: Path) -> Iterator[CeleryQueue]:
    """Run RabbitMQ, and a worker."""
    (folder / "rabbit").mkdir()
    with rabbit(folder / "rabbit") as url, celery(folder, url) as queue:
        yield queue


@contextmanager
def _process(command: list[str], folder: Path, environment: Any) -> Iterator[int]:
    with (folder / "log").open("wb") as out:
        running = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(environment)
        )
    try:
        yield running.pid
    finally:
        running.terminate()
        try:
            running.wait(END_SECONDS)
        except subprocess.TimeoutExpired:  # Celery waits for what is due in eleven days
            running.kill()
            running.wait()


def _processes(pid: int) -> list[int]:
    children = [file.read_text().split() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return [pid, *(int(child) for some in children for child in some)]


def _cpu(pid: int) -> float:
    """Seconds of processor of a process, its children, and of all of theirs that have ended."""
    total = 0
    for each in _processes(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    """Megabytes that a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def show(report: BenchReport, found: dict[str, list[dict[str, float]]], queued: int) -> None:
    rows = []
    for key, title in (
        ("queued_per_second", f"queued durably a second, of up to {queued}"),
        ("per_second", "/bin/true a second, one at a time"),
        ("cpu_ms", "processor for each, ms"),
        ("p50_ms", "asked for to its end, p50 ms"),
        ("p99_ms", "the same, p99 ms"),
        ("memory_mb", "memory, MB"),
        ("others_mb", "memory of its launcher or child, MB"),
    ):
        row = [title]
        for name, rounds in found.items():
            values = sorted(each[key] for each in rounds)
            row.append(f"{median(values):.4g} ({values[0]:.4g} to {values[-1]:.4g})")
            report.figures(title, system=name, median=median(values), rounds=values)
        rows.append(row)
    report.table("Jobs", ["", *found], rows)
    report.note("queued: ours in a pipeline over one connection, the others' one by one as their interfaces have it")
    report.ends()


if __name__ == "__main__":
    main()
