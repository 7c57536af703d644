"""Every file and every command of docs/jobs.md, as they stand there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyros.cli.app import app
from pyros.config import ENVIRONMENT, load
from tests.conftest import AgentsObservatory, free_port
from tests.jobs.conftest import RUN

TEXT = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_page_says_what_is_so(
    observatory: Callable[..., AgentsObservatory], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = observatory("replaced")
    [ini] = blocks("ini")
    place.path.write_text(re.sub(r"port = \d+", lambda _: f"port = {free_port()}", ini).replace("= 10 ", "= 0 "))
    place.config = load(place.path)
    script, commands = blocks("sh")
    tasks, program = blocks("python")
    for name, text in (("scripts/add.sh", script), ("modules/tasks.py", tasks), ("program.py", program)):
        file = place.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    place.run("-c", RUN, "jobs", "jobs_reduce")
    place.up("jobs")
    place.up("jobs_reduce")
    monkeypatch.setenv(ENVIRONMENT, str(place.path))
    path = [str(place.folder / "modules"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    job = ""
    for line in commands.splitlines():
        words = shlex.split(line, comments=True)
        done = CliRunner().invoke(app, [job if word == "JOB" else word for word in words[1:]])
        assert done.exit_code == 0, (line, done.stdout, done.stderr)
        if found := re.match(r"OK: add.sh, job (\w{8})", done.stdout):
            job = found[1]
            assert (next(place.folder.glob(f"var/jobs/jobs/{job}*")) / "work/added.txt").read_text() == (
                "median of 2026-03-20\n"
            )
        if words[1:] == ["jobs", "log", "JOB"]:
            assert done.stdout == "PROGRESS 50 % adding 2026-03-20 by its 50 brightest stars\n"
    run = place.run(place.folder / "program.py")
    assert run.wait() == 0, run.errors
