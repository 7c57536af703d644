"""The guardian on another computer than the dome's agent: who may beat, and what is said without TLS."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import blockingCallFromThread
from twisted.logger import Logger

from pyros import config as configuration
from pyros.agents.beat import BeatSender
from pyros.agents.runtime.program import background_reactor
from pyros.authority import make_authority, make_certificate
from pyros.clock import RealClock, VirtualClock
from pyros.guardian import Guardian
from pyros.health.asking import of_guardian
from pyros.sender.certificates import examine, names
from tests.builders import MemoryLine, spoil_certificate
from tests.conftest import PATIENCE, free_port, wait_until

NOW = datetime.now(UTC)
DOME = "[dome east]\nport = 5008\ndriver = native\naddress = tcp:127.0.0.1:{nobody}\n"


class TlsGuardianRig:
    """A guardian and the beat of the dome's agent, of a unit, both with certificates; the device is away."""

    def __init__(self, folder: Path, reactor: Any, *, tls: str = "tls = tls") -> None:
        port = free_port()
        path = folder / configuration.FILE_NAME
        path.write_text(
            f"[observatory]\nname = test\n{tls}\n[guardian east]\nlisten = 127.0.0.1:{port}\n"
            f"at = tls:127.0.0.1:{port}\n" + DOME.format(nobody=free_port())
        )
        self.whole = configuration.load(path)
        self.config = self.whole.seen_from("east")
        self.reactor, self.clock = reactor, RealClock(reactor)
        self.presence: list[tuple[bool, str]] = []
        if self.config.certificates is not None:
            make_authority(self.config.certificates, "test", NOW)
            for name in names(self.whole):
                make_certificate(self.config.certificates, name, NOW)

    @contextmanager
    def running(self) -> Iterator[Guardian]:
        guardian, beat = blockingCallFromThread(self.reactor, self._start)
        try:
            yield guardian
        finally:
            blockingCallFromThread(self.reactor, beat.stop)
            blockingCallFromThread(self.reactor, guardian.stop)

    def _start(self) -> tuple[Guardian, BeatSender]:
        guardian = Guardian(self.config, self.reactor, self.clock, send=lambda *_: None)
        guardian.start()
        beat = BeatSender(
            self.reactor,
            self.clock,
            self.config,
            Logger("dome"),
            lambda: True,
            lambda *said: self.presence.append(said),
        )
        beat.start()
        return guardian, beat

    def said(self, reason: str) -> bool:
        return any(reason in said for _, said in self.presence)

    @property
    def plain(self) -> socket.socket:
        assert self.config.guardian is not None
        return socket.create_connection(("127.0.0.1", self.config.guardian.port), PATIENCE)


@pytest.fixture
def reactor() -> Any:
    """Return the process's own: Twisted's TLS sends by that one's time."""
    return background_reactor()


def test_the_domes_agent_beats_by_certificates(tmp_path: Path, reactor: Any) -> None:
    place = TlsGuardianRig(tmp_path, reactor)
    with place.running() as guardian:
        wait_until(lambda: guardian.beats > 0)
        assert place.config.guardian is not None
        said = of_guardian(place.config.guardian, PATIENCE, "east")
        assert said["up"]
        assert said["agent"] == "guardian east"
        assert said["beats"] > 0


@pytest.mark.parametrize(
    ("whose", "certificate", "reason"),
    [
        ("dome east", "program", "ERR"),  # the key alone does not make a beat
        ("dome east", "strange", "it does not know who has signed our certificate"),
        ("dome east", "ended", "our certificate has expired"),
        ("dome east", "none", "dome east.pem: no such file; pyros cert dome east makes it"),
        ("guardian east", "dome east", "its certificate is of 'dome east', and not of 'guardian east'"),
        ("guardian east", "strange", "is signed by none of those whom we trust"),
    ],
)
def test_no_beat_counts_with_a_wrong_certificate_at_either_end(
    whose: str, certificate: str, reason: str, tmp_path: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyros.agents.beat.START_SECONDS", 0)
    place = TlsGuardianRig(tmp_path, reactor)
    spoil_certificate(tmp_path / "tls", whose, certificate, NOW)
    with place.running() as guardian:
        wait_until(lambda: place.said(reason), what=reason)
        assert guardian.beats == 0


def test_strangers_who_come_at_once_are_no_more_than_others(tmp_path: Path, reactor: Any) -> None:
    """All that wait are accepted before any is closed: the bound held for one after the other alone."""
    place = TlsGuardianRig(tmp_path, reactor)
    with place.running() as guardian, ExitStack() as stack:
        wait_until(lambda: guardian.beats > 0)
        everybody_is_there = threading.Event()
        reactor.callFromThread(everybody_is_there.wait, PATIENCE)
        for _ in range(40):
            stack.enter_context(place.plain)
        everybody_is_there.set()
        beats = guardian.beats
        wait_until(lambda: guardian.beats > beats)
        assert len(guardian.connections) <= 16


def test_a_program_on_its_own_computer_asks_without_tls(tmp_path: Path, reactor: Any) -> None:
    place = TlsGuardianRig(tmp_path, reactor)
    with place.running(), place.plain as connection:
        connection.sendall(b"STATUS\n")
        with connection.makefile("rb") as answers:
            assert answers.readline().startswith(b"GUARDIAN 1 ")
            assert b'"beats"' in answers.readline()


def test_plain_text_from_another_computer_is_refused(tmp_path: Path, reactor: Any) -> None:
    place = TlsGuardianRig(tmp_path, reactor)
    memory: Any = MemoryReactorClock()
    assert place.config.guardian is not None
    section = msgspec.structs.replace(place.config.guardian, allow=(ip_network("192.0.2.0/24"),))
    config = msgspec.structs.replace(place.config, guardian=section)
    guardian = Guardian(config, memory, VirtualClock(memory, NOW), send=lambda *_: None)
    guardian.start()
    far = IPv4Address("TCP", "192.0.2.2", 40_000)
    line, connection = MemoryLine(peerAddress=far), memory.tcpServers[0][1].buildProtocol(far)
    connection.makeConnection(line)
    connection.dataReceived(b"STATUS\n")
    assert b"nothing is taken without TLS" in line.value()
    guardian.stop()


def test_without_certificates_nothing_leaves_the_computer(
    tmp_path: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyros.agents.beat.START_SECONDS", 0)
    place = TlsGuardianRig(tmp_path, reactor, tls="")
    assert ["[guardian east] at:" in each for each in examine(place.whole, NOW).problems] == [True]
    with place.running() as guardian:
        wait_until(lambda: place.said("[observatory] tls names no folder of certificates"))
        assert guardian.beats == 0


def test_plain_text_needs_a_dangerous_word(tmp_path: Path, reactor: Any) -> None:
    place = TlsGuardianRig(tmp_path, reactor, tls="tls = DANGEROUSLY_OFF")
    assert place.config.guardian is not None
    assert place.config.guardian.place.dangerous
    assert not examine(place.whole, NOW).problems
