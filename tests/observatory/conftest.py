"""A rehearsal: the whole observatory inline in one thread, on virtual time, over in-memory connections."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from astropy.io import fits
from msgspec import Raw
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import formatEvent, globalLogPublisher

from pyros import config as configuration
from pyros.agents.runtime.host import Host
from pyros.agents.runtime.turns import Batch
from pyros.clock import VirtualClock
from pyros.config import INSTRUMENTS, STANDARD_AGENTS
from pyros.messages import encode_payload
from pyros.observatory import Observatory, load_agent
from pyros.planning import Site
from pyros.planning.visibility import next_night, place_overhead
from pyros.rehearsal.reactor import MemoryReactor
from pyros.simulators import Simulator
from pyros.wire import Entry
from tests.conftest import DEMO_INSTRUMENTS

REPOSITORY = Path(__file__).parents[2]
DATE = datetime(2026, 3, 20, 12, tzinfo=UTC)
EXPOSURE = 20.0
_MOST_THINGS = 5000


def _rule(name: str, priority: int, filter: str, seconds: float, count: int, min_altitude: float) -> str:
    return (
        f'  - {{name: {name}, when: {{stream: "*{name}*"}}, priority: {priority}, min_altitude: {min_altitude},'
        f" observe: [{{filter: {filter}, seconds: {seconds}, count: {count}}}]}}\n"
    )


RULES = "rules:\n" + "".join(
    (
        _rule("first", 10, "r", EXPOSURE, 3, 15),
        _rule("urgent", 90, "g", EXPOSURE, 1, 15),
        _rule("low", 10, "r", EXPOSURE, 1, 0),
        _rule("blue", 10, "u", EXPOSURE, 1, 15),  # a filter that the camera doesn't have
        _rule("long", 10, "r", 3000, 100, 15),
    )
)

_PACKET = """<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0 http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd"
 version="2.0" role="{role}" ivorn="ivo://{name}">
<Who><AuthorIVORN>ivo://pyros.test</AuthorIVORN><Date>{time}</Date></Who>
<WhereWhen><ObsDataLocation><ObservatoryLocation id="GEOLUN"/><ObservationLocation>
<AstroCoordSystem id="UTC-ICRS-GEO"/><AstroCoords coord_system_id="UTC-ICRS-GEO">
<Time unit="s"><TimeInstant><ISOTime>{time}</ISOTime></TimeInstant></Time>
<Position2D unit="deg"><Name1>RA</Name1><Name2>Dec</Name2><Value2><C1>{ra:.6f}</C1><C2>{dec:.6f}</C2></Value2>
<Error2Radius>0.05</Error2Radius></Position2D></AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>
{citation}</voe:VOEvent>
"""


class Line(NamedTuple):
    """What somebody logged, and when in virtual seconds."""

    time: float
    agent: str
    text: str


class _Client(Protocol):
    """Sends bytes at once, and keeps what is answered."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.answer = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._data)

    def dataReceived(self, data: bytes) -> None:
        self.answer += data


class _Clients(Factory):
    noisy = False

    def __init__(self, client: _Client) -> None:
        self._client = client

    def buildProtocol(self, addr: Any) -> _Client:
        return self._client


