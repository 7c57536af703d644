"""No message ends an agent: whatever its handling or its commit raises, it is kept as failed and the others go on."""

from __future__ import annotations

import math
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from twisted.python.failure import Failure

from pyros.agents import Agent, Message
from pyros.agents.runtime.batches import Batch
from pyros.agents.runtime.host import Host
from pyros.errors import AgentError, JournalError
from pyros.sender import ask
from pyros.wire import Entry
from tests.conftest import wait_until


class KeptState(msgspec.Struct):
    number: float = 0.0
    names: list[str] = []
    deep: Any = None


class FragileAgent(Agent):
    """Each of its handlers goes wrong in another way, when it is told to."""

    state: KeptState

    def __init__(self) -> None:
        super().__init__("fragile")
        self.actions_by_message |= {"Good": self.good, "Bad": self.bad}
        self.fault: Callable[[], None] = lambda: None

    def work(self) -> None:
        self.execute("CREATE TABLE IF NOT EXISTS mine (n INTEGER UNIQUE)")

    def execute(self, sql: str, *values: Any) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute(sql, values)

        self.in_transaction(write)

    def good(self, message: Message) -> None:
        self.state.names.append(message.id)
        self.execute("INSERT INTO mine VALUES (?)", len(self.state.names))
        self.send_to("other", "Done", {"id": message.id})

    def bad(self) -> None:
        self.state.names.append("bad")
        self.send_to("other", "Never")
        self.fault()


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


def recursion(agent: FragileAgent) -> None:
    recursion(agent)


def nested() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


def raising(error: BaseException) -> Callable[[FragileAgent], None]:
    def fault(agent: FragileAgent) -> None:
        raise error

    return fault


def writing(sql: str, *values: Any) -> Callable[[FragileAgent], None]:
    return lambda agent: agent.execute(sql, *values)


def state(**fields: Any) -> Callable[[FragileAgent], None]:
    def fault(agent: FragileAgent) -> None:
        for name, value in fields.items():
            setattr(agent.state, name, value)

    return fault


FAULTS: dict[str, Callable[[FragileAgent], None]] = {
    "memory": raising(MemoryError()),
    "recursion": recursion,
    "exit": raising(SystemExit(0)),
    "generator": raising(GeneratorExit()),
    "unspeakable": raising(Unspeakable()),
    "surrogates": raising(ValueError("\ud800")),
    "too large for SQLite": writing("INSERT INTO mine VALUES (?)", 2**70),
    "no such table": writing("INSERT INTO nothing VALUES (1)"),
    "no SQL": writing("INSERT OF GRAVITY"),
    "twice the same": writing("INSERT INTO mine VALUES (1), (1)"),
    "a type that SQLite hasn't": writing("INSERT INTO mine VALUES (?)", [1]),
    "a commit of its own": writing("COMMIT"),
    "a rollback of its own": writing("ROLLBACK"),
    "a commit of the connection": lambda agent: agent.in_transaction(lambda db: db.commit()),
    "a write that exits": lambda agent: agent.in_transaction(lambda db: sys.exit()),
    "not a number in the state": state(number=math.nan),
    "infinity in the state": state(number=-math.inf),
    "another type in the state": state(names="abc"),
    "no JSON of the state": state(deep=object()),
    "a state inside itself": lambda agent: setattr(agent.state, "deep", nested()),
    "no state at all": lambda agent: setattr(agent, "state", None),
}


@pytest.fixture
def agent() -> FragileAgent:
    return FragileAgent()


@pytest.fixture
def rig(inline: Callable[..., Any], agent: FragileAgent) -> Any:
    return inline(agent, "other")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_message_to_blame_is_kept_as_failed_alone(
    rig: Any, agent: FragileAgent, inline: Callable[..., Any], fault: Callable[[FragileAgent], None]
) -> None:
    agent.fault = lambda: fault(agent)
    outcome = rig.turn("Good", "Bad", "Good", "Bad")
    assert [each.name for each in outcome.outgoing] == ["Done", "Done"]
    assert agent.state.names == ["other-1", "other-3"]
    assert rig.turns.failed == 2
    failed = [rig.journal.failed_message(number) for number in range(1, 6)]
    assert [each.name for each in failed if each] == ["Bad", "Bad"]
    assert all(each.error for each in failed if each)
    rig.turn("Good")
    again = inline(FragileAgent(), "other")  # its journal is whole
    assert again.agent.state.names == ["other-1", "other-3", "other-5"]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_message_to_blame_can_be_retried(
    rig: Any, agent: FragileAgent, fault: Callable[[FragileAgent], None]
) -> None:
    agent.fault = lambda: fault(agent)
    rig.turn("Bad")
    assert rig.journal.failed_message(1)
    rig.turn(("Retry failed message", b'{"number": 1}'))
    assert rig.journal.failed_message(1), "it fails again, and is still there"
    agent.fault = lambda: None
    rig.turn(("Retry failed message", b'{"number": 1}'))
    assert rig.journal.failed_message(1) is None
    assert agent.state.names == ["bad"]


