"""A Django project of somebody's own that starts an agent in `AppConfig.ready`, under ``runserver``."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyros import config as configuration
from pyros.sender import Sender
from tests.conftest import PATIENCE, free_port, is_open, wait_until

pytest.importorskip("django", reason="needs the extra [console]")

_APP = """
from pathlib import Path
from django.apps import AppConfig
from pyros.agents import Agent

class Listener(Agent):
    def __init__(self):
        super().__init__("listener")
        self.actions_by_message["Hear"] = lambda message: Path("heard").write_text(message.name)

class Observing(AppConfig):
    name = "observing"

    def ready(self):
        Listener().start()
"""
_MANAGE = """
import sys
from django.conf import settings
from django.core.management import execute_from_command_line
settings.configure(DEBUG=True, ROOT_URLCONF="urls", INSTALLED_APPS=["observing.apps.Observing"])
execute_from_command_line(sys.argv)
"""


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """Run ``manage.py runserver`` of a project whose app starts an agent; yields it, its port and its log."""
    port, agent = free_port(), free_port()
    (folder / "observing").mkdir()
    (folder / "observing" / "__init__.py").touch()
    (folder / "observing" / "apps.py").write_text(_APP)
    (folder / "urls.py").write_text("urlpatterns = []")
    (folder / "manage.py").write_text(_MANAGE)
    own = f"[observatory]\nname = own\ndata = var\n\n[listener]\nport = {agent}\napp = observing.apps\n"
    (folder / "pyros_agent_config.ini").write_text(own)
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", *options, f"127.0.0.1:{port}"],
            cwd=folder, stdout=stream, stderr=stream,
        )  # fmt: skip
    try:
        yield process, port, log
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)


@pytest.mark.long
def test_an_agent_lives_in_a_django_project_without_the_reloader(tmp_path: Path) -> None:
    with served(tmp_path, "--noreload") as (process, port, log):
        wait_until(lambda: is_open(port) or process.poll() is not None, what="the project to be served")
        assert process.poll() is None, log.read_text()
        config = configuration.load(tmp_path / "pyros_agent_config.ini")
        Sender.send_to("listener", "Hear", config=config)
        wait_until((tmp_path / "heard").exists, what="the message")
    assert process.returncode == 0


@pytest.mark.long
def test_under_djangos_reloader_one_line_says_what_to_do(tmp_path: Path) -> None:
    with served(tmp_path) as (process, port, log):
        wait_until(lambda: "runserver --noreload" in log.read_text(), what="what to do")
        assert "pyros.errors.AgentError: agent 'listener' cannot be started" in log.read_text().splitlines()[-1]
        assert process.poll() is None  # it watches for a change
        assert not is_open(port)
        section = configuration.load(tmp_path / "pyros_agent_config.ini").agents["listener"]
        assert not is_open(section.port)  # the process that watches has not started it either
