"""How processes end: what the agents move is made safe first, and the guardian stays until the dome is closed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as Scheduler

from pyros import config as configuration
from pyros.agents.runtime import ending
from pyros.clock import VirtualClock
from pyros.health.asking import of_guardian
from pyros.sender import Sender
from tests.conftest import PATIENCE, Program, is_open, wait_until
from tests.test_twistd import SCRIPTS, TwistdFolder, device, place, stop

__all__ = ["place"]

MOVING = """
from pathlib import Path

from twisted.internet.defer import Deferred

from pyros.agents import Agent


class MovingAgent(Agent):
    LEFT = "the crane is up"

    def __init__(self):
        super().__init__("NAME")

    def attach(self, reactor):
        self.reactor = reactor

    def make_safe(self, reason):
        print("lowering the crane ...", flush=True)
        self.safe = Deferred()
        self.look()
        return self.safe

    def look(self):
        if Path("down").exists():
            print("the crane is down", flush=True)
            self.safe.callback(None)
        else:
            self.clock.call_later(0.02, self.look)

    def shutdown(self):
        print("shutdown", flush=True)
"""
PROGRAM = """
from pyros.agents.runtime import program
program.STOP_SECONDS = 0.0
MovingAgent().start()
"""

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
ENDS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)


def with_crane(here: TwistdFolder, name: str = "minutes") -> TwistdFolder:
    """Return the same place, in which that agent moves something."""
    (here.folder / f"{name}_agent.py").write_text(MOVING.replace("NAME", name))
    return here


def lowered(folder: Path) -> None:
    (folder / "down").touch()


def again_and_again(program: Program, number: int) -> int:
    """Send a signal until the program has ended; returns its code."""

    def ended() -> bool:
        if program.process.poll() is None:
            program.kill(number)
        return program.process.poll() is not None

    wait_until(ended, what=f"an end: {program.output} {program.errors}")
    return program.wait()


# Under twistd ------------------------------------------------------------------------------------------------------


@SIGNALS
def test_an_observatory_ends_when_everything_is_safe(place: Callable[..., TwistdFolder], number: int) -> None:
    here = with_crane(place())
    program = here.twistd("pyros", "--config", here.path)
    here.up_all(program)
    program.kill(number)
    wait_until(lambda: "lowering the crane" in program.output, what=program.output)
    Sender.send_to("notes", "Note", {"text": "all live"}, config=here.config)
    assert program.process.poll() is None
    assert "shutdown" not in here.notes()
    lowered(here.folder)
    assert program.wait() in (0, -number), program.output
    assert "Traceback" not in program.output + program.errors
    assert here.notes() == ["all live", "shutdown"]


@SIGNALS
def test_an_observatory_that_is_ended_while_it_starts_makes_safe(
    place: Callable[..., TwistdFolder], number: int
) -> None:
    """The signal comes when ports are open, and before the reactor runs, which takes signals by itself."""
    here = with_crane(place())
    file = here.folder / "minutes_agent.py"
    signalled = f"__import__('os').kill(__import__('os').getpid(), {int(number)})"
    file.write_text(file.read_text().replace("self.reactor = reactor", f"self.reactor = reactor\n        {signalled}"))
    program = here.twistd("pyros", "--config", here.path)
    wait_until(lambda: "lowering the crane" in program.output, what=program.output)
    lowered(here.folder)
    assert program.wait() in (0, -number), program.output
    assert "Traceback" not in program.output + program.errors


def test_an_observatory_ends_when_its_terminal_is_closed(place: Callable[..., TwistdFolder]) -> None:
    here = with_crane(place())
    terminal, other_end = pty.openpty()
    service = ["-n", "--pidfile=", "--logfile", "log", "pyros-agent", "--agent", "minutes"]
    process = subprocess.Popen(
        ["setsid", "--ctty", str(SCRIPTS / "twistd"), *service],
        cwd=here.folder, env=os.environ | {"PYTHONPATH": str(here.folder)},
        stdin=other_end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(other_end)
    try:
        wait_until(lambda: is_open(here.config.agent("minutes").port))
        lowered(here.folder)
        os.close(terminal)
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert "the terminal was closed, and the observatory ends" in (here.folder / "log").read_text()


def test_an_observatory_ends_at_once_at_the_second_signal(place: Callable[..., TwistdFolder]) -> None:
    here = with_crane(place())
    program = here.twistd("pyros", "--config", here.path)
    here.up_all(program)
    program.kill(signal.SIGINT)
    wait_until(lambda: "lowering the crane" in program.output, what=program.output)
    assert again_and_again(program, signal.SIGINT) == 1
    assert "pyros: ended at once, and left as it is: the crane is up" in program.errors


def test_an_agent_that_is_told_to_shut_down_makes_safe_first(place: Callable[..., TwistdFolder]) -> None:
    here = with_crane(place())
    program = here.twistd("pyros-agent", "--config", here.path, "--agent=minutes")
    here.up(program, here.config.agent("minutes").port)
    Sender.send_to("minutes", "Shutdown", config=here.config)
    wait_until(lambda: "lowering the crane" in program.output, what=program.output)
    assert program.process.poll() is None
    lowered(here.folder)
    assert program.wait() == 0


def test_an_agent_that_cannot_work_makes_safe_before_its_process_fails(place: Callable[..., TwistdFolder]) -> None:
    here = with_crane(place())
    file = here.folder / "minutes_agent.py"
    file.write_text(file.read_text() + "\n    def work(self):\n        raise RuntimeError('broken')\n")
    program = here.twistd("pyros-agent", "--config", here.path, "--agent=minutes")
    wait_until(lambda: "lowering the crane" in program.output, what=program.output)
    assert program.process.poll() is None
    lowered(here.folder)
    assert program.wait() == 1


@pytest.mark.parametrize("whose", ["its own", "another's"])
def test_a_journal_that_is_broken_keeps_nothing_from_being_made_safe(
    whose: str, place: Callable[..., TwistdFolder]
) -> None:
    here = with_crane(place())
    journal = here.config.journal("minutes" if whose == "its own" else "notes")
    journal.mkdir(parents=True)  # a damaged file would be moved aside
    program = here.twistd("pyros", "--config", here.path)
    wait_until(lambda: "lowering the crane" in program.output, what=program.output)
    assert program.process.poll() is None
    lowered(here.folder)
    assert program.wait() == 1
    assert str(journal) in program.output
    assert "Traceback" not in program.output + program.errors


# In a plain program ------------------------------------------------------------------------------------------------


@ENDS
def test_a_program_ends_when_everything_is_safe(observatory: Callable[..., Any], number: int) -> None:
    here = observatory("moving")
    file = here.folder / "program.py"
    file.write_text(MOVING.replace("NAME", "moving") + PROGRAM)
    program = here.run(file)
    here.up("moving")
    program.kill(number)
    wait_until(lambda: "lowering the crane" in program.output)
    assert here.status("moving") is not None
    lowered(here.folder)
    assert program.wait() in (0, -number), "as the program itself would: it may have come to its end"
    assert program.output.splitlines() == ["lowering the crane ...", "the crane is down", "shutdown"]


def test_a_program_ends_at_once_at_the_second_signal(observatory: Callable[..., Any]) -> None:
    here = observatory("moving")
    file = here.folder / "program.py"
    file.write_text(MOVING.replace("NAME", "moving") + PROGRAM)
    program = here.run(file)
    here.up("moving")
    program.kill(signal.SIGINT)
    wait_until(lambda: "lowering the crane" in program.output)
    assert again_and_again(program, signal.SIGINT) == 1
    assert program.errors == "pyros: ended at once, and left as it is: the crane is up\n"


# In which order ----------------------------------------------------------------------------------------------------


class Moved:
    """An agent's host, as far as its end is concerned."""

    def __init__(self, name: str, clock: VirtualClock, said: list[str], *, roof: bool = False) -> None:
        log = SimpleNamespace(critical=lambda text, **_: said.append("critical"))
        self.agent = SimpleNamespace(name=name, LEFT=name, log=log)
        self.section = SimpleNamespace(roof=roof, kind=name, unit="")
        self.clock, self.said = clock, said
        self.safe: Deferred[None] = Deferred()

    def make_safe(self, reason: str) -> Deferred[None]:
        self.said.append(self.agent.name)
        return self.safe


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


