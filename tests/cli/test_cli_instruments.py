"""``pyros instruments`` with simulators in a process of their own."""

from __future__ import annotations

import codecs
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from typer.testing import CliRunner

from pyros import config as configuration
from pyros.cli.app import app
from pyros.cli.common import program
from pyros.cli.instruments import conform
from pyros.cli.instruments.device import DeviceSession
from pyros.clock import Deadline, VirtualClock
from pyros.config import Config
from pyros.errors import CommandAborted
from pyros.instruments import conformance
from pyros.instruments.conformance import Check, Context
from pyros.planning import Site
from tests.builders import InlineReactor
from tests.cli.conftest import copy_demo
from tests.conftest import PATIENCE, wait_until
from tests.instruments.indi.server import IndiServer, needs_indi
from tests.web import WebAnswer, WebRequest, web_server

DEVICES = ("telescope", "camera", "filter_wheel", "dome", "safety", "weather")


def pyros(config: Config, *arguments: str, text: str = "") -> Any:
    """Run the command in this process, which has imported everything already."""
    where = [] if arguments[0] == "discover" else ["--config", str(config.path)]
    return CliRunner().invoke(app, ["instruments", *arguments, *where], input=text)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """Run the demo's simulators; the clock of the configuration is shifted into its night."""
    file = copy_demo(tmp_path_factory.mktemp("simulated"))
    patient = rf"\g<0>?readout_seconds={PATIENCE:g}"  # the first image comes when the catalogue has been read
    file.write_text(re.sub(r"\[camera\][^\[]*?address = \S+", patient, file.read_text()))
    config = configuration.load(file)
    files = [config.path.parent / "observatory" / "simulators" / f"{name}.yaml" for name in DEVICES]
    camera = files[DEVICES.index("camera")]
    camera.write_text(camera.read_text().replace(": 768 ", ": 64 "))  # its image is made in a moment
    process = subprocess.Popen(
        [sys.executable, program("twistd"), "-n", "--pidfile=", "pyros-simulator", "--config", config.path, *files],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    up = 0
    while up < len(DEVICES):
        line = process.stdout.readline()
        assert line, "the simulators have ended"
        up += " is a simulated " in line or "listens" in line
    yield config
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)


def test_the_suite_on_a_telescope(simulated: Config) -> None:
    """As people call it, in a process of its own."""
    done = subprocess.run(
        [sys.executable, program("pyros"), "instruments", "test", "telescope", "--all", "--yes"],
        env=os.environ | {configuration.ENVIRONMENT: str(simulated.path)},
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].startswith("passed         a slew ends on its target, and the position is measured")
    assert re.fullmatch(r"Demo telescope: \d+ passed", lines[-1])
    assert pyros(simulated, "shell", "telescope", text="state\n").stdout == "parked\n"


def test_what_may_do_harm_is_left_out(simulated: Config) -> None:
    done = pyros(simulated, "test", "dome", "--yes")
    assert done.exit_code == 0
    assert "left out       opens and closes, and an open one is open at once (--all)" in done.stdout
    assert (
        "not supported  turns its slit and back, and measures it: it is a roof: its slit does not turn" in done.stdout
    )
    assert done.stdout.splitlines()[-1] == "Demo dome: 3 passed, 4 left out, 4 not supported"


def test_nothing_moves_unasked(config: Config) -> None:
    for options in ([], ["--all"]):
        done = pyros(config, "test", "telescope", *options)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.endswith("; say --yes if it may\n")


def test_the_filter_is_as_it_was(simulated: Config) -> None:
    done = pyros(simulated, "shell", "filter_wheel", text="filters\nfilter\nselect i\n")
    filters = done.stdout.splitlines()
    assert filters[-1] == "i", filters
    done = pyros(simulated, "test", "filter_wheel", "--yes")
    assert done.stdout.splitlines()[-1].endswith(": 6 passed"), done.stdout
    assert pyros(simulated, "shell", "filter_wheel", text="filter\n").stdout == "i\n"


def test_a_device_that_is_not_there(config: Config) -> None:
    done = pyros(config, "test", "camera", "--yes")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert "camera: cannot be tested: ConnectionLost: camera at tcp:127.0.0.1:" in done.stderr


def test_a_line_to_a_device(simulated: Config) -> None:
    lines = ["state", "help expose", "expose 2 dark=on", "cool -25", "cooling", "GET geometry", "", "# nothing", "quit"]
    done = pyros(simulated, "shell", "camera", text="\n".join(lines))
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    found = done.stdout.splitlines()
    assert found[0] == "idle"
    assert found[1].startswith("expose seconds (s) [filter=''] [tag=''] [dark=False]")
    assert re.search(r"^begun; it thinks that takes [\d.]+ s\nan image of 64 x 64, 2 s, \d+ to \d+ ADU\nOK\n",
                     done.stdout, re.MULTILINE)  # fmt: skip
    assert found[-1] == "OK 64 64 16 1.8"


