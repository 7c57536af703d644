"""An observatory of real processes: twistd runs each agent, the broker, the guardian and the simulators."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pyros import config as configuration
from pyros import messages
from pyros.config import Config
from pyros.errors import JournalError, PyrosError
from pyros.journal import JournalReader, Received
from pyros.journal.events import EventReader
from pyros.sender import Sender, ask
from tests.conftest import DEMO_AGENTS, DEMO_INSTRUMENTS, PATIENCE, Program, free_port, is_open, wait_until

REPOSITORY = Path(__file__).parents[2]
TWISTD = str(Path(sys.executable).with_name("twistd"))
SIMULATORS, BROKER, GUARDIAN = "simulators", "broker", "guardian"
PROCESSES = (*DEMO_AGENTS, BROKER, GUARDIAN)
"""All but the simulators, which are the world."""
START_SECONDS = 400.0
"""In which all processes must be up: a busy computer takes minutes for them."""
EXPOSURE = 300.0
"""Seconds of each exposure, of which the camera's speed makes few."""


class LiveObservatory:
    """The demo observatory on free ports in a folder of its own; devices are fast, time isn't."""

    def __init__(
        self, folder: Path, *, site: dict[str, Any] | None = None, rules: str = "", clock: str = "night",
        speed: int = 100,
    ) -> None:  # fmt: skip
        """Write it; ``speed`` is the camera's. Nothing runs yet."""
        self.folder, self.speed = folder, speed
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(REPOSITORY / "observatory", folder / "observatory")
        site_file = folder / "observatory" / "site.yaml"
        site_file.write_text(yaml.safe_dump(yaml.safe_load(site_file.read_text()) | (site or {})))
        if rules:
            (folder / "observatory" / "alert_rules.yaml").write_text(rules)
        self.path = folder / "pyros_agent_config.ini"
        self.devices = {name: free_port() for name in DEMO_INSTRUMENTS}
        self._files = [self._write_simulator(name) for name in DEMO_INSTRUMENTS]
        self.path.write_text("\n".join(self._configuration(clock)) + "\n")
        self.config: Config = configuration.load(self.path)
        self.programs: dict[str, Program] = {}
        self.ended: list[Program] = []

    def _configuration(self, clock: str) -> list[str]:
        lines = [
            "[observatory]", "name = live", "data = var", "site = observatory/site.yaml", f"clock = {clock}",
            "alert_rules = observatory/alert_rules.yaml",
            f"simulators = {' '.join(str(file.relative_to(self.folder)) for file in self._files)}",
            "[guardian]", f"port = {free_port()}", "beat = 20", "poll = 1",
            "[broker]", f"receiver_port = {free_port()}", f"broadcaster_port = {free_port()}",
        ]  # fmt: skip
        for name in DEMO_AGENTS:
            lines += [f"[{name}]", f"port = {free_port()}"]
            if name in self.devices:
                lines += ["driver = native", f"address = tcp:127.0.0.1:{self.devices[name]}"]
            if name == "monitoring":
                lines += ["option_safe_after = 5", "closings_hour = 1000", "closings_night = 1000", "missing = 3600"]
        return lines

    def _write_simulator(self, name: str) -> Path:
        path = self.folder / "observatory" / "simulators" / f"{name}.yaml"
        description = yaml.safe_load(path.read_text())
        description["listen"] = f"tcp:{self.devices[name]}:interface=127.0.0.1"
        description["speed"] = {"weather": 1, "safety": 1, "camera": self.speed}.get(name, 10)
        for other in ("telescope", "filter_wheel"):
            if other in description and isinstance(description[other], str):
                description[other] = f"tcp:127.0.0.1:{self.devices[other]}"
        if name == "camera":
            description |= {"width": 64, "height": 64}
        path.write_text(yaml.safe_dump(description))
        return path

    def move(self, site: dict[str, Any]) -> None:
        """Change these keys of the site, and have every agent read it again."""
        file = self.folder / "observatory" / "site.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | site))
        pyros = str(Path(sys.executable).with_name("pyros"))
        done = subprocess.run(
            [pyros, "reload", "--config", str(self.path)], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    # Processes ----------------------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start processes, all at once, and wait until each of them is up."""
        for name in names:
            self.programs[name] = Program([TWISTD, "-n", "--pidfile=", *self._arguments(name)], self.folder, {})
        for name in names:
            program = self.programs[name]

            def up(program: Program = program, name: str = name) -> bool:
                assert program.process.poll() is None, f"{name} has ended: {program.output[-2000:]} {program.errors}"
                return all(is_open(port) for port in self._ports(name))

            wait_until(up, START_SECONDS, f"{name} to be up")

    def start_all(self) -> None:
        self.start(SIMULATORS)
        self.start(*PROCESSES)

    def kill(self, *names: str) -> None:
        """End processes as SIGKILL does."""
        for name in names:
            self.programs[name].kill(signal.SIGKILL)
        for name in names:
            program = self.programs.pop(name)
            program.wait()
            self.ended.append(program)

    def close(self) -> None:
        for program in [*self.programs.values(), *self.ended]:
            program.close()

    def _arguments(self, name: str) -> list[str]:
        if name == SIMULATORS:
            return ["pyros-simulator", "--config", str(self.path), *map(str, self._files)]
        own = {BROKER: ["pyros-broker"], GUARDIAN: ["pyros-guardian"]}.get(name, ["pyros-agent", "--agent", name])
        return [own[0], "--config", str(self.path), *own[1:]]

    def _ports(self, name: str) -> list[int]:
        assert self.config.broker is not None
        assert self.config.guardian is not None
        match name:
            case "simulators":
                return list(self.devices.values())
            case "broker":
                return [self.config.broker.receiver_port]
            case "guardian":
                return [self.config.guardian.port]
        return [self.config.agent(name).port]

    # What is asked and told ---------------------------------------------------------------------------------------

    def request(self, observation: messages.Observation) -> None:
        """Ask the scheduler for an observation."""
        Sender.send_to("scheduler", messages.OBSERVATION_REQUESTED, observation, config=self.config, timeout=PATIENCE)

    def publish(self, packet: bytes) -> None:
        """Send a VOEvent to the broker and wait for its acknowledgement."""
        assert self.config.broker is not None
        address = ("127.0.0.1", self.config.broker.receiver_port)
        with socket.create_connection(address, timeout=PATIENCE) as author:
            author.sendall(len(packet).to_bytes(4, "big") + packet)
            answer = author.recv(65536)
        assert b'role="ack"' in answer, answer

    def device(self, name: str, line: str) -> str:
        """Return what a simulated device answers to somebody else."""
        with socket.create_connection(("127.0.0.1", self.devices[name]), timeout=PATIENCE) as client:
            client.sendall(f"{line}\n".encode())
            with client.makefile() as answers:
                return next(answer.strip() for answer in answers if not answer.startswith("EVT"))

    def state(self, device: str) -> str:
        """Return what a device is doing, in the words of its kind."""
        return self.device(device, "GET state").removeprefix("OK ")

    def status(self, name: str) -> dict[str, Any]:
        """Return what an agent says of itself; nothing while it isn't up."""
        try:
            found: dict[str, Any] = ask(self.config.agent(name), "status", PATIENCE)
        except PyrosError:
            return {}
        return found

    # What has happened --------------------------------------------------------------------------------------------

    def received(self, agent: str, name: str = "") -> list[Received]:
        """Return the messages that an agent has taken, the oldest first; none while its journal cannot be read."""
        try:
            with closing(JournalReader(self.config.journal(agent))) as journal:
                return [row for _, row in journal.received(last=100_000) if name in ("", row.name)]
        except JournalError:
            return []

    def arrived(self, ivorn: str) -> float:
        """Return when the broker got a packet, Unix seconds of the observatory."""
        with closing(EventReader(self.config.journal("broker"))) as journal:
            found = journal.arrival(ivorn)
        assert found is not None
        return found[0]

    def reports(self, name: str = messages.OBSERVATION_FINISHED) -> list[messages.ObservationReport]:
        """Return what the scheduler was told about ends of observations, the oldest first."""
        rows = self.received("scheduler", name)
        return [msgspec.json.decode(row.payload, type=messages.ObservationReport) for row in rows]

    def images(self, observation: str) -> Counter[int]:
        """Return how many files there are of each image of an observation, by its number in the sequence."""
        pattern = re.compile(rf"{re.escape(observation)}_\d+_(\d+)_")
        found = (pattern.search(path.name) for path in self.config.data.rglob("*.fits"))
        return Counter(int(match[1]) for match in found if match is not None)

    def failures(self) -> list[str]:
        """Return the messages whose handlers failed, and the lines of tracebacks in the logs."""
        failed = [
            f"{agent}: {row.name}: {row.error}" for agent in DEMO_AGENTS for row in self.received(agent) if row.error
        ]
        logs = [program.output + program.errors for program in [*self.programs.values(), *self.ended]]
        return failed + [log[place - 200 : place + 2000] for log in logs if (place := log.find("Traceback")) >= 0]
