"""Computers as network namespaces, with an internet between them that is a program (`bench._internet`). Needs root."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

from bench._common import PATIENCE
from bench._internet import DOMAIN, NAMES

ROOT = Path(__file__).parents[1]
_ETC = Path("/etc/netns")
_numbers = itertools.count()


class SitePlace(NamedTuple):
    """Where a computer is."""

    inside: str
    """Its own address."""
    outside: str = ""
    """The address of the router before it; '' where there is none."""
    port: int = 0
    """The TCP port that this router leads to it."""

    @property
    def described(self) -> str:
        """It in `bench._internet`'s words."""
        return f"{self.inside},{self.outside},{self.port}" if self.outside else self.inside


def _run_ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


def _ip(*words: str) -> str:
    """Run ``ip``; returns what it complains of."""
    return _run_ip(*words).stderr


def why_not() -> str:
    """Why computers cannot be made here; '' where they can."""
    if not shutil.which("ip"):
        return "there is no ip (iproute2)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun to open"
    name = f"pyros-{os.getpid()}-try"
    trouble = _ip("netns", "add", name)
    if not trouble:
        _ip("netns", "del", name)
    return f"network namespaces cannot be made: {trouble.strip()}" if trouble else ""


class SiteComputers:
    """The computers of some places, and what runs on them."""

    def __init__(self, folder: Path, **places: SitePlace) -> None:
        self.folder = folder
        self._mark = f"p{os.getpid()}x{next(_numbers)}"
        self._programs: list[subprocess.Popen[str]] = []
        devices = {name: f"{self._mark}t{at}" for at, name in enumerate(places)}
        described = [f"{name}={devices[name]},{each.described}" for name, each in places.items()]
        self._internet = subprocess.Popen(
            [sys.executable, "-m", "bench._internet", *described],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.places = dict(places)
        assert self._internet.stdout is not None
        assert self._internet.stdout.readline() == "ready\n"
        for name, place in places.items():
            space, device = self.space(name), devices[name]
            self._must("netns", "add", space)
            (_ETC / space).mkdir(parents=True)
            (_ETC / space / "resolv.conf").write_text(f"nameserver {NAMES}\n")
            self._must("link", "set", device, "netns", space)
            for words in (
                ("link", "set", "lo", "up"),
                ("link", "set", device, "name", "wan"),
                ("addr", "add", f"{place.inside}/32", "dev", "wan"),
                ("link", "set", "wan", "up"),
                ("route", "add", "default", "dev", "wan"),
            ):
                self._must("-n", space, *words)

    def space(self, name: str) -> str:
        """The namespace of a place's computer."""
        return f"{self._mark}-{name}"

    def entering(self, name: str) -> list[str]:
        """The words before a command that is to be run on a computer."""
        return ["ip", "netns", "exec", self.space(name)]

    def __call__(self, command: str) -> str:
        """Tell the internet something."""
        assert self._internet.stdin is not None
        assert self._internet.stdout is not None
        self._internet.stdin.write(command + "\n")
        self._internet.stdin.flush()
        return self._internet.stdout.readline().strip()

    def readdress(self, name: str, address: str) -> None:
        """Give a computer another address of its own, as a router does that has lost its list."""
        space = self.space(name)
        self._must("-n", space, "addr", "flush", "dev", "wan")
        self._must("-n", space, "addr", "add", f"{address}/32", "dev", "wan")
        self._must("-n", space, "route", "replace", "default", "dev", "wan")
        self(f"inside {name} {address}")

    def run(self, name: str, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a program on a computer; what it complains of is in ``NAME.log``."""
        with (self.folder / f"{name}.log").open("ab") as log:
            started = subprocess.Popen(
                [*self.entering(name), *command], cwd=ROOT, env=os.environ | environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self._programs.append(started)
        return started

    def log(self, name: str) -> str:
        """What the programs of a computer have complained of."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        """End everything, and take the computers away."""
        for each in (*self._programs, self._internet):
            each.kill()
            each.wait()
            for stream in (each.stdin, each.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        for name in self.places:
            for process in _run_ip("netns", "pids", self.space(name)).stdout.split():  # such as what its programs left
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
            _ip("netns", "del", self.space(name))
            shutil.rmtree(_ETC / self.space(name), ignore_errors=True)
        with contextlib.suppress(OSError):
            _ETC.rmdir()

    def _must(self, *words: str) -> None:
        trouble = _ip(*words)
        if trouble:
            self.close()
            raise RuntimeError(f"ip {' '.join(words)}: {trouble.strip()}")


def host_of(name: str) -> str:
    """The name by which the others find a place."""
    return f"{name}.{DOMAIN}"


class Heard(NamedTuple):
    """A message that a site has taken."""

    at: str
    sender: str
    name: str
    n: int
    instant: float
    """Monotonic seconds, the same on all these computers."""


class SiteAgent:
    """The process of a site's agent (`bench._site`)."""

    def __init__(self, computers: SiteComputers, name: str, config: Path, heard: queue.SimpleQueue[Heard]) -> None:
        self.name = name
        self._heard = heard
        self._process = computers.run(name, sys.executable, "-m", "bench._site", name, str(config))
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._next: dict[str, int] = {}

    def up(self) -> None:
        """Wait until it has begun."""
        assert self._answers.get(timeout=PATIENCE) == "up"

    def say(self, to: str, name: str, count: int = 1, size: int = 0) -> int:
        """Have it say so many messages; returns the number of the first."""
        first = self._next.get(to, 0)
        self._next[to] = first + count
        self._tell(f"{to} {name} {count} {size} {first}")
        return first

    def waiting(self) -> int:
        """How many messages wait in its outbox."""
        self._tell("waiting")
        return int(self._answers.get(timeout=PATIENCE).split()[1])

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # it was closed
            for line in self._process.stdout:
                words: list[Any] = line.split()
                if len(words) == 4:
                    self._heard.put(Heard(self.name, words[0], words[1], int(words[2]), float(words[3])))
                else:
                    self._answers.put(line.strip())
