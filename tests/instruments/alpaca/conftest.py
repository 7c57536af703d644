"""An Alpaca server in memory that answers what a test wants, and a reactor of the test's own for real ones."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import alpaca_simulators
import pytest
import yaml
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from pyros.clock import RealClock, VirtualClock
from pyros.instruments import connect
from pyros.instruments.alpaca.address import TYPES
from tests.conftest import Program, another_reactor, free_port
from tests.instruments.conftest import DeviceWorld

PORT = 11111


class Raw(bytes):
    """What a server sends instead of an HTTP answer."""


class Http:
    """An HTTP answer that is not the usual one."""

    def __init__(self, status: int, body: bytes, content: str = "text/plain", more: str = "") -> None:
        self.body = body
        self.head = f"HTTP/1.1 {status} x\r\nContent-Type: {content}\r\nContent-Length: {len(body)}\r\n{more}\r\n"


class AlpacaError:
    """An Alpaca error."""

    def __init__(self, number: int, text: str = "no") -> None:
        self.number, self.text = number, text


class AlpacaServer(Factory):
    """An Alpaca server with one device, which answers as a test says.

    ``answers`` maps a request (``GET slewing``) to its value, a Wrong, Http or Raw, a function of the parameters that
    gives one of them, or None for silence. What is not mapped is not implemented; PUTs are taken.
    """

    noisy = False

    def __init__(self, world: DeviceWorld, **values: Any) -> None:
        self.is_connected = False
        self.answers: dict[str, Any] = {
            "GET connected": lambda _: self.is_connected,
            "PUT connect": AlpacaError(0x400),
            "PUT connected": self._connect,
            "GET name": "Old device",
        }
        self.set(**values)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.lines: list[HttpLine] = []
        self.world = world
        world.listenTCP(PORT, self)

    def _connect(self, parameters: dict[str, str]) -> Any:
        self.is_connected = parameters["Connected"] == "True"

    def set(self, **values: Any) -> None:
        """Set properties."""
        self.answers |= {f"GET {name}": value for name, value in values.items()}

    def count(self, request: str) -> int:
        return sum(asked == request for asked, _ in self.asked)

    def last(self, request: str) -> dict[str, str]:
        """Return the parameters of the last request of that name, but for the client's numbers."""
        found = [parameters for asked, parameters in self.asked if asked == request][-1]
        return {name: text for name, text in found.items() if not name.startswith("Client")}

    def away(self) -> None:
        """Nobody listens any more, and every connection breaks."""
        del self.world.listening[PORT]
        self.is_connected = False
        self.world.drop()

    def back(self) -> None:
        self.world.listening[PORT] = self

    def buildProtocol(self, addr: object) -> HttpLine:
        self.lines.append(HttpLine(self))
        return self.lines[-1]


class HttpLine(Protocol):
    def __init__(self, server: AlpacaServer) -> None:
        self.server = server
        self.rest = b""

    def dataReceived(self, data: bytes) -> None:
        self.rest += data
        while b"\r\n\r\n" in self.rest:
            head, _, rest = self.rest.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines[1:])}
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            self.rest = rest[length:]
            method, target, _ = lines[0].split(" ")
            url = urlsplit(target)
            form = parse_qs(rest[:length].decode() or url.query, strict_parsing=True)
            self.answer(f"{method} {url.path.rsplit('/', 1)[1]}", {name: texts[0] for name, texts in form.items()})

    def answer(self, request: str, parameters: dict[str, str]) -> None:
        self.server.asked.append((request, parameters))
        assert self.transport is not None
        default = AlpacaError(0x400, "not implemented") if request.startswith("GET") else ""
        answer = self.server.answers.get(request, default)
        if callable(answer):
            answer = answer(parameters)
            if answer is None:
                answer = ""
        if answer is None:
            return
        if isinstance(answer, Raw):
            self.transport.write(bytes(answer))
            return
        if not isinstance(answer, Http):
            wrong = answer if isinstance(answer, AlpacaError) else AlpacaError(0, "")
            reply = {"Value": answer if wrong is not answer else None, "ErrorNumber": wrong.number}
            answer = Http(200, json.dumps(reply | {"ErrorMessage": wrong.text}).encode(), "application/json")
        self.transport.write(answer.head.encode() + answer.body)


