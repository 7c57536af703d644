"""``pyros reload``: files are checked before anybody is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyros.cli import reload as command
from pyros.config import Config
from pyros.sender import Sender
from tests.cli.conftest import fails, run


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return what agents are told; all are there but the dome's."""
    heard: list[tuple[str, str]] = []

    def tell(config: Config, name: str, *_: object) -> Iterator[tuple[str, str]]:
        for agent in config.agents:
            heard.append((agent, name))
            yield agent, "Connection refused" if agent == "dome" else ""

    def send_to(agent: str, name: str, **_: Any) -> None:
        heard.append((agent, name))

    monkeypatch.setattr(command, "tell", tell)
    monkeypatch.setattr(Sender, "send_to", send_to)
    return heard


def test_every_agent_reads_the_site_and_one_the_rules(observatory: Path, told: list[tuple[str, str]]) -> None:
    result = run("reload", "--config", observatory)
    assert result.exit_code == 0, result.output
    assert result.stderr == "pyros: dome: Connection refused\n"
    assert result.stdout == "12 agents go on with site and rules as they are now\n"
    assert told[-1] == ("alert_manager", "Reload rules")
    assert {name for _, name in told[:-1]} == {"Reload site"}


def test_with_a_mistake_nobody_is_told_anything(observatory: Path, told: list[tuple[str, str]]) -> None:
    folder = observatory.parent / "observatory"
    for name, right, wrong in (("site.yaml", "latitude: 43", "latitude: 143"), ("alert_rules.yaml", ": 100", ": high")):
        file = folder / name
        file.write_text(file.read_text().replace(right, wrong))
    fails(["reload", "--config", observatory], "latitude: must be a number", "priority: must be a whole number")
    assert told == []


def test_where_nobody_runs_that_is_said(observatory: Path) -> None:
    fails(["reload", "--config", observatory, "--timeout", "1"], "no agent was told")


def test_an_agent_that_runs_and_does_not_answer_is_a_failure(
    observatory: Path, told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"dome": "Connection refused", "scheduler": "timed out"}
    monkeypatch.setattr(command, "tell", lambda config, *_: ((each, answers.get(each, "")) for each in config.agents))
    result = run("reload", "--config", observatory)
    assert result.exit_code == 1
    assert result.stdout == "11 agents go on with site and rules as they are now\n"
    assert "pyros: scheduler may go on with what it read before; " in result.stderr
    assert told == [("alert_manager", "Reload rules")]
