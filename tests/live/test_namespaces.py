"""Computers as network namespaces: a backup made under load is restored on another one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyros.cli.common import program
from pyros.keys import make_key
from tests.conftest import wait_until

PROGRAM = """
import sys, time
from pyros import config
from pyros.agents import Agent
from pyros.errors import PyrosError
from pyros.sender import Sender, ask


class West(Agent):
    def __init__(self):
        super().__init__("west")
        self.actions_by_message["Tell"] = lambda message: self.send_to("east", "Urgent", message.payload)


class East(Agent):
    def __init__(self):
        super().__init__("east")
        self.actions_by_message["Urgent"] = lambda message: self.after_commit(self.note, message.payload["n"])

    def note(self, number):
        with open(sys.argv[3], "a") as file:
            file.write(f"{number}\\n")


role, file = sys.argv[1:3]
if role == "load":
    for attempt in range(1000):
        try:
            ask(config.load(file).agent("west"), "status")
            break
        except PyrosError:
            time.sleep(0.1)
    for number in range(int(sys.argv[3]), int(sys.argv[4])):
        Sender.send_to("west", "Tell", {"n": number}, config=config.load(file))
else:
    (West if role == "west" else East)().start(file)
"""
INI = """[observatory]
name = net
tls = DANGEROUSLY_OFF
[west]
app = agents
listen = 10.77.0.1:5001
at = 10.77.0.1
allow = 10.77.0.0/24
[east]
app = agents
listen = 10.77.0.2:5002
at = 10.77.0.2
allow = 10.77.0.0/24
"""


def ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0


def _may_make_namespaces() -> bool:
    name = f"pyros-{os.getpid()}-try"
    return bool(shutil.which("ip")) and ip("netns", "add", name) and ip("netns", "del", name)


class Computers:
    """Namespaces, one of which at a time is joined to the first by a cable, and the programs in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._name = f"p{os.getpid()}"
        self._programs: list[subprocess.Popen[bytes]] = []
        self._there: list[str] = []
        (folder / "agents.py").write_text(PROGRAM)
        make_key(folder / "observatory.key")
        for place in ("west", "east", "again"):
            (folder / place / "var").mkdir(parents=True, mode=0o700)
            (folder / place / "a.ini").write_text(INI)
            (folder / place / "var" / "observatory.key").touch(mode=0o600)
            (folder / place / "var" / "observatory.key").write_bytes((folder / "observatory.key").read_bytes())
        self.make("west")

    def make(self, place: str) -> None:
        self._there.append(place)
        assert ip("netns", "add", f"{self._name}-{place}")
        ip("-n", f"{self._name}-{place}", "link", "set", "lo", "up")

    def join(self, place: str) -> None:
        """Lead a cable from west to there, where the address is that of east."""
        one, other = f"{self._name}v1", f"{self._name}v2"
        ip("-n", f"{self._name}-west", "link", "del", one)
        assert ip("link", "add", one, "type", "veth", "peer", "name", other)
        for device, where, address in ((one, "west", "10.77.0.1/24"), (other, place, "10.77.0.2/24")):
            assert ip("link", "set", device, "netns", f"{self._name}-{where}")
            assert ip("-n", f"{self._name}-{where}", "addr", "add", address, "dev", device)
            assert ip("-n", f"{self._name}-{where}", "link", "set", device, "up")

    def start(self, place: str, *words: str) -> subprocess.Popen[bytes]:
        """Start a program in a namespace."""
        command = ["ip", "netns", "exec", f"{self._name}-{place}", sys.executable, *words]
        with (self.folder / f"{place}.log").open("ab") as log:
            environment = os.environ | {"PYTHONPATH": f"{self.folder}:{Path(__file__).parents[2]}"}
            started = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self._programs.append(started)
        return started

    def agent(self, place: str, role: str) -> subprocess.Popen[bytes]:
        return self.start(place, "agents.py", role, f"{place}/a.ini", f"{place}.txt")

    def pyros(self, place: str, *words: str) -> None:
        done = self.start(place, program("pyros"), *words, "--config", f"{place}/a.ini")
        assert done.wait(90) == 0, self.log(place)

    def load(self, first: int, last: int) -> subprocess.Popen[bytes]:
        return self.start("west", "agents.py", "load", "west/a.ini", str(first), str(last))

    def log(self, place: str) -> str:
        return (self.folder / f"{place}.log").read_text(errors="replace")

    def heard(self, place: str) -> list[int]:
        file = self.folder / f"{place}.txt"
        return [int(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []

    def close(self) -> None:
        for each in self._programs:
            each.kill()
            each.wait()
        for place in self._there:
            ip("netns", "del", f"{self._name}-{place}")


@pytest.fixture
def computers(tmp_path: Path) -> Iterator[Computers]:
    if not _may_make_namespaces():
        pytest.skip("network namespaces cannot be made here")
    made = Computers(tmp_path)
    yield made
    made.close()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_backup_under_load_goes_on_upon_another_computer(computers: Computers) -> None:
    computers.make("east")
    computers.join("east")
    computers.agent("west", "west")
    east = computers.agent("east", "east")
    load = computers.load(0, 3000)
    wait_until(lambda: len(computers.heard("east")) > 100)
    computers.pyros("east", "backup", "backups")
    after = len(computers.heard("east"))
    wait_until(lambda: len(computers.heard("east")) > after + 50)
    (backup,) = (computers.folder / "backups").iterdir()
    east.kill()
    east.wait()
    computers.make("again")
    computers.join("again")
    computers.pyros("again", "restore", str(backup))
    computers.agent("again", "east")
    assert load.wait(300) == 0
    wait_until(lambda: computers.heard("again")[-1:] == [2999])
    old, new = computers.heard("east"), computers.heard("again")
    assert new == sorted(set(new)), "doubled, or out of order"
    assert sorted({*old, *new}) == list(range(3000)), "lost"
    assert "an old copy was put in its place" in computers.log("again")
