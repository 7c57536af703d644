"""The core imports no Django, and a console without its extra says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyros.console import service
from tests.cli.conftest import copy_demo

_CORE = """
import sys
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("django", "prometheus_client", "apprise", "celery"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nowhere())
from importlib import import_module
from pyros.cli.app import COMMANDS
for command in COMMANDS.values():
    import_module(command.partition(":")[0])
import pyros.twistd, pyros.observatory, pyros.console.service, pyros.console.links, pyros.console.pages
print(sorted(name for name in sys.modules if name.startswith("django")))
"""


def test_every_command_and_service_is_imported_without_django() -> None:
    done = subprocess.run([sys.executable, "-c", _CORE], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_console_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "find_spec", lambda name: None)
    options = service.ConsoleOptions()
    monkeypatch.setattr(options, "parent", {"logfile": None, "nodaemon": True})  # twistd's own
    options.parseOptions(["--config", str(copy_demo(tmp_path))])
    with pytest.raises(SystemExit, match=r"\[console\]: needs: pip install 'pyros-observatory\[console\]'"):
        service.console_service(options)
