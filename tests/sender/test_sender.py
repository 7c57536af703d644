"""Sender in a plain program: delivered when it returns, and an error that says who, where and why."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from pyros import wire
from pyros.agents import Agent, Message
from pyros.agents.runtime.loop import TurnLoop
from pyros.agents.runtime.port import AgentConnection
from pyros.errors import AgentUnreachable, ConfigError, MessageRefused, UnknownAgent
from pyros.messages import Slew
from pyros.reactor import installed_reactor
from pyros.sender import Sender, ask, reachable
from tests.conftest import wait_until


class KeepingAgent(Agent):
    def __init__(self) -> None:
        super().__init__("keeping")
        self.kept: list[Any] = []
        self.actions_by_message |= {"Keep": self.keep, "Slew": self.keep}

    def keep(self, message: Message) -> None:
        self.kept.append(message.payload)


@pytest.fixture
def place(observatory: Callable[..., Any]) -> Any:
    return observatory("keeping", "other")


@pytest.fixture
def agent(place: Any) -> Iterator[KeepingAgent]:
    agent = KeepingAgent()
    yield agent
    agent.stop()


def numbers(agent: KeepingAgent) -> list[int]:
    return [payload["n"] for payload in agent.kept]


def test_it_returns_when_the_agent_has_committed(place: Any, agent: KeepingAgent) -> None:
    agent.start(place.config)
    message_id = Sender.send_to("keeping", "Keep", {"n": 1}, config=place.config)
    Sender.send_to("keeping", "Slew", Slew(observation="1", ra=1.0, dec=2.0), config=place.config)
    assert place.rows("keeping", "SELECT id FROM received WHERE name = 'Keep'") == [(message_id,)]
    assert agent.kept == [{"n": 1}, Slew(observation="1", ra=1.0, dec=2.0)]


def test_the_address_comes_from_the_environments_file(
    place: Any, agent: KeepingAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.start(place.config)
    monkeypatch.setenv("PYROS_AGENT_CONFIG", str(place.path))
    Sender.send_to("keeping", "Keep")
    assert agent.kept == [{}]
    monkeypatch.setenv("PYROS_AGENT_CONFIG", str(place.folder / "nowhere.ini"))
    with pytest.raises(ConfigError, match="no such file"):
        Sender.send_to("keeping", "Keep")


def test_nobody_there_is_told_with_agent_address_and_reason(place: Any) -> None:
    where = place.config.agent("other").where
    with pytest.raises(AgentUnreachable) as caught:
        Sender.send_to("other", "Keep", config=place.config)
    assert str(caught.value) == f"agent 'other' at {where}: Connection refused (is it running?)"
    assert (caught.value.agent, caught.value.address) == ("other", where)
    with pytest.raises(AgentUnreachable, match=f"agent 'other' at {where}: Connection refused"):
        ask(place.config.agent("other"), "status")


def test_a_message_whose_sending_failed_is_not_delivered_later(place: Any, agent: KeepingAgent) -> None:
    """*Open* that raised at dusk must not open the dome when *Close* is sent at dawn."""
    with pytest.raises(AgentUnreachable):
        Sender.send_to("keeping", "Keep", {"n": 1}, config=place.config)
    agent.start(place.config)
    Sender.send_to("keeping", "Keep", {"n": 2}, config=place.config)
    assert numbers(agent) == [2]


def test_an_unknown_agent(place: Any) -> None:
    with pytest.raises(UnknownAgent, match=r"agent 'dome': no such section in .*\.ini \(there are: keeping, other\)"):
        Sender.send_to("dome", "Open", config=place.config)


@pytest.mark.parametrize(
    ("name", "payload", "told"),
    [
        ("Dance", None, r"keeping takes no message 'Dance' \(it takes: Keep, "),
        ("Retry failed message", {"number": 5}, "5"),
    ],
)
def test_a_message_the_agent_will_not_take(place: Any, agent: KeepingAgent, name: str, payload: Any, told: str) -> None:
    agent.start(place.config)
    with pytest.raises(MessageRefused, match=rf"agent 'keeping' at 127.0.0.1:\d+: .*{told}"):
        Sender.send_to("keeping", name, payload, config=place.config)
    Sender.send_to("keeping", "Keep", {"n": 1}, config=place.config)
    assert numbers(agent) == [1]


@pytest.mark.parametrize(
    ("name", "payload", "told"),
    [
        ("", None, "1 to 200 printable"),
        ("a\nb", None, "1 to 200 printable"),
        ("Keep", [1], "must be a JSON object"),
        ("Slew", {"observation": "1", "ra": 999, "dec": 0}, r"\$.ra"),
        ("Keep", {"a": "x" * wire.MAX_FRAME}, "a frame holds 16777216"),
    ],
)
def test_what_cannot_be_sent_is_told_before(place: Any, name: str, payload: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Sender.send_to("other", name, payload, config=place.config)


def test_another_agent_at_its_address_is_told(place: Any, agent: KeepingAgent, observatory: Callable[..., Any]) -> None:
    agent.start(place.config)
    wrong = observatory(other={"port": str(place.config.agent("keeping").port)})
    with pytest.raises(MessageRefused, match=r"agent 'other' at 127.0.0.1:\d+: this is keeping, not other"):
        Sender.send_to("other", "Keep", config=wrong.config)


@pytest.mark.parametrize(
    ("said", "told"),
    [(b"", "closed|Connection"), (b"HTTP/1.1 400 Bad Request\r\n", "frame of"), (b"\x00\x00\x00\x01[", "bad frame")],
)
def test_something_else_at_its_address_is_told(place: Any, said: bytes, told: str) -> None:
    section = place.config.agent("other")
    with socket.create_server((section.ip, section.port)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(AgentUnreachable, match=rf"agent 'other' at {section.where}: .*({told})"):
            Sender.send_to("other", "Keep", config=place.config, timeout=5)
        thread.join()


def test_an_agent_that_never_answers_is_not_waited_for_longer_than_asked(place: Any) -> None:
    section = place.config.agent("other")
    with socket.create_server((section.ip, section.port)):
        with pytest.raises(AgentUnreachable, match=r"no answer within 0.2 s"):
            Sender.send_to("other", "Keep", config=place.config, timeout=0.2)
        with pytest.raises(AgentUnreachable, match="timed out"):
            ask(section, "status", timeout=0.2)


@pytest.mark.parametrize("said", [wire.encode_frame(wire.Frame(ack=1)), b"\0"], ids=["frames", "bytes of a frame"])
def test_who_says_something_for_ever_is_asked_no_longer(place: Any, said: bytes) -> None:
    section = place.config.agent("other")
    with socket.create_server((section.ip, section.port)) as server:

        def serve() -> None:
            with server.accept()[0] as connection, suppress(OSError):
                connection.sendall(b"\0\xff\xff\xff" * (len(said) == 1))
                while True:
                    connection.sendall(said)
                    threading.Event().wait(0.01)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(AgentUnreachable, match="timed out"):
            ask(section, "status", timeout=0.2)
        thread.join()


@pytest.mark.parametrize("levels", [5_000, 100_000])
def test_an_answer_of_too_many_levels_is_none(place: Any, levels: int) -> None:
    section = place.config.agent("other")
    deep = b'{"status": {"a": ' + b"[" * levels + b"]" * levels + b"}}"
    with socket.create_server((section.ip, section.port)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(len(deep).to_bytes(4, "big") + deep)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(AgentUnreachable, match=r"recursion|too deep"):
            ask(section, "status", timeout=5)
        thread.join()


def test_who_waits_for_ever_is_answered_as_others_are(place: Any, agent: KeepingAgent) -> None:
    agent.start(place.config)
    Sender.send_to("keeping", "Keep", config=place.config, timeout=math.inf)
    assert ask(place.config.agent("keeping"), "status", timeout=math.inf)["agent"] == "keeping"


def test_a_pipeline_arrives_in_order_and_goes_on_over_a_restart(place: Any, agent: KeepingAgent) -> None:
    agent.start(place.config)
    with Sender.open("keeping", config=place.config) as connection:
        for n in range(3000):
            connection.post("Keep", {"n": n})
        connection.flush()
        agent.stop()
        agent.start(place.config)
        for n in range(3000, 6000):
            connection.post("Keep", {"n": n})
    assert numbers(agent) == list(range(6000))


def test_large_messages(place: Any, agent: KeepingAgent) -> None:
    agent.start(place.config)
    with Sender.open("keeping", config=place.config, timeout=60) as connection:  # 60 MB on a busy computer
        for n in range(4):
            connection.post("Keep", {"n": n, "data": "x" * 15_000_000})
    assert numbers(agent) == [0, 1, 2, 3]


def test_threads_share_a_connection(place: Any, agent: KeepingAgent) -> None:
    from concurrent.futures import ThreadPoolExecutor

    agent.start(place.config)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: Sender.send_to("keeping", "Keep", {"n": n}, config=place.config), range(40)))
    assert sorted(numbers(agent)) == list(range(40))


def _idle(status: dict[str, Any]) -> dict[str, Any] | None:
    """Return the status, once the books are kept: an acknowledgement leaves a moment before that."""
    return None if status["waiting"] else status


def test_the_reactor_is_not_woken_only_to_count(
    place: Any, agent: KeepingAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.start(place.config)
    with Sender.open("keeping", config=place.config) as sender:
        sender.send("Keep", {"n": 0})
        woken: list[Any] = []
        reactor = installed_reactor()
        wake = reactor.callFromThread

        def count(call: Any, *args: Any) -> None:
            woken.append(call)
            wake(call, *args)

        monkeypatch.setattr(reactor, "callFromThread", count)
        for n in range(20):
            sender.send("Keep", {"n": n})
        calls = list(woken)  # the end of the connection has the reactor woken for the last message, if it is quick
    assert numbers(agent)[1:] == list(range(20))
    assert [call for call in calls if call.__func__ is not TurnLoop.count_told] == []


def test_what_is_acknowledged_is_counted(place: Any, agent: KeepingAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next message, or before long though no further one comes."""
    counted = []
    commit = AgentConnection.committed

    def count(connection: AgentConnection, *args: Any) -> None:
        commit(connection, *args)
        counted.append(1)

    monkeypatch.setattr(AgentConnection, "committed", count)
    agent.start(place.config)
    with Sender.open("keeping", config=place.config) as sender:
        for n in range(20):
            sender.send("Keep", {"n": n})
        wait_until(lambda: len(counted) == 20)
    assert ask(place.config.agent("keeping"), "status")["waiting"] == 0


def test_the_status_of_an_agent(place: Any, agent: KeepingAgent) -> None:
    agent.start(place.config)
    Sender.send_to("keeping", "Keep", {"n": 1}, config=place.config)
    status = wait_until(lambda: _idle(ask(place.config.agent("keeping"), "status")), what="an empty mailbox")
    assert {key: status[key] for key in ("agent", "taken", "failed", "refused", "waiting", "outbox")} == {
        "agent": "keeping", "taken": 1, "failed": 0, "refused": 0, "waiting": 0, "outbox": {},
    }  # fmt: skip
    with pytest.raises(MessageRefused, match="unknown query 'mood'; there is: status"):
        ask(place.config.agent("keeping"), "mood")


def test_an_address_to_listen_on_and_one_to_connect_to() -> None:
    assert [reachable(ip) for ip in ("0.0.0.0", "::", "10.0.0.1")] == ["127.0.0.1", "::1", "10.0.0.1"]