class Rehearsal:
    """The observatory of the repository's ``observatory`` folder, in a folder of its own, in its site's night.

    ``devices`` replaces keys of the simulators' descriptions, ``options`` adds lines to agents' sections, ``rules``
    replaces the alert rules (None: the repository's), ``optional`` are instruments that the demo does without; with
    ``guardian`` there is one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        devices: dict[str, dict[str, Any]] | None = None,
        options: dict[str, dict[str, Any]] | None = None,
        rules: str | None = RULES,
        hours_after_midnight: float = 0.0,
        seed: str = "rehearsal",
        optional: tuple[str, ...] = (),
        guardian: bool = False,
    ) -> None:
        self.folder = folder
        self.instruments = tuple(name for name in INSTRUMENTS if name in DEMO_INSTRUMENTS + optional)
        shutil.copytree(REPOSITORY / "observatory", folder / "observatory")
        if rules is not None:
            (folder / "observatory" / "alert_rules.yaml").write_text(rules)
        for name in self.instruments:
            _replace(folder / "observatory" / "simulators" / f"{name}.yaml", (devices or {}).get(name, {}))
        self.config = configuration.load(_write_configuration(folder, self.instruments, options or {}, guardian))
        self.site = Site.load(self.config.site)
        self.reactor = MemoryReactor()
        night = next_night(self.site, DATE)
        self.clock = VirtualClock(
            self.reactor, datetime.fromtimestamp(night.timestamp() + 3600 * hours_after_midnight, UTC)
        )
        self.log: list[Line] = []
        self.watchers: list[Callable[[], None]] = []
        self._observer = cast("Any", self._observe)
        self._instant, self._things = 0.0, 0
        globalLogPublisher.addObserver(self._observer)
        self._seed = seed
        self.observatory = Observatory(
            self.config, self.reactor, self.clock, threaded=False, durable=False, seed=seed, guardian="inline"
        )
        self.simulators: dict[str, Simulator] = {
            simulator.description.device: simulator for simulator in self.observatory.simulators
        }
        started = self.observatory.start()
        assert started.called, "the observatory starts at once"
        started.addErrback(lambda failure: failure.raiseException())

    # Time ---------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self.reactor.seconds()

    def run(self, seconds: float) -> None:
        """Let so much time pass; the watchers look at every instant at which something happens."""
        self.reactor.run_until(self.now + seconds, self._looked)

    def until(self, condition: Callable[[], Any], seconds: float = 900.0) -> float:
        """Let time pass until the condition holds, and return when that was; fail after so many seconds."""
        end = self.now + seconds
        if not self.reactor.run_until(end, lambda: self._looked() or bool(condition())):
            pytest.fail(f"waited {seconds:g} virtual seconds in vain; the last lines of the log:\n{self._tail()}")
        return self.now

    def _tail(self) -> str:
        return "\n".join(f"{line.time:9.3f} {line.agent}: {line.text}" for line in self.log[-25:])

    def _looked(self) -> bool:
        """Called between any two things that happen."""
        self._instant, self._things = self.now, self._things + 1 if self._instant == self.now else 0
        if self._things > _MOST_THINGS:
            pytest.fail(f"at {self.now:g} virtual seconds things happen without end; the last lines:\n{self._tail()}")
        for watcher in self.watchers:
            watcher()
        return False

    # What happens outside -----------------------------------------------------------------------------------------

    def connect(self, port: int, data: bytes) -> _Client:
        """Open an in-memory connection and send bytes; the client keeps the answer."""
        client = _Client(data)
        TCP4ClientEndpoint(self.reactor, "127.0.0.1", port).connect(_Clients(client))
        return client

    def place(self, altitude: float = 65.0, azimuth: float = 90.0) -> tuple[float, float]:
        """Right ascension and declination of what stands there now."""
        return place_overhead(self.site, self.clock.now(), altitude, azimuth)

    def packet(
        self,
        name: str = "pyros.test/first#1",
        place: tuple[float, float] | None = None,
        *,
        role: str = "observation",
        cites: tuple[str, str] | None = None,
    ) -> bytes:
        """A VOEvent about ``place``, 65 degrees up in the east by default; ``cites`` is (kind, name of the cited)."""
        ra, dec = place or self.place()
        citation = (
            f'<Citations><EventIVORN cite="{cites[0]}">ivo://{cites[1]}</EventIVORN></Citations>' if cites else ""
        )
        time = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S")
        return _PACKET.format(role=role, name=name, time=time, ra=ra, dec=dec, citation=citation).encode()

    def publish(self, packet: bytes) -> str:
        """Send a VOEvent to the broker over VTP; returns the role of its answer, ``ack`` or ``nak``."""
        assert self.config.broker is not None
        author = self.connect(self.config.broker.receiver_port, len(packet).to_bytes(4, "big") + packet)
        self.until(lambda: b"Transport>" in author.answer, 10)
        return "ack" if b'role="ack"' in author.answer else "nak"

    def weather(self, **readings: float) -> None:
        """Tell the weather station what to read from now on; nothing: what its description says."""
        lines = [f"SET {name} {value}\n" for name, value in readings.items()] or ["SET climate auto\n"]
        station = self.connect(self.simulators["weather"].port, "".join(lines).encode())
        self.until(lambda: station.answer == b"OK\n" * len(lines), 10)

    def fault(self, device: str, fault: str) -> None:
        """Let something go wrong with a device from now on: a kind and its arguments, or ``clear``."""
        hand = self.connect(self.simulators[device].port, f"FAULT {fault}\n".encode())
        self.until(lambda: hand.answer == b"OK\n", 10)

    def safety(self, safe: bool, reason: str = "smoke") -> None:
        """Have the safety monitor say so from now on."""
        plc = self.connect(
            self.simulators["safety"].port, b"SET safe 1\n" if safe else b"SET safe 0 %s\n" % reason.encode()
        )
        self.until(lambda: plc.answer.startswith(b"OK"), 10)  # and events

    # Who lives and who doesn't ------------------------------------------------------------------------------------

    def stop(self, name: str) -> None:
        """End an agent as `Agent.SHUTDOWN` does: what it moves is made safe first."""
        stopped = self.observatory.hosts[name].stop()
        self.until(lambda: stopped.called, 300)

    def start(self, name: str) -> None:
        """A new agent on the journal that the old one has left."""
        host = Host(load_agent(self.config, name), self.config, self.reactor, self.clock, threaded=False, durable=False)
        self.observatory.hosts[name] = host
        host.start()

    def restart(self, name: str) -> None:
        """The one soon after the other has died."""
        self.kill(name)
        self.run(0.1)
        self.start(name)

    def stop_simulator(self, name: str) -> None:
        stopped = self.simulators[name].stop()
        self.until(lambda: stopped.called, 10)

    def start_simulator(self, name: str) -> None:
        """As when its power comes back: it remembers nothing. (What it was asked before is still in `requests`.)"""
        old = self.simulators[name]
        new = self.simulators[name] = Simulator(old.description, self.reactor, self.clock)
        new.requests.extend(old.requests)
        self.observatory.simulators[self.observatory.simulators.index(old)] = new
        assert new.start().called

    def close(self) -> list[Any]:
        """Stop everything; returns what is left behind: connections, ports, timers."""
        stopped: Deferred[Any] = self.observatory.stop()
        self.watchers.clear()
        self.reactor.run_until(self.now + 600, lambda: stopped.called)
        self.run(1)
        globalLogPublisher.removeObserver(self._observer)
        return [*self.reactor.getDelayedCalls(), *self.reactor.listening]

    def kill(self, name: str) -> None:
        """End an agent as SIGKILL does: it makes nothing safe and tells nobody."""
        host = self.observatory.hosts[name]
        host._finish()
        self.until(lambda: host.stopped.called, 10)

    def person(self, agent: str, name: str, **payload: Any) -> None:
        """Send a message as a person does who has proved the observatory's key."""
        json = Raw(encode_payload(name, payload))
        entry = Entry(0, f"person-{self.now}", name, self.clock.time(), json, self.clock.monotonic())
        self.observatory.hosts[agent]._arrived(Batch([entry], "program:person", proved=True))

    def everybody(self, name: str, **payload: Any) -> None:
        """The same to every agent that lives, as `pyros stop` does."""
        for agent, host in self.observatory.hosts.items():
            if host.running:
                self.person(agent, name, **payload)

    # What can be seen ---------------------------------------------------------------------------------------------

    def state(self, device: str) -> str:
        """What the simulated device is doing."""
        return self.simulators[device].device.state

    def requests(self, device: str, begin: str = "DO ", since: float = 0.0) -> list[tuple[float, str]]:
        """The requests that a simulator has heard, without their numbers, each with its virtual time."""
        lines = [(when, line.split(" ", 1)[1] if line.startswith("#") else line)
                 for when, line in self.simulators[device].requests]  # fmt: skip
        return [(when, line) for when, line in lines if line.startswith(begin) and when >= since]

    def slews(self, since: float = 0.0) -> list[tuple[float, tuple[float, float]]]:
        """When the mount was sent where; a slew that it refused because it was parked came again and counts once."""
        found: list[tuple[float, str]] = []
        for when, line in self.requests("telescope", "DO ", since):
            if line == "DO unpark":
                found.pop()
            elif line.startswith("DO slew"):
                found.append((when, line))
        named = [(when, dict(word.split("=") for word in line.split()[2:])) for when, line in found]
        return [(when, (float(values["ra"]), float(values["dec"]))) for when, values in named]

    def said(self, text: str, agent: str = "", since: float = 0.0) -> list[Line]:
        """The lines of the log that contain the text."""
        return [line for line in self.log if text in line.text and agent in line.agent and line.time >= since]

    def received(self, agent: str, name: str = "%") -> list[tuple[Any, ...]]:
        """(name, sender, when it was taken, payload, traceback) of the messages that the agent has taken."""
        journal = sqlite3.connect(f"file:{self.config.journal(agent)}?mode=ro", uri=True)
        try:
            return journal.execute(
                "SELECT name, sender, taken, payload, error FROM received WHERE name LIKE ? ORDER BY number", (name,)
            ).fetchall()
        finally:
            journal.close()

    def agent(self, name: str) -> Any:
        """The agent that lives now, to look at its state."""
        return self.observatory.hosts[name].agent

    def images(self) -> list[Path]:
        """The FITS files, in the order of their names."""
        return sorted(self.config.data.rglob("*.fits"))

    def objects(self) -> list[str]:
        """The FITS files' OBJECTs in the order of their exposures."""
        headers = [fits.getheader(path) for path in self.images()]
        return [str(header["OBJECT"]) for header in sorted(headers, key=lambda header: str(header["DATE-OBS"]))]

    def _observe(self, event: Any) -> None:
        agent = str(event.get("log_namespace", ""))
        if agent.startswith("twisted."):
            return  # factories that start and stop, named by their addresses in memory
        text = (formatEvent(event) or "").replace(str(self.folder), "")
        if "log_failure" in event:
            text += event["log_failure"].getTraceback()
        self.log.append(Line(self.reactor.seconds(), agent, text))


