"""The command line with a real observatory in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pyros import config as configuration
from pyros import sender
from pyros.cli.demo.demo import fill
from pyros.cli.demo.observatory import ObservatoryProcess
from pyros.config import Config
from pyros.errors import AgentError
from pyros.health.asking import ask_all
from tests.cli.conftest import run
from tests.conftest import PATIENCE, free_port, wait_until

PYROS = [sys.executable, "-c", "from pyros.cli import main; main()"]


def pyros(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYROS, *map(str, arguments)], capture_output=True, text=True, timeout=250, check=False, cwd=cwd
    )


def processes_with(text: str) -> list[str]:
    """Return the command lines of the processes in which a text occurs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(folder.name) != os.getpid():
            found.append(line)
    return found


def by_day(config: Config) -> None:
    """Put the site where the Sun is at its highest now, so that its night has to be brought here."""
    now = datetime.now(UTC)
    noon = (12 - now.hour - now.minute / 60) * 15
    text = re.sub(r"longitude: \S+", f"longitude: {noon:.3f}", config.site.read_text())
    config.site.write_text(text)


def test_a_demo_from_start_to_end(config: Config, tmp_path: Path) -> None:
    """By day: an image of the burst, and nothing left running."""
    by_day(config)
    done = pyros("demo", "--config", config.path, "--data", tmp_path / "data", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    steps = ["alert received", "accepted", "planned", "slew commanded", "on target", "shutter opened", "image on disk"]
    at = [done.stdout.index(f" s  {step}") for step in steps]
    assert at == sorted(at)
    for row in ("received", "decided", "planned", "slew commanded", "on target", "shutter opened", "image on disk"):
        assert re.search(rf"^{row} +[\d.]+ s +[\d.]+ s$", done.stdout, re.MULTILINE), row
    images = re.findall(r"^image \d  (\S+\.fits)", done.stdout, re.MULTILINE)
    assert f"image {len(images)} of {len(images)}, " in done.stdout
    assert all((tmp_path / image).is_file() for image in images)
    told = re.findall(r"published +(\w+): ivo://pyros.observatory/demo/followup#obs-\S+/\1-\S+\n", done.stdout)
    assert [what for what in told if what != "detection"] == ["started", "finished"]
    assert all(character.isprintable() or character == "\n" for character in done.stdout)
    assert processes_with(str(tmp_path)) == []


@pytest.mark.long
def test_a_demo_finds_the_burst(config: Config, tmp_path: Path) -> None:
    """The analyzer's part, which comes after the images; what it wrote is shown where something misses."""
    done = pyros("demo", "--config", config.path, "--data", tmp_path / "data", cwd=tmp_path)
    said = done.stdout + (tmp_path / "data" / "observatory.log").read_text()
    assert re.search(r"^source found +[\d.]+ s +[\d.]+ s$", done.stdout, re.MULTILINE), said
    images = re.findall(r"^image \d  (\S+\.fits)", done.stdout, re.MULTILINE)
    found = re.findall(r"source found +\w = ([\d.]+) ± [\d.]+ mag at ra [\d.]+°, dec [+-][\d.]+°\n", done.stdout)
    assert len(found) == len(images), said
    assert all(13.5 < float(magnitude) < 15.5 for magnitude in found)
    assert f"The burst was found in {len(images)} images" in done.stdout
    (curve,) = re.findall(r"^light curve  (\S+\.png)$", done.stdout, re.MULTILINE)
    lines = (tmp_path / curve).with_suffix(".csv").read_text().splitlines()
    assert len(lines) == 1 + len(images)
    (png,) = re.findall(r"^preview  (\S+\.png)$", done.stdout, re.MULTILINE)
    assert (tmp_path / png).read_bytes().startswith(b"\x89PNG")


def test_a_demo_of_an_alert_that_is_not_up(config: Config, tmp_path: Path) -> None:
    template = config.path.parent / "observatory" / "demo-alert.xml"
    alert = tmp_path / "south.xml"
    text = template.read_text().replace("$dec", "-88.0")
    alert.write_text(text)
    done = pyros("demo", "--config", config.path, "--data", tmp_path / "data", "--alert", alert)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "waits" in done.stdout
    assert done.stderr.startswith("pyros: not observed, for it cannot be now: not up: altitude -4")
    assert processes_with(str(tmp_path)) == []


def test_a_demo_that_is_told_to_end_leaves_nothing_running(config: Config, tmp_path: Path) -> None:
    """SIGTERM counts as Ctrl-C."""
    with subprocess.Popen(
        [*PYROS, "demo", "--config", str(config.path), "--data", str(tmp_path / "data")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        said: list[str] = []
        for line in demo.stdout:
            said.append(line)
            if "slew commanded" in line:
                break
        running = processes_with("--pidfile= pyros --config " + str(tmp_path))
        demo.send_signal(signal.SIGTERM)
        _, errors = demo.communicate(timeout=PATIENCE)
    assert "slew commanded" in said[-1], f"ended with {demo.returncode}\n{''.join(said)}{errors}"
    assert len(running) == 1
    assert demo.returncode == 130
    assert errors == ""
    assert processes_with(str(tmp_path)) == []


def test_a_demo_that_is_killed_leaves_nothing_running(config: Config, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with subprocess.Popen([*PYROS, "demo", "--config", config.path, "--data", data], stdout=subprocess.PIPE) as demo:
        log = data / "observatory.log"
        wait_until(lambda: log.is_file() and "connected to" in log.read_text(), what="the observatory")
        assert processes_with(str(data / "pyros_agent_config.ini"))
        demo.kill()
        assert demo.stdout is not None
        demo.stdout.read()
    wait_until(lambda: not processes_with(str(data / "pyros_agent_config.ini")), what="the observatory to end")
    assert "Server Shut Down" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_an_observatory_that_cannot_start_says_why(config: Config, tmp_path: Path) -> None:
    config.path.write_text(config.path.read_text().replace("[analyzer]", "[analyzer]\napp = json\n"))
    with ObservatoryProcess(config, tmp_path / "log") as process, pytest.raises(AgentError, match="ended with code 1"):
        process.wait_until_up(PATIENCE, lambda up, total: None)
    log = (tmp_path / "log").read_text()
    assert "[analyzer] app: json" in log


GARDENER = """
from pathlib import Path
from pyros.agents import Agent

class GardenerAgent(Agent):
    def __init__(self):
        super().__init__("gardener")
        self.actions_by_message["Mow"] = self.mow

    def mow(self):
        if not Path(__file__).with_name("fuel").exists():
            raise RuntimeError("no fuel")
"""


@pytest.fixture
def running(config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """`pyros run`, up, with an agent of one's own that fails."""
    folder = config.path.parent
    (folder / "gardener.py").write_text(GARDENER)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    port = free_port()
    config.path.write_text(config.path.read_text() + f"\n[gardener]\nport = {port}\napp = gardener\n")
    config = configuration.load(config.path)
    with subprocess.Popen(
        [*PYROS, "run", "--config", str(config.path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:

            def up() -> bool:
                assert process.poll() is None, process.stdout and process.stdout.read()
                return all(line["up"] for line in ask_all(config))

            wait_until(up, what="the observatory")
            yield config
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=PATIENCE)[0].decode()
            assert "Server Shut Down" in output
        finally:
            process.kill()
            sender.close_connections()


def test_the_commands_with_an_observatory_that_runs(running: Config, tmp_path: Path) -> None:
    config = running
    how = ("--config", config.path)
    lines = [json.loads(line) for line in run("status", "--json", *how).stdout.splitlines()]
    wait_until(lambda: json.loads(run("status", "--json", *how).stdout.splitlines()[0])["alarms"] == [])
    assert all(line["up"] for line in lines[1:])
    table = run("status", *how)
    assert (table.exit_code, table.stdout.count(" up ")) == (0, len(config.agents) + 2)  # broker and guardian

    sent = run("send", "scheduler", "Plan again", *how)
    assert sent.exit_code == 0
    assert re.fullmatch(r"OK \S+\n", sent.stdout)
    assert "Plan again" in run("messages", "list", "scheduler", *how).stdout
    refused = run("send", "scheduler", "Dance", *how)
    assert refused.exit_code == 1
    assert "takes no message 'Dance'" in refused.stderr

    _failed_messages(config, how)
    _alerts(config, how, tmp_path)
    _waits(how)
    _holds(config, how)


def _waits(how: Any) -> None:
    done = run("send", "filter_wheel", "Select filter", "-p", '{"filter": "i"}', "--wait", "60", *how)
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (0, ["done"]), done.stderr
    failed = run("send", "filter_wheel", "Select filter", "-p", '{"filter": "no such"}', "--wait", "60", *how)
    assert (failed.exit_code, "failed: " in failed.stderr) == (1, True)
    closed = run("send", "dome", "Close", "--wait", "60", *how)
    assert (closed.exit_code, closed.stdout.splitlines()[1:]) == (0, ["done"]), closed.stderr
    none = run("send", "scheduler", "Plan again", "--wait", "5", *how)
    assert (none.exit_code, "no device" in none.stderr) == (1, True)


def _holds(config: Config, how: Any) -> None:
    stopped = run("stop", "hail", *how)
    assert (stopped.exit_code, len(re.findall(r" OK$", stopped.stdout, re.MULTILINE))) == (0, len(config.agents))
    shown = run("status", "--json", *how).stdout.splitlines()
    assert json.loads(shown[0])["hold"]["why"] == "hail"
    assert {line["hold"]["why"] for line in map(json.loads, shown) if line.get("agent") in config.agents} == {"hail"}
    assert run("service", "new filter", "--minutes", "5", *how).exit_code == 0
    assert "SERVICE by" in run("status", *how).stdout
    released = run("release", *how)
    assert (released.exit_code, released.stdout.count(" OK")) == (0, len(config.agents))
    shown = run("status", "--json", *how).stdout.splitlines()
    assert json.loads(shown[0])["hold"] is None
    assert {line["hold"] for line in map(json.loads, shown) if line.get("agent") in config.agents} == {None}


def _failed_messages(config: Config, how: Any) -> None:
    assert run("messages", "failed", *how).stdout == "no failed messages\n"
    assert run("send", "gardener", "Mow", *how).exit_code == 0  # it is taken, and kept as failed
    failed = run("messages", "failed", *how).stdout
    assert re.search(r"gardener +1 +in +Mow +program:\S+ .*RuntimeError: no fuel", failed)
    again = run("messages", "retry", "gardener", "1", *how)
    assert again.exit_code == 1
    assert again.stderr == "pyros: agent 'gardener' failed again at message 1: RuntimeError: no fuel\n"
    (config.path.parent / "fuel").touch()
    assert run("messages", "retry", "gardener", "1", *how).stdout == "OK: agent 'gardener' has handled message 1\n"
    assert run("messages", "failed", *how).stdout == "no failed messages\n"


def _publish(ivorn: str, how: Any) -> None:
    words = ("--position", "10.5 -20", "--magnitude", "17.25", "--filter", "r")
    published = run("publish", ivorn, *words, *how)
    assert published.exit_code == 0, published.stderr
    name = re.fullmatch(r"(ivo://pyros\.observatory/demo/followup#by-hand/detection-\S+) is kept by the broker\n",
                        published.stdout)  # fmt: skip
    assert name is not None, published.stdout
    for bad in ("10.5", "400 0", "a b", "1 2 3"):
        assert run("publish", ivorn, "--position", bad, *words[2:], *how).exit_code == 2
    assert run("publish", ivorn, *words, "--time", "yesterday", *how).exit_code == 2


def _alerts(config: Config, how: Any, tmp_path: Path) -> None:
    template = config.path.parent / "observatory" / "demo-alert.xml"
    values = {"$ivorn": "ivo://pyros.observatory/demo#t1", "$ra": "10", "$dec": "10",
              "$time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"}  # fmt: skip
    text = template.read_text()
    for key, value in values.items():
        text = text.replace(key, value)
    packet = tmp_path / "alert.xml"
    packet.write_text(text.replace('role="observation"', 'role="test"'))
    told = run("alert", packet, *how)
    assert told.exit_code == 1
    assert "is kept by the broker" in told.stdout
    assert "refused         role test" in told.stdout
    again = run("alert", packet, *how)
    assert again.exit_code == 1
    burst = fill(template, config, tmp_path)
    told = run("alert", burst.file, *how)
    assert told.exit_code == 0, told.stdout + told.stderr
    assert re.search(r"^ +[\d.]+ s  finished +\d images$", told.stdout, re.MULTILINE)
    assert re.search(r"published +finished: ivo://pyros.observatory/demo/followup#obs-", told.stdout)
    _publish(burst.ivorn, how)
    packet.write_text(text.replace("#t1", "#t2").replace('role="observation"', 'role="utility"'))
    assert run("alert", packet, "--no-follow", *how).exit_code == 0
