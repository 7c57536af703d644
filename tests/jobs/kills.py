"""Kill what carries jobs out, at random instants, and count what became of them.

A test does it with few; by hand: ``python -m tests.jobs.kills --jobs 3000 --kills 1000 --cuts 100``
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyros import messages
from pyros.jobs.runner import kill_strays
from pyros.messages import JobRequest
from pyros.sender import Sender
from tests.conftest import PATIENCE, AgentsObservatory, wait_until
from tests.jobs.conftest import Queue, lock_holder

EFFECT = 'sleep "$1"; echo "$PYROS_JOB" >> "$2"'


class Kills:
    """A queue, many jobs that each leave a line, and a hand that kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        keys = {"app": "pyros.agents.jobs", "option_at_a_time": "4", "option_grace": "1 s", "option_niceness": "0"}
        self.queue = Queue(AgentsObservatory(folder, {"jobs": keys}), "jobs")
        self.effects = folder / "effects"
        self.effects.mkdir()
        self.chance = random.Random(seed)
        self.killed: Counter[str] = Counter()

    def ask(self, count: int, seconds: float = 0.1) -> None:
        """Ask for so many jobs, of up to so many seconds each."""
        with Sender.open("jobs", config=self.queue.place.config, timeout=PATIENCE) as agent:
            for number in range(count):
                id_ = f"job-{number}"
                wait = f"{self.chance.uniform(0, seconds):.3f}"
                command = ("/bin/sh", "-c", EFFECT, "sh", wait, str(self.file(id_)))
                rule: Any = "rerun" if number % 2 else "tell"
                request = JobRequest(id=id_, name="effect", command=command, on_crash=rule)
                agent.post(messages.JOB_REQUESTED, request)
            agent.flush()

    def file(self, id_: str) -> Path:
        return self.effects / id_

    def wrappers(self) -> list[int]:
        """Return the process numbers of the wrappers that live."""
        rows = self.queue.place.rows("jobs", "SELECT id FROM jobs WHERE state = 'running'")
        return [pid for (id_,) in rows if (pid := lock_holder(self.queue.folder(id_)))]

    def launcher(self) -> list[int]:
        found: list[int] = []
        for file in Path(f"/proc/{self.queue.program.pid}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(pid) for pid in file.read_text().split()]
        return found

    def left(self) -> int:
        """Return how many jobs have no end yet."""
        count: int = self.queue.place.rows("jobs", "SELECT count(*) FROM jobs WHERE ended IS NULL")[0][0]
        return count

    def kill(self, kind: str) -> None:
        """Kill something of that kind; it counts where there was something, while jobs had no end yet."""
        time.sleep(self.chance.uniform(0, 0.2))
        if not self.left():
            return
        if kind in ("agent", "cut"):
            wrappers = self.wrappers()
            self.queue.program.kill()
            if kind == "cut":
                for pid in wrappers:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            self.queue.program.wait()
            self.queue.start()
            self.killed[kind] += 1
            return
        find = self.launcher if kind == "launcher" else self.wrappers
        wait_until(lambda: find() or not self.left(), what=f"a {kind} to kill")
        for pid in find()[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed[kind] += 1

    def finish(self) -> None:
        wait_until(lambda: not self.left(), 10 * PATIENCE, "every job to have its end")

    def check(self, count: int) -> dict[str, int]:
        """Assert that none was lost and none done twice; returns how many ended how."""
        rows = self.queue.place.rows("jobs", "SELECT id, state, attempt, crashes FROM jobs")
        assert len(rows) == count
        for id_, state, attempt, crashes in rows:
            file = self.file(id_)
            done = file.read_text().splitlines() if file.exists() else []
            rerun = int(id_.partition("-")[2]) % 2
            what = (id_, state, attempt, crashes, done)
            assert set(done) <= {id_}, what
            if state == "succeeded":
                assert 1 <= len(done) <= attempt, what
                assert attempt == crashes + 1, what
                assert rerun or (attempt, crashes, len(done)) == (1, 0, 1), what
            else:
                assert state == "crashed", what
                assert (crashes >= 5) if rerun else (attempt == 1 and len(done) <= 1), what
        for pid in (each for id_, *_ in rows for each in [kill_strays(id_)] if each):
            raise AssertionError(f"{pid} processes of a job were left")
        return Counter(state for _, state, *_ in rows)

    def close(self) -> None:
        self.queue.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", default=None, help="the disk that is written to")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-", dir=chosen.dir) as folder:
        kills = Kills(Path(folder).absolute(), chosen.seed)
        try:
            kills.ask(chosen.jobs, chosen.seconds)
            kinds = ["cut"] * chosen.cuts
            kinds += [kills.chance.choice(("agent", "wrapper", "wrapper", "launcher")) for _ in range(chosen.kills)]
            kills.chance.shuffle(kinds)
            for number, kind in enumerate(kinds, 1):
                kills.kill(kind)
                if number % 20 == 0:
                    print(number, kind, kills.left(), "left", file=sys.stderr, flush=True)
            kills.finish()
            print(dict(kills.check(chosen.jobs)), dict(kills.killed), flush=True)
        finally:
            kills.close()


if __name__ == "__main__":
    main()
