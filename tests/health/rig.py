"""An observatory that is well without a process: journals that this process holds, and ports that answer."""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from pathlib import Path
from typing import Any

from pyros import config as configuration
from pyros import keys, wire
from pyros.agents.monitoring import Link, MonitoringState
from pyros.agents.night_state import MajordomeState
from pyros.agents.night_table import State
from pyros.config import Config
from pyros.jobs import ledger
from pyros.journal import Journal
from pyros.journal.events import SCHEMA as EVENTS
from pyros.messages import ImageAnalysed, JobRequest, Telemetry, WeatherReading
from tests.conftest import free_ports
from tests.views.written import received, write

AGENTS = ("alert_manager", "scheduler", "majordome", "observation_manager", "monitoring", "analyzer", "jobs", "weather",
          "dome", "telescope", "camera", "focuser")  # fmt: skip
SHARED = ("alert_manager", "jobs", "weather")
"""What two telescopes share."""
DEVICES = ("weather", "dome", "telescope", "camera", "focuser")
SITE = Path(__file__).resolve().parents[2] / "observatory" / "site.yaml"
_RULES = """
rules:
  - name: everything
    observe:
      - {filter: r, seconds: 10, count: 1}
"""


class Ports:
    """Answers for all agents, from one thread."""

    def __init__(self) -> None:
        self.says: dict[int, bytes] = {}
        """What each port says to whoever has said something; without it, it accepts and says nothing."""
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="ports")
        self._listening: dict[int, socket.socket] = {}
        self._ends = False

    def listen(self, ports: list[int]) -> None:
        for port in ports:
            listening = socket.create_server(("127.0.0.1", port))
            self._listening[port] = listening
            self._selector.register(listening, selectors.EVENT_READ)
        self._thread.start()

    def _run(self) -> None:
        while not self._ends:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken or self._ends:
                    continue
                connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                port = connection.getsockname()[1]
                with connection:
                    if answer := self.says.get(port):
                        connection.settimeout(10)
                        connection.recv(65536)
                        connection.sendall(answer)

    def close(self) -> None:
        self._ends = True
        self._wake.sendall(b"x")
        self._thread.join()
        for listening in (*self._listening.values(), self._wake, self._woken):
            listening.close()
        self._selector.close()


