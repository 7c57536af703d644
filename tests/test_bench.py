"""Every bench runs, quickly, and says its figures as JSON: so that they still work on the day somebody wants them."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, free_port

BENCH = Path(__file__).resolve().parent.parent / "bench"
BENCHES = sorted(path.name for path in BENCH.glob("*.py") if not path.name.startswith("_"))


LONG = (
    "alert_to_slew.py", "alerts.py", "console.py", "console_browser.py", "console_pages.py", "internet.py", "safety.py",
    "sites.py", "skymap_nights.py", "surveys.py", "tls.py", "wan.py",
)  # fmt: skip
"""What takes longest: whole observatories and brokers run, or fail, one after the other; outages last."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [pytest.param(each, marks=[pytest.mark.long] * (each in LONG)) for each in BENCHES])
def test_bench_runs_quickly_and_gives_json(name: str, tmp_path: Path) -> None:
    if name == "console_browser.py" and shutil.which("chromium") is None:
        pytest.skip("needs chromium (tools/system-packages)")
    done = subprocess.run(
        [sys.executable, BENCH / name, "--quick", "--json", "--dir", tmp_path],
        cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines
    for line in lines:
        assert {"bench", "measure", "versions", "machine"} <= line.keys()
        assert any(isinstance(value, (int, float)) for value in line.values()), line
    assert not list(tmp_path.iterdir()), "a bench left files behind"
    if name == "agents.py" and shutil.which("redis-server"):
        assert any("redis" in str(line.get("system", "")).lower() for line in lines)


def test_a_broker_under_measure_that_cannot_listen_ends(tmp_path: Path) -> None:
    """Else the bench would wait for its ports for ever."""
    for name in ("site.yaml", "rules.yaml"):
        (tmp_path / name).touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "pyros_agent_config.ini").write_text(
            "[observatory]\nname = bench\nsite = site.yaml\nalert_rules = rules.yaml\ndata = .\n"
            f"[alert_manager]\nport = 9\n[broker]\nreceiver_port = {port}\nbroadcaster_port = {free_port()}\n"
        )
        done = subprocess.run(
            [sys.executable, BENCH / "_alert_servers.py", "pyros", tmp_path],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert done.stdout == ""
    assert f"[broker] receiver_port: cannot listen on 127.0.0.1:{port}" in done.stderr


def test_a_bench_that_is_told_to_end_takes_its_files_with_it(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH / "instruments.py"), "--quick", "--json", "--dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as bench:
        assert bench.stderr is not None
        assert "commands of the grammar" in bench.stderr.readline()
        assert list(tmp_path.glob("bench-*"))
        bench.terminate()
        assert bench.wait(PATIENCE) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())
