"""A person's word while nothing runs: it is written, it is shown first, and it is taken back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyros import hold
from pyros.config import Config
from tests.cli.conftest import fails, run


@pytest.mark.parametrize("command", [["stop", "hail"], ["hold", "hail"]])
def test_a_hold_counts_with_every_agent_down(command: list[str], observatory: Path, config: Config) -> None:
    result = run(*command, "--config", observatory)
    assert result.exit_code == 1
    assert "@" in result.stdout.splitlines()[0]
    assert result.stdout.splitlines()[0].endswith(": hail")
    assert {line.split()[0] for line in result.stdout.splitlines()[1:]} == set(config.agents)
    assert "Connection refused" in result.stdout
    assert f"{len(config.agents)} of {len(config.agents)} agents did not answer" in result.stderr
    shown = run("status", "--config", observatory).stdout
    assert shown.startswith("HELD by ")
    assert "hail (pyros release ends it)" in shown.splitlines()[0]


def test_release_ends_what_was_written(observatory: Path) -> None:
    run("hold", "hail", "--config", observatory)
    result = run("release", "--config", observatory)
    assert result.exit_code == 1  # no agent has heard it
    assert result.stdout.startswith("released: held by ")
    assert json.loads(run("status", "--json", "--config", observatory).stdout.splitlines()[0])["hold"] is None
    assert run("release", "--config", observatory).stdout.startswith("nobody held it here\n")


def test_a_service_shows_how_long_it_lasts(observatory: Path) -> None:
    result = run("service", "new filter", "--minutes", "30", "--config", observatory)
    assert "for 30 minutes: new filter" in result.stdout
    shown = run("status", "--config", observatory).stdout
    assert shown.startswith("SERVICE by ")
    assert "30 minutes more: new filter" in shown.splitlines()[0]


def test_a_hold_that_cannot_be_written_is_said(observatory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(hold, "atomic_write", full)
    fails(
        ["stop", "--config", observatory],
        "hold.json cannot be written: No space left on device; only the agents that answer are held",
    )
    result = run("service", "why", "--minutes", "5", "--config", observatory)
    assert "there is no service" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["hold"], "WHY"), (["service", "why"], "--minutes"), (["service", "why", "--minutes", "0"], "--minutes")],
)
def test_wrong_usage_of_holds_is_told(arguments: list[str], said: str, observatory: Path) -> None:
    fails([*arguments, "--config", observatory], said, code=2)
