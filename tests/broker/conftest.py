"""Events, configurations and a broker without sockets."""

from __future__ import annotations

import queue
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from twisted.internet.defer import Deferred

from pyros import messages
from pyros.alerts.rules import decisions
from pyros.broker.store import EventStore
from pyros.clock import VirtualClock
from pyros.config import AgentConfig, BrokerConfig, Config
from pyros.errors import JournalError
from pyros.journal import Journal, JournalReader
from tests.broker.process import BrokerProgram
from tests.builders import InlineReactor, voevent
from tests.conftest import PATIENCE, free_port

ROOT = Path(__file__).parents[2]
IVORN = "ivo://test.observatory/bursts#burst-1"
Configuration = Callable[..., Path]
Start = Callable[[Path], BrokerProgram]


def make_event(ivorn: str = IVORN, *, role: str = "test", importance: float = 0.5, text: str = "a burst") -> bytes:
    params = f'<Param name="importance" value="{importance}"/>'
    return voevent(ivorn, role=role, params=params, text=text, ra=83.6, dec=22.0, error=0.05)


def read_answers(data: bytes) -> list[etree._Element]:
    """Return the documents in what was written to a VTP connection."""
    found = []
    while data:
        length = int.from_bytes(data[:4], "big")
        found.append(etree.fromstring(data[4 : 4 + length]))
        data = data[4 + length :]
    return found


def make_config(folder: Path, **broker: Any) -> Config:
    return Config(
        path=folder / "pyros_agent_config.ini",
        name="test",
        data=folder,
        site=folder / "site.yaml",
        alert_rules=folder / "rules.yaml",
        agents={"alert_manager": AgentConfig("alert_manager", "127.0.0.1", 5001, "pyros.agents.alert_manager")},
        broker=BrokerConfig(**{"receiver_port": 1, "broadcaster_port": 2, **broker}),
    )


def outcome(deferred: Deferred[Any]) -> Any:
    """Return the result of a Deferred that has fired, be it an exception; fails when it has not fired."""
    results: list[Any] = []
    deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
    assert results, "the Deferred has not fired"
    return results[0]


class ThreadReactor(InlineReactor):
    """Calls from threads run when the test says so, in the test's thread."""

    def __init__(self) -> None:
        super().__init__()
        self.from_threads: queue.Queue[Callable[[], Any]] = queue.Queue()

    def callFromThread(self, callable: Any, *args: Any, **kw: Any) -> None:  # noqa: A002  Twisted's name
        self.from_threads.put(lambda: callable(*args, **kw))

    def run_until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.from_threads.get(timeout=PATIENCE)()


@pytest.fixture
def reactor() -> InlineReactor:
    return InlineReactor()


@pytest.fixture
def clock(reactor: InlineReactor) -> VirtualClock:
    return VirtualClock(reactor, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.fixture
def store(reactor: InlineReactor, clock: VirtualClock, tmp_path: Path) -> Iterator[EventStore]:
    store = EventStore(reactor, clock, tmp_path / "broker.sqlite", threaded=False, durable=False, epoch="epoch-of-test")
    yield store
    outcome(store.stop())
    store.close()


def kept_rows(journal: Journal, query: str) -> list[Any]:
    """Return the rows of a SELECT from what the journal has committed."""
    with closing(JournalReader(journal.path)) as reader:
        return reader.rows(query)


def comet_sendvo(port: int, packet: bytes) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, Path(sys.executable).with_name("comet-sendvo"), "--host=127.0.0.1", f"--port={port}"],
        input=packet.decode(), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.fixture
def port() -> int:
    """Return a port that is free."""
    return free_port()


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    def write(name: str = "a", **broker: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in ("site.yaml", "rules.yaml"):
            (folder / file).touch()
        ports = {key: str(free_port()) for key in ("receiver_port", "broadcaster_port")}
        keys = {**ports, "allow": "127.0.0.1/32", **broker}
        lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
        file_ = folder / "pyros_agent_config.ini"
        file_.write_text(
            "[observatory]\nname = test\nsite = site.yaml\nalert_rules = rules.yaml\n"
            f"[alert_manager]\nport = {free_port()}\n[broker]\n{lines}\n"
        )
        return file_

    return write


@pytest.fixture
def thread_reactor() -> ThreadReactor:
    return ThreadReactor()


class AlertManagerProcess:
    """A real one, in a process of its own, for a broker's configuration; it counts what it was given."""

    def __init__(self, config: Path) -> None:
        for name, real in (("site.yaml", "site.yaml"), ("rules.yaml", "alert_rules.yaml")):
            shutil.copy(ROOT / "observatory" / real, config.parent / name)
        self.journal = config.parent / "var" / "journals" / "alert_manager.sqlite"
        self.log = config.parent / "alert_manager.log"
        command: list[str | Path] = [
            Path(sys.executable).with_name("twistd"),
            "--nodaemon",
            "--pidfile=",
            "pyros-agent",
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--config", config, "--agent", "alert_manager"], stdout=log, stderr=log, cwd=config.parent
            )

    def received(self) -> Counter[bytes]:
        """Return the packets that the alert manager was given, and how often."""
        with closing(JournalReader(self.journal)) as reader:
            rows = reader.rows("SELECT payload FROM received WHERE name = ?", messages.ALERT_RECEIVED)
        return Counter(messages.decode_payload(messages.ALERT_RECEIVED, row[0]).packet for row in rows)

    def count(self) -> int:
        """How many messages it has been given so far."""
        try:
            reader = JournalReader(self.journal)
        except JournalError:  # not there yet
            return 0
        try:
            return int(reader.rows("SELECT ifnull(max(number), 0) FROM received")[0][0])
        except JournalError:  # being made
            return 0
        finally:
            reader.close()

    def decided(self) -> Counter[str]:
        """Return the alerts that the alert manager has decided about, and how often."""
        with closing(JournalReader(self.journal)) as reader:
            return Counter(record.alert for record in decisions.read(reader))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def alert_manager() -> Iterator[Callable[[Path], AlertManagerProcess]]:
    with ExitStack() as stack:
        yield lambda config: stack.enter_context(closing(AlertManagerProcess(config)))


@pytest.fixture
def start() -> Iterator[Start]:
    """Start brokers of configurations, each in a process of its own."""
    with ExitStack() as stack:
        yield lambda config: stack.enter_context(closing(BrokerProgram(config)))
