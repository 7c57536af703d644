"""Services under systemd: what they tell it, and the units that pyros init writes for them."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pyros.cli.init.units import units
from pyros.sender import Sender
from tests.conftest import Program, wait_until
from tests.systemd import Systemd
from tests.test_twistd import SCRIPTS, TwistdFolder, place, stop

__all__ = ["place"]

HANGING = """
import os

from pyros.agents import Agent


class NotesAgent(Agent):
    def __init__(self):
        super().__init__("notes")
        self.actions_by_message["Hang"] = self.hang

    def hang(self, message):
        with open("gate"):  # a pipe that nobody has opened for writing yet
            pass
"""
WHERE = {
    "folder": "/srv/my observatory", "data": "/srv/my observatory/var", "config": "/srv/my observatory/pyros.ini",
    "user": "observatory", "python": "/usr/bin/env", "twistd": "/opt/pyros/bin/twistd",
}  # fmt: skip


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(str(tmp_path / "n"))
    yield made
    made.close()


def waits_for(systemd: Systemd, state: str, program: Program) -> None:
    wait_until(lambda: state in (systemd.heard(), systemd.told)[1], what=f"{state}: {program.output} {program.errors}")


def test_an_agent_whose_thread_hangs_does_not_beat(place: Callable[..., TwistdFolder], systemd: Systemd) -> None:
    here = place()
    (here.folder / "notes_agent.py").write_text(HANGING)
    gate = here.folder / "gate"
    subprocess.run(["mkfifo", gate], check=True)
    program = here.twistd(
        "pyros-agent", "--agent", "notes", NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC="400000", WATCHDOG_PID=""
    )
    waits_for(systemd, "READY=1", program)
    waits_for(systemd, "WATCHDOG=1", program)
    with suppress(Exception):  # the handler doesn't end before this gives up
        Sender.send_to("notes", "Hang", config=here.config, timeout=0.5)
    wait_until(lambda: "notes: no answer from the thread for 0.2 s" in program.output, what=program.output)
    systemd.heard()
    systemd.told.clear()
    gate.open("w").close()
    waits_for(systemd, "WATCHDOG=1", program)
    stop(program, signal.SIGTERM)
    waits_for(systemd, "STOPPING=1", program)


def test_the_guardian_tells_that_it_is_ready(place: Callable[..., TwistdFolder], systemd: Systemd) -> None:
    here = place()
    program = here.twistd("pyros-guardian", NOTIFY_SOCKET=systemd.address)
    waits_for(systemd, "READY=1", program)
    program.kill()
    program.wait()


def test_a_log_in_json_and_an_agent_that_says_little(place: Callable[..., TwistdFolder], systemd: Systemd) -> None:
    here = place()
    here.path.write_text(here.path.read_text().replace("[notes]", "[notes]\nlog = critical"))
    program = here.twistd(
        "--logfile", here.folder / "log", "pyros-agent", "--agent", "notes", "--log-format", "json",
        NOTIFY_SOCKET=systemd.address,
    )  # fmt: skip
    waits_for(systemd, "READY=1", program)
    stop(program, signal.SIGTERM)
    events = [json.loads(line) for line in (here.folder / "log").read_text().splitlines()]
    assert events
    assert all(event["text"] for event in events)
    assert "notes" not in {event["who"] for event in events}


def test_a_service_that_hangs_up_reads_its_site_again(place: Callable[..., TwistdFolder], systemd: Systemd) -> None:
    here = place()
    command = ["setsid", str(SCRIPTS / "twistd"), "-n", "--pidfile=", "pyros-agent", "--agent", "notes"]  # no terminal
    program = Program(command, here.folder, {"PYTHONPATH": str(here.folder), "NOTIFY_SOCKET": systemd.address})
    here.programs.append(program)
    waits_for(systemd, "READY=1", program)
    program.kill(signal.SIGHUP)
    wait_until(lambda: "site.yaml is read again" in program.output, what=program.output)
    here.config.site.write_text("name: nowhere\n")
    program.kill(signal.SIGHUP)
    wait_until(lambda: "site and rules stay as they were" in program.output, what=program.output)
    stop(program, signal.SIGTERM)


# Units ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Write all units into a folder."""
    made = units(WHERE, "100 % north", ["scheduler", "dome"], ["broker", "guardian", "console"], simulated=False)
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_an_observatory_of_simulators_has_one_unit() -> None:
    assert list(units(WHERE, "here", ["dome"], ["broker"], simulated=True)) == ["pyros.service"]


def test_there_is_a_unit_for_all_and_a_target_with_one_for_each(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {
        "pyros.service", "pyros.target", "pyros-agent@.service", "pyros-broker.service", "pyros-guardian.service",
        "pyros-console.service",
    }  # fmt: skip
    wants = re.findall(r"(?m)^Wants=(.*)$", (written / "pyros.target").read_text())
    assert wants[0].split() == [
        "pyros-broker.service", "pyros-guardian.service", "pyros-console.service", "pyros-agent@scheduler.service",
        "pyros-agent@dome.service",
    ]  # fmt: skip
    agent = (written / "pyros-agent@.service").read_text()
    assert '" -n --pidfile= pyros-agent --agent %I --config "/srv/my observatory/pyros.ini"\n' in agent
    assert "Description=PYROS, 100 %% north: the agent %i\n" in agent


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("name", ["pyros.service", "pyros-guardian.service"])
def test_systemd_accepts_the_units_and_finds_them_safe(written: Path, name: str) -> None:
    analyze = ["systemd-analyze", "--man=no"]
    checked = subprocess.run([*analyze, "verify", written / name], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    secure = [*analyze, "security", "--offline=true", "--threshold=19", str(written / name)]
    score = subprocess.run(secure, capture_output=True, text=True, check=False)
    if "unrecognized option" in score.stderr:
        pytest.skip("systemd is older than 250 here, and judges only what it runs")
    assert score.returncode == 0, score.stdout + score.stderr
