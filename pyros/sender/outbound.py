"""From an outbox to the other agents: one link each, kept connected, sending in a window, resuming after a break.

Everything here runs in the reactor's thread. The journal's writer (an agent, the broker) calls `Outbound.post` after
its commit, and is told what was acknowledged, to forget it in a later transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from pyros import wire
from pyros.config import AgentConfig, Config, is_here
from pyros.errors import UnknownAgent
from pyros.journal import AnyJournal, AnyReader, Outgoing
from pyros.reactor import Reactor
from pyros.sender.amqp import AmqpCaller, amqp_ready
from pyros.sender.carrier import AmqpCarrier, Carrier, TcpCarrier
from pyros.sender.handshake import SenderHandshake, observatory_key
from pyros.sender.lanes import bulk_lane, is_bulk, main_lane
from pyros.sender.link import AgentLink, Complete, OnAnswer
from pyros.sender.liveness import Path
from pyros.sender.tls import AgentTls
from pyros.unique import new_name


class Outbound:
    """All links of one journal's outbox."""

    def __init__(
        self,
        reactor: Reactor,
        config: Config,
        owner: str,
        journal: AnyJournal,
        on_answer: OnAnswer,
        on_confirm: Callable[[str, int], None],
        on_old_copy: Callable[[str, str], None],
        complete: Complete = lambda entry: entry,
    ) -> None:
        """Prepare the links; ``owner`` is the name the other agents see.

        ``on_answer(agent, seq, refusals)`` is called when an agent has committed up to ``seq``;
        ``on_confirm(agent, last)``, which may come several times, when an agent that the journal has as unconfirmed has
        number ``last``: that must be stored (`Effects.confirmed`) before anything is sent there.
        ``on_old_copy(key, text)`` is told where the journal is found to be older than what an agent has of it.
        ``complete(entry)`` makes of what the outbox keeps of a message what is sent. All run in the reactor's thread.
        """
        self._reactor = reactor
        self._config = config
        self._owner = owner
        self._journal = journal
        self._on_answer = on_answer
        self._on_confirm = on_confirm
        self._on_old_copy = on_old_copy
        self._complete = complete
        self._links: dict[str, AgentLink] = {}
        self._renumbered: set[str] = set()
        """Agents whose waiting messages are getting higher numbers."""
        self.without_fleeting: set[str] = set()
        """Agents of an older PYROS, to whom fleeting messages must be sent like all others; any thread may read."""
        self.with_lanes: set[str] = set()
        """Agents that take bulk on a lane of its own, and to whom nothing waits that was said before; any thread may
        read."""
        self._lanes: set[str] = set()
        """Agents that take bulk on a lane of its own."""
        self._reader: AnyReader | None = None
        self._key: bytes | None = None
        self._run = new_name(8)
        self._paths: dict[str, Path] = {}
        self._path_of: dict[str, Path] = {}
        """The path to each agent."""
        self._tls = AgentTls(config.certificates)
        self._callers: dict[bool, AmqpCaller] = {}
        """The connections to RabbitMQ: one for what is bulk, one for all else."""

    def start(self) -> None:
        """Connect to every agent for which messages wait.

        Raises ConfigError as `observatory_key` and `amqp_ready` do.
        """
        amqp_ready(self._config)
        self._reader = self._journal.reader()
        self._key = observatory_key(self._config)
        for agent in dict.fromkeys(map(main_lane, self._journal.waiting)):  # which tells whether it has lanes
            try:
                self._link(agent)
            except UnknownAgent:
                Logger(self._owner).error("messages wait for {agent}, which is not configured any more", agent=agent)

    def post(self, outgoing: list[Outgoing]) -> None:
        """Send what was just committed, and fleeting messages (without a number), to each agent in this order."""
        runs: dict[str, list[list[wire.Entry]]] = {}
        for message in outgoing:
            of_agent = runs.setdefault(message.agent, [])
            if not of_agent or bool(of_agent[-1][-1].seq) is not bool(message.seq):
                of_agent.append([])
            of_agent[-1].append(message.entry())
        for agent, of_agent in runs.items():
            link = self._link(agent)
            if agent in self._journal.unconfirmed:
                link.confirm_again()
            for entries in of_agent:
                if entries[-1].seq:
                    link.post(entries, entries[-1].seq)
                else:
                    link.post_fleeting(entries)

    def _welcomed(self, lane: str, welcome: wire.Welcome) -> None:
        if is_bulk(lane):
            return
        (self.without_fleeting.discard if welcome.fleeting else self.without_fleeting.add)(lane)
        if not welcome.lanes:
            self._lanes.discard(lane)
            self.with_lanes.discard(lane)
            return
        self._lanes.add(lane)
        if self._journal.waiting.get(bulk_lane(lane)):
            self._link(bulk_lane(lane))

    def _empty(self, lane: str) -> None:
        if lane in self._lanes:
            self.with_lanes.add(lane)

    def _confirm(self, agent: str, last: int) -> bool:
        """Whether the journal agrees with an agent about its number; otherwise that is about to be stored."""
        known = self._journal.unconfirmed.get(agent)
        if known is None:
            if agent in self._renumbered:
                self._renumbered.discard(agent)
                self._links[agent].begin_again(last, self._journal.destinations[agent])
            return True
        if last > known and agent not in self._renumbered:
            self._renumbered.add(agent)
            self._on_old_copy(
                f"old copy for {agent}",
                f"{agent} has {last - known} messages of {self._owner} that this journal doesn't know: an old copy was"
                " put in its place; what they told is done, and may be told once more",
            )
        self._on_confirm(agent, last)
        return False

    def heard_from(self, agent: str) -> None:
        """Note that bytes have come on a connection which an agent has made."""
        path = self._path_of.get(agent)
        if path is not None:
            path.heard_inbound = self._reactor.seconds()

    def connected(self) -> dict[str, bool]:
        """Which links stand."""
        return {agent: link.connected for agent, link in self._links.items()}

    def stop(self) -> Deferred[None]:
        """Close every link; what was not acknowledged stays in the outbox."""
        links, self._links = list(self._links.values()), {}
        callers, self._callers = list(self._callers.values()), {}

        def close(_: object) -> Deferred[Any]:
            self.close()
            return DeferredList([caller.stop() for caller in callers])

        return DeferredList([link.stop() for link in links]).addCallback(close)

    def close(self) -> None:
        """Read the outbox no more. That is all that is left to do where the reactor is dead, as in a rehearsal."""
        if self._reader is not None:
            self._reader.close()

    def _link(self, agent: str) -> AgentLink:
        link = self._links.get(agent)
        if link is None:
            assert self._reader is not None, "Outbound.start comes first"
            name, epoch = main_lane(agent), self._journal.epoch
            section = self._config.peer(name)
            epoch = bulk_lane(epoch) if is_bulk(agent) else epoch
            greet = partial(SenderHandshake, self._owner, name, epoch, self._key, self._run)
            link = self._links[agent] = AgentLink(
                self._reactor, self._owner, agent, section, self._carrier(agent, section, greet),
                self._reader, self._on_answer, self._complete, self._welcomed, self._empty, self._confirm,
            )  # fmt: skip
            link.post([], self._journal.destinations.get(agent, 0))  # also where only fleeting ones follow
        return link

    def _carrier(self, lane: str, section: AgentConfig, greet: Callable[[], SenderHandshake]) -> Carrier:
        """Return what carries the frames for an agent's lane."""
        encrypt = partial(self._tls.client, self._owner, section.name)
        if section.amqp is None:
            there = section.destination
            path = self._paths.setdefault(str(there) if is_here(there.host) else there.host, Path())
            self._path_of[section.name] = path
            return TcpCarrier(self._reactor, section, path, greet, encrypt)
        path = self._paths.setdefault(section.reached, Path())
        if is_bulk(lane) not in self._callers:
            self._callers[is_bulk(lane)] = AmqpCaller(self._reactor, section.amqp, Logger(self._owner))
        return AmqpCarrier(self._callers[is_bulk(lane)], lane, self._reactor, section, path, greet, encrypt)
