"""The gate's process beside a real service and a real alert manager: only candidates arrive, and none is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyros.config import load
from tests.alerts.test_gate import RUBIN, rubin
from tests.broker.test_broker_kafka import Service, section, service
from tests.cli.conftest import fails
from tests.conftest import PATIENCE, wait_until

if not os.environ.get("CI"):
    pytest.importorskip("confluent_kafka", reason="needs: pip install 'pyros-observatory[kafka]'")
TOPIC = "lsst.alerts"
__all__ = ["section", "service"]


class GateProcess:
    """``pyros broker gate``."""

    def __init__(self, config: Path) -> None:
        self.log = config.parent / "gate.log"
        command: list[str | Path] = [
            Path(sys.executable).with_name("pyros"),
            "broker",
            "gate",
            "gcn",
            "--config",
            config,
        ]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def stop(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(PATIENCE)


@pytest.fixture
def gates() -> Iterator[Callable[[Path], GateProcess]]:
    made: list[GateProcess] = []

    def start(config: Path) -> GateProcess:
        made.append(GateProcess(config))
        return made[-1]

    yield start
    for each in made:
        each.process.kill()
        each.process.wait()


def own_rules(config: Path) -> Path:
    """Return a configuration beside it that differs in its rules and has the schema."""
    (config.parent / "lsst.avsc").write_text(json.dumps(RUBIN))
    (config.parent / "gate_rules.yaml").write_text(
        "rules:\n  - {name: bright, when: {stream: lsst, max_magnitude: 22}, observe: [{filter: r, seconds: 1}]}\n"
    )
    other = config.with_name("gate.ini")
    text = config.read_text()
    assert "rules.yaml" in text
    other.write_text(text.replace("rules.yaml", "gate_rules.yaml"))
    return other


def test_only_candidates_arrive_and_a_kill_loses_none(
    service: Callable[..., Service], section: Any, gates: Any, alert_manager: Any
) -> None:
    lsst = service(TOPIC)
    config = section(lsst.address, topics=TOPIC, gate="yes", group="surveys")
    with config.open("a") as file:
        file.write("schema = lsst.avsc\n")
    gate_config = own_rules(config)
    manager = alert_manager(config)
    gate = gates(gate_config)
    packets = {number: rubin(number, flux=9000.0 if number % 10 == 0 else 300.0) for number in range(1, 101)}
    lsst.produce(TOPIC, *(packets[number] for number in range(1, 51)))
    wait_until(lambda: manager.count() >= 5)
    gate.stop(signal.SIGKILL)
    lsst.produce(TOPIC, b"no packet", *(packets[number] for number in range(51, 101)))
    again = gates(gate_config)
    wait_until(lambda: manager.count() and len(manager.received()) >= 10)
    again.stop(signal.SIGTERM)
    arrived = {json.loads(packet)["diaSourceId"] for packet in manager.received()}
    assert arrived == set(range(10, 101, 10))
    assert set(manager.decided()) == {f"lsst.alert:{1000 + number}:{number}" for number in range(10, 101, 10)}
    assert again.said("a packet is dropped: neither an Avro container")
    assert again.said("candidates")
    assert again.process.returncode == 0


def test_a_section_without_a_gate_is_refused_and_the_broker_leaves_one_with_it(section: Any) -> None:
    config = section("127.0.0.1:9", gate="yes")
    assert load(config).broker.kafka[0].gate  # type: ignore[union-attr]
    told = "[kafka other]: no such section with gate = yes; there are gcn"
    fails(["broker", "gate", "other", "--config", config], told)
