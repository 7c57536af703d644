"""The program of a job that is a task: imports its module, calls its function, and leaves what that returned."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec

from pyros.prepared import prepared

TASK_FILE = "task.json"
_MAX_TRACEBACK = 16_000


def outcome_file(attempt: int) -> str:
    """Return the name of the file in the working folder in which a task leaves its outcome."""
    return f".outcome-{attempt}.json"


class TaskCall(msgspec.Struct):
    """What is to be called."""

    id: str
    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    retries: int
    """How many times it has been begun before."""


class TaskOutcome(msgspec.Struct):
    """What a task has left."""

    value: Any = None
    """What it returned."""
    error: str = ""
    """What it raised, in one line; '' for nothing."""
    traceback: str = ""
    retry: float | None = None
    """It wants to be run again after so many seconds."""
    final: bool = False
    """It does not want to be run again."""


class Retry(Exception):
    """A task wants to be run again after so many seconds; ``Task.retry`` makes it. None: after the request's pause."""

    def __init__(self, seconds: float | None, error: BaseException | None) -> None:
        self.seconds = seconds
        self.error = error
        super().__init__(f"{type(error).__name__}: {error}" if error is not None else "it wants to be run again")


def main() -> None:
    """Run the task of this working folder; the exit code is 0 when its outcome is on disk."""
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)  # a task may go elsewhere, and the way back may be barred to it
    call = msgspec.json.decode(Path(TASK_FILE).read_bytes(), type=prepared(TaskCall))
    outcome = _outcome(call)
    name = outcome_file(int(os.environ["PYROS_JOB_ATTEMPT"]))
    partial = f"{name}.partial"
    with open(partial, "wb", opener=lambda path, flags: os.open(path, flags, 0o640, dir_fd=here)) as file:
        file.write(msgspec.json.encode(outcome))
    os.rename(partial, name, src_dir_fd=here, dst_dir_fd=here)
    sys.exit(1 if outcome.error else 0)


def _outcome(call: TaskCall) -> TaskOutcome:
    try:
        task = _find(call.task)
    except Exception as error:
        traceback.print_exc()
        told = f"the task {call.task!r} cannot be found: {type(error).__name__}: {error}"
        return TaskOutcome(error=told, traceback=_traceback(error), final=True)
    try:
        value = task.run_as_job(call) if hasattr(task, "run_as_job") else task(*call.args, **call.kwargs)
        msgspec.json.encode(value)
    except Retry as error:
        return TaskOutcome(error=str(error), traceback=_traceback(error.error or error), retry=error.seconds)
    except BaseException as error:
        traceback.print_exc()
        again = isinstance(error, getattr(task, "autoretry_for", ()))
        return TaskOutcome(error=f"{type(error).__name__}: {error}", traceback=_traceback(error), final=not again)
    return TaskOutcome(value)


def _find(name: str) -> Any:
    """Return what ``module.function`` or ``module.Class.function`` names; else the task that registered such a name."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:count])
        try:
            found = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
                continue
            raise
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(f"no module {parts[0]!r}; option_path of the queue's section names folders of modules")


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-_MAX_TRACEBACK:]
