"""What all tests share: configurations on free ports, programs in a process of their own, and nothing left behind."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from twisted.internet.selectreactor import SelectReactor
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python import threadable

from pyros.agents import Agent
from pyros.clock import RealClock
from pyros.config import ENVIRONMENT, FILE_NAME, INSTRUMENTS, STANDARD_AGENTS, Config, load
from pyros.errors import PyrosError, WireError
from pyros.journal import JournalReader
from pyros.sender import ask
from pyros.sender.inbound import InboundHandshake, InboundPort
from pyros.wire import Decoder, Frame, Hello, encode_frame
from tests.builders import InlineReactor

# Hypothesis's own timed checks fail where the machine is slow: its first text on a new machine takes a second.
# In CI its examples are always the same: a change is not blamed for what chance has found out elsewhere.
settings.register_profile(
    "pyros", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("pyros")

DEMO = load(Path(__file__).parents[1] / FILE_NAME)
"""The configuration of the demo observatory."""
DEMO_AGENTS = tuple(name for name in STANDARD_AGENTS if name in DEMO.agents)
DEMO_INSTRUMENTS = tuple(name for name in INSTRUMENTS if name in DEMO.agents)

_LASTING = ("pyros-reactor", "PoolThread-", "asyncio_", "ThreadPoolExecutor", "pytest")
"""Beginnings of names of threads that belong to the process: the reactor, which cannot be started twice, and pools."""

PATIENCE = 90.0
"""Seconds after which what a test waits for will not come any more. It is no measure of speed: on a machine that others
use too, a program of a second may take half a minute; and whoever waits for what happens doesn't wait longer for it."""

_BLOCK = 100


def _blocks() -> Iterator[int]:
    """Yield ports that the kernel gives to no outgoing connection: a killed agent's port stays free for its restart.

    They come in blocks. Whose block it is tells an abstract socket of its name, which the kernel takes away with the
    process: a port that one worker has found free, and not opened yet, is never given to another worker or run.
    """
    blocks = range(10_000, 30_000, _BLOCK)
    first = os.getpid() * 7 % len(blocks)
    for block in (*blocks[first:], *blocks[:first]):
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f"\0pyros-tests-ports-{block}")
        except OSError:
            mark.close()
            continue
        mark.detach()  # it stays open as long as the process lives
        yield from range(block, block + _BLOCK)


_ports = _blocks()


_LONGEST = (
    "test_bench.py", "test_interleaving_alpaca.py", "test_cli_observatory.py", "test_exactly_once.py",
    "test_broker_kafka.py", "test_repeats.py", "test_ending.py", "test_twistd.py", "test_broker_durability.py",
    "test_alpaca_on_simulators.py", "test_restarts.py", "test_wheel.py", "test_program.py", "test_broker_archiving.py",
    "test_cli_instruments.py", "test_safety.py", "test_carriers.py", "test_outbound.py", "test_cli_demo_alpaca.py",
    "test_indi_on_simulators.py", "test_lx200_indi.py", "test_analysis.py", "test_faults.py",
)  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard() -> None:
    """By the programs that tests start, although whoever runs the tests ignores one, as nohup and `&` do."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _warnings_go_beside_what_a_command_says() -> None:
    """Of an agent in the tests' process: on the process's own stderr, not on the one that a command was given."""
    assert sys.__stderr__ is not None
    observer = FilteringLogObserver(textFileLogObserver(sys.__stderr__), [LogLevelFilterPredicate(LogLevel.warn)])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what tests that passed have found out, by ``record_property("told", ...)``, however quiet pytest is."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "told":
                terminalreporter.write_line(str(value))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first: several workers share them out, and none is left with a long one."""
    items.sort(key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST))


def pytest_collection_finish() -> None:
    """Put aside what lives as long as the run: the garbage collector would look through modules and all tests again."""
    gc.collect()  # what is put aside is never collected
    gc.freeze()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("every port has been used")


