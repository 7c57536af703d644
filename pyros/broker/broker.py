"""The VOEvent broker of an observatory: authors, subscribers and other brokers, around one store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from pyros.broker.archiving import Archiving
from pyros.broker.folder import Folder
from pyros.broker.intake import Intake
from pyros.broker.port import BrokerPort
from pyros.broker.replay import Replay
from pyros.broker.store import EventStore
from pyros.broker.vtp.broadcaster import AlertBroadcasterFactory
from pyros.broker.vtp.filtering import Evaluator, InlineFiltering, ProcessFiltering
from pyros.broker.vtp.one_answer import OneAnswerPort
from pyros.broker.vtp.receiver import AlertReceiverFactory
from pyros.broker.vtp.subscriber import RemoteSubscription
from pyros.broker.vtp.tls import SECTION, Tls
from pyros.clock import Clock
from pyros.config import Config, StandardAgents, TlsConfig
from pyros.errors import AgentError, ConfigError, PyrosError, WireError
from pyros.journal import Journal, Outgoing
from pyros.messages import ALARM, AlarmRaised, AlertSource
from pyros.reactor import Reactor
from pyros.sender.handshake import observatory_key
from pyros.sender.inbound_tls import PortTls
from pyros.sender.outbound import Outbound

if TYPE_CHECKING:
    from pyros.broker.kafka.receiver import KafkaIntake

NAME = "broker"
_BACKLOG = 1024  # Twisted's 50 makes long tails when many connect at once

log = Logger(namespace="pyros.broker")


class Broker:
    """One broker. Every method is for the reactor's thread."""

    def __init__(
        self,
        config: Config,
        reactor: Reactor,
        clock: Clock,
        *,
        threaded: bool = True,
        durable: bool = True,
        archives: bool = True,
        epoch: str = "",
    ) -> None:
        """Make a broker that is not started; ``epoch`` names a new journal.

        ``threaded=False`` and ``durable=False`` are for rehearsals, see `EventStore`; so is ``archives=False``: then
        what it takes stays in its journal, and no archive is written.

        Without an alert manager it keeps its events and sends them on, and nothing is decided. Raises ConfigError when
        the configuration lacks [broker].
        """
        if config.broker is None:
            raise ConfigError([f"{config.path}: [{NAME}]: the section is missing; without it there is no broker"])
        self._config, self._broker = config, config.broker
        self._reactor, self._clock = reactor, clock
        decided = StandardAgents.ALERT_MANAGER in config.agents
        self._how: dict[str, Any] = {"threaded": threaded, "durable": durable, "epoch": epoch, "decided": decided}
        self._archives = archives
        self.failure: PyrosError | None = None
        """Why `start` failed; known at once, while what had started may still be ending."""
        self._since = 0.0
        self._ports: dict[str, Any] = {}
        self._port: BrokerPort | None = None
        self._remotes: list[RemoteSubscription] = []
        self._kafka: list[KafkaIntake] = []
        self._folder: Folder | None = None
        self._store: EventStore | None = None
        self._outbound: Outbound | None = None
        self._archiving: Archiving | None = None
        self._filtering: Evaluator = InlineFiltering()

    def start(self) -> Deferred[None]:
        """Open journal and ports, subscribe to the remote brokers; fires when authors and subscribers can connect.

        Fails with AgentError when a port cannot be opened, with JournalError when the journal can't; then nothing is
        left open.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        config, reactor, clock = self._broker, self._reactor, self._clock
        self._tls = Tls(self._config)
        for warning in self._tls.expiring(clock.now()):
            log.warn("{warning}", warning=warning)
        key = observatory_key(self._config)
        store = self._store = EventStore(reactor, clock, self._config.journal(NAME), **self._how)
        self._outbound = Outbound(
            reactor, self._config, NAME, store.journal,
            store.on_answer, store.on_confirm, self._alarm_of_journal, store.complete,
        )  # fmt: skip
        self._replay = Replay(store)
        self._filtering = ProcessFiltering(reactor) if self._how["threaded"] else InlineFiltering()
        self._broadcaster = AlertBroadcasterFactory(
            reactor, clock, config.ivo, config.allow, self._replay, filtering=self._filtering
        )
        self._intake = Intake(store, self._broadcaster.broadcast, self._broadcaster.carry)
        self._receiver = AlertReceiverFactory(reactor, clock, config.ivo, self._intake, config.allow)
        try:
            self._kafka = self._make_kafka()
            self._outbound.start()
            if self._archives:
                self._archiving = Archiving(reactor, store, self._config.alert_archive)
            store.start(self._post)
            if store.journal.damage:
                self._alarm_of_journal("journal", store.journal.damage)
            if self._archiving is not None:
                self._archiving.poke()
            if config.port is not None:
                tls = PortTls(self._config.peer(NAME))
                self._port = BrokerPort(
                    reactor, config.allow, self.status, self._publish, key, self._config.agents, tls
                )
                await self._listen("port", self._port)
            await self._listen("broadcaster_port", self._broadcaster)
            await self._listen("receiver_port", self._receiver)
            if config.tls is not None:
                await self._listen_tls(config.tls)
        except PyrosError as error:
            self.failure = error
            await self._stop()
            raise
        self._since = clock.time()
        for section in config.remotes:
            creator = self._tls.client_creator(section) if section.tls else None
            remote = RemoteSubscription(reactor, clock, config.ivo, self._intake, section, creator)
            self._remotes.append(remote)
            remote.startService()
        try:
            if config.folder is not None:
                self._folder = Folder(clock, self._intake, config.folder)
                self._folder.start()
            for kafka in self._kafka:
                kafka.start()
        except PyrosError as error:
            self.failure = error
            await self._stop()
            raise

    def _make_kafka(self) -> list[KafkaIntake]:
        """Make the intakes from Kafka; raises ConfigError where the extra or a secret is missing."""
        sections = [each for each in self._broker.kafka if not each.gate]
        if sections and not self._how["threaded"]:
            log.info("a rehearsal takes nothing from Kafka")
            return []
        if not sections:
            return []
        assert self._store is not None
        group = f"pyros-{self._store.journal.epoch}"
        try:
            from pyros.broker.kafka.receiver import KafkaIntake  # noqa: PLC0415  # only who uses it needs it
        except ImportError as error:
            where = f"{self._config.path}: [{sections[0].section}]"
            raise ConfigError([f"{where}: needs: pip install 'pyros-observatory[kafka]' ({error})"]) from None
        how: dict[str, Any] = {"path": self._config.path, "group": group, "alarm": self._alarm}
        return [KafkaIntake(self._reactor, self._clock, self._intake, section, **how) for section in sections]

    def _alarm_of_journal(self, key: str, text: str) -> None:
        log.critical("{text}", text=text)
        if self._store is not None and self._config.has(StandardAgents.MONITORING):
            alarm = AlarmRaised(source=NAME, key=key, text=text)
            for receiver in self._config.receivers(StandardAgents.MONITORING):
                self._store.send_notice(receiver, ALARM, alarm)

    def _alarm(self, name: str, said: AlertSource) -> None:
        """Send a message to monitoring and notifier, if the observatory has them."""
        for agent in (StandardAgents.MONITORING, StandardAgents.NOTIFIER):
            if self._store is not None and self._config.has(agent):
                for receiver in self._config.receivers(agent):
                    self._store.send_notice(receiver, name, said)

    async def _listen_tls(self, config: TlsConfig) -> None:
        for key, factory in (("broadcaster_port", self._broadcaster), ("receiver_port", self._receiver)):
            if getattr(config, key) is not None:
                await self._listen(key, self._tls.server_factory(factory, config), config)

    async def _listen(self, key: str, factory: Factory, tls: TlsConfig | None = None) -> None:
        ip, port = (tls or self._broker).ip, getattr(tls or self._broker, key)
        endpoint: Any = (TCP6ServerEndpoint if ":" in ip else TCP4ServerEndpoint)(self._reactor, port, _BACKLOG, ip)
        try:
            if factory is self._receiver and isinstance(self._reactor, PosixReactorBase):  # sockets, not a rehearsal
                self._ports[key] = listening = OneAnswerPort(port, factory, _BACKLOG, ip, self._reactor)
                listening.startListening()
            else:
                self._ports[f"tls {key}" if tls else key] = await endpoint.listen(factory)
        except CannotListenError as error:
            section = SECTION if tls else NAME
            raise AgentError(
                f"{self._config.path}: [{section}] {key}: cannot listen on {ip}:{port} ({error.socketError});"
                " choose another port, or stop the program that has it"
            ) from None
        log.info("{key} {port} is open on {ip}{tls}", key=key, port=port, ip=ip, tls=", with TLS" if tls else "")

    def _post(self, outgoing: list[Outgoing]) -> None:
        """Broadcast and archive the events that a commit of the store has brought."""
        if self._outbound is not None:
            self._outbound.post(outgoing)
        if self._archiving is not None:
            self._archiving.poke()

    async def _publish(self, packet: bytes, agent: str) -> str | None:
        """Take what an agent of ours publishes, as a `Publisher` does."""
        if not self._broker.publish:
            return f"{self._config.path}: [{NAME}] publish: this observatory doesn't publish"
        receipt = await self._intake.receive(packet, f"agent {agent}", strict=True, own=True)
        if receipt.outcome == "failed":
            raise WireError(receipt.reason)
        return receipt.reason if receipt.outcome == "refused" else None

    def stop(self) -> Deferred[None]:
        """Close the ports, commit and answer what has arrived, close every connection, the thread and the journal.

        May be called twice, and without a start.
        """
        return Deferred.fromCoroutine(self._stop())

    def kill(self) -> None:
        """End the broker as SIGKILL ends its process, for rehearsals: its reactor is dead, and what waits is lost."""
        if self._archiving is not None:
            self._archiving.stop()
        if self._outbound is not None:
            self._outbound.close()
        if self._store is not None:
            self._replay.close()
            self._store.close()

    @property
    def journal(self) -> Journal:
        """Its journal, once it was started."""
        assert self._store is not None, "start comes first"
        return self._store.journal

    async def _stop(self) -> None:
        store, self._store = self._store, None
        if store is None or self._outbound is None:
            return
        for port in self._ports.values():
            await _maybe(port.stopListening())
        if self._folder is not None:
            self._folder.stop()
        for kafka in [kafka.stop() for kafka in self._kafka if kafka.started]:
            await kafka
        self._broadcaster.save()
        await store.stop()
        if self._archiving is not None:
            await self._archiving.stop()
            self._archiving = None
        if self._port is not None:
            await self._port.asking.close()
        await self._receiver.authors.close()
        await self._broadcaster.broadcasters.close()
        await self._filtering.close()
        for remote in self._remotes:
            stopped = remote.stopService()
            await remote.factory.connections.close()
            await _maybe(stopped)
        await self._outbound.stop()
        self._replay.close()
        store.close()
        self._ports, self._remotes, self._kafka, self._outbound = {}, [], [], None

    def ports(self) -> dict[str, int]:
        """Return the ports that are open, by the configuration's keys (they may have been given as 0 in a test)."""
        return {key: port.getHost().port for key, port in self._ports.items()}

    def status(self) -> dict[str, Any]:
        """Return what people ask for: start (Unix seconds), events by outcome, who is connected, the sources.

        ``events`` counts those that are kept, ``waiting`` the messages that the alert manager has not acknowledged yet.
        """
        if self._store is None:
            return {"up": False}
        counts = self._intake.counts
        return {
            "up": True,
            "since": self._since,
            "received": counts["new"],
            "duplicates": counts["duplicate"],
            "refused": counts["refused"],
            "failed": counts["failed"],
            "events": self._store.events,
            "authors": len(self._receiver.authors),
            "subscribers": [each.status() for each in self._broadcaster.broadcasters],
            "remotes": {remote.source.removeprefix("broker "): remote.status() for remote in self._remotes},
            "conflicts": [conflict._asdict() for conflict in self._replay.conflicts()],
            "waiting": self._store.waiting,
            **({"folder": self._folder.status()} if self._folder else {}),
            **({"kafka": {kafka.name: kafka.status() for kafka in self._kafka}} if self._kafka else {}),
        }


async def _maybe(result: Any) -> None:
    """Wait for what may be a Deferred or None."""
    if isinstance(result, Deferred):
        await result
