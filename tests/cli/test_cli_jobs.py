"""``pyros jobs``: against a queue that lives in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pyros.cli.app import app
from pyros.config import ENVIRONMENT
from pyros.jobs.names import job_folder
from tests.conftest import AgentsObservatory, wait_until
from tests.jobs.conftest import Queue

SHOW = f"""#!{sys.executable}
##~~ - Show what it is given
##~~ night - the evening's date
##~~ stars (int = 100) - how many
import sys
print("PROGRESS 50 % half way")
print(sys.argv[1:])
"""
FAIL = "#!/bin/sh\n##~~ why (one of bad|worse)\necho it is $1 >&2\nexit 4\n"
WAIT = "#!/bin/sh\necho PROGRESS 30 waiting\necho begun\nwhile [ ! -e go ]; do sleep 0.05; done\necho ended\n"


MAIN = "from pyros.cli import main; main()"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["jobs", *arguments])


@pytest.fixture
def observatory(tmp_path: Path) -> Iterator[Callable[..., AgentsObservatory]]:
    """Hide the demo's copy that the other tests here use."""
    with ExitStack() as stack:
        yield lambda **keys: stack.enter_context(closing(AgentsObservatory(tmp_path / "place", keys)))


@pytest.fixture
def jobs(observatory: Callable[..., AgentsObservatory], monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """Give a queue with three scripts."""
    keys = {"app": "pyros.agents.jobs", "option_scripts": "scripts", "option_grace": "1 s", "option_niceness": "0"}
    place = observatory(jobs_night=keys)
    folder = place.folder / "scripts"
    folder.mkdir()
    for name, text in (("show.py", SHOW), ("fail.sh", FAIL), ("wait.sh", WAIT)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "plain.txt").write_text("no script")
    monkeypatch.setenv(ENVIRONMENT, str(place.path))
    queue = Queue(place, "jobs_night")
    yield queue
    queue.close()


def test_a_script_is_run_and_its_job_is_shown(jobs: Queue) -> None:
    assert "show.py  Show what it is given  [jobs_night]" in run("run").stdout
    assert "  stars (int, 100 by default)  how many" in run("run").stdout
    done = run("run", "show", "night=; rm -rf $(pwd)")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("OK: show.py, job ")
    row = json.loads(run("list", "--json").stdout)
    assert (row["queue"], row["name"], row["state"], row["attempt"]) == ("jobs_night", "show.py", "succeeded", 1)
    assert "['; rm -rf $(pwd)', '100']" in run("log", row["id"][:8]).stdout
    assert f"id           {row['id']}\n" in run("show", row["id"][:8]).stdout
    assert row["id"] in run("list", "--queue", "night", "--state", "succeeded").stdout
    assert run("list", "--state", "failed").stdout == "no jobs\n"


def test_a_script_that_fails_says_why(jobs: Queue) -> None:
    failed = run("run", "fail.sh", "why=bad")
    assert failed.exit_code == 1
    assert "failed: it is bad (exit code 4); what it printed: " in failed.stderr
    assert "it is bad (exit code 4)" in run("list").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["run", "nothing"], 1, "no script 'nothing' (there are: fail.sh, show.py, wait.sh)"),
        (["run", "plain.txt"], 1, "is not executable; chmod +x makes it"),
        (["run", "show.py"], 1, "show.py: night is missing (the evening's date)"),
        (["run", "show.py", "night=1", "stars=few"], 1, "show.py: stars 'few' is not a whole number"),
        (["run", "show.py", "night"], 2, "'night' is not like name=value"),
        (["run", "show.py", "--queue", "day"], 1, "no queue 'day' (there are: jobs_night)"),
        (["show", "xyz"], 1, "no job 'xyz'; pyros jobs list shows them"),
        (["list", "--state", "lost"], 2, "'lost' is no state"),
        (["clean", "--older", "soon"], 2, "must be a number of s"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(jobs: Queue, arguments: list[str], code: int, told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_a_job_is_followed_and_terminated(jobs: Queue) -> None:
    id_ = run("run", "wait", "--detach").stdout.strip()
    wait_until(lambda: "30 % waiting" in run("list").stdout, what="its progress")
    refused = run("revoke", id_)
    assert (refused.exit_code, "runs already; --terminate ends it" in refused.stderr) == (1, True)
    assert run("revoke", id_[:10], "--terminate").stdout == f"OK: job {id_} was terminated\n"
    again = run("revoke", id_)
    assert f"job {id_} has ended: it was terminated" in again.stderr


def test_a_log_is_followed_to_its_end(jobs: Queue) -> None:
    id_ = run("run", "wait", "--detach").stdout.strip()
    program = jobs.place.run("-c", MAIN, "jobs", "log", id_, "--follow")
    wait_until(lambda: "begun" in program.output, what="the log's first line")
    (jobs.folder(id_) / "work" / "go").touch()
    assert program.wait() == 0
    assert program.output == "PROGRESS 30 waiting\nbegun\nended\n"


def test_ctrl_c_leaves_the_job_running(jobs: Queue) -> None:
    program = jobs.place.run("-c", MAIN, "jobs", "run", "wait")
    row = wait_until(lambda: json.loads(run("list", "--json").stdout or "{}"), what="the job")
    wait_until(lambda: "waiting" in run("list").stdout, what="it to run")
    program.kill(signal.SIGINT)
    assert (program.wait(), "Traceback" in program.errors) == (130, False)
    assert f"job {row['id']} goes on" in program.errors
    assert run("revoke", row["id"], "-t").exit_code == 0


def test_old_jobs_are_cleaned_with_their_folders(jobs: Queue) -> None:
    run("run", "show", "night=1")
    [row] = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert run("clean", "--older", "7d").exit_code == 0
    assert len(run("list", "--json").stdout.splitlines()) == 1
    assert run("clean", "--older", "0 s").exit_code == 0
    wait_until(lambda: run("list").stdout == "no jobs\n", what="the ledger to be empty")
    wait_until(lambda: not os.path.lexists(row["folder"]), what="the folder to go")
    assert job_folder(Path(row["folder"]).parent, row["id"]) == Path(row["folder"])


def test_the_schedule_says_what_is_due(jobs: Queue) -> None:
    assert run("schedule").stdout.startswith("no scheduled jobs; they are sections [job NAME] of ")
    with jobs.place.path.open("a") as file:
        file.write("[job tidy]\nevery = 1 d at 12:00\nqueue = jobs_night\ncommand = pyros jobs clean --older 30d\n")
    assert "12:00:00  once       pyros jobs clean --older 30d" in run("schedule").stdout
    told = json.loads(run("schedule", "--json").stdout)
    assert (told["name"], told["next"] % 86_400) == ("tidy", 43_200)


def test_an_observatory_without_queues_says_so(observatory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(observatory(other={"app": "tests.other"}).path))
    for command in (["list"], ["clean", "--older", "1d"]):
        assert "no queue; give one a section, with app = pyros.agents.jobs" in run(*command).stderr
