"""The wheel, as somebody installs it: built, put into an empty environment, and used from there."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """Return what a command prints; its failure is the test's."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYROS", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=clean, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.timeout(600)
def test_the_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
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
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    commands = run(programs / "twistd", "--help", cwd=elsewhere).split()
    assert {"pyros", "pyros-agent", "pyros-broker", "pyros-simulator"} <= set(commands)
    assert "pyros-alerts" in run(programs / "twistd", "-n", "comet", "--help", cwd=elsewhere)
    checked = run(programs / "pyros", "check", "--config", ROOT / "pyros_agent_config.ini", cwd=elsewhere)
    assert "telescope" in checked
    assert (environment / "lib").is_dir()
    location = run(programs / "python", "-c", "import pyros; print(pyros.__file__)", cwd=elsewhere)
    assert str(environment) in location
