"""The VOEvent broker of an observatory: authors, subscribers and other brokers, around one store."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from pyros.broker.broadcaster import AlertBroadcasterFactory
from pyros.broker.intake import Intake
from pyros.broker.receiver import AlertReceiverFactory
from pyros.broker.store import ALERT_MANAGER, EventStore
from pyros.broker.subscriber import Remote
from pyros.clock import Clock
from pyros.config import Config
from pyros.errors import AgentError, ConfigError, PyrosError
from pyros.sender.outbound import Outbound

NAME = "broker"
_BACKLOG = 1024  # Twisted's 50 makes long tails when many connect at once

log = Logger(namespace="pyros.broker")


class Broker:
    """One broker. Every method is for the reactor's thread."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        clock: Clock,
        *,
        threaded: bool = True,
        durable: bool = True,
        epoch: str = "",
    ) -> None:
        """``threaded=False`` and ``durable=False`` are for rehearsals (see `EventStore`); ``epoch`` names a new
        journal.

        Raises ConfigError when the configuration lacks [broker], or the alert manager that the events are for.
        """
        problems = []
        if config.broker is None:
            problems.append(f"{config.path}: [{NAME}]: the section is missing; without it there is no broker")
        if ALERT_MANAGER not in config.agents:
            problems.append(f"{config.path}: [{ALERT_MANAGER}]: the section is missing; the broker's events go there")
        if config.broker is None or problems:
            raise ConfigError(problems)
        self._config, self._broker = config, config.broker
        self._reactor, self._clock = reactor, clock
        self._how: dict[str, Any] = {"threaded": threaded, "durable": durable, "epoch": epoch}
        self._since = 0.0
        self._ports: list[Any] = []
        self._remotes: list[Remote] = []
        self._store: EventStore | None = None
        self._outbound: Outbound | None = None

    def start(self) -> Deferred[None]:
        """Open journal and ports, subscribe to the remote brokers; fires when authors and subscribers can connect.

        Fails with AgentError when a port cannot be opened, with JournalError when the journal can't; then nothing is
        left open.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        config, reactor, clock = self._broker, self._reactor, self._clock
        store = self._store = EventStore(reactor, clock, self._config.journal(NAME), **self._how)
        self._outbound = Outbound(reactor, self._config, NAME, store.journal, store.on_answer)
        self._broadcaster = AlertBroadcasterFactory(reactor, clock, config.ivo, config.allow)
        self._intake = Intake(store, self._broadcaster.broadcast)
        self._receiver = AlertReceiverFactory(reactor, clock, config.ivo, self._intake, config.allow)
        try:
            self._outbound.start()
            store.start(self._outbound.post)
            await self._listen("broadcaster_port", self._broadcaster)
            await self._listen("receiver_port", self._receiver)
        except PyrosError:
            await self._stop()
            raise
        self._since = clock.time()
        for address in config.remotes:
            remote = Remote(reactor, clock, config.ivo, self._intake, address)
            self._remotes.append(remote)
            remote.startService()

    async def _listen(self, key: str, factory: Factory) -> None:
        ip, port = self._broker.ip, getattr(self._broker, key)
        endpoint: Any = (TCP6ServerEndpoint if ":" in ip else TCP4ServerEndpoint)(self._reactor, port, _BACKLOG, ip)
        try:
            self._ports.append(await endpoint.listen(factory))
        except CannotListenError as error:
            raise AgentError(
                f"{self._config.path}: [{NAME}] {key}: cannot listen on {ip}:{port} ({error.socketError});"
                " choose another port, or stop the program that has it"
            ) from None
        log.info("{key} {port} is open on {ip}", key=key, port=port, ip=ip)

    def stop(self) -> Deferred[None]:
        """Close the ports, commit and answer what has arrived, close every connection, end the thread, close the
        journal. May be called twice, and without a start."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        store, self._store = self._store, None
        if store is None or self._outbound is None:
            return
        for port in self._ports:
            await _maybe(port.stopListening())
        await store.stop()
        await self._receiver.authors.close()
        await self._broadcaster.broadcasters.close()
        for remote in self._remotes:
            stopped = remote.stopService()
            await remote.factory.connections.close()
            await _maybe(stopped)
        await self._outbound.stop()
        store.close()
        self._ports, self._remotes, self._outbound = [], [], None

    def ports(self) -> dict[str, int]:
        """The ports that are open, by the configuration's keys (they may have been given as 0 in a test)."""
        keys = ("broadcaster_port", "receiver_port")
        return {key: port.getHost().port for key, port in zip(keys, self._ports, strict=False)}

    def status(self) -> dict[str, Any]:
        """For people: since when (Unix seconds); events by what became of them; how many are kept; who is connected;
        how many messages the alert manager has not taken yet."""
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
            "subscribers": len(self._broadcaster.broadcasters),
            "remotes": {remote.source.removeprefix("broker "): remote.connected for remote in self._remotes},
            "waiting": self._store.waiting,
        }


async def _maybe(result: Any) -> None:
    """Wait for what may be a Deferred or None."""
    if isinstance(result, Deferred):
        await result
