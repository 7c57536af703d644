"""What the observatory publishes itself: from an agent's outbox to plain Comet, once, whatever is killed."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pyros import config as configuration
from pyros import messages, wire
from pyros.alerts import parse
from pyros.errors import PyrosError
from pyros.keys import make_key
from pyros.messages import Publish, SourceFound, encode_payload
from pyros.sender import Sender, ask
from pyros.sender.handshake import SenderHandshake
from tests.broker.conftest import make_event
from tests.conftest import PATIENCE, free_ports, wait_until

BIN = Path(sys.executable).parent
SCRIPT = Path(__file__).with_name("broker_process.py")
REPOSITORY = Path(__file__).parents[2]
Until = Callable[..., Any]


class BrokerAndManager:
    """A configuration with a broker and an alert manager, and the processes that run them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        manager, self.port, self.receiver, self.broadcaster = free_ports(4)
        for name in ("site.yaml", "alert_rules.yaml"):
            shutil.copy(REPOSITORY / "observatory" / name, folder)
        self.path = folder / "pyros_agent_config.ini"
        self.path.write_text(
            "[observatory]\nname = test\nsite = site.yaml\nalert_rules = alert_rules.yaml\n"
            f"[alert_manager]\nport = {manager}\noption_change = 0\n"  # every measurement is published
            f"[broker]\nport = {self.port}\nreceiver_port = {self.receiver}\nbroadcaster_port = {self.broadcaster}\n"
            "ivo = ivo://my.observatory/telescope\npublish = yes\n"
        )
        self.config = configuration.load(self.path)
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *command: Any) -> subprocess.Popen[str]:
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                list(map(str, command)), stdout=subprocess.PIPE, stderr=log, text=True, cwd=self.folder
            )
        self.processes.append(process)
        return process

    def start_broker(self) -> subprocess.Popen[str]:
        process = self.start(sys.executable, SCRIPT, self.path)
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        assert ports["port"] == self.port, ports
        return process

    def start_manager(self, until: Until) -> subprocess.Popen[str]:
        process = self.start(
            BIN / "twistd", "-n", "--pidfile=", "--logfile=agent.log", "pyros-agent", "--config", self.path,
            "--agent", "alert_manager",
        )  # fmt: skip
        until(lambda: _answers(self.config))
        return process

    def start_comet(self, until: Until) -> Path:
        """Start a plain subscriber; returns the folder where it saves what it gets."""
        self.start(
            BIN / "twistd", "-n", "--pidfile=", "--logfile=comet.log", "comet", "--local-ivo=ivo://test.other/comet",
            f"--remote=127.0.0.1:{self.broadcaster}", "--save-event", "--save-event-directory=saved", "--eventdb=db",
        )  # fmt: skip
        until(lambda: "has connected" in (self.folder / "log").read_text())
        return self.folder / "saved"

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.config.journal('broker')}?mode=ro", uri=True)) as journal:
            return journal.execute(query).fetchall()

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


def _answers(config: Any) -> bool:
    try:
        ask(config.agent("alert_manager"), "status")
    except PyrosError:
        return False
    return True


@pytest.fixture
def place(tmp_path: Path) -> Iterator[BrokerAndManager]:
    made = BrokerAndManager(tmp_path / "place")
    yield made
    made.close()


def found(number: int) -> SourceFound:
    return SourceFound(
        observation="obs-1", alert="ivo://a/b#1", event="a:1", ra=10, dec=20, magnitude=15 + number / 100, filter="r",
        time=1.7e9 + number,
    )  # fmt: skip


def magnitudes(packets: list[bytes]) -> list[str]:
    return sorted(packet.partition(b'name="Magnitude" value="')[2].partition(b'"')[0].decode() for packet in packets)


