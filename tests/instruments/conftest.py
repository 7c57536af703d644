"""An in-memory network on virtual time, and scripted devices in it; and a real reactor, and INDI's servers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.instruments.conformance import Context
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from pyros.simulators import Simulator, load
from tests.builders import InlineReactor
from tests.conftest import reactor_in_a_thread
from tests.instruments.indi.by_hand import HandClient
from tests.instruments.indi.server import IndiServer

OBSERVATORY = Path(__file__).parents[2] / "observatory"
MIDNIGHT = datetime(2026, 3, 20, 23, 30, tzinfo=UTC)


def _failure(kind: Callable[[], Exception]) -> Any:
    make: Any = Failure
    return make(kind())


@implementer(ITCPTransport)
class End:
    """One end of a connection.

    Bytes arrive at the other in the reactor's next turn, or ``delay`` seconds later, in pieces of ``cut`` bytes.
    """

    def __init__(self, world: DeviceWorld, protocol: Any, cut: int) -> None:
        self.world, self.protocol, self.cut = world, protocol, cut
        self.other: End
        self.open = True
        self.delay = 0.0

    def write(self, data: bytes) -> None:
        for begin in range(0, len(data), self.cut):
            self.world.callLater(self.delay, self.other.arrive, data[begin : begin + self.cut])

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def arrive(self, data: bytes) -> None:
        if self.open:
            self.protocol.dataReceived(data)
            self.world.arrived(data)

    def loseConnection(self) -> None:
        self.world.callLater(0, self.end)

    abortConnection = stopProducing = loseConnection

    def end(self) -> None:
        for each in (self, self.other):
            if each.open:
                each.open = False
                each.protocol.connectionLost(_failure(error.ConnectionDone))

    def __getattr__(self, name: str) -> Any:  # TCP's settings, producers
        return lambda *_: None


class DeviceWorld(InlineReactor):
    """A reactor whose connections lead to what listens in it; its time goes by only in ``run``."""

    def __init__(self) -> None:
        super().__init__()
        self.listening: dict[int, Any] = {}
        self.ends: list[End] = []
        self.cut = 1 << 20
        self.arrived: Callable[[bytes], None] = lambda _: None
        """Called after whatever arrives at either end of a connection, with it."""
        self.delays: Iterator[float] = repeat(0.0)
        """Of the connections that are made, one after the other: with unequal ones, requests overtake each other."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        self.listening[port] = factory
        return super().listenTCP(port, factory, backlog, interface)

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        connector: Any = super().connectTCP(host, port, factory, timeout, bindAddress)
        call = self.callLater(0, self._connect, port, factory, connector)

        def stop() -> None:
            call.cancel()
            factory.clientConnectionFailed(connector, _failure(error.UserError))

        connector.stopConnecting = stop
        return connector

    def _connect(self, port: int, factory: Any, connector: Any) -> None:
        if port not in self.listening:
            factory.clientConnectionFailed(connector, _failure(error.ConnectionRefusedError))
            return
        near, far = (End(self, each.buildProtocol(None), self.cut) for each in (factory, self.listening[port]))
        near.other, far.other = far, near
        near.delay = far.delay = next(self.delays)
        self.ends += [near, far]
        far.protocol.makeConnection(far)
        near.protocol.makeConnection(near)

    def drop(self) -> None:
        """Break every connection."""
        for end in self.ends:
            end.end()

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass, from one timer to the next."""
        end = self.seconds() + seconds
        while self.calls and self.calls[0].getTime() <= end:
            self.advance(max(0.0, self.calls[0].getTime() - self.seconds()))
        self.advance(end - self.seconds())

    def result(self, deferred: Deferred[Any], seconds: float = 0.0) -> Any:
        """Wait so many seconds at most for a Deferred's result; raises what it fails with."""
        out: list[Any] = []
        deferred.addBoth(out.append)
        end = self.seconds() + seconds
        self.run()
        while not out and self.calls and self.calls[0].getTime() <= end:
            self.advance(max(0.0, self.calls[0].getTime() - self.seconds()))
        assert out, "nothing came out"
        if isinstance(out[0], Failure):
            out[0].raiseException()
        return out[0]

    def fails(self, kind: Any, words: str, deferred: Deferred[Any], seconds: float = 0.0) -> None:
        """Assert that a Deferred fails so within so many seconds; ``words`` is searched for in its text."""
        with pytest.raises(kind, match=words or None):
            self.result(deferred, seconds)


class Pending:
    """A command under way."""

    def __init__(self, deferred: Deferred[Any]) -> None:
        self.results: list[Any] = []
        deferred.addCallbacks(self.results.append, lambda failure: self.results.append(failure.value))

    @property
    def result(self) -> Any:
        assert len(self.results) == 1, "it has not ended"
        return self.results[0]


