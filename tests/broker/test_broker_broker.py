# mypy: disable-error-code="no-untyped-call,union-attr"
# (Twisted's in-memory transports are not typed.)
"""The whole broker without sockets, as in a rehearsal."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pyros.broker import Broker
from pyros.broker.vtp.protocol import frame
from pyros.clock import VirtualClock
from pyros.config import Config
from pyros.errors import AgentError, ConfigError, JournalError
from pyros.journal import Journal, JournalReader
from tests.broker.conftest import make_config, make_event, outcome
from tests.builders import InlineReactor


def make_broker(config: Config, reactor: InlineReactor, clock: VirtualClock) -> Broker:
    return Broker(config, reactor, clock, threaded=False, durable=False, epoch="0123456789")


def test_an_event_goes_through_without_a_thread(reactor: InlineReactor, clock: VirtualClock, tmp_path: Path) -> None:
    threads = threading.active_count()
    broker = make_broker(make_config(tmp_path), reactor, clock)
    assert broker.status() == {"up": False}
    assert outcome(broker.start()) is None
    broadcaster, receiver = (server[1] for server in reactor.tcpServers)
    protocols = []
    lines = []
    for factory in (broadcaster, receiver):
        address = IPv4Address("TCP", "127.0.0.1", 4242)
        protocol, line = factory.buildProtocol(address), StringTransport(peerAddress=address)
        protocol.makeConnection(line)
        protocols.append(protocol)
        lines.append(line)
    lines[0].clear()
    protocols[1].dataReceived(frame(make_event()))
    reactor.advance(0)
    assert lines[0].value() == frame(make_event())
    assert b'role="ack"' in lines[1].value()
    assert broker.status() == {
        "up": True, "since": clock.time(), "received": 1, "duplicates": 0, "refused": 0, "failed": 0, "events": 1,
        "authors": 1, "remotes": {}, "conflicts": [], "waiting": 1,
        "subscribers": [
            {"peer": "127.0.0.1", "ivo": "", "since": clock.time(), "filters": [],
                 "refused_filters": [], "sent": 1, "unacknowledged": 1}
        ],
    }  # fmt: skip
    assert [client[:2] for client in reactor.tcpClients] == [("127.0.0.1", 5001)], "it tells the alert manager"
    assert threading.active_count() == threads
    for protocol in protocols:
        protocol.connectionLost(Failure(ConnectionDone()))
    stopped = broker.stop()
    if not stopped.called:  # the link to the alert manager is given up by Twisted's client service
        reactor.tcpClients[-1][2].clientConnectionFailed(reactor.connectors[-1], Failure(ConnectionDone()))
    assert outcome(stopped) is None
    reader = JournalReader(make_config(tmp_path).journal("broker"))
    assert [entry.id for entry in reader.outbox("alert_manager", 0, 10)] == ["01234567-1"]
    reader.close()
    assert outcome(broker.stop()) is None, "stopping twice is allowed"


def test_a_configuration_without_broker(reactor: InlineReactor, clock: VirtualClock, tmp_path: Path) -> None:
    empty = Config(path=tmp_path / "x.ini", name="x", data=tmp_path, site=tmp_path, alert_rules=tmp_path, agents={})
    with pytest.raises(ConfigError) as raised:
        make_broker(empty, reactor, clock)
    assert [problem.split(": ")[1] for problem in raised.value.problems] == ["[broker]"]
    assert all(problem.startswith(str(tmp_path / "x.ini")) for problem in raised.value.problems)


def test_a_port_in_use_leaves_nothing_open(
    reactor: InlineReactor, clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = reactor.listenTCP

    def listen_tcp(port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if port == 1:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        return listen(port, factory, backlog, interface)

    monkeypatch.setattr(reactor, "listenTCP", listen_tcp)
    error = outcome(make_broker(make_config(tmp_path), reactor, clock).start())
    assert isinstance(error, AgentError)
    assert str(error).startswith(
        f"{tmp_path / 'pyros_agent_config.ini'}: [broker] receiver_port: cannot listen on 127.0.0.1:1"
    )
    assert "Address already in use" in str(error)
    Journal(make_config(tmp_path).journal("broker")).close()


def test_a_journal_in_use(reactor: InlineReactor, clock: VirtualClock, tmp_path: Path) -> None:
    other = Journal(make_config(tmp_path).journal("broker"))
    error = outcome(make_broker(make_config(tmp_path), reactor, clock).start())
    assert isinstance(error, JournalError)
    assert "in use by process" in str(error)
    other.close()