def test_what_is_wrong_on_a_line_is_told_and_the_shell_goes_on(simulated: Config) -> None:
    lines = ["slew 10", "slew x 2", "slew 1 2 3 4", "dance", "GET nonsense", "slew 'a", "state"]
    done = pyros(simulated, "shell", "telescope", text="\n".join(lines))
    assert done.exit_code == 1
    assert done.stdout == "parked\n"
    told = done.stderr.splitlines()
    assert len(told) == 6
    assert told[0] == "pyros: dec missing; usage: slew ra (degrees, ICRS) dec (degrees, ICRS) [tag=''] [side='']"
    assert told[1] == "pyros: ra: 'x' is not a number"
    assert told[3].startswith("pyros: no command 'dance'; there are: help, quit, slew, stop,")
    assert told[4].startswith("pyros: DeviceRefused: UNKNOWN: there is no property 'nonsense'")


def test_no_such_instrument(config: Config) -> None:
    for command in ("test", "shell"):
        done = pyros(config, command, "spectrograph")
        assert done.exit_code == 1
        assert "no instrument 'spectrograph' (there are: telescope, camera," in done.stderr


def test_a_device_whose_agent_runs_is_left_alone(config: Config) -> None:
    from pyros.agents.safety import SafetyAgent

    agent = SafetyAgent()
    agent.start(config)
    try:
        done = pyros(config, "test", "safety")  # only reads, and so it need not ask
        assert done.exit_code == 1
        assert "agent 'safety' is running and commands this device; end it first" in done.stderr
        done = pyros(config, "list", "--json")
        (line,) = [json.loads(line) for line in done.stdout.splitlines() if '"safety"' in line]
        assert line["reason"] == ""
    finally:
        agent.stop()


def test_the_list_without_anything_running(config: Config) -> None:
    done = pyros(config, "list", "--json")
    found: list[Any] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["instrument"] for line in found] == [
        "telescope", "camera", "dome", "weather", "filter_wheel", "safety",
    ]  # fmt: skip
    assert {line["reason"] for line in found} == {"its agent is not running"}
    assert "its agent is not running" in pyros(config, "list").stdout


def test_nothing_to_discover(config: Config) -> None:
    done = pyros(config, "discover", "--no-alpaca", "--seconds", "0.1")
    assert done.exit_code == 1
    assert "no device answered" in done.stderr
    done = pyros(config, "discover", "--no-alpaca", "--indi", "127.0.0.1:1")
    assert done.exit_code == 1
    assert done.stderr.startswith("pyros: INDI server at tcp:127.0.0.1:1: Connection was refused")
    done = pyros(config, "discover", "--indi", "host:port")
    assert done.exit_code == 2


@needs_indi
def test_an_indi_server_is_asked_for_its_devices(config: Config, tmp_path: Path) -> None:
    server = IndiServer(tmp_path, "Telescope Simulator", "Dome Simulator")
    try:
        done = pyros(config, "discover", "--no-alpaca", "--indi", f"127.0.0.1:{server.port}")
    finally:
        server.kill()
    assert done.exit_code == 0, done.stderr
    assert f"[dome]\nport = 5020\ndriver = indi\naddress = tcp:127.0.0.1:{server.port}/Dome Simulator\n" in done.stdout
    assert f"address = tcp:127.0.0.1:{server.port}/Telescope Simulator\n" in done.stdout


def configured_devices(request: WebRequest) -> WebAnswer:
    """Answer as Alpaca's management API of a server with one dome, and one device that PYROS does not drive."""
    assert request.path.startswith("/management/v1/configureddevices?")
    devices = [
        {"DeviceName": "Old dome", "DeviceType": "Dome", "DeviceNumber": 3, "UniqueID": "a"},
        {"DeviceName": "Old video", "DeviceType": "Video", "DeviceNumber": 0, "UniqueID": "b"},
    ]
    body = json.dumps({"Value": devices, "ErrorNumber": 0, "ErrorMessage": ""}).encode()
    return WebAnswer(body, headers={"Content-Type": "application/json"})


