"""TOM Toolkit, unchanged, drives PYROS as a facility: in an environment of its own, where `PYROS_TOM_PYTHON` says."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from pyros import messages
from pyros.console.roles import Role
from pyros.imagery.index import ImageIndex, index_file
from pyros.imagery.reading import read_record
from pyros.messages import FiltersKnown
from pyros.sender import Sender
from tests.conftest import PATIENCE
from tests.console.conftest import RunningConsole
from tests.console.test_console_services import TomToolkit, agent
from tests.imagery.test_image_index import picture

PYTHON = os.environ.get("PYROS_TOM_PYTHON", "")
PROGRAM = Path(__file__).parent / "programs" / "tom_toolkit.py"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ocs.md"


@pytest.mark.skipif(not PYTHON, reason="PYROS_TOM_PYTHON names no Python that has tomtoolkit")
def test_tom_toolkit_submits_follows_cancels_and_downloads(console: RunningConsole, tmp_path: Path) -> None:
    facility = tmp_path / "facility.py"
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    facility.write_text(found[1])
    client, config = TomToolkit(console, Role.OBSERVER), console.config
    path = picture(config.data / "images" / "tom.fits", observation="ocs-77")
    index = ImageIndex(index_file(config))
    index.add([read_record(path, None)])
    index.close()
    with agent(config, "scheduler"):
        known = FiltersKnown(instrument="filter_wheel", filters=("g", "r"))
        Sender.send_to("scheduler", messages.FILTERS_KNOWN, known, config=config)
        done = subprocess.run(
            [PYTHON, PROGRAM, f"http://127.0.0.1:{console.section.port}", client.token, facility],
            capture_output=True, text=True, timeout=2 * PATIENCE, check=False, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["form"] == {}
    assert said["errors"] == {}
    assert (said["submitted"], said["cancelled"], said["state"]) == ("PENDING", True, "CANCELED")
    assert said["frames"] == ["tom.fits"]
    assert said["file"].startswith("SIMPLE  =")
    assert [each["code"] for each in said["telescopes"][0]["telescopes"]] == ["demo.dome.0m0"]
    assert "cannot be honoured here; there is: SINGLE" in said["refused"]