def test_plain_comet_gets_each_once_though_the_broker_is_killed(place: BrokerAndManager) -> None:
    broker, _ = place.start_broker(), place.start_manager(wait_until)
    saved = place.start_comet(wait_until)
    wait_until(lambda: place.rows("SELECT 1 FROM subscribers"), what="the broker to know it, after a kill as well")

    def send(*numbers: int) -> None:
        for number in numbers:
            Sender.send_to("alert_manager", messages.SOURCE_FOUND, found(number), config=place.config)

    def packets() -> list[bytes]:
        return [path.read_bytes() for path in saved.glob("*") if path.stat().st_size]

    send(0)
    wait_until(lambda: len(packets()) == 1)
    (alert,) = map(parse, packets())
    assert alert.ivorn is not None
    assert alert.ivorn.startswith("ivo://my.observatory/telescope/followup#obs-1/detection-")
    assert (alert.citations, alert.role, alert.target) == ((("ivo://a/b#1", "followup"),), "observation", (10.0, 20.0))

    send(*range(1, 6))
    broker.kill()
    broker.wait()
    send(*range(6, 11))
    place.start_broker()
    send(11)
    wait_until(lambda: len(place.rows("SELECT 1 FROM events")) == 12)
    expected = magnitudes([f'name="Magnitude" value="{15 + number / 100:.10g}"'.encode() for number in range(12)])
    assert magnitudes([row[0] for row in place.rows("SELECT packet FROM events")]) == expected
    assert {row[0] for row in place.rows("SELECT source FROM events")} == {"agent alert_manager"}
    wait_until(lambda: len(packets()) == 12)  # a known subscriber gets what it has missed
    assert place.rows("SELECT * FROM outbox") == [], "none is an alert to follow up"
    assert place.rows("SELECT * FROM rejected") == []


def test_what_is_no_event_of_ours_is_refused_with_a_reason(place: BrokerAndManager) -> None:
    place.start_broker()
    decoder = wire.Decoder()
    answers: list[Any] = []
    good = make_event("ivo://my.observatory/telescope/followup#1")
    said = [
        (messages.PUBLISH, encode_payload(messages.PUBLISH, Publish(b"<a/>"))),
        (messages.PUBLISH, encode_payload(messages.PUBLISH, Publish(good))),
        (messages.PUBLISH, encode_payload(messages.PUBLISH, Publish(good))),
        (messages.PUBLISH, encode_payload(messages.PUBLISH, Publish(good.replace(b"a burst", b"no burst")))),
        (messages.PUBLISH, b'{"packet": 5}'),
        (messages.SLEW, b"{}"),
    ]
    entries = [wire.Entry(seq, str(seq), name, 1.0, _raw(json)) for seq, (name, json) in enumerate(said, 1)]
    with socket.create_connection(("127.0.0.1", place.port), timeout=PATIENCE) as agent:
        handshake = SenderHandshake("somebody", "broker", "e", make_key(place.config.key_file))
        agent.sendall(wire.encode_frame(wire.Frame(hello=handshake.hello)))
        (asked,) = decoder.feed(agent.recv(65536))
        assert isinstance(asked, wire.Frame)
        assert asked.challenge
        agent.sendall(wire.encode_frame(handshake.prove(asked.challenge, 0.0)))
        agent.sendall(wire.encode_frame(wire.Frame(messages=entries)))
        while len(answers) < 7:
            answers += decoder.feed(agent.recv(65536))
    acks = [(each.ack, each.refused[0].reason if each.refused else "") for each in answers if each.ack]
    assert [ack for ack, _ in acks] == [1, 2, 3, 4, 5, 6]
    reasons = [reason for _, reason in acks]
    assert "not a VOEvent" in reasons[0]
    assert reasons[1:3] == ["", ""], "that it comes again is no mistake"
    assert "conflicts with the event that is stored" in reasons[3]
    assert "$.packet" in reasons[4]
    assert "the broker takes no message 'Slew'" in reasons[5]
    assert len(place.rows("SELECT 1 FROM events")) == 1


def _raw(json: bytes) -> Any:
    from msgspec import Raw

    return Raw(json)


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (wire.Frame(hello=wire.Hello(protocol=1, sender="a", to="scheduler", epoch="e")), "this is broker, not"),
        (wire.Frame(hello=wire.Hello(protocol=9, sender="a", to="broker", epoch="e")), "protocol 9"),
        (wire.Frame(messages=[]), "this is the broker; it answers"),
    ],
)
def test_who_speaks_otherwise_is_told(place: BrokerAndManager, frame: wire.Frame, error: str) -> None:
    place.start_broker()
    with socket.create_connection(("127.0.0.1", place.port), timeout=PATIENCE) as agent:
        agent.sendall(wire.encode_frame(frame))
        answer = b"".join(iter(lambda: agent.recv(65536), b""))
    (said,) = wire.Decoder(frames=True).feed(answer)
    assert isinstance(said, wire.Frame)
    assert error in (said.error or "")
