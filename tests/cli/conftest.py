"""An observatory's files in a folder of the test's own, on free ports; and journals written as its agents would."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pyros import config as configuration
from pyros.cli.app import app
from pyros.config import Config
from pyros.journal import Effects, Journal, Outgoing, Received
from pyros.messages import encode_payload
from tests.conftest import free_ports

ROOT = Path(__file__).parents[2]


def copy_demo(parent: Path) -> Path:
    """Copy the demo observatory's files, with other ports; returns its configuration's path."""
    folder = parent / "the observatory"  # people have blanks in their folders' names
    folder.mkdir()
    shutil.copytree(ROOT / "observatory", folder / "observatory")
    shutil.copy(ROOT / "pyros_agent_config.ini", folder)
    return on_free_ports(folder / "pyros_agent_config.ini")


def on_free_ports(configuration_file: Path) -> Path:
    """Give an observatory made of the demo's files other ports, and less patience; returns its configuration's path."""
    folder = configuration_file.parent
    files = [configuration_file, *(folder / "observatory" / "simulators").glob("*.yaml")]
    known = sorted({port for file in files for port in re.findall(r"\b(?:50|60|80)\d\d\b", file.read_text())})
    other = dict(zip(known, map(str, free_ports(len(known))), strict=True))
    for file in files:
        text = re.sub(r"\b(?:50|60|80)\d\d\b", lambda found: other[found[0]], file.read_text())
        text = text.replace("; beat = 5 ", "beat = 60 ")  # of a guardian on a busy computer
        text = text.replace("\nrun = yes ", "\nrun = no ")  # the console's own tests start it
        file.write_text(text.replace("speed: 10 ", "speed: 40 "))  # a test has less patience than a visitor
    return files[0]


def run(*arguments: str | Path, stdin: bytes | None = None) -> Any:
    """Run a command in this process, which has imported everything already."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def fails(arguments: list[str | Path], *words: str, code: int = 1) -> None:
    """Check that a command ends with that code, and says all this as its mistake."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    for each in words:
        assert each in result.stderr


@pytest.fixture
def observatory(tmp_path: Path) -> Path:
    return copy_demo(tmp_path)


@pytest.fixture
def config(observatory: Path) -> Config:
    return configuration.load(observatory)


Write = Callable[..., None]


@pytest.fixture
def write(config: Config) -> Iterator[Write]:
    """Write messages into an agent's journal, as if that agent had taken it."""
    journals: dict[str, Journal] = {}

    def write(
        agent: str, name: str, payload: Any = None, *, sent: float, error: str | None = None, sender: str = "x"
    ) -> None:
        effects = Effects()
        json = encode_payload(name, payload)
        effects.received.append(Received(f"id-{sent}", name, sender, sent, sent + 0.001, json, error))
        if agent not in journals:
            journals[agent] = Journal(config.journal(agent), durable=False)
        journals[agent].commit(effects)

    yield write
    for journal in journals.values():
        journal.close()


@pytest.fixture
def write_refused(config: Config) -> Write:
    """Write an outgoing message that its receiver refused into an agent's journal."""

    def write(agent: str, receiver: str, name: str, reason: str) -> None:
        journal = Journal(config.journal(agent), durable=False)
        effects = Effects()
        effects.outgoing.append(Outgoing(receiver, 1, "id-1", name, 1.0, b"{}"))
        journal.commit(effects)
        effects = Effects()
        effects.refused.append((reason, receiver, 1))
        journal.commit(effects)
        journal.close()

    return write