def moved(scheduler: Scheduler, said: list[str], *, roof: bool) -> list[Any]:
    from datetime import UTC, datetime

    clock = VirtualClock(scheduler, datetime(2026, 3, 20, tzinfo=UTC))
    return [Moved(name, clock, said, roof=roof and name == "dome") for name in ("dome", "camera", "telescope")]


def test_a_dome_closes_while_the_mount_parks(scheduler: Scheduler) -> None:
    said: list[str] = []
    ending.make_safe(moved(scheduler, said, roof=False), "the end")
    assert said == ["dome", "camera", "telescope"]
    assert not scheduler.getDelayedCalls()


def test_a_roof_closes_when_the_mount_is_parked(scheduler: Scheduler) -> None:
    said: list[str] = []
    dome, camera, telescope = moved(scheduler, said, roof=True)
    end = ending.make_safe([dome, camera, telescope], "the end")
    scheduler.advance(ending.PARK_SECONDS - 1)
    assert said == ["camera", "telescope"]
    telescope.safe.callback(None)
    assert said == ["camera", "telescope", "dome"]
    camera.safe.callback(None)
    assert not end.called
    dome.safe.callback(None)
    assert end.called
    assert not scheduler.getDelayedCalls()


def test_a_roof_closes_though_the_mount_does_not_park(scheduler: Scheduler) -> None:
    said: list[str] = []
    ending.make_safe(moved(scheduler, said, roof=True), "the end")
    scheduler.advance(ending.PARK_SECONDS)
    assert said == ["camera", "telescope", "critical", "dome"]


# The guardian's process --------------------------------------------------------------------------------------------


