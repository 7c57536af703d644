"""The documents' `pyros` command lines, run as they stand there, one after the other, beside a running observatory."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyros import config as configuration
from pyros.config import ENVIRONMENT, Config
from tests.cli.conftest import on_free_ports, run
from tests.conftest import wait_until
from tests.test_docs_blocks import DOCUMENTS, ROOT, calls

PYROS = [sys.executable, "-c", "from pyros.cli import main; main()"]
NOT_HERE = {
    "pyros run": "it is what runs in tests/test_docs_commands.py",
    "pyros demo": "tests/cli/test_cli_observatory.py",
    "pyros rehearse": "minutes each: tests/cli/test_cli_rehearse.py",
    "pyros replay": "needs a night: tests/cli/test_cli_replay.py",
    "pyros init mine --indi": "needs an INDI server: tests/cli/test_cli_init.py",
    "pyros init my-observatory --indi": "the same: tests/cli/test_cli_init.py",
    "pyros instruments discover --indi": "the same: tests/cli/test_cli_instruments.py",
    "pyros instruments test": "needs an agent that is down: tests/cli/test_cli_instruments.py",
    "pyros broker gate": "needs Kafka: tests/broker/test_gate_process.py",
    "pyros alerts coverage": "needs a sky map: tests/cli/test_cli_skymap.py",
    "pyros alerts skymap": "the same: tests/cli/test_cli_skymap.py",
    "pyros jobs": "tests/jobs/test_jobs_document.py",
    "pyros notify test": "sends to people: tests/agents/test_notifier.py",
    "pyros send notifier": "CONTRIBUTING.md's example: tests/test_example_agent.py",
    "pyros upgrade": "needs an observatory that is down: tests/cli/test_cli_upgrade.py",
}
"""How the lines begin that are run elsewhere, and where."""
EXIT_CODES = {"pyros doctor": (0, 1)}
"""Of commands that have something to say by it."""
ANSWERS = {"pyros init": ["--yes", "--simulators"]}
"""What a person at a terminal would answer."""
FIRST, LAST = ("pyros images index",), ("pyros stop", "pyros service")
"""What makes an index that others read; what holds the observatory, which is run when all others were."""


def lines() -> list[str]:
    """Return the documents' command lines that are run here, each once, without what is said about them."""
    found = dict.fromkeys(
        re.split(r"\s{2,}(?=#|\S+ \S+ \S)|\s+#\s", line)[0].strip() for document in DOCUMENTS
        for line in calls(document.read_text())
    )  # fmt: skip
    here = [line for line in found if not line.startswith(tuple(NOT_HERE))]
    return sorted(here, key=lambda line: line.startswith(LAST) - line.startswith(FIRST))


def test_what_is_run_elsewhere_stands_in_a_document() -> None:
    every = [line for document in DOCUMENTS for line in calls(document.read_text())]
    assert [begin for begin in NOT_HERE if not any(line.startswith(begin) for line in every)] == []
    files = [why.rpartition(": ")[2].rpartition("in ")[2] for why in NOT_HERE.values()]
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.fixture
def observatory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """Run an observatory as `pyros init` makes it, in which a burst is observed."""
    folder = tmp_path / "own"
    assert run("init", folder, "--yes", "--simulators").exit_code == 0
    ini = on_free_ports(folder / configuration.FILE_NAME)
    ini.write_text(ini.read_text().replace("; targets = targets.csv", "targets = targets.csv  "))
    (folder / "targets.csv").write_text("name,ra,dec\nM 31,00:42:44.3,+41:16:09\n")
    wheel = folder / "observatory/simulators/filter_wheel.yaml"
    wheel.write_text(re.sub(r"filters: \[.*?\]", "filters: [g, r, i, L, R]", wheel.read_text()))
    monkeypatch.setenv(ENVIRONMENT, str(ini))
    monkeypatch.chdir(folder)
    with (folder / "run.log").open("wb") as log:
        process = subprocess.Popen([*PYROS, "run"], cwd=folder, stdout=log, stderr=log, env=os.environ)
    config = configuration.load(ini)
    try:
        wait_until(lambda: run("status").exit_code == 0, what="every agent to answer")
        yield config
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


@pytest.mark.long
def test_every_command_of_the_documents_does_something(observatory: Config, tmp_path: Path) -> None:
    folder = observatory.path.parent
    done = run("alert", "observatory/demo-alert.xml")
    assert done.exit_code == 0, done.output
    ivorn = re.findall(r"ivo://\S+?#[\w.-]+", done.output)[0]
    image = wait_until(lambda: next(iter((observatory.data / "images").rglob("*.fits")), None), what="an image")
    files = {"image.fits": image, "burst.xml": folder / "observatory/demo-alert.xml"}
    files |= dict.fromkeys(("my_rules.yaml", "mine.yaml"), observatory.alert_rules)
    for name, origin in files.items():
        shutil.copy(origin, folder / name)
    requests = "requests:\n- {id: m31, target: M 31, exposures: r:60x5}\n"
    (folder / "requests.yaml").write_text(requests)
    places = {"ivo://...": ivorn, "/mnt/other-disk": str(tmp_path / "disk"), "/archive/2025": str(image.parent),
              "my-observatory": str(tmp_path / "mine"), "mine.ini": str(observatory.path)}  # fmt: skip
    failed = []
    for line in lines():
        words = [places.get(word, word) for word in shlex.split(line)[1:]]
        words += next((more for begin, more in ANSWERS.items() if line.startswith(begin)), [])
        done = run(*words)
        if done.exit_code not in EXIT_CODES.get(line, (0,)):
            failed.append(f"{line}\n{done.output[-800:]}{done.exception or ''}")
    assert failed == [], "\n\n".join(failed)
    assert len(lines()) > 30
