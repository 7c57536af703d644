"""Schemathesis asks the API whatever its description allows, and what it doesn't: no answer is a server's error."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyros.agents.scheduler import SchedulerAgent
from pyros.console.roles import Role
from pyros.imagery.index import ImageIndex, index_file
from pyros.imagery.record import ImageRecord
from tests.cli.conftest import copy_demo
from tests.console.conftest import RunningConsole, running_console, token_of
from tests.views.test_lists import written_events

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
SECONDS = 1800.0


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="needs schemathesis (extra dev)")
def test_nothing_that_schemathesis_asks_is_a_servers_error(tmp_path: Path) -> None:
    with running_console(copy_demo(tmp_path), ("\n; simbad = no", "\nsimbad = no")) as console:
        scheduler = SchedulerAgent()
        scheduler.start(console.config)
        try:
            ask_whatever_is_described(console, tmp_path)
        finally:
            scheduler.stop()


def ask_whatever_is_described(console: RunningConsole, tmp_path: Path) -> None:
    written_events(console.config, 5)
    index = ImageIndex(index_file(console.config))
    index.add([ImageRecord(path=str(tmp_path / "one.fits"), night="2026-03-20", started=5.0, filter="r")])
    index.close()
    token = token_of(console.browser(Role.OPERATOR), "operator")
    known = {"id": "0", "target": "M 31", "ra": 10.7, "dec": 41.3, "exposures": "r:60x3"}  # its id is asked for, too
    headers = {"Authorization": f"Bearer {token}"}
    made = console.browser().ask("POST", "/api/v1/requests/new", json.dumps(known).encode(), headers=headers)
    assert made.status == 201
    done = subprocess.run(
        [sys.executable, Path(sys.executable).with_name("schemathesis"), "run", "--checks", CHECKS, "--seed", "1",
         "--max-examples", "25", "--phases", "examples,coverage,fuzzing", "--request-timeout", "60",
         "--continue-on-failure", "--no-color",
         "--suppress-health-check", "all", "--header", f"Authorization: Bearer {token}",
         f"{console.section.url}api/v1/openapi.json"],
        capture_output=True, text=True, timeout=SECONDS, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:].replace(token, "TOKEN")
    operations = re.search(r"Operations: +(\d+) selected", done.stdout)
    assert operations is not None
    assert f"✅ {operations[1]} passed" in done.stdout