def _replace(path: Path, keys: dict[str, Any]) -> None:
    lines = [line for line in path.read_text().splitlines() if line.partition(":")[0] not in keys]
    path.write_text("\n".join([*lines, *(f"{key}: {value}" for key, value in keys.items())]) + "\n")


def _port(description: Path) -> int:
    (port,) = re.findall(r"^listen: tcp:(\d+)", description.read_text(), re.MULTILINE)
    return int(port)


def _write_configuration(
    folder: Path, instruments: tuple[str, ...], options: dict[str, dict[str, Any]], guardian: bool
) -> Path:
    ports = {name: _port(folder / "observatory" / "simulators" / f"{name}.yaml") for name in instruments}
    lines = [
        "[observatory]", "name = rehearsal", "site = observatory/site.yaml",
        "alert_rules = observatory/alert_rules.yaml",
        "simulators = " + " ".join(f"observatory/simulators/{name}.yaml" for name in ports),
        "[broker]",
        *(f"{key} = {value}" for key, value in options.get("broker", {}).items()),
        *["[guardian]", "port = 5099"] * guardian,
    ]  # fmt: skip
    agents = [name for name in STANDARD_AGENTS if name in instruments or name not in INSTRUMENTS]
    for number, name in enumerate(agents):
        native = {"driver": "native", "address": f"tcp:127.0.0.1:{ports[name]}"} if name in ports else {}
        keys = {"port": 5001 + number} | native | options.get(name, {})
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in keys.items())]
    path = folder / "pyros_agent_config.ini"
    path.write_text("\n".join(lines) + "\n")
    return path


SMALL = {"camera": {"width": 64, "height": 64, "speed": 1}}


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Callable[..., Rehearsal]]:
    """Makes a Rehearsal (images are small and take their time, unless told otherwise), and sees that it ends clean."""
    made: list[Rehearsal] = []

    def make(**keys: Any) -> Rehearsal:
        keys["devices"] = SMALL | keys.get("devices", {})
        made.append(Rehearsal(tmp_path / f"rehearsal-{len(made) + 1}", **keys))
        return made[-1]

    yield make
    for each in made:
        assert each.close() == [], "connections, ports or timers are left behind"


@pytest.fixture
def ready(rehearsal: Callable[..., Rehearsal]) -> Rehearsal:
    """A rehearsal whose weather is known to be safe."""
    night = rehearsal()
    night.until(lambda: night.said("the weather is safe"))
    return night


@pytest.fixture
def exposing(ready: Rehearsal) -> Rehearsal:
    """A rehearsal in the middle of the first of three exposures of ``pyros.test/first``."""
    ready.publish(ready.packet())
    ready.until(lambda: ready.state("camera") == "exposing")
    ready.run(EXPOSURE / 2)
    return ready