@pytest.fixture
def announced() -> Iterator[tuple[int, int]]:
    """Give the UDP port where Alpaca's question is answered, and the HTTP port that the answer tells."""
    with (
        web_server(configured_devices) as port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answering,
    ):
        answering.bind(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                question, who = answering.recvfrom(1024)
                if question == b"the end":
                    return
                assert question == b"alpacadiscovery1"
                answering.sendto(json.dumps({"AlpacaPort": port}).encode(), who)

        thread = Thread(target=answer)
        thread.start()
        yield answering.getsockname()[1], port
        answering.sendto(b"the end", answering.getsockname())
        thread.join()


def test_alpaca_devices_are_found(config: Config, announced: tuple[int, int]) -> None:
    udp, http = announced
    done = pyros(config, "discover", "--alpaca-port", str(udp), "--seconds", "3")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (
        f"; Old dome\n[dome]\nport = 5020\ndriver = alpaca\naddress = http://127.0.0.1:{http}/dome/3\n\n"
    )


class PersonAtTerminal:
    """A person at ``pyros instruments`` in a terminal of their own."""

    def __init__(self, config: Config, what: str, device: str) -> None:
        self.master, slave = os.openpty()
        command = [sys.executable, program("pyros"), "instruments", what, device, "--config", str(config.path)]
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave, env=os.environ | {"TERM": "dumb"}
        )
        os.close(slave)
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def interrupt(self) -> None:
        """Ctrl-C, once it waits for somebody: a signal just before that is seen with the next key only."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S", what="the command to wait")
        self.type("\x03")

    def until(self, text: str) -> str:
        """Return what is shown until then, without what was shown before."""
        deadline = Deadline(PATIENCE)
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline.left()))
            assert ready, f"{text!r} is not in {self.shown!r}"
            self.shown += self._decoder.decode(os.read(self.master, 4096))
        before, _, self.shown = self.shown.partition(text)
        return before

    def end(self) -> int:
        """Ctrl-D; the exit code."""
        self.type("\x04")
        code = self.process.wait(PATIENCE)
        os.close(self.master)
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            os.close(self.master)


@pytest.fixture
def terminal(simulated: Config) -> Iterator[Callable[[str, str], PersonAtTerminal]]:
    made: list[PersonAtTerminal] = []

    def open_(command: str, device: str) -> PersonAtTerminal:
        made.append(PersonAtTerminal(simulated, command, device))
        return made[-1]

    yield open_
    for each in made:
        each.kill()


NIGHT = datetime(2026, 6, 1, tzinfo=UTC)
UP = "\x1b[A"


def test_a_test_is_agreed_to_and_stopped(terminal: Callable[[str, str], PersonAtTerminal], simulated: Config) -> None:
    person = terminal("test", "telescope")
    person.until("This slews the telescope to places high in the east, and parks it. Go on? [y/N]: ")
    person.type("n\n")
    assert person.process.wait(PATIENCE) == 130
    os.close(person.master)

    person = terminal("test", "telescope")
    person.until("Go on? [y/N]: ")
    person.type("y\n")
    person.until("passed         tells its name, its state and where it points")
    person.interrupt()
    assert person.process.wait(PATIENCE) == 130
    os.close(person.master)
    assert pyros(simulated, "shell", "telescope", text="state\n").stdout == "parked\n"


def test_a_check_that_is_interrupted_commands_nothing_after_the_park(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parking ends the slew that the check waits for; whatever it would have done next, it doesn't."""
    slew: Deferred[None] = Deferred()
    commands: list[str] = []

    async def check(device: Any, context: Context) -> None:
        with suppress(CommandAborted):
            await slew
        commands.append("another slew")

    class ParkingMount:
        name, connected = "Mount", True

        def park(self) -> Deferred[None]:
            commands.append("park")
            if not slew.called:
                slew.errback(CommandAborted("a park took its place"))
            return succeed(None)

    class InterruptedSession(DeviceSession):
        """In this thread; Ctrl-C whenever there is something to wait for."""

        def wait(self, give: Callable[[], Any], interrupted: Callable[[], Any] | None = None) -> Any:
            results: list[Any] = []
            maybeDeferred(give).addCallback(results.append)
            if not results:
                raise KeyboardInterrupt
            return results[0]

    monkeypatch.setitem(conformance.CHECKS, "telescope", (Check("slews", check), Check("disconnects", check)))
    session = InterruptedSession(
        "telescope", ParkingMount(), InlineReactor(), VirtualClock(Clock(), NIGHT), Site("", 0, 0, 0)
    )
    with pytest.raises(KeyboardInterrupt):
        conform.test_device(session, everything=False)
    assert commands == ["park"]


def test_a_person_at_the_shell(terminal: Callable[[str, str], PersonAtTerminal], simulated: Config) -> None:
    person = terminal("shell", "camera")
    person.until("camera> ")
    person.type("cooling\n")
    assert "temperature=" in person.until("camera> ")
    person.type("nonsense")
    person.until("nonsense")
    person.interrupt()  # the line is given up, and the shell isn't
    person.until("camera> ")
    person.type("expose 600\n")
    person.until("begun; it thinks that takes")
    person.interrupt()
    assert "CommandAborted" in person.until("camera> ")
    person.type("geometry\n")
    assert "width=64" in person.until("camera> ")
    person.type(UP + UP + UP + "\n")  # geometry, expose, cooling: what was given up is no line
    person.until("temperature=")
    person.until("camera> ")
    assert person.end() == 0
    assert (simulated.data / "instrument_history").read_text().split("\n")[-3:] == ["geometry", "cooling", ""]

    another = terminal("shell", "camera")  # remembers
    another.until("camera> ")
    another.type(UP + UP + "\n")
    another.until("width=64")
    another.until("camera> ")
    assert another.end() == 0
