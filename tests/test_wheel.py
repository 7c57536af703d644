"""The wheel, as somebody installs it: built, put into an empty environment, and used from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from pyros import config as configuration
from pyros.config import Config
from pyros.errors import AgentUnreachable
from pyros.health.asking import of_agent, of_broker, of_guardian
from tests.cli.conftest import on_free_ports
from tests.conftest import wait_until
from tests.instruments.indi.server import IndiServer, needs_indi

ROOT = Path(__file__).resolve().parent.parent


def refused(*command: str | Path, cwd: Path) -> str:
    """Return why a command fails; that it doesn't is the test's failure."""
    done = _done(*command, cwd=cwd)
    assert done.returncode != 0, done.stdout
    return " ".join(done.stderr.split())


def run(*command: str | Path, cwd: Path) -> str:
    """Return what a command prints; its failure is the test's."""
    done = _done(*command, cwd=cwd)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _done(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYROS", "VIRTUAL_ENV"))}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=clean, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, and install it in an empty environment."""
    tmp_path = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    wheel = next(tmp_path.glob("*.whl"))
    environment = tmp_path / "environment"
    venv.create(environment)
    programs = environment / "bin"
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        programs / "python",
        "--disable-pip-version-check",
    ]
    install = [*pip, "install", "--quiet"]
    if not os.environ.get("CI"):
        reachable = [str(word) for word in [*install, "--no-deps", "--dry-run", "idna"]]
        if subprocess.run(reachable, capture_output=True, check=False).returncode:
            pytest.skip("no package index can be reached from here")
    run(*install, "--no-compile", "--constraint", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    return environment


@pytest.mark.timeout(600)
def test_the_wheel_works_in_an_empty_environment(environment: Path, tmp_path: Path) -> None:
    programs, elsewhere = environment / "bin", tmp_path
    commands = run(programs / "twistd", "--help", cwd=elsewhere).split()
    assert {"pyros", "pyros-agent", "pyros-broker", "pyros-simulator"} <= set(commands)
    assert "pyros-alerts" in run(programs / "twistd", "-n", "comet", "--help", cwd=elsewhere)
    checked = run(programs / "pyros", "check", "--config", ROOT / "pyros_agent_config.ini", cwd=elsewhere)
    assert "telescope" in checked
    assert (environment / "lib").is_dir()
    location = run(programs / "python", "-c", "import pyros; print(pyros.__file__)", cwd=elsewhere)
    assert str(environment) in location
    assert "No mistake found" in run(programs / "pyros", "init", "mine", "--yes", "--simulators", cwd=elsewhere)


def broker_answers(config: Config) -> bool:
    try:
        return bool(of_broker(config))
    except AgentUnreachable:
        return False


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_first_burst_is_followed_up_three_commands_after_the_wheel_is_installed(
    environment: Path, tmp_path: Path
) -> None:
    run(environment / "bin" / "pyros", "init", "mine", "--yes", "--simulators", cwd=tmp_path)
    follow_a_burst(environment / "bin" / "pyros", tmp_path / "mine")


@pytest.mark.long
@pytest.mark.timeout(900)
@needs_indi
def test_a_burst_is_observed_with_devices_of_ones_own(environment: Path, tmp_path: Path) -> None:
    pyros = environment / "bin" / "pyros"
    names = ("Telescope Simulator", "CCD Simulator", "Dome Simulator", "Weather Simulator", "Filter Simulator")
    server = IndiServer(tmp_path, *names)
    try:
        where = ["--latitude", "43.93", "--longitude", "5.71", "--elevation", "650", "--night", "--no-alpaca"]
        init: list[str | Path] = [pyros, "init", "mine", "--yes", *where, "--indi", f"127.0.0.1:{server.port}"]
        told = refused(*init, cwd=tmp_path)
        assert "Weather Simulator tells no humidity and no cloud" in told
        assert "say --without humidity,cloud" in told
        run(*init, "--without", "humidity,cloud", cwd=tmp_path)
        follow_a_burst(pyros, tmp_path / "mine")
        assert list((tmp_path / "mine" / "var" / "images").rglob("*_Red.fits"))
    finally:
        end_guardian(tmp_path / "mine" / "pyros_agent_config.ini")
        server.kill()


def end_guardian(path: Path) -> None:
    """End the guardian, which outlives its observatory until it has seen the dome closed: its device goes first."""
    section = configuration.load(path).guardian if path.exists() else None
    if section is not None and (said := of_guardian(section, 5.0))["up"]:
        os.kill(said["pid"], signal.SIGKILL)


def follow_a_burst(pyros: Path, mine: Path) -> None:
    """Run an observatory of one's own, and send it a burst, of which an image must come."""
    on_free_ports(mine / "pyros_agent_config.ini")
    with (mine / "log").open("wb") as log:
        observatory = subprocess.Popen([pyros, "run"], cwd=mine, stdout=log, stderr=log, start_new_session=True)
    try:
        config = configuration.load(mine / "pyros_agent_config.ini")
        wait_until(lambda: all(of_agent(each, 1.0)["up"] for each in config.agents.values()))
        wait_until(lambda: observatory.poll() is not None or broker_answers(config))
        followed = run(pyros, "alert", "observatory/demo-alert.xml", cwd=mine)
        assert "image on disk" in followed
        assert list((mine / "var" / "images").rglob("*.fits"))
    finally:
        observatory.terminate()
        observatory.wait(300)
