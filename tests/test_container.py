"""The container's files say what the documents say; Docker itself reads them where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_the_image_has_extras_that_there_are() -> None:
    asked = re.search(r"\$wheel\[([a-z,]+)\]", (ROOT / "Dockerfile").read_text())
    assert asked is not None
    there = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {*asked[1].split(",")} <= {*there}


def test_the_container_has_the_time_to_close_and_may_write_to_its_volume_alone() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["observatory"]
    assert (service["stop_grace_period"], service["read_only"], service["cap_drop"]) == ("5m", True, ["ALL"])
    assert service["command"][0] == "run"
    assert service["command"][2] == service["environment"]["PYROS_AGENT_CONFIG"]


@pytest.mark.skipif(shutil.which("docker") is None, reason="Docker is not installed")
def test_docker_reads_the_compose_file() -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("Docker has no compose here")
    command = ["docker", "compose", "--file", str(ROOT / "compose.yaml"), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
