"""Queues that run in a process of their own, and what tests look at."""

from __future__ import annotations

import fcntl
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pyros import messages
from pyros.jobs.ledger import JobRow, LedgerReader
from pyros.jobs.names import job_folder, jobs_folder
from pyros.jobs.runner import kill_strays
from pyros.messages import JobRequest
from pyros.sender import Sender
from tests.conftest import PATIENCE, AgentsObservatory, wait_until

RUN = """
import sys
from pyros.agents.jobs import JobsAgent
for name in sys.argv[1:]:
    JobsAgent(name).start()
"""


class Queue:
    """A job agent that lives in a process of its own, and can be killed."""

    def __init__(self, place: AgentsObservatory, name: str) -> None:
        self.place = place
        self.name = name
        self.start()

    def start(self) -> None:
        self.program = self.place.run("-c", RUN, self.name)
        self.place.up(self.name)

    def kill(self) -> None:
        self.program.kill()
        self.program.wait()

    def ask(self, *command: str, **what: Any) -> str:
        """Ask for a job; returns its identifier."""
        id_ = what.pop("id", None) or uuid.uuid4().hex
        request = JobRequest(id=id_, name=what.pop("name", "test"), command=command, **what)
        Sender.send_to(self.name, messages.JOB_REQUESTED, request, config=self.place.config, timeout=PATIENCE)
        return id_

    def revoke(self, id_: str, terminate: bool = False) -> None:
        order = messages.JobRevoked(id=id_, terminate=terminate)
        Sender.send_to(self.name, messages.JOB_REVOKED, order, config=self.place.config, timeout=PATIENCE)

    def job(self, id_: str) -> JobRow:
        with closing(LedgerReader(self.name, self.place.config.journal(self.name))) as reader:
            row = reader.job(id_)
        assert row is not None, id_
        return row

    def state(self, id_: str) -> str:
        return self.job(id_).state

    def wait(self, id_: str, *states: str) -> JobRow:
        """Wait until the job has an end, or is in one of the states."""
        wanted = states or ("succeeded", "failed", "crashed", "terminated", "revoked", "expired")
        wait_until(lambda: self.state(id_) in wanted, what=f"{id_} to be {' or '.join(wanted)}")
        return self.job(id_)

    def folder(self, id_: str) -> Path:
        return job_folder(jobs_folder(self.place.config, self.name), id_)

    def file(self, id_: str, name: str) -> str:
        """Return a file of the job's folder, '' while it isn't there."""
        try:
            return (self.folder(id_) / name).read_text()
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        """End the agent, and whatever of its jobs lives on: after a test that failed, too."""
        self.place.close()
        for folder in jobs_folder(self.place.config, self.name).glob("*"):
            wait_until(partial(_gone, folder), what="the job's processes to be gone")


def lock_holder(folder: Path) -> int:
    """Return the process number of the wrapper that lives in a job's folder; 0 for none."""
    with suppress(OSError, ValueError), (folder / "lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read())
    return 0


def _gone(folder: Path) -> bool:
    wrapper = lock_holder(folder)
    if wrapper:
        with suppress(ProcessLookupError):
            os.kill(wrapper, signal.SIGKILL)
    return not kill_strays(folder.name) and not wrapper


@pytest.fixture
def queue(observatory: Callable[..., Any]) -> Iterator[Callable[..., Queue]]:
    """Make a queue: ``queue(option_at_a_time="2")``."""
    made: list[Queue] = []

    def make(name: str = "jobs", **options: str) -> Queue:
        keys = {"app": "pyros.agents.jobs", "option_grace": "1 s", "option_niceness": "0"} | options
        made.append(Queue(observatory(**{name: keys}), name))
        return made[-1]

    yield make
    for each in made:
        each.close()
