"""Agents that run in the test's own process, in real threads or inline on virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.testing import MemoryReactorClock

from pyros.agents import Agent
from pyros.agents.runtime.batches import Batch, TurnOutcome
from pyros.agents.runtime.host import Host
from pyros.clock import VirtualClock
from pyros.config import AgentConfig, Config
from pyros.journal import SQLITE, AnyJournals, Effects, JournalReader
from pyros.messages import encode_payload
from pyros.wire import Entry

_Reactor: Any = MemoryReactorClock


def make_config(folder: Path, *agents: str) -> Config:
    """Make a configuration that is in no file."""
    return Config(
        path=folder / "pyros_agent_config.ini", name="test", data=folder, site=folder, alert_rules=folder,
        agents={name: AgentConfig(name, "127.0.0.1", 5001 + number, "x") for number, name in enumerate(agents)},
    )  # fmt: skip


class Inline:
    """One agent whose turns run when the test says so, on virtual time and without sockets."""

    make_reactor: Callable[[], Any] = _Reactor

    def __init__(
        self, agent: Agent, folder: Path, *others: str, journals: AnyJournals = SQLITE, **changes: Any
    ) -> None:
        self.agent = agent
        self.reactor: Any = type(self).make_reactor()
        self.clock = VirtualClock(self.reactor, self.begin())
        config = msgspec.structs.replace(make_config(folder, agent.name, *others), **changes)
        self.host = Host(agent, config, self.reactor, self.clock, threaded=False, journals=journals)
        self.host.start()
        self.host.outbound.stop()
        self.reactor.advance(0)  # work()

    def begin(self) -> datetime:
        """When its time begins: by night."""
        return datetime(2026, 3, 20, 23, 30, tzinfo=UTC)

    @property
    def turns(self) -> Any:
        return self.host.turns

    @property
    def journal(self) -> Any:
        return self.host.journal

    def turn(
        self, *messages: tuple[str, bytes] | str, first: int | None = None, peer: str = "other", waited: float = 0.0
    ) -> TurnOutcome:
        """One turn of messages that came from another agent, and were on their way for ``waited`` seconds.

        They are numbered from ``first``, by default on from the last that was taken from that agent.
        """
        pairs = [(message, b"{}") if isinstance(message, str) else message for message in messages]
        said = self.clock.monotonic() - waited
        entries = [
            Entry(seq, f"{peer}-{seq}", name, self.clock.time(), msgspec.Raw(json), said)
            for seq, (name, json) in enumerate(pairs, self.taken(peer) + 1 if first is None else first)
        ]
        return self.run(Batch(entries, peer, (peer, "epoch"), proved=True))

    def say(self, name: str, payload: Any = None, *, peer: str = "other", waited: float = 0.0) -> TurnOutcome:
        """One turn of one message."""
        json = b"{}" if payload is None else encode_payload(name, payload)
        return self.turn((name, json), peer=peer, waited=waited)

    def taken(self, peer: str) -> int:
        """Return the number of the last message that was taken from an agent."""
        last: int = self.journal.seen.get((peer, "epoch"), 0)
        return last

    def run(self, *batches: Batch) -> TurnOutcome:
        outcome: TurnOutcome = self.turns.run(list(batches), Effects())
        return outcome

    def rows(self, query: str) -> list[Any]:
        with closing(JournalReader(self.journal.path)) as reader:
            return reader.rows(query)

    def stop(self) -> None:
        if not self.host.stopped.called:
            self.host.stop()


@pytest.fixture
def inline(tmp_path: Path) -> Iterator[Callable[..., Inline]]:
    """Make an Inline of an agent, the names of others it may send to, and what else its configuration says.

    A second one with the same name lives on the journal of the first, which is stopped.
    """
    made: list[Inline] = []

    def make(agent: Agent, *others: str, **changes: Any) -> Inline:
        for each in made:
            if each.agent.name == agent.name:
                each.stop()
        made.append(Inline(agent, tmp_path, *others, **changes))
        return made[-1]

    yield make
    for each in made:
        each.stop()
