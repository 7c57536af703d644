"""The program of a worker process: runs one job after the other, at low priority, until standard input ends.

``python -m pyros.workers.process SECONDS`` is started by `Worker`, which writes requests to standard input and reads
answers from standard output; both are frames of a 4-byte big-endian length and msgpack. Descriptor 3 is a file without
a name, in memory where the system can: images go through it, past the frames. No Twisted here.

A job is a function of a module: ``function(argument)`` or ``function(argument, block)``, where ``argument`` is decoded
to the type that the function's first parameter is annotated with, and ``block`` is a memoryview of the bytes that came
with the request. It returns what msgpack can hold, or bytes, which go back through the file.

The process leads a group of its own, so that a Ctrl-C at the terminal doesn't reach it. It ends with the process that
started it, however that ended: standard input ends then, and where the kernel can it kills a worker that is too busy or
too stuck to see that. A job that needs a program starts it by `programs.run`, which sees to that program's end.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import inspect
import mmap
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, get_type_hints

import msgspec

from pyros.prepared import prepared

MAX_FRAME = 16 << 20
"""Bytes of a request or an answer; what is larger goes through the file."""
BLOCK_DESCRIPTOR = 3
NICENESS = 10
"""On a busy processor a thread of an agent gets some nine times the share of a worker's; that still ends its jobs."""
_OUT_OF_MEMORY_SCORE = "500"  # of 1000, added: when memory is short a worker is killed, and no agent
_PR_SET_PDEATHSIG = 1
_MAX_TRACEBACK = 4000


class WorkerJob(msgspec.Struct, frozen=True, array_like=True):
    """One job: ``module:function``, its argument as msgpack, and the bytes of its block, -1 where it has none."""

    function: str
    argument: bytes
    block: int = -1


class JobProblem(msgspec.Struct, frozen=True, array_like=True):
    """What a job raised: the class's name, the text, and of an OSError its number and file."""

    kind: str
    text: str
    number: int | None = None
    file: str | None = None
    traceback: str = ""


class JobAnswer(msgspec.Struct, frozen=True, array_like=True):
    """The end of a job: a value as msgpack, or so many bytes in the file, or a problem."""

    value: bytes = b""
    block: int = -1
    problem: JobProblem | None = None


def prepare(modules: list[str]) -> None:
    """Import what the jobs to come will need."""
    for name in modules:
        importlib.import_module(name)


def frame(message: WorkerJob | JobAnswer) -> bytes:
    """Return a message as it goes over the pipe; ValueError when it is longer than a frame may be."""
    data = msgspec.msgpack.encode(message)
    if len(data) > MAX_FRAME:
        raise ValueError(f"{len(data)} bytes are more than a frame may have")
    return len(data).to_bytes(4, "big") + data


def answer(request: WorkerJob, descriptor: int = BLOCK_DESCRIPTOR) -> JobAnswer:
    """Run a job; whatever it raises becomes a problem."""
    try:
        return _run(request, descriptor)
    except Exception as error:
        number, file = getattr(error, "errno", None), getattr(error, "filename", None)
        text = getattr(error, "strerror", None) if number is not None else None
        return JobAnswer(
            problem=JobProblem(
                kind=type(error).__name__,
                text=text or str(error),
                number=number if isinstance(number, int) else None,
                file=None if file is None else os.fspath(file) if not isinstance(file, int) else None,
                traceback=traceback.format_exc()[-_MAX_TRACEBACK:],
            )
        )


def main() -> None:
    """Run until standard input ends; after the seconds that the first argument names, a job tells where it is."""
    late = float(sys.argv[1])
    answers = os.dup(1)
    os.dup2(2, 1)  # what a job prints is no answer
    _step_back()
    requests: SimpleQueue[WorkerJob] = SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    while True:
        request = requests.get()
        faulthandler.dump_traceback_later(late)  # to standard error, where the parent finds it
        told = frame(answer(request))
        faulthandler.cancel_dump_traceback_later()
        with memoryview(told) as rest:
            sent = 0
            while sent < len(told):
                sent += os.write(answers, rest[sent:])


def _step_back() -> None:
    """Lead a group of its own, and let everything of the night come first."""
    with suppress(OSError):
        os.setpgid(0, 0)  # no session of its own: Linux's autogroups would give that as much as all agents together
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # also where the agents run in real time
    with suppress(OSError):
        os.nice(NICENESS - os.nice(0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OUT_OF_MEMORY_SCORE)
    for interrupt in (signal.SIGINT, signal.SIGHUP):
        signal.signal(interrupt, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _read(requests: SimpleQueue[WorkerJob]) -> None:
    """In a thread of its own: the process ends the moment that standard input does, whatever a job is doing."""
    source = os.fdopen(os.dup(0), "rb")
    try:
        while head := source.read(4):
            requests.put(msgspec.msgpack.decode(source.read(int.from_bytes(head, "big")), type=prepared(WorkerJob)))
    finally:
        os._exit(0)


def _run(request: WorkerJob, descriptor: int) -> JobAnswer:
    function = _function(request.function)
    parameters = list(inspect.signature(function).parameters)
    argument = msgspec.msgpack.decode(request.argument, type=prepared(get_type_hints(function)[parameters[0]]))
    if request.block < 0:
        result = function(argument)
    elif request.block == 0:  # nothing can be mapped
        result = function(argument, memoryview(b""))
    else:
        # Not closed: an array that a job has kept may look into it, and it goes with the last of those.
        mapped = mmap.mmap(descriptor, request.block, prot=mmap.PROT_READ)
        result = function(argument, memoryview(mapped))
    if not isinstance(result, bytes):
        return JobAnswer(msgspec.msgpack.encode(result))
    os.ftruncate(descriptor, 0)
    write_block(descriptor, memoryview(result))
    return JobAnswer(block=len(result))


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def write_block(descriptor: int, data: memoryview) -> None:
    """Write bytes to the beginning of the file, without holding Python's lock while they are copied."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done : done + (1 << 26)], done)


def read_block(descriptor: int, size: int) -> bytes:
    """Return the first ``size`` bytes of the file; EOFError when there are fewer."""
    parts: list[bytes] = []
    done = 0
    while done < size:
        part = os.pread(descriptor, size - done, done)
        if not part:
            raise EOFError(f"{done} bytes of {size}")
        parts.append(part)
        done += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


if __name__ == "__main__":
    main()
