"""Four queues behind one interface: ours, and Celery on its filesystem transport, on ours and on RabbitMQ."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyros.config import ENVIRONMENT, load
from pyros.jobs import AsyncResult
from pyros.jobs.celery_app import make_app
from tests.conftest import AgentsObservatory, wait_until
from tests.jobs.conftest import Queue, lock_holder

TASKS = """
import os
import subprocess
import time
from pathlib import Path
from {library} import shared_task

def note(file, word):
    with open(file, "a") as out:
        out.write(word + "\\n")

def wait_for(file):
    while not Path(file).exists():
        time.sleep(0.02)

@shared_task
def mul(x, y):
    return x * y

@shared_task
def fails():
    raise ValueError("no such star")

@shared_task(bind=True, max_retries=5)
def third(self):
    if self.request.retries < 2:
        raise self.retry(exc=OSError("not yet"), countdown=0.2)
    return self.request.retries

@shared_task(acks_late=True)
def effect(file, word="done", go=""):
    note(file, word + " begun")
    if go:
        wait_for(go)
    note(file, word + " ended")

@shared_task(bind=True)
def shows(self, go):
    self.update_state(state="PROGRESS", meta={{"percent": 40}})
    wait_for(go)

@shared_task
def starts(pids):
    deaf = subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    away = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    note(pids, f"{{deaf.pid}} {{away.pid}}")
    while True:
        time.sleep(1)
"""


class Ours:
    """A queue's agent."""

    def __init__(self, folder: Path) -> None:
        keys = {"app": "pyros.agents.jobs", "option_grace": "0.5 s", "option_niceness": "0"}
        self.place = AgentsObservatory(folder, {"jobs": keys})
        (folder / "side_tasks.py").write_text(TASKS.format(library="pyros.jobs"))
        self._queue: Queue | None = None

    @property
    def queue(self) -> Queue:
        assert self._queue is not None
        return self._queue

    def start(self) -> None:
        if self._queue is None:
            self._queue = Queue(self.place, "jobs")
        else:
            self._queue.start()

    def ask(self, task: str, *args: Any, id_: str = "", **options: Any) -> str:
        words = {"expires": "expire_seconds", "time_limit": "seconds"}
        named = {words.get(key, key): value for key, value in options.items()}
        if "expire_seconds" in named:
            named["expire_seconds"] = float(named["expire_seconds"])
        named["retries"] = 5 if task == "third" else 0
        return self.queue.ask(task=f"side_tasks.{task}", args=args, id=id_, on_crash="rerun", **named)

    def _result(self, id_: str) -> AsyncResult:
        return AsyncResult(id_, self.place.config)

    def state(self, id_: str) -> str:
        return self._result(id_).state

    def result(self, id_: str) -> Any:
        return self._result(id_).result

    def progress(self, id_: str) -> Any:
        with suppress(OSError, ValueError):
            return json.loads(self.queue.file(id_, "progress.json"))["percent"]
        return None

    def revoke(self, id_: str, terminate: bool = False) -> None:
        self.queue.revoke(id_, terminate)

    def kill(self) -> None:
        self.queue.kill()

    def cut(self) -> None:
        """Kill everything, as a power cut does."""
        wrappers = [pid for job in self.queue.folder("x").parent.glob("*") if (pid := lock_holder(job))]
        self.queue.kill()
        for pid in wrappers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        if self._queue is not None:
            self._queue.close()


