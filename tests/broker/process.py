"""A broker in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from pyros import messages
from pyros.broker import send_event
from pyros.errors import JournalError
from pyros.journal import JournalReader
from tests.conftest import PATIENCE

SCRIPT = Path(__file__).with_name("broker_process.py")


def waiting_alerts(journal: Path) -> list[messages.AlertReceived]:
    """Return what waits for the alert manager in a broker's journal, as it will be sent."""
    with closing(JournalReader(journal)) as reader:
        events = dict(reader.rows("SELECT number, packet FROM events"))
        alerts = [messages.decode_payload(entry.name, bytes(entry.payload))
                  for entry in reader.outbox("alert_manager", 0, 100_000)]  # fmt: skip
        assert not any(alert.packet for alert in alerts), "packets are kept once"
        small = {number for number, packet in events.items() if len(packet) <= messages.LARGEST_PACKET}
        return [msgspec.structs.replace(alert, packet=events[alert.kept] if alert.kept in small else b"")
                for alert in alerts]  # fmt: skip


class BrokerProgram:
    """Runs the broker of a configuration, on ports that are free unless ``any_port`` is False."""

    def __init__(self, config: Path, *, any_port: bool = True) -> None:
        self.config, self.log = config, config.parent / "broker.log"
        self.journal = config.parent / "var" / "journals" / "broker.sqlite"
        self._command: list[str | Path] = [sys.executable, SCRIPT, config, *(["--any-port"] if any_port else [])]
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        self.ports: dict[str, int] = json.loads(self.process.stdout.readline())
        self.receiver, self.broadcaster = self.ports["receiver_port"], self.ports["broadcaster_port"]

    def publish(self, packet: bytes) -> None:
        send_event("127.0.0.1", self.receiver, packet)

    def rows(self, query: str) -> list[Any]:
        with closing(JournalReader(self.journal)) as reader:
            return reader.rows(query)

    def count(self) -> int:
        """How many messages wait in the outbox."""
        number: int = self.rows("SELECT count(*) FROM outbox")[0][0]
        return number

    def outbox(self) -> list[messages.AlertReceived]:
        """Return what waits for the alert manager; nothing while there is no journal."""
        try:
            return waiting_alerts(self.journal)
        except JournalError:
            return []

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def stop(self) -> dict[str, Any]:
        """Return its status before it is ended by a signal; nothing may be left of it."""
        self.process.send_signal(signal.SIGTERM)
        status, left = map(json.loads, self.process.communicate(timeout=PATIENCE)[0].splitlines())
        assert left == {"threads": [], "calls": []}
        assert self.process.returncode == 0
        said: dict[str, Any] = status
        return said

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def close(self) -> None:
        """End it if it lives; it may have met nothing unforeseen."""
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert not self.said("Traceback")
