"""kill -9 of agents, wrappers, launchers and of everything at once: no job is lost, none is done twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pyros.jobs.runner import kill_strays
from tests.conftest import wait_until
from tests.jobs.conftest import Queue
from tests.jobs.kills import Kills
from tests.jobs.sides import alive
from tests.jobs.test_jobs_agent import STUBBORN


def test_no_kill_loses_a_job_or_does_one_twice(tmp_path: Path) -> None:
    with closing(Kills(tmp_path, seed=14)) as kills:
        kills.ask(60)
        for kind in ("wrapper", "agent", "launcher", "cut", "wrapper", "agent", "wrapper", "launcher", "cut"):
            kills.kill(kind)
        kills.finish()
        ends = kills.check(60)
        assert ends["succeeded"] >= 45


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_kills_and_a_hundred_power_cuts(tmp_path: Path, seed: int) -> None:
    """Of 3,000 jobs in all none is lost, none done twice; what ran at a cut is told or run again as it asked for."""
    with closing(Kills(tmp_path, seed)) as kills:
        kills.ask(600, seconds=0.15)
        kinds = ["cut"] * 20 + [kills.chance.choice(("agent", "wrapper", "wrapper", "launcher")) for _ in range(200)]
        kills.chance.shuffle(kinds)
        for kind in kinds:
            kills.kill(kind)
        kills.finish()
        ends = kills.check(600)
        assert kills.killed["cut"] == 20
        assert kills.killed.total() > 200
        assert ends["succeeded"] >= 400
        assert ends["crashed"] >= 1


@pytest.mark.long
@pytest.mark.parametrize("kind", ["deaf", "session", "daemon", "family"])
def test_a_second_after_the_grace_nothing_of_a_job_lives(queue: Callable[..., Queue], kind: str) -> None:
    """Twenty times; what is left when the job is told as terminated is none in any case."""
    jobs = queue(option_grace="0.5 s")
    late = 0
    for _ in range(20):
        id_ = jobs.ask(sys.executable, str(STUBBORN), kind)
        wait_until(lambda id_=id_: jobs.file(id_, "work/ready"), what="all of it to have begun")
        pids = [int(word) for word in jobs.file(id_, "work/pids").split()]
        jobs.revoke(id_, terminate=True)
        limit = time.monotonic() + 0.5 + 1.0
        while any(map(alive, pids)) and time.monotonic() < limit:
            time.sleep(0.01)
        late += any(map(alive, pids))
        jobs.wait(id_)
        assert kill_strays(id_) == 0
    assert late == 0
