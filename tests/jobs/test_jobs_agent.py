"""A queue whole: real processes, their ends, limits, and what survives a kill."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pyros.errors import MessageRefused
from pyros.jobs.runner import kill_strays
from tests.conftest import AgentsObservatory, wait_until
from tests.jobs.conftest import RUN, Queue
from tests.jobs.sides import alive

Queues = Callable[..., Queue]
HOLD = "import time; x = bytearray(b'x' * (60 << 20)); time.sleep(1000)"
NAMES = ("a0", "b5", "c0", "d9")
EXAMPLE = Path(__file__).parents[2] / "docs" / "example"
STUBBORN = Path(__file__).parent / "stubborn.py"


def test_a_job_runs_in_a_folder_of_its_own(queue: Queues) -> None:
    jobs = queue()
    id_ = jobs.ask("/bin/sh", "-c", "pwd; echo $PYROS_JOB; echo done > made; cat")
    end = jobs.wait(id_)
    assert (end.state, end.reason, end.attempt) == ("succeeded", "", 1)
    assert jobs.file(id_, "log").splitlines() == [str(jobs.folder(id_) / "work"), id_]
    assert jobs.file(id_, "work/made") == "done\n"


def test_a_request_that_comes_twice_is_one_job(queue: Queues) -> None:
    jobs = queue()
    id_ = jobs.ask("/bin/sh", "-c", "echo once", id="the-same")
    jobs.wait(id_)
    jobs.ask("/bin/sh", "-c", "echo twice", id="the-same")
    jobs.wait(jobs.ask("/bin/true"))
    assert jobs.file(id_, "log") == "once\n"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("/bin/sh", "-c", "echo no such star >&2; exit 3"), "no such star (exit code 3)"),
        (("/bin/sh", "-c", "kill -9 $$"), "signal 9"),
        (("/no/such/program",), "cannot start: /no/such/program: No such file or directory"),
    ],
)
def test_a_failure_says_why(queue: Queues, command: tuple[str, ...], reason: str) -> None:
    jobs = queue()
    end = jobs.wait(jobs.ask(*command))
    assert (end.state, end.reason) == ("failed", reason)


def test_a_job_that_failed_is_run_again_and_then_no_more(queue: Queues) -> None:
    jobs = queue()
    end = jobs.wait(jobs.ask("/bin/sh", "-c", "exit 1", retries=2, retry_seconds=0.01))
    assert (end.state, end.attempt) == ("failed", 3)
    second = "[ -e begun ] || { touch begun; exit 1; }"
    end = jobs.wait(jobs.ask("/bin/sh", "-c", second, retries=5, retry_seconds=0.01))
    assert (end.state, end.attempt) == ("succeeded", 2)


def test_one_job_at_a_time_by_priority_and_then_by_age(queue: Queues) -> None:
    jobs = queue()
    order = jobs.place.folder / "order"
    first = jobs.ask("/bin/sh", "-c", f"while [ ! -e {order}.go ]; do sleep 0.02; done")
    jobs.wait(first, "running")
    asked = [
        jobs.ask("/bin/sh", "-c", f"echo {name} >> {order}", priority=int(name[1])) for name in ("a0", "b5", "c0", "d9")
    ]
    assert [jobs.state(id_) for id_ in asked] == ["pending"] * 4
    status = wait_until(lambda: (it := jobs.place.up("jobs")) and it["jobs_pending"] == 4 and it, what="the figures")
    assert status["jobs_running"] == 1
    Path(f"{order}.go").touch()
    for id_ in asked:
        jobs.wait(id_)
    assert order.read_text().split() == ["d9", "b5", "a0", "c0"]


def test_a_countdown_is_waited_for_and_expiry_is_the_end(queue: Queues) -> None:
    jobs = queue()
    late = jobs.ask("/bin/true", countdown=1e6)
    soon = jobs.ask("/bin/true", countdown=0.3)
    gone = jobs.ask("/bin/true", countdown=1e6, expire_seconds=0.001)
    end = jobs.wait(soon)
    assert end.begun is not None
    assert end.begun - end.asked > 0.25
    assert (jobs.state(late), jobs.wait(gone).state) == ("pending", "expired")


def test_what_is_revoked_never_begins(queue: Queues) -> None:
    jobs = queue()
    jobs.revoke("later")
    pending = jobs.ask("/bin/true", countdown=0.5)
    jobs.revoke(pending)
    jobs.kill()
    jobs.start()
    later = jobs.ask("/bin/true", id="later")
    assert {jobs.wait(pending).state, jobs.wait(later).state} == {"revoked"}
    assert not jobs.folder(later).exists()


@pytest.mark.parametrize("kind", ["deaf", "session", "daemon", "family"])
def test_nothing_is_left_of_what_is_terminated(queue: Queues, kind: str) -> None:
    """It ignores SIGTERM, has a session of its own, has forked twice with an empty environment, or forks on."""
    jobs = queue(option_grace="0.2 s")
    id_ = jobs.ask(sys.executable, str(STUBBORN), kind)
    pids = wait_until(lambda: [int(word) for word in jobs.file(id_, "work/pids").split()], what="it to have begun")
    wait_until(lambda: jobs.file(id_, "work/ready"), what="all of it to have begun")
    pids = [int(word) for word in jobs.file(id_, "work/pids").split()]
    jobs.revoke(id_, terminate=True)
    assert jobs.wait(id_).state == "terminated"
    assert [pid for pid in pids if alive(pid)] == []
    assert kill_strays(id_) == 0


def test_what_a_job_leaves_behind_ends_with_it(queue: Queues) -> None:
    jobs = queue(option_grace="0.2 s")
    id_ = jobs.ask("/bin/sh", "-c", "setsid sleep 1000 & echo $!; exit 0")
    assert jobs.wait(id_).state == "succeeded"
    assert not alive(int(jobs.file(id_, "log")))


def test_a_job_has_a_limit_of_time_and_one_of_memory(queue: Queues) -> None:
    jobs = queue(option_seconds="0.2 s", option_grace="0.1 s")
    end = jobs.wait(jobs.ask("/bin/sh", "-c", "sleep 1000"))
    assert (end.state, end.reason) == ("failed", "it took longer than 0.2 s")
    greedy = "x = bytearray(300 << 20); print('never')"
    end = jobs.wait(jobs.ask(sys.executable, "-c", greedy, memory=100 << 20, seconds=1000.0))
    assert (end.state, end.reason) == ("failed", "MemoryError (exit code 1)")
    several = (
        f"from subprocess import *; import sys; [Popen([sys.executable, '-c', {HOLD!r}]) for _ in '1234'][0].wait()"
    )
    end = jobs.wait(jobs.ask(sys.executable, "-c", several, HOLD, memory=150 << 20, seconds=1000.0))
    assert (end.state, end.reason) == ("failed", "it used more than 150 MiB")


def test_progress_and_the_log_are_seen_while_it_runs(queue: Queues) -> None:
    jobs = queue(option_log="1 kB")
    go = jobs.place.folder / "go"
    say = f"echo 'PROGRESS 40 % reading o.fits'; while [ ! -e {go} ]; do sleep 0.02; done; yes | head -c 100000"
    id_ = jobs.ask("/bin/sh", "-c", say)
    assert '"percent": 40.0, "text": "reading o.fits"' in wait_until(lambda: jobs.file(id_, "progress.json"))
    go.touch()
    assert jobs.wait(id_).state == "succeeded"
    assert jobs.file(id_, "log").endswith("\npyros: the log is full; what follows is not kept\n")
    assert len(jobs.file(id_, "log")) < 1200


def test_a_job_survives_its_agents_kill(queue: Queues) -> None:
    jobs = queue()
    go = jobs.place.folder / "go"
    id_ = jobs.ask("/bin/sh", "-c", f"echo begun; while [ ! -e {go} ]; do sleep 0.02; done; echo ended")
    wait_until(lambda: jobs.file(id_, "log"))
    jobs.kill()
    jobs.start()
    assert jobs.state(id_) == "running"
    go.touch()
    end = jobs.wait(id_)
    assert (end.state, end.attempt, jobs.file(id_, "log")) == ("succeeded", 1, "begun\nended\n")


def test_a_job_that_ended_while_its_agent_was_dead_is_heard_of(queue: Queues) -> None:
    jobs = queue()
    go = jobs.place.folder / "go"
    id_ = jobs.ask("/bin/sh", "-c", f"echo begun; while [ ! -e {go} ]; do sleep 0.02; done; exit 7")
    wait_until(lambda: jobs.file(id_, "log"))
    jobs.kill()
    go.touch()
    wait_until(lambda: jobs.file(id_, "result-1.json"))
    jobs.start()
    assert jobs.wait(id_).reason == "begun (exit code 7)"


def test_an_adopted_job_can_be_terminated(queue: Queues) -> None:
    jobs = queue()
    id_ = jobs.ask("/bin/sh", "-c", "echo $$; exec sleep 1000")
    pid = int(wait_until(lambda: jobs.file(id_, "log")))
    jobs.kill()
    jobs.start()
    jobs.revoke(id_, terminate=True)
    assert jobs.wait(id_).state == "terminated"
    assert not alive(pid)


@pytest.mark.parametrize(("on_crash", "state", "attempts"), [("tell", "crashed", 1), ("rerun", "succeeded", 2)])
def test_a_crash_is_told_or_run_again(queue: Queues, on_crash: str, state: str, attempts: int) -> None:
    """The agent, its launcher and the wrapper are killed, as a power cut would; strays of the job are ended."""
    jobs = queue()
    mark = jobs.place.folder / "mark"
    work = f"[ -e {mark} ] && exit 0; touch {mark}; setsid sleep 1000 & echo $!; sleep 1000"
    id_ = jobs.ask("/bin/sh", "-c", work, on_crash=on_crash)
    stray = int(wait_until(lambda: jobs.file(id_, "log")))
    jobs.kill()
    os.kill(int(jobs.file(id_, "lock")), signal.SIGKILL)
    jobs.start()
    end = jobs.wait(id_)
    assert (end.state, end.attempt) == (state, attempts)
    assert not alive(stray)


def test_a_wrapper_that_is_killed_is_a_crash(queue: Queues) -> None:
    jobs = queue()
    id_ = jobs.ask("/bin/sh", "-c", "echo $$; exec sleep 1000")
    pid = int(wait_until(lambda: jobs.file(id_, "log")))
    os.kill(int(jobs.file(id_, "lock")), signal.SIGKILL)
    assert jobs.wait(id_).state == "crashed"
    assert not alive(pid)


def test_a_launcher_that_is_killed_is_begun_again(queue: Queues) -> None:
    jobs = queue()
    jobs.wait(jobs.ask("/bin/true"))
    children = Path(f"/proc/{jobs.program.pid}/task").glob("*/children")
    [launcher] = [int(pid) for file in children for pid in file.read_text().split()]
    os.kill(launcher, signal.SIGKILL)
    assert jobs.wait(jobs.ask("/bin/true")).state == "succeeded"


def test_a_job_without_sense_is_refused(queue: Queues) -> None:
    jobs = queue()
    with pytest.raises(MessageRefused, match="either a command or a task"):
        jobs.ask()
    with pytest.raises(MessageRefused, match="no zero bytes"):
        jobs.ask("/bin/echo", "a\0b")
    with pytest.raises(MessageRefused, match="no agent 'nobody' is configured"):
        jobs.ask("/bin/true", tell="nobody")


def test_a_stranger_without_the_key_may_ask_for_no_job(queue: Queues) -> None:
    jobs = queue()
    answer = jobs.place.say("jobs", b'Job requested\t{"id": "x", "name": "x", "command": ["/bin/true"]}\n')
    assert answer.startswith("ERR")
    assert "key" in answer


@pytest.mark.parametrize(("on_crash", "state", "attempts"), [("tell", "crashed", 1), ("rerun", "succeeded", 2)])
def test_after_a_power_cut_what_was_marked_has_crashed(queue: Queues, on_crash: str, state: str, attempts: int) -> None:
    """The mark is on disk, and nothing else need be: not even whether it had begun."""
    jobs = queue()
    work = '[ "$PYROS_JOB_ATTEMPT" = 2 ] || sleep 1000'
    id_ = jobs.ask("/bin/sh", "-c", work, on_crash=on_crash)
    jobs.wait(id_, "running")
    pid = int(wait_until(lambda: jobs.file(id_, "lock"), what="its wrapper"))
    jobs.kill()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: kill_strays(id_) == 0, what="it to be gone")
    shutil.rmtree(jobs.folder(id_))
    with closing(sqlite3.connect(jobs.place.config.journal("jobs"), isolation_level=None)) as db:
        db.execute("UPDATE jobs SET boot = 'an earlier one'")
    jobs.start()
    end = jobs.wait(id_)
    assert (end.state, end.attempt) == (state, attempts)


def test_a_job_that_cannot_begin_begins_when_it_can(queue: Queues) -> None:
    """Its folder cannot be made, as on a full disk."""
    jobs = queue()
    root = jobs.folder("x").parent
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_text("in the way")
    id_ = jobs.ask("/bin/true")
    wait_until(lambda: f"job {id_} could not begin" in jobs.program.errors, what="it to be told")
    assert jobs.state(id_) == "running"
    root.unlink()
    assert jobs.wait(id_).state == "succeeded"


def test_a_launcher_that_hangs_keeps_no_agent_from_ending(queue: Queues) -> None:
    jobs = queue()
    jobs.wait(jobs.ask("/bin/true"))
    children = Path(f"/proc/{jobs.program.pid}/task").glob("*/children")
    [launcher] = [int(pid) for file in children for pid in file.read_text().split()]
    os.kill(launcher, signal.SIGSTOP)
    jobs.program.kill(signal.SIGTERM)
    assert jobs.program.wait() in (0, -signal.SIGTERM)
    wait_until(lambda: not alive(launcher), what="the launcher to be gone")


def test_a_queue_alone_loads_nothing_that_is_dear() -> None:
    """numpy, lxml and Comet would be a third of its memory, and most of its start."""
    dear = {"numpy", "lxml", "comet"}
    look = f"import sys, pyros.twistd, pyros.agents.jobs; print(*{dear} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a job as somebody else")
def test_a_job_runs_as_another_user(queue: Queues) -> None:
    """It cannot read the observatory's key, leaves what it wants in its own folder only, and dies with its wrapper."""
    jobs = queue(option_user="nobody", option_grace="0.2 s", option_path=str(EXAMPLE))
    key = jobs.place.config.key_file
    id_ = jobs.ask("/bin/sh", "-c", f"id -un; cat {key}; echo x > made; echo x > ../escaped; cat notes.txt",
                   files={"notes.txt": "kept"})  # fmt: skip
    jobs.wait(id_)
    log = jobs.file(id_, "log")
    assert (log.splitlines()[0], log.splitlines()[-1]) == ("nobody", "kept")
    assert key.read_text().strip() not in log
    assert (jobs.file(id_, "work/made"), jobs.file(id_, "escaped")) == ("x\n", "")
    second = jobs.ask("/bin/sh", "-c", "echo $$; exec sleep 1000")
    pid = int(wait_until(lambda: jobs.file(second, "log")))
    os.kill(int(jobs.file(second, "lock")), signal.SIGKILL)
    assert jobs.wait(second).state == "crashed"
    assert not alive(pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a job as somebody else")
def test_no_link_of_anothers_job_is_followed(queue: Queues) -> None:
    jobs = queue(option_user="nobody")
    victim = jobs.place.folder / "victim"
    victim.write_text("as it was")
    link = f"ln -sf {victim} notes.txt; ln -sf {victim} .outcome-2.json; [ $PYROS_JOB_ATTEMPT = 2 ]"
    id_ = jobs.ask("/bin/sh", "-c", link, files={"notes.txt": "new"}, retries=1, retry_seconds=0.01)
    end = jobs.wait(id_)
    assert end.attempt == 2
    assert victim.read_text() == "as it was"
    assert end.end is not None
    assert end.end.value is None


def test_a_user_that_cannot_be_is_told(observatory: Callable[..., AgentsObservatory]) -> None:
    place = observatory(jobs={"app": "pyros.agents.jobs", "option_user": "no-such-user"})
    program = place.run("-c", RUN, "jobs")
    assert program.wait() != 0
    assert "[jobs] option_user: 'no-such-user' is no user of this computer" in program.errors
