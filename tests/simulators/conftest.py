"""A simulated device on virtual time, and clients of it whose network is a byte string."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from pyros.clock import VirtualClock
from pyros.simulators import Simulator, load
from pyros.simulators.server import SimulatorConnection
from tests.builders import InlineReactor

DEMO = Path(__file__).parents[2] / "observatory" / "simulators"
MIDNIGHT = datetime(2026, 3, 20, 23, 30, tzinfo=UTC)


# Twisted's test doubles carry no types.
_Transport: Any = StringTransport
_Failure: Any = Failure


class LineClient:
    """Somebody with ``nc``."""

    def __init__(self, connection: SimulatorConnection) -> None:
        self.connection = connection
        self.transport = _Transport()
        cast("Any", connection).makeConnection(self.transport)

    def send(self, *lines: str) -> None:
        self.connection.dataReceived("".join(f"{line}\n" for line in lines).encode())

    def read(self) -> list[str]:
        """Return the lines that came since the last time."""
        data: str = self.transport.value().decode()
        self.transport.clear()
        return data.splitlines()

    def ask(self, line: str) -> str:
        """Return the answer to one request; events that came before it are dropped, those after it are kept."""
        self.transport.clear()
        self.send(line)
        answer: str
        answer, _, rest = self.transport.value().decode().partition("\n")
        self.transport.clear()
        self.transport.write(rest.encode())
        return answer

    def numbers(self, line: str) -> list[float]:
        """Return the values of an OK answer, as numbers."""
        ok, *values = shlex.split(self.ask(line))
        assert ok == "OK"
        return [float(value) for value in values]

    def lose(self) -> None:
        self.connection.connectionLost(_Failure(ConnectionDone()))


ALONE: dict[str, dict[str, Any]] = {"camera": {"filter_wheel": ""}}
"""What makes a device of the demo one that needs no other."""


class SimulatorRig:
    """One simulator and its reactor; ``airless`` leaves a camera's site out, and with it the air and the Moon."""

    def __init__(self, device: str, airless: bool = False, **changed: Any) -> None:
        self.reactor: Any = InlineReactor()
        self.clock = VirtualClock(self.reactor, MIDNIGHT)
        description = load(DEMO / f"{device}.yaml").changed(**ALONE.get(device, {}) | changed)
        if airless:
            description = dataclasses.replace(description, site=None)
        self.simulator = Simulator(description, self.reactor, self.clock)
        self.device: Any = self.simulator.device

    def client(self) -> LineClient:
        return LineClient(SimulatorConnection(self.simulator))

    def __getattr__(self, name: str) -> Any:
        """Let the first client speak: it is there from its first word on."""
        if "first" not in vars(self):
            self.first = self.client()
        return getattr(self.first, name)

    def advance(self, seconds: float) -> None:
        """Let time pass from timer to timer, each at its own moment."""
        end = self.reactor.seconds() + seconds
        while calls := [call.getTime() for call in self.reactor.getDelayedCalls() if call.getTime() <= end]:
            self.reactor.advance(max(0.0, min(calls) - self.reactor.seconds()))
        self.reactor.advance(end - self.reactor.seconds())

    def timers(self) -> int:
        return len(self.reactor.getDelayedCalls())


@pytest.fixture(autouse=True)
def logged_failures() -> Iterator[list[str]]:
    """Fail a test that leaves a failure in Twisted's log, such as a Deferred whose error nobody took.

    A test that means one takes it out of the list.
    """
    failures: list[str] = []

    def watch(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(str(event["log_failure"]))

    publisher: Any = globalLogPublisher
    publisher.addObserver(watch)
    yield failures
    publisher.removeObserver(watch)
    assert failures == []


@pytest.fixture
def rig() -> Iterator[Callable[..., SimulatorRig]]:
    """Make a SimulatorRig of a device of the demo with some settings changed; afterwards none may have left a timer."""
    rigs: list[SimulatorRig] = []

    def make(device: str, **changed: Any) -> SimulatorRig:
        rigs.append(SimulatorRig(device, **changed))
        return rigs[-1]

    yield make
    for each in rigs:
        connections = list(each.simulator.connections)
        stopped = each.simulator.stop()
        for connection in connections:
            connection.connectionLost()
        assert stopped.called
        assert each.timers() == 0