class AlpacaRig(AlpacaServer):
    """The server, drivers that are connected to it, and the time that passes for both."""

    def __init__(self, world: DeviceWorld, clock: VirtualClock) -> None:
        super().__init__(world)
        self.clock, self.run, self.result, self.fails = clock, world.run, world.result, world.fails
        self.told: list[tuple[bool, str]] = []
        """What on_connection was called with."""
        self.devices: list[Any] = []

    def device(self, kind: Any, options: str = "", **named: Any) -> Any:
        """Connect to the device: ``device("telescope")``."""
        address, named["on_connection"] = f"http://127.0.0.1:{PORT}/{TYPES[kind]}/0{options}", self._on_connection
        self.devices.append(connect(kind, "alpaca", address, self.world, self.clock, **named))
        return self.devices[-1]

    def _on_connection(self, *told: Any) -> None:
        self.told.append(told)


@pytest.fixture
def server(world: DeviceWorld, clock: VirtualClock) -> Iterator[AlpacaRig]:
    rig = AlpacaRig(world, clock)
    yield rig
    for each in rig.devices:
        world.result(each.disconnect(), 10)
    world.run(5)


class Real:
    """A real reactor that runs only while a test waits in ``result``."""

    def __init__(self) -> None:
        self.reactor = another_reactor(EPollReactor)
        self.reactor.startRunning(installSignalHandlers=False)
        self.clock = RealClock(self.reactor)

    def result(self, deferred: Deferred[Any], seconds: float = 200.0) -> Any:
        out: list[Any] = []
        deferred.addBoth(out.append)
        self.until(lambda: out, seconds)
        if isinstance(out[0], Failure):
            out[0].raiseException()
        return out[0]

    def until(self, condition: Callable[[], Any], seconds: float = 200.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"nothing within {seconds:g} s"
            self.reactor.iterate(0.02)

    def close(self) -> None:
        for _ in range(3):
            self.reactor.iterate(0)
        assert [call for call in self.reactor.getDelayedCalls() if call.active()] == []
        assert set(self.reactor.removeAll()) <= set(self.reactor._internalReaders)  # noqa: SLF001  Twisted's
        self.reactor.waker.connectionLost(None)
        self.reactor._poller.close()  # noqa: SLF001


@pytest.fixture
def real() -> Iterator[Real]:
    made = Real()
    yield made
    made.close()


class Simulators:
    """The alpaca-simulators in a process of their own, with a catalogue of the test's own instead of the network's.

    ``stars`` are right ascension, declination (degrees) and magnitude. The dome turns faster than it was made to.
    """

    def __init__(self, folder: Path, stars: list[tuple[float, float, float]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        with closing(sqlite3.connect(folder / "stars.db", isolation_level=None)) as catalogue:
            catalogue.execute("CREATE TABLE gaia_sources (ra, dec, pmra, pmdec, phot_g_mean_mag)")
            catalogue.executemany("INSERT INTO gaia_sources VALUES (?, ?, 0, 0, ?)", stars)
        template = Path(alpaca_simulators.__file__).parent / "config" / "template.yaml"
        settings = yaml.safe_load(template.read_text())
        settings["devices"]["camera"][0]["offset"] = "none"  # which is no number, and no server's program expects it
        settings["tap_source"] = str(folder / "stars.db")
        devices = settings["devices"]
        devices["camera"][0] |= {"cameraxsize": 320, "cameraysize": 200, "numx": 320, "numy": 200}
        devices["telescope"][0] |= {"focallength": 1.5, "slew_rate": 60.0}
        devices["filterwheel"][0] |= {"names": ["g", "r", "i"], "focusoffsets": [0, 0, 0]}
        devices["focuser"][0]["maxincrement"] = 4000
        devices["covercalibrator"][0] |= {"calibratorstate": 1, "maxbrightness": 255}  # off; without it there is none
        devices["switch"][0]["switches"][2] = devices["switch"][0]["switches"][0] | {"name": "Door", "canwrite": False}
        self.settings = settings
        self.program: Program | None = None

    def start(self) -> None:
        """Start them; they answer some seconds later."""
        config = self.folder / "config.yaml"
        config.write_text(yaml.safe_dump(self.settings))
        command = [sys.executable, str(Path(__file__).with_name("serve.py")), "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--config", str(config)]
        self.program = Program(command, self.folder, {"ASTRA_SIMULATORS_CONFIG": str(config)})

    def kill(self) -> None:
        if self.program is not None:
            self.program.close()
            self.program = None
