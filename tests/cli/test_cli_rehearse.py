"""`pyros rehearse` on the command line: what it prints and writes, and every mistake at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyros.rehearsal.process import Process
from tests.cli.conftest import run
from tests.conftest import PATIENCE, wait_until

SHORT = ("rehearse", "--hours", "0.05", "--seed", "3")
ASKED = """
requests:
  - {target: somewhere, ra: "10h00m00s", dec: "+40d00m00s", exposures: [{filter: r, seconds: 10, count: 2}]}
"""


def test_a_short_night_with_its_report(observatory: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked.yaml"
    asked.write_text(ASKED)
    done = run(
        *SHORT, "--config", observatory, "--report", tmp_path / "report", "--requests", asked, "--faults", "none"
    )
    assert done.exit_code == 0, done.stderr
    assert "no rule was broken in 1 night" in done.stdout
    assert re.search(r"seed 3, 2026-03-20: good; 0\.3 h in .* [0-9a-f]{32}", done.stderr)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "**No rule was broken.**" in text
    assert "| 3 | 2026-03-20 |" in text


def test_a_night_that_breaks_a_rule_is_reduced(
    observatory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "night.faults"
    script.write_text("00:00:20 kill camera away=2\n00:00:30 disk for=20\n00:01:00 kill camera,dome away=3\n")
    monkeypatch.setattr(Process, "kill", lambda process, _: process.ended())  # it ends by itself instead
    done = run(*SHORT, "--config", observatory, "--faults", script, "--reduce", "--report", "out", "--alerts", "0")
    assert done.exit_code == 1, done.stderr
    assert "ended: with these 1 lines:\n    00:00:20.000 kill camera away=2\n" in done.stdout
    reduced = tmp_path / "out" / "seed-3.reduced.faults"
    assert reduced.read_text() == "00:00:20.000 kill camera away=2\n"
    assert f"--faults {Path('out') / reduced.name}" in done.stdout
    assert (tmp_path / "out" / "seed-3.faults").exists()
    assert "VIOLATION (ended)" in (tmp_path / "out" / "seed-3.log").read_text()


def test_every_mistake_is_told_at_once(observatory: Path, tmp_path: Path) -> None:
    script = tmp_path / "bad.faults"
    script.write_text("00:00:20 kill\n00:00:30 explode\n")
    done = run("rehearse", "--config", observatory, "--from", "tomorrow", "--faults", script, "--alerts", "many",
               "--rules", tmp_path / "none.yaml")  # fmt: skip
    assert done.exit_code == 1
    assert [line.split(": ", 1)[1][:40] for line in done.stderr.splitlines()] == [
        "--from: tomorrow: must be a date, such a"[:40],
        f"{script}: line 1: kill takes"[:40],
        f"{script}: line 2: there is no"[:40],
        "--alerts: many: must be a number of even"[:40],
        f"--rules: {tmp_path}"[:40],
    ]
    assert "Traceback" not in done.stderr


def test_a_year_that_nobody_can_compute_is_told(observatory: Path) -> None:
    for day in ("9999-12-31", "1949-12-31"):
        done = run("rehearse", "--config", observatory, "--from", day)
        assert (done.exit_code, f"--from: {day}: must be a date" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--faults", "heavily"), "cannot be read"),
        (("--faults", "heavily"), "or write one of none, light, heavy"),
        (("--alerts", "-1"), "must be a number from 0 to 10000"),
    ],
)
def test_a_mistake_on_the_command_line(observatory: Path, words: tuple[str, ...], said: str) -> None:
    done = run("rehearse", "--config", observatory, *words)
    assert done.exit_code == 1
    assert said in done.stderr


def test_a_fault_of_nobody_is_told_with_its_line(observatory: Path, tmp_path: Path) -> None:
    script = tmp_path / "night.faults"
    script.write_text("\n00:00:20 kill kettle away=2\n")
    done = run(*SHORT, "--config", observatory, "--faults", script)
    assert done.exit_code == 1
    assert "there is no 'kettle'; there are" in done.stderr


def test_sigterm_leaves_no_process_and_no_folder(observatory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    words = ["rehearse", "--nights", "4", "--jobs", "2", "--images", "none", "--config", str(observatory)]
    program = subprocess.Popen(
        [sys.executable, "-c", "from pyros.cli import main; main()", *words],
        env={**os.environ, "TMPDIR": str(folder)}, start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: list(folder.glob("*/pyros-rehearsal-*/night*")), what="a night")
    program.terminate()
    assert program.wait(PATIENCE) == 128 + signal.SIGTERM
    wait_until(lambda: not _group_lives(program.pid), what="its processes to end")
    assert not list(folder.iterdir())


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