class DriverRig:
    """A driver, and what it told: connections, events, and the estimates of commands that began."""

    def __init__(
        self, world: DeviceWorld, clock: VirtualClock, kind: Any, driver: str, address: str, **named: Any
    ) -> None:
        self.world, self.clock = world, clock
        self.told: list[tuple[bool, str]] = []
        self.events: list[str] = []
        self.started: list[float] = []
        self.device: Any = instruments.connect(
            kind, driver, address, world, clock,
            on_connection=lambda *each: self.told.append(each), on_event=self.events.append, **named,
        )  # fmt: skip

    def begin(self, deferred: Deferred[Any]) -> Any:
        pending = Pending(deferred)
        self.world.run()
        return pending


Lines = str | bytes | Sequence[str | bytes]


class ScriptedNative(Factory):
    """A device that answers as it was told to.

    ``answers`` maps a request, or the first words of it, to the answer and the events after it; ``{tag}`` stands for
    the request's tag. What is mapped to [] gets no answer.
    """

    noisy = False

    def __init__(self, world: DeviceWorld, kind: str, port: int = 6010) -> None:
        self.answers: dict[str, Lines | Callable[[], Lines]] = {"GET id": f'OK "Old {kind}" {kind}'}
        self.asked: list[str] = []
        self.lines: list[_ScriptLine] = []
        world.listenTCP(port, self)

    def buildProtocol(self, addr: object) -> _ScriptLine:
        self.lines.append(_ScriptLine(self))
        return self.lines[-1]

    def say(self, *lines: str) -> None:
        """Say something to the last client."""
        for line in lines:
            self.lines[-1].send(line.replace("{tag}", self.tag))

    @property
    def tag(self) -> str:
        """The tag of the last command that had one, or nothing."""
        return ["", *(match[1] for line in self.asked if (match := re.search(r" tag=(\S+)", line)))][-1]

    def count(self, start: str) -> int:
        return sum(line.startswith(start) for line in self.asked)


class _ScriptLine(Protocol):
    def __init__(self, script: ScriptedNative) -> None:
        self.script = script
        self.rest = b""

    def send(self, line: str | bytes) -> None:
        assert self.transport is not None
        self.transport.write(line if isinstance(line, bytes) else line.encode() + b"\n")

    def dataReceived(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            number, request = line.decode().split(" ", 1)
            self.script.asked.append(request)
            known = [key for key in self.script.answers if request.startswith(key)]
            answer = self.script.answers[max(known, key=len)] if known else "ERR UNKNOWN no such thing"
            answer = answer() if callable(answer) else answer
            for index, each in enumerate([answer] if isinstance(answer, str | bytes) else answer):
                if isinstance(each, bytes):
                    self.send(each)
                else:
                    text = each.replace("{tag}", self.script.tag) if "{tag}" in each else each
                    self.send(f"{number} {text}" if index == 0 else text)


@pytest.fixture
def world() -> Iterator[DeviceWorld]:
    """Make the network; a test that used it must have cancelled every timer."""
    made = DeviceWorld()
    yield made
    assert not made.getDelayedCalls()


@pytest.fixture
def clock(world: DeviceWorld) -> VirtualClock:
    return VirtualClock(world, MIDNIGHT)


@pytest.fixture
def context(clock: VirtualClock) -> Context:
    """Make the context that the checks of the conformance suite are given."""
    site = Site.load(OBSERVATORY / "site.yaml")

    def place(altitude: float, azimuth: float) -> tuple[float, float]:
        return place_overhead(site, clock.now(), altitude, azimuth)

    return Context(clock, place, tracking=600.0)


Simulate = Callable[..., Any]


@pytest.fixture
def simulate(world: DeviceWorld, clock: VirtualClock) -> Iterator[Simulate]:
    """Run the demo's simulator of a kind with some settings changed, and connect a driver to it.

    By default that is the native one, at the address of the simulator's file. The driver's ``simulator`` is at hand.
    """
    devices: list[Any] = []
    simulators: list[Simulator] = []

    def make(kind: Any, driver: str = "native", address: str = "", **changed: Any) -> Any:
        description = load(OBSERVATORY / "simulators" / f"{kind}.yaml").changed(**changed)
        simulators.append(Simulator(description, world, clock))
        world.result(simulators[-1].start())
        address = address or f"tcp:127.0.0.1:{description.listen.split(':')[1]}"
        devices.append(instruments.connect(kind, driver, address, world, clock))
        devices[-1].simulator = simulators[-1]
        return devices[-1]

    yield make
    for device in devices:
        world.result(device.disconnect())
    for simulator in simulators:
        world.result(simulator.stop())


@pytest.fixture(scope="module")
def reactor() -> Iterator[Any]:
    """Run a reactor of this file's own, in a thread of its own."""
    with reactor_in_a_thread() as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[IndiServer, HandClient]]]:
    """Run INDI drivers, with a client of them; afterwards nothing is left of either."""
    servers: list[IndiServer] = []
    clients: list[HandClient] = []

    def start(*devices: str) -> tuple[IndiServer, HandClient]:
        servers.append(IndiServer(tmp_path, *devices))
        clients.append(HandClient(servers[-1].port))
        return servers[-1], clients[-1]

    yield start
    for client in clients:
        client.close()
    for server in servers:
        server.kill()
