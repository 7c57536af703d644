"""twistd -n pyros | pyros-agent | pyros-broker | pyros-simulator: processes on real sockets, with real threads."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from astropy.io import fits
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from pyros import config as configuration
from pyros.config import Config
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from pyros.sender import Sender
from pyros.twistd import ObservatoryService
from tests.conftest import DEMO_AGENTS, DEMO_INSTRUMENTS, PATIENCE, Program, free_port, is_open, wait_until

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent

NOTES = """
from pathlib import Path

from pyros.agents import Agent


class NotesAgent(Agent):
    def __init__(self):
        super().__init__("NAME")
        self.actions_by_message["Note"] = self.note

    def note(self, message):
        with open(self.section.options["notes"], "a") as notes:
            notes.write(message.payload["text"] + "\\n")

    def shutdown(self):
        with open(self.section.options["notes"], "a") as notes:
            notes.write("shutdown\\n")
"""


class TwistdFolder:
    """A folder with the demo observatory on free ports, fast simulators, and agents that take notes.

    Its guardian is patient with a busy computer, unless ``beat`` says otherwise.
    """

    def __init__(
        self, folder: Path, *, file: str = "pyros_agent_config.ini", data: str = "var", beat: float = 60
    ) -> None:
        self.folder = folder
        self.path = folder / file
        self.programs: list[Program] = []
        if not (folder / "observatory").exists():
            shutil.copytree(REPOSITORY / "observatory", folder / "observatory")
        self.simulators = folder / f"simulators-{data}"
        shutil.copytree(folder / "observatory" / "simulators", self.simulators)
        ports = {name: free_port() for name in DEMO_INSTRUMENTS}
        for name, port in ports.items():
            self._write_simulator(name, port, ports)
        lines = [
            "[observatory]", f"name = {data}", f"data = {data}", "site = observatory/site.yaml", "clock = night",
            "alert_rules = observatory/alert_rules.yaml",
            f"simulators = {' '.join(f'{self.simulators.name}/{name}.yaml' for name in DEMO_INSTRUMENTS)}",
            "[guardian]", f"port = {free_port()}", f"beat = {beat}", "poll = 0.2",
            "[broker]", f"receiver_port = {free_port()}", f"broadcaster_port = {free_port()}",
        ]  # fmt: skip
        for name in DEMO_AGENTS:
            lines += [f"[{name}]", f"port = {free_port()}"]
            if name in ports:
                lines += ["driver = native", f"address = tcp:127.0.0.1:{ports[name]}"]
        for name in ("notes", "minutes"):
            (folder / f"{name}_agent.py").write_text(NOTES.replace("NAME", name))
            lines += [f"[{name}]", f"port = {free_port()}", f"app = {name}_agent"]
            lines += [f"option_notes = {folder / f'{name}-{data}.txt'}"]
        self.path.write_text("\n".join(lines) + "\n")
        self.config: Config = configuration.load(self.path)

    def _write_simulator(self, name: str, port: int, ports: dict[str, int]) -> None:
        path = self.simulators / f"{name}.yaml"
        replaced = {
            "listen": f"tcp:{port}:interface=127.0.0.1",
            "telescope": f"tcp:127.0.0.1:{ports['telescope']}",
            "filter_wheel": f"tcp:127.0.0.1:{ports['filter_wheel']}",
            "site": "../observatory/site.yaml",
            "speed": "1" if name == "weather" else "50",
            "width": "64",
            "height": "64",
        }
        keep = []
        for line in path.read_text().splitlines():
            key = line.partition(":")[0]
            keep.append(f"{key}: {replaced[key]}" if key in replaced else line)
        path.write_text("\n".join(keep) + "\n")

    def twistd(self, *arguments: str | Path, folder: Path | None = None, **environment: str) -> Program:
        """Start ``twistd -n --pidfile= arguments`` in a process of its own, with more in its environment."""
        command = [str(SCRIPTS / "twistd"), "-n", "--pidfile=", *map(str, arguments)]
        program = Program(command, folder or self.folder, {"PYTHONPATH": str(self.folder)} | environment)
        self.programs.append(program)
        return program

    def notes(self, name: str = "notes") -> list[str]:
        path = Path(self.config.agent(name).options["notes"])
        return path.read_text().splitlines() if path.exists() else []

    def up(self, program: Program, *ports: int) -> None:
        """Wait until somebody listens on all ports."""

        def listening() -> bool:
            assert program.process.poll() is None, program.output + program.errors
            return all(is_open(port) for port in ports)

        wait_until(listening, what=f"ports {ports}: {program.output}")

    def up_all(self, program: Program) -> None:
        assert self.config.broker is not None
        self.up(program, self.config.broker.receiver_port, *(agent.port for agent in self.config.agents.values()))


def stop(program: Program, number: int) -> None:
    """Check that the program ends and logs nothing bad, such as a handler that does not return."""
    program.kill(number)
    code = program.wait()
    assert code in (0, -number), program.output
    assert "Traceback" not in program.output + program.errors
    assert "Unhandled" not in program.output + program.errors


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., TwistdFolder]]:
    made: list[TwistdFolder] = []

    def make(name: str = "here", **keys: Any) -> TwistdFolder:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        made.append(TwistdFolder(folder, **keys))
        return made[-1]

    yield make
    for each in made:
        for program in each.programs:
            program.close()


def device(here: TwistdFolder, name: str, line: str) -> str:
    """Return what a simulated device answers to somebody else."""
    port = int(here.config.agent(name).address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client, client.makefile() as answers:
        client.sendall(f"{line}\n".encode())
        return next(answer.strip() for answer in answers if not answer.startswith("EVT"))


def ask_guardian(here: TwistdFolder) -> str:
    """Return what the guardian says of itself."""
    assert here.config.guardian is not None
    with socket.create_connection(("127.0.0.1", here.config.guardian.port), timeout=PATIENCE) as client:
        client.sendall(b"STATUS\n")
        with client.makefile() as answers:
            return answers.read()


SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


@SIGNALS
def test_one_agent_stops_with_its_shutdown_run(place: Callable[..., TwistdFolder], number: int) -> None:
    here = place()
    program = here.twistd("pyros-agent", "--agent", "notes", folder=here.folder)  # the file is in its working directory
    here.up(program, here.config.agent("notes").port)
    Sender.send_to("notes", "Note", {"text": "alone"}, config=here.config)
    stop(program, number)
    assert here.notes() == ["alone", "shutdown"]
    assert not is_open(here.config.agent("minutes").port)


def test_an_agent_ends_and_a_signal_comes_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reactor has been stopped, and the services have not heard of it yet."""
    stopped = SimpleNamespace(callWhenRunning=Mock(), stop=Mock(side_effect=ReactorNotRunning))
    monkeypatch.setattr("twisted.internet.reactor", stopped, raising=False)
    host = SimpleNamespace(running=False, failure=None, stopped=Deferred[None]())
    observatory = SimpleNamespace(start=Deferred[None], failure=None, hosts={"notes": host}, clock=None, hanging=None)
    monkeypatch.setattr("pyros.twistd.RunningObservatory", lambda *_, **__: observatory)
    monkeypatch.setattr("os.umask", Mock())
    monkeypatch.setattr("signal.signal", Mock())
    config: Any = SimpleNamespace(group="", clock="real")
    ObservatoryService(config, agents=["notes"]).startService()
    host.stopped.callback(None)
    assert stopped.stop.call_count == 1


