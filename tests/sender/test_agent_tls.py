"""TLS between agents: who may speak with whom, and what is said to others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.address import IPv4Address

from pyros.authority import make_authority, make_certificate
from pyros.config import Address, AgentConfig, load
from pyros.errors import AgentUnreachable, MessageRefused, WireError
from pyros.sender import Sender, ask
from pyros.sender.inbound_tls import InboundTls, PortTls
from tests.builders import spoil_certificate
from tests.conftest import free_port, wait_until
from tests.sender.test_outbound import HearingAgent, TellingAgent, tell

NOW = datetime.now(UTC)


@pytest.fixture
def place(observatory: Callable[..., Any]) -> Any:
    """Two agents, of which one is reached with TLS as if it were on another computer."""
    port = str(free_port())
    made = observatory("telling", hearing={"port": port, "at": f"tls:127.0.0.1:{port}"})
    made.path.write_text(made.path.read_text().replace("name = test", "name = test\ntls = certificates"))
    made.config = load(made.path)
    folder: Path = made.config.certificates
    make_authority(folder, "test", NOW)
    for name in ("telling", "hearing", "program"):
        make_certificate(folder, name, NOW)
    return made


def test_messages_go_between_agents_and_from_programs(place: Any, running: Callable[..., Any]) -> None:
    hearing = HearingAgent()
    running(place, TellingAgent(), hearing)
    tell(place, 0, 50)
    wait_until(lambda: len(hearing.heard) == 50)
    assert hearing.heard == list(range(50))
    assert ask(place.config.agent("hearing"), "status")["agent"] == "hearing"
    with pytest.raises(MessageRefused, match="Nonsense"):
        Sender.send_to("hearing", "Nonsense", config=place.config)


def test_large_messages_go_too(place: Any, running: Callable[..., Any]) -> None:
    hearing = HearingAgent()
    running(place, TellingAgent(), hearing)
    tell(place, 0, 20, size=500_000)
    wait_until(lambda: len(hearing.heard) == 20)


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ("hearing", "the certificate is of 'hearing', and not of 'telling'"),
        ("strange", "it does not know who has signed our certificate"),
        ("ended", "our certificate has expired"),
        ("none", "telling.pem: no such file; pyros cert telling makes it"),
    ],
)
def test_an_agent_with_a_wrong_certificate_is_refused(
    place: Any, running: Callable[..., Any], logged: Callable[[], str], certificate: str, reason: str
) -> None:
    spoil_certificate(place.config.certificates, "telling", certificate, NOW)
    hearing = HearingAgent()
    running(place, TellingAgent(), hearing)
    tell(place, 0, 1)
    wait_until(lambda: reason in logged(), what=reason)
    assert not hearing.heard
    make_certificate(place.config.certificates, "telling", NOW)  # and without a restart
    wait_until(lambda: hearing.heard == [0])


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ("hearing", "its certificate is of 'telling', and not of 'hearing'"),
        ("strange", "is signed by none of those whom we trust"),
        ("ended", "has expired"),
    ],
)
def test_a_receiver_with_a_wrong_certificate_is_told_nothing(
    place: Any, running: Callable[..., Any], logged: Callable[[], str], certificate: str, reason: str
) -> None:
    how = "telling" if certificate == "hearing" else certificate
    spoil_certificate(place.config.certificates, "hearing", how, NOW)
    hearing = HearingAgent()
    running(place, TellingAgent(), hearing)
    tell(place, 0, 1)
    wait_until(lambda: reason in logged(), what=reason)
    assert not hearing.heard
    with pytest.raises(MessageRefused, match="certificate"):
        ask(place.config.agent("hearing"), "status")


def test_a_program_needs_a_certificate(place: Any, running: Callable[..., Any]) -> None:
    running(place, HearingAgent())
    (place.config.certificates / "program.pem").unlink()
    with pytest.raises(AgentUnreachable, match=r"programs need .*program.pem and ca.pem there: .*pyros cert program"):
        ask(place.config.agent("hearing"), "status")


def test_one_without_tls_is_told_what_is_missing(
    observatory: Callable[..., Any], running: Callable[..., Any], logged: Callable[[], str]
) -> None:
    port = str(free_port())
    place = observatory("telling", hearing={"port": port, "at": f"tls:127.0.0.1:{port}"})
    running(place, TellingAgent(), HearingAgent())
    tell(place, 0, 1)
    wait_until(lambda: "[observatory] tls names no folder of certificates (pyros cert)" in logged())


class Far:
    """A transport to another computer."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", self._peer, 40_000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 5_000)


@pytest.mark.parametrize("data", [b"Close\n", b"\x00\x00\x00\x02{}"])
def test_nothing_is_taken_from_another_computer_without_tls(data: bytes) -> None:
    section = AgentConfig("dome", "0.0.0.0", 5_000, "")
    with pytest.raises(WireError, match="from another computer nothing is taken without TLS"):
        InboundTls(PortTls(section)).takes(Far("192.0.2.2"), data)
    assert not InboundTls(PortTls(section)).takes(Far("192.0.2.1"), data)
    assert not InboundTls(PortTls(section)).takes(Far("127.0.0.1"), data)
    dangerous = PortTls(msgspec.structs.replace(section, dangerous=True))
    assert not InboundTls(dangerous).takes(Far("192.0.2.2"), data)


@pytest.mark.parametrize(
    ("address", "encrypted"),
    [({"ip": "0.0.0.0"}, False), ({"ip": "192.0.2.1"}, True), ({"at": Address("localhost", 1)}, False),
     ({"at": Address("localhost", 1, True)}, True), ({"at": Address("dome.example.org", 1)}, True),
     ({"at": Address("dome.example.org", 1), "dangerous": True}, False)],
)  # fmt: skip
def test_what_is_encrypted(address: dict[str, Any], encrypted: bool) -> None:
    section = msgspec.structs.replace(AgentConfig("dome", "127.0.0.1", 1, ""), **address)
    assert section.encrypted is encrypted