class HealthRig:
    """The observatory, and what a test does to it. Close it.

    With ``unit`` and ``other`` it has two telescopes; what is called by its kind here is that of ``unit``.
    """

    def __init__(self, folder: Path, unit: str = "", other: str = "") -> None:
        self.folder = folder
        self.file = folder / "observatory.ini"
        self.sections = {name: name if name in SHARED else f"{name} {unit}".strip() for name in (*AGENTS, "guardian")}
        if other:
            self.sections |= {f"{name} {other}": f"{name} {other}" for name in self.sections if name not in SHARED}
            self.sections["central_scheduler"] = "central_scheduler"
        self.agents = tuple(name for name in self.sections if not name.startswith("guardian"))
        numbers = free_ports(len(self.sections) + 3)
        self.port = dict(zip((*self.sections, "broker", "receiver", "broadcaster"), numbers, strict=True))
        self.site = folder / "site.yaml"
        self.site.write_text(SITE.read_text() + "\nhorizon: [[0, -5]]\n")
        self.rules = folder / "rules.yaml"
        self.rules.write_text(_RULES)
        self.file.write_text(self._ini())
        self.config: Config = configuration.load(self.file)
        keys.make_key(self.config.key_file, "the key")
        self.now = time.time()
        self.monitoring = self._monitoring()
        self.majordome = MajordomeState(state=State.READY, night="2026-11-28", focused=self.now)
        self.journals = {
            name: Journal(
                self.config.journal(self.sections.get(name, name)), durable=False, schema=_SCHEMAS.get(name, "")
            )
            for name in (*self.agents, "broker")
        }
        for name in self.agents:
            if name.split()[0] in DEVICES:
                write(self.journals[name], {"connected": True})
        self.save()
        if other:
            write(self.journals[f"monitoring {other}"], self.monitoring)
            write(self.journals[f"majordome {other}"], self.majordome)
        self.said: dict[str, dict[str, Any]] = {
            name: {"agent": self.sections[name], "since": self.now, "taken": 1} for name in self.agents
        }
        self.said["broker"] = {"since": self.now, "remotes": {}}
        self.guardian: dict[str, Any] = {"since": self.now, "beats": 3, "beat": 0.5, "dome": "closed", "closing": False}
        self.ports = Ports()
        self.answer()
        self.ports.listen(numbers)

    def save(self) -> None:
        """Commit the states of monitoring and majordome."""
        write(self.journals["monitoring"], self.monitoring)
        write(self.journals["majordome"], self.majordome)

    def answer(self) -> None:
        """Let the ports say what they are to say."""
        for name, said in self.said.items():
            self.ports.says[self.port[name]] = wire.encode_frame(wire.Frame(status=said))
        for name, port in self.port.items():
            if name.startswith("guardian"):
                said = self.guardian if name == "guardian" else self.guardian | {"beat": 0.5}
                self.ports.says[port] = f"GUARDIAN 1\n{json.dumps(said)}\n".encode()

    def stop(self, name: str) -> None:
        """Let an agent be dead: its journal is nobody's."""
        self.journals.pop(name).close()

    def fail_message(self, name: str) -> None:
        """Let a handler of an agent have failed."""
        write(self.journals[name], messages=[received("A message", taken=self.now, error="Traceback")])

    def add_job(self, due: float) -> None:
        """Ask for a job."""
        request = JobRequest(id="j1", name="a job", command=("true",))
        write(self.journals["jobs"], also=[lambda db: ledger.add(db, request, "test", due)])

    def add_event(self, when: float) -> None:
        """Let the broker have taken an event."""
        row = ("ivo://pyros.test/x#1", b"1" * 32, b"<voe/>", "test", when, "")
        query = "INSERT INTO events (ivorn, sha256, packet, source, received, topic) VALUES (?, ?, ?, ?, ?, ?)"
        write(self.journals["broker"], also=[lambda db: db.execute(query, row)])

    def close(self) -> None:
        self.ports.close()
        for journal in self.journals.values():
            journal.close()

    def _monitoring(self) -> MonitoringState:
        reading = WeatherReading(temperature=8.0, humidity=55.0, wind=2.0, rain=False, cloud=0.1, dew_point=-0.5)
        telemetry = {name: Telemetry(name, "idle", self.now) for name in DEVICES}
        telemetry["camera"] = Telemetry(
            "camera", "idle", self.now, {"temperature": -10.0, "target": -10.0, "power": 60.0}
        )
        image = self.folder / "image.fits"
        image.write_bytes(b"")
        return MonitoringState(
            safe=True, said=self.now, last=reading, telemetry=telemetry,
            links={name: Link(True, "a simulator", self.now) for name in DEVICES},
            alert_sources={"kafka gcn": Link(True, "heard", self.now)},
            last_image=ImageAnalysed(observation="o", path=str(image), sources=90, fwhm=2.5),
        )  # fmt: skip

    def _ini(self) -> str:
        lines = ["[observatory]", "name = well", "data = var", f"site = {self.site.name}",
                 f"alert_rules = {self.rules.name}", "clock = real", "[broker]", f"port = {self.port['broker']}",
                 f"receiver_port = {self.port['receiver']}", f"broadcaster_port = {self.port['broadcaster']}",
                 "ivo = ivo://pyros.test/well"]  # fmt: skip
        for name, section in self.sections.items():
            kind = name.split()[0]
            lines += [f"[{section}]", f"port = {self.port[name]}"]
            if kind in DEVICES:
                lines += ["driver = native", f"address = tcp:127.0.0.1:{self.port[name]}"]
            lines += _MORE.get(kind, [])
        return "\n".join(lines) + "\n"


_MORE = {
    "jobs": ["app = pyros.agents.jobs"], "majordome": ["option_focus = 2"],
    "monitoring": ["disk_images = 0.001", "disk_dome = 0.0001"], "analyzer": ["option_masters = masters"],
    "telescope": ["option_health = telescope_health.py"],
}  # fmt: skip
_SCHEMAS = {"jobs": ledger.SCHEMA, "broker": EVENTS}