def test_an_agent_process_ends_when_its_agent_is_told_to_shut_down(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    program = here.twistd("pyros-agent", "--config", here.path, "--agent=notes")
    here.up(program, here.config.agent("notes").port)
    Sender.send_to("notes", "Shutdown", config=here.config)
    assert program.wait() == 0
    assert here.notes() == ["shutdown"]


def test_the_broker_alone(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    program = here.twistd("pyros-broker", "--config", here.path)
    assert here.config.broker is not None
    here.up(program, here.config.broker.receiver_port, here.config.broker.broadcaster_port)
    stop(program, signal.SIGTERM)


def test_simulators_alone(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    files = [here.simulators / "dome.yaml", here.simulators / "weather.yaml"]
    program = here.twistd("pyros-simulator", *files)
    ports = [int(re.findall(r"listen: tcp:(\d+)", file.read_text())[0]) for file in files]
    here.up(program, *ports)
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=PATIENCE) as client:
        client.sendall(b"GET state\n")
        assert client.recv(100) == b"OK closed\n"
    stop(program, signal.SIGTERM)


@SIGNALS
def test_the_guardian_alone_ends_when_the_dome_is_closed(place: Callable[..., TwistdFolder], number: int) -> None:
    here = place(beat=2)
    dome = here.simulators / "dome.yaml"
    dome.write_text(dome.read_text().replace("speed: 50", "speed: 10"))
    port = int(here.config.agent("dome").address.rpartition(":")[2])
    devices = here.twistd("pyros-simulator", dome)
    assert here.config.guardian is not None
    guardian = here.twistd("pyros-guardian", "--config", here.path)
    here.up(devices, port)
    here.up(guardian, here.config.guardian.port)
    assert '"dome"' in ask_guardian(here)  # its reactor runs, and hears signals, when it answers
    assert device(here, "dome", "DO open").startswith("BUSY")
    guardian.kill(number)
    assert guardian.wait() in (0, -number), guardian.output
    assert device(here, "dome", "GET state") == "OK closed"
    stop(devices, number)


def fails(program: Program, *words: str) -> None:
    """Check that the program ends by itself with an error's code, one line about what is wrong and no traceback."""
    assert program.wait() > 0, program.output
    said = program.output + program.errors
    assert "Traceback" not in said
    assert len([line for line in said.splitlines() if all(word in line for word in words)]) == 1, said


def test_a_configuration_that_is_not_there(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    for command in (["pyros"], ["pyros-agent", "--agent=notes"], ["pyros-broker"]):
        fails(here.twistd(*command, "--config", "nowhere.ini"), "nowhere.ini: no such file")


def test_a_mistake_in_the_configuration_names_section_and_key(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    here.path.write_text(here.path.read_text().replace("[notes]\nport = ", "[notes]\nport = x"))
    fails(here.twistd("pyros", "--config", here.path), str(here.path), "[notes] port", "1 to 65535")


def test_a_data_folder_that_is_a_file(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    (here.folder / "file").touch()
    here.path.write_text(re.sub("(?m)^data = .*", "data = file", here.path.read_text()))
    for command in (["pyros"], ["pyros-agent", "--agent=notes"], ["pyros-broker"]):
        fails(here.twistd(*command, "--config", here.path), str(here.path), "[observatory] data", "cannot be written")


def test_an_agent_that_has_no_section(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    fails(here.twistd("pyros-agent", "--config", here.path, "--agent=nobody"), "nobody", str(here.path), "notes")


def test_no_agent_named(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    fails(here.twistd("pyros-agent", "--config", here.path), "name the agent: --agent=")


def test_an_app_that_cannot_be_imported(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    (here.folder / "notes_agent.py").unlink()
    fails(here.twistd("pyros-agent", "--config", here.path, "--agent=notes"), "[notes] app", "notes_agent")


def test_a_simulator_that_is_not_there(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    fails(here.twistd("pyros-simulator", "nowhere.yaml"), "nowhere.yaml")


def test_what_agents_need_is_told_at_once(place: Callable[..., TwistdFolder]) -> None:
    here = place()
    text = re.sub("(?m)^(site|alert_rules) = .*", "", here.path.read_text())
    here.path.write_text(text.replace("clock = night", ""))
    program = here.twistd("pyros", "--config", here.path)
    fails(program, str(here.path), "[observatory] alert_rules: missing; [alert_manager] needs it")
    for agent in ("alert_manager", "scheduler", "telescope", "camera", "dome"):
        assert f"[observatory] site: missing; [{agent}] needs it" in program.output + program.errors


SCHEDULER = """
from pyros.agents import Agent


class SchedulerAgent(Agent):
    MSG_OBS_FINISHED = "Observation finished"

    def __init__(self):
        super().__init__(Agent.SCHEDULER)
        self.actions_by_message[self.MSG_OBS_FINISHED] = self.observation_finished

    def work(self):
        print("at work", flush=True)

    def observation_finished(self, message):
        print("finished", flush=True)

    def shutdown(self):
        print("shut down", flush=True)


SchedulerAgent().start()
"""
SENDER = """
from pyros.agents import Agent
from pyros.sender import Sender

Sender.send_to(Agent.SCHEDULER, "Observation finished")
Sender.send_to(Agent.SCHEDULER, Agent.SHUTDOWN)
"""


def test_an_agent_needs_no_more_than_ip_and_port(tmp_path: Path) -> None:
    (tmp_path / "pyros_agent_config.ini").write_text(f"[scheduler]\nip = 127.0.0.1\nport = {free_port()}\n")
    with closing(Program([sys.executable, "-c", SCHEDULER], tmp_path, {})) as agent:
        wait_until(lambda: agent.output, what="the agent at work")
        subprocess.run([sys.executable, "-c", SENDER], cwd=tmp_path, check=True, timeout=PATIENCE)
        assert agent.wait() == 0
        assert agent.output.splitlines() == ["at work", "finished", "shut down"]


BROKEN = """
from pyros.agents import Agent


class BrokenAgent(Agent):
    \"\"\"After its first message nothing works any more that no message is to blame for.\"\"\"

    def __init__(self):
        super().__init__("broken")
        self.actions_by_message["Break"] = self.break_it

    def break_it(self):
        self._host.loop._gather = None


class SteadyAgent(Agent):
    def __init__(self):
        super().__init__("steady")

    def shutdown(self):
        (self.config.data / "steady").write_text("has shut down")
"""


@pytest.mark.parametrize("alone", [True, False])
def test_an_agent_that_cannot_go_on_ends_its_process_with_a_code(tmp_path: Path, alone: bool) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    port = free_port()
    config = tmp_path / "pyros_agent_config.ini"
    config.write_text(
        f"[broken]\nport = {port}\napp = broken:BrokenAgent\n[steady]\nport = {free_port()}\napp = broken:SteadyAgent\n"
    )
    command = [str(SCRIPTS / "twistd"), "-n", "--pidfile=", "pyros"]
    if alone:
        command = [sys.executable, "-c", "from broken import BrokenAgent; BrokenAgent().start()"]
    with closing(Program(command, tmp_path, {"PYTHONPATH": str(tmp_path)})) as program:
        wait_until(lambda: is_open(port), what="the agent's port")
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            client.sendall(b"Break\n")
            assert client.recv(100).startswith(b"OK ")
        assert program.wait() == 1
        assert "broken cannot go on" in program.output + program.errors
        assert alone or (tmp_path / "var" / "steady").read_text() == "has shut down"


@pytest.mark.parametrize("whose", ["agent", "broker", "simulator"])
def test_a_port_that_is_taken(place: Callable[..., TwistdFolder], whose: str) -> None:
    here = place()
    assert here.config.broker is not None
    dome = int(here.config.agent("dome").address.rpartition(":")[2])
    port, words, arguments = {
        "agent": (here.config.agent("notes").port, ["[notes] port"], ["pyros-agent", "--agent=notes"]),
        "broker": (here.config.broker.receiver_port, ["[broker] receiver_port"], ["pyros-broker"]),
        "simulator": (dome, ["dome.yaml", "listen"], ["pyros"]),
    }[whose]
    with socket.create_server(("127.0.0.1", port)):
        fails(here.twistd(arguments[0], "--config", here.path, *arguments[1:]), *words)


@pytest.mark.parametrize("arguments", [["pyros-agent", "--agent=notes"], ["pyros"]], ids=["agent", "observatory"])
def test_a_daemon_that_cannot_start_ends_with_a_code(place: Callable[..., TwistdFolder], arguments: list[str]) -> None:
    here = place()
    log = here.folder / "twistd.log"
    command: list[str | Path] = [SCRIPTS / "twistd", f"--pidfile={here.folder / 'pid'}", f"--logfile={log}",
               arguments[0], "--config", here.path, *arguments[1:]]  # fmt: skip
    with socket.create_server(("127.0.0.1", here.config.agent("notes").port)):
        ended = subprocess.run(
            command, cwd=here.folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(here.folder)},
        )  # fmt: skip
    assert ended.returncode == 1
    assert "NotStarted: " in ended.stderr
    wait_until(lambda: "[notes] port" in log.read_text(), what="the reason in the log")
    assert "Traceback" not in log.read_text() + ended.stdout + ended.stderr
    assert not (here.folder / "pid").exists()


def send_burst(here: TwistdFolder, name: str) -> tuple[float, float]:
    """Publish the shipped demo alert, 65 degrees up now by the observatory's clock, through comet-sendvo."""
    shift = float((here.config.data / "clock_shift_seconds").read_text())
    now = datetime.now(UTC) + timedelta(seconds=shift)
    ra, dec = place_overhead(Site.load(here.config.site), now)
    packet = Template((REPOSITORY / "observatory" / "demo-alert.xml").read_text()).substitute(
        ivorn=f"ivo://pyros.observatory/demo#{name}", time=now.strftime("%Y-%m-%dT%H:%M:%S"), ra=ra, dec=dec
    )
    assert here.config.broker is not None
    sent = subprocess.run(
        [SCRIPTS / "comet-sendvo", "--host=127.0.0.1", f"--port={here.config.broker.receiver_port}"],
        input=packet, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert sent.returncode == 0, sent.stdout + sent.stderr
    return ra, dec


def images(here: TwistdFolder) -> list[Any]:
    """Return the headers of the images, after checking that each image is whole."""
    return [fits.getheader(path) for path in sorted(here.config.data.rglob("*.fits"))]


def test_two_in_one_folder_and_an_alert_becomes_an_image(place: Callable[..., TwistdFolder]) -> None:
    one = place(file="one.ini", data="one")
    two = place(file="two.ini", data="two")
    programs = [here.twistd("pyros", "--config", here.path) for here in (one, two)]
    for here, program in zip((one, two), programs, strict=True):
        here.up_all(program)
    Sender.send_to("notes", "Note", {"text": "for one"}, config=one.config)
    Sender.send_to("notes", "Note", {"text": "for two"}, config=two.config)
    ra, dec = send_burst(two, "of-two")
    wait_until(lambda: images(two), what="an image of the second")
    assert images(one) == []
    header, *others = images(two)
    assert {each["OBJECT"] for each in (header, *others)} == {"ivo://pyros.observatory/demo#of-two"}
    assert (header["RA"], header["DEC"]) == (pytest.approx(ra, abs=0.02), pytest.approx(dec, abs=0.02))
    stop(programs[0], signal.SIGINT)
    assert one.notes() == ["for one", "shutdown"]
    assert two.notes() == ["for two"]
    Sender.send_to("notes", "Note", {"text": "goes on"}, config=two.config)
    stop(programs[1], signal.SIGINT)
    assert two.notes() == ["for two", "goes on", "shutdown"]
