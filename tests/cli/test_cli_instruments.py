"""``pyros instruments`` with simulators in a process of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pyros import config as configuration
from pyros.cli.app import app
from pyros.cli.common import program
from pyros.config import Config
from tests.cli.conftest import copy_demo
from tests.instruments.indi_server import IndiServer, needs_indi

DEVICES = ("telescope", "camera", "filter_wheel", "dome", "safety", "weather")


def pyros(config: Config, *arguments: str, text: str = "") -> Any:
    """The command, in this process, which has imported everything already."""
    where = [] if arguments[0] == "discover" else ["--config", str(config.path)]
    return CliRunner().invoke(app, ["instruments", *arguments, *where], input=text)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """The demo's simulators; the clock of the configuration is shifted into its night."""
    config = configuration.load(copy_demo(tmp_path_factory.mktemp("simulated")))
    files = [config.path.parent / "observatory" / "simulators" / f"{name}.yaml" for name in DEVICES]
    process = subprocess.Popen(
        [sys.executable, program("twistd"), "-n", "--pidfile=", "pyros-simulator", "--config", config.path, *files],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    up = 0
    while up < len(DEVICES):
        line = process.stdout.readline()
        assert line, "the simulators have ended"
        up += " is a simulated " in line or "listens" in line
    yield config
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


def test_the_suite_on_a_telescope(simulated: Config) -> None:
    """As people call it, in a process of its own."""
    done = subprocess.run(
        [sys.executable, program("pyros"), "instruments", "test", "telescope", "--all", "--yes"],
        env=os.environ | {configuration.ENVIRONMENT: str(simulated.path)},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].startswith("passed         a slew ends on its target, and the position is measured")
    assert re.fullmatch(r"Demo telescope: \d+ passed", lines[-1])
    assert pyros(simulated, "shell", "telescope", text="state\n").stdout == "parked\n"


def test_what_may_do_harm_is_left_out(simulated: Config) -> None:
    done = pyros(simulated, "test", "dome")
    assert done.exit_code == 0
    assert "left out       opens and closes, and an open one is open at once (--all)" in done.stdout
    assert "it is a roof: its slit does not turn" in done.stdout


def test_a_device_that_is_not_there(config: Config) -> None:
    done = pyros(config, "test", "camera")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert "camera: cannot be tested: ConnectionLost: camera at tcp:127.0.0.1:" in done.stderr


def test_a_line_to_a_device(simulated: Config) -> None:
    lines = ["state", "help expose", "expose 2 dark=on", "cool -25", "cooling", "GET geometry", "", "# nothing", "quit"]
    done = pyros(simulated, "shell", "camera", text="\n".join(lines))
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    found = done.stdout.splitlines()
    assert found[0] == "idle"
    assert found[1].startswith("expose seconds (s) [filter=''] [tag=''] [dark=False]")
    assert re.search(r"^begun; it thinks that takes [\d.]+ s\nan image of 768 x 768, 2 s, \d+ to \d+ ADU\nOK\n",
                     done.stdout, re.MULTILINE)  # fmt: skip
    assert found[-1] == "OK 768 768 16 1.8"


def test_what_is_wrong_on_a_line_is_told_and_the_shell_goes_on(simulated: Config) -> None:
    lines = ["slew 10", "slew x 2", "slew 1 2 3 4", "dance", "GET nonsense", "slew 'a", "state"]
    done = pyros(simulated, "shell", "telescope", text="\n".join(lines))
    assert done.exit_code == 1
    assert done.stdout == "parked\n"
    told = done.stderr.splitlines()
    assert len(told) == 6
    assert told[0] == "pyros: dec missing; usage: slew ra (degrees, ICRS) dec (degrees, ICRS) [tag='']"
    assert told[1] == "pyros: ra: 'x' is not a number"
    assert told[3].startswith("pyros: no command 'dance'; there are: help, quit, slew, stop,")
    assert told[4].startswith("pyros: DeviceRefused: UNKNOWN: there is no property 'nonsense'")


def test_no_such_instrument(config: Config) -> None:
    for command in ("test", "shell"):
        done = pyros(config, command, "spectrograph")
        assert done.exit_code == 1
        assert "no instrument 'spectrograph' (there are: telescope, camera," in done.stderr


def test_a_device_whose_agent_runs_is_left_alone(config: Config) -> None:
    from pyros.agents.safety import SafetyAgent

    agent = SafetyAgent()
    agent.start(config)
    try:
        done = pyros(config, "test", "safety")
        assert done.exit_code == 1
        assert "agent 'safety' is running and commands this device; end it first" in done.stderr
        done = pyros(config, "list", "--json")
        (line,) = [json.loads(line) for line in done.stdout.splitlines() if '"safety"' in line]
        assert line["reason"] == ""
    finally:
        agent.stop()


def test_the_list_without_anything_running(config: Config) -> None:
    done = pyros(config, "list", "--json")
    found: list[Any] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["instrument"] for line in found] == [
        "telescope", "camera", "dome", "weather", "filter_wheel", "safety",
    ]  # fmt: skip
    assert {line["reason"] for line in found} == {"its agent is not running"}
    assert "its agent is not running" in pyros(config, "list").stdout


def test_nothing_to_discover(config: Config) -> None:
    done = pyros(config, "discover", "--no-alpaca", "--seconds", "0.1")
    assert done.exit_code == 1
    assert "no device answered" in done.stderr
    done = pyros(config, "discover", "--no-alpaca", "--indi", "127.0.0.1:1")
    assert done.exit_code == 1
    assert done.stderr.startswith("pyros: INDI server at tcp:127.0.0.1:1: Connection was refused")
    done = pyros(config, "discover", "--indi", "host:port")
    assert done.exit_code == 2


@needs_indi
def test_an_indi_server_is_asked_for_its_devices(config: Config, tmp_path: Path) -> None:
    server = IndiServer(tmp_path, "Telescope Simulator", "Dome Simulator")
    try:
        done = pyros(config, "discover", "--no-alpaca", "--indi", f"127.0.0.1:{server.port}")
    finally:
        server.kill()
    assert done.exit_code == 0, done.stderr
    assert f"[dome]\nport = 5020\ndriver = indi\naddress = tcp:127.0.0.1:{server.port}/Dome Simulator\n" in done.stdout
    assert f"address = tcp:127.0.0.1:{server.port}/Telescope Simulator\n" in done.stdout