def free_ports(count: int) -> list[int]:
    """Return so many ports of `free_port`."""
    return [free_port() for _ in range(count)]


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[..., Any], seconds: float = PATIENCE, what: str = "") -> Any:
    """Poll until the condition is true; return its value, or fail after so many seconds."""
    end = time.monotonic() + seconds
    pause = 0.003
    while True:
        late = time.monotonic() > end  # before it is asked for the last time: we may have been kept from asking
        value = condition()
        if value:
            return value
        if late:
            pytest.fail(f"waited {seconds:g} s in vain for {what or condition}")
        time.sleep(pause)
        pause = min(0.05, pause * 1.1)  # whoever looks all the time keeps from working what it looks at


class Program:
    """A Python program in a process of its own; what it prints goes to files, so that it never waits for a reader."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._out = folder / f"program-{next(_numbers)}"
        with self._out.open("wb") as out, self._out.with_suffix(".err").open("wb") as err:
            self.process = subprocess.Popen(
                arguments, cwd=folder, env=os.environ | environment, stdin=subprocess.PIPE, stdout=out, stderr=err
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def errors(self) -> str:
        return self._out.with_suffix(".err").read_text()

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit code (minus the signal's number)."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the program has not ended within {seconds:g} s; it said: {self.output} {self.errors}")

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


_numbers = itertools.count(1)


class AgentsObservatory:
    """A configuration file of some agents on free ports, and what a test needs to look at them."""

    def __init__(self, folder: Path, agents: dict[str, dict[str, str]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / "pyros_agent_config.ini"
        for name in ("site.yaml", "rules.yaml"):
            (folder / name).write_text("{}\n")
        lines = ["[observatory]", "name = test", "site = site.yaml", "alert_rules = rules.yaml"]
        lines += [f"{key} = {value}" for key, value in agents.pop("observatory", {}).items()]
        for name, keys in agents.items():
            lines.append(f"[{name}]")
            for key, value in ({"port": str(free_port()), "app": f"tests.{name}"} | keys).items():
                lines.append(f"{key} = {value}")
        self.path.write_text("\n".join(lines) + "\n")
        self.config: Config = load(self.path)
        self.programs: list[Program] = []

    def run(self, *arguments: str | Path) -> Program:
        """Start ``python arguments`` with this configuration."""
        program = Program([sys.executable, *map(str, arguments)], self.folder, {ENVIRONMENT: str(self.path)})
        self.programs.append(program)
        return program

    def status(self, name: str) -> dict[str, Any] | None:
        """Return what the agent says of itself; None while it is not up."""
        try:
            return ask(self.config.agent(name), "status", PATIENCE)
        except PyrosError:
            return None

    def up(self, name: str) -> dict[str, Any]:
        """Wait until the agent answers; returns its status."""
        status: dict[str, Any] = wait_until(lambda: self.status(name), what=f"{name} to be up")
        return status

    def connect(self, name: str, source: str = "127.0.0.1") -> socket.socket:
        """Open a raw connection to the agent."""
        section = self.config.agent(name)
        return socket.create_connection((section.ip, section.port), timeout=PATIENCE, source_address=(source, 0))

    def say(self, name: str, line: bytes) -> str:
        """Send the bytes, close the sending side and read to the end, as ``nc`` does."""
        with self.connect(name) as connection:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def rows(self, name: str, query: str, *values: Any) -> list[Any]:
        """Return the rows of a SELECT in the agent's journal; none before it has one."""
        if not self.config.journal(name).is_file():
            return []
        with closing(JournalReader(self.config.journal(name))) as reader:
            return reader.rows(query, *values)

    def received(self, name: str) -> list[tuple[str, Any, str | None]]:
        """(name, payload, traceback or None) of what the agent has taken, oldest first."""
        return [
            (message, msgspec.json.decode(payload), error)
            for message, payload, error in self.rows(name, "SELECT name, payload, error FROM received ORDER BY number")
        ]

    def state(self, name: str) -> Any:
        """Return the agent's stored state as plain JSON."""
        rows = self.rows(name, "SELECT value FROM state")
        return msgspec.json.decode(rows[0][0]) if rows else None

    def close(self) -> None:
        for program in self.programs:
            program.close()