class Celerys:
    """A worker of Celery with one process."""

    def __init__(self, folder: Path, broker: str = "") -> None:
        self.place = AgentsObservatory(folder, {"jobs": {"app": "pyros.agents.jobs"}})
        broker = f"broker = {broker}\n" if broker else ""
        with self.place.path.open("a") as ini:
            ini.write(f"[celery]\nmodules = side_tasks\n{broker}")
        self.place.config = load(self.place.path)
        (folder / "side_tasks.py").write_text(TASKS.format(library="celery"))
        self.app = make_app(self.place.config)
        self._workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        log = self.place.folder / f"worker-{len(self._workers)}.log"
        program = str(Path(sys.executable).parent / "celery")
        command = [program, "-A", "pyros.jobs", "worker", "-Q", "jobs", "-n", "name", "-c", "1", "--loglevel", "INFO"]
        environment = os.environ | {ENVIRONMENT: str(self.place.path)}
        with log.open("wb") as out:
            worker = subprocess.Popen(
                command, cwd=self.place.folder, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        self._workers.append(worker)
        wait_until(lambda: "ready." in log.read_text() or worker.poll() is not None, what="the worker to be ready")
        assert worker.poll() is None, log.read_text()

    def ask(self, task: str, *args: Any, id_: str = "", **options: Any) -> str:
        id_ = id_ or uuid.uuid4().hex
        self.app.send_task(f"side_tasks.{task}", args, task_id=id_, queue="jobs", **options)
        return id_

    def state(self, id_: str) -> str:
        return str(self.app.AsyncResult(id_).state)

    def result(self, id_: str) -> Any:
        return self.app.AsyncResult(id_).result

    def progress(self, id_: str) -> Any:
        info = self.app.AsyncResult(id_).info
        return info.get("percent") if isinstance(info, dict) else None

    def revoke(self, id_: str, terminate: bool = False) -> None:
        self.app.control.revoke(id_, terminate=terminate)

    def kill(self) -> None:
        """Kill the worker; a child that runs a task goes on with it."""
        self._workers[-1].kill()
        self._workers[-1].wait()

    def cut(self) -> None:
        os.killpg(self._workers[-1].pid, signal.SIGKILL)
        self._workers[-1].wait()

    def close(self) -> None:
        for worker in self._workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        if "amqp" in self.app.conf.broker_url:  # the next test's is another one
            with self.app.connection() as connection:
                connection.default_channel.queue_delete("jobs")
        self.app.close()


Side = Ours | Celerys
# The fifteen tests: each gives the outcome that the table of docs/jobs.md has.

END = ("SUCCESS", "FAILURE", "REVOKED")
LOST_SECONDS = 20.0


def _wait(side: Side, id_: str, *states: str) -> str:
    return str(wait_until(lambda: (state := side.state(id_)) in (states or END) and state, what=f"{id_} to end"))


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _yes(held: bool) -> str:
    return "yes" if held else "no"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _times(side: Side, id_: str, file: Path) -> str:
    """Wait for the end, and say how often it was begun."""
    limit = time.monotonic() + LOST_SECONDS
    while side.state(id_) not in END or f"{id_[:4]} ended" not in _lines(file):
        if time.monotonic() > limit:
            return "lost"
        time.sleep(0.05)
    _wait(side, side.ask("mul", 1, 1))
    return {1: "once", 2: "run again"}.get(_lines(file).count(f"{id_[:4]} begun"), "more than twice")


def result(side: Side, folder: Path) -> str:
    side.start()
    id_ = side.ask("mul", 4, 5)
    return _yes(_wait(side, id_) == "SUCCESS" and side.result(id_) == 20)


def failure(side: Side, folder: Path) -> str:
    side.start()
    id_ = side.ask("fails")
    return _yes(_wait(side, id_) == "FAILURE" and "no such star" in str(side.result(id_)))


def retry(side: Side, folder: Path) -> str:
    side.start()
    id_ = side.ask("third")
    return _yes(_wait(side, id_) == "SUCCESS" and side.result(id_) == 2)


def countdown(side: Side, folder: Path) -> str:
    side.start()
    late, soon = side.ask("effect", str(folder / "out"), "late", countdown=2), side.ask("effect", str(folder / "out"))
    _wait(side, soon)
    _wait(side, late)
    return _yes(_lines(folder / "out") == ["done begun", "done ended", "late begun", "late ended"])


def expiry(side: Side, folder: Path) -> str:
    side.start()
    first = side.ask("effect", str(folder / "out"), "first", str(folder / "go"))
    wait_until(lambda: _lines(folder / "out"))
    late = side.ask("effect", str(folder / "out"), "late", expires=0.2)
    time.sleep(0.5)
    (folder / "go").touch()
    _wait(side, first)
    for _ in range(2):
        _wait(side, side.ask("mul", 1, 1))
    seen = side.state(late) == "REVOKED"
    return ("yes" if seen else "it doesn't begin") if len(_lines(folder / "out")) == 2 else "no"


def priority(side: Side, folder: Path) -> str:
    side.start()
    first = side.ask("effect", str(folder / "out"), "first", str(folder / "go"))
    wait_until(lambda: _lines(folder / "out"))
    ids = [side.ask("effect", str(folder / "out"), word, priority=int(word[1])) for word in ("a0", "b5", "c0", "d9")]
    (folder / "go").touch()
    for id_ in [first, *ids]:
        _wait(side, id_)
    return _yes([line[:2] for line in _lines(folder / "out")[2::2]] == ["d9", "b5", "a0", "c0"])


def twice(side: Side, folder: Path) -> str:
    side.start()
    for _ in range(2):
        _wait(side, side.ask("effect", str(folder / "out"), id_="the-same"))
    for _ in range(2):
        _wait(side, side.ask("mul", 1, 1))
    return _yes(len(_lines(folder / "out")) == 2)


def nobody(side: Side, folder: Path) -> str:
    side.start()
    side.kill()
    if isinstance(side, Ours):  # its outbox is another agent's, or the caller's
        side.start()
        id_ = side.ask("effect", str(folder / "out"), countdown=1)
        side.kill()
    else:
        id_ = side.ask("effect", str(folder / "out"))
    side.start()
    return _yes(_wait(side, id_) == "SUCCESS" and len(_lines(folder / "out")) == 2)


def kill(side: Side, folder: Path) -> str:
    side.start()
    id_ = side.ask("effect", str(folder / "out"), "kill", str(folder / "go"), id_="kill-1")
    wait_until(lambda: _lines(folder / "out"))
    side.kill()
    side.start()
    (folder / "go").touch()
    return _times(side, id_, folder / "out")


def cut(side: Side, folder: Path) -> str:
    side.start()
    id_ = side.ask("effect", str(folder / "out"), "cut-", str(folder / "go"), id_="cut-1")
    wait_until(lambda: _lines(folder / "out"))
    side.cut()
    (folder / "go").touch()
    side.start()
    return _times(side, id_, folder / "out")


def eta(side: Side, folder: Path) -> str:
    side.start()
    id_ = side.ask("effect", str(folder / "out"), "eta-", id_="eta-1", countdown=4)
    for _ in range(2):
        _wait(side, side.ask("mul", 1, 1))  # then the worker has taken it
    side.kill()
    side.start()
    return _times(side, id_, folder / "out")


def revoked(side: Side, folder: Path) -> str:
    side.start()
    busy = side.ask("effect", str(folder / "busy"), "busy", str(folder / "go"))
    wait_until(lambda: _lines(folder / "busy"))
    id_ = side.ask("effect", str(folder / "out"))
    side.revoke(id_)
    wait_until(lambda: True if not isinstance(side, Celerys) else _heard(side, id_), what="it to be revoked")
    side.cut()
    side.start()
    (folder / "go").touch()
    if not isinstance(side, Celerys) or "filesystem" not in side.app.conf.broker_url:
        _wait(side, busy)
    _wait(side, side.ask("mul", 1, 1))
    return "runs" if _lines(folder / "out") else "never runs"


def _heard(side: Celerys, id_: str) -> bool:
    return any(id_ in ids for ids in (side.app.control.inspect(timeout=1.0).revoked() or {}).values())


def _left(side: Side, id_: str, folder: Path, terminate: bool) -> str:
    [line] = wait_until(lambda: _lines(folder / "pids"))
    pids = [int(word) for word in line.split()]
    if terminate:
        side.revoke(id_, terminate=True)
    _wait(side, id_)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return f"{len(left)} of 2"


def terminated(side: Side, folder: Path) -> str:
    side.start()
    return _left(side, side.ask("starts", str(folder / "pids")), folder, terminate=True)


def limit(side: Side, folder: Path) -> str:
    side.start()
    return _left(side, side.ask("starts", str(folder / "pids"), time_limit=2), folder, terminate=False)


def progress(side: Side, folder: Path) -> str:
    side.start()
    id_ = side.ask("shows", str(folder / "go"))
    seen = wait_until(lambda: side.progress(id_) or side.state(id_) in END)
    (folder / "go").touch()
    _wait(side, id_)
    return _yes(seen == 40)


FIFTEEN: dict[str, Callable[[Side, Path], str]] = {
    "a result comes back": result,
    "a failure says why": failure,
    "a task has itself run again": retry,
    "a countdown is waited for": countdown,
    "what expired doesn't begin, and its asker can see it": expiry,
    "the highest priority goes first": priority,
    "asked for twice with one identifier, it runs once": twice,
    "it waits while no worker lives": nobody,
    "kill -9 of the worker in the middle of it": kill,
    "everything killed in the middle of it (it may run again)": cut,
    "kill -9 while it waits for its time": eta,
    "revoked, then everything killed and started": revoked,
    "terminated: programs that it started and that live on": terminated,
    "its time is over: programs that live on": limit,
    "its progress is seen": progress,
}
"""By their titles in the table."""
