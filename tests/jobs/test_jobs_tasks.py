"""Python functions as jobs, by Celery's words."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pyros.agents import Agent
from pyros.config import ENVIRONMENT, AgentConfig
from pyros.errors import AgentError, ConfigError, JobError
from pyros.jobs import AsyncResult, revoke, shared_task
from pyros.messages import Message
from tests.conftest import PATIENCE, AgentsObservatory
from tests.jobs.conftest import RUN
from tests.rig import AgentRig

EXAMPLE = Path(__file__).parents[2] / "docs" / "example"
BAD = """
from pyros.jobs import shared_task
import os

@shared_task
def divide(x, y):
    return x / y

@shared_task
def no_json():
    return object()

@shared_task(max_retries=0)
def dies():
    os._exit(9)

@shared_task(autoretry_for=(OSError,), default_retry_delay=0.01, max_retries=1)
def again():
    print("again")
    raise OSError("no such server")

class Reduction:
    @staticmethod
    def run(*names):
        return sorted(names)
"""


@pytest.fixture
def tasks(observatory: Callable[..., AgentsObservatory], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the example's tasks, with two queues that run."""
    queue = {"app": "pyros.agents.jobs", "option_path": str(EXAMPLE), "option_niceness": "0"}
    place = observatory(jobs=queue, jobs_reduce=queue | {"option_tasks": "bad.* other.reduce"})
    (place.folder / "bad.py").write_text(BAD)
    place.run("-c", RUN, "jobs", "jobs_reduce")
    place.up("jobs")
    place.up("jobs_reduce")
    monkeypatch.setenv(ENVIRONMENT, str(place.path))
    monkeypatch.syspath_prepend(str(place.folder))
    return load(EXAMPLE / "tasks.py", monkeypatch)


def load(file: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, file.stem, module)
    spec.loader.exec_module(module)
    return module


def test_the_example_of_the_documents_runs(tasks: ModuleType) -> None:
    result = tasks.mul.delay(4, 5)
    assert result.get(timeout=PATIENCE) == 20
    assert (result.state, result.ready(), result.successful(), result.failed()) == ("SUCCESS", True, True, False)
    assert AsyncResult(result.id).result == 20
    assert tasks.mul(4, 5) == 20
    mean = tasks.mean.delay([1, 2, 6])
    assert mean.get(PATIENCE) == 3
    row = mean.row()
    assert row is not None
    assert row.queue == "jobs_reduce"


def test_a_task_retries_until_it_succeeds(tasks: ModuleType) -> None:
    result = tasks.patient.delay()
    assert result.get(PATIENCE) == 2


def test_a_task_that_fails_tells_what_it_raised(tasks: ModuleType) -> None:
    from bad import again, dies, divide, no_json  # type: ignore[import-not-found,unused-ignore]

    for task, args, told in [
        (divide, (1, 0), "ZeroDivisionError: division by zero"),
        (no_json, (), "TypeError: Encoding objects of type object is unsupported"),
        (dies, (), "exit code 9"),
        (again, (), "OSError: no such server"),
    ]:
        result = task.delay(*args)
        with pytest.raises(JobError, match=told) as caught:
            result.get(PATIENCE)
        assert (result.state, caught.value.state) == ("FAILURE", "failed")
        row = result.row()
        assert row is not None
        assert (row.queue, row.attempt) == ("jobs_reduce", 2 if task is again else 1)
        assert task is not divide or "return x / y" in caught.value.traceback


def test_what_is_not_revoked_waits_for_its_time(tasks: ModuleType) -> None:
    late = datetime.now(UTC) + timedelta(days=1)
    one, other = tasks.mul.apply_async((1, 2), eta=late), tasks.mul.apply_async((1, 2), countdown=3600, expires=7200)
    assert (one.state, one.result) == ("PENDING", None)
    with pytest.raises(TimeoutError, match="has not ended within"):
        one.get(timeout=0.01)
    one.revoke()
    revoke(other.id, terminate=True)
    with pytest.raises(JobError, match="revoked"):
        one.get(PATIENCE)
    assert (one.state, other.state) == ("REVOKED", "REVOKED")
    revoke("never-heard-of")
    assert tasks.mul.apply_async((1, 2), task_id="never-heard-of").state == "REVOKED"


def test_what_cannot_be_called_so_is_told_at_once(tasks: ModuleType) -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'y'"):
        tasks.mul.delay(1)
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        tasks.mul.delay(1, object())
    with pytest.raises(ConfigError, match=r"no queue 'nowhere' \(there are: jobs, jobs_reduce\)"):
        tasks.mul.apply_async((1, 2), queue="nowhere")
    with pytest.raises(TypeError, match="unexpected keyword argument 'serializer'"):
        shared_task(serializer="pickle")(len)


def test_a_program_may_ask_for_its_own_functions(tasks: ModuleType, observatory: Any) -> None:
    place = observatory("other")
    place.path = Path(os.environ[ENVIRONMENT])
    program = place.path.with_name("program.py")
    program.write_text(
        "from pyros.jobs import shared_task\n@shared_task\ndef twice(x):\n    return 2 * x\n"
        "if __name__ == '__main__':\n    print(twice.apply_async((21,), queue='jobs').get(90))\n"
    )
    run = place.run(program)
    assert (run.wait(), run.output) == (0, "42\n"), run.errors


class TaskAskingAgent(Agent):
    """Asks for a task in a handler, and wants to wait for it."""

    def __init__(self) -> None:
        super().__init__("asking")
        self.actions_by_message |= {"Ask": self.ask, "Wait": self.wait}
        self.task = shared_task(name="tasks.mul")(lambda x, y: x * y)

    def ask(self, message: Message) -> None:
        self.task.delay(4, 5)
        if message.payload.get("fail"):
            raise RuntimeError("after it has asked")

    def wait(self) -> None:
        with pytest.raises(AgentError, match="must not wait"):
            self.task.apply_async((4, 5), task_id="waited-for").get()


def test_a_task_asked_for_by_a_handler_goes_with_its_turn(tmp_path: Path) -> None:
    queue = AgentConfig("jobs", "127.0.0.1", 5002, "pyros.agents.jobs")
    asking = AgentConfig("asking", "127.0.0.1", 5001, "x")
    life = AgentRig(TaskAskingAgent(), tmp_path, agents={"asking": asking, "jobs": queue})
    life.turn(("Ask", b"{}"), ("Ask", b'{"fail": true}'), "Wait")
    assert life.rows("SELECT agent, name FROM outbox") == [("jobs", "Job requested")] * 2
    life.stop()