class GreetedPeer:
    """The receiver's side of a connection that a test plays by hand, up to and with its welcome."""

    unread = False
    certified: str | None = None

    def __init__(self, connection: socket.socket, name: str, key: bytes, last: int = 0) -> None:
        """Read a hello and a proof, and welcome the sender with the number ``last``. Raises WireError."""
        self._connection, self._last = connection, last
        self.decoder = Decoder(frames=True)
        self.hello: Hello | None = None
        handshake = InboundHandshake(InboundPort(name, key, [], InlineReactor()), self)
        while handshake.peer is None:
            data = connection.recv(65536)
            assert data, "closed"
            for frame in self.decoder.feed(data):
                assert isinstance(frame, Frame)
                if frame.hello:
                    self.hello = frame.hello
                    # As an older PYROS, which says no signs of life: a test may take its time.
                    handshake.on_hello(msgspec.structs.replace(frame.hello, alive=False))
                elif frame.proof:
                    handshake.on_proof(frame.proof)

    def send(self, frame: Frame) -> None:
        self._connection.sendall(encode_frame(frame))

    def welcomed(self) -> int:
        return self._last

    def drop(self, reason: str) -> None:
        raise WireError(reason)


@pytest.fixture
def wait_for() -> Callable[..., Any]:
    return wait_until


def another_reactor(kind: Callable[[], Any]) -> Any:
    """Make a reactor that is not the one of the process, and whose time goes on when the computer's clock is set."""
    made = kind()
    made._registerAsIOThread = False  # noqa: SLF001  Twisted's
    RealClock(made)
    return made


@contextmanager
def reactor_in_a_thread() -> Iterator[Any]:
    """Run a second reactor of this process in a thread of its own."""
    running = another_reactor(SelectReactor)
    thread = threading.Thread(target=running.run, kwargs={"installSignalHandlers": False})
    ready = threading.Event()
    running.callWhenRunning(ready.set)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield running
    finally:
        running.callFromThread(running.stop)
        thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Collect what Twisted's log is told."""
    lines: list[str] = []

    def watch(event: Any) -> None:
        lines.append(formatEvent(event) or "")

    publisher: Any = globalLogPublisher
    publisher.addObserver(watch)
    yield lines
    publisher.removeObserver(watch)


@pytest.fixture
def observatory(tmp_path: Path) -> Iterator[Callable[..., AgentsObservatory]]:
    """Make an Observatory: ``observatory("a", "b", b={"allow": "127.0.0.1/32"})``; end its programs afterwards."""
    made: list[AgentsObservatory] = []

    def make(*agents: str, **keys: dict[str, str]) -> AgentsObservatory:
        folder = tmp_path / f"observatory-{len(made) + 1}"
        made.append(AgentsObservatory(folder, {name: keys.get(name, {}) for name in [*agents, *keys]}))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def running(observatory: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Start agents in threads of their own: ``running(place, agent)``; end them afterwards."""
    started: list[Agent] = []

    def start(place: Any, *agents: Agent) -> None:
        for agent in agents:
            agent.start(place.config)
            started.append(agent)

    yield start
    for agent in started:
        agent.stop(PATIENCE)


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.name.startswith(_LASTING)}


def _processes() -> set[str]:
    found: set[str] = set()
    for children in Path("/proc/self/task").glob("*/children"):
        try:
            found |= set(children.read_text().split())
        except OSError:  # the thread has just ended
            continue
    return found


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No test leaves a thread or a process, nor a reactor that calls the tests' thread its own."""
    threads, processes = _threads(), _processes()
    yield
    assert not threadable.isInIOThread(), "nobody could use Sender.send_to here any more"
    wait_until(lambda: _threads() <= threads, what="threads to end")
    wait_until(lambda: _processes() <= processes, what="processes to end")
