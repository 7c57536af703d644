"""What the workers of the tests are asked to do; each is imported by the worker process."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from pyros.errors import ImageError
from pyros.workers import programs


class SumJob(msgspec.Struct):
    """Numbers to add, and a path where the process notes its number first."""

    numbers: list[float]


class Total(msgspec.Struct):
    """What came out, and who did it."""

    total: float
    pid: int
    niceness: int


def add(job: SumJob) -> Total:
    print("noise that is no answer")
    return Total(sum(job.numbers), os.getpid(), os.nice(0))


def reverse(job: int, block: memoryview) -> bytes:
    return bytes(block[::-1]) * job


def length(job: int, block: memoryview) -> int:
    return len(block)


def pixels(job: int) -> bytes:
    return bytes(job)


def refuse(job: str) -> None:
    if job == "image":
        raise ImageError("it shows nothing")
    if job == "file":
        Path("/no/such/folder/file").read_text()
    if job == "exists":
        raise FileExistsError("a.fits: holds another image")
    raise KeyError("nobody expects this")


def die(job: int) -> None:
    sys.stderr.write("a last word\n")
    sys.stderr.flush()
    if job > 0:
        os.kill(os.getpid(), job)
    os._exit(-job)


def hang(job: str) -> None:
    """Says that it runs, and never ends."""
    Path(job).write_text(str(os.getpid()))
    while True:
        time.sleep(60)


def compute(job: str) -> None:
    """Do the same, and never let go of Python's lock: not even the thread that would see its parent's end runs."""
    sys.setswitchinterval(1e6)
    Path(job).write_text(str(os.getpid()))
    while True:
        pass


def run_program(job: str) -> int | None:
    """Wait for a program of its own, which notes its number."""
    return programs.run(["sh", "-c", f"echo $$ > {job}; exec sleep 600"], seconds=600).code