def guardian(here: TwistdFolder, **what: Any) -> dict[str, Any]:
    """Return what the guardian says, once it is up and says so much."""
    section = here.config.guardian
    assert section is not None

    def says() -> dict[str, Any]:
        line = of_guardian(section, PATIENCE)
        return line if line["up"] and all(line[key] == value for key, value in what.items()) else {}

    found: dict[str, Any] = wait_until(says, what=f"a guardian: {what}")
    return found


def gone(here: TwistdFolder) -> bool:
    assert here.config.guardian is not None
    return not is_open(here.config.guardian.port)


def test_the_observatory_starts_its_guardian_again_and_ends_it(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    program = here.twistd("pyros", "--config", here.path)
    said = guardian(here, dome="closed")
    assert said["data"] == str(here.config.data)
    first = said["pid"]
    assert os.getsid(first) == first, "Ctrl-C on the terminal is not for it"
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: gone(here) or guardian(here)["pid"] != first)
    assert guardian(here)["pid"] != first
    assert "the guardian has ended with code -9" in program.output
    stop(program, signal.SIGTERM)
    assert gone(here)


def test_a_guardian_that_runs_already_is_used_and_stays(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    alone = here.twistd("pyros-guardian", "--config", here.path)
    assert guardian(here)["pid"] == alone.pid
    program = here.twistd("pyros", "--config", here.path)
    wait_until(lambda: f"the guardian runs already: process {alone.pid}" in program.output, what=program.output)
    stop(program, signal.SIGTERM)
    assert guardian(here)["pid"] == alone.pid


def test_a_guardian_goes_with_the_simulators_of_a_killed_observatory(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    program = here.twistd("pyros", "--config", here.path)
    guardian(here, dome="closed")
    program.kill()
    wait_until(lambda: gone(here), what="the guardian to end")


def test_a_killed_observatory_leaves_a_closed_dome(place: Callable[..., TwistdFolder]) -> None:
    """All of it is killed while the dome opens, and the guardian ends when it has closed the dome."""
    here = place(beat=2)
    dome = here.simulators / "dome.yaml"
    dome.write_text(dome.read_text().replace("speed: 50", "speed: 2"))
    devices = here.twistd("pyros-simulator", *here.simulators.glob("*.yaml"))
    here.up(devices, int(here.config.agent("dome").address.rpartition(":")[2]))
    program = here.twistd("pyros", "--no-simulators", "--config", here.path)
    guardian(here, dome="closed")
    assert device(here, "dome", "DO open").startswith("BUSY")
    program.kill()
    wait_until(lambda: gone(here), what="the guardian to end")
    assert device(here, "dome", "GET state") == "OK closed"
    log = (here.config.data / "guardian.log").read_text()
    assert "the guardian closes it" in log
    assert "it ends" in log


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda number: number.name)
def test_a_dome_whose_agent_is_killed_or_stopped_is_closed(place: Callable[..., TwistdFolder], number: int) -> None:
    here = place(beat=2)
    devices = here.twistd("pyros-simulator", here.simulators / "dome.yaml")
    here.up(devices, int(here.config.agent("dome").address.rpartition(":")[2]))
    here.twistd("pyros-guardian", "--config", here.path)
    agent = here.twistd("pyros-agent", "--config", here.path, "--agent=dome")
    wait_until(lambda: guardian(here)["beats"] > 2, what=agent.output)
    agent.kill(number)
    assert device(here, "dome", "DO open").startswith("BUSY")
    wait_until(lambda: guardian(here)["alarms"], what="an alarm")
    guardian(here, dome="closed", closing=False)
    assert device(here, "dome", "GET state") == "OK closed"
    (alarm,) = guardian(here)["alarms"]
    assert alarm["key"] == "the dome's agent is silent"
    if number == signal.SIGSTOP:
        agent.kill(signal.SIGCONT)
        guardian(here, alarms=[])


def test_a_dome_is_closed_at_the_end_and_progress_is_shown(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    dome = here.simulators / "dome.yaml"
    dome.write_text(dome.read_text().replace("speed: 50", "speed: 10"))
    devices = here.twistd("pyros-simulator", *here.simulators.glob("*.yaml"))
    here.up(devices, *(int(here.config.agent(name).address.rpartition(":")[2]) for name in ("dome", "telescope")))
    program = here.twistd("pyros", "--no-simulators", "--config", here.path)
    here.up_all(program)
    guardian(here, dome="closed")
    assert device(here, "telescope", "DO unpark").startswith(("OK", "BUSY"))
    assert device(here, "dome", "DO open").startswith("BUSY")
    stop(program, signal.SIGTERM)
    assert device(here, "dome", "GET state") == "OK closed"
    assert device(here, "telescope", "GET state") == "OK parked"
    for line in ("parking the mount ...", "parked after"):
        assert line in program.output
    assert gone(here)


def test_the_demo_has_a_guardian() -> None:
    assert configuration.load(Path(__file__).parents[1] / configuration.FILE_NAME).guardian is not None
