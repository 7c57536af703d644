"""The worked example of CONTRIBUTING.md: exactly the files of docs/example, as somebody would run them."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros import config as configuration
from pyros.agents import Agent
from pyros.config import ENVIRONMENT, Config
from pyros.errors import PyrosError
from pyros.journal import JournalReader
from pyros.sender import Sender, ask
from tests.conftest import Program, free_port, wait_until

REPOSITORY = Path(__file__).parents[1]
FILES = ("notifier.py", "run_notifier.py", "send_to_notifier.py", "pyros_agent_config.ini")


class Example:
    """A copy of the example on a free port, and the programs that run it."""

    def __init__(self, checkout: Path) -> None:
        self.folder = checkout / "docs" / "example"
        shutil.copytree(REPOSITORY / "docs" / "example", self.folder, ignore=shutil.ignore_patterns("var"))
        shutil.copytree(REPOSITORY / "observatory", checkout / "observatory")
        path = self.folder / "pyros_agent_config.ini"
        path.write_text(re.sub(r"(?m)^port = \d+", f"port = {free_port()}", path.read_text()))
        self.config: Config = configuration.load(path)
        self.programs: list[Program] = []

    def run(self, *arguments: str | Path) -> Program:
        environment = {ENVIRONMENT: str(self.config.path), "PYTHONPATH": str(self.folder)}
        self.programs.append(Program([str(each) for each in arguments], self.folder, environment))
        return self.programs[-1]

    def up(self) -> None:
        def answers() -> Any:
            try:
                return ask(self.config.agent("notifier"), "status")
            except PyrosError:
                return None

        wait_until(answers, what="the notifier to be up")

    def observed(self) -> list[str]:
        path = self.config.data / "observed.txt"
        return path.read_text().splitlines() if path.exists() else []

    def state(self) -> Any:
        with closing(JournalReader(self.config.journal("notifier"))) as reader:
            return msgspec.json.decode(reader.rows("SELECT value FROM state")[0][0])


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    example = Example(tmp_path)
    yield example
    for program in example.programs:
        program.close()


def by_twistd(example: Example) -> Program:
    twistd = Path(sys.executable).with_name("twistd")
    return example.run(twistd, "-n", "--pidfile=", "pyros-agent", "--agent", "notifier")


def by_script(example: Example) -> Program:
    return example.run(sys.executable, "run_notifier.py")


@pytest.mark.parametrize("start", [by_twistd, by_script])
def test_the_example_runs_as_it_stands(example: Example, start: Callable[[Example], Program]) -> None:
    first = start(example)
    example.up()
    Sender.send_to("notifier", "Observation finished", {"observation": "obs-1", "images": ["a"]}, config=example.config)
    with pytest.raises(ValueError, match=r"\$\.images"):
        Sender.send_to("notifier", "Observation finished", {"images": 3}, config=example.config)
    wait_until(example.observed)  # it writes a moment after the commit, which is all that its sender waits for
    first.close()  # killed; what it knows is in its journal

    second = start(example)
    example.up()
    sender = example.run(sys.executable, "send_to_notifier.py")
    assert sender.wait() == 0, sender.errors
    assert second.wait() == 0, "Agent.SHUTDOWN ends it"
    assert [line.split(" ", 2)[2] for line in example.observed()] == ["obs-1: 1 images", "obs-by-hand: 2 images"]
    assert example.state() == {"finished": 2, "images": 3}


def test_the_sender_names_agent_address_and_reason_when_nobody_is_there(example: Example) -> None:
    sender = example.run(sys.executable, "send_to_notifier.py")
    assert sender.wait() != 0
    last = sender.errors.strip().splitlines()[-1]
    assert "notifier" in last
    assert example.config.agent("notifier").where in last
    assert "refused" in last


def test_contributing_shows_these_very_files() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    for name in FILES:
        assert f"docs/example/{name}" in text
    shown = re.findall(r"```python\n(.*?)```", text, re.S)
    assert (REPOSITORY / "docs" / "example" / "notifier.py").read_text() in shown
    assert Agent.SHUTDOWN == "Shutdown"
