"""kill -9 of agents, wrappers, launchers and of everything at once: no job is lost, none is done twice."""

from __future__ import annotations

from pathlib import Path

from tests.jobs.kills import Kills


def test_no_kill_loses_a_job_or_does_one_twice(tmp_path: Path) -> None:
    kills = Kills(tmp_path, seed=14)
    try:
        kills.ask(60)
        for kind in ("wrapper", "agent", "launcher", "cut", "wrapper", "agent", "wrapper", "launcher", "cut"):
            kills.kill(kind)
        kills.finish()
        ends = kills.check(60)
        assert ends["succeeded"] >= 45
    finally:
        kills.close()
