"""One agent in a test's own process, on virtual time and without sockets: what all rigs of agents are made of."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.testing import MemoryReactorClock

from pyros import messages
from pyros.agents import Agent
from pyros.agents.runtime.batches import Batch, TurnOutcome
from pyros.agents.runtime.host import Host
from pyros.alerts import events
from pyros.alerts.rules import decisions
from pyros.clock import Clock, VirtualClock
from pyros.config import AgentConfig, Config
from pyros.journal import SQLITE, AnyJournals, Effects, JournalReader
from pyros.messages import AlertReceived, encode_payload
from pyros.wire import Entry

SITE = Path(__file__).parents[1] / "observatory" / "site.yaml"
NIGHT = datetime(2026, 3, 20, 23, 30, tzinfo=UTC)
"""When a rig's time begins."""

_Reactor: Any = MemoryReactorClock


def make_config(folder: Path, *agents: str) -> Config:
    """Make a configuration that is in no file."""
    return Config(
        path=folder / "pyros_agent_config.ini", name="test", data=folder, site=folder, alert_rules=folder,
        agents={name: AgentConfig(name, "127.0.0.1", 5001 + number, "x") for number, name in enumerate(agents)},
    )  # fmt: skip


def batch_of(
    clock: Clock, sender: str, first: int, *said: tuple[str, bytes], age: float | None = 0.0, proved: bool = True,
    died: bool = False,
) -> Batch:  # fmt: skip
    """Make what an agent has said so many seconds ago (None: nobody knows when), numbered from ``first``.

    ``died``: it was killed before it had sent that, and only the wall clocks tell when it was said.
    """
    when = None if age is None or died else clock.monotonic() - age
    entries = [
        Entry(seq, f"{sender}-{seq}", name, clock.time() - (age or 0.0), msgspec.Raw(json), when)
        for seq, (name, json) in enumerate(said, first)
    ]
    return Batch(entries, sender, (sender, "epoch"), proved=proved)


class AgentRig:
    """One agent whose turns run when the test says so."""

    make_reactor: Callable[[], Any] = _Reactor

    def __init__(
        self, agent: Agent, folder: Path, *others: str, journals: AnyJournals = SQLITE, begin: datetime = NIGHT,
        **changes: Any,
    ) -> None:  # fmt: skip
        self.reactor: Any = type(self).make_reactor()
        self.clock = VirtualClock(self.reactor, begin)
        self.config = msgspec.structs.replace(make_config(folder, agent.name, *others), **changes)
        self._journals = journals
        self.start(agent)

    def start(self, agent: Any) -> None:
        """Begin an agent on the journal that the one before has left; the time goes on."""
        self.agent = agent
        self.host = Host(
            agent, self.config, self.reactor, self.clock, threaded=False, durable=False, journals=self._journals
        )
        self.host.start()
        weakref.finalize(self.host, self.host.journal.close)  # Python 3.13 warns of one that ends open
        self.host.outbound.stop()
        self.reactor.advance(0)  # work()

    def stop(self) -> None:
        if not self.host.stopped.called:
            self.host.stop()

    @property
    def turns(self) -> Any:
        return self.host.turns

    @property
    def journal(self) -> Any:
        return self.host.journal

    def turn(
        self, *said: tuple[str, bytes] | str, first: int | None = None, peer: str = "other",
        waited: float | None = 0.0, died: bool = False,
    ) -> TurnOutcome:  # fmt: skip
        """One turn of messages that came from another agent, and were on their way for ``waited`` seconds.

        ``died``: in that agent's journal, for it was dead.
        They are numbered from ``first``, by default on from the last that was taken from that agent.
        """
        pairs = [(each, b"{}") if isinstance(each, str) else each for each in said]
        return self.run(batch_of(self.clock, peer, first or self.taken(peer) + 1, *pairs, age=waited, died=died))

    def hear(
        self, name: str, payload: Any = None, *, peer: str = "other", waited: float | None = 0.0, died: bool = False
    ) -> TurnOutcome:
        """One turn of one message."""
        json = b"{}" if payload is None else encode_payload(name, payload)
        return self.turn((name, json), peer=peer, waited=waited, died=died)

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


def sent(outcome: TurnOutcome, agent: str) -> list[tuple[str, Any]]:
    """Return names and payloads of what a turn has sent to an agent."""
    return [
        (each.name, messages.decode_payload(each.name, each.payload))
        for each in outcome.outgoing
        if each.agent == agent
    ]


class AlertManagerRig(AgentRig):
    """An alert manager with rules of the test's own."""

    def __init__(self, agent: Agent, folder: Path, *others: str, rules: str, **changes: Any) -> None:
        (folder / "rules.yaml").write_text(rules)
        super().__init__(agent, folder, *others, **({"alert_rules": folder / "rules.yaml", "site": SITE} | changes))

    def take(self, *packets: bytes) -> list[tuple[str, Any]]:
        """One turn of packets; what the scheduler is told."""
        name = messages.ALERT_RECEIVED
        outcome = self.turn(*[(name, encode_payload(name, AlertReceived(each, "test", 1.0))) for each in packets])
        assert self.turns.failed == 0
        return sent(outcome, "scheduler")

    def events(self) -> list[events.StoredEvent]:
        with closing(JournalReader(self.journal.path)) as reader:
            return events.read(reader)

    def decisions(self) -> list[decisions.DecisionRecord]:
        with closing(JournalReader(self.journal.path)) as reader:
            return decisions.read(reader)