def test_trouble_with_the_disk_blames_no_message(rig: Any, agent: FragileAgent) -> None:
    def full(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA max_page_count = 1")
        db.execute("CREATE TABLE large (text TEXT)")
        for _ in range(1000):
            db.execute("INSERT INTO large VALUES (?)", ("x" * 4000,))

    agent.fault = lambda: agent.in_transaction(full)
    with pytest.raises(JournalError, match="full"):
        rig.turn("Bad")
    rig.journal.limit_growth(None)
    agent.fault = lambda: None
    rig.turn("Bad")
    assert agent.state.names == ["bad"]
    assert rig.turns.failed == 0


def test_work_that_leaves_no_readable_state_fails(inline: Callable[..., Any]) -> None:
    class Hopeless(FragileAgent):
        def work(self) -> None:
            self.state.number = math.nan

    rig = inline(Hopeless())
    assert isinstance(rig.host.failure, AgentError)
    assert "could not be read back" in str(rig.host.failure)


def test_a_command_that_raises_keeps_no_other_from_being_given(rig: Any, agent: FragileAgent) -> None:
    given: list[str] = []

    def fault() -> None:
        agent.after_commit(lambda: 1 / 0)
        agent.after_commit(given.append, "close")

    agent.fault = fault
    rig.host.loop.receive(Batch([Entry(0, "x", "Bad", 0.0, msgspec.Raw(b"{}"))], "other"))
    rig.reactor.advance(0)
    assert given == ["close"]


def test_an_agent_that_cannot_go_on_says_why_after_it_has_made_safe(
    running: Any, observatory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe: list[str] = []
    monkeypatch.setattr(FragileAgent, "make_safe", lambda _, reason: safe.append(reason))
    hosts: list[Host] = []

    def settle(agent: FragileAgent, host: Host) -> None:
        hosts.append(host)
        Agent.settle(agent, host)

    monkeypatch.setattr(FragileAgent, "settle", settle)
    agent = FragileAgent()
    running(observatory("fragile", "other"), agent)
    (host,) = hosts
    monkeypatch.setattr("pyros.agents.runtime.program.exit_as_failed", lambda: None)
    monkeypatch.setattr(host.turns, "run", lambda *_, **__: 1 / 0)
    agent.post_to_self("Good")
    wait_until(lambda: host.stopped.called)
    assert isinstance(host.failure, ZeroDivisionError)
    assert host.worked
    assert safe == ["the agent cannot go on"]
    assert not isinstance(host.stopped.result, Failure)


def test_a_handler_that_hangs_is_seen_in_the_status(running: Any, observatory: Any) -> None:
    release = threading.Event()

    def hang() -> None:
        release.wait()

    agent = FragileAgent()
    agent.fault = hang
    place = observatory("fragile", "other")
    running(place, agent)
    agent.post_to_self("Bad")
    try:
        handling = wait_until(lambda: ask(place.config.agent("fragile"), "status")["handling"])
        assert handling["message"] == "Bad"
        longer = wait_until(
            lambda: ask(place.config.agent("fragile"), "status")["handling"]["seconds"] > handling["seconds"]
        )
        assert longer
    finally:
        release.set()
    wait_until(lambda: ask(place.config.agent("fragile"), "status")["handling"] is None)


def test_a_busy_agent_forgets_what_is_too_much_and_says_so_once(
    rig: Any, agent: FragileAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyros.journal.limits.MAX_FAILED", 3)
    said: list[str] = []
    monkeypatch.setattr(agent.log, "warn", lambda text, **values: said.append(text.format(**values)))

    def fail() -> None:
        raise RuntimeError

    agent.fault = fail
    for number in range(20):
        rig.reactor.advance(6)
        rig.host.loop.receive(Batch([Entry(0, f"x{number}", "Bad", 0.0, msgspec.Raw(b"{}"))], "other"))
        rig.reactor.advance(0)
        assert rig.host.status()["taken"] == number + 1, "it is never idle"
    assert rig.journal.failed <= 3 + 10
    assert said == ["fragile has too many failed messages: the oldest are forgotten"]
    assert rig.host.status()["forgotten"]["failed messages"] >= 7
