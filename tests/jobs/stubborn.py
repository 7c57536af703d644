"""A program that doesn't want to end: the four kinds of children that survive where only a process is killed."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

kind = sys.argv[1]


def note() -> None:
    with open("pids", "a") as file:
        file.write(f"{os.getpid()}\n")


def deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note()
    while True:
        time.sleep(1)


def forked(function: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        function()
        os._exit(0)
    return pid


def session() -> None:
    os.setsid()
    deaf()


def daemon() -> None:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", KEEP], {})
    os._exit(0)


def family() -> None:
    """Each of them has a child, and ends itself: at any instant there is another one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(100_000):
        if os.fork():
            os._exit(0)
        time.sleep(0.002)


KEEP = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("pids", "a").write(f"{os.getpid()}\\n")
while True:
    time.sleep(1)
"""

note()
if kind == "session":
    forked(session)
elif kind == "daemon":
    os.waitpid(forked(daemon), 0)
elif kind == "family":
    forked(family)
while kind not in {"deaf", "family"} and len(Path("pids").read_text().split()) < 2:
    time.sleep(0.01)
with open("ready", "w") as file:
    file.write("ready")
deaf()
