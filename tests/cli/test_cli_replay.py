"""`pyros replay` on the command line: what it prints, its exit codes, and every way to give it a wrong folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyros.rehearsal.rehearsal import Rehearsal
from tests.cli.conftest import fails, run


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """Record one alert of the demo, which its rules accept."""
    recorded = Rehearsal(tmp_path_factory.mktemp("recorded") / "night")
    recorded.publish(recorded.burst("ivo://pyros.test/replay#1"))
    recorded.run(30)
    recorded.close()
    return recorded


def test_a_night_without_and_with_a_difference(night: Rehearsal, tmp_path: Path) -> None:
    arguments = ("replay", night.config.data, "--config", night.config.path)
    same = run(*arguments)
    assert same.exit_code == 0, same.output
    assert "the night of 2026-03-20" in same.stderr
    assert "alert_manager: 2 messages, 1 decision; none differs" in same.stdout
    rules = tmp_path / "none.yaml"
    rules.write_text("rules:\n  - {name: no bursts, when: {stream: '*pyros*'}, observe: nothing}\n")
    other = run(*arguments, "--night", "2026-03-20", "--rules", rules)
    assert other.exit_code == 1
    assert "1 decision; 1 differs\n" in other.stdout
    assert " ivo://pyros.test/replay#1\n    then: observe (rule demo burst): " in other.stdout
    assert "    now:  do not observe (rule no bursts): " in other.stdout
    assert "scheduler: " in other.stdout
    lines = [json.loads(line) for line in run(*arguments, "--rules", rules, "--json").stdout.splitlines()]
    assert [(line["agent"], len(line["differences"])) for line in lines] == [("alert_manager", 1), ("scheduler", 0)]


def test_what_cannot_be_replayed_is_told_in_a_line(night: Rehearsal, tmp_path: Path) -> None:
    def cannot(data: Path, *words: str, more: tuple[str | Path, ...] = ()) -> None:
        fails(["replay", data, "--config", night.config.path, *more], *words, code=2)

    cannot(tmp_path / "nothing", "nothing: there is no such folder")
    cannot(night.config.path, "is no folder")
    cannot(tmp_path, "has no journals/alert_manager.sqlite")
    cannot(night.config.data, "no date; give one like", more=("--night", "yesterday"))
    cannot(night.config.data, "has no night of 2025-01-01; it has 2026-03-20", more=("--night", "2025-01-01"))
    cannot(night.config.data, "no such file", more=("--rules", tmp_path / "none.yaml"))
    (tmp_path / "journals").mkdir()
    strange = tmp_path / "journals" / "alert_manager.sqlite"
    strange.write_bytes(b"not a database at all" * 500)
    cannot(tmp_path, "alert_manager.sqlite: cannot read the journal: file is not a database")
    strange.write_bytes(b"")
    cannot(tmp_path, "have kept no night's beginning")
