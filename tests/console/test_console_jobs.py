"""The section Jobs: a script is a form, its job is seen by who asked and by operators, and really ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyros.config import ENVIRONMENT
from pyros.console.roles import Role
from pyros.errors import PyrosError
from pyros.sender import ask
from tests.cli.conftest import copy_demo
from tests.conftest import PATIENCE, free_port, wait_until
from tests.console.conftest import Browser, RunningConsole, running_console
from tests.jobs.conftest import RUN

SCRIPT = """#!/bin/sh
##~~ - Adds images
##~~ night - the evening's date
##~~ stars (int = 100) - how many
##~~ how (one of mean|median = median)
##~~ notes (long = ) - goes into the header
##~~ list (inbox) - targets
echo "PROGRESS 50 % adding <b>$1</b>"
printf '%s|' "$@"
cat "$4"
echo done > outbox/report.txt
[ "$1" != wait ] || sleep 1000
"""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """Run a console and a queue with a script and an inbox."""
    file = copy_demo(tmp_path_factory.mktemp("console"))
    with file.open("a") as ini:
        ini.write(f"\n[jobs]\nport = {free_port()}\napp = pyros.agents.jobs\noption_scripts = scripts\n"
                  "option_inbox = inbox\noption_niceness = 0\noption_grace = 0.2 s\n"
                  "[job tidy]\nevery = 1 d at 12:00\ncommand = pyros jobs clean --older 30d\n")  # fmt: skip
    for name, text in (("scripts/add.sh", SCRIPT), ("inbox/targets.csv", "M31"), ("scripts/bad.sh", "##~~ a (no)\n")):
        path = file.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    with running_console(file) as running:
        queue = subprocess.Popen([sys.executable, "-c", RUN, "jobs"], env=os.environ | {ENVIRONMENT: str(file)},
                                 stdin=subprocess.DEVNULL)  # fmt: skip
        try:
            wait_until(lambda: _is_up(running), what="the queue to be up")
            yield running
        finally:
            queue.terminate()
            queue.wait(PATIENCE)


def _is_up(running: RunningConsole) -> bool:
    try:
        return bool(ask(running.config.agent("jobs"), "status", PATIENCE))
    except PyrosError:
        return False


def run(browser: Browser, **values: str) -> str:
    """Run the script from its form; returns the job's page."""
    fields = {"queue": "jobs", "script": "add.sh", "value-list": "targets.csv"}
    answer = browser.post(
        "/jobs/run", fields | {f"value-{name}": value for name, value in values.items()}, page="/jobs"
    )
    assert answer.status == 303, answer.body
    return answer.headers["location"]


def test_a_script_is_a_form_whose_values_stay_text(console: RunningConsole) -> None:
    browser = console.browser(Role.OBSERVER, "ada")
    page = browser.get("/jobs").body
    assert re.findall(r'name="value-(\w+)"', page) == ["night", "stars", "how", "notes", "list"]
    assert "<option>targets.csv</option>" in page
    assert "bad.sh: line 1" in page
    assert "tidy" in page
    where = run(browser, night="$(reboot); 'x'", stars="", how="mean", notes="one\r\ntwo")
    wait_until(lambda: browser.get(f"{where}.json").json["job"]["state"] == "succeeded", what="the job to end")
    shown = browser.get(f"{where}.json").json
    assert "$(reboot); 'x'|100|mean|notes.txt|" in shown["log"]
    assert shown["log"].endswith("targets.csv|one\ntwo")
    assert shown["job"]["owner"] == "ada"
    assert "adding &lt;b&gt;$(reboot)" in browser.get(where).body
    [output] = shown["outputs"]
    assert console.browser().get(output["link"]).body == "done\n"


def test_a_mistake_is_told_and_nothing_is_asked_for(console: RunningConsole) -> None:
    browser = console.browser(Role.OBSERVER, "ada")
    for fields, told in (
        ({"script": "add.sh", "queue": "jobs", "value-night": "x", "value-stars": "many"}, "stars &#x27;many&#x27;"),
        ({"script": "add.sh", "queue": "jobs", "value-night": "x", "value-list": "../x"}, "is no file of"),
        ({"script": "/bin/sh", "queue": "jobs"}, "here is no script"),
        ({"script": "bad.sh", "queue": "jobs"}, "here is no script"),
    ):
        answer = browser.post("/jobs/run", fields, page="/jobs")
        assert answer.status == 400
        assert told in answer.body, answer.body[-900:]


def test_ones_job_is_seen_and_ended_by_oneself_and_by_operators(console: RunningConsole) -> None:
    ada, bert = console.browser(Role.OBSERVER, "ada"), console.browser(Role.OBSERVER, "bert")
    operator, viewer = console.browser(Role.OPERATOR), console.browser(Role.VIEWER)
    where = run(ada, night="wait")
    id_ = where.rpartition("/")[2]
    wait_until(lambda: ada.get(f"{where}.json").json["job"]["percent"] == 50.0, what="its progress")
    for browser, status in ((bert, 404), (viewer, 404), (operator, 200), (ada, 200)):
        assert browser.get(where).status == status
        assert (id_ in browser.get("/jobs").body) == (status == 200)
        assert (id_ in browser.get("/jobs.json").body) == (status == 200)
    assert bert.post(f"{where}/end", page="/jobs").status == 404
    assert viewer.post(f"{where}/end", page="/you").status == 403
    assert operator.post(f"{where}/end", page="/jobs").status == 303
    wait_until(lambda: ada.get(f"{where}.json").json["job"]["state"] == "terminated", what="it to be ended")


def test_jobs_can_be_switched_off(console: RunningConsole, tmp_path: Path) -> None:
    admin = console.browser(Role.ADMIN)
    try:
        assert admin.post("/administration/switch", {"name": "jobs", "on": "no"}, page="/administration").status == 303
        answer = admin.post("/jobs/run", {"script": "add.sh", "queue": "jobs"}, page="/jobs")
        assert (answer.status, "switched off" in answer.body) == (403, True)
    finally:
        admin.post("/administration/switch", {"name": "jobs", "on": "yes"}, page="/administration")
