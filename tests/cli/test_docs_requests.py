"""The examples of docs/requests.md are right as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyros import config as configuration
from pyros.cli.app import app
from pyros.config import Config

DOCUMENT = (Path(__file__).parents[2] / "docs" / "requests.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?s)```{language}\n(.*?)```", DOCUMENT)


@pytest.fixture
def config(observatory: Path) -> Config:
    text = observatory.read_text().replace("clock = night", "simbad = no\nclock = real")
    observatory.write_text(text)
    return configuration.load(observatory)


@pytest.mark.parametrize(("language", "place", "count"), [("yaml", 0, 3), ("csv", 0, 2), ("yaml", 1, 1)])
def test_every_file_of_the_page_is_taken(config: Config, tmp_path: Path, language: str, place: int, count: int) -> None:
    file = tmp_path / f"requests.{language}"
    text = blocks(language)[place]
    file.write_text(text.replace("2026", "2056").replace("2027", "2057"))  # whatever the year is
    done = CliRunner().invoke(app, ["request", "import", str(file), "--check", "--config", str(config.path)])
    assert done.exit_code == 0, done.stderr
    assert f"\n{count} requests are right; nothing was sent\n" in done.stdout


def test_every_command_of_the_page_is_understood(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requests.yaml").write_text("requests:\n  - {target: X, ra: 1, dec: 80, exposures: 'R:9'}\n")
    monkeypatch.chdir(tmp_path)
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) == 2
    for command in commands:
        program, *words = shlex.split(command.replace("2026", "2056"))
        assert program == "pyros"
        if words[:2] == ["request", "add"]:
            words.append("--check")
        done = CliRunner().invoke(app, [*words, "--config", str(config.path)])
        assert done.exit_code == 0, done.stderr
    assert (tmp_path / "night.png").is_file()
